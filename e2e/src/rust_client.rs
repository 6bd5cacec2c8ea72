//! An MCP client on the Rust SDK that follows a script: `peers/clients/ts.mjs` describes the form of the script and of
//! what the client tells, its twins in TypeScript and Python do the same. It does not tell of progress: the SDK hands
//! that on in tasks of their own, which may come after the result.

#![expect(deprecated, reason = "sampling and roots are used until they are gone")]

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{
    CallToolResponse, ClientConfig, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams,
    ElicitResult, ListRootsResult, ProtocolVersion, TASKS_EXTENSION_ID,
};
use rmcp::service::{RequestContext, RunningService};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
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
    let urls = spec["urls"].as_str().map(str::to_owned);
    let answers = Answers { urls, takes_tasks: spec["tasks"] == true, told: Arc::default() };
    let told = Arc::clone(&answers.told);
    let client = connect(spec, answers).await;
    for step in spec["steps"].as_array().expect("the script has steps") {
        let method = step[0].as_str().expect("a step has a method");
        let line = loop {
            let called = run(&client, method, step[1].clone());
            let called = match spec["leaves"].as_bool() {
                Some(true) => match tokio::time::timeout(Duration::from_secs(5), called).await {
                    Ok(called) => called,
                    // Gone without a word: the client is dropped as it is.
                    Err(_) => return String::new(),
                },
                _ => called.await,
            };
            let line = match called {
                Ok(result) => json!({"step": method, "result": result}),
                Err(ServiceError::McpError(error)) => json!({"step": method, "error": error}),
                Err(error) => panic!("{method}: {error}"),
            };
            let text = line["result"]["content"][0]["text"].as_str().unwrap_or_default();
            if spec["repeats"] != true || !text.starts_with("approval required") {
                break line;
            }
            tell(&told, &json!({"step": "repeats"}));
        };
        tell(&told, &line);
    }
    client.cancel().await.expect("the client ends");
    let told = told.lock().expect("nobody failed with it");
    told.clone()
}

fn tell(told: &Mutex<String>, line: &Value) {
    let mut told = told.lock().expect("nobody failed with it");
    told.push_str(&line.to_string());
    told.push('\n');
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

async fn connect(spec: &Value, answers: Answers) -> RunningService<RoleClient, Answers> {
    let (transport, lifecycle) = (&spec["transport"], lifecycle(&spec["version"]));
    if let Some(url) = transport["http"].as_str() {
        let mut config = StreamableHttpClientTransportConfig::with_uri(url);
        if let Some(token) = spec["headers"]["authorization"].as_str() {
            config = config.auth_header(token.trim_start_matches("Bearer "));
        }
        let transport = StreamableHttpClientTransport::from_config(config);
        return answers.serve_with_lifecycle(transport, lifecycle).await.expect("the server answers");
    }
    let command: Vec<String> = from(transport["stdio"].clone());
    let (program, arguments) = command.split_first().expect("a program");
    let mut command = tokio::process::Command::new(program);
    command.args(arguments);
    let (transport, _) =
        TokioChildProcess::builder(command).stderr(Stdio::null()).spawn().expect("the server starts");
    answers.serve_with_lifecycle(transport, lifecycle).await.expect("the server answers")
}

async fn run(
    client: &RunningService<RoleClient, Answers>,
    method: &str,
    params: Value,
) -> Result<Value, ServiceError> {
    Ok(match method {
        "tools/list" => to(client.list_tools(None).await?),
        "tools/call" if client.service().takes_tasks => wait_for(client, params).await?,
        "tools/call" => to(client.call_tool(from(params)).await?),
        "resources/list" => to(client.list_resources(None).await?),
        "resources/templates/list" => to(client.list_resource_templates(None).await?),
        "resources/read" => to(client.read_resource(from(params)).await?),
        "prompts/list" => to(client.list_prompts(None).await?),
        "prompts/get" => to(client.get_prompt(from(params)).await?),
        _ => panic!("no such step: {method}"),
    })
}

/// Calls a tool, and asks how its task stands for as long as it waits, as often as it is told.
async fn wait_for(
    client: &RunningService<RoleClient, Answers>,
    params: Value,
) -> Result<Value, ServiceError> {
    let CallToolResponse::Task(made) = client.call_tool_once(from(params)).await? else {
        panic!("it is no task");
    };
    let mut interval = made.task.poll_interval_ms;
    loop {
        tokio::time::sleep(Duration::from_millis(interval.expect("an interval"))).await;
        let task = client.get_task(from(json!({"taskId": made.task.task_id}))).await?.task;
        if task.status().is_terminal() {
            return Ok(to(task));
        }
        interval = task.task.poll_interval_ms;
    }
}

/// What the client answers when it is asked.
#[derive(Debug)]
struct Answers {
    /// What its user does who is led to an address; `None`: nobody can be.
    urls: Option<String>,
    takes_tasks: bool,
    told: Arc<Mutex<String>>,
}

impl ClientHandler for Answers {
    fn get_info(&self) -> ClientConfig {
        let elicits = match &self.urls {
            Some(_) => json!({"form": {}, "url": {}}),
            None => json!({"form": {}}),
        };
        let mut capabilities = json!({"sampling": {}, "elicitation": elicits, "roots": {}});
        if self.takes_tasks {
            capabilities["extensions"] = json!({TASKS_EXTENSION_ID: {}});
        }
        from(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
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
        let request = to(request);
        if let (Some(url), Some(action)) = (request["url"].as_str(), &self.urls) {
            let page = look(url.to_owned()).await;
            tell(&self.told, &json!({"step": "led", "result": page}));
            return Ok(from(json!({"action": action})));
        }
        let schema = &request["requestedSchema"];
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

/// The heading of the page at an address, as a browser of the user's would show it.
async fn look(url: String) -> String {
    let get = move || {
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        crate::http::exchange(&url, &format!("GET /{path}"), "", "").2
    };
    let page = tokio::task::spawn_blocking(get).await.expect("somebody answers");
    let heading = page.split_once("<h1>").and_then(|(_, rest)| rest.split_once("</h1>"));
    heading.expect("the page has a heading").0.to_owned()
}

/// The SDK's types cannot be built otherwise, as they may grow.
fn from<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the SDK knows this form")
}

fn to<T: Serialize>(value: T) -> Value {
    serde_json::to_value(value).expect("the SDK's types are JSON")
}
