//! SAML's XML, read so that nobody can read it in two ways.
//!
//! What readers are known to differ about is refused before anything is parsed: document types, entities, comments,
//! instructions, CDATA. The parser is the one that the signature's verification uses. Elements are named by namespace and
//! name, attributes have no namespace, and a text is the whole text of an element without elements in it.

use std::collections::HashSet;

use uppsala::{Document, NodeId, Parser};

use super::flaw::Flaw;

/// Largest document.
pub(super) const DOCUMENT_BYTES: usize = 256 * 1024;

/// Deepest element. SAML's own are fewer than ten deep.
const DEPTH: u32 = 40;

/// Namespace of assertions.
pub(super) const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
/// Namespace of requests and responses.
pub(super) const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
/// Namespace of metadata.
pub(super) const METADATA: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
/// Namespace of signatures.
pub(super) const SIGNATURE: &str = "http://www.w3.org/2000/09/xmldsig#";

/// An element of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'d> {
    document: &'d Document<'d>,
    id: NodeId,
}

/// Parses what came through a browser.
pub(super) fn parse(text: &str) -> Result<Document<'_>, Flaw> {
    if text.len() > DOCUMENT_BYTES {
        return Err(Flaw::Oversized);
    }
    if !is_plain(text) {
        return Err(Flaw::Markup);
    }
    read(text)
}

/// Parses what came from where the settings say, which may have comments.
pub(super) fn read(text: &str) -> Result<Document<'_>, Flaw> {
    Parser::new().with_max_depth(DEPTH).with_forbid_dtd(true).parse(text).map_err(|_| Flaw::Xml)
}

impl<'d> Element<'d> {
    pub(super) fn root(document: &'d Document<'d>) -> Result<Element<'d>, Flaw> {
        let id = document.document_element().ok_or(Flaw::Xml)?;
        Ok(Element { document, id })
    }

    pub(super) fn is(&self, namespace: &str, name: &str) -> bool {
        self.document.element(self.id).is_some_and(|element| element.matches_name_ns(namespace, name))
    }

    /// Its name, whatever its namespace.
    pub(super) fn name(&self) -> &'d str {
        self.document.element(self.id).map_or("", |element| &element.name.local_name)
    }

    pub(super) fn parent(&self) -> Option<Element<'d>> {
        let id = self.document.parent(self.id).filter(|id| self.document.element(*id).is_some())?;
        Some(Element { document: self.document, id })
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'d str> {
        let attributes = &self.document.element(self.id)?.attributes;
        let own =
            attributes.iter().find(|one| one.name.namespace_uri.is_none() && one.name.local_name == name);
        own.map(|one| &*one.value)
    }

    pub(super) fn children(&self) -> impl Iterator<Item = Element<'d>> + use<'d> {
        let document = self.document;
        let elements = document.children_iter(self.id).filter(move |id| document.element(*id).is_some());
        elements.map(move |id| Element { document, id })
    }

    pub(super) fn all(&self, namespace: &'static str, name: &'static str) -> Vec<Element<'d>> {
        self.children().filter(|child| child.is(namespace, name)).collect()
    }

    /// The one child of that name, if there is one.
    pub(super) fn at_most_one(
        &self,
        namespace: &'static str,
        name: &'static str,
    ) -> Result<Option<Element<'d>>, Flaw> {
        match self.all(namespace, name).as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ => Err(Flaw::Shape),
        }
    }

    pub(super) fn one(&self, namespace: &'static str, name: &'static str) -> Result<Element<'d>, Flaw> {
        self.at_most_one(namespace, name)?.ok_or(Flaw::Shape)
    }

    /// The text of an element without elements, all of it.
    pub(super) fn text(&self) -> Result<String, Flaw> {
        if self.children().next().is_some() {
            return Err(Flaw::Shape);
        }
        Ok(self.document.text_content_deep(self.id))
    }

    /// It and all elements in it.
    pub(super) fn within(&self) -> Vec<Element<'d>> {
        let mut found = vec![*self];
        let mut at = 0;
        while let Some(element) = found.get(at) {
            found.extend(element.children().collect::<Vec<_>>());
            at += 1;
        }
        found
    }

    /// The bytes that it was read from.
    pub(super) fn source(&self) -> Option<&'d str> {
        self.document.node_source(self.id)
    }

    /// Refuses two IDs that are one, by any name that a reader may take for that of an ID.
    pub(super) fn distinct_ids(&self) -> Result<(), Flaw> {
        let mut seen = HashSet::new();
        for element in self.within() {
            let attributes = self.document.element(element.id).map(|element| element.attributes.as_slice());
            for attribute in attributes.unwrap_or_default() {
                let name = attribute.name.local_name.to_ascii_lowercase();
                if ["id", "assertionid"].contains(&name.as_str()) && !seen.insert(attribute.value.to_string())
                {
                    return Err(Flaw::SameId);
                }
            }
        }
        Ok(())
    }
}

/// Whether a text has nothing but elements, attributes, texts and XML's own five entities: `<!` begins what readers treat
/// differently, and cannot stand anywhere else.
fn is_plain(text: &str) -> bool {
    let body = match text.strip_prefix("<?xml ") {
        Some(rest) => {
            rest.split_once("?>").filter(|(declared, _)| declared.contains("1.0")).map(|(_, body)| body)
        }
        None => Some(text),
    };
    let Some(body) = body else { return false };
    let entities = body.split('&').skip(1).all(|after| {
        let name = after.split(';').next().unwrap_or_default();
        ["amp", "lt", "gt", "quot", "apos"].contains(&name) || name.starts_with('#')
    });
    entities && !body.contains("<!") && !body.contains("<?")
}

#[cfg(test)]
mod tests {
    use super::{Element, Flaw, is_plain, parse};

    #[test]
    fn what_readers_differ_about_is_not_plain() {
        for (text, plain) in [
            ("<a>b &amp; c &#x41;</a>", true),
            ("<?xml version=\"1.0\" encoding=\"UTF-8\"?><a/>", true),
            ("<?xml version=\"1.1\"?><a/>", false),
            ("<?xml version=\"1.0\"", false),
            ("<!DOCTYPE a><a/>", false),
            ("<a>b<!-- c -->d</a>", false),
            ("<a><![CDATA[b]]></a>", false),
            ("<a><?b c?></a>", false),
            ("<a>&b;</a>", false),
        ] {
            assert_eq!(is_plain(text), plain, "{text}");
        }
    }

    #[test]
    fn a_text_is_whole_and_without_elements() {
        let document = parse("<a>x &lt; <b>y</b></a>").unwrap();
        let root = Element::root(&document).unwrap();
        assert_eq!(root.text(), Err(Flaw::Shape));
        let document = parse("<a>x &lt; y&#65;z</a>").unwrap();
        assert_eq!(Element::root(&document).unwrap().text().unwrap(), "x < yAz");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}{}", "<a>".repeat(41), "</a>".repeat(41));
        assert!(matches!(parse(&deep), Err(Flaw::Xml)));
    }
}
