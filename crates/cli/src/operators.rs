//! `tollbook operators`: who may use the console, and what operators did.

use std::io::Write;

use clap::{Args, Subcommand};
use identity::operators::{self, Invitation, Role};
use store::state::{Action, OperatorRow, State};

use crate::clock;
use crate::credentials::{day, open_acting};
use crate::environment::Environment;
use crate::read::text;

/// Say who may use the console, and see what operators did.
///
/// It acts on the data folder, so a console that runs goes by it from the next request on.
#[derive(Debug, Args)]
pub(crate) struct OperatorsArgs {
    #[command(subcommand)]
    command: OperatorsCommand,
}

#[derive(Debug, Subcommand)]
enum OperatorsCommand {
    /// Add an operator; they choose a password by the link that is printed.
    Add {
        /// What they will type to log in.
        name: String,
        /// `viewer`, `approver`, `auditor`, `admin`; with commas.
        #[arg(long, value_delimiter = ',', default_value = "viewer")]
        roles: Vec<Role>,
    },
    /// List operators who have a password here, and those who are disabled.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Give an operator other roles; their sessions end.
    Roles {
        /// The operator.
        name: String,
        /// `viewer`, `approver`, `auditor`, `admin`; with commas.
        #[arg(value_delimiter = ',', required = true)]
        roles: Vec<Role>,
    },
    /// Put an operator into the groups for which they approve, and into no others; their sessions end.
    Groups {
        /// The operator.
        name: String,
        /// As policies name them; with commas.
        #[arg(value_delimiter = ',')]
        groups: Vec<String>,
    },
    /// Disable an operator; their sessions end. `add` takes them in again.
    Disable {
        /// The operator; one who logs in with a provider as `user:ISSUER:SUBJECT`.
        name: String,
    },
    /// Print another link, by which an operator chooses another password; those before hold no more.
    Link {
        /// The operator.
        name: String,
    },
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
    let now = clock::unix_seconds();
    match &args.command {
        OperatorsCommand::Add { name, roles } => {
            tell(&operators::add(&open_acting(environment)?, name, roles, now)?, out)
        }
        OperatorsCommand::List { json } => list(&State::open(&environment.data)?.operators()?, *json, out),
        OperatorsCommand::Roles { name, roles } => {
            operators::set_roles(&open_acting(environment)?, name, roles)?;
            Ok(0)
        }
        OperatorsCommand::Groups { name, groups } => {
            operators::set_groups(&open_acting(environment)?, name, groups)?;
            Ok(0)
        }
        OperatorsCommand::Disable { name } => {
            operators::disable(&open_acting(environment)?, name, now)?;
            Ok(0)
        }
        OperatorsCommand::Link { name } => {
            tell(&operators::link(&open_acting(environment)?, name, now)?, out)
        }
        OperatorsCommand::Actions { limit, json } => {
            let (limit, json) = (*limit, *json);
            let mut actions = State::open(&environment.data)?.actions(limit)?;
            actions.reverse();
            for action in &actions {
                writeln!(out, "{}", if json { json_of(action)? } else { line(action) })?;
            }
            Ok(u8::from(actions.is_empty()))
        }
    }
}

/// Prints where a password is chosen. The console's address is not known here.
fn tell(invitation: &Invitation, out: &mut dyn Write) -> anyhow::Result<u8> {
    writeln!(out, "/setup/{}", invitation.secret.reveal())?;
    let until = day(invitation.expires);
    writeln!(std::io::stderr().lock(), "to be opened on the console, once, until {until}")?;
    Ok(0)
}

fn list(rows: &[OperatorRow], json: bool, out: &mut dyn Write) -> anyhow::Result<u8> {
    for OperatorRow { identity, name, roles, groups, password, created, disabled } in rows {
        let standing = match (disabled, password) {
            (Some(at), _) => format!("disabled {}", day(*at)),
            (None, None) => "has not chosen a password".to_owned(),
            (None, Some(_)) => format!("since {}", day(*created)),
        };
        if json {
            let row = serde_json::json!({
                "identity": identity, "name": name, "roles": roles, "groups": groups, "created": created, "disabled": disabled,
                "password": password.is_some(),
            });
            writeln!(out, "{}", text::json_line(&row)?)?;
        } else {
            let (name, roles) = (text::cell(name, 24), text::cell(&roles.join(","), 20));
            writeln!(out, "{name}  {roles}  {standing}  {}", text::visible(&groups.join(",")))?;
        }
    }
    Ok(u8::from(rows.is_empty()))
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
