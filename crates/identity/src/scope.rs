//! What a run is narrowed to. A word is the name of a server (`github`), of something of a server (`github/read_file`),
//! or any other word that policy reads; a server's word covers all that is the server's.

use std::collections::BTreeSet;
use std::fmt;

/// Longest scope, in bytes.
const BYTES: usize = 4096;

/// A limit on what may be done; policy still has its say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scope {
    /// Whatever the principal may.
    #[default]
    Unlimited,
    /// Only what the words cover; without words, nothing.
    Words(BTreeSet<String>),
}

/// A text is no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scope is words of printable ASCII without quotes and backslashes, parted by single spaces, 4096 bytes in all"
)]
pub struct ScopeError;

impl Scope {
    /// Reads a scope (RFC 6749 §3.3); the empty text covers nothing.
    ///
    /// # Errors
    /// [`ScopeError`].
    pub fn parse(text: &str) -> Result<Scope, ScopeError> {
        if text.len() > BYTES {
            return Err(ScopeError);
        }
        if text.is_empty() {
            return Ok(Scope::Words(BTreeSet::new()));
        }
        text.split(' ').map(word).collect::<Result<_, _>>().map(Scope::Words)
    }

    /// Whether the word is covered.
    pub fn covers(&self, word: &str) -> bool {
        match self {
            Scope::Unlimited => true,
            Scope::Words(words) => {
                let server = word.split_once('/').map(|(server, _)| server);
                words.contains(word) || server.is_some_and(|server| words.contains(server))
            }
        }
    }

    /// Whether all of `other` is covered: `other` is no wider.
    pub fn includes(&self, other: &Scope) -> bool {
        match (self, other) {
            (Scope::Unlimited, _) => true,
            (Scope::Words(_), Scope::Unlimited) => false,
            (Scope::Words(_), Scope::Words(words)) => words.iter().all(|word| self.covers(word)),
        }
    }

    /// What both cover.
    #[must_use]
    pub fn within(&self, other: &Scope) -> Scope {
        match (self, other) {
            (Scope::Unlimited, scope) | (scope, Scope::Unlimited) => scope.clone(),
            (Scope::Words(ours), Scope::Words(theirs)) => {
                let both = ours.iter().filter(|word| other.covers(word));
                let both = both.chain(theirs.iter().filter(|word| self.covers(word)));
                Scope::Words(both.cloned().collect())
            }
        }
    }

    /// As text; `None` if unlimited.
    pub fn text(&self) -> Option<String> {
        match self {
            Scope::Unlimited => None,
            Scope::Words(words) => Some(words.iter().map(String::as_str).collect::<Vec<_>>().join(" ")),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text().unwrap_or_else(|| "unlimited".to_owned()))
    }
}

fn word(text: &str) -> Result<String, ScopeError> {
    let sound =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
    if sound { Ok(text.to_owned()) } else { Err(ScopeError) }
}

#[cfg(test)]
mod tests {
    use super::Scope;

    fn scope(text: &str) -> Scope {
        if text == "*" { Scope::Unlimited } else { Scope::parse(text).unwrap() }
    }

    #[test]
    fn what_is_wider_than_what() {
        for (wide, narrow, includes, both) in [
            ("*", "*", true, "unlimited"),
            ("*", "a", true, "a"),
            ("a", "*", false, "a"),
            ("a b", "a", true, "a"),
            ("a", "a b", false, "a"),
            ("a", "a/x a/y", true, "a/x a/y"),
            ("a/x", "a", false, "a/x"),
            ("a/x", "a/x/y", false, ""),
            ("a b/x", "a/y b", false, "a/y b/x"),
            ("a", "ab", false, ""),
            ("a", "", true, ""),
            ("", "a", false, ""),
        ] {
            assert_eq!(scope(wide).includes(&scope(narrow)), includes, "{wide} includes {narrow}");
            assert_eq!(scope(wide).within(&scope(narrow)).to_string(), both, "{wide} within {narrow}");
            assert_eq!(scope(narrow).within(&scope(wide)), scope(wide).within(&scope(narrow)));
            assert!(scope(wide).includes(&scope(wide).within(&scope(narrow))), "{wide}, {narrow}");
            assert!(scope(narrow).includes(&scope(wide).within(&scope(narrow))), "{wide}, {narrow}");
        }
    }

    #[test]
    fn what_is_no_scope() {
        for text in [" ", "a  b", " a", "a\"b", "a\\b", "ä", "a\nb", "a\tb", &"x".repeat(4097)] {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
        assert!(!scope("").covers("a"));
        assert!(!scope("a").covers("a-b"));
    }
}
