//! Configuration: what was written (`ConfigFile`) becomes what it means (`Config`), once, with all mistakes reported
//! together, each with its line.

mod approvals_file;
mod check;
mod console_file;
mod credentials_file;
mod export_file;
mod identity_file;
mod ledger_file;
#[cfg(test)]
mod schema;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use export::DestinationSettings;
use gateway::HoldSettings;
use gateway::settings::{
    HttpServer, HttpVersion, Limits, Pinning, Receipts, ServerSettings, StdioServer, UserIds,
};
use http::{HeaderName, HeaderValue, Uri};
use ledger::Hash;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use crate::config::approvals_file::ApprovalsFile;
use crate::config::console_file::ConsoleFile;
pub(crate) use crate::config::console_file::{DeskSettings, OperatorLogin};
use crate::config::credentials_file::{CredentialsFile, exchanges, name_clients};
use crate::config::export_file::ExportFile;
use crate::config::identity_file::IdentityFile;
use crate::config::ledger_file::LedgerFile;
use crate::environment::Environment;

/// Configuration of `tollbook serve`. Unknown keys are errors; relative paths are resolved against the working folder.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    /// Address and port to listen on; beyond loopback only with `[identity]` and `[tls]`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    listen: Option<Spanned<String>>,
    /// A further host name that requests may name in `Host` and `Origin`, as an address like `https://tollbook.example`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    public_url: Option<Spanned<String>>,
    /// Folder of the ledger, its keys and its index. `--data` and `$TOLLBOOK_DATA` win over it; without any of them it is
    /// `~/.local/state/tollbook`.
    data: Option<PathBuf>,
    /// Whether call id, origin, index and leaf hash are put into `_meta` of requests and results.
    #[serde(default)]
    receipts: bool,
    /// TLS for the listener; HTTP/2 is offered.
    tls: Option<TlsFile>,
    /// Who may call: access tokens of identity providers, service keys, runs. Needs `public_url`.
    #[cfg_attr(test, schemars(with = "Option<IdentityFile>"))]
    identity: Option<Spanned<IdentityFile>>,
    /// What calls are judged by, and what becomes of tools that change.
    policy: Option<PolicyFile>,
    /// Where health and metrics are told, and operators log in.
    console: Option<ConsoleFile>,
    /// Sizes and waits, all of them upper bounds.
    limits: Option<LimitsFile>,
    /// How calls wait for people.
    #[serde(default)]
    approvals: ApprovalsFile,
    /// Who is told of calls that wait for people, each under a name of your choice: 1 to 64 of a-z A-Z 0-9 - _
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, ExportFile>"))]
    #[cfg_attr(test, schemars(extend("propertyNames" = {"pattern": "^[A-Za-z0-9_-]{1,64}$"})))]
    export: BTreeMap<String, Spanned<ExportFile>>,
    /// How the ledger keeps its files, and how much of the disk it leaves free.
    ledger: Option<LedgerFile>,
    /// Servers by the name that stands in `/mcp/NAME`: 1 to 64 of a-z A-Z 0-9 - _ .
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, ServerFile>"))]
    #[cfg_attr(test, schemars(extend("propertyNames" = {"pattern": "^[A-Za-z0-9._-]{1,64}$"})))]
    servers: BTreeMap<String, Spanned<ServerFile>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
