//! Reads TOML into the same tree as JSON.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{Fault, Member, Node, Value};

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let table = DeTable::parse(text).map_err(|error| Fault {
        at: error.span().map_or(0, |span| span.start),
        text: error.message().lines().collect::<Vec<_>>().join(", "),
    })?;
    Ok(Node { span: table.span(), value: object(table.get_ref()) })
}

fn node(value: &Spanned<DeValue<'_>>) -> Node {
    let inner = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(node).collect()),
        DeValue::Table(table) => object(table),
        _ => Value::Other,
    };
    Node { span: value.span(), value: inner }
}

/// Members in the order of the text: the parser sorts them by name.
fn object(table: &DeTable<'_>) -> Value {
    let mut members: Vec<Member> = table
        .iter()
        .map(|(key, value)| Member {
            key: key.get_ref().to_string(),
            key_span: key.span(),
            value: node(value),
        })
        .collect();
    members.sort_by_key(|member| member.key_span.start);
    Value::Object(members)
}
