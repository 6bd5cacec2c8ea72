//! Reads JSON as clients accept it: with comments, trailing commas and a byte order mark.

use super::tree::{Fault, Member, Node, Value};

/// Nesting beyond this is refused: no configuration is so deep, and the reader recurses.
const DEPTH: usize = 128;

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut reader = Reader { text, at, depth: 0 };
    reader.skip_blank()?;
    let node = reader.value()?;
    reader.skip_blank()?;
    match reader.peek() {
        None => Ok(node),
        Some(_) => Err(reader.fault("nothing more is expected here")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fault(&self, text: &str) -> Fault {
        Fault { at: self.at, text: text.to_owned() }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Whitespace and comments.
    fn skip_blank(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.rest();
            if rest.starts_with(|c: char| c.is_ascii_whitespace()) {
                self.at += 1;
            } else if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    return Err(self.fault("this comment has no end"));
                };
                self.at += length + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self) -> Result<Node, Fault> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => Value::Text(self.string()?),
            Some(_) => self.literal()?,
            None => return Err(self.fault("the file ends where a value is expected")),
        };
        Ok(Node { span: start..self.at, value })
    }

    fn nested(&mut self, read: impl Fn(&mut Self) -> Result<Value, Fault>) -> Result<Value, Fault> {
        if self.depth == DEPTH {
            return Err(self.fault("nested too deep"));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// What follows `{`.
    fn object(&mut self) -> Result<Value, Fault> {
        let mut members = Vec::new();
        loop {
            self.skip_blank()?;
            match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(members));
                }
                Some(b'"') => {}
                _ => return Err(self.fault("a key in double quotes or `}` is expected")),
            }
            let start = self.at;
            let key = self.string()?;
            let key_span = start..self.at;
            self.skip_blank()?;
            if self.peek() != Some(b':') {
                return Err(self.fault("`:` is expected"));
            }
            self.at += 1;
            self.skip_blank()?;
            members.push(Member { key, key_span, value: self.value()? });
            self.separator(b'}', "`,` or `}` is expected")?;
        }
    }

    /// What follows `[`.
    fn array(&mut self) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            self.skip_blank()?;
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(Value::Array(items));
            }
            items.push(self.value()?);
            self.separator(b']', "`,` or `]` is expected")?;
        }
    }

    /// Takes a comma; leaves the closing mark.
    fn separator(&mut self, close: u8, expected: &str) -> Result<(), Fault> {
        self.skip_blank()?;
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(())
            }
            Some(byte) if byte == close => Ok(()),
            _ => Err(self.fault(expected)),
        }
    }

    fn literal(&mut self) -> Result<Value, Fault> {
        let rest = self.rest();
        let length =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        let is_known = matches!(word, "true" | "false" | "null")
            || word.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                && serde_json::from_str::<&serde_json::value::RawValue>(word).is_ok();
        if !is_known {
            return Err(self.fault("a value is expected"));
        }
        self.at += length;
        Ok(Value::Other)
    }

    fn string(&mut self) -> Result<String, Fault> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            out.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return Err(self.fault("a control character stands in a text")),
                None => return Err(Fault { at: start, text: "this text has no closing quote".to_owned() }),
            }
        }
    }

    /// A backslash and what it makes. Half of a surrogate pair becomes U+FFFD: clients accept it, and it is never written.
    fn escape(&mut self) -> Result<char, Fault> {
        let letter = self.text.as_bytes().get(self.at + 1).copied();
        let plain = match letter {
            Some(b @ (b'"' | b'\\' | b'/')) => char::from(b),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(),
            _ => return Err(self.fault("there is no such escape")),
        };
        self.at += 2;
        Ok(plain)
    }

    fn code_point(&mut self) -> Result<char, Fault> {
        let high = self.unit_at(self.at).ok_or_else(|| self.fault("`\\u` needs four digits"))?;
        self.at += 6;
        if (0xd800..0xdc00).contains(&high)
            && let Some(low @ 0xdc00..=0xdfff) = self.unit_at(self.at)
        {
            self.at += 6;
            let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn unit_at(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::parse;

    fn check(text: &str, expected: &Expect) {
        expected.assert_eq(&match parse(text) {
            Ok(node) => format!("{:?}", node.value),
            Err(fault) => fault.told(text),
        });
    }

    #[test]
    fn what_clients_accept() {
        check(
            "\u{feff}// first\r\n{ /* a */ \"k\\u00e9\" : [\"\\ud83d\\ude00\", -1.5e3, true,], }",
            &expect![[
                r#"Object([Member { key: "ké", key_span: 23..32, value: Node { span: 35..66, value: Array([Node { span: 36..50, value: Text("😀") }, Node { span: 52..58, value: Other }, Node { span: 60..64, value: Other }]) } }])"#
            ]],
        );
        check("\"half \\ud83d pair\"", &expect![[r#"Text("half � pair")"#]]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}:,\"/*\\\\u0-9a-fé\\n -]{0,40}") {
            let read = parse(&text);
            let is_json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            proptest::prop_assert!(read.is_ok() || !is_json, "{:?}", read);
        }
    }

    #[test]
    fn faults_have_their_place() {
        check("{\n  \"é\": 1\n  \"b\": 2\n}", &expect!["3:3: `,` or `}` is expected"]);
        check("{\"a\": }", &expect!["1:7: a value is expected"]);
        check("{\"a\": nul}", &expect!["1:7: a value is expected"]);
        check("{\"a\": 01}", &expect!["1:7: a value is expected"]);
        check("{a: 1}", &expect!["1:2: a key in double quotes or `}` is expected"]);
        check("{\"a\" 1}", &expect!["1:6: `:` is expected"]);
        check("{\"a\": \"x", &expect!["1:7: this text has no closing quote"]);
        check("{\"a\": \"\\x\"}", &expect!["1:8: there is no such escape"]);
        check("{\"a\": \"x\ny\"}", &expect!["1:9: a control character stands in a text"]);
        check("{} /* x", &expect!["1:4: this comment has no end"]);
        check("{} {}", &expect!["1:4: nothing more is expected here"]);
        check("{\"a\": [1", &expect!["1:9: `,` or `]` is expected"]);
        check(&"[".repeat(1000), &expect!["1:129: nested too deep"]);
    }
}
