//! What a server says that it wants: `WWW-Authenticate` (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// What is read of all challenges together, and the most words of a scope.
const CHALLENGE_BYTES: usize = 8 * 1024;
const SCOPES: usize = 64;

/// What a server wants to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Where its metadata is, as it says.
    pub(super) metadata: Option<String>,
    /// All scopes that it wants at once.
    pub(super) scopes: Vec<String>,
    /// Whether more scope would help.
    pub(super) wants_scope: bool,
}

impl Challenge {
    /// Reads the `Bearer` challenge of an answer; what cannot be read is as if it were not there.
    pub(super) fn of(headers: &HeaderMap) -> Challenge {
        let mut challenge = Challenge::default();
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(text) = value.to_str() else { continue };
            if text.len() <= CHALLENGE_BYTES {
                challenge.read(text);
            }
        }
        challenge
    }

    fn read(&mut self, text: &str) {
        let mut is_bearer = false;
        let mut rest = text;
        while let Some((word, after)) = word(rest) {
            let (value, after_value) = match after.strip_prefix('=') {
                Some(value) => value_of(value),
                // A word alone is a scheme: what follows is its own.
                None => {
                    is_bearer = word.eq_ignore_ascii_case("bearer");
                    rest = after;
                    continue;
                }
            };
            rest = after_value;
            if is_bearer {
                self.take(word, value);
            }
        }
    }

    fn take(&mut self, name: &str, value: String) {
        match name.to_ascii_lowercase().as_str() {
            "resource_metadata" if self.metadata.is_none() => self.metadata = Some(value),
            "scope" if self.scopes.is_empty() => self.scopes = words(&value),
            "error" => self.wants_scope |= value == "insufficient_scope",
            _ => {}
        }
    }
}

/// Words of a scope: each what RFC 6749 §3.3 allows.
pub(super) fn words(text: &str) -> Vec<String> {
    let sound = |word: &&str| word.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    text.split(' ').filter(|word| !word.is_empty()).filter(sound).take(SCOPES).map(str::to_owned).collect()
}

/// The next word, and what is behind it and the blanks after it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    // A token, or a credential in base64 without its padding.
    let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    match text.split_at_checked(end)? {
        ("", "") => None,
        // What is no word is passed over, one character at a time.
        ("", rest) => word(rest.get(rest.chars().next()?.len_utf8()..)?),
        (word, rest) => Some((word, rest.trim_start_matches([' ', '\t']))),
    }
}

/// A value, quoted or not, and what is behind it.
fn value_of(text: &str) -> (String, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            _ if is_escaped => {
                is_escaped = false;
                value.push(c);
            }
            '\\' => is_escaped = true,
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            _ => value.push(c),
        }
    }
    // Without its end it is not read.
    (String::new(), "")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::WWW_AUTHENTICATE;

    use super::Challenge;

    #[test]
    fn challenges_are_read_as_they_are_written() {
        let long = format!("Bearer scope=\"{}\"", "x".repeat(9000));
        for (values, metadata, scopes, wants) in [
            (&["Bearer"][..], None, "", false),
            (&[r#"Bearer resource_metadata="https://x/y", scope="a b""#], Some("https://x/y"), "a b", false),
            (&[r#"bearer SCOPE="a" , error=insufficient_scope"#], None, "a", true),
            (&[r#"Basic realm="Bearer scope=\"x\"", Bearer scope="y""#], None, "y", false),
            (&["Negotiate abc==", r#"Bearer scope="a""#], None, "a", false),
            (&["Negotiate YWJj=, Bearer scope=z"], None, "z", false),
            (&[r#"DPoP scope="no", resource_metadata="https://no""#], None, "", false),
            (&[r#"Bearer scope="open"#], None, "", false),
            (&[r#"Bearer scope="a\"b c""#], None, "c", false),
            (&[r#"Bearer scope="a", scope="b""#], None, "a", false),
            (&["\u{1}=,;@Bearer scope=a"], None, "", false),
            (&[&*long], None, "", false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values.iter().filter_map(|value| value.parse().ok()) {
                headers.append(WWW_AUTHENTICATE, value);
            }
            let read = Challenge::of(&headers);
            let found = (read.metadata.as_deref(), read.scopes.join(" "), read.wants_scope);
            assert_eq!(found, (metadata, scopes.to_owned(), wants), "{values:?}");
        }
    }
}
