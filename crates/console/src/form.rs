//! What a form or a query says: each field once.

use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;

use crate::desk::Asked;

/// Fields by name.
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// The body of a request; `None` if it is no form, or names a field twice.
    pub(crate) fn of(asked: &Asked) -> Option<Form> {
        Form::parse(Form::body_of(asked)?)
    }

    /// The body of a request that says that it is a form.
    pub(crate) fn body_of(asked: &Asked) -> Option<&[u8]> {
        let kind = asked.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded").then_some(&asked.body)
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Form> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            if fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Form(fields))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
