//! Who, and whether: a bank behind the gateway, a local identity provider, a person and a job with a run each; a tool that is
//! hidden, a call that is denied by its argument, a tool that changes, and what an operator makes of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::approved;
use super::process::{Running, free_port, show_lines, start, title};
use crate::shell::say;
use crate::workspace::Workspace;

pub(super) const POLICIES: &str = r#"@id("tellers look")
permit (principal in Group::"tellers", action == Action::"tools/call", resource == Tool::"bank/balance");

@id("small transfers")
permit (principal in Group::"tellers", action == Action::"tools/call", resource == Tool::"bank/transfer")
when { context.arguments.amount <= 1000 };
"#;

/// Shows it.
pub(super) fn run(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    title("Who, and whether: a bank, an identity provider, and two lines of policy");
    std::fs::create_dir_all(folder)?;
    let office = Office::open(workspace, folder)?;
    POLICIES.lines().for_each(|line| say(&format!("  {line}")));

    title("A person and a job, each with a run of its own");
    let seen = office.work("teller")?;
    expect(&seen, &["balance, transfer", "80 moved to acct-9", "denied: ", "Unknown tool: close_account"])?;
    let seen = office.work("job")?;
    expect(&seen, &["the bank has balance\n", "Unknown tool: transfer"])?;
    office.shows(0, &["run", "minted"], &["nightly balance report"])?;

    title("The server changes a tool behind everybody's back");
    office.tamper()?;
    expect(&office.work("teller")?, &["the bank has balance\n", "Unknown tool: transfer"])?;
    office.shows(0, &["policy", "tools", "--waiting"], &["bank/transfer"])?;
    office.shows(0, &["policy", "accept", "bank/transfer"], &["do not tell the user"])?;

    title("Why was it denied, and what would another policy do?");
    let call = office.denied()?;
    office.shows(1, &["policy", "explain", &call], &["small transfers", "9000"])?;
    let draft = office.draft()?;
    office.shows(1, &["policy", "what-if", &draft], &["denied that were not"])?;

    approved::run(&office)?;

    title("The record of all that");
    office.shows(0, &["calls", "server:bank method:tools/call"], &["transfer"])?;
    office.shows(0, &["verify"], &[])?;
    Ok(())
}

/// The processes of the scene; they end with it.
pub(super) struct Office<'a> {
    workspace: &'a Workspace,
    pub(super) folder: PathBuf,
    pub(super) gateway: Running,
    /// Where operators log in.
    pub(super) console: String,
    provider: Running,
    bank: Running,
}

impl<'a> Office<'a> {
    fn open(workspace: &'a Workspace, folder: &Path) -> anyhow::Result<Self> {
        let url = format!("http://127.0.0.1:{}", free_port()?);
        let console = format!("127.0.0.1:{}", free_port()?);
        let bank = node(workspace, folder, "bank", &[])?;
        let provider = node(workspace, folder, "provider", &[&free_port()?.to_string(), &url])?;
        let policies = folder.join("bank.cedar");
        std::fs::write(&policies, POLICIES)?;
        let config = folder.join("tollbook.toml");
        let settings = format!(
            "listen = {:?}\npublic_url = {url:?}\n[console]\nlisten = {console:?}\n[approvals]\nrefusal_seconds = 1\n[policy]\npath = {policies:?}\n[servers.bank]\nurl = {:?}\n\
             [identity.issuers.corporate]\nurl = {:?}\ngroups_claim = \"groups\"\n\
             [identity.login]\nissuer = \"corporate\"\nclient_id = \"tollbook\"\n\
             client_secret = \"canary-of-the-client-secret\"\nscopes = [\"openid\", \"groups\"]\n",
            url.trim_start_matches("http://"),
            bank.url,
            provider.url,
        );
        std::fs::write(&config, settings)?;
        let mut command = Command::new(workspace.binary());
        command.arg("serve").arg("--config").arg(&config).arg("--data").arg(folder.join("data"));
        command.env("TOLLBOOK_LOG", "warn");
        let (child, _) = start(command, "listening on http", &folder.join("gateway.log"))?;
        let gateway = Running { child, url, keeps: false };
        let console = format!("http://{console}");
        Ok(Self { workspace, folder: folder.to_owned(), gateway, console, provider, bank })
    }

    /// One of them at work.
    pub(super) fn banker(&self, who: &str) -> Command {
        let script = self.workspace.root.join("e2e/peers/clients/bankers.mjs");
        let mut command = Command::new(self.workspace.node());
        command.arg(script).args([&self.gateway.url, &self.provider.url, who]);
        command
    }

    /// One of them does their work; gives what was said.
    fn work(&self, who: &str) -> anyhow::Result<String> {
        let output = self.banker(who).output().context("cannot run node")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        say(said.trim_end());
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(said)
    }

    fn tamper(&self) -> anyhow::Result<()> {
        let url = self.bank.url.replace("/mcp", "/tamper");
        self.script(&format!("await fetch({url:?}, {{ method: 'POST' }})"))
    }

    /// Runs a line of JavaScript.
    pub(super) fn script(&self, line: &str) -> anyhow::Result<()> {
        let done =
            Command::new(self.workspace.node()).args(["--input-type=module", "--eval", line]).status()?;
        ensure!(done.success(), "`{line}` failed");
        Ok(())
    }

    /// The id of the call that was denied by its argument.
    fn denied(&self) -> anyhow::Result<String> {
        let output = self.tollbook(&["calls", "--json", "tool:transfer verdict:deny 9000"]).output()?;
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        // Newest first; later the whole tool was hidden.
        let oldest = lines.lines().last().context("the denied call is not in the index")?;
        let call: Value = serde_json::from_str(oldest)?;
        let id = call.get("call").and_then(Value::as_str);
        Ok(id.context("the call has no id")?.to_owned())
    }

    /// Policies that are narrower by one number.
    fn draft(&self) -> anyhow::Result<String> {
        let draft = self.folder.join("draft.cedar");
        std::fs::write(&draft, POLICIES.replace("<= 1000", "<= 50"))?;
        Ok(draft.display().to_string())
    }

    /// Shows a command and what it prints, which must end with that code and hold these words.
    pub(super) fn shows(&self, code: i32, arguments: &[&str], words: &[&str]) -> anyhow::Result<()> {
        say(&format!("\n$ tollbook {}", arguments.join(" ")));
        let output = self.tollbook(arguments).output()?;
        show_lines(&output.stdout, 60);
        let problem = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code), "it ends with {}: {problem}", output.status);
        expect(&String::from_utf8_lossy(&output.stdout), words)
    }

    pub(super) fn tollbook(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.workspace.binary());
        command.args(arguments).arg("--data").arg(self.folder.join("data"));
        if arguments.first() == Some(&"policy") {
            command.arg("--config").arg(self.folder.join("tollbook.toml"));
        }
        command
    }
}

/// The demo fails where the product does not do what the demo says it does.
pub(super) fn expect(text: &str, words: &[&str]) -> anyhow::Result<()> {
    for word in words {
        ensure!(text.contains(word), "it does not say `{}`", word.trim_end());
    }
    Ok(())
}

/// A server of the tests that says where it listens.
fn node(workspace: &Workspace, folder: &Path, name: &str, arguments: &[&str]) -> anyhow::Result<Running> {
    let mut command = Command::new(workspace.node());
    command.arg(workspace.root.join(format!("e2e/peers/node/{name}.mjs"))).args(arguments);
    let (child, line) = start(command, "listening on ", &folder.join(format!("{name}.log")))?;
    Ok(Running { child, url: line.trim_start_matches("listening on ").to_owned(), keeps: false })
}
