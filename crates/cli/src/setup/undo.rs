//! `tollbook init --undo`: every file as it was, byte for byte; where somebody else has changed a file since, the values that
//! `init` wrote. If some of those are others now, the file stays as it is; with `--force` the rest is taken back.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::clients::Syntax;
use super::entry::Entry;
use super::journal::{Owner, Step, Written};
use super::register::Register;
use super::survey::Survey;
use super::{
    InitArgs, NO, confirm, count_of_files, files, gateway_address, journal, revert, show, tell, tomls,
};
use crate::environment::Environment;

/// Runs `init --undo`.
pub(super) fn run(args: &InitArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let steps = journal(environment).steps().context("the backups cannot be read")?;
    if steps.is_empty() {
        writeln!(out, "There is nothing to undo.")?;
        return Ok(0);
    }
    let undoing = Undoing::of(&steps, args.force, environment)?;
    for restore in &undoing.restores {
        show::restore(restore, environment.home(), out)?;
    }
    let refused = undoing.refused.len();
    let code = if refused == 0 { 0 } else { crate::FAILED };
    if undoing.restores.is_empty() || args.dry_run {
        undoing.tell_refused(out)?;
        return Ok(code);
    }
    let count = undoing.restores.len();
    if !args.yes && !confirm(&format!("Take back the changes of {}?", count_of_files(count)), out)? {
        writeln!(out, "Nothing was changed.")?;
        return Ok(NO);
    }
    for restore in &undoing.restores {
        restore.make(out)?;
    }
    undoing.refused.iter().for_each(|text| tell(text));
    writeln!(
        out,
        "\nTaken back in {}{}.",
        count_of_files(count),
        if refused == 0 { "" } else { "; not in all, see above" }
    )?;
    Ok(code)
}

/// One file's way back.
#[derive(Debug)]
pub(super) struct Restore<'a> {
    pub(super) path: PathBuf,
    pub(super) from: Option<Vec<u8>>,
    pub(super) back: Back,
    steps: Vec<&'a Written>,
}

impl Restore<'_> {
    fn make(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let shown = self.path.display();
        let now = files::read(&self.path).with_context(|| format!("{shown}: cannot be read"))?;
        anyhow::ensure!(now == self.from, "{shown}: changed while you were asked; run it again");
        match &self.back.to {
            to if *to == self.from => {}
            Some(bytes) => {
                files::replace(&self.path, bytes).with_context(|| format!("{shown}: cannot be written"))?;
            }
            None => {
                std::fs::remove_file(&self.path).with_context(|| format!("{shown}: cannot be removed"))?;
            }
        }
        for written in &self.steps {
            if self.back.is_exact {
                written.forget().context("a backup cannot be removed")?;
            } else {
                let kept = written.set_aside(self.from.as_deref()).context("a backup cannot be set aside")?;
                writeln!(out, "{shown}: what it held before is kept in `{}`", kept.display())?;
            }
        }
        Ok(())
    }
}

/// What can be taken back, and what cannot.
struct Undoing<'a> {
    restores: Vec<Restore<'a>>,
    refused: Vec<String>,
}

