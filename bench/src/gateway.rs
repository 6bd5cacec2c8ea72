//! The processes beside this one: the upstream, and the gateway on a data folder.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Target;
use crate::process;

/// A server in a process of its own, until it is dropped.
pub(crate) struct Upstream {
    child: Child,
    address: SocketAddr,
}

impl Upstream {
    pub(crate) fn start() -> anyhow::Result<Upstream> {
        let own = std::env::current_exe()?;
        let mut child = Command::new(own).arg("upstream").stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("no output")?;
        let line = BufReader::new(out).lines().next().context("the upstream did not start")??;
        Ok(Upstream { child, address: line.parse()? })
    }

    /// Its endpoint, without a gateway.
    pub(crate) fn target(&self) -> Target {
        Target { address: self.address, path: "/mcp" }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `tollbook serve`.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) data: PathBuf,
    address: SocketAddr,
}

impl Gateway {
    /// Starts one on a data folder, before an upstream.
    pub(crate) fn start(binary: &Path, data: &Path, upstream: &Upstream) -> anyhow::Result<Gateway> {
        std::fs::create_dir_all(data)?;
        let config = data.join("tollbook.toml");
        let url = upstream.address;
        let text = format!("listen = \"127.0.0.1:0\"\n[servers.bench]\nurl = \"http://{url}/mcp\"\n");
        std::fs::write(&config, text)?;
        let mut child = Command::new(binary)
            .args(["serve", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(data)
            .env("TOLLBOOK_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("the gateway cannot be started")?;
        let log = child.stderr.take().context("no output")?;
        let mut lines = BufReader::new(log).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("listening on http://").map(str::to_owned));
        // What it says later is a warning, and may be why a call fails.
        let warnings =
            lines.filter(|line| !line.starts_with("listening on ") && !line.starts_with("console on "));
        std::thread::spawn(move || warnings.for_each(|line| crate::say(&format!("gateway: {line}"))));
        let address = address.context("the gateway did not come up")?.parse()?;
        Ok(Gateway { child, data: data.to_owned(), address })
    }

    pub(crate) fn target(&self) -> Target {
        Target { address: self.address, path: "/mcp/bench" }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How far its index has come.
    pub(crate) fn indexed(&self) -> u64 {
        // Before the first record there is none.
        let index = store::Index::open(&self.data, store::Mode::ReadOnly).ok();
        index.and_then(|index| index.watermark().ok().flatten()).map_or(0, |mark| mark.size.0)
    }

    /// Waits until all that was recorded is published and in the index.
    pub(crate) async fn settle(&self) {
        let mut newest = self.indexed();
        let mut since = Instant::now();
        // A publication begins at most 0.7 s after the one before has ended.
        while since.elapsed() < Duration::from_millis(1500) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = self.indexed();
            // Heartbeats go on.
            if now > newest + 1 {
                since = Instant::now();
            }
            newest = newest.max(now);
        }
    }

    /// Processor time so far, in microseconds.
    pub(crate) fn cpu_micros(&self) -> anyhow::Result<f64> {
        process::cpu_micros(self.pid())
    }

    /// Ends it as an operator does; everything is published then.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process")?;
        kill_process(pid, Signal::TERM)?;
        ensure!(self.child.wait()?.success(), "the gateway did not end well");
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