struct TlsFile {
    /// PEM file with the certificate chain.
    #[cfg_attr(test, schemars(with = "PathBuf"))]
    certificate: Spanned<PathBuf>,
    /// PEM file with the certificate's private key.
    #[cfg_attr(test, schemars(with = "PathBuf"))]
    key: Spanned<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    /// A Cedar file, or a folder whose `.cedar` files are read, in the order of their names. What no policy permits is
    /// denied; without a path, every call is allowed.
    path: Option<PathBuf>,
    /// What becomes of a tool that is new or has changed since its server was first asked: `quarantine` hides and denies it
    /// until an operator accepts it, `flag` records it. Without this, `quarantine` if there is a `path`, else `flag`.
    pins: Option<PinsFile>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
enum PinsFile {
    Quarantine,
    Flag,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
struct LimitsFile {
    /// Largest request body and largest message from a client, in bytes.
    #[cfg_attr(test, schemars(range(min = 1)))]
    request_bytes: Option<usize>,
    /// Largest message from a server (a body, an event, a line), in bytes.
    #[cfg_attr(test, schemars(range(min = 1)))]
    message_bytes: Option<usize>,
    /// Largest total of a request's headers, in bytes; at least 1024.
    #[cfg_attr(test, schemars(range(min = 1024)))]
    header_bytes: Option<usize>,
    /// Time for a client to send its request, in seconds.
    request_seconds: Option<u64>,
    /// Time to reach an upstream, in seconds.
    connect_seconds: Option<u64>,
    /// Time for an upstream's response headers, in seconds.
    answer_seconds: Option<u64>,
    /// Longest silence in an upstream's stream, in seconds.
    silence_seconds: Option<u64>,
    /// Time after which an unused session and its run end, in seconds.
    idle_seconds: Option<u64>,
    /// Time for open exchanges to end at shutdown, in seconds.
    drain_seconds: Option<u64>,
}

/// A server: reached at `url`, or started by `command`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(extend("oneOf" = [{"required": ["url"]}, {"required": ["command"]}])))]
#[serde(deny_unknown_fields)]
struct ServerFile {
    /// Where the server is: an `http` or `https` address.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    url: Option<Spanned<String>>,
    /// How a server at `url` is spoken to: Streamable HTTP in either era, or `sse` for HTTP+SSE of 2024-11-05.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("enum" = ["streamable-http", "sse"])))]
    transport: Option<Spanned<String>>,
    /// Headers that the gateway adds towards `url`; clients never see them. Each is a value, `file:PATH` (read again when it
    /// changes) or `env:NAME`.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, String>"))]
    headers: BTreeMap<String, Spanned<String>>,
    /// What the gateway shows the server at `url`, where that is a token that it gets and renews.
    #[cfg_attr(test, schemars(with = "Option<CredentialsFile>"))]
    credentials: Option<Spanned<CredentialsFile>>,
    /// Whether HTTP/2 is spoken to `url` without negotiation.
    #[serde(default)]
    http2: bool,
    /// Program that is started for each session, with or without its arguments.
    #[cfg_attr(test, schemars(with = "Option<CommandFile>"))]
    command: Option<Spanned<CommandFile>>,
    /// Arguments after those in `command`.
    #[serde(default)]
    args: Vec<String>,
    /// Variables for `command`, besides PATH, HOME, USER, LOGNAME, LANG, TMPDIR, SHELL and TERM. Each is a value,
    /// `file:PATH` or `env:NAME`.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, String>"))]
    env: BTreeMap<String, Spanned<String>>,
    /// Folder that `command` starts in; the gateway's own if not given.
    cwd: Option<PathBuf>,
    /// User that `command` runs as, so that the server cannot read the ledger; needs root.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    user: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(untagged)]
enum CommandFile {
    /// Program and arguments.
    Line(Vec<String>),
    /// Program; its arguments stand in `args`.
    Program(String),
}

/// What the configuration means.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) data: PathBuf,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) receipts: Receipts,
    pub(crate) tls: Option<TlsFiles>,
    /// Who may call; `None`: this machine's users.
    pub(crate) identity: Option<identity::Settings>,
    /// Where the policies are; `None`: there are none.
    pub(crate) policy: Option<PathBuf>,
    pub(crate) pinning: Pinning,
    pub(crate) console: ConsoleAt,
    pub(crate) desk: DeskSettings,
    pub(crate) limits: Limits,
    /// How calls wait for people.
    pub(crate) holds: HoldSettings,
    /// The address under which others reach the gateway, without a slash at its end.
    pub(crate) public_url: Option<String>,
    /// Who is told of them.
    pub(crate) export: Vec<DestinationSettings>,
    pub(crate) ledger: recorder::Limits,
    /// Digest of the file's text.
    pub(crate) digest: Hash,
    pub(crate) servers: BTreeMap<String, ServerSettings>,
}

/// Where the operators' port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsoleAt {
    /// Nobody chose: where it usually is, if it is free there.
    Default,
    /// Where the configuration says.
    Configured(SocketAddr),
}

impl ConsoleAt {
    /// The address.
    pub(crate) fn address(self) -> SocketAddr {
        match self {
            ConsoleAt::Default => SocketAddr::from(([127, 0, 0, 1], 7801)),
            ConsoleAt::Configured(address) => address,
        }
    }
}

impl Config {
    /// Gives the next configuration what only a restart can change, and names what differed.
    pub(crate) fn keep_fixed(&self, next: &mut Config) -> Vec<&'static str> {
        let ledger = |config: &Config| {
            let limits = &config.ledger;
            (limits.refuse_bytes, limits.refuse_percent, limits.segment_bytes, limits.pack_bytes)
        };
        let changed = [
            ("listen", self.listen != next.listen),
            ("data", self.data != next.data),
            ("[console] listen", self.console != next.console),
            ("[console] public_url", self.desk.public_url != next.desk.public_url),
            ("[console.roles]", self.desk.roles != next.desk.roles),
            ("[console.login]", self.desk.is_login_other(&next.desk)),
            ("[ledger]", ledger(self) != ledger(next)),
            ("[tls]", self.tls.is_some() != next.tls.is_some()),
        ];
        next.listen = self.listen;
        next.data.clone_from(&self.data);
        next.console = self.console;
        next.desk.clone_from(&self.desk);
        next.ledger = self.ledger.clone();
        if self.tls.is_some() != next.tls.is_some() {
            next.tls.clone_from(&self.tls);
        }
        changed.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

/// Where certificate chain and key are.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A configuration that cannot be used: all mistakes, each on a line of its own.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used:\n{0}")]
pub(crate) struct ConfigError(String);

/// Reads a configuration file; without a path, defaults.
pub(crate) fn read(path: Option<&Path>, environment: &Environment) -> Result<Config, ConfigError> {
    let Some(path) = path else { return interpret("tollbook.toml", "", environment) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("  {}: cannot be read: {error}\n", path.display())))?;
    interpret(&path.display().to_string(), &text, environment)
}

/// From text to meaning.
fn interpret(name: &str, text: &str, environment: &Environment) -> Result<Config, ConfigError> {
    let unread = |error: &toml::de::Error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        ConfigError(format!("  {name}:{line}: {}\n", error.message()))
    };
    let mut table = DeTable::parse(text).map_err(|error| unread(&error))?;
    let mut reading = Reading { name, text, environment, mistakes: Vec::new() };
    for (at, fault) in check::prune(&mut table) {
        reading.mistake(at, &fault);
    }
    let file = ConfigFile::deserialize(toml::Deserializer::from(table)).map_err(|error| unread(&error))?;
    let config = reading.config(file);
    reading.mistakes.sort();
    if reading.mistakes.is_empty() { Ok(config) } else { Err(ConfigError(reading.report())) }
}

