//! Text with wildcards, as written in a query, and what it matches.

/// A piece of a [`Pattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Exactly this text; never empty.
    Literal(String),
    /// `*`: any text, also none.
    Any,
}

/// Text with wildcards. Neighbouring pieces are never of the same sort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pattern(Vec<Piece>);

impl Pattern {
    /// Joins `pieces`, merging neighbours of the same sort and dropping empty ones.
    #[must_use]
    pub fn new(pieces: Vec<Piece>) -> Pattern {
        let mut pattern = Pattern::default();
        for piece in pieces {
            match piece {
                Piece::Literal(text) => text.chars().for_each(|c| pattern.push(c)),
                Piece::Any => pattern.push_any(),
            }
        }
        pattern
    }

    /// The pieces in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The text, if there is no wildcard in it.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    pub(super) fn push(&mut self, c: char) {
        match self.0.last_mut() {
            Some(Piece::Literal(text)) => text.push(c),
            _ => self.0.push(Piece::Literal(c.to_string())),
        }
    }

    pub(super) fn push_any(&mut self) {
        if self.0.last() != Some(&Piece::Any) {
            self.0.push(Piece::Any);
        }
    }

    /// The text of a pattern that was written in quotes, where `*` is itself.
    pub(super) fn quoted_text(self) -> String {
        self.0
            .into_iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text,
                Piece::Any => "*".to_owned(),
            })
            .collect()
    }

    /// A pattern without wildcards.
    pub(crate) fn of(text: &str) -> Pattern {
        Pattern::new(vec![Piece::Literal(text.to_owned())])
    }

    /// Whether it is the whole of `text`, letter case counting.
    pub(crate) fn is(&self, text: &str) -> bool {
        let mut pieces = self.0.as_slice();
        let mut rest = text;
        if let [Piece::Literal(literal), after @ ..] = pieces {
            let Some(stripped) = rest.strip_prefix(literal.as_str()) else { return false };
            if after.is_empty() {
                return stripped.is_empty();
            }
            (pieces, rest) = (after, stripped);
        }
        if let [before @ .., Piece::Literal(literal)] = pieces {
            let Some(stripped) = rest.strip_suffix(literal.as_str()) else { return false };
            (pieces, rest) = (before, stripped);
        }
        for piece in pieces {
            let Piece::Literal(literal) = piece else { continue };
            let Some((_, after)) = rest.split_once(literal.as_str()) else { return false };
            rest = after;
        }
        // Without a wildcard nothing may be left.
        !self.0.is_empty() || text.is_empty()
    }

    /// Whether it stands anywhere in `text`, case of ASCII letters ignored.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let mut rest = text.as_bytes();
        for piece in &self.0 {
            let Piece::Literal(literal) = piece else { continue };
            let Some(at) = find(rest, literal.as_bytes()) else { return false };
            rest = rest.get(at + literal.len()..).unwrap_or_default();
        }
        true
    }
}

/// Where `part` begins in `text`, case of ASCII letters ignored.
fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let first = part.first()?;
    let (low, high) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    let here = |at: &usize| text.get(*at..at + part.len()).is_some_and(|t| t.eq_ignore_ascii_case(part));
    memchr::memchr2_iter(low, high, text).find(here)
}

#[cfg(test)]
mod tests {
    use super::{Pattern, Piece};

    fn pattern(text: &str) -> Pattern {
        let mut pieces = Vec::new();
        for (at, literal) in text.split('*').enumerate() {
            pieces.extend((at > 0).then_some(Piece::Any));
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        Pattern::new(pieces)
    }

    #[test]
    fn the_whole_text_with_case() {
        for (written, text, is) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("ab", "ab", true),
            ("ab", "abc", false),
            ("ab", "AB", false),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("*b*b*", "abab", true),
            ("*b*b*", "aba", false),
            ("*ab", "abcab", true),
        ] {
            assert_eq!(pattern(written).is(text), is, "{written} {text}");
        }
    }

    #[test]
    fn a_part_of_the_text_without_case() {
        for (written, text, is) in [
            ("", "", true),
            ("B", "abc", true),
            ("ü", "MÜSLI", false),
            ("ü", "Müsli", true),
            ("a*c", "xaBCx", true),
            ("c*a", "abc", false),
            ("aab", "aAAb", true),
        ] {
            assert_eq!(pattern(written).is_in(text), is, "{written} {text}");
        }
    }
}
