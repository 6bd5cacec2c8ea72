//! Whether the running gateway accepts calls now, by its own word.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde::Deserialize;

use super::{Finding, Patient};
use crate::config::ConsoleAt;

const CHECK: &str = "console";

/// Patience with an answer.
const WAIT: Duration = Duration::from_secs(2);

/// Longest answer that is read.
const ANSWER: u64 = 16 << 10;

/// What `/readyz` says.
#[derive(Debug, Deserialize)]
struct Readiness {
    checks: Vec<Told>,
}

#[derive(Debug, Deserialize)]
struct Told {
    ok: bool,
    #[serde(default)]
    why: String,
    #[serde(default)]
    remedy: String,
}

/// Asks it, where the configuration names its port: at the usual one another folder's gateway may answer.
pub(super) fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let console = patient.config.as_ref().map(|config| config.console);
    let Some(ConsoleAt::Configured(address)) = console else { return Vec::new() };
    let asked = TcpStream::connect_timeout(&address, WAIT).and_then(ask);
    match asked {
        Ok(readiness) => {
            let failed = readiness.checks.into_iter().filter(|told| !told.ok);
            let failed: Vec<_> = failed.map(|told| Finding::wrong(CHECK, told.why, told.remedy)).collect();
            match failed.is_empty() {
                true => vec![Finding::ok(CHECK, format!("the gateway at {address} accepts calls"))],
                false => failed,
            }
        }
        Err(error) => {
            let remedy = "start the gateway again: a console is made at its start";
            vec![Finding::look(CHECK, format!("no console answers at {address}: {error}"), remedy)]
        }
    }
}

fn ask(mut stream: TcpStream) -> io::Result<Readiness> {
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER).read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).map_err(|_| io::Error::other("what answers is no console"))
}
