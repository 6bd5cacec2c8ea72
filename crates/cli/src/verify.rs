//! `tollbook verify`, `evidence`, `keys`: proof, for whoever holds a data folder, a copy of its log, or a document.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ledger::VerifierKey;
use ledger::evidence::{Evidence, Exhibit, Scope};
use ledger::payload::BODY;
use ledger::{CallId, Leaf, RunId, Seq};
use recorder::Reader;

use crate::credentials::{self, KeyCommand};
use crate::environment::Environment;
use crate::read::{index, runs};

/// Answered with no: something does not verify.
const NO: u8 = 1;

/// What to do about a log that does not verify.
const REMEDY: &str = "\
what to do: keep the folder as it is, for whoever looks into it; check the newest backup with `tollbook verify BACKUP`, and make a
new data folder of it with `tollbook --data NEW restore BACKUP`\n";

/// Check a data folder, a copy of its `log` folder, or a document made by `tollbook evidence`.
///
/// Needs no gateway and no key but the log's public one. Checks the checkpoint's signature, every record against the tree,
/// every payload's digest, every run's numbers and links, and that every call has exactly one end. Names the first bad
/// record. Exit code 1: it does not verify.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Data folder, log folder or evidence document; the data folder in use if not given.
    path: Option<PathBuf>,
    /// The log's public key, from somewhere else than what is checked: `name+id+base64`, or a file that holds it.
    #[arg(long, value_name = "KEY")]
    vkey: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Write a document that proves a run, or single records, without the data folder.
#[derive(Debug, Args)]
pub(crate) struct EvidenceArgs {
    /// What to prove: a run (its id, the beginning of it, or `last`), a call, or a record's number.
    what: String,
    /// File to write; standard output if not given.
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// What to show of the payloads: `all`, `none`, or names of fields separated by commas.
    #[arg(long, default_value = "all", value_name = "FIELDS")]
    show: String,
}

/// The log's keys.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Print the log's public key: keep it somewhere else.
    Show,
    #[command(flatten)]
    Service(KeyCommand),
}

/// Runs `verify`.
pub(crate) fn run(args: &VerifyArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let path =
        args.path.as_deref().map_or_else(|| environment.data.clone(), |path| environment.resolve(path));
    let key = args.vkey.as_deref().map(read_key).transpose()?;
    let (ok, json, text) = if path.is_file() {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let evidence: Evidence = serde_json::from_str(&text)
            .with_context(|| format!("`{}` is no evidence document", path.display()))?;
        let report = evidence.verify(key.as_ref());
        (report.ok, serde_json::to_string(&report)?, describe(&evidence, &report, args.vkey.is_some()))
    } else {
        // A log may be named by itself, also one that was put aside: the rest of a data folder is not needed.
        let report = match path.join("checkpoint").is_file() {
            true => recorder::verify_log(&path, key),
            false => recorder::verify_folder(&path, key),
        };
        let report = report.with_context(|| format!("`{}` cannot be verified", path.display()))?;
        let remedy = if report.ok { "" } else { REMEDY };
        (report.ok, serde_json::to_string(&report)?, format!("{report}{remedy}"))
    };
    if args.json {
        writeln!(out, "{json}")?;
    } else {
        write!(out, "{text}")?;
    }
    Ok(if ok { 0 } else { NO })
}

