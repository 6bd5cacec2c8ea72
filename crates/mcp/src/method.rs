//! The methods of MCP that a gateway knows by name; every other one is passed on and recorded under the name it has.

/// Direction in which a method is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// From client to server.
    Client,
    /// From server to client.
    Server,
    /// Either.
    Both,
}

/// What a method's parameters name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `params.name`: a tool.
    Tool,
    /// `params.name`: a prompt.
    Prompt,
    /// `params.uri`: a resource.
    Resource,
    /// `params.taskId`: a task.
    Task,
    /// Nothing.
    None,
}

/// In which eras a method exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eras {
    /// Up to 2025-11-25.
    Session,
    /// From 2026-07-28.
    Stateless,
    /// Both.
    Both,
}

/// What is known of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its name on the wire.
    pub name: &'static str,
    /// Who sends it.
    pub sender: Sender,
    /// What it names.
    pub target: Target,
    /// When it exists.
    pub eras: Eras,
    /// Whether its answer may ask for another round (2026-07-28, patterns/mrtr).
    pub may_ask_back: bool,
}

const fn method(name: &'static str, sender: Sender, target: Target, eras: Eras) -> Method {
    Method { name, sender, target, eras, may_ask_back: false }
}

const fn asking_back(name: &'static str, target: Target) -> Method {
    Method { name, sender: Sender::Client, target, eras: Eras::Both, may_ask_back: true }
}

/// All known methods, by name.
pub const METHODS: [Method; 36] = [
    method("completion/complete", Sender::Client, Target::None, Eras::Both),
    method("elicitation/create", Sender::Server, Target::None, Eras::Session),
    method("initialize", Sender::Client, Target::None, Eras::Session),
    method("logging/setLevel", Sender::Client, Target::None, Eras::Session),
    method("notifications/cancelled", Sender::Both, Target::None, Eras::Both),
    method("notifications/elicitation/complete", Sender::Server, Target::None, Eras::Session),
    method("notifications/initialized", Sender::Client, Target::None, Eras::Session),
    method("notifications/message", Sender::Server, Target::None, Eras::Both),
    method("notifications/progress", Sender::Both, Target::None, Eras::Both),
    method("notifications/prompts/list_changed", Sender::Server, Target::None, Eras::Both),
    method("notifications/resources/list_changed", Sender::Server, Target::None, Eras::Both),
    method("notifications/resources/updated", Sender::Server, Target::Resource, Eras::Both),
    method("notifications/roots/list_changed", Sender::Client, Target::None, Eras::Session),
    method("notifications/subscriptions/acknowledged", Sender::Server, Target::None, Eras::Stateless),
    method("notifications/tasks", Sender::Server, Target::Task, Eras::Stateless),
    method("notifications/tasks/status", Sender::Both, Target::Task, Eras::Session),
    method("notifications/tools/list_changed", Sender::Server, Target::None, Eras::Both),
    method("ping", Sender::Both, Target::None, Eras::Session),
    asking_back("prompts/get", Target::Prompt),
    method("prompts/list", Sender::Client, Target::None, Eras::Both),
    method("resources/list", Sender::Client, Target::None, Eras::Both),
    asking_back("resources/read", Target::Resource),
    method("resources/subscribe", Sender::Client, Target::Resource, Eras::Session),
    method("resources/templates/list", Sender::Client, Target::None, Eras::Both),
    method("resources/unsubscribe", Sender::Client, Target::Resource, Eras::Session),
    method("roots/list", Sender::Server, Target::None, Eras::Session),
    method("sampling/createMessage", Sender::Server, Target::None, Eras::Session),
    method("server/discover", Sender::Client, Target::None, Eras::Stateless),
    method("subscriptions/listen", Sender::Client, Target::None, Eras::Stateless),
    method("tasks/cancel", Sender::Both, Target::Task, Eras::Both),
    method("tasks/get", Sender::Both, Target::Task, Eras::Both),
    method("tasks/list", Sender::Both, Target::None, Eras::Session),
    method("tasks/result", Sender::Both, Target::Task, Eras::Session),
    method("tasks/update", Sender::Client, Target::Task, Eras::Stateless),
    asking_back("tools/call", Target::Tool),
    method("tools/list", Sender::Client, Target::None, Eras::Both),
];

impl Method {
    /// The method of that name, if it is known.
    pub fn of(name: &str) -> Option<Method> {
        METHODS.iter().find(|method| method.name == name).copied()
    }

    /// Whether its answer is a stream that lasts until the client leaves.
    pub fn is_long_lived(&self) -> bool {
        self.name == "subscriptions/listen"
    }

    /// Whether it opens a session.
    pub fn is_initialize(&self) -> bool {
        self.name == "initialize"
    }
}
