//! Processes of the demo, and what is shown of them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::shell::say;

/// Time for a process to come up, and for runs to be closed and in the index.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// A process that ends with its value, unless it is handed over.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) url: String,
    pub(super) keeps: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid.filter(|_| !self.keeps) {
            // It may have ended.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// Starts a process and waits for a line on its standard error that begins with, or holds, `ready`.
pub(super) fn start(mut command: Command, ready: &str, log: &Path) -> anyhow::Result<(Child, String)> {
    let sink = std::fs::File::create(log)?;
    command.stdin(Stdio::null()).stdout(sink.try_clone()?).stderr(sink);
    let mut child =
        command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let started = Instant::now();
    loop {
        let lines = BufReader::new(std::fs::File::open(log)?).lines();
        if let Some(line) = lines.map_while(Result::ok).find(|line| line.contains(ready)) {
            return Ok((child, line));
        }
        if child.try_wait()?.is_some() || started.elapsed() > PATIENCE {
            bail!("it did not come up:\n{}", std::fs::read_to_string(log)?);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free just now.
pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A heading.
pub(super) fn title(text: &str) {
    say(&format!("\n── {text}"));
}

/// What a command printed, at most so many lines.
pub(super) fn show_lines(bytes: &[u8], most: usize) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().take(most).for_each(|line| say(&format!("  {line}")));
    if lines.len() > most {
        say(&format!("  … {} more lines", lines.len() - most));
    }
}
