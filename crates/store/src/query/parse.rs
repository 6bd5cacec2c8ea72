//! Text to tree, by recursive descent over the characters.
//!
//! ```text
//! any   = all { "or" all }            all  = one { ["and"] one }
//! one   = ("-" | "not") one | "(" any ")" | field op value | value
//! value = { bare characters | "*" | '"' quoted '"' }
//! ```
//! Length and depth are bounded, so that no query exhausts the stack or SQLite's expression limits.

use jiff::Timestamp;

use super::field::{self, Contained, Exact, Metric, Name};
use super::pattern::Pattern;
use super::{ArgumentTest, Comparison, Expr, Figure, HexPrefix, Step, Term, amount};

const MAX_CHARS: usize = 8_192;
const MAX_TERMS: usize = 200;
const MAX_DEPTH: usize = 32;
const MAX_STEPS: usize = 16;

/// Why a text is not a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} (at character {})", .at + 1)]
pub struct QueryError {
    /// The character (not byte) at which the mistake begins, from 0.
    pub at: usize,
    /// What is wrong, and what to write instead where that is known.
    pub what: String,
}

pub(super) fn parse(text: &str, now: Timestamp) -> Result<Option<Expr>, QueryError> {
    if text.chars().count() > MAX_CHARS {
        return Err(QueryError {
            at: MAX_CHARS,
            what: format!("a query has at most {MAX_CHARS} characters"),
        });
    }
    let mut parser = Parser { cursor: Cursor { rest: text.chars(), at: 0 }, now, terms: 0, depth: 0 };
    parser.cursor.skip_space();
    if parser.cursor.peek().is_none() {
        return Ok(None);
    }
    let expr = parser.any()?;
    match parser.cursor.peek() {
        None => Ok(Some(expr)),
        Some(_) => Err(parser.wrong("this `)` closes nothing; put it in quotes to search for it")),
    }
}

/// Whether `text` is `and`, `or` or `not`.
pub(super) fn is_keyword(text: &str) -> bool {
    ["and", "or", "not"].iter().any(|k| text.eq_ignore_ascii_case(k))
}

/// Characters that need no quotes in a field's value.
pub(super) fn in_bare_value(c: char) -> bool {
    !(c.is_whitespace() || c.is_control() || matches!(c, '(' | ')' | '"' | '*'))
}

/// Characters that need no quotes in a step into the arguments.
pub(super) fn in_key(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '@')
}

#[derive(Clone)]
struct Cursor<'a> {
    rest: std::str::Chars<'a>,
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.at += 1;
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> String {
        let mut out = String::new();
        while let Some(c) = self.peek().filter(|c| fits(*c)) {
            out.push(c);
            self.bump();
        }
        out
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.bump();
        }
    }

    /// The keyword at this place, if a whole bare word is one.
    fn keyword(&self) -> Option<(&'static str, Self)> {
        let mut ahead = self.clone();
        let word = ahead.take_while(|c| c.is_ascii_alphabetic());
        let ends = ahead.peek().is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')'));
        let keyword = ["and", "or", "not"].into_iter().find(|k| word.eq_ignore_ascii_case(k));
        keyword.filter(|_| ends).map(|k| (k, ahead))
    }
}

/// An operator as written; `!=` is `Equal` under a negation.
enum Operator {
    Is(Comparison),
    IsNot,
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    now: Timestamp,
    terms: usize,
    depth: usize,
}

