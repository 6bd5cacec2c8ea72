//! A ledger of a million calls, made through the recorder alone.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use ledger::payload::{Fields, Spans};
use ledger::{RunId, Status, Verdict};
use recorder::{Account, Clerk, Decision, Outcome, Recorder, RunStart, Settings};

use crate::message;
use crate::results::Ledger;
use crate::scenarios::ledger as examination;

/// As many as the name says.
pub(crate) const CALLS: u64 = 1_000_000;
const TASKS: u64 = 500;
const SERVERS: [&str; 8] = ["bench", "files", "mail", "git", "crm", "erp", "tickets", "wiki"];
/// One call in so many is unlike the others, in each of its fields.
const RARE: u64 = 100_000;

/// Makes the ledger, and does with it what is done with any.
pub(crate) async fn examine(binary: &Path, folder: &Path) -> anyhow::Result<Ledger> {
    let data = folder.join("million");
    make(&data, CALLS).await?;
    let examined = examination::examine(binary, &data, CALLS);
    std::fs::remove_dir_all(&data)?;
    examined
}

/// Makes a ledger of so many calls.
pub(crate) async fn make(data: &Path, calls: u64) -> anyhow::Result<()> {
    let started = recorder::start(Settings::at(data))?;
    let (recorder, clerk) = (started.recorder, Arc::new(started.clerk));
    let working: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(record(recorder.clone(), Arc::clone(&clerk), (task, calls))))
        .collect();
    for task in working {
        task.await??;
    }
    tokio::task::spawn_blocking(move || started.shutdown.finish()).await??;
    Ok(())
}

async fn record(recorder: Recorder, clerk: Arc<Clerk>, (task, calls): (u64, u64)) -> anyhow::Result<()> {
    let mut id = [0; 16];
    id.iter_mut().zip(task.to_be_bytes()).for_each(|(to, from)| *to = from);
    let run = RunId::new(id);
    let subject: Arc<str> = Arc::from(format!("os:user{}", task % 20));
    recorder.begin_run(RunStart { run, subject: Arc::clone(&subject), fields: Fields::new() }).await?;
    for number in 0..calls / TASKS {
        let number = number * TASKS + task;
        let decision = Decision { verdict: Verdict::Allow, policy: None, reason: None };
        let cleared = clerk.clear(decision, account(run, &subject, number)?);
        let cleared = cleared.map_err(|_| anyhow::anyhow!("a call was not allowed"))?;
        let opened = recorder.open(cleared).await?;
        recorder.close(opened, outcome(number)).await?;
    }
    recorder.end_run(run, "done").await?;
    Ok(())
}

fn account(run: RunId, subject: &Arc<str>, number: u64) -> anyhow::Result<Account> {
    let rare = number.is_multiple_of(RARE);
    let server = SERVERS.get(usize::try_from(number)? % SERVERS.len()).filter(|_| !rare).unwrap_or(&"rare");
    let tool = if rare { "rare".to_owned() } else { format!("tool_{}", number % 50) };
    let text = if rare { "rare".to_owned() } else { message::text(number, 1024) };
    let body = message::call(number, &tool, &format!(r#""text":"{text}""#));
    let principal = if rare { "rare" } else { subject };
    let agent = if rare { "rare" } else { "bench" };
    let fields = [
        ("principal", format!("\"{principal}\"")),
        ("server", format!("\"{server}\"")),
        ("transport", "\"streamable-http\"".to_owned()),
        ("direction", "\"client\"".to_owned()),
        ("era", "\"stateless\"".to_owned()),
        ("version", format!("\"{}\"", message::VERSION)),
        ("agent", format!(r#"{{"name":"{agent}","version":"1"}}"#)),
        ("method", "\"tools/call\"".to_owned()),
        ("name", format!("\"{tool}\"")),
        ("id", number.to_string()),
    ];
    let fields: Fields = fields.map(|(name, value)| (name.to_owned(), value)).into();
    let arguments = part(&body, br#"{"text""#, br#","_meta""#).context("no arguments")?;
    let spans = Spans::from([("arguments".to_owned(), arguments)]);
    let subject = Arc::clone(subject);
    Ok(Account { run, call: None, round: 0, parent: None, subject, fields, body: body.into(), spans })
}

fn outcome(number: u64) -> Outcome {
    let text = message::text(number, 1024);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{number},"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#
    );
    let status = if number.is_multiple_of(RARE) { Status::ToolError } else { Status::Ok };
    let body = Bytes::from(body);
    let start = body.windows(8).position(|window| window == b"\"result\"").map(|at| at + 9);
    let spans = start.map(|start| ("result".to_owned(), start..body.len() - 1)).into_iter().collect();
    Outcome { status, fields: Fields::new(), body: body.into(), spans }
}

/// Where a part stands that begins with one text and ends before another.
fn part(body: &Bytes, from: &[u8], to: &[u8]) -> Option<std::ops::Range<usize>> {
    let start = body.windows(from.len()).position(|window| window == from)?;
    let end = body.windows(to.len()).position(|window| window == to)?;
    Some(start..end)
}
