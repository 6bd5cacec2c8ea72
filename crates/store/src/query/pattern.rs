//! Text with wildcards, as written in a query, and its forms in SQL.

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

    /// For `GLOB`, which compares the whole value, case counting.
    pub(super) fn glob(&self) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Any => out.push('*'),
                Piece::Literal(text) => {
                    for c in text.chars() {
                        match c {
                            '*' | '?' | '[' => out.extend(['[', c, ']']),
                            _ => out.push(c),
                        }
                    }
                }
            }
        }
        out
    }

    /// For `LIKE … ESCAPE '\'`, found anywhere in the value, ASCII case ignored.
    pub(super) fn like(&self) -> String {
        let mut out = String::from("%");
        for piece in &self.0 {
            match piece {
                Piece::Any => out.push('%'),
                Piece::Literal(text) => {
                    for c in text.chars() {
                        if matches!(c, '%' | '_' | '\\') {
                            out.push('\\');
                        }
                        out.push(c);
                    }
                }
            }
        }
        out.push('%');
        out
    }
}
