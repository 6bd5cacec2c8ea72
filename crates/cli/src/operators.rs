//! `tollbook operators`: what operators did.

use std::io::Write;

use clap::{Args, Subcommand};
use store::state::{Action, State};

use crate::credentials::day;
use crate::environment::Environment;
use crate::read::text;

/// See what operators did.
#[derive(Debug, Args)]
pub(crate) struct OperatorsArgs {
    #[command(subcommand)]
    command: OperatorsCommand,
}

#[derive(Debug, Subcommand)]
enum OperatorsCommand {
    /// List what operators did, the newest last; with each its place in the ledger.
    Actions {
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// Does what is asked; 1 if a list is empty.
pub(crate) fn run(
    args: &OperatorsArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    match args.command {
        OperatorsCommand::Actions { limit, json } => {
            let mut actions = State::open(&environment.data)?.actions(limit)?;
            actions.reverse();
            for action in &actions {
                writeln!(out, "{}", if json { json_of(action)? } else { line(action) })?;
            }
            Ok(u8::from(actions.is_empty()))
        }
    }
}

fn line(action: &Action) -> String {
    let place = action.seq.map_or_else(|| "not yet recorded".to_owned(), |seq| format!("record {seq}"));
    let Action { at, who, what, subject, outcome, .. } = action;
    let (who, what, subject) = (text::cell(who, 20), text::cell(what, 20), text::visible(subject));
    let reason = action.reason.as_deref().map(text::visible).unwrap_or_default();
    let line = format!("{}  {who}  {what}  {}  {place}  {subject}  {reason}", day(*at), outcome.as_str());
    line.trim_end().to_owned()
}

fn json_of(action: &Action) -> serde_json::Result<String> {
    let Action { id, at, who, what, subject, reason, outcome, seq, .. } = action;
    text::json_line(&serde_json::json!({
        "id": id, "at": at, "who": who, "what": what, "subject": subject, "reason": reason,
        "outcome": outcome.as_str(), "seq": seq.map(|seq| seq.0),
    }))
}
