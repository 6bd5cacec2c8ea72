//! A query written back: the normal form that parses to the same tree.

use std::fmt::{Display, Formatter, Result, Write as _};

use super::pattern::{Pattern, Piece};
use super::{ArgumentTest, Comparison, Expr, Figure, Metric, Query, Step, Term, amount, parse};

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.expr().map_or(Ok(()), |expr| expr.fmt(f))
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Expr::And(parts) => {
                for (i, part) in parts.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { " " })?;
                    match part {
                        Expr::Or(_) => write!(f, "({part})")?,
                        _ => part.fmt(f)?,
                    }
                }
                Ok(())
            }
            Expr::Or(parts) => {
                for (i, part) in parts.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { " or " })?;
                    part.fmt(f)?;
                }
                Ok(())
            }
            Expr::Not(part) => match part.as_ref() {
                Expr::And(_) | Expr::Or(_) => write!(f, "-({part})"),
                _ => write!(f, "-{part}"),
            },
            Expr::Term(term) => term.fmt(f),
        }
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Term::Text(pattern) => show_text(pattern, f),
            Term::Exact(field, pattern) => write!(f, "{}:{pattern}", field.as_str()),
            Term::Contained(field, pattern) => write!(f, "{}:{pattern}", field.as_str()),
            Term::Run(id) => write!(f, "run:run_{}", id.as_str()),
            Term::Call(id) => write!(f, "call:call_{}", id.as_str()),
            Term::Number(metric, comparison, n) => {
                write!(f, "{}{comparison}", metric.as_str())?;
                match metric {
                    Metric::Duration => f.write_str(&amount::show_duration(*n)),
                    Metric::Time => f.write_str(&amount::show_point(*n)),
                    Metric::Bytes | Metric::Round => n.fmt(f),
                }
            }
            Term::Day(day) => write!(f, "day:{day}"),
            Term::Argument(path, test) => {
                f.write_str("args")?;
                for step in path {
                    step.fmt(f)?;
                }
                match test {
                    ArgumentTest::Is(pattern) => write!(f, ":{pattern}"),
                    ArgumentTest::Compares(comparison, Figure::Whole(n)) => write!(f, "{comparison}{n}"),
                    ArgumentTest::Compares(comparison, Figure::Real(n)) => write!(f, "{comparison}{n:?}"),
                }
            }
        }
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Comparison::Equal => ":",
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::More => ">",
            Comparison::AtLeast => ">=",
        })
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Step::Index(n) => write!(f, ".{n}"),
            Step::Key(key) => {
                let bare = !key.is_empty()
                    && key.chars().all(parse::in_key)
                    && !key.chars().all(|c| c.is_ascii_digit());
                f.write_char('.')?;
                if bare { f.write_str(key) } else { quote(key, f) }
            }
        }
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let plain = |c| parse::in_bare_value(c) && !matches!(c, '<' | '>' | '=');
        if self.pieces().is_empty() {
            return f.write_str("\"\"");
        }
        for piece in self.pieces() {
            match piece {
                Piece::Any => f.write_char('*')?,
                Piece::Literal(text) if text.chars().all(plain) => f.write_str(text)?,
                Piece::Literal(text) => quote(text, f)?,
            }
        }
        Ok(())
    }
}

/// Free text is quoted whenever it could be read as anything else: a field, a keyword, a negation.
fn show_text(pattern: &Pattern, f: &mut Formatter<'_>) -> Result {
    let plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '@'));
    for piece in pattern.pieces() {
        match piece {
            Piece::Any => f.write_char('*')?,
            Piece::Literal(text) if plain(text) && !parse::is_keyword(text) => f.write_str(text)?,
            Piece::Literal(text) => quote(text, f)?,
        }
    }
    if pattern.pieces().is_empty() { f.write_str("\"\"") } else { Ok(()) }
}

fn quote(text: &str, f: &mut Formatter<'_>) -> Result {
    f.write_char('"')?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}
