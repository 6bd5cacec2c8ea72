//! `@limit`: how often, how much and how many at once a run may do what a policy permits.
//!
//! `30 calls per minute`, `10 MiB per run`, `2 at once`; with `per tool` at the end for each tool apart.

use std::fmt;

use crate::diagnostic::did_you_mean;

/// What one `@limit` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    /// How much of what.
    pub most: Most,
    /// Whether each tool (prompt, resource) is counted apart.
    pub per_tool: bool,
}

/// How much of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Most {
    /// Calls.
    Calls(u64, Within),
    /// Bytes of results.
    Bytes(u64, Within),
    /// Calls without an end.
    AtOnce(u64),
}

/// In which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Within {
    /// In any second, minute, hour, day: milliseconds.
    Window(u64),
    /// As long as the run lasts.
    Run,
}

/// A limit that a call falls under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// The policy, as records name it.
    pub policy: String,
    /// The limit.
    pub limit: Limit,
    /// What is asked for: `server/name`, else `server`.
    pub thing: String,
}

const UNITS: [(&str, u64); 4] =
    [("second", 1000), ("minute", 60_000), ("hour", 3_600_000), ("day", 86_400_000)];

const SIZES: [(&str, u32); 4] = [("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30)];

/// A mistake and what would be right.
type Wrong = (String, Option<String>);

impl Limit {
    /// Reads the limits of an annotation, parted by commas.
    pub(crate) fn all(value: &str) -> Result<Vec<Limit>, Wrong> {
        let mut limits = Vec::new();
        for part in value.split(',') {
            let limit = Limit::read(part)?;
            if limits.contains(&limit) {
                return Err((format!("`{limit}` is said twice"), None));
            }
            limits.push(limit);
        }
        Ok(limits)
    }

    fn read(part: &str) -> Result<Limit, Wrong> {
        let part = part.trim();
        let words: Vec<&str> = part.split_whitespace().collect();
        let (words, per_tool) = match words.as_slice() {
            [words @ .., "per", "tool"] => (words, true),
            words => (words, false),
        };
        let unclear = || (format!("`{part}` is no limit"), Some(EXAMPLE.to_owned()));
        let [number, words @ ..] = words else { return Err(unclear()) };
        let number: u64 = number.parse().map_err(|_| unclear())?;
        if number == 0 {
            return Err((format!("`{part}` allows nothing"), Some("write a `forbid` instead".to_owned())));
        }
        let most = match words {
            ["at", "once"] => Most::AtOnce(number),
            ["call" | "calls", "per", unit] => Most::Calls(number, within(unit)?),
            [size, "per", unit] => Most::Bytes(bytes(number, size)?, within(unit)?),
            _ => return Err(unclear()),
        };
        Ok(Limit { most, per_tool })
    }
}

pub(crate) const EXAMPLE: &str =
    "for example `@limit(\"30 calls per minute\")` or `@limit(\"10 MiB per run, 2 at once per tool\")`";

fn within(unit: &str) -> Result<Within, Wrong> {
    let found = UNITS.iter().find(|(name, _)| *name == unit);
    if let Some((_, ms)) = found {
        return Ok(Within::Window(*ms));
    }
    if unit == "run" {
        return Ok(Within::Run);
    }
    let known = ["second", "minute", "hour", "day", "run"];
    let help = did_you_mean(unit, known).unwrap_or_else(|| format!("known are {}", known.join(", ")));
    Err((format!("`{unit}` is no time to count in"), Some(help)))
}

fn bytes(number: u64, size: &str) -> Result<u64, Wrong> {
    let Some((_, shift)) = SIZES.iter().find(|(name, _)| *name == size) else {
        let known = ["calls", "KiB", "MiB", "GiB", "B"];
        let close = SIZES.iter().find(|(name, _)| size.eq_ignore_ascii_case(&name.replace('i', "")));
        let help =
            close.map(|(name, _)| format!("did you mean `{name}`?")).or_else(|| did_you_mean(size, known));
        let help = help.unwrap_or_else(|| format!("known are {}", known.join(", ")));
        return Err((format!("`{size}` is nothing to count"), Some(help)));
    };
    let too_large = || (format!("`{number} {size}` is too large"), None);
    number.checked_mul(1 << shift).ok_or_else(too_large)
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.most {
            Most::Calls(number, within) => write!(formatter, "{number} calls per {within}")?,
            Most::Bytes(number, within) => {
                let fits = |shift: &u32| number.is_multiple_of(1 << shift);
                let size = SIZES.iter().rev().find(|(_, shift)| fits(shift));
                let (name, shift) = size.copied().unwrap_or(("B", 0));
                write!(formatter, "{} {name} per {within}", number >> shift)?;
            }
            Most::AtOnce(number) => write!(formatter, "{number} at once")?,
        }
        formatter.write_str(if self.per_tool { " per tool" } else { "" })
    }
}

impl fmt::Display for Within {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self {
            Within::Run => "run",
            Within::Window(ms) => UNITS.iter().find(|(_, unit)| unit == ms).map_or("time", |(name, _)| name),
        };
        formatter.write_str(unit)
    }
}
