//! The processes beside this one: the upstream, and the gateway on a data folder.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http::HeaderValue;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Caller, Target};
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
        Target { address: self.address, path: "/mcp", credential: None }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Whoever can connect.
    Open,
    /// Runs with a token, as policies allow.
    Guarded,
    /// The same, and calls whose text begins with `held-` wait for people.
    Holding,
}

/// How long calls wait for people.
pub(crate) const HOLDS_LAST: Duration = Duration::from_secs(90);

/// A data folder and its configuration, ready to be started.
pub(crate) struct Site {
    binary: PathBuf,
    data: PathBuf,
    credential: Option<HeaderValue>,
}

impl Site {
    /// Lays one out before an upstream; a guarded one has a run.
    pub(crate) fn lay_out(
        binary: &Path,
        data: &Path,
        upstream: &Upstream,
        access: Access,
    ) -> anyhow::Result<Site> {
        std::fs::create_dir_all(data)?;
        let upstream = upstream.address;
        let mut text =
            format!("listen = \"127.0.0.1:0\"\n[servers.bench]\nurl = \"http://{upstream}/mcp\"\n");
        let mut site = Site { binary: binary.to_owned(), data: data.to_owned(), credential: None };
        if access == Access::Open {
            std::fs::write(data.join("tollbook.toml"), text)?;
            return Ok(site);
        }
        let policies = data.join("bench.cedar");
        text = format!("public_url = \"http://{PUBLIC}\"\n{text}[identity]\n[policy]\npath = {policies:?}\n");
        let mut office = policies_of_an_office();
        if access == Access::Holding {
            let seconds = HOLDS_LAST.as_secs();
            office += HELD;
            text += &format!(
                "[approvals]\nwait_seconds = {}\nlasts_seconds = {seconds}\npending_of_run = 5000\n",
                2 * seconds
            );
        }
        std::fs::write(&policies, office)?;
        std::fs::write(data.join("tollbook.toml"), text)?;
        site.credential = Some(site.mint()?);
        Ok(site)
    }

    /// A run's token, as it is presented.
    fn mint(&self) -> anyhow::Result<HeaderValue> {
        let output = self
            .command(&["run", "mint", "--user", "bench", "--groups", "callers", "--lives", "12h"])
            .output()?;
        ensure!(output.status.success(), "no run: {}", String::from_utf8_lossy(&output.stderr));
        let token = String::from_utf8(output.stdout)?;
        Ok(HeaderValue::from_str(&format!("Bearer {}", token.trim_end()))?)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--config").arg(self.data.join("tollbook.toml"));
        command.arg("--data").arg(&self.data).env("TOLLBOOK_LOG", "warn").stdin(Stdio::null());
        command
    }

    /// Starts it.
    pub(crate) fn start(self) -> anyhow::Result<Gateway> {
        let mut child = self
            .command(&["serve"])
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
        Ok(Gateway { child, data: self.data, address, credential: self.credential })
    }
}

/// Thirty policies: one permits what is measured, the others are of other groups or other servers, or look at arguments.
fn policies_of_an_office() -> String {
    let mut text =
        format!("permit (principal in Group::\"callers\", {CALL}, resource in Server::\"bench\");\n");
    for number in 0..19 {
        text += &format!(
            "permit (principal in Group::\"team-{number}\", {CALL}, resource in Server::\"bench\");\n"
        );
    }
    for number in 0..10 {
        text += &format!(
            "forbid (principal, {CALL}, resource == Tool::\"bench/echo\") when {{ context.arguments.text like \"forbidden-{number}*\" }};\n"
        );
    }
    text
}

/// What waits for people.
const HELD: &str = "@hold(\"oncall\")\n\
    permit (principal, action == Action::\"tools/call\", resource == Tool::\"bench/echo\") when { context.arguments.text like \"held-*\" };\n";

const CALL: &str = "action == Action::\"tools/call\"";

/// Where clients would find the gateway; tokens are for that address.
const PUBLIC: &str = "127.0.0.1:7800";

/// A running `tollbook serve`.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) data: PathBuf,
    address: SocketAddr,
    credential: Option<HeaderValue>,
}

impl Gateway {
    /// Starts a guarded one on a data folder, before an upstream, and lets it see the tools.
    pub(crate) async fn start(binary: &Path, data: &Path, upstream: &Upstream) -> anyhow::Result<Gateway> {
        Gateway::with(binary, data, upstream, Access::Guarded).await
    }

    /// The same with other access.
    pub(crate) async fn with(
        binary: &Path,
        data: &Path,
        upstream: &Upstream,
        access: Access,
    ) -> anyhow::Result<Gateway> {
        let gateway = Site::lay_out(binary, data, upstream, access)?.start()?;
        Caller::connect(&gateway.target()).await?.list().await?;
        Ok(gateway)
    }

    pub(crate) fn target(&self) -> Target {
        Target { address: self.address, path: "/mcp/bench", credential: self.credential.clone() }
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