/// Collects mistakes while the file is read.
struct Reading<'a> {
    name: &'a str,
    text: &'a str,
    environment: &'a Environment,
    /// Line and text.
    mistakes: Vec<(usize, String)>,
}

impl Reading<'_> {
    fn config(&mut self, file: ConfigFile) -> Config {
        let listen = file.listen.as_ref().map_or_else(default_listen, |listen| {
            listen.get_ref().parse().unwrap_or_else(|_| {
                self.mistake(listen.span().start, "`listen` is an address and a port, like `127.0.0.1:7800`");
                default_listen()
            })
        });
        if !listen.ip().is_loopback() && (file.identity.is_none() || file.tls.is_none()) {
            let at = file.listen.as_ref().map_or(0, |listen| listen.span().start);
            self.mistake(at, "`listen` beyond loopback needs `[identity]` and `[tls]`: without them everybody may call, and tokens are readable on the way");
        }
        let (console, desk) = self.desk(file.console, file.identity.as_ref().map(Spanned::get_ref));
        let identity = self.identity(file.identity, file.public_url.as_ref());
        let policy = file.policy.as_ref().and_then(|policy| policy.path.as_ref());
        let policy = policy.map(|path| self.environment.resolve(path));
        let pinning = match (file.policy.as_ref().and_then(|policy| policy.pins), &policy) {
            (Some(PinsFile::Quarantine), _) | (None, Some(_)) => Pinning::Quarantine,
            (Some(PinsFile::Flag), _) | (None, None) => Pinning::Flag,
        };
        let allowed_hosts = file.public_url.iter().filter_map(|url| self.host_of(url)).collect();
        // The schema has their bounds.
        let limits = file.limits.map(|limits| Self::limits(&limits)).unwrap_or_default();
        let ledger = file.ledger.unwrap_or_default().limits();
        let mut servers = BTreeMap::new();
        for (server, written) in file.servers {
            if let Some(settings) = self.server(&server, &written) {
                if identity.is_none() && exchanges(&settings) {
                    let text = "`token_exchange` needs `[identity]`: without it nobody shows a token";
                    self.mistake(written.span().start, text);
                }
                servers.insert(server, settings);
            }
        }
        name_clients(&mut servers, identity.as_ref());
        Config {
            listen,
            data: file
                .data
                .map_or_else(|| self.environment.data.clone(), |data| self.environment.resolve(&data)),
            allowed_hosts,
            public_url: file.public_url.map(|url| url.get_ref().trim_end_matches('/').to_owned()),
            holds: file.approvals.settings(),
            export: self.destinations(&file.export),
            receipts: if file.receipts { Receipts::InMeta } else { Receipts::Off },
            tls: file.tls.map(|tls| TlsFiles {
                certificate: self.environment.resolve(tls.certificate.get_ref()),
                key: self.environment.resolve(tls.key.get_ref()),
            }),
            identity,
            policy,
            pinning,
            console,
            desk,
            limits,
            ledger,
            digest: Hash::of(self.text.as_bytes()),
            servers,
        }
    }

    fn identity(
        &mut self,
        file: Option<Spanned<IdentityFile>>,
        public_url: Option<&Spanned<String>>,
    ) -> Option<identity::Settings> {
        let file = file?;
        let Some(public_url) = public_url else {
            self.mistake(file.span().start, "`[identity]` needs `public_url`: tokens are for that address");
            return None;
        };
        let file = file.into_inner();
        let secret = file.login().and_then(|login| login.client_secret.as_ref());
        let secret = secret.and_then(|secret| self.secret(secret));
        Some(file.read(public_url.get_ref(), secret, &mut |at, text| self.mistake(at, text)))
    }

    fn console(&mut self, listen: &Spanned<String>) -> ConsoleAt {
        let at = listen.span().start;
        let address = listen.get_ref().parse::<SocketAddr>().ok();
        match address {
            None => self.mistake(at, "`[console] listen` is an address and a port, like `127.0.0.1:7801`"),
            Some(address) if !address.ip().is_loopback() => {
                let text = "`[console] listen` is on loopback, since passwords cross it; use 127.0.0.1, and \
                            `[console] public_url` for a proxy with TLS before it";
                self.mistake(at, text);
            }
            Some(_) => {}
        }
        address.map_or(ConsoleAt::Default, ConsoleAt::Configured)
    }

    fn host_of(&mut self, url: &Spanned<String>) -> Option<String> {
        let parsed = url.get_ref().parse::<Uri>().ok().filter(|uri| uri.scheme().is_some());
        let host = parsed.and_then(|uri| uri.host().map(str::to_owned));
        if host.is_none() {
            self.mistake(url.span().start, "`public_url` is an address like `https://tollbook.example`");
        }
        host
    }

    fn limits(file: &LimitsFile) -> Limits {
        let default = Limits::default();
        let seconds = |given: Option<u64>, default| given.map_or(default, Duration::from_secs);
        Limits {
            request_bytes: file.request_bytes.unwrap_or(default.request_bytes),
            message_bytes: file.message_bytes.unwrap_or(default.message_bytes),
            header_bytes: file.header_bytes.unwrap_or(default.header_bytes),
            request_wait: seconds(file.request_seconds, default.request_wait),
            connect_wait: seconds(file.connect_seconds, default.connect_wait),
            answer_wait: seconds(file.answer_seconds, default.answer_wait),
            silence: seconds(file.silence_seconds, default.silence),
            idle: seconds(file.idle_seconds, default.idle),
            drain: seconds(file.drain_seconds, default.drain),
        }
    }

    fn server(&mut self, name: &str, written: &Spanned<ServerFile>) -> Option<ServerSettings> {
        let at = written.span().start;
        let file = written.get_ref();
        match (&file.url, &file.command) {
            (Some(url), None) => self.http_server((name, url), file),
            (None, Some(command)) => self.stdio_server(command, file),
            (Some(_), Some(_)) => {
                self.mistake(at, &format!("server `{name}` has both `url` and `command`; keep one"));
                None
            }
            (None, None) => {
                self.mistake(at, &format!("server `{name}` needs `url` or `command`"));
                None
            }
        }
    }

    fn http_server(
        &mut self,
        (name, url): (&str, &Spanned<String>),
        file: &ServerFile,
    ) -> Option<ServerSettings> {
        let at = url.span().start;
        let parsed = url.get_ref().parse::<Uri>().ok();
        let parsed = parsed
            .filter(|uri| uri.authority().is_some() && matches!(uri.scheme_str(), Some("http" | "https")));
        if parsed.is_none() {
            self.mistake(at, "`url` is an address like `https://mcp.example/mcp`");
        }
        let (mut headers, mut changing) = (Vec::new(), Vec::new());
        for (header_name, written) in &file.headers {
            let at = written.span().start;
            let Ok(header) = HeaderName::from_bytes(header_name.as_bytes()) else {
                self.mistake(at, &format!("`{header_name}` cannot name a header"));
                continue;
            };
            let Some(value) = self.secret(written) else { continue };
            match HeaderValue::from_str(&value) {
                Ok(_) if written.get_ref().starts_with("file:") => {
                    changing.extend(self.source(written).map(|source| (header, source)));
                }
                Ok(mut value) => {
                    value.set_sensitive(true);
                    headers.push((header, value));
                }
                Err(_) => {
                    self.mistake(
                        at,
                        &format!("the value of header `{header_name}` holds bytes that no header may"),
                    );
                }
            }
        }
        let version = if file.http2 { HttpVersion::Http2Only } else { HttpVersion::Negotiated };
        let url = parsed?;
        let token =
            file.credentials.as_ref().and_then(|credentials| self.credentials(credentials, (name, &url)));
        let shown = token.is_some() || !changing.is_empty();
        let credentials = shown.then_some(identity::UpstreamSettings { headers: changing, token });
        let server = HttpServer { url, headers, credentials, version };
        match file.transport.as_ref().map(|transport| (transport.get_ref().as_str(), transport.span().start))
        {
            None | Some(("streamable-http", _)) => Some(ServerSettings::Http(server)),
            Some(("sse", at)) => {
                let settings = ServerSettings::Sse(server);
                if exchanges(&settings) {
                    self.mistake(at, "`token_exchange` needs Streamable HTTP: with `sse` a connection is shared by requests");
                }
                Some(settings)
            }
            Some((_, at)) => {
                self.mistake(at, "`transport` is `streamable-http` (the default) or `sse`");
                None
            }
        }
    }

    fn stdio_server(&mut self, command: &Spanned<CommandFile>, file: &ServerFile) -> Option<ServerSettings> {
        let at = command.span().start;
        let mut line = match command.get_ref() {
            CommandFile::Line(line) => line.clone(),
            CommandFile::Program(program) => vec![program.clone()],
        };
        line.extend(file.args.iter().cloned());
        if line.first().is_none_or(String::is_empty) {
            self.mistake(
                at,
                "`command` is a program and its arguments, like `[\"npx\", \"-y\", \"server\"]`",
            );
        }
        if let Some(credentials) = &file.credentials {
            let text = "`credentials` are for servers at a `url`; a `command` gets its own by `env`";
            self.mistake(credentials.span().start, text);
        }
        let mut env = self.environment.for_children.clone();
        for (name, value) in &file.env {
            if let Some(value) = self.secret(value) {
                env.insert(name.clone(), value);
            }
        }
        let user = file.user.as_ref().and_then(|user| {
            let found = user_ids(user.get_ref());
            if found.is_none() {
                self.mistake(user.span().start, &format!("there is no user `{}`", user.get_ref()));
            }
            found
        });
        let cwd = file.cwd.as_ref().map(|cwd| self.environment.resolve(cwd));
        Some(ServerSettings::Stdio(StdioServer { command: line, env, cwd, user }))
    }

    /// A value, or what `file:PATH` or `env:NAME` in it refers to. The value itself never enters a message.
    fn secret(&mut self, written: &Spanned<String>) -> Option<String> {
        let at = written.span().start;
        let text = written.get_ref();
        if let Some(path) = text.strip_prefix("file:") {
            let read = std::fs::read_to_string(self.environment.resolve(Path::new(path)));
            return match read {
                Ok(value) => Some(value.trim_end_matches(['\n', '\r']).to_owned()),
                Err(error) => {
                    self.mistake(at, &format!("`{path}` cannot be read: {error}"));
                    None
                }
            };
        }
        if let Some(name) = text.strip_prefix("env:") {
            let value = self.environment.variable(name);
            if value.is_none() {
                self.mistake(at, &format!("the environment has no `{name}`"));
            }
            return value;
        }
        Some(text.clone())
    }

    fn mistake(&mut self, at: usize, text: &str) {
        self.mistakes.push((line_of(self.text, at), text.to_owned()));
    }

    fn report(&self) -> String {
        self.mistakes.iter().map(|(line, text)| format!("  {}:{line}: {text}\n", self.name)).collect()
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7800))
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn user_ids(name: &str) -> Option<UserIds> {
    std::fs::read_to_string("/etc/passwd").ok()?.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(UserIds { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::interpret;
    use crate::environment::Environment;

    fn check(text: &str, expected: &Expect) {
        let read = interpret("t.toml", text, &Environment::read());
        expected.assert_eq(
            &read.map_or_else(|error| error.to_string(), |config| format!("{:?}", config.servers.keys())),
        );
    }

    #[test]
    fn servers_of_each_kind() {
        check(
            r#"
            [servers.a]
            url = "https://mcp.example/mcp"
            [servers.b]
            url = "http://127.0.0.1:1/sse"
            transport = "sse"
            [servers.c]
            command = ["npx", "server"]
            [servers.d]
            command = "npx"
            args = ["server"]
            "#,
            &expect![[r#"["a", "b", "c", "d"]"#]],
        );
    }

    #[test]
    fn credentials_are_whole_and_cross_in_private() {
        check(
            r#"
            [servers.a]
            url = "http://mcp.example/mcp"
            credentials = { kind = "bearer", token = "x" }
            [servers.b]
            url = "https://mcp.example/mcp"
            credentials = { kind = "bearer", token = "x", command = ["y"] }
            [servers.c]
            url = "https://mcp.example/mcp"
            credentials = { kind = "magic" }
            [servers.d]
            url = "https://mcp.example/mcp"
            credentials = { kind = "client_credentials", issuer = "http://as.example", client_secret = "s", key = "k" }
            [servers.e]
            url = "https://mcp.example/sse"
            transport = "sse"
            [servers.e.credentials]
            kind = "token_exchange"
            issuer = "https://as.example"
            client_id = "c"
            client_secret = "canary"
            authentication = "client_secret_jwt"
            [servers.f]
            url = "https://mcp.example/mcp"
            credentials = { kind = "token_exchange", issuer = "https://as.example", client_id = "c", key = "k", algorithm = "HS256" }
            [servers.g]
            command = "x"
            credentials = { kind = "bearer", token = "file:/no/such/file" }
            [servers.h]
            url = "https://mcp.example/mcp"
            credentials = { kind = "bearer", token = "file:/no/such/file" }
            "#,
            &expect![[r#"
                the configuration cannot be used:
                  t.toml:4: credentials are shown over https only, or over http on loopback; see `url`
                  t.toml:7: `bearer` needs `token`, or `command` with a program; one of them
                  t.toml:10: `kind` is one of `bearer`, `client_credentials`, `token_exchange`, `authorization_code`
                  t.toml:13: `client_credentials` needs `client_secret` or `key`; one of them
                  t.toml:13: `client_credentials` needs `issuer` and `client_id`
                  t.toml:13: an address like `https://as.example`; http on loopback alone
                  t.toml:22: `authentication` is `client_secret_basic` or `client_secret_post`
                  t.toml:23: `token_exchange` needs `[identity]`: without it nobody shows a token
                  t.toml:25: `algorithm`: expected one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA
                  t.toml:28: `credentials` are for servers at a `url`; a `command` gets its own by `env`
                  t.toml:31: `/no/such/file` cannot be read: No such file or directory (os error 2)
            "#]],
        );
    }

    /// An MCP server would say who gets the secret.
    #[test]
    fn who_is_registered_says_where() {
        check(
            r#"
            [servers.a]
            url = "https://mcp.example/mcp"
            credentials = { kind = "authorization_code" }
            [servers.b]
            url = "https://mcp.example/mcp"
            credentials = { kind = "authorization_code", issuer = "https://as.example", client_id = "c", client_secret = "canary" }
            "#,
            &expect![[r#"["a", "b"]"#]],
        );
        check(
            r#"
            [servers.a]
            url = "https://mcp.example/mcp"
            credentials = { kind = "authorization_code", client_id = "c" }
            [servers.b]
            url = "https://mcp.example/mcp"
            [servers.b.credentials]
            kind = "authorization_code"
            client_id = "c"
            client_secret = "canary"
            "#,
            &expect![[r#"
                the configuration cannot be used:
                  t.toml:4: `client_id` and `client_secret` need `issuer`: without it, they would be shown to whatever authorization server the server names
                  t.toml:10: `client_id` and `client_secret` need `issuer`: without it, they would be shown to whatever authorization server the server names
            "#]],
        );
    }

    #[test]
    fn all_mistakes_at_once_each_with_its_line() {
        check(
            r#"listen = "0.0.0.0:7800"
            public_url = "nonsense"
            [servers.a]
            url = "ftp://example"
            headers = { Authorization = "env:NO_SUCH_VARIABLE_HERE" }
            [servers.b]
            [servers.c]
            url = "http://x/"
            command = ["y"]
            [servers.d]
            url = "http://x/"
            transport = "carrier pigeon"
            [servers.e]
            command = []
            user = "nobody-of-that-name"
            [limits]
            message_bytes = 0
            [console]
            listen = "0.0.0.0:7801"
            "#,
            &expect![[r#"
                the configuration cannot be used:
                  t.toml:1: `listen` beyond loopback needs `[identity]` and `[tls]`: without them everybody may call, and tokens are readable on the way
                  t.toml:2: `public_url` is an address like `https://tollbook.example`
                  t.toml:4: `url` is an address like `https://mcp.example/mcp`
                  t.toml:5: the environment has no `NO_SUCH_VARIABLE_HERE`
                  t.toml:6: server `b` needs `url` or `command`
                  t.toml:7: server `c` has both `url` and `command`; keep one
                  t.toml:12: `transport` is `streamable-http` (the default) or `sse`
                  t.toml:14: `command` is a program and its arguments, like `["npx", "-y", "server"]`
                  t.toml:15: there is no user `nobody-of-that-name`
                  t.toml:17: `message_bytes` is a whole number of at least 1
                  t.toml:19: `[console] listen` is on loopback, since passwords cross it; use 127.0.0.1, and `[console] public_url` for a proxy with TLS before it
            "#]],
        );
    }

    #[test]
    fn wrong_keys_kinds_and_values_are_told_together() {
        check(
            r#"listn = "x"
            receipts = "yes"
            drain_seconds = 1
            url = "x"
            zebra = 1
            public_url = "nonsense"
            console = "127.0.0.1:1"
            [limits]
            drain_seconds = "10"
            header_bytes = 1000
            request_bytes = -1
            [ledger]
            reserve_percent = 300
            [tls]
            certificate = "c.pem"
            [servers.a]
            url = "ftp://example"
            htttp2 = true
            http2 = 1
            headers = { X = 1 }
            [servers.b]
            command = 1
            args = "x"
            "#,
            &expect![[r#"
                the configuration cannot be used:
                  t.toml:1: there is no `listn`; did you mean `listen`?
                  t.toml:2: `receipts` is `true` or `false`, without quotes
                  t.toml:3: `drain_seconds` belongs into `[limits]`
                  t.toml:4: `url` belongs into a server's section, like `[servers.files]`
                  t.toml:5: there is no `zebra` here; there is `approvals`, `console`, `data`, `export`, `identity`, `ledger`, `limits`, `listen`, `policy`, `public_url`, `receipts`, `servers`, `tls`
                  t.toml:6: `public_url` is an address like `https://tollbook.example`
                  t.toml:7: `console` is a section: write `[console]` and its keys below
                  t.toml:9: `drain_seconds` is a whole number of at least 0
                  t.toml:10: `header_bytes` is a whole number of at least 1024
                  t.toml:11: `request_bytes` is a whole number of at least 1
                  t.toml:13: `reserve_percent` is a whole number from 0 to 90
                  t.toml:14: `[tls]` needs `key`
                  t.toml:17: `url` is an address like `https://mcp.example/mcp`
                  t.toml:18: there is no `htttp2`; did you mean `http2`?
                  t.toml:19: `http2` is `true` or `false`, without quotes
                  t.toml:20: `X` is a text in quotes
                  t.toml:22: `command` is a program and its arguments, like `["npx", "-y", "server"]`
                  t.toml:23: `args` is a list of texts, like `["-y", "server"]`
            "#]],
        );
    }

    #[test]
    fn unknown_keys_are_mistakes() {
        check(
            "listn = \"x\"",
            &expect![[r#"
                the configuration cannot be used:
                  t.toml:1: there is no `listn`; did you mean `listen`?
            "#]],
        );
        check(
            "[servers.a]\nurl = \"http://x/\"\ncomand = \"y\"",
            &expect![[r#"
                the configuration cannot be used:
                  t.toml:3: there is no `comand`; did you mean `command`?
            "#]],
        );
        check(
            "listen = 1",
            &expect![[r#"
                the configuration cannot be used:
                  t.toml:1: `listen` is a text in quotes
            "#]],
        );
    }
}