impl Parser<'_> {
    fn wrong(&self, what: impl Into<String>) -> QueryError {
        wrong(self.cursor.at, what)
    }

    fn any(&mut self) -> Result<Expr, QueryError> {
        let mut parts = vec![self.all()?];
        while let Some(("or", after)) = self.cursor.keyword() {
            self.cursor = after;
            parts.push(self.all()?);
        }
        Expr::any(parts).ok_or_else(|| self.wrong("expected a condition"))
    }

    fn all(&mut self) -> Result<Expr, QueryError> {
        let mut parts = Vec::new();
        loop {
            self.cursor.skip_space();
            match (self.cursor.peek(), self.cursor.keyword()) {
                (None | Some(')'), _) | (_, Some(("or", _))) => break,
                (_, Some(("and", after))) if !parts.is_empty() => {
                    self.cursor = after;
                    parts.push(self.one()?);
                }
                _ => parts.push(self.one()?),
            }
        }
        Expr::all(parts)
            .ok_or_else(|| self.wrong("expected a condition here; quote `or`, `(` or `)` to search for them"))
    }

    fn one(&mut self) -> Result<Expr, QueryError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(format!("nested deeper than {MAX_DEPTH}")));
        }
        self.cursor.skip_space();
        let expr = match (self.cursor.peek(), self.cursor.keyword()) {
            (None | Some(')'), _) | (_, Some(("and" | "or", _))) => {
                return Err(
                    self.wrong("expected a condition here; quote `and`, `or` or `)` to search for them")
                );
            }
            (_, Some((_, after))) => {
                self.cursor = after;
                Expr::Not(Box::new(self.one()?))
            }
            (Some('-'), _) => {
                self.cursor.bump();
                Expr::Not(Box::new(self.one()?))
            }
            (Some('('), _) => self.group()?,
            _ => self.term()?,
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn group(&mut self) -> Result<Expr, QueryError> {
        let opened = self.cursor.at;
        self.cursor.bump();
        let expr = self.any()?;
        self.cursor.skip_space();
        if self.cursor.take(')') { Ok(expr) } else { Err(wrong(opened, "this `(` is never closed")) }
    }

    fn term(&mut self) -> Result<Expr, QueryError> {
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(self.wrong(format!("more than {MAX_TERMS} conditions")));
        }
        let start = self.cursor.at;
        let mut ahead = self.cursor.clone();
        let name = ahead.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        let path = if name.eq_ignore_ascii_case("args") { path(&mut ahead) } else { Vec::new() };
        let after_name = ahead.clone();
        let operator =
            if name.starts_with(|c: char| c.is_ascii_alphabetic()) { operator(&mut ahead) } else { None };
        let is_field = || field::named(&name.to_ascii_lowercase()).is_some();
        if operator.is_none() && after_name.peek() == Some('~') && is_field() {
            return Err(wrong(
                after_name.at,
                format!("`~` is no operator; write `{name}:…`, with `*` for any text"),
            ));
        }
        let Some(operator) = operator else {
            return Ok(Expr::Term(Term::Text(self.value()?)));
        };
        self.cursor = ahead;
        if path.len() > MAX_STEPS {
            return Err(wrong(start, format!("a path has at most {MAX_STEPS} steps")));
        }
        let Some(field) = field::named(&name.to_ascii_lowercase()) else {
            return Err(wrong(start, unknown_field(&name)));
        };
        let at = self.cursor.at;
        let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')');
        if self.cursor.peek().is_none_or(ends) {
            return Err(wrong(at, format!("expected a value after `{name}`, without a space before it")));
        }
        let value = self.value()?;
        let found = Found { field, path, at, now: self.now };
        match operator {
            Operator::Is(comparison) => found.condition(comparison, value),
            Operator::IsNot => Ok(Expr::Not(Box::new(found.condition(Comparison::Equal, value)?))),
        }
    }

    fn value(&mut self) -> Result<Pattern, QueryError> {
        let mut pattern = Pattern::default();
        loop {
            match self.cursor.peek() {
                Some('"') => self.quoted(&mut pattern)?,
                Some('*') => {
                    pattern.push_any();
                    self.cursor.bump();
                }
                Some(c) if in_bare_value(c) => {
                    pattern.push(c);
                    self.cursor.bump();
                }
                Some(c) if c.is_control() && !c.is_whitespace() => {
                    return Err(self.wrong("put control characters in quotes"));
                }
                _ => return Ok(pattern),
            }
        }
    }

    fn quoted(&mut self, pattern: &mut Pattern) -> Result<(), QueryError> {
        let opened = self.cursor.at;
        self.cursor.bump();
        loop {
            match self.cursor.bump() {
                None => return Err(wrong(opened, "this quote is never closed")),
                Some('"') => return Ok(()),
                Some('\\') => match self.cursor.peek() {
                    Some(c @ ('"' | '\\')) => {
                        self.cursor.bump();
                        pattern.push(c);
                    }
                    _ => pattern.push('\\'),
                },
                Some(c) => pattern.push(c),
            }
        }
    }
}

