//! An MCP client on the Rust SDK that follows a script: `peers/clients/ts.mjs` describes the form of the script and of
//! what the client tells, its twins in TypeScript and Python do the same. It does not tell of progress: the SDK hands
//! that on in tasks of their own, which may come after the result.

#![expect(deprecated, reason = "sampling and roots are used until they are gone")]

use std::process::Stdio;

use rmcp::model::{
    ClientConfig, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult,
    ListRootsResult, ProtocolVersion,
};
use rmcp::service::{RequestContext, RunningService};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt as _, ErrorData, RoleClient, ServiceError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Follows the script and gives a line for each step.
///
/// # Panics
/// When the server cannot be talked to, and on scripts that this client cannot follow: it has no HTTP+SSE.
pub async fn follow(spec: &Value) -> String {
    let client = connect(&spec["transport"], lifecycle(&spec["version"])).await;
    let mut told = String::new();
    for step in spec["steps"].as_array().expect("the script has steps") {
        let method = step[0].as_str().expect("a step has a method");
        let line = match run(&client, method, step[1].clone()).await {
            Ok(result) => json!({"step": method, "result": result}),
            Err(ServiceError::McpError(error)) => json!({"step": method, "error": error}),
            Err(error) => panic!("{method}: {error}"),
        };
        told.push_str(&line.to_string());
        told.push('\n');
    }
    client.cancel().await.expect("the client ends");
    told
}

fn lifecycle(version: &Value) -> ClientLifecycleMode {
    match version.as_str() {
        Some("legacy") => ClientLifecycleMode::Initialize,
        Some("auto") => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::LATEST],
            legacy_version: None,
        },
        _ => ClientLifecycleMode::Discover { preferred_versions: vec![from(version.clone())] },
    }
}

async fn connect(transport: &Value, lifecycle: ClientLifecycleMode) -> RunningService<RoleClient, Answers> {
    if let Some(url) = transport["http"].as_str() {
        let transport = StreamableHttpClientTransport::from_uri(url);
        return Answers.serve_with_lifecycle(transport, lifecycle).await.expect("the server answers");
    }
    let command: Vec<String> = from(transport["stdio"].clone());
    let (program, arguments) = command.split_first().expect("a program");
    let mut command = tokio::process::Command::new(program);
    command.args(arguments);
    let (transport, _) =
        TokioChildProcess::builder(command).stderr(Stdio::null()).spawn().expect("the server starts");
    Answers.serve_with_lifecycle(transport, lifecycle).await.expect("the server answers")
}

async fn run(
    client: &RunningService<RoleClient, Answers>,
    method: &str,
    params: Value,
) -> Result<Value, ServiceError> {
    Ok(match method {
        "tools/list" => to(client.list_tools(None).await?),
        "tools/call" => to(client.call_tool(from(params)).await?),
        "resources/list" => to(client.list_resources(None).await?),
        "resources/templates/list" => to(client.list_resource_templates(None).await?),
        "resources/read" => to(client.read_resource(from(params)).await?),
        "prompts/list" => to(client.list_prompts(None).await?),
        "prompts/get" => to(client.get_prompt(from(params)).await?),
        _ => panic!("no such step: {method}"),
    })
}

/// What the client answers when it is asked.
#[derive(Debug)]
struct Answers;

impl ClientHandler for Answers {
    fn get_info(&self) -> ClientConfig {
        from(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"sampling": {}, "elicitation": {"form": {}}, "roots": {}},
            "clientInfo": {"name": "tollbook-e2e-rs", "version": "1.0.0"},
        }))
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let content = json!({"type": "text", "text": "A scripted answer."});
        Ok(from(json!({"model": "scripted", "role": "assistant", "content": content})))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let schema = &to(request)["requestedSchema"];
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let fill = |name: &Value| {
            let name = name.as_str().unwrap_or_default();
            let yes = schema["properties"][name]["type"] == "boolean";
            (name.to_owned(), if yes { json!(true) } else { json!(format!("scripted {name}")) })
        };
        let content: serde_json::Map<String, Value> = required.iter().map(fill).collect();
        Ok(from(json!({"action": "accept", "content": content})))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Ok(from(json!({"roots": [{"uri": "file:///srv/project", "name": "project"}]})))
    }
}

/// The SDK's types cannot be built otherwise, as they may grow.
fn from<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the SDK knows this form")
}

fn to<T: Serialize>(value: T) -> Value {
    serde_json::to_value(value).expect("the SDK's types are JSON")
}
