//! Service keys and runs with a credential of their own: `tollbook keys …`, `tollbook run mint` and `revoke`.
//!
//! A secret is printed once, on standard output; nothing keeps it.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use identity::{
    KEY_LIFETIME, Mint, Minted, NewKey, Principal, PrincipalKind, RunKey, RunOrder, Scope, Under, issue_key,
    rotate_key,
};
use ledger::RunId;
use store::state::{AccessKey, State};

use crate::clock;
use crate::config;
use crate::environment::Environment;
use crate::read::text;

/// How long the old secret of a rotated key lives on.
const OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);

/// Keys of services, for programs that call without a person.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key for a service; it is shown once.
    Create {
        /// The service's name.
        #[arg(long)]
        service: String,
        /// Its groups, with commas.
        #[arg(long, value_delimiter = ',')]
        groups: Vec<String>,
        /// How long it lives, like `90d`, `12h`.
        #[arg(long, value_parser = lifetime)]
        lives: Option<Duration>,
        /// What to remember of it.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// List keys; no secret is in the list.
    List {
        /// Only keys that begin so.
        #[arg(default_value = "")]
        beginning: String,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Give a key another secret; the one before lives on for a day.
    Rotate {
        /// The key's eight characters.
        id: String,
        /// How long the new one lives, like `90d`, `12h`.
        #[arg(long, value_parser = lifetime)]
        lives: Option<Duration>,
        /// How long the old one lives on.
        #[arg(long, value_parser = lifetime)]
        overlap: Option<Duration>,
    },
    /// Revoke a key: it acts on the next call, and open streams end within a second.
    Revoke {
        /// The key's eight characters.
        id: String,
    },
}

/// A run with a credential of its own.
#[derive(Debug, Args)]
pub(crate) struct MintArgs {
    /// For this service.
    #[arg(long, conflicts_with_all = ["user", "under"])]
    service: Option<String>,
    /// For this person, as your identity provider names them.
    #[arg(long, conflicts_with = "under")]
    user: Option<String>,
    /// Which provider names the person so, where several are configured: its URL or entity id.
    #[arg(long, requires = "user", value_name = "URL")]
    issuer: Option<String>,
    /// Under this run: never wider, and it ends with it.
    #[arg(long)]
    under: Option<RunId>,
    /// Groups of the service or person, with commas.
    #[arg(long, value_delimiter = ',', conflicts_with = "under")]
    groups: Vec<String>,
    /// What it is narrowed to: servers and `SERVER/TOOL`s, parted by spaces.
    #[arg(long)]
    scope: Option<String>,
    /// The task in words.
    #[arg(long)]
    purpose: Option<String>,
    /// How long it lives, like `15m`, `1h`.
    #[arg(long, value_parser = lifetime)]
    lives: Option<Duration>,
    /// Configuration file, as for `serve`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Does what is asked of keys; 1 if a list is empty or there is no such key.
pub(crate) fn keys(
    command: &KeyCommand,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let state = open_acting(environment)?;
    match command {
        KeyCommand::Create { service, groups, lives, note } => {
            let new = NewKey {
                name: service.clone(),
                groups: groups.clone(),
                note: note.clone(),
                created_by: who(),
                lifetime: lives.unwrap_or(KEY_LIFETIME),
            };
            let issued = issue_key(&state, &new, clock::unix_seconds())?;
            writeln!(out, "{}", issued.secret.reveal())?;
            Ok(0)
        }
        KeyCommand::List { beginning, json } => list(&state.keys(beginning)?, *json, out),
        KeyCommand::Rotate { id, lives, overlap } => {
            let (lives, overlap) = (lives.unwrap_or(KEY_LIFETIME), overlap.unwrap_or(OVERLAP));
            let issued = rotate_key(&state, id, lives, overlap, clock::unix_seconds())?;
            writeln!(out, "{}", issued.secret.reveal())?;
            Ok(0)
        }
        KeyCommand::Revoke { id } => {
            let revoked = state.revoke_key(id, clock::unix_seconds())?;
            ensure!(revoked, "there is no key `{id}`, or it is revoked; `tollbook keys list` shows them");
            Ok(0)
        }
    }
}

fn list(keys: &[AccessKey], json: bool, out: &mut dyn Write) -> anyhow::Result<u8> {
    for key in keys {
        let ends = match key.revoked {
            Some(at) => format!("revoked {}", day(at)),
            None if key.expires <= clock::unix_seconds() => format!("expired {}", day(key.expires)),
            None => format!("until {}", day(key.expires)),
        };
        let used = key.used.map_or_else(|| "never used".to_owned(), |at| format!("used {}", day(at)));
        if json {
            let row = serde_json::json!({
                "id": key.id, "service": key.name, "groups": key.groups, "note": key.note, "created": key.created,
                "created_by": key.created_by, "expires": key.expires, "revoked": key.revoked, "used": key.used,
            });
            writeln!(out, "{}", text::json_line(&row)?)?;
        } else {
            let groups = key.groups.join(",");
            let note = text::visible(&key.note);
            let (name, groups) = (text::cell(&key.name, 20), text::cell(&groups, 20));
            writeln!(
                out,
                "{}",
                format!("tbk_{}  {name}  {groups}  {ends}, {used}  {note}", key.id).trim_end()
            )?;
        }
    }
    Ok(u8::from(keys.is_empty()))
}

/// Mints a run and prints its token.
pub(crate) fn mint(args: &MintArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let scope = args.scope.as_deref().map_or(Ok(Scope::Unlimited), Scope::parse)?;
    let mint = open_mint(args.config.as_ref(), environment)?;
    let under = match (&args.under, &args.service, &args.user) {
        (Some(run), _, _) => Under::Run(*run),
        (None, Some(id), _) => Under::Principal(mint.own(id), args.groups.clone()),
        (None, None, Some(id)) => {
            Under::Principal(mint.person(id, args.issuer.as_deref())?, args.groups.clone())
        }
        (None, None, None) => anyhow::bail!("say for whom: `--service NAME`, `--user NAME` or `--under RUN`"),
    };
    let order = RunOrder {
        under,
        actors: Vec::new(),
        purpose: args.purpose.clone(),
        scope,
        audience: Vec::new(),
        lifetime: args.lives,
        bound: None,
        minted_by: who(),
        key: None,
        login: None,
    };
    let Minted { run, token } = mint.mint.mint(order, clock::unix_seconds())?;
    eprintln_run(&run.id, run.expires)?;
    writeln!(out, "{}", token.reveal())?;
    Ok(0)
}

/// Revokes a run and all that stand under it.
pub(crate) fn revoke(run: RunId, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let state = open_acting(environment)?;
    let revoked = state.revoke_run(run, &who(), clock::unix_seconds())?;
    ensure!(revoked, "{run} was not minted here, or is revoked; `tollbook run minted` lists those that were");
    writeln!(out, "revoked; a running gateway goes by it from the next call on")?;
    Ok(0)
}

/// Lists runs that were minted; 1 if there are none.
pub(crate) fn minted(limit: u32, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let runs = State::open(&environment.data)?.minted_runs(limit)?;
    for run in &runs {
        let ends = run
            .revoked
            .map_or_else(|| format!("until {}", day(run.expires)), |at| format!("revoked {}", day(at)));
        let who = format!("{}:{}", run.kind, run.principal);
        let scope = run.scope.as_deref().unwrap_or("everything");
        let purpose = run.purpose.as_deref().map(text::visible).unwrap_or_default();
        let line =
            format!("{}  {}  {ends}  {}  {purpose}", run.id, text::cell(&who, 24), text::visible(scope));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(u8::from(runs.is_empty()))
}

/// A mint, and whom it mints for.
struct OwnMint {
    mint: Mint,
    settings: identity::Settings,
}

impl OwnMint {
    /// A service of Tollbook's own, as one with a key is.
    fn own(&self, id: &str) -> Principal {
        let issuer = self.settings.public_url.clone();
        Principal { kind: PrincipalKind::Service, id: id.to_owned(), issuer }
    }

    /// The person whom a provider names so: policies know them by the same name when they log in.
    fn person(&self, id: &str, issuer: Option<&str>) -> anyhow::Result<Principal> {
        let providers: Vec<&str> = self.settings.providers().collect();
        let issuer = match (issuer, providers.as_slice()) {
            (Some(issuer), _) if providers.contains(&issuer) => issuer,
            (None, [one]) => one,
            (None, []) => &self.settings.public_url,
            _ => anyhow::bail!("say who names the person so: `--issuer` is one of {}", providers.join(", ")),
        };
        Ok(Principal { kind: PrincipalKind::User, id: id.to_owned(), issuer: issuer.to_owned() })
    }
}

fn open_mint(path: Option<&PathBuf>, environment: &Environment) -> anyhow::Result<OwnMint> {
    let path = path.map(|path| environment.resolve(path)).or_else(|| environment.config.clone());
    let config = config::read(path.as_deref(), environment)?;
    let settings =
        config.identity.context("runs are minted where `[identity]` is configured; see docs/identity.md")?;
    let state = Arc::new(open_acting(environment)?);
    let mint =
        Mint::new(state, RunKey::open(&environment.data)?, &settings.public_url, settings.runs.clone());
    Ok(OwnMint { mint, settings })
}

/// The state in the hands of who types.
pub(crate) fn open_acting(environment: &Environment) -> anyhow::Result<State> {
    Ok(State::open(&environment.data)?.acting(&who(), clock::unix_seconds()))
}

/// Who types: nobody else is at this machine's prompt.
pub(crate) fn who() -> String {
    format!("os:{}", rustix::process::getuid().as_raw())
}

fn eprintln_run(run: &RunId, expires: u64) -> std::io::Result<()> {
    writeln!(std::io::stderr().lock(), "{run}, until {}", day(expires))
}

/// Seconds since the Unix epoch as a time, UTC.
pub(crate) fn day(seconds: u64) -> String {
    text::clock(i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX))
}

/// `90d`, `12h`, `15m`, `30s`.
fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time; write it like `90d`, `12h`, `15m`");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(wrong)
}
