//! What is asked: who wants what, in which circumstances.

use std::net::IpAddr;

/// On whose behalf a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal<'a> {
    /// A person: `User::"…"`.
    User(&'a str),
    /// A service account or workload: `Service::"…"`.
    Service(&'a str),
}

/// Who calls: what decides about lists too, and so does not change from call to call.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// On whose behalf.
    pub principal: Principal<'a>,
    /// The principal's groups: `principal in Group::"…"`.
    pub groups: &'a [String],
    /// The run's id: `principal in Run::"…"` and `context.run.id`.
    pub run: &'a str,
}

/// What is known of the run.
#[derive(Debug, Clone, Copy)]
pub struct RunFacts<'a> {
    /// Seconds since it began.
    pub age_seconds: u64,
    /// Calls it made before this one.
    pub calls: u64,
    /// The task in words, as it was declared.
    pub purpose: Option<&'a str>,
    /// What its token was narrowed to.
    pub scope: &'a [String],
    /// Whether the principal was verified, not merely taken from the operating system or a claim.
    pub verified: bool,
    /// How often the run was handed on; 0 for one that the principal began.
    pub depth: u32,
    /// The agents that the token names, the one that acts now first.
    pub agents: &'a [String],
}

/// What the client says of itself. A claim.
#[derive(Debug, Clone, Copy, Default)]
pub struct Client<'a> {
    /// `clientInfo.name`, empty if unknown.
    pub name: &'a str,
    /// `clientInfo.version`, empty if unknown.
    pub version: &'a str,
}

/// What is to be done. Arguments are JSON objects as they were sent.
#[derive(Clone, Copy)]
pub enum Ask<'a> {
    /// `tools/call`.
    CallTool {
        /// The tool's name.
        name: &'a str,
        /// The `arguments` member.
        arguments: Option<&'a str>,
    },
    /// `resources/read`.
    ReadResource {
        /// The resource's URI.
        uri: &'a str,
    },
    /// `resources/subscribe`, and each URI of `subscriptions/listen`.
    SubscribeResource {
        /// The resource's URI.
        uri: &'a str,
    },
    /// `prompts/get`.
    GetPrompt {
        /// The prompt's name.
        name: &'a str,
        /// The `arguments` member.
        arguments: Option<&'a str>,
    },
    /// `completion/complete` with a `ref/prompt`.
    CompletePrompt {
        /// The prompt's name.
        name: &'a str,
    },
    /// `completion/complete` with a `ref/resource`.
    CompleteResource {
        /// The URI or its template.
        uri: &'a str,
    },
    /// The server asks for a completion of the client's model.
    CreateMessage,
    /// The server asks the user something.
    Elicit,
    /// The server asks for the client's folders.
    ListRoots,
    /// A method of tasks, as `tasks/get`.
    Tasks {
        /// The method.
        method: &'a str,
    },
    /// Any other method.
    Other {
        /// The method.
        method: &'a str,
    },
}

/// A question to a bundle. It holds payloads, so it is not printed.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Who.
    pub caller: Caller<'a>,
    /// In which run.
    pub run: RunFacts<'a>,
    /// With which software.
    pub client: Client<'a>,
    /// From which address; `None` over pipes and sockets.
    pub network: Option<IpAddr>,
    /// When: milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// Of which server.
    pub server: &'a str,
    /// What.
    pub ask: Ask<'a>,
}
