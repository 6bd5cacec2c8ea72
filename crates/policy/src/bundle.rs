//! A bundle: policies that were read, checked and put in order for questions.

use std::collections::HashMap;

use cedar_policy::Policy;
use ledger::Hash;

use crate::catalog::{Catalog, Hints};
use crate::check;
use crate::diagnostic::{Diagnostics, Lines, Mistake, show};
use crate::index::Index;
use crate::needs::Needs;
use crate::obligation::{Obligations, Recording};
use crate::parse::{Written, parse};
use crate::question::Question;
use crate::typing::Fields;
use crate::visible;

/// A policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name, as diagnostics and records show it.
    pub name: String,
    /// Cedar policies.
    pub text: String,
}

/// Policies in force. Immutable: a change is another bundle.
#[derive(Debug)]
pub struct Bundle {
    digest: Hash,
    pub(crate) rules: Vec<Rule>,
    pub(crate) index: Index,
    /// What the policies say of a tool before there is a call.
    pub(crate) listing: Index,
    pub(crate) tools: ByServer<Pin>,
    pub(crate) prompts: ByServer<Fields>,
}

/// A policy with what is known of it beside Cedar.
#[derive(Debug)]
pub(crate) struct Rule {
    /// `@id`, else `file:line`.
    pub(crate) label: String,
    /// `file:line`.
    pub(crate) place: String,
    pub(crate) policy: Policy,
    pub(crate) obligations: Obligations,
    /// The conditions as they are written.
    pub(crate) clauses: Vec<String>,
    pub(crate) needs: Needs,
}

/// What is known of a tool that may be called.
#[derive(Debug)]
pub(crate) struct Pin {
    /// `None` if the tool's schema cannot be read.
    pub(crate) fields: Option<Fields>,
    pub(crate) hints: Hints,
}

/// Things by server and name.
#[derive(Debug)]
pub(crate) struct ByServer<T>(HashMap<String, HashMap<String, T>>);

impl<T> ByServer<T> {
    pub(crate) fn get(&self, server: &str, name: &str) -> Option<&T> {
        self.0.get(server)?.get(name)
    }
}

impl Bundle {
    /// Reads and checks policies against what servers offer; finds all mistakes at once.
    pub fn compile(sources: &[Source], catalog: &Catalog) -> Result<Bundle, Diagnostics> {
        let mut mistakes = Vec::new();
        let written = parse(sources, &mut mistakes);
        let tools = pins(catalog);
        check::check(&written, catalog, &tools, &mut mistakes);
        let mut bundle = Bundle {
            digest: digest(sources),
            rules: Vec::with_capacity(written.len()),
            index: Index::default(),
            listing: Index::default(),
            tools,
            prompts: prompts(catalog),
        };
        if mistakes.is_empty() {
            let rules = rules(sources, &written);
            let listing = visible::derived(sources, &written);
            let mut place = 0;
            for (written, rule) in written.iter().zip(rules) {
                let derived = listing.of(&mut place, written);
                let added = derived.and_then(|derived| bundle.add(written, rule, derived));
                mistakes.extend(
                    added.err().map(|text| Mistake::at(written.source, written.statement.effect(), text)),
                );
            }
        }
        if mistakes.is_empty() { Ok(bundle) } else { Err(show(sources, &mistakes)) }
    }

    fn add(&mut self, written: &Written<'_>, rule: Rule, derived: Option<&Policy>) -> Result<(), String> {
        let number = self.rules.len();
        self.index.add(number, &written.policy, &rule.needs)?;
        if let Some(derived) = derived {
            self.listing.add(number, derived, &rule.needs)?;
        }
        self.rules.push(rule);
        Ok(())
    }

    /// What names these policies in records: SHA-256 over the files' names and texts, each with its length, in the order
    /// of names. See `docs/formats/policy.md`.
    pub fn digest(&self) -> Hash {
        self.digest
    }

    /// How many policies there are.
    pub fn policies(&self) -> usize {
        self.rules.len()
    }

    /// The policies that may be asked this and read an attribute of `context`, as `network`: `@id`, else `file:line`.
    pub fn readers<'a>(
        &'a self,
        question: &Question<'_>,
        attribute: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let candidates = self.put(question).map(|put| self.index.candidates(&put.place).numbers());
        let rules = candidates.unwrap_or_default().into_iter().filter_map(|number| self.rules.get(number));
        rules.filter(move |rule| rule.needs.has(attribute)).map(|rule| rule.label.as_str())
    }

    /// The mask sets that policies name, and where. One that nobody defines is a hole: refuse the bundle then.
    pub fn mask_sets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules
            .iter()
            .flat_map(|rule| rule.obligations.masks.iter().map(|set| (set.as_str(), rule.place.as_str())))
    }

    /// The least that any policy has recorded.
    pub fn least_recording(&self) -> Recording {
        self.rules.iter().map(|rule| rule.obligations.recording).min().unwrap_or_default()
    }

    /// The groups whose approval policies ask for, and where.
    pub fn hold_groups(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules
            .iter()
            .flat_map(|rule| rule.obligations.holds.keys().map(|set| (set.as_str(), rule.place.as_str())))
    }
}

fn rules(sources: &[Source], written: &[Written<'_>]) -> Vec<Rule> {
    let lines: Vec<Lines> = sources.iter().map(|source| Lines::of(&source.text)).collect();
    let rule = |written: &Written<'_>| {
        let Written { statement, policy, obligations, source } = written;
        let (name, text) = sources.get(*source).map_or(("", ""), |source| (&source.name, &source.text));
        let line = lines.get(*source).map_or(0, |lines| lines.line(statement.effect().start));
        let place = format!("{name}:{line}");
        let clauses = statement.clauses().into_iter();
        Rule {
            label: obligations.id.clone().unwrap_or_else(|| place.clone()),
            place,
            policy: policy.clone(),
            obligations: obligations.clone(),
            clauses: clauses.filter_map(|clause| text.get(clause.range).map(str::to_owned)).collect(),
            needs: Needs::of(statement),
        }
    };
    written.iter().map(rule).collect()
}

fn pins(catalog: &Catalog) -> ByServer<Pin> {
    let servers = catalog.servers().map(|server| {
        let pins = server.tools().iter().map(|tool| {
            let fields = tool.input_schema.as_deref().and_then(Fields::of_schema);
            (tool.name.clone(), Pin { fields, hints: tool.hints })
        });
        (server.name.clone(), pins.collect())
    });
    ByServer(servers.collect())
}

fn prompts(catalog: &Catalog) -> ByServer<Fields> {
    let servers = catalog.servers().map(|server| {
        let prompts =
            server.prompts.iter().map(|prompt| (prompt.name.clone(), Fields::of_texts(&prompt.arguments)));
        (server.name.clone(), prompts.collect())
    });
    ByServer(servers.collect())
}

fn digest(sources: &[Source]) -> Hash {
    let mut sorted: Vec<&Source> = sources.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut bytes = b"tollbook policy bundle v1\n".to_vec();
    for part in sorted.iter().flat_map(|source| [&source.name, &source.text]) {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    Hash::of(&bytes)
}
