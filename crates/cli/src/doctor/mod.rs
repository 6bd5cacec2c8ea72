//! `tollbook doctor`: looks at the whole installation and says what to do about what it finds. It changes nothing.
//!
//! Each module checks one part and gives [`Finding`]s; [`run`] puts them in order and prints them.

mod clients;
mod console;
mod folder;
mod gateway;
mod ledger;
mod servers;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::config::{self, Config};
use crate::environment::Environment;
use crate::read::text::{json_line, visible};
use crate::setup::Survey;

/// Something is wrong.
const WRONG: u8 = 1;

/// Check the whole installation and say what to do.
///
/// Looks at the configuration, the clients, the gateway, the servers, the data folder, the ledger and the index. Each line
/// begins with ✓ (in order), ! (worth a look) or ✕ (wrong). Exit code 1: something is wrong. `tollbook verify` checks every
/// record; this checks the newest ones.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Look,
    Wrong,
}

/// What a check found.
#[derive(Debug, Serialize)]
struct Finding {
    /// The part, as in `ledger`.
    check: &'static str,
    state: State,
    text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, text: impl Into<String>) -> Finding {
        Finding { check, state: State::Ok, text: text.into(), remedy: None }
    }

    fn look(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { check, state: State::Look, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn wrong(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { check, state: State::Wrong, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn line(&self) -> String {
        let mark = match self.state {
            State::Ok => "✓",
            State::Look => "!",
            State::Wrong => "✕",
        };
        let remedy = self.remedy.as_ref().map(|remedy| format!(" → {remedy}")).unwrap_or_default();
        visible(&format!("{mark} {:<9} {}{remedy}", self.check, self.text))
    }
}

/// What the checks look at.
struct Patient<'a> {
    environment: &'a Environment,
    /// `None` if it cannot be used.
    config: Option<Config>,
    data: PathBuf,
    survey: Survey,
    now: Timestamp,
}

/// Checks everything; exit code 1 if something is wrong.
pub(crate) fn run(
    args: &DoctorArgs,
    environment: &Environment,
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let findings = examine(environment, now);
    let is_wrong = findings.iter().any(|finding| finding.state == State::Wrong);
    if args.json {
        #[derive(Serialize)]
        struct Report<'a> {
            ok: bool,
            checks: &'a [Finding],
        }
        writeln!(out, "{}", json_line(&Report { ok: !is_wrong, checks: &findings })?)?;
    } else {
        for finding in &findings {
            writeln!(out, "{}", finding.line())?;
        }
    }
    Ok(if is_wrong { WRONG } else { 0 })
}

fn examine(environment: &Environment, now: Timestamp) -> Vec<Finding> {
    let read = config::read(environment.config.as_deref(), environment);
    let mut findings = vec![configuration(environment, read.as_ref().err())];
    let config = read.ok();
    let configured = config.as_ref().filter(|_| !environment.is_data_given).map(|config| config.data.clone());
    let data = configured.unwrap_or_else(|| environment.data.clone());
    let patient = Patient { environment, config, data, survey: Survey::of(environment), now };
    findings.extend(clients::check(&patient));
    let gateway = gateway::check(&patient);
    let is_running = gateway.process.is_some();
    findings.extend(gateway.findings);
    if let Some(process) = gateway.process {
        findings.extend(console::check(&patient, process));
    }
    findings.extend(servers::check(&patient));
    findings.extend(folder::check(&patient));
    findings.extend(ledger::check(&patient, is_running));
    findings
}

fn configuration(environment: &Environment, error: Option<&config::ConfigError>) -> Finding {
    let shown = environment.config_file().display();
    match (error, &environment.config) {
        (Some(error), _) => {
            let text = error.to_string();
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            Finding::wrong("config", lines.join(" "), format!("correct `{shown}`"))
        }
        (None, Some(path)) => Finding::ok("config", format!("`{}` is valid", path.display())),
        (None, None) => Finding::ok("config", format!("no `{shown}`: the defaults hold")),
    }
}

/// A span of time for people.
fn duration(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
