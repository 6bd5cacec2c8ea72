//! `tollbook init --undo`: every file as it was, byte for byte; where somebody else has changed a file since, nothing is
//! done without `--force`, and with it only what `init` wrote is taken back.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::clients::{self, Syntax};
use super::edit::{self, Edit};
use super::journal::{Owner, Step, Written};
use super::tree::Node;
use super::{InitArgs, NO, files, journal, show, tell};
use crate::environment::Environment;

/// Runs `init --undo`.
pub(super) fn run(args: &InitArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let steps = journal(environment).steps().context("the backups cannot be read")?;
    if steps.is_empty() {
        writeln!(out, "There is nothing to undo.")?;
        return Ok(0);
    }
    let undoing = Undoing::of(&steps, args.force)?;
    for restore in &undoing.restores {
        show::restore(restore, environment.home(), out)?;
    }
    let refused = undoing.refused.len();
    let code = if refused == 0 { 0 } else { crate::FAILED };
    if undoing.restores.is_empty() || args.dry_run {
        undoing.refused.iter().for_each(|text| tell(text));
        return Ok(code);
    }
    let count = undoing.restores.len();
    if !args.yes && !super::confirm(&format!("Take back the changes of these {count} files?"), out)? {
        return Ok(NO);
    }
    for restore in &undoing.restores {
        restore.make(out)?;
    }
    undoing.refused.iter().for_each(|text| tell(text));
    writeln!(
        out,
        "\n{count} files are as they were{}.",
        if refused == 0 { "" } else { "; not all, see above" }
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
    fn of(steps: &'a [Written], force: bool) -> anyhow::Result<Undoing<'a>> {
        let mut undoing = Undoing { restores: Vec::new(), refused: Vec::new() };
        undoing.all(steps, Owner::Client, force)?;
        if undoing.refused.is_empty() {
            undoing.all(steps, Owner::Gateway, force)?;
        } else if steps.iter().any(|written| written.step.owner == Owner::Gateway) {
            undoing
                .refused
                .push("`tollbook.toml` keeps its servers as long as a client may need them".to_owned());
        }
        Ok(undoing)
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
                Err(step) => self.refused.push(refusal(path, step)),
            }
        }
        Ok(())
    }
}

fn refusal(path: &Path, step: &Written) -> String {
    format!(
        "{}: was changed since `init` wrote it, and is left as it is; `--undo --force` takes back only what `init` wrote, \
         or copy `before` from `{}`",
        path.display(),
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

/// Goes back through a file's steps; gives the step where somebody else's change is in the way.
fn take_back<'a>(steps: &[&'a Written], from: Option<Vec<u8>>, force: bool) -> Result<Back, &'a Written> {
    let mut back = Back { to: from, notes: Vec::new(), is_exact: true };
    for written in steps {
        let step = &written.step;
        if back.to.as_ref() == Some(&step.after) || back.to == step.before {
            back.to.clone_from(&step.before);
        } else if force {
            back.is_exact = false;
            back.to = back.to.map(|bytes| over_changes(step, bytes, &mut back.notes));
            // Nothing but what `init` wrote was in it.
            if step.before.is_none() && back.to.as_ref().is_some_and(|bytes| bytes.trim_ascii().is_empty()) {
                back.to = None;
            }
        } else {
            return Err(written);
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
        Owner::Client => values(&step.path, before, after, now, notes),
        Owner::Gateway => addition(before, after, now),
    };
    match made {
        Some(text) => text.into_bytes(),
        None => {
            notes.push("it is written differently now; nothing was taken back".to_owned());
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

/// With the values of each server that `init` wrote as they were before.
pub(super) fn values(
    path: &Path,
    before: &str,
    after: &str,
    now: &str,
    notes: &mut Vec<String>,
) -> Option<String> {
    let syntax = Syntax::of(path);
    let trees = (syntax.parse(before).ok()?, syntax.parse(after).ok()?, syntax.parse(now).ok()?);
    let container = |tree, path: &Vec<String>| {
        clients::containers(tree).into_iter().find(|(found, _)| found == path).map(|(_, node)| node)
    };
    let mut edits = Vec::new();
    for (path, written) in clients::containers(&trees.1) {
        let (Some(was), Some(is)) = (container(&trees.0, &path), container(&trees.2, &path)) else {
            continue;
        };
        for server in written.members() {
            let (Some(was), Some(is)) = (was.at(&server.key), is.at(&server.key)) else { continue };
            let of = Server { syntax, was: (before, was), written: (after, &server.value), is: (now, is) };
            match of.edits() {
                Some(made) => edits.extend(made),
                None => notes.push(format!("`{}` was changed since and stays as it is", server.key)),
            }
        }
    }
    edit::apply(now, &edits)
}

/// A server at three times, each with the text it is in.
struct Server<'a> {
    syntax: Syntax,
    was: (&'a str, &'a Node),
    written: (&'a str, &'a Node),
    is: (&'a str, &'a Node),
}

impl Server<'_> {
    /// The edits that bring back what `init` replaced; `None` if one of its values is another now.
    fn edits(&self) -> Option<Vec<Edit>> {
        let mut edits = Vec::new();
        for member in self.written.1.members() {
            let was = self.was.1.at(&member.key);
            if was.is_some_and(|was| was.same(self.was.0, &member.value, self.written.0)) {
                continue;
            }
            let is = self.is.1.at(&member.key)?;
            if !is.same(self.is.0, &member.value, self.written.0) {
                return None;
            }
            edits.push(match was {
                Some(was) => Edit { span: is.span.clone(), text: was.raw(self.was.0).to_owned() },
                None => edit::remove(self.is.0, self.syntax, self.is.1, &member.key)?,
            });
        }
        Some(edits)
    }
}
