//! Mistakes in a bundle, with their places.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

/// A mistake in a policy file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The file's name, as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub help: Option<String>,
    excerpt: String,
    carets: usize,
}

/// All mistakes of a bundle, in the order of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, diagnostic) in self.0.iter().enumerate() {
            let gap = if number == 0 { "" } else { "\n\n" };
            write!(formatter, "{gap}{diagnostic}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { file, line, column, text, excerpt, carets, .. } = self;
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(column.saturating_sub(1));
        writeln!(formatter, "error: {text}")?;
        writeln!(formatter, "{margin}--> {file}:{line}:{column}")?;
        writeln!(formatter, "{margin} |")?;
        writeln!(formatter, "{number} | {excerpt}")?;
        write!(formatter, "{margin} | {indent}{}", "^".repeat(*carets))?;
        match &self.help {
            Some(help) => write!(formatter, "\n{margin} = help: {help}"),
            None => Ok(()),
        }
    }
}

/// What is wrong and where, before it is shown with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Which of the files.
    pub(crate) source: usize,
    pub(crate) range: Range<usize>,
    pub(crate) text: String,
    pub(crate) help: Option<String>,
}

impl Mistake {
    pub(crate) fn at(source: usize, range: Range<usize>, text: impl Into<String>) -> Mistake {
        Mistake { source, range, text: text.into(), help: None }
    }

    pub(crate) fn help(self, help: Option<String>) -> Mistake {
        Mistake { help, ..self }
    }
}

/// Shows mistakes with their lines: sorted, each once.
pub(crate) fn show(sources: &[crate::Source], mistakes: &[Mistake]) -> Diagnostics {
    let shown: BTreeSet<(usize, Diagnostic)> = mistakes
        .iter()
        .filter_map(|mistake| Some((mistake.source, with_line(sources.get(mistake.source)?, mistake))))
        .collect();
    Diagnostics(shown.into_iter().map(|(_, diagnostic)| diagnostic).collect())
}

fn with_line(source: &crate::Source, mistake: &Mistake) -> Diagnostic {
    let (line, column, written) = place(&source.text, mistake.range.start);
    let length = source.text.get(mistake.range.clone()).map_or(1, |text| text.chars().count());
    let left = written.chars().count().saturating_sub(column - 1);
    Diagnostic {
        file: source.name.clone(),
        line,
        column,
        text: mistake.text.clone(),
        help: mistake.help.clone(),
        // One column a character, whatever the terminal makes of it.
        excerpt: written.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        carets: length.min(left).max(1),
    }
}

/// The lines of a text, for many places.
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    pub(crate) fn of(text: &str) -> Lines {
        Lines(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of a place, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.0.partition_point(|end| *end < at) + 1
    }
}

/// Line and column of a place, from 1, and the line.
pub(crate) fn place(text: &str, at: usize) -> (usize, usize, &str) {
    let before = text.get(..at).unwrap_or(text);
    let begin = before.rfind('\n').map_or(0, |at| at + 1);
    let written = text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let column = before.get(begin..).map_or(0, |part| part.chars().count()) + 1;
    (before.matches('\n').count() + 1, column, written)
}

/// "did you mean …", if a known name is close to what was written.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let most = written.chars().count().div_ceil(3);
    let close = known.into_iter().map(|name| (distance(written, name, most), name));
    let (_, name) = close.filter(|(distance, _)| *distance <= most).min()?;
    Some(format!("did you mean `{name}`?"))
}

/// Insertions, deletions, replacements and swaps of neighbours between two names; more than `most` need not be exact.
fn distance(from: &str, to: &str, most: usize) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    if from.len().abs_diff(to.len()) > most {
        return most + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, b) in to.iter().enumerate() {
            let of = |line: &[usize], at: Option<usize>| {
                at.and_then(|at| line.get(at)).copied().unwrap_or(usize::MAX - 1)
            };
            let replaced = of(&above, Some(column)) + usize::from(a != b);
            let swaps = row.checked_sub(1).and_then(|at| from.get(at)) == Some(b)
                && column.checked_sub(1).and_then(|at| to.get(at)) == Some(a);
            let swapped = if swaps { of(&before, column.checked_sub(1)) + 1 } else { usize::MAX };
            let edited = (of(&above, Some(column + 1)) + 1).min(of(&line, Some(column)) + 1);
            line.push(replaced.min(edited).min(swapped));
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, place};

    #[test]
    fn the_closest_name_is_meant() {
        let known = ["path", "paths", "content", "encoding"];
        for (written, expected) in [
            ("pathh", Some("path")),
            ("ptah", Some("path")),
            ("contnet", Some("content")),
            ("recursive", None),
            ("x", None),
        ] {
            let expected = expected.map(|name| format!("did you mean `{name}`?"));
            assert_eq!(did_you_mean(written, known), expected, "{written}");
        }
    }

    #[test]
    fn places_count_characters() {
        assert_eq!(place("ab\ncdü x\n", 7), (2, 4, "cdü x"));
        assert_eq!(place("", 0), (1, 1, ""));
        assert_eq!(place("a\n", 2), (2, 1, ""));
    }
}
