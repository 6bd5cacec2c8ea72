//! Whether the running gateway accepts calls now, by its own word.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
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

/// Asks it. At the usual port, where the configuration names none, another folder's gateway may answer: only that of this
/// process is asked there.
pub(super) fn check(patient: &Patient<'_>, process: i32) -> Vec<Finding> {
    let console = patient.config.as_ref().map_or(ConsoleAt::Default, |config| config.console);
    let address = console.address();
    if console == ConsoleAt::Default && !listens(process, address) {
        return Vec::new();
    }
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

/// Whether a process listens at an address of this machine.
fn listens(process: i32, address: SocketAddr) -> bool {
    let SocketAddr::V4(address) = address else { return false };
    let place = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    // The inode of the socket that listens there: proc(5).
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let inode = table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_it = words.get(1) == Some(&place.as_str()) && words.get(3) == Some(&"0A");
        words.get(9).filter(|_| is_it).map(|inode| format!("socket:[{inode}]"))
    });
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    inode.is_some_and(|inode| links.any(|link| link.as_os_str() == inode.as_str()))
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::listens;

    #[test]
    fn who_listens_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let own = std::process::id().cast_signed();
        assert!(listens(own, address));
        assert!(!listens(1, address));
        drop(listener);
        assert!(!listens(own, address));
    }
}
