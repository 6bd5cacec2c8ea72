//! Whether a gateway answers at the data folder's socket and at its address.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{Finding, Patient, clients};

const CHECK: &str = "gateway";

/// Patience with an answer.
const WAIT: Duration = Duration::from_secs(2);

/// Longest answer that is read.
const ANSWER: u64 = 4 << 10;

/// What was found, and the process of the data folder's gateway.
pub(super) struct Gateway {
    pub(super) findings: Vec<Finding>,
    pub(super) process: Option<i32>,
}

/// Asks at both places.
pub(super) fn check(patient: &Patient<'_>) -> Gateway {
    let socket = crate::serve::socket_path(&patient.data);
    let shown = socket.display();
    let (mut process, mut is_there) = (None, true);
    let found = match at_socket(&socket) {
        Ok((id, true)) => {
            process = Some(id);
            Finding::ok(CHECK, format!("process {id} answers at `{shown}`"))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            is_there = false;
            Finding::ok(CHECK, "none runs; the first `tollbook wrap` starts one")
        }
        Ok((id, false)) => {
            let text = format!("what answers at `{shown}` is no gateway");
            Finding::wrong(CHECK, text, format!("end process {id}"))
        }
        Err(error) => {
            let remedy = "look into `serve.log` of the data folder, and restart the gateway";
            Finding::wrong(CHECK, format!("does not answer at `{shown}`: {error}"), remedy)
        }
    };
    let address = at_address(patient, process);
    // One that `wrap` starts is not the one that is wanted there.
    let found = Some(found).filter(|_| is_there || address.is_none());
    Gateway { findings: found.into_iter().chain(address).collect(), process }
}

/// The listener; without servers of its own and clients that point at it nobody needs one.
fn at_address(patient: &Patient<'_>, process: Option<i32>) -> Option<Finding> {
    let config = patient.config.as_ref()?;
    let is_needed = clients::need_listener(patient);
    if config.servers.is_empty() && !is_needed {
        return None;
    }
    let listen = config.listen;
    let remedy = match process {
        Some(id) => format!("keep `tollbook serve` running: it takes over from process {id}"),
        None => "keep `tollbook serve` running".to_owned(),
    };
    let connected = TcpStream::connect_timeout(&listen, WAIT);
    Some(match connected.and_then(|stream| if config.tls.is_some() { Ok(true) } else { ask(stream) }) {
        Ok(true) => Finding::ok(CHECK, format!("answers at {listen}")),
        Ok(false) => Finding::wrong(
            CHECK,
            format!("something else answers at {listen}"),
            "end it, or choose another `listen`",
        ),
        Err(error) if is_needed => Finding::wrong(
            CHECK,
            format!("clients point at {listen}, where nothing answers: {error}"),
            remedy,
        ),
        Err(_) => Finding::look(CHECK, format!("nothing answers at {listen}"), remedy),
    })
}

/// The process at the other end, and whether it is a gateway.
fn at_socket(path: &Path) -> io::Result<(i32, bool)> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    Ok((peer.pid.as_raw_nonzero().get(), is_healthy(stream)?))
}

fn ask(stream: TcpStream) -> io::Result<bool> {
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    is_healthy(stream)
}

/// Whether the other end answers as a gateway does.
fn is_healthy(mut stream: impl Read + Write) -> io::Result<bool> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200") && answer.trim_ascii_end().ends_with(b"ok"))
}
