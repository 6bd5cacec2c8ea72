//! `tollbook policy`: a first bundle, its check, the tools that wait, and why a call was judged as it was.

pub(crate) mod files;
mod past;
mod pins;
mod recorded;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use policy::{Bundle, Catalog, starter};
use store::state::State;

use crate::config::{self, Config};
use crate::environment::Environment;
use crate::read::text;

/// Write, check and try policies; look at tools that have changed.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// Configuration file, as for `serve`.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Write a first bundle from the tools that servers have: a guess, to be reviewed.
    Init {
        /// The file; `-` for standard output. It must not be there yet.
        #[arg(default_value = "policies/tollbook.cedar", value_name = "FILE")]
        file: PathBuf,
    },
    /// Check policies against the tools that servers have; the exit code is 1 if there are mistakes.
    Check {
        /// A `.cedar` file or a folder of them, instead of those of the configuration.
        path: Option<PathBuf>,
    },
    /// List tools: those that were accepted, and those that wait for it.
    Tools {
        /// Only those that wait; the exit code is 1 if there are none.
        #[arg(long)]
        waiting: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show what is new in a tool that waits, and accept it with `--yes`.
    Accept {
        /// `SERVER/TOOL`.
        tool: String,
        /// Accept what is shown.
        #[arg(long)]
        yes: bool,
    },
    /// Say why a recorded call was judged as it was, or would be by the policies of now.
    Explain {
        /// The call's id, or the beginning of it.
        call: String,
        /// A `.cedar` file or a folder of them, instead of those of the configuration.
        #[arg(long, value_name = "PATH")]
        policies: Option<PathBuf>,
    },
    /// Judge the recorded calls by other policies; say what would change.
    WhatIf {
        /// A `.cedar` file or a folder of them.
        path: PathBuf,
        /// Only calls since then, as in a search: `7d`, `12h`, `2026-11-01`.
        #[arg(long)]
        since: Option<String>,
        /// At most so many calls of each kind are named.
        #[arg(long, default_value = "10", value_name = "N")]
        show: usize,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Does what is asked.
pub(crate) fn run(args: &PolicyArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let place = Place::read(args.config.as_deref(), environment)?;
    match &args.command {
        PolicyCommand::Init { file } => init(&place, &environment.resolve(file), file, out),
        PolicyCommand::Check { path } => check(&place, environment, path.as_deref(), out),
        PolicyCommand::Tools { waiting, json } => pins::list(&place.state, *waiting, *json, out),
        PolicyCommand::Accept { tool, yes } => pins::accept(&place.state, tool, *yes, out),
        PolicyCommand::Explain { call, policies } => {
            let bundle = place.bundle(environment, policies.as_deref())?;
            recorded::explain(&bundle, &place, call, out)
        }
        PolicyCommand::WhatIf { path, since, show, json } => {
            let bundle = place.bundle(environment, Some(path))?;
            let wanted = recorded::Period { since: since.as_deref(), show: *show, json: *json };
            recorded::what_if(&bundle, &place, &wanted, out)
        }
    }
}

/// Where policies, tools and calls are.
struct Place {
    config: Config,
    data: PathBuf,
    state: State,
}

impl Place {
    fn read(path: Option<&Path>, environment: &Environment) -> anyhow::Result<Place> {
        let path = path.map(|path| environment.resolve(path)).or_else(|| environment.config.clone());
        let config = config::read(path.as_deref(), environment)?;
        let data = if environment.is_data_given { &environment.data } else { &config.data };
        let state = State::open(data)?;
        Ok(Place { data: data.clone(), config, state })
    }

    fn catalog(&self) -> anyhow::Result<Catalog> {
        let servers = self.config.servers.keys().cloned().collect();
        Ok(gateway::catalog(&servers, &self.state.pins()?)?)
    }

    /// The policies of the path, else of the configuration.
    fn bundle(&self, environment: &Environment, path: Option<&Path>) -> anyhow::Result<Bundle> {
        let path = path.map(|path| environment.resolve(path)).or_else(|| self.config.policy.clone());
        let path = path.context("there are no policies: give a path, or set `path` in `[policy]`")?;
        Ok(Bundle::compile(&files::read(&path)?, &self.catalog()?)?)
    }
}

fn init(place: &Place, path: &Path, shown: &Path, out: &mut dyn Write) -> anyhow::Result<u8> {
    let catalog = place.catalog()?;
    let written = starter::bundle(&catalog);
    if shown == Path::new("-") {
        out.write_all(written.as_bytes())?;
        return Ok(0);
    }
    ensure!(!path.exists(), "`{}` is there already; give another name", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    }
    std::fs::write(path, &written).with_context(|| format!("cannot write `{}`", path.display()))?;
    let tools: usize = catalog.servers().map(|server| server.tools.as_ref().map_or(0, Vec::len)).sum();
    writeln!(out, "wrote {}: {tools} tools, grouped by a guess; review each line", path.display())?;
    for server in catalog.servers().filter(|server| server.tools.is_none()) {
        let name = text::visible(&server.name);
        writeln!(
            out,
            "  {name}: its tools are not known yet; let a client list them once, then write it anew"
        )?;
    }
    writeln!(out, "then put it in force: set `path` in `[policy]` of the configuration, and reload")?;
    Ok(0)
}

fn check(
    place: &Place,
    environment: &Environment,
    path: Option<&Path>,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    match place.bundle(environment, path) {
        Ok(bundle) => {
            writeln!(out, "{} policies, no mistakes; digest {}", bundle.policies(), bundle.digest())?;
            Ok(0)
        }
        Err(error) => match error.downcast_ref::<policy::Diagnostics>() {
            Some(mistakes) => {
                for line in mistakes.to_string().lines() {
                    writeln!(out, "{}", text::visible(line))?;
                }
                Ok(1)
            }
            None => Err(error),
        },
    }
}
