//! A server that the gateway starts itself and talks to over standard streams.
//!
//! The child gets a process group of its own, a small environment and, if told so, another user. Its standard error
//! goes to a file; what it prints on standard output that is no message is logged by size and dropped. At the end
//! its input is closed, then comes TERM, then KILL, to the whole group.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::duplex::{Arrival, End, QUEUE};
use crate::messages::{Decoder, Item};
use crate::pipeline::Released;
use crate::settings::{Limits, StdioServer};
use crate::taking::Places;
use crate::upstream::Ground;

/// Patience after the child's input was closed, and again after TERM.
const PATIENCE: Duration = Duration::from_secs(3);

/// A child that lived this long was no failed start.
const SETTLED: Duration = Duration::from_secs(10);

/// Longest wait before another start.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// A standard-error file is started anew beyond this size; the one before is kept.
const STDERR_BYTES: u64 = 8 << 20;

/// Starts children of one server.
#[derive(Debug)]
pub(crate) struct Spawner {
    name: String,
    server: StdioServer,
    stderr: PathBuf,
    limits: Limits,
    places: Places,
    /// Starts that ended early, in a row, and when the next may begin. Owned here; locked for reads and writes of
    /// the two values only.
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    count: u32,
    not_before: Option<Instant>,
}

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("the server's program cannot be started")]
    Spawn(#[source] io::Error),
    #[error("the server's error log cannot be opened")]
    Stderr(#[source] io::Error),
    #[error("the server ended early several times; the next start waits {} s", .0.as_secs())]
    BackOff(Duration),
}

impl Spawner {
    pub(crate) fn new(name: &str, server: StdioServer, ground: &Ground<'_>) -> Spawner {
        Spawner {
            name: name.to_owned(),
            server,
            stderr: ground.stderr_dir.join(format!("{name}.log")),
            limits: ground.limits.clone(),
            places: ground.places.clone(),
            failures: Mutex::default(),
        }
    }

    /// Starts a child. Its task lives until the child is gone.
    pub(crate) fn start(self: &Arc<Self>) -> Result<End<Released>, SpawnError> {
        self.check_back_off()?;
        let child = self.command()?.spawn().map_err(SpawnError::Spawn)?;
        let (to, from_gateway) = mpsc::channel(QUEUE);
        let (to_gateway, from) = mpsc::channel(QUEUE);
        tracing::info!(server = self.name, pid = child.id(), "server started");
        let spawner = Arc::clone(self);
        tokio::spawn(async move { spawner.attend(child, from_gateway, to_gateway).await });
        Ok(End { to, from })
    }

    fn command(&self) -> Result<Command, SpawnError> {
        let (program, arguments) = self
            .server
            .command
            .split_first()
            .ok_or_else(|| SpawnError::Spawn(io::ErrorKind::InvalidInput.into()))?;
        let mut command = std::process::Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.server.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(self.open_stderr().map_err(SpawnError::Stderr)?);
        if let Some(cwd) = &self.server.cwd {
            command.current_dir(cwd);
        }
        {
            use std::os::unix::process::CommandExt as _;
            command.process_group(0);
            if let Some(user) = self.server.user {
                command.uid(user.uid).gid(user.gid);
            }
        }
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        Ok(command)
    }

    fn open_stderr(&self) -> io::Result<File> {
        if std::fs::metadata(&self.stderr).is_ok_and(|file| file.len() > STDERR_BYTES) {
            std::fs::rename(&self.stderr, self.stderr.with_extension("log.1"))?;
        }
        OpenOptions::new().append(true).create(true).mode(0o600).open(&self.stderr)
    }

    /// Carries bytes until either side ends, then sees the child off.
    async fn attend(
        &self,
        mut child: Child,
        from_gateway: mpsc::Receiver<Released>,
        to_gateway: mpsc::Sender<Arrival>,
    ) {
        // Both were asked for.
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return };
        let started = Instant::now();
        let group = child.id().and_then(|pid| i32::try_from(pid).ok());
        let writing = tokio::spawn(write_lines(stdin, from_gateway));
        // Reading goes on after the gateway has closed the input: answers may still come.
        let reading = read_lines(stdout, Decoder::lines(&self.limits, &self.places), &to_gateway);
        tokio::pin!(reading);
        let mut asked_to_end = false;
        tokio::select! {
            () = &mut reading => {}
            _ = writing => asked_to_end = true,
        }
        if asked_to_end && tokio::time::timeout(PATIENCE, &mut reading).await.is_err() {
            tracing::debug!(server = self.name, "server still runs after its input was closed");
        }
        let status = see_off(&mut child, group).await;
        self.count_end(started, asked_to_end);
        tracing::info!(server = self.name, status, "server ended");
        let _ = to_gateway.send(Arrival::Ended(status)).await;
    }

    fn check_back_off(&self) -> Result<(), SpawnError> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.not_before {
            Some(instant) if instant > Instant::now() => {
                Err(SpawnError::BackOff(instant.duration_since(Instant::now()).max(Duration::from_secs(1))))
            }
            _ => Ok(()),
        }
    }

    fn count_end(&self, started: Instant, asked_to_end: bool) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if asked_to_end || started.elapsed() > SETTLED {
            *failures = Failures::default();
            return;
        }
        failures.count = failures.count.saturating_add(1);
        // The first three early ends may be a client's doing; from then on each wait doubles.
        if let Some(doublings) = failures.count.checked_sub(3) {
            let wait = Duration::from_secs(1 << doublings.min(5)).min(LONGEST_BACK_OFF);
            failures.not_before = Some(Instant::now() + wait);
        }
    }
}

async fn write_lines(mut stdin: ChildStdin, mut messages: mpsc::Receiver<Released>) {
    while let Some(message) = messages.recv().await {
        let frame = message.frame();
        let mut line = Vec::with_capacity(frame.len() + 1);
        line.extend_from_slice(frame);
        line.push(b'\n');
        if stdin.write_all(&line).await.is_err() {
            return;
        }
    }
}

async fn read_lines(mut stdout: ChildStdout, mut decoder: Decoder, to_gateway: &mpsc::Sender<Arrival>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match stdout.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        decoder.push(buffer.get(..read).unwrap_or_default());
        while let Some(line) = decoder.next_item().await {
            let arrival = match line {
                Ok(Item::Message(line)) => Arrival::Message(line.content),
                // Lines are nothing else.
                Ok(Item::Other(_) | Item::Stray { .. }) => continue,
                Err(lost) => Arrival::Lost(lost),
            };
            if !arrival.send(to_gateway).await {
                return;
            }
        }
    }
}

/// Waits, sends TERM, waits, sends KILL; gives the exit status in words. What the child left behind in its group
/// goes with it.
async fn see_off(child: &mut Child, group: Option<i32>) -> String {
    let signal_group = |signal| {
        if let Some(group) = group.and_then(rustix::process::Pid::from_raw) {
            // The group may be gone already.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    };
    let mut ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    if ended.is_err() {
        signal_group(Signal::TERM);
        ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    }
    signal_group(Signal::KILL);
    let status = match ended {
        Ok(status) => status,
        Err(_) => child.wait().await,
    };
    status.map_or_else(|_| "unknown".to_owned(), |status| status.to_string())
}
