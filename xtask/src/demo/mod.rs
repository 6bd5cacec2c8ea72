//! The product on a real run: a gateway, two real servers, a scripted agent; then what the record says, that it holds, and
//! that a flipped byte is found. Then who may do what: a bank whose tellers log in, what policy makes of their calls, and a call
//! that waits for somebody else.

mod approved;
mod bank;
mod process;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use self::process::{PATIENCE, Running, free_port, show_lines, start, title};
use crate::setup;
use crate::shell::{Steps, say};
use crate::workspace::Workspace;

/// What becomes of the gateway at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It is stopped.
    Stop,
    /// It runs on.
    Keep,
}

/// Shows it.
pub(crate) fn run(workspace: &Workspace, after: After) -> anyhow::Result<()> {
    let mut steps = Steps::new();
    setup::peers(workspace, &mut steps)?;
    build(workspace)?;
    let folder = tempfile::Builder::new().prefix("tollbook-demo-").tempdir()?.keep();
    let stage =
        Stage { binary: workspace.binary(), data: folder.join("data"), project: folder.join("project") };
    stage.lay_out()?;

    title("Two real servers behind one gateway");
    let port = free_port()?;
    let mut server = start_everything(workspace, port)?;
    let mut gateway = stage.start_gateway(workspace, port)?;
    say(&format!(
        "  files       server-filesystem, a child process of the gateway ({})",
        stage.project.display()
    ));
    say(&format!("  everything  server-everything, over HTTP on port {port}"));
    say(&format!("  gateway     {}, its ledger in {}", gateway.url, stage.data.display()));

    title("An agent does its work");
    act(workspace, &gateway.url, &stage.project)?;

    title("What the ledger says: each run, step by step");
    for run in stage.closed_runs()? {
        stage.show(&["replay", &run], 400)?;
    }
    stage.show(&["calls", "method:tools/call"], 20)?;

    title("Proof: every record, every payload, every run");
    stage.show(&["verify"], 20)?;

    title("Forgery: one byte of the agent's `write_file` is flipped in a copy of the ledger");
    stage.forge(&folder.join("forged"))?;

    bank::run(workspace, &folder.join("bank"))?;

    match after {
        After::Keep => {
            (gateway.keeps, server.keeps) = (true, true);
            stage.hand_over(&gateway, &server);
        }
        After::Stop => {
            drop(gateway);
            drop(server);
            std::fs::remove_dir_all(&folder)?;
            say(
                "\nYour own client next: README.md, \"Your own client, in a minute\". `--keep` leaves this gateway running.",
            );
        }
    }
    Ok(())
}

/// Cargo shows its own progress.
fn build(workspace: &Workspace) -> anyhow::Result<()> {
    say("building tollbook (minutes the first time)");
    let status =
        setup::cargo(workspace).args(["build", "--package", "cli"]).status().context("cannot run cargo")?;
    ensure!(status.success(), "tollbook does not build");
    Ok(())
}

struct Stage {
    binary: PathBuf,
    data: PathBuf,
    project: PathBuf,
}

