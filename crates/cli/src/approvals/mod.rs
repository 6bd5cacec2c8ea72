//! `tollbook approvals`: calls that wait for people, and what people say of them.
//!
//! To decide, an operator says who they are: the system's user may be the agent's own.

mod show;
mod who;

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use console::Look;
use identity::operators::{Operator, names};
use store::state::{Ballot, Cast, Choice, Deed, Hold, State, Which};

use crate::environment::Environment;
use crate::read::{Mistake, index, text};
use crate::{clock, credentials};
use who::{ReaderArgs, WhoArgs};

/// See calls that wait for approval, and decide on them.
#[derive(Debug, Args)]
pub(crate) struct ApprovalsArgs {
    #[command(subcommand)]
    command: ApprovalsCommand,
}

#[derive(Debug, Subcommand)]
enum ApprovalsCommand {
    /// List calls that wait, and approvals that were not used yet; the newest first.
    List {
        /// Those that have ended too.
        #[arg(long)]
        all: bool,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show one: who asks, for what exactly, why it is held, and what was said. That its arguments were read is recorded.
    Show {
        /// The hold, or the beginning of its id.
        hold: String,
        #[command(flatten)]
        who: ReaderArgs,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Approve: this call, once.
    Grant {
        /// The hold, or the beginning of its id.
        hold: String,
        /// As often as the run asks for the same, for an hour at most.
        #[arg(long)]
        for_run: bool,
        /// With `--for-run`: arguments that may differ.
        #[arg(long, value_name = "ARGUMENT", requires = "for_run")]
        any: Vec<String>,
        #[command(flatten)]
        who: WhoArgs,
    },
    /// Refuse.
    Refuse {
        /// The hold, or the beginning of its id.
        hold: String,
        /// Why: who asked reads it.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: WhoArgs,
    },
    /// Take back an approval that was not used, or a request.
    Withdraw {
        /// The hold, or the beginning of its id.
        hold: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: WhoArgs,
    },
    /// Give people ten minutes more to decide; six times at most, and as long as the run lives.
    Prolong {
        /// The hold, or the beginning of its id.
        hold: String,
        #[command(flatten)]
        who: WhoArgs,
    },
    /// Print each change of a hold as it comes.
    Watch {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// Does what is asked; 1 if a list is empty, or what was said does not count.
pub(crate) fn run(
    args: &ApprovalsArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let state = State::open(&environment.data)?;
    match &args.command {
        ApprovalsCommand::List { all, limit, json } => {
            let holds = state.holds(if *all { Which::All } else { Which::Open }, *limit)?;
            for hold in &holds {
                writeln!(out, "{}", if *json { show::json(hold)? } else { show::line(hold) })?;
            }
            Ok(u8::from(holds.is_empty()))
        }
        ApprovalsCommand::Show { hold, who, json } => {
            let hold = find(&state, hold)?;
            let reader = state.acting(&who.identity(environment)?, clock::unix_seconds());
            reader.note(&Deed::done("approvals.read", &hold.id))?;
            show::all(&state, &hold, (&environment.data, *json), out)?;
            Ok(0)
        }
        ApprovalsCommand::Grant { hold, for_run, any, who } => {
            let hold = find(&state, hold)?;
            let choice = grant(&state, &hold, for_run.then_some(any), &environment.data)?;
            decide(&state, (&hold, choice), &who.operator(environment)?, out)
        }
        ApprovalsCommand::Refuse { hold, reason, who } => {
            let hold = find(&state, hold)?;
            decide(&state, (&hold, Choice::Refuse { reason }), &who.operator(environment)?, out)
        }
        ApprovalsCommand::Withdraw { hold, reason, who } => {
            let hold = find(&state, hold)?;
            decide(&state, (&hold, Choice::Withdraw { reason }), &who.operator(environment)?, out)
        }
        ApprovalsCommand::Prolong { hold, who } => {
            let hold = find(&state, hold)?;
            decide(&state, (&hold, Choice::Prolong), &who.operator(environment)?, out)
        }
        ApprovalsCommand::Watch { json } => show::watch(&state, *json, out),
    }
}

/// The hold whose id begins so, if there is one alone.
fn find(state: &State, id: &str) -> anyhow::Result<Hold> {
    if let Some(hold) = state.hold(id)? {
        return Ok(hold);
    }
    let wanted = id.strip_prefix("hold_").unwrap_or(id);
    let all = state.holds(Which::All, 10_000)?;
    let mut found =
        all.into_iter().filter(|hold| hold.id.strip_prefix("hold_").is_some_and(|id| id.starts_with(wanted)));
    match (found.next(), found.next()) {
        (Some(hold), None) => Ok(hold),
        (None, _) => {
            Err(Mistake(format!("there is no hold `{id}`; `tollbook approvals list --all` shows them"))
                .into())
        }
        (Some(_), Some(_)) => {
            Err(Mistake(format!("several holds begin with `{id}`; write more of the id")).into())
        }
    }
}

/// A yes, once or for the run but these arguments. There is none to a call that the record does not hold: nobody can have seen it.
fn grant<'a>(
    state: &State,
    hold: &Hold,
    for_run_but: Option<&'a Vec<String>>,
    data: &Path,
) -> anyhow::Result<Choice<'a>> {
    let payload = |seq| index::payload(data, seq);
    let look = Look { state, index: None, payload: &payload };
    let but = for_run_but.map(Vec::as_slice);
    let digest = look.run_digest(hold, but.unwrap_or_default()).map_err(anyhow::Error::msg)?;
    let until = clock::unix_seconds().saturating_add(3_600);
    Ok(but.map_or(Choice::Once, |but| Choice::ForRun { but, digest, until }))
}

fn decide(
    state: &State,
    (hold, choice): (&Hold, Choice<'_>),
    operator: &Operator,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let people = names(&operator.identity, &operator.name);
    let ballot = Ballot { who: &operator.identity, people: &people, groups: &operator.groups, choice };
    let now = clock::unix_seconds();
    let cast = state.acting(&operator.identity, now).cast(&hold.id, &ballot, now)?;
    let told = match cast {
        Cast::Approved => "approved; the call goes on if it still waits, or when it is made again".to_owned(),
        other => other.to_string(),
    };
    writeln!(out, "{}", text::visible(&told))?;
    Ok(u8::from(!cast.counts()))
}

/// When, as a listing has it.
fn day(seconds: u64) -> String {
    credentials::day(seconds)
}

#[cfg(test)]
mod tests {
    use ledger::{Hash, Seq};
    use store::state::{Bounds, Choice, HoldKey, NewHold, Sought, State};

    use super::grant;

    fn held(state: &State) -> String {
        let (principal, run, server) = ("os:ann".to_owned(), "run".to_owned(), "bank".to_owned());
        let (method, name, digest) = ("tools/call".to_owned(), "pay".to_owned(), Hash::of(b"a call"));
        let call = NewHold {
            id: "hold_1".to_owned(),
            key: HoldKey { principal, run, server, method, name, digest },
            needs: Vec::new(),
            pin: None,
            requesters: Vec::new(),
            agent: None,
            purpose: None,
            reason: None,
            policies: Vec::new(),
            deadline: 100,
        };
        match state.seek(&call, (|_| None, || true), &Bounds::default(), 10).unwrap() {
            Sought::Waits(hold) => hold.id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nobody_approves_what_the_record_does_not_show() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let id = held(&state);
        let any = ["amount".to_owned()].to_vec();
        let granted = |for_run_but: Option<&Vec<String>>| {
            let hold = state.hold(&id).unwrap().unwrap();
            grant(&state, &hold, for_run_but, folder.path())
                .map(|choice| matches!(choice, Choice::Once))
                .map_err(|error| error.to_string())
        };
        let not_yet = Err("the record of the call is not published yet; look again in a second".to_owned());
        assert_eq!((granted(None), granted(Some(&any))), (not_yet.clone(), not_yet));
        state.hold_recorded(&id, Seq(7)).unwrap();
        let unread = Err("the ledger cannot be read".to_owned());
        assert_eq!((granted(None), granted(Some(&any))), (unread.clone(), unread));
    }
}
