//! Recorded text made safe and short for a terminal. Pure.
//!
//! Invariant: nothing returned here holds a control character, a bidirectional control, or a character that
//! shows as nothing; each is written as its code point, `‹U+202E›`.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use policy::unseen::hides;
pub(crate) use policy::unseen::visible;
use serde::Serialize;

/// How much of a text is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Lines of one block of JSON or text.
    pub(crate) lines: usize,
    /// Characters of one such line.
    pub(crate) width: usize,
    /// JSON up to this width stays on one line.
    pub(crate) one_line: usize,
}

/// What is shown among other things.
const BRIEF: Limits = Limits { lines: 24, width: 160, one_line: 100 };

/// How much of a text is looked at.
pub(crate) const LOOKED_AT: usize = 64 << 10;

/// One line of JSON. What [`visible`] would mark is written as an escape, which means the same to a parser:
/// serde_json escapes C0 controls only, and U+009B begins a terminal's control sequence as well as ESC does.
pub(crate) fn json_line(value: &impl Serialize) -> serde_json::Result<String> {
    let plain = serde_json::to_string(value)?;
    if !plain.chars().any(hides) {
        return Ok(plain);
    }
    let mut out = String::with_capacity(plain.len() + 64);
    for c in plain.chars() {
        if hides(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Ok(out)
}

/// Columns that a safe text takes; a good guess, as terminals differ.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// Safe, on one line, cut with `…` to at most `limit` columns.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    let beginning: String = text.chars().take(limit + 1).collect();
    let safe = visible(&beginning);
    if width(&safe) <= limit && beginning.len() == text.len() {
        return safe;
    }
    let mut out = String::new();
    let mut used = 0;
    for c in safe.chars() {
        used += columns(c);
        if used + 1 > limit {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// [`cut`], filled up with spaces to `limit` columns.
pub(crate) fn cell(text: &str, limit: usize) -> String {
    let mut out = cut(text, limit);
    out.extend(std::iter::repeat_n(' ', limit.saturating_sub(width(&out))));
    out
}

/// `812 B`, `1.2 kB`, `34 MB`; powers of 1,000.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.iter().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes} B"),
        Some((name, unit)) if bytes / unit >= 10 => format!("{} {name}", bytes / unit),
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
    }
}

/// `850 µs`, `12.3 ms`, `1.25 s`, `4 min 3 s`, `2 h 5 min`, `3 d 1 h`.
pub(crate) fn duration(us: i64) -> String {
    let us = us.max(0);
    let (ms, s) = (us / 1_000, us / 1_000_000);
    match s {
        _ if us < 1_000 => format!("{us} µs"),
        0 => format!("{ms}.{} ms", us % 1_000 / 100),
        1..60 => format!("{s}.{:02} s", ms % 1_000 / 10),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// `2026-11-20 10:00:00.004`, UTC.
pub(crate) fn clock(us: i64) -> String {
    let zoned = Timestamp::from_microsecond(us).unwrap_or_default().to_zoned(TimeZone::UTC);
    format!("{} {:.3}", zoned.date(), zoned.time().round(jiff::Unit::Millisecond).unwrap_or(zoned.time()))
}

/// `+04:11.900`, from an hour on `+1:04:11.900`.
pub(crate) fn offset(us: i64) -> String {
    let ms = us.max(0) / 1_000;
    let (h, m, s, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    if h > 0 { format!("+{h}:{m:02}:{s:02}.{ms:03}") } else { format!("+{m:02}:{s:02}.{ms:03}") }
}

/// The safe lines of a recorded text, JSON re-indented, and whether that is all of it.
pub(crate) fn block(raw: &[u8]) -> (Vec<String>, bool) {
    block_of(raw, BRIEF)
}

/// [`block`] within other limits.
pub(crate) fn block_of(raw: &[u8], limits: Limits) -> (Vec<String>, bool) {
    let looked_at = raw.get(..LOOKED_AT).unwrap_or(raw);
    let text = String::from_utf8_lossy(looked_at);
    let mut whole = looked_at.len() == raw.len();
    let is_json = text.trim_start().starts_with(['{', '['])
        && (!whole || serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
    let lines = if is_json { json(&text, limits) } else { text.lines().map(str::to_owned).collect() };
    whole &= lines.len() <= limits.lines;
    let mut shown = Vec::new();
    for line in lines.iter().take(limits.lines) {
        let safe = cut(line, limits.width);
        whole &= !safe.ends_with('…') || line.ends_with('…');
        shown.push(safe);
    }
    (shown, whole)
}

/// The safe lines of a recorded text as they crossed, and whether that is all of it.
pub(crate) fn plain(raw: &[u8], most: usize) -> (Vec<String>, bool) {
    let looked_at = raw.get(..LOOKED_AT).unwrap_or(raw);
    let text = String::from_utf8_lossy(looked_at);
    let lines: Vec<String> = text.lines().take(most).map(visible).collect();
    (lines, looked_at.len() == raw.len() && text.lines().count() <= most)
}

/// A safe line broken into lines of at most `limit` columns; what was indented stays so.
pub(crate) fn broken(safe: &str, limit: usize) -> Vec<String> {
    let indent: String = safe.chars().take_while(|c| *c == ' ').take(limit / 2).collect();
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for c in safe.chars() {
        if used + columns(c) > limit.max(2) {
            lines.push(std::mem::replace(&mut line, indent.clone()));
            used = indent.len();
        }
        used += columns(c);
        line.push(c);
    }
    lines.push(line);
    lines
}

/// Moves white space only, so that numbers, key order and repeated keys stay as they were sent.
fn json(text: &str, limits: Limits) -> Vec<String> {
    let one_line = Layout::Line.apply(text, limits.lines);
    match one_line.first() {
        Some(line) if one_line.len() == 1 && line.chars().count() <= limits.one_line => one_line,
        _ => Layout::Indented.apply(text, limits.lines),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Line,
    Indented,
}

impl Layout {
    fn apply(self, text: &str, most: usize) -> Vec<String> {
        let (mut lines, mut line, mut depth) = (Vec::new(), String::new(), 0usize);
        let (mut quoted, mut escaped) = (false, false);
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            if lines.len() > most || line.len() > LOOKED_AT {
                break;
            }
            if quoted {
                line.push(c);
                quoted = escaped || c != '"';
                escaped = !escaped && c == '\\';
                continue;
            }
            match c {
                _ if c.is_ascii_whitespace() => {}
                '{' | '[' => {
                    line.push(c);
                    while rest.next_if(char::is_ascii_whitespace).is_some() {}
                    if let Some(end) = rest.next_if(|c| matches!(c, '}' | ']')) {
                        line.push(end);
                    } else {
                        depth += 1;
                        self.newline(&mut lines, &mut line, depth);
                    }
                }
                '}' | ']' => {
                    depth = depth.saturating_sub(1);
                    self.newline(&mut lines, &mut line, depth);
                    line.push(c);
                }
                ',' => {
                    line.push(c);
                    if self == Layout::Line {
                        line.push(' ');
                    }
                    self.newline(&mut lines, &mut line, depth);
                }
                ':' => line.push_str(": "),
                _ => {
                    quoted = c == '"';
                    line.push(c);
                }
            }
        }
        lines.push(line);
        lines
    }

    fn newline(self, lines: &mut Vec<String>, line: &mut String, depth: usize) {
        if self == Layout::Indented {
            lines.push(std::mem::replace(line, "  ".repeat(depth.min(16))));
        }
    }
}