fn wrong(at: usize, what: impl Into<String>) -> QueryError {
    QueryError { at, what: what.into() }
}

fn unknown_field(name: &str) -> String {
    match field::nearest_name(name) {
        Some(near) => format!("unknown field `{name}`, did you mean `{near}`?"),
        None => format!("unknown field `{name}`; to search for the text itself, put it in quotes"),
    }
}

fn operator(cursor: &mut Cursor<'_>) -> Option<Operator> {
    let is = match (cursor.bump()?, cursor.peek()) {
        ('!', Some('=')) => {
            cursor.bump();
            return Some(Operator::IsNot);
        }
        (':', Some('<' | '>' | '=')) => return operator(cursor),
        (':' | '=', _) => Comparison::Equal,
        ('<', Some('=')) => Comparison::AtMost,
        ('<', _) => Comparison::Less,
        ('>', Some('=')) => Comparison::AtLeast,
        ('>', _) => Comparison::More,
        _ => return None,
    };
    if matches!(is, Comparison::AtMost | Comparison::AtLeast) {
        cursor.bump();
    }
    Some(Operator::Is(is))
}

/// The steps after `args`; a text that breaks off is left for the free text to read.
fn path(cursor: &mut Cursor<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    while cursor.peek() == Some('.') {
        let mut ahead = cursor.clone();
        ahead.bump();
        let step = if ahead.peek() == Some('"') {
            let mut parser = Parser { cursor: ahead.clone(), now: Timestamp::UNIX_EPOCH, terms: 0, depth: 0 };
            let mut key = Pattern::default();
            if parser.quoted(&mut key).is_err() {
                return steps;
            }
            ahead = parser.cursor;
            Step::Key(key.quoted_text())
        } else {
            let key = ahead.take_while(in_key);
            match key.parse() {
                _ if key.is_empty() => return steps,
                Ok(n) if key.chars().all(|c| c.is_ascii_digit()) && (key == "0" || !key.starts_with('0')) => {
                    Step::Index(n)
                }
                _ => Step::Key(key),
            }
        };
        steps.push(step);
        *cursor = ahead;
    }
    steps
}

/// A field with its operator and value read; what is left is to find out what is meant.
struct Found {
    field: Name,
    path: Vec<Step>,
    at: usize,
    now: Timestamp,
}

impl Found {
    fn condition(self, comparison: Comparison, value: Pattern) -> Result<Expr, QueryError> {
        let term = match self.field {
            Name::Contained(Contained::Args) if !self.path.is_empty() => self.argument(comparison, value)?,
            Name::Metric(metric) => return self.number(metric, comparison, &value),
            Name::Day => return self.day(comparison, &value),
            _ if comparison != Comparison::Equal => {
                return Err(wrong(
                    self.at,
                    "only `duration`, `bytes`, `time`, `day`, `round` and `args.…` have an order",
                ));
            }
            Name::Text => Term::Text(value),
            Name::Exact(field) => Term::Exact(field, self.listed(field, value)?),
            Name::Contained(field) => Term::Contained(field, value),
            Name::Run => Term::Run(self.id("run_", &value)?),
            Name::Call => Term::Call(self.id("call_", &value)?),
            Name::Since | Name::Last => Term::Number(Metric::Time, Comparison::AtLeast, self.moment(&value)?),
            Name::Until => Term::Number(Metric::Time, Comparison::Less, self.moment(&value)?),
        };
        Ok(Expr::Term(term))
    }

    fn listed(&self, field: Exact, value: Pattern) -> Result<Pattern, QueryError> {
        let (Some(values), Some(text)) = (field.values(), value.literal()) else { return Ok(value) };
        if values.contains(&text) {
            return Ok(value);
        }
        let lower = text.to_lowercase();
        let meant = match lower.as_str() {
            "allowed" => Some("allow"),
            "denied" => Some("deny"),
            "held" => Some("hold"),
            _ => field::nearest(text, values.iter().copied()).filter(|near| values.contains(near)),
        };
        let name = field.as_str();
        Err(wrong(
            self.at,
            match meant {
                Some(near) => format!("`{name}` is never `{text}`, did you mean `{near}`?"),
                None => format!("`{name}` is never `{text}`; it is one of {}", values.join(", ")),
            },
        ))
    }

