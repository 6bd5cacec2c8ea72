//! The fields a query may name, what each accepts, and which one a misspelt name probably meant.

/// Fields whose whole value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exact {
    /// Name of the server in the gateway's configuration.
    Server,
    /// Name of the tool; matches calls of `tools/call` only.
    Tool,
    /// Name of the tool or prompt, or the resource's URI.
    Name,
    /// JSON-RPC method.
    Method,
    /// `allow`, `deny` or `hold`.
    Verdict,
    /// How it ended; `open` while it has not, `refused` when it never was forwarded.
    Status,
    /// Who the call was made for.
    Principal,
    /// Name of the client software.
    Agent,
    /// `session` or `stateless`.
    Era,
    /// Protocol version.
    Version,
    /// Who asked: `client` or `server`.
    Direction,
    /// `call`, `refused` or `note`.
    Kind,
    /// Trace id of the W3C trace context.
    Trace,
}

/// Fields of which a part is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contained {
    /// The arguments' JSON text.
    Args,
    /// The error's text.
    Error,
    /// The reason given for a refusal or an unknown outcome.
    Reason,
}

/// Fields that are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Microseconds from intent to outcome; none while open.
    Duration,
    /// Request and answer together.
    Bytes,
    /// Microseconds since the Unix epoch.
    Time,
    /// Number of the round within its call, from 0.
    Round,
}

/// What stands before the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Text,
    Exact(Exact),
    Contained(Contained),
    Metric(Metric),
    Run,
    Call,
    Day,
    Since,
    Until,
    Last,
}

pub(super) const NAMES: [(&str, Name); 26] = [
    ("server", Name::Exact(Exact::Server)),
    ("tool", Name::Exact(Exact::Tool)),
    ("name", Name::Exact(Exact::Name)),
    ("method", Name::Exact(Exact::Method)),
    ("verdict", Name::Exact(Exact::Verdict)),
    ("status", Name::Exact(Exact::Status)),
    ("run", Name::Run),
    ("call", Name::Call),
    ("principal", Name::Exact(Exact::Principal)),
    ("agent", Name::Exact(Exact::Agent)),
    ("era", Name::Exact(Exact::Era)),
    ("version", Name::Exact(Exact::Version)),
    ("direction", Name::Exact(Exact::Direction)),
    ("args", Name::Contained(Contained::Args)),
    ("error", Name::Contained(Contained::Error)),
    ("text", Name::Text),
    ("duration", Name::Metric(Metric::Duration)),
    ("bytes", Name::Metric(Metric::Bytes)),
    ("time", Name::Metric(Metric::Time)),
    ("day", Name::Day),
    ("kind", Name::Exact(Exact::Kind)),
    ("round", Name::Metric(Metric::Round)),
    ("trace", Name::Exact(Exact::Trace)),
    ("reason", Name::Contained(Contained::Reason)),
    ("since", Name::Since),
    ("until", Name::Until),
];

/// `last` is `since` under its other name; it is left out of [`NAMES`] so that each meaning is suggested once.
pub(super) fn named(text: &str) -> Option<Name> {
    if text == "last" {
        return Some(Name::Last);
    }
    NAMES.iter().find(|(name, _)| *name == text).map(|(_, field)| *field)
}

pub(super) fn nearest_name(text: &str) -> Option<&'static str> {
    nearest(text, NAMES.iter().map(|(name, _)| *name))
}

impl Exact {
    /// The field's word, which is its column's name too, but for `tool`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Exact::Server => "server",
            Exact::Tool => "tool",
            Exact::Name => "name",
            Exact::Method => "method",
            Exact::Verdict => "verdict",
            Exact::Status => "status",
            Exact::Principal => "principal",
            Exact::Agent => "agent",
            Exact::Era => "era",
            Exact::Version => "version",
            Exact::Direction => "direction",
            Exact::Kind => "kind",
            Exact::Trace => "trace",
        }
    }

    /// The closed list of values, if there is one: a misspelt one would silently match nothing.
    pub(super) fn values(self) -> Option<&'static [&'static str]> {
        match self {
            Exact::Verdict => Some(&["allow", "deny", "hold"]),
            Exact::Status => Some(&[
                "ok",
                "tool_error",
                "error",
                "input_required",
                "accepted",
                "cancelled",
                "disconnected",
                "timeout",
                "upstream_failed",
                "withheld",
                "unknown",
                "open",
                "refused",
            ]),
            Exact::Era => Some(&["session", "stateless"]),
            Exact::Direction => Some(&["client", "server"]),
            Exact::Kind => Some(&["call", "note", "refused"]),
            _ => None,
        }
    }
}

impl Contained {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Contained::Args => "args",
            Contained::Error => "error",
            Contained::Reason => "reason",
        }
    }
}

impl Metric {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Metric::Duration => "duration",
            Metric::Bytes => "bytes",
            Metric::Time => "time",
            Metric::Round => "round",
        }
    }
}

/// The candidate that `text` is a slip of the keyboard away from, if any.
pub(super) fn nearest(text: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let text = text.to_lowercase();
    if !(2..=24).contains(&text.chars().count()) {
        return None;
    }
    let reach = if text.chars().count() <= 3 { 1 } else { 2 };
    candidates
        .map(|c| (if c.starts_with(&text) { 0 } else { edits(&text, c) }, c))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// Edit distance, with the swap of two neighbours counted as one edit.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, ca) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let at = |r: &Vec<usize>, k: usize| r.get(k).copied().unwrap_or(usize::MAX / 2);
            let mut cost =
                (at(&row, j + 1) + 1).min(at(&next, j) + 1).min(at(&row, j) + usize::from(ca != *cb));
            let swapped = j > 0 && last == Some(*cb) && b.get(j - 1) == Some(&ca);
            if swapped {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            next.push(cost);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(ca);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_field() {
        for (slip, field) in [
            ("tol", "tool"),
            ("toool", "tool"),
            ("sevrer", "server"),
            ("princ", "principal"),
            ("durtion", "duration"),
        ] {
            assert_eq!(nearest_name(slip), Some(field), "{slip}");
        }
        assert_eq!(nearest_name("https"), None);
    }
}
