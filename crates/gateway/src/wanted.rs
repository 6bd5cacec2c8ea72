//! What a request wants, in the policies' words: the one place where a method becomes a question, for calls as they come and
//! for calls that were recorded.

use mcp::fields::Params;
use mcp::method::Method;
use policy::Ask;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A request, as far as it matters what it wants.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Whether a client asks, not a server.
    pub by_client: bool,
    /// The method.
    pub method: &'a str,
    /// What its parameters name, where they are not there to be read.
    pub name: Option<&'a str>,
    /// Its parameters, as they came and as they were read.
    pub params: Option<(&'a RawValue, &'a Params<'a>)>,
}

/// What a request wants of a server or a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// To call a tool.
    Tool(String),
    /// A prompt.
    Prompt(String),
    /// A resource.
    Read(String),
    /// To be told of a resource.
    Subscribe(String),
    /// What could be written in a prompt.
    CompletePrompt(String),
    /// What could be written in a resource's address.
    CompleteResource(String),
    /// An answer of the client's model.
    Message,
    /// An answer of the user.
    Elicit,
    /// The client's folders.
    Roots,
    /// A task.
    Tasks,
    /// Something else.
    Other,
}

/// What `completion/complete` refers to.
#[derive(Deserialize)]
struct Completed {
    #[serde(rename = "ref")]
    reference: Reference,
}

#[derive(Deserialize)]
struct Reference {
    name: Option<String>,
    uri: Option<String>,
}

/// What is read of `subscriptions/listen`.
#[derive(Deserialize)]
struct Listened {
    #[serde(default)]
    notifications: Subscribed,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Subscribed {
    resource_subscriptions: Vec<String>,
}

impl Wanted {
    /// All that a request wants. One that listens wants each resource that it names; nothing: what the protocol itself needs
    /// (`initialize`, lists, notifications), about which no policy is asked.
    pub fn all(request: &Request<'_>) -> Vec<Wanted> {
        if request.method != "subscriptions/listen" {
            return Wanted::of(request).into_iter().collect();
        }
        let listened = request.params.map(|(params, _)| serde_json::from_str(params.get()));
        match listened {
            None => Vec::new(),
            Some(Ok(Listened { notifications })) => {
                notifications.resource_subscriptions.into_iter().map(Wanted::Subscribe).collect()
            }
            // What cannot be read is judged as what it is: something else.
            Some(Err(_)) => vec![Wanted::Other],
        }
    }

    fn of(request: &Request<'_>) -> Option<Wanted> {
        let read = request.params.map(|(_, read)| read);
        let recorded = || request.name.filter(|name| !name.is_empty()).map(str::to_owned);
        let name = || read.map_or_else(recorded, Params::name);
        let uri = || read.map_or_else(recorded, Params::uri);
        let wanted = match (request.by_client, request.method) {
            (true, "tools/call") => name().map(Wanted::Tool),
            (true, "prompts/get") => name().map(Wanted::Prompt),
            (true, "resources/read") => uri().map(Wanted::Read),
            (true, "resources/subscribe") => uri().map(Wanted::Subscribe),
            (true, "completion/complete") => request.params.and_then(|(params, _)| Wanted::completed(params)),
            (false, "sampling/createMessage") => Some(Wanted::Message),
            (false, "elicitation/create") => Some(Wanted::Elicit),
            (false, "roots/list") => Some(Wanted::Roots),
            (_, method) if method.starts_with("tasks/") => Some(Wanted::Tasks),
            (_, method) if Method::of(method).is_some() => return None,
            _ => None,
        };
        // What does not name what it wants is judged as what it is: something else.
        Some(wanted.unwrap_or(Wanted::Other))
    }

    fn completed(params: &RawValue) -> Option<Wanted> {
        let Completed { reference } = serde_json::from_str(params.get()).ok()?;
        match reference {
            Reference { name: Some(name), uri: None } => Some(Wanted::CompletePrompt(name)),
            Reference { name: None, uri: Some(uri) } => Some(Wanted::CompleteResource(uri)),
            _ => None,
        }
    }

    /// The question. `arguments`: those of the request, a JSON text.
    pub fn ask<'a>(&'a self, method: &'a str, arguments: Option<&'a str>) -> Ask<'a> {
        match self {
            Wanted::Tool(name) => Ask::CallTool { name, arguments },
            Wanted::Prompt(name) => Ask::GetPrompt { name, arguments },
            Wanted::Read(uri) => Ask::ReadResource { uri },
            Wanted::Subscribe(uri) => Ask::SubscribeResource { uri },
            Wanted::CompletePrompt(name) => Ask::CompletePrompt { name },
            Wanted::CompleteResource(uri) => Ask::CompleteResource { uri },
            Wanted::Message => Ask::CreateMessage,
            Wanted::Elicit => Ask::Elicit,
            Wanted::Roots => Ask::ListRoots,
            Wanted::Tasks => Ask::Tasks { method },
            Wanted::Other => Ask::Other { method },
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp::fields::Params;
    use serde_json::value::RawValue;

    use super::{Request, Wanted};

    fn wanted(by_client: bool, method: &str, params: &str) -> Vec<Wanted> {
        let params = RawValue::from_string(params.to_owned()).unwrap();
        let read = Params::of(&params);
        Wanted::all(&Request { by_client, method, name: None, params: Some((&params, &read)) })
    }

    #[test]
    fn a_completion_is_about_what_it_refers_to() {
        for (reference, expected) in [
            (r#"{"type":"ref/prompt","name":"summary"}"#, Wanted::CompletePrompt("summary".to_owned())),
            (r#"{"type":"ref/resource","uri":"a:{b}"}"#, Wanted::CompleteResource("a:{b}".to_owned())),
            (r#"{"type":"ref/prompt","name":"summary","uri":"a:"}"#, Wanted::Other),
            ("7", Wanted::Other),
        ] {
            let params = format!(r#"{{"ref":{reference},"argument":{{"name":"x","value":""}}}}"#);
            assert_eq!(wanted(true, "completion/complete", &params), [expected], "{reference}");
        }
    }

    #[test]
    fn who_listens_wants_every_resource_that_is_named() {
        let params = r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:1","a:2"]}}"#;
        let all = [Wanted::Subscribe("a:1".to_owned()), Wanted::Subscribe("a:2".to_owned())];
        assert_eq!(wanted(true, "subscriptions/listen", params), all);
        assert_eq!(wanted(true, "subscriptions/listen", r#"{"notifications":7}"#), [Wanted::Other]);
    }

    #[test]
    fn what_the_protocol_needs_is_not_asked_about() {
        for method in ["initialize", "ping", "tools/list", "notifications/initialized", "server/discover"] {
            assert_eq!(wanted(true, method, "{}"), [], "{method}");
        }
        assert_eq!(wanted(true, "tools/call", "{}"), [Wanted::Other], "it names no tool");
        assert_eq!(wanted(true, "made/up", "{}"), [Wanted::Other]);
        assert_eq!(wanted(false, "tools/call", r#"{"name":"x"}"#), [], "a server has no use for it");
    }
}
