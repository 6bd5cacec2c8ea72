//! `serve` on a data folder that a gateway of `wrap`'s has: that one is told to end, and its tunnels drain. Any other gateway
//! stays, and who starts a second one is told which process it is.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use gateway::settings::Limits;
use recorder::{StartError, Started};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::socket_path;

/// Beyond the drain time: for tunnels to end and a ledger to close.
const CLOSING: Duration = Duration::from_secs(15);

/// Between two looks at the folder's lock.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Opens the ledger; ends the background gateway that has it, if it is this user's own.
pub(super) async fn open_ledger(settings: recorder::Settings) -> anyhow::Result<Started> {
    // The background gateway has the default drain time.
    let deadline = Instant::now() + Limits::default().drain + CLOSING;
    let mut told = None;
    loop {
        let error = match recorder::start(settings.clone()) {
            Ok(started) => return Ok(started),
            Err(error @ StartError::InUse { .. }) => error,
            Err(error) => return Err(error).context("the ledger cannot be opened"),
        };
        // A client whose tunnel ended may start another one before this process has the folder.
        match background_gateway(&settings.dir) {
            Some(process) if told != Some(process) => {
                told = Some(process);
                end(process).with_context(|| format!("process {process} cannot be told to end"))?;
                let process = process.as_raw_nonzero();
                tracing::info!(process, "taking over from the gateway that `wrap` started; it drains");
            }
            None if told.is_none() => {
                let named = holder(&settings.dir)
                    .map(|process| format!("; it is process {process}: `kill {process}`"));
                let error = anyhow!("{error}{}", named.unwrap_or_default());
                return Err(error.context("the ledger cannot be opened"));
            }
            _ if Instant::now() > deadline => {
                let text = "the gateway that `wrap` started does not end";
                return Err(anyhow!(error).context(text));
            }
            _ => {}
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The process at the folder's socket.
fn holder(data: &Path) -> Option<Pid> {
    let stream = UnixStream::connect(socket_path(data)).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    (peer.uid == rustix::process::geteuid()).then_some(peer.pid)
}

/// The same, if it was started for `wrap` alone.
fn background_gateway(data: &Path) -> Option<Pid> {
    let process = holder(data)?;
    let command = std::fs::read(format!("/proc/{process}/cmdline")).ok()?;
    is_background(&command).then_some(process)
}

fn is_background(command: &[u8]) -> bool {
    let mut words = command.split(|byte| *byte == 0).skip(1);
    words.next() == Some(b"serve") && words.next() == Some(b"--socket-only")
}

/// By a descriptor: the number may be another process's by now.
fn end(process: Pid) -> rustix::io::Result<()> {
    let descriptor = pidfd_open(process, PidfdFlags::empty())?;
    match pidfd_send_signal(&descriptor, Signal::TERM) {
        // It has ended by itself.
        Err(rustix::io::Errno::SRCH) => Ok(()),
        sent => sent,
    }
}

#[cfg(test)]
mod tests {
    use super::is_background;

    #[test]
    fn only_what_wrap_starts_is_taken_over() {
        for (command, expected) in [
            (&b"/usr/bin/tollbook\0serve\0--socket-only\0--data\0/d\0"[..], true),
            (b"tollbook\0serve\0", false),
            (b"tollbook\0serve\0--config\0--socket-only\0", false),
            (b"vi\0--socket-only\0", false),
            (b"", false),
        ] {
            assert_eq!(is_background(command), expected, "{}", String::from_utf8_lossy(command));
        }
    }
}