/// Runs `evidence`.
pub(crate) fn evidence(args: &EvidenceArgs, data: &Path, out: &mut dyn Write) -> anyhow::Result<u8> {
    let subject = Subject::parse(&args.what, data)?;
    let reader = Reader::open(data)?;
    let mut exhibits = Vec::new();
    for record in reader.leaves(Seq(0)) {
        let (seq, bytes) = record?;
        let leaf = Leaf::decode(&bytes).with_context(|| format!("record {seq}"))?;
        if subject.holds(seq, &leaf) {
            exhibits.push(exhibit(&reader, seq, &bytes, &leaf, &args.show)?);
        }
    }
    if exhibits.is_empty() {
        writeln!(std::io::stderr(), "tollbook: no record of `{}` in this log", args.what)?;
        return Ok(NO);
    }
    let document = Evidence {
        tollbook_evidence: ledger::evidence::VERSION,
        scope: subject.scope(),
        vkey: reader.vkey().to_string(),
        checkpoint: reader.checkpoint().unwrap_or_default().to_owned(),
        records: exhibits,
    };
    let text = serde_json::to_string_pretty(&document)?;
    match &args.output {
        Some(path) => {
            write_private(path, &(text + "\n"))
                .with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        None => writeln!(out, "{text}")?,
    }
    Ok(0)
}

/// Arguments and results are in it: for its owner alone.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Runs `keys`.
pub(crate) fn keys(args: &KeysArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    match &args.command {
        KeysCommand::Show => {
            writeln!(out, "{}", Reader::open(&environment.data)?.vkey()).map(|()| 0).map_err(Into::into)
        }
        KeysCommand::Service(command) => credentials::keys(command, environment, out),
    }
}

/// What a document is to prove.
enum Subject {
    Run(RunId),
    Call(CallId),
    Record(Seq),
}

impl Subject {
    fn parse(text: &str, data: &Path) -> anyhow::Result<Subject> {
        if let Ok(call) = text.parse() {
            return Ok(Subject::Call(call));
        }
        if let Ok(seq) = text.parse() {
            return Ok(Subject::Record(Seq(seq)));
        }
        if let Ok(run) = text.parse() {
            return Ok(Subject::Run(run));
        }
        Ok(Subject::Run(runs::named(&index::open(data)?, text)?.run))
    }

    fn holds(&self, seq: Seq, leaf: &Leaf) -> bool {
        match self {
            Subject::Run(run) => leaf.link.is_some_and(|link| link.run == *run),
            Subject::Call(call) => leaf.call == Some(*call),
            Subject::Record(wanted) => seq == *wanted,
        }
    }

    fn scope(&self) -> Scope {
        match self {
            Subject::Run(run) => Scope::Run(*run),
            Subject::Call(_) | Subject::Record(_) => Scope::Records,
        }
    }
}

fn exhibit(reader: &Reader, seq: Seq, bytes: &[u8], leaf: &Leaf, show: &str) -> anyhow::Result<Exhibit> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut exhibit = Exhibit::new(reader.tiles(), seq, bytes, reader.size())
        .with_context(|| format!("record {seq} has no proof"))?;
    if show == "none" {
        return Ok(exhibit);
    }
    let Some(payload) = reader.payload(seq, leaf)? else { return Ok(exhibit) };
    let shown = |name: &str| show == "all" || show.split(',').any(|wanted| wanted == name);
    let names = payload.names().filter(|name| shown(name));
    exhibit.disclosures = names.filter_map(|name| payload.disclose(name)).collect();
    if shown(BODY) {
        exhibit.disclosures.extend(payload.disclose(BODY));
        exhibit.body = Some(URL_SAFE_NO_PAD.encode(&payload.body));
        exhibit.body_salt = Some(payload.body_salt());
    }
    Ok(exhibit)
}

fn describe(
    evidence: &Evidence,
    report: &ledger::evidence::EvidenceReport,
    key_from_elsewhere: bool,
) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let verdict = if report.ok { "verified" } else { "DOES NOT VERIFY" };
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{verdict}: {} {} of {}, in a tree of {}",
        report.records,
        if report.records == 1 { "record" } else { "records" },
        report.origin,
        report.size
    );
    if let Scope::Run(run) = evidence.scope {
        let end = if report.complete { "with its end" } else { "still open at that checkpoint" };
        let _ = writeln!(text, "all of {run}, {end}");
    }
    if !key_from_elsewhere {
        let _ = writeln!(
            text,
            "checked against the key in the document: give `--vkey` from elsewhere to know whose it is"
        );
    }
    for fault in &report.faults {
        let _ = writeln!(text, "{fault}");
    }
    text
}

fn read_key(text: &str) -> anyhow::Result<VerifierKey> {
    let written = if Path::new(text).is_file() { std::fs::read_to_string(text)? } else { text.to_owned() };
    written.trim().parse().with_context(|| format!("`{text}` is no public key of a log"))
}
