//! An operator at the prompt says who they are, by name and password.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use clap::Args;
use identity::Secret;
use identity::operators::{LogIn, Operator, Operators, Permission, RoleMap};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use store::state::{Deed, State};

use crate::environment::Environment;
use crate::{clock, credentials};

/// Who decides.
#[derive(Debug, Args)]
pub(super) struct WhoArgs {
    /// Your name as an operator with a password.
    #[arg(long)]
    operator: String,
    /// A file with the password; else it is asked for.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Who reads.
#[derive(Debug, Args)]
pub(super) struct ReaderArgs {
    /// Your name as an operator with a password: the record names you then, and else the system's user.
    #[arg(long)]
    operator: Option<String>,
    /// A file with the password; else it is asked for.
    #[arg(long, value_name = "FILE", requires = "operator")]
    password_file: Option<PathBuf>,
}

impl ReaderArgs {
    /// Who it is, for the record: the operator that they say they are, else the system's user, who could read it in the ledger as
    /// well.
    pub(super) fn identity(&self, environment: &Environment) -> anyhow::Result<String> {
        let Some(operator) = self.operator.clone() else { return Ok(credentials::who()) };
        let who = WhoArgs { operator, password_file: self.password_file.clone() };
        Ok(who.operator(environment)?.identity)
    }
}

impl WhoArgs {
    /// The operator, if they may approve. Their login and its end are noted.
    pub(super) fn operator(&self, environment: &Environment) -> anyhow::Result<Operator> {
        let operators = Operators::new(Arc::new(State::open(&environment.data)?), RoleMap::default());
        let (password, now) = (self.password()?, clock::unix_seconds());
        let asked = LogIn { name: &self.operator, password, address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let session = runtime.block_on(operators.log_in(asked, now))?;
        let operator = operators.operator(session.reveal(), now)?.context("you have no role any more")?;
        operators.log_out(&operator, session.reveal(), now)?;
        if !operator.may(Permission::Approve) {
            let deed = Deed::refused("operators.forbidden", Permission::Approve.as_str());
            operators.state().acting(&operator.identity, now).note(&deed)?;
        }
        ensure!(operator.may(Permission::Approve), "you are no approver; ask an admin for the role");
        Ok(operator)
    }

    fn password(&self) -> anyhow::Result<Secret> {
        if let Some(file) = &self.password_file {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
            return Ok(Secret::new(text.trim_end_matches(['\r', '\n'])));
        }
        let input = std::io::stdin();
        let is_terminal = input.is_terminal();
        if is_terminal {
            write!(std::io::stderr(), "password of {}: ", self.operator)?;
        }
        let shown = if is_terminal { tcgetattr(&input).ok() } else { None };
        if let Some(mut hidden) = shown.clone() {
            hidden.local_modes.remove(LocalModes::ECHO);
            tcsetattr(&input, OptionalActions::Flush, &hidden)?;
        }
        let mut line = String::new();
        let read = input.lock().read_line(&mut line);
        if let Some(shown) = shown {
            tcsetattr(&input, OptionalActions::Flush, &shown)?;
            writeln!(std::io::stderr())?;
        }
        read.context("no password was typed")?;
        Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
    }
}
