//! What a denied request is answered with: it names the decision, and nothing that the caller may not see.

use ledger::CallId;
use mcp::era::Era;
use mcp::error::{self, ErrorCode};

use crate::wanted::Wanted;

/// What a denied request is answered with.
#[derive(Debug, Default)]
pub(crate) struct Denial {
    kind: DenialKind,
    text: String,
    /// Names the decision in the record.
    call: Option<CallId>,
    /// The hold that it waits under, if that is all.
    waits: Option<String>,
}

#[derive(Debug, Clone, Default)]
enum DenialKind {
    /// A tool's result, which models see and SDKs do not throw.
    ToolResult(Era),
    /// An error that says no more than the server's own about what it does not have.
    Unknown,
    /// The same of a resource.
    UnknownResource(Era, String),
    #[default]
    Error,
}

impl Denial {
    /// To who may know of what is denied.
    pub(crate) fn known(wanted: &Wanted, era: Era, text: String) -> Denial {
        let kind = match wanted {
            Wanted::Tool(_) => DenialKind::ToolResult(era),
            _ => DenialKind::Error,
        };
        Denial { kind, text, call: None, waits: None }
    }

    /// To who does not see it: as if it were not there. What has no name is just denied.
    pub(crate) fn hidden(wanted: &Wanted, era: Era, text: String) -> Denial {
        let (kind, text) = match wanted {
            Wanted::Tool(name) => (DenialKind::Unknown, format!("Unknown tool: {name}")),
            Wanted::Prompt(name) | Wanted::CompletePrompt(name) => {
                (DenialKind::Unknown, format!("Unknown prompt: {name}"))
            }
            Wanted::Read(uri) | Wanted::Subscribe(uri) | Wanted::CompleteResource(uri) => {
                (DenialKind::UnknownResource(era, uri.clone()), "Resource not found".to_owned())
            }
            _ => (DenialKind::Error, text),
        };
        Denial { kind, text, call: None, waits: None }
    }

    pub(crate) fn of(self, call: Option<CallId>) -> Denial {
        Denial { call, ..self }
    }

    /// The same in other words; who may not know of what is denied is told what they were.
    pub(crate) fn saying(self, text: String) -> Denial {
        match self.kind {
            DenialKind::Unknown | DenialKind::UnknownResource(..) => self,
            DenialKind::ToolResult(_) | DenialKind::Error => Denial { text, ..self },
        }
    }

    /// The same of what may still be approved.
    pub(crate) fn waiting(self, hold: &str) -> Denial {
        Denial { waits: Some(hold.to_owned()), ..self }
    }

    /// The hold that it waits under, if that is all.
    pub(crate) fn waits(&self) -> Option<&str> {
        self.waits.as_deref()
    }

    /// The JSON-RPC answer to the request of that id, a JSON text.
    pub(crate) fn answer(&self, id: Option<&str>) -> String {
        let what = if self.waits.is_some() { "approval required" } else { "denied" };
        let named = match self.call {
            Some(call) => format!("{what}: {} (decision {call})", self.text),
            None => format!("{what}: {}", self.text),
        };
        match (&self.kind, id) {
            (DenialKind::ToolResult(era), Some(id)) => error::tool_error_result(id, &named, *era),
            (DenialKind::Unknown, _) => error::error_response(id, ErrorCode::INVALID_PARAMS, &self.text),
            (DenialKind::UnknownResource(era, uri), _) => error::resource_not_found(id, uri, *era),
            _ => error::error_response(id, ErrorCode::DENIED, &named),
        }
    }
}

impl std::fmt::Display for Denial {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}