    fn id(&self, prefix: &str, value: &Pattern) -> Result<HexPrefix, QueryError> {
        use super::pattern::Piece;
        let text = match value.pieces() {
            [Piece::Literal(text)] | [Piece::Literal(text), Piece::Any] => text,
            _ => "",
        };
        HexPrefix::new(text.strip_prefix(prefix).unwrap_or(text)).ok_or_else(|| {
            wrong(self.at, format!("expected an id like `{prefix}0a1b2c3d` or the beginning of one"))
        })
    }

    fn moment(&self, value: &Pattern) -> Result<i64, QueryError> {
        let ago = value.literal().and_then(amount::duration).and_then(|us| amount::ago(self.now, us));
        let point = || value.literal().and_then(|text| amount::point(text, self.now));
        let last = self.field == Name::Last;
        ago.or_else(|| if last { None } else { point() }).ok_or_else(|| {
            wrong(
                self.at,
                "expected a duration back from now like `1h` or `2d`, or a time like `2026-11-20T10:00Z`",
            )
        })
    }

    fn number(&self, metric: Metric, comparison: Comparison, value: &Pattern) -> Result<Expr, QueryError> {
        let text = value.literal().unwrap_or("*");
        let (n, hint) = match metric {
            Metric::Duration => (amount::duration(text), "a duration with its unit like `500ms` or `2s`"),
            Metric::Bytes => (amount::size(text), "a size like `10000`, `64KiB` or `2MB`"),
            Metric::Round => (text.parse().ok().filter(|n| *n >= 0), "a round's number, from 0"),
            Metric::Time if comparison == Comparison::Equal => match amount::day(text, self.now) {
                Some(day) => return Ok(Expr::Term(Term::Day(day))),
                None => return self.exact_time(text),
            },
            Metric::Time => {
                (amount::point(text, self.now), "a time like `2026-11-20T10:00Z` or `2026-11-20`")
            }
        };
        match n {
            Some(n) => Ok(Expr::Term(Term::Number(metric, comparison, n))),
            None => Err(wrong(self.at, format!("expected {hint}"))),
        }
    }

    fn exact_time(&self, text: &str) -> Result<Expr, QueryError> {
        let precise = text.contains('.').then(|| amount::point(text, self.now)).flatten();
        let t = precise.ok_or_else(|| {
            wrong(self.at, "a time needs `>=` or `<`, or write a whole day: `day:2026-11-20`")
        })?;
        Ok(Expr::Term(Term::Number(Metric::Time, Comparison::Equal, t)))
    }

    fn day(&self, comparison: Comparison, value: &Pattern) -> Result<Expr, QueryError> {
        let day = value.literal().and_then(|text| amount::day(text, self.now));
        let day =
            day.ok_or_else(|| wrong(self.at, "expected a day like `2026-11-20`, `today` or `yesterday`"))?;
        let bounds = amount::day_bounds(day);
        let (comparison, t) = match comparison {
            Comparison::Equal => return Ok(Expr::Term(Term::Day(day))),
            Comparison::Less => (Comparison::Less, *bounds.start()),
            Comparison::AtLeast => (Comparison::AtLeast, *bounds.start()),
            Comparison::AtMost => (Comparison::AtMost, *bounds.end()),
            Comparison::More => (Comparison::More, *bounds.end()),
        };
        Ok(Expr::Term(Term::Number(Metric::Time, comparison, t)))
    }

    fn argument(self, comparison: Comparison, value: Pattern) -> Result<Term, QueryError> {
        if comparison == Comparison::Equal {
            return Ok(Term::Argument(self.path, ArgumentTest::Is(value)));
        }
        let text = value.literal().unwrap_or("*");
        let whole = text.parse().ok().map(Figure::Whole);
        let real = || text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Figure::Real);
        let figure =
            whole.or_else(real).ok_or_else(|| wrong(self.at, "expected a number to compare with"))?;
        Ok(Term::Argument(self.path, ArgumentTest::Compares(comparison, figure)))
    }
}
