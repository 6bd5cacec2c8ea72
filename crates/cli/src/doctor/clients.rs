//! Which clients go through Tollbook, and whether what they start and where they point is there.

use super::{Finding, Patient};
use crate::setup::{Entry, Found, Source, Target, gateway_address, short};

const CHECK: &str = "clients";

/// One finding per configuration, and one per entry that cannot work.
pub(super) fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for unreadable in &patient.survey.unreadable {
        let text = format!("{}: {}", unreadable.client, unreadable.text);
        findings.push(Finding::wrong(CHECK, text, "correct the file; the client cannot read it either"));
    }
    let gateway = address(patient);
    for source in &patient.survey.sources {
        let servers = source.servers(&gateway);
        if !servers.is_empty() {
            findings.push(summary(patient, source, &servers));
            findings.extend(servers.iter().filter_map(|server| left(source, server)));
            findings.extend(servers.iter().filter_map(|server| broken(patient, source, server)));
            findings.extend(servers.iter().filter_map(|server| unfound(patient, source, server)));
        }
    }
    if findings.is_empty() {
        let remedy = "configure a server in a client, then `tollbook init`";
        findings.push(Finding::look(CHECK, "no client with MCP servers was found", remedy));
    }
    findings
}

/// Whether a client needs the gateway's listener.
pub(super) fn need_listener(patient: &Patient<'_>) -> bool {
    let gateway = address(patient);
    let mut servers = patient.survey.sources.iter().flat_map(|source| source.servers(&gateway));
    servers.any(|server| matches!(server.entry, Entry::AtGateway { .. }))
}

/// Where the gateway's servers are; the default address if the configuration cannot be used.
fn address(patient: &Patient<'_>) -> String {
    match &patient.config {
        Some(config) => {
            gateway_address(&config.listen.to_string(), if config.tls.is_some() { "https" } else { "http" })
        }
        None => gateway_address("127.0.0.1:7800", "http"),
    }
}

fn summary(patient: &Patient<'_>, source: &Source, servers: &[Found<'_>]) -> Finding {
    let place = format!("{} ({})", source.client_name(), short(&source.path, patient.environment.home()));
    let all = servers.len();
    let through = servers.iter().filter(|server| is_through(&server.entry)).count();
    let is_past = |entry: &Entry| matches!(entry, Entry::Program(_) | Entry::Remote { .. });
    let past: Vec<&str> = servers.iter().filter(|server| is_past(&server.entry)).map(|s| s.name).collect();
    if past.is_empty() {
        return Finding::ok(CHECK, format!("{place}: {through} of {all} servers go through Tollbook"));
    }
    let text = format!("{place}: {} of {all} servers go past Tollbook: {}", past.len(), past.join(", "));
    Finding::look(CHECK, text, "`tollbook init`")
}

fn is_through(entry: &Entry) -> bool {
    matches!(entry, Entry::Wrapped { .. } | Entry::AtGateway { .. })
}

/// An entry that goes past Tollbook and that `init` leaves.
fn left(source: &Source, server: &Found<'_>) -> Option<Finding> {
    let Entry::LeftAlone(why) = &server.entry else { return None };
    let text = format!("{}: `{}` goes past Tollbook: {why}", source.client_name(), server.name);
    Some(Finding::look(CHECK, text, "`init` leaves it: change the entry by hand if it is to be recorded"))
}

/// An entry whose server is not there, as far as this shell can tell.
fn unfound(patient: &Patient<'_>, source: &Source, server: &Found<'_>) -> Option<Finding> {
    let Entry::Wrapped { target: Target::Program { line, env, cwd }, .. } = &server.entry else {
        return None;
    };
    let program = line.first()?;
    // Others know better where these lead.
    let is_elsewhere = env.contains_key("PATH") || cwd.is_some() || program.contains(['$', '~']);
    if is_elsewhere || patient.environment.find_program(program).is_some() {
        return None;
    }
    let text = format!("{}: `{}` starts `{program}`, which is not found", source.client_name(), server.name);
    Some(Finding::look(CHECK, text, "install it, or write its path into the client's configuration"))
}

/// Whether a wrapped server has the name of one that its gateway is configured for.
fn is_taken(patient: &Patient<'_>, server: &Found<'_>, name: &str) -> bool {
    !server.names_gateway() && patient.config.as_ref().is_some_and(|config| config.servers.contains_key(name))
}

/// An entry that goes through Tollbook and cannot work.
fn broken(patient: &Patient<'_>, source: &Source, server: &Found<'_>) -> Option<Finding> {
    let place = format!("{}: `{}`", source.client_name(), server.name);
    match &server.entry {
        Entry::Wrapped { name, .. } if is_taken(patient, server, name) => {
            let text = format!(
                "{place} is wrapped as `{name}`, the name of a configured server: the gateway refuses it"
            );
            Some(Finding::wrong(CHECK, text, "give it another name with `--server`"))
        }
        Entry::Wrapped { .. } => {
            let command = server.command()?;
            patient.environment.find_program(command).is_none().then(|| {
                let text = format!("{place} starts `{command}`, which is not there");
                Finding::wrong(CHECK, text, "install it there, or `tollbook init --undo` and `tollbook init`")
            })
        }
        Entry::AtGateway { name } => {
            let config = patient.config.as_ref()?;
            (!config.servers.contains_key(name)).then(|| {
                let text = format!("{place} points at the gateway's `{name}`, which is not configured");
                Finding::wrong(CHECK, text, format!("write `[servers.{name}]` into `tollbook.toml`"))
            })
        }
        _ => None,
    }
}
