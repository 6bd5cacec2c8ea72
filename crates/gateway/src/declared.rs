//! Which arguments tools want repeated in headers (`x-mcp-header`, MCP 2026-07-28): learned from the tool lists that pass,
//! as they are shown.
//!
//! What was never listed is not checked here; the server, which knows its own tools, does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use mcp::fields::{Params, ResultView};
use mcp::header::{HeaderMismatch, Mirrored};
use mcp::message::{Answer, Kind, Message};

/// Tools whose declarations are kept; beyond it no more are learned.
const MOST: usize = 10_000;

/// The declarations learned so far.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    /// By server and tool. Owned here; locked for one look-up or a page's insertions.
    tools: Mutex<HashMap<Tool, Arc<Mirrored>>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Tool {
    server: Arc<str>,
    name: String,
}

impl Declared {
    /// Learns from the answer to a `tools/list`.
    pub(crate) fn learn(&self, server: &Arc<str>, bytes: &[u8]) {
        let Ok(frame) = mcp::message::parse(bytes) else { return };
        for message in frame.messages() {
            let Kind::Response { outcome: Answer::Result(result), .. } = message.kind() else { continue };
            for tool in ResultView::of(result).tools() {
                let Some(mirrored) = tool.input_schema.and_then(|schema| Mirrored::of(schema).ok()) else {
                    continue;
                };
                let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
                let key = Tool { server: Arc::clone(server), name: tool.name };
                if mirrored.is_empty() {
                    tools.remove(&key);
                } else if tools.len() < MOST {
                    tools.insert(key, Arc::new(mirrored));
                }
            }
        }
    }

    /// Forgets what a server's tools want.
    pub(crate) fn forget(&self, server: &Arc<str>) {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner).retain(|tool, _| tool.server != *server);
    }

    /// Checks a call's headers against its arguments; with what is wrong comes the tool.
    pub(crate) fn check(
        &self,
        server: &Arc<str>,
        message: &Message<'_>,
        headers: &HeaderMap,
    ) -> Result<(), (String, HeaderMismatch)> {
        let Kind::Request { method, params: Some(params), .. } = message.kind() else { return Ok(()) };
        if method != "tools/call" {
            return Ok(());
        }
        let params = Params::of(params);
        let Some(name) = params.name() else { return Ok(()) };
        let found = self
            .tools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&Tool { server: Arc::clone(server), name: name.clone() })
            .cloned();
        let Some(mirrored) = found else { return Ok(()) };
        let checked = mirrored.check(params.arguments(), &crate::intake::pairs(headers));
        checked.map_err(|mismatch| (name, mismatch))
    }
}