impl<'a> Undoing<'a> {
    fn of(steps: &'a [Written], force: bool, environment: &Environment) -> anyhow::Result<Undoing<'a>> {
        let mut undoing = Undoing { restores: Vec::new(), refused: Vec::new() };
        undoing.all(steps, Owner::Client, force)?;
        let has_gateway = steps.iter().any(|written| written.step.owner == Owner::Gateway);
        if !has_gateway {
            return Ok(undoing);
        }
        let needed = match undoing.refused.is_empty() {
            true => undoing.still_pointing(steps, environment),
            false => Some("a client that is left as it is".to_owned()),
        };
        match needed {
            Some(who) => {
                undoing.refused.push(format!("`tollbook.toml` keeps its servers: {who} may need them"));
            }
            None => undoing.all(steps, Owner::Gateway, force)?,
        }
        Ok(undoing)
    }

    /// A configuration that will still point at a server that `init` registered.
    fn still_pointing(&self, steps: &[Written], environment: &Environment) -> Option<String> {
        let registered = registered(steps);
        let gateway = match Register::read(environment) {
            Ok(register) => gateway_address(&register.listen, register.scheme),
            Err(_) => gateway_address("127.0.0.1:7800", "http"),
        };
        Survey::of(environment).sources.into_iter().find_map(|mut source| {
            if let Some(restore) = self.restores.iter().find(|restore| restore.path == source.target) {
                source.text = String::from_utf8(restore.back.to.clone()?).ok()?;
                source.tree = source.syntax.parse(&source.text).ok()?;
            }
            let points =
                |entry: &Entry| matches!(entry, Entry::AtGateway { name } if registered.contains(name));
            let found = source.servers(&gateway).into_iter().find(|found| points(&found.entry))?;
            Some(format!("`{}` in `{}`", found.name, source.path.display()))
        })
    }

    /// Says what stays, after what was said before it.
    fn tell_refused(&self, out: &mut dyn Write) -> std::io::Result<()> {
        out.flush()?;
        self.refused.iter().for_each(|text| tell(text));
        Ok(())
    }

    /// Each file with its steps, the newest first. Credentials stay as long as `tollbook.toml` may name them.
    fn all(&mut self, steps: &'a [Written], owner: Owner, force: bool) -> anyhow::Result<()> {
        let mut seen = BTreeSet::new();
        for written in steps.iter().filter(|written| written.step.owner == owner) {
            let path = &written.step.path;
            if !seen.insert(path) || owner == Owner::Gateway && !self.refused.is_empty() {
                continue;
            }
            let of_file: Vec<&Written> = steps.iter().filter(|other| other.step.path == *path).collect();
            let from = files::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
            match take_back(&of_file, from.clone(), force) {
                Ok(back) => self.restores.push(Restore { path: path.clone(), from, back, steps: of_file }),
                Err(held) => self.refused.push(refusal(path, &held)),
            }
        }
        Ok(())
    }
}

/// The servers that `init` wrote into `tollbook.toml`.
fn registered(steps: &[Written]) -> BTreeSet<String> {
    let names = |text: Option<&[u8]>| -> BTreeSet<String> {
        let tree = text.and_then(|text| tomls::parse(std::str::from_utf8(text).ok()?).ok());
        let servers = tree.as_ref().and_then(|tree| tree.at("servers"));
        servers.into_iter().flat_map(|servers| servers.members()).map(|m| m.key.clone()).collect()
    };
    let steps = steps.iter().map(|written| &written.step).filter(|step| step.owner == Owner::Gateway);
    steps.flat_map(|step| &names(Some(&step.after)) - &names(step.before.as_deref())).collect()
}

fn refusal(path: &Path, (step, why): &(&Written, Vec<String>)) -> String {
    format!(
        "{}: is left as it is: {}; `--undo --force` takes back the rest of what `init` wrote, or copy `before` from `{}`",
        path.display(),
        why.join(", "),
        step.folder().display()
    )
}

/// A file as it was before `init`.
#[derive(Debug)]
pub(super) struct Back {
    /// `None`: it was not there.
    pub(super) to: Option<Vec<u8>>,
    /// What stays as somebody else wrote it.
    pub(super) notes: Vec<String>,
    /// Whether nobody else had changed it.
    is_exact: bool,
}

/// Goes back through a file's steps; gives the step where what `init` wrote is something else now, and what.
fn take_back<'a>(
    steps: &[&'a Written],
    from: Option<Vec<u8>>,
    force: bool,
) -> Result<Back, (&'a Written, Vec<String>)> {
    let mut back = Back { to: from, notes: Vec::new(), is_exact: true };
    for written in steps {
        let step = &written.step;
        if back.to.as_ref() == Some(&step.after) || back.to == step.before {
            back.to.clone_from(&step.before);
        } else {
            back.is_exact = false;
            back.to = back.to.map(|bytes| over_changes(step, bytes, &mut back.notes));
            if !force && !back.notes.is_empty() {
                return Err((written, back.notes));
            }
            // Nothing but what `init` wrote was in it.
            if step.before.is_none() && back.to.as_ref().is_some_and(|bytes| bytes.trim_ascii().is_empty()) {
                back.to = None;
            }
        }
    }
    Ok(back)
}

/// Takes a step back in a file that has other changes too; what cannot be taken back is noted.
fn over_changes(step: &Step, current: Vec<u8>, notes: &mut Vec<String>) -> Vec<u8> {
    let texts = (
        std::str::from_utf8(step.before.as_deref().unwrap_or_default()),
        std::str::from_utf8(&step.after),
        std::str::from_utf8(&current),
    );
    let (Ok(before), Ok(after), Ok(now)) = texts else {
        notes.push("it is no text any more".to_owned());
        return current;
    };
    let made = match step.owner {
        Owner::Client => revert::values(Syntax::of(&step.path), [before, after, now], notes),
        Owner::Gateway => addition(before, after, now),
    };
    match made {
        Some(text) => text.into_bytes(),
        None => {
            notes.push("it is written differently now".to_owned());
            current
        }
    }
}

/// Without what was appended.
fn addition(before: &str, after: &str, now: &str) -> Option<String> {
    let added = after.strip_prefix(before)?;
    let (head, tail) = now.split_once(added)?;
    Some(format!("{head}{tail}"))
}
