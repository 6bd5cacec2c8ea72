//! What is odd about a tool's definition. Findings for a person to look at, not verdicts; few, and each says why.

use std::collections::HashMap;

use unicode_security::{MixedScript as _, skeleton};

use crate::catalog::tool_id;
use crate::raw::{Raw, read};

/// Something odd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub oddity: Oddity,
    /// The member it is in, with dots.
    pub member: String,
    /// Why it is worth a look.
    pub text: String,
}

/// Kinds of oddities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// Characters that a person does not see and a model reads.
    Invisible,
    /// Characters that show a text in another order than it is read.
    Bidirectional,
    /// A name with letters of several scripts.
    MixedScript,
    /// A name that looks like another tool's.
    LookAlike,
    /// A text that tells the model what to do beyond the tool.
    Instruction,
}

/// Levels below which nothing is inspected; a definition that deep has no pin.
const DEPTH: usize = 64;

/// Texts that speak to the model about its user, its orders or other tools. Kept few: a description may say "must".
const PHRASES: [&str; 20] = [
    "ignore previous instructions",
    "ignore all previous",
    "ignore prior instructions",
    "ignore the above",
    "disregard previous",
    "disregard all previous",
    "forget previous instructions",
    "do not tell the user",
    "don't tell the user",
    "do not inform the user",
    "without telling the user",
    "without informing the user",
    "do not mention this",
    "don't mention this",
    "hide this from the user",
    "system prompt",
    "before using any other tool",
    "before calling any other tool",
    "<important>",
    "<system>",
];

/// Inspects a definition, as it was sent.
pub fn inspect(definition: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    walk("", definition, DEPTH, &mut findings);
    if let Some(Raw::Members(members)) = read(definition)
        && let Some((_, raw)) = members.iter().find(|(name, _)| name == "name")
        && let Some(Raw::Text(name)) = read(raw.get())
        && !name.is_single_script()
    {
        let text = format!("the name `{}` mixes letters of several scripts", shown(&name));
        findings.push(Finding { oddity: Oddity::MixedScript, member: "name".to_owned(), text });
    }
    findings
}

/// Names of tools, to find those that look like others.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, Vec<(String, String)>>);

impl Names {
    /// Of tools, each a server and a name.
    pub fn of<'a>(tools: impl Iterator<Item = (&'a str, &'a str)>) -> Names {
        let mut names = Names::default();
        for (server, tool) in tools {
            let place = names.0.entry(skeleton(tool).collect()).or_default();
            place.push((server.to_owned(), tool.to_owned()));
        }
        names
    }

    /// Those that look like this one and have another name.
    pub fn like(&self, server: &str, tool: &str) -> Vec<Finding> {
        let looks: String = skeleton(tool).collect();
        let others = self.0.get(&looks).into_iter().flatten().filter(|(_, other)| other != tool);
        let id = shown(&tool_id(server, tool));
        let finding = |(server, other): &(String, String)| Finding {
            oddity: Oddity::LookAlike,
            member: "name".to_owned(),
            text: format!("`{id}` looks like `{}`", shown(&tool_id(server, other))),
        };
        others.map(finding).collect()
    }
}

fn walk(path: &str, json: &str, depth: usize, findings: &mut Vec<Finding>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match read(json) {
        Some(Raw::Text(text)) => texts(path, &text, findings),
        Some(Raw::List(elements)) => {
            for (number, element) in elements.iter().enumerate() {
                walk(&format!("{path}.{number}"), element.get(), depth, findings);
            }
        }
        Some(Raw::Members(members)) => {
            for (name, raw) in members {
                let path = if path.is_empty() { shown(&name) } else { format!("{path}.{}", shown(&name)) };
                texts(&path, &name, findings);
                walk(&path, raw.get(), depth, findings);
            }
        }
        _ => {}
    }
}

fn texts(path: &str, text: &str, findings: &mut Vec<Finding>) {
    let mut add = |oddity, text| findings.push(Finding { oddity, member: path.to_owned(), text });
    let hidden = hidden(text);
    if let Some(first) = hidden.first() {
        add(
            Oddity::Invisible,
            format!("{} invisible characters, the first is U+{:04X}", hidden.len(), u32::from(*first)),
        );
    }
    if let Some(turn) = text.chars().find(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    {
        add(
            Oddity::Bidirectional,
            format!("U+{:04X} changes the order in which the text is shown", u32::from(turn)),
        );
    }
    let plain = text.to_lowercase().replace('’', "'");
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(phrase) = PHRASES.iter().find(|phrase| plain.contains(**phrase)) {
        add(Oddity::Instruction, format!("`{phrase}` speaks to the model, not about the tool"));
    }
}

/// Characters that show nothing. Joiners and tags that belong to an emoji or to a script that needs them are not meant.
fn hidden(text: &str) -> Vec<char> {
    let mut found = Vec::new();
    let mut before = ' ';
    let mut flag = false;
    for character in text.chars() {
        flag = character == '\u{1f3f4}' || (flag && matches!(character, '\u{e0020}'..='\u{e007f}'));
        let is_hidden = match character {
            '\n' | '\r' | '\t' => false,
            '\u{200c}' | '\u{200d}' => before.is_ascii(),
            '\u{e0000}'..='\u{e007f}' => !flag,
            '\u{fe00}'..='\u{fe0f}' => {
                before.is_ascii_alphabetic() || matches!(before, '\u{fe00}'..='\u{fe0f}')
            }
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => true,
            '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{3164}' => true,
            '\u{feff}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}' => true,
            other => other.is_control(),
        };
        if is_hidden {
            found.push(character);
        }
        before = character;
    }
    found
}

/// A name with what is not plain written out, so that a finding shows what it is about.
fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() || c == ' ';
    name.chars().map(|c| if plain(c) { c.to_string() } else { format!("‹U+{:04X}›", u32::from(c)) }).collect()
}