impl Stage {
    /// A small project for the agent to work on.
    fn lay_out(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.project)?;
        std::fs::create_dir_all(&self.data)?;
        let readme = "# Weather station\n\nReadings of one year; see measurements.csv.\n";
        std::fs::write(self.project.join("README.md"), readme)?;
        let mut table = String::from("hour,temperature,humidity\n");
        for hour in 0..24 * 365_u32 {
            table.push_str(&format!("{hour},{}.{},{}\n", 5 + hour % 17, hour % 10, 40 + hour % 43));
        }
        std::fs::write(self.project.join("measurements.csv"), table)?;
        Ok(())
    }

    fn start_gateway(&self, workspace: &Workspace, port: u16) -> anyhow::Result<Running> {
        let server = workspace
            .root
            .join("e2e/peers/node/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
        let config = self.data.join("tollbook.toml");
        std::fs::write(
            &config,
            format!(
                "listen = \"127.0.0.1:0\"\n\n[servers.files]\ncommand = [{:?}, {server:?}, {:?}]\n\n\
                 [servers.everything]\nurl = \"http://127.0.0.1:{port}/mcp\"\n",
                workspace.node(),
                self.project
            ),
        )?;
        let mut command = Command::new(&self.binary);
        command
            .args(["serve", "--config"])
            .arg(config)
            .arg("--data")
            .arg(&self.data)
            .env("TOLLBOOK_LOG", "warn");
        let (child, line) = start(command, "listening on http", &self.data.join("gateway.log"))?;
        let url = line.trim_start_matches("listening on ").to_owned();
        Ok(Running { child, url, keeps: false })
    }

    /// Runs a command of the binary and shows it with what it prints, at most so many lines.
    fn show(&self, arguments: &[&str], most: usize) -> anyhow::Result<()> {
        say(&format!("\n$ tollbook {}", arguments.join(" ")));
        let output = Command::new(&self.binary).arg("--data").arg(&self.data).args(arguments).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        show_lines(&output.stdout, most);
        Ok(())
    }

    /// Waits until the agent's two runs are closed and in the index; gives their ids, oldest first.
    fn closed_runs(&self) -> anyhow::Result<Vec<String>> {
        let started = Instant::now();
        loop {
            let output = Command::new(&self.binary)
                .arg("--data")
                .arg(&self.data)
                .args(["run", "list", "--json"])
                .output()?;
            let lines = String::from_utf8_lossy(&output.stdout).into_owned();
            let runs: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            if runs.len() >= 2
                && runs.iter().all(|run| run.get("closed").is_some_and(|closed| !closed.is_null()))
            {
                let mut ids: Vec<String> =
                    runs.iter().filter_map(|run| run.get("run")?.as_str().map(str::to_owned)).collect();
                ids.reverse();
                return Ok(ids);
            }
            ensure!(started.elapsed() < PATIENCE, "the runs are not in the index:\n{lines}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Flips a byte of one record in a copy and shows that verification names that record.
    fn forge(&self, copy: &Path) -> anyhow::Result<()> {
        let seq = self.record_of_write()?;
        let copied = Command::new("cp").arg("-r").arg(self.data.join("log")).arg(copy).status()?;
        ensure!(copied.success(), "the ledger cannot be copied");
        let log = copy.with_file_name("log");
        std::fs::rename(copy, &log)?;
        let (file, at) = find_entry(&log, seq)?;
        let mut bytes = std::fs::read(&file)?;
        let byte = bytes.get_mut(at).context("the bundle is shorter than its record")?;
        *byte ^= 1;
        std::fs::write(&file, bytes)?;
        say(&format!("  record {seq}: byte {at} of {}", file.display()));
        let key = std::fs::read_to_string(self.data.join("keys/log.vkey"))?;
        say(&format!("\n$ tollbook verify {} --vkey {}", log.display(), key.trim()));
        let output =
            Command::new(&self.binary).arg("verify").arg(&log).args(["--vkey", key.trim()]).output()?;
        show_lines(&output.stdout, 12);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.code() == Some(1), "a forged record was not found");
        ensure!(said.contains(&format!("record {seq}:")), "the forged record was not named");
        Ok(())
    }

    fn record_of_write(&self) -> anyhow::Result<u64> {
        let output = Command::new(&self.binary)
            .arg("--data")
            .arg(&self.data)
            .args(["calls", "--json", "name:write_file"])
            .output()?;
        let call: Value =
            serde_json::from_slice(&output.stdout).context("the agent's write is not in the index")?;
        call.get("seq").and_then(Value::as_u64).context("the call has no record")
    }

    /// Leaves both processes running and says how to use them.
    fn hand_over(&self, gateway: &Running, server: &Running) {
        say("\nThe gateway runs on. Point a client at it:");
        say(&format!("  HTTP    {0}/mcp/files   {0}/mcp/everything", gateway.url));
        say(&format!(
            "  stdio   {} --data {} wrap --server NAME -- COMMAND…",
            self.binary.display(),
            self.data.display()
        ));
        say(&format!("Read it:  {} --data {} calls --follow", self.binary.display(), self.data.display()));
        say(&format!("Stop it:  kill {} {}", gateway.child.id(), server.child.id()));
    }
}

fn start_everything(workspace: &Workspace, port: u16) -> anyhow::Result<Running> {
    let mut command = Command::new(workspace.node());
    command.arg(
        workspace
            .root
            .join("e2e/peers/node/node_modules/@modelcontextprotocol/server-everything/dist/index.js"),
    );
    command.arg("streamableHttp").env("PORT", port.to_string());
    let (child, _) =
        start(command, &port.to_string(), &std::env::temp_dir().join("tollbook-demo-server.log"))?;
    Ok(Running { child, url: String::new(), keeps: false })
}

fn act(workspace: &Workspace, url: &str, project: &Path) -> anyhow::Result<()> {
    let script = workspace.root.join("e2e/peers/clients/agent.mjs");
    let status = Command::new(workspace.node())
        .arg(script)
        .arg(url)
        .arg(project)
        .status()
        .context("cannot run the agent")?;
    ensure!(status.success(), "the agent failed");
    Ok(())
}

/// The bundle that holds an entry of a small log, and the place of a byte in the middle of that entry.
fn find_entry(log: &Path, seq: u64) -> anyhow::Result<(PathBuf, usize)> {
    let bundle = format!("tile/entries/{:03}", seq / 256);
    let full = log.join(&bundle);
    let file = if full.is_file() { full } else { widest(&log.join(format!("{bundle}.p")))? };
    let bytes = std::fs::read(&file)?;
    let mut at = 0;
    for _ in 0..seq % 256 {
        at += 2 + entry_length(&bytes, at)?;
    }
    Ok((file, at + 2 + entry_length(&bytes, at)? / 2))
}

fn entry_length(bundle: &[u8], at: usize) -> anyhow::Result<usize> {
    let length =
        bundle.get(at..at + 2).and_then(|length| length.try_into().ok()).context("the bundle is cut off")?;
    Ok(usize::from(u16::from_be_bytes(length)))
}

fn widest(folder: &Path) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(folder)?.flatten();
    let widths = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(folder.join(widths.max().context("the log has no entries")?.to_string()))
}
