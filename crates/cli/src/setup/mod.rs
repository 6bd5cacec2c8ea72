//! `tollbook init`: points the clients' configurations at Tollbook, and back.
//!
//! [`run`] tells the story: look, plan, show, ask, write. Files are edited by replacing the spans of single values, so that
//! comments, order and layout stay; what was there is written down first, so that `--undo` brings back every byte.

mod clients;
mod edit;
mod entry;
mod files;
mod journal;
mod jsonc;
mod names;
mod plan;
mod register;
mod revert;
mod show;
mod survey;
#[cfg(test)]
pub(crate) mod tests;
mod tomls;
mod tree;
mod undo;

use std::io::Write;

use anyhow::Context as _;
use clap::Args;

pub(crate) use self::entry::{Entry, Target};
use self::journal::{Journal, Owner, Step};
use self::plan::{Change, Plan, Wanted};
use self::register::Register;
pub(crate) use self::survey::{Found, Source, Survey, short};
use crate::environment::Environment;
use crate::read::Mistake;

/// Answered with no.
const NO: u8 = 1;

/// Point your MCP clients at Tollbook.
///
/// Looks for the configurations of Claude Desktop, Claude Code, Cursor, VS Code, Windsurf, Codex and Gemini CLI, the user's
/// and the current folder's, shows what would change, and asks. Each server that a client starts is then started through
/// `tollbook wrap`; each remote server is named in `tollbook.toml` and reached through the gateway, its credentials moved
/// into files of their own. `--undo` brings everything back byte for byte. Exit code 1: you said no.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Take back what `init` changed.
    #[arg(long)]
    undo: bool,
    /// With `--undo`: also in files where some of what `init` wrote is something else now. The rest is taken back, and
    /// what the file holds now is kept.
    #[arg(long, requires = "undo")]
    force: bool,
    /// Leave the servers of this name as they are; may be repeated.
    #[arg(long, value_name = "NAME")]
    skip: Vec<String>,
}

/// Runs `init`.
pub(crate) fn run(args: &InitArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    if args.undo {
        return undo::run(args, environment, out);
    }
    let survey = Survey::of(environment);
    let register = Register::read(environment).context("nothing was changed")?;
    let wanted = wanted(args, environment, &register)?;
    let plan = Plan::make(&survey, register, &wanted);
    let home = environment.home();
    show::summaries(&plan.summaries, home, out)?;
    for change in &plan.changes {
        show::diff(change, home, out)?;
    }
    let blocked = survey.unreadable.len() + plan.blocked.len();
    out.flush()?;
    for text in survey.unreadable.iter().map(|unreadable| &unreadable.text).chain(&plan.blocked) {
        tell(&format!("{text}; left as it is"));
    }
    if plan.changes.is_empty() && blocked == 0 {
        let none = plan.summaries.is_empty();
        writeln!(
            out,
            "{}",
            if none { "No client with MCP servers was found." } else { "Nothing to change." }
        )?;
    }
    if plan.changes.is_empty() || args.dry_run {
        return Ok(code(blocked));
    }
    if !args.yes && !confirm(&format!("Write {}?", count_of_files(plan.changes.len())), out)? {
        writeln!(out, "Nothing was changed.")?;
        return Ok(NO);
    }
    let failed = write(&plan.changes, environment)?;
    writeln!(out, "\nDone; `tollbook init --undo` takes it back.")?;
    if plan.needs_listener() {
        let text = "Remote servers are reached through the gateway: start `tollbook serve`, again if it runs.\n\
                    Then restart your clients.";
        writeln!(out, "{text}")?;
    } else {
        writeln!(out, "Restart your clients.")?;
    }
    Ok(code(blocked + failed))
}

fn count_of_files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn code(failed: usize) -> u8 {
    if failed == 0 { 0 } else { crate::FAILED }
}

/// Asks at the terminal.
fn confirm(question: &str, out: &mut dyn Write) -> anyhow::Result<bool> {
    if !rustix::termios::isatty(std::io::stdin()) {
        let text = "nobody can be asked here: say `--yes`, or look with `--dry-run`";
        return Err(Mistake(text.to_owned()).into());
    }
    write!(out, "\n{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The address below which the gateway's servers are, with a slash at its end.
pub(crate) fn gateway_address(listen: &str, scheme: &str) -> String {
    format!("{scheme}://{listen}/mcp/")
}

fn wanted(args: &InitArgs, environment: &Environment, register: &Register) -> anyhow::Result<Wanted> {
    // Clients that are started from a desktop do not have the variables of this shell.
    let given = environment.is_data_given.then(|| environment.data.clone());
    let data = given.or_else(|| register.data.as_ref().map(|data| environment.resolve(data)));
    let options = data.map_or_else(Vec::new, |data| vec!["--data".to_owned(), data.display().to_string()]);
    Ok(Wanted {
        program: environment.program().context("cannot find this program")?,
        options,
        gateway: gateway_address(&register.listen, register.scheme),
        skip: args.skip.clone(),
    })
}

/// Writes the changes, each written down first; gives the number of those that failed.
fn write(changes: &[Change], environment: &Environment) -> anyhow::Result<usize> {
    let journal = journal(environment);
    let mut failed = 0;
    for change in changes {
        if let Err(error) = write_one(&journal, change) {
            // What clients need must be there before they are pointed at it.
            if change.owner == Owner::Gateway {
                return Err(error);
            }
            tell(&format!("{error:#}"));
            failed += 1;
        }
    }
    Ok(failed)
}

fn write_one(journal: &Journal, change: &Change) -> anyhow::Result<()> {
    let shown = change.path.display();
    let before = change.before.as_ref().map(|text| text.as_bytes().to_vec());
    let now = files::read(&change.path).with_context(|| format!("{shown}: cannot be read"))?;
    anyhow::ensure!(now == before, "{shown}: changed while you were asked; run `tollbook init` again");
    if let Some(folder) = change.path.parent() {
        files::make_folder(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    }
    let after = change.after.as_bytes().to_vec();
    let step = Step { owner: change.owner, path: change.path.clone(), before, after };
    journal.write(&step).context("no backup can be written")?;
    files::replace(&change.path, &step.after).with_context(|| format!("{shown}: cannot be written"))
}

fn journal(environment: &Environment) -> Journal {
    Journal::at(environment.own_folder().join("undo"))
}

fn tell(text: &str) {
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr(), "tollbook: {}", crate::read::text::visible(text));
}
