//! A response, read as the web browser SSO profile prescribes (SAML 2.0 Profiles §4.1.4.2, §4.1.4.3).
//!
//! Invariant: nothing is read of a response whose signature has not held, but for what makes it be refused.

use jiff::Timestamp;

use super::document::{ASSERTION, Element, PROTOCOL, parse};
use super::flaw::Flaw;
use super::signature;

const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";
const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";

/// What a login's response has one of, whatever namespace it is written in.
const SINGLE: [&str; 4] = ["Response", "Assertion", "Subject", "Conditions"];

/// What a login's response has none of: more assertions could hide in them, or what is signed and never read.
const FOREIGN: [&str; 4] = ["Advice", "BaseID", "Object", "AuthnRequest"];

/// Conditions that are understood: to hold once is what every assertion does here, and none is passed on.
const CONDITIONS: [&str; 3] = ["AudienceRestriction", "OneTimeUse", "ProxyRestriction"];

/// What a response must be the answer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// The request's id.
    pub(super) request: &'a str,
    /// Entity id of the provider.
    pub(super) issuer: &'a str,
    /// Our entity id.
    pub(super) audience: &'a str,
    /// Where responses are to be sent.
    pub(super) place: &'a str,
    pub(super) skew: u64,
    pub(super) now: u64,
}

/// Which parts of an assertion are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The attribute that names the principal; `None`: the name ID.
    pub(super) principal: Option<&'a str>,
    pub(super) groups: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) email: Option<&'a str>,
}

/// What an assertion says.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) id: String,
    /// When it can be presented no more, with what clocks may differ.
    pub(super) until: u64,
    pub(super) principal: String,
    pub(super) groups: Vec<String>,
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) authentication: Authentication,
}

/// How a person was authenticated.
#[derive(Debug)]
pub(super) struct Authentication {
    /// The class of it.
    pub(super) context: Option<String>,
    /// The provider's session.
    pub(super) session: Option<String>,
    /// When that ends.
    pub(super) until: Option<u64>,
}

/// Reads a response's text; `certificates` are those of the provider.
pub(super) fn read(
    text: &str,
    certificates: &[String],
    expected: Expected<'_>,
    wanted: Wanted<'_>,
) -> Result<Said, Flaw> {
    let document = parse(text)?;
    let response = Element::root(&document)?;
    if !response.is(PROTOCOL, "Response") {
        return Err(Flaw::Shape);
    }
    response.distinct_ids()?;
    is_success(&response)?;
    let assertion = single_assertion(&response)?;
    signature::check_form(&response, &assertion)?;
    signature::verify(text, &assertion, certificates)?;
    answers(&response, expected)?;
    is_from(&assertion, expected)?;
    let confirmed = confirmed(&assertion, expected)?;
    let conditions = conditions(&assertion, expected)?;
    let authentication = authenticated(&assertion, expected)?;
    Ok(Said {
        id: assertion.attribute("ID").unwrap_or_default().to_owned(),
        until: confirmed.max(conditions).saturating_add(expected.skew),
        principal: principal(&assertion, expected, wanted)?,
        groups: wanted.groups.map_or(Ok(Vec::new()), |name| values(&assertion, name, Flaw::Groups))?,
        name: first(&assertion, wanted.name)?,
        email: first(&assertion, wanted.email)?,
        authentication,
    })
}

/// A time in UTC, in seconds since the Unix epoch; fractions are cut off.
pub(super) fn moment(text: &str) -> Result<u64, Flaw> {
    let time: Timestamp =
        Some(text).filter(|text| text.ends_with('Z')).ok_or(Flaw::Time)?.parse().map_err(|_| Flaw::Time)?;
    u64::try_from(time.as_second()).map_err(|_| Flaw::Time)
}

fn is_success(response: &Element<'_>) -> Result<(), Flaw> {
    let status = response.one(PROTOCOL, "Status")?.one(PROTOCOL, "StatusCode")?;
    if status.attribute("Value") == Some(SUCCESS) { Ok(()) } else { Err(Flaw::Status) }
}

/// The assertion, if it is where it belongs and the document has nothing that could be taken for a second one.
fn single_assertion<'d>(response: &Element<'d>) -> Result<Element<'d>, Flaw> {
    let all = response.within();
    if all.iter().any(|element| element.name().starts_with("Encrypted")) {
        return Err(Flaw::Encrypted);
    }
    let count = |name: &str| all.iter().filter(|element| element.name() == name).count();
    if SINGLE.iter().any(|name| count(name) != 1) || FOREIGN.iter().any(|name| count(name) != 0) {
        return Err(Flaw::Shape);
    }
    let assertion = response.one(ASSERTION, "Assertion")?;
    let is_named =
        [response, &assertion].iter().all(|one| one.attribute("ID").is_some_and(|id| !id.is_empty()));
    if is_named { Ok(assertion) } else { Err(Flaw::Shape) }
}

/// Whether the response answers the request, at our place, from the provider.
fn answers(response: &Element<'_>, expected: Expected<'_>) -> Result<(), Flaw> {
    if response.attribute("Version") != Some("2.0") {
        return Err(Flaw::Version);
    }
    if response
        .at_most_one(ASSERTION, "Issuer")?
        .is_some_and(|issuer| issuer.text().as_deref() != Ok(expected.issuer))
    {
        return Err(Flaw::Issuer);
    }
    if response.attribute("Destination") != Some(expected.place) {
        return Err(Flaw::Destination);
    }
    if response.attribute("InResponseTo") != Some(expected.request) {
        return Err(Flaw::InResponseTo);
    }
    not_of_the_future(response.attribute("IssueInstant"), expected)
}

fn is_from(assertion: &Element<'_>, expected: Expected<'_>) -> Result<(), Flaw> {
    if assertion.attribute("Version") != Some("2.0") {
        return Err(Flaw::Version);
    }
    if assertion.one(ASSERTION, "Issuer")?.text().as_deref() != Ok(expected.issuer) {
        return Err(Flaw::Issuer);
    }
    not_of_the_future(assertion.attribute("IssueInstant"), expected)
}

/// Checks the confirmation by bearer; gives its end.
fn confirmed(assertion: &Element<'_>, expected: Expected<'_>) -> Result<u64, Flaw> {
    let all = assertion.one(ASSERTION, "Subject")?.all(ASSERTION, "SubjectConfirmation");
    let bearers: Vec<_> = all.iter().filter(|one| one.attribute("Method") == Some(BEARER)).collect();
    let [bearer] = bearers.as_slice() else { return Err(Flaw::Confirmation) };
    let told = bearer.at_most_one(ASSERTION, "SubjectConfirmationData")?.ok_or(Flaw::Confirmation)?;
    if told.attribute("Recipient") != Some(expected.place) {
        return Err(Flaw::Recipient);
    }
    if told.attribute("InResponseTo") != Some(expected.request) {
        return Err(Flaw::InResponseTo);
    }
    within(&told, expected)?.ok_or(Flaw::Time)
}

/// Checks the conditions; gives their end, the beginning of time if they have none.
fn conditions(assertion: &Element<'_>, expected: Expected<'_>) -> Result<u64, Flaw> {
    let conditions = assertion.one(ASSERTION, "Conditions")?;
    let known = |child: Element<'_>| CONDITIONS.iter().any(|name| child.is(ASSERTION, name));
    if !conditions.children().all(known) {
        return Err(Flaw::Conditions);
    }
    let restrictions = conditions.all(ASSERTION, "AudienceRestriction");
    let is_for_us = |restriction: &Element<'_>| {
        let audiences = restriction.all(ASSERTION, "Audience");
        audiences.iter().any(|audience| audience.text().as_deref() == Ok(expected.audience))
    };
    if restrictions.is_empty() || !restrictions.iter().all(is_for_us) {
        return Err(Flaw::Audience);
    }
    Ok(within(&conditions, expected)?.unwrap_or_default())
}

/// Checks `NotBefore` and `NotOnOrAfter` if they are there; gives the latter.
fn within(element: &Element<'_>, expected: Expected<'_>) -> Result<Option<u64>, Flaw> {
    not_of_the_future_if_any(element.attribute("NotBefore"), expected)?;
    let until = element.attribute("NotOnOrAfter").map(moment).transpose()?;
    if until.is_some_and(|until| expected.now >= until.saturating_add(expected.skew)) {
        return Err(Flaw::Expired);
    }
    Ok(until)
}

/// How the person was authenticated, the provider's session, and its end.
fn authenticated(assertion: &Element<'_>, expected: Expected<'_>) -> Result<Authentication, Flaw> {
    let statements = assertion.all(ASSERTION, "AuthnStatement");
    let [statement] = statements.as_slice() else { return Err(Flaw::Authentication) };
    not_of_the_future(statement.attribute("AuthnInstant"), expected).map_err(|flaw| match flaw {
        Flaw::Time => Flaw::Authentication,
        other => other,
    })?;
    let until = statement.attribute("SessionNotOnOrAfter").map(moment).transpose()?;
    if until.is_some_and(|until| expected.now >= until) {
        return Err(Flaw::Expired);
    }
    let context = statement.one(ASSERTION, "AuthnContext")?.at_most_one(ASSERTION, "AuthnContextClassRef")?;
    let context = context.map(|context| context.text().and_then(|text| shown(&text))).transpose()?;
    let session = statement.attribute("SessionIndex").map(shown).transpose()?;
    Ok(Authentication { context, session, until })
}

fn principal(assertion: &Element<'_>, expected: Expected<'_>, wanted: Wanted<'_>) -> Result<String, Flaw> {
    if let Some(attribute) = wanted.principal {
        let mut named = values(assertion, attribute, Flaw::Principal)?;
        return named.pop().filter(|_| named.is_empty()).ok_or(Flaw::Principal);
    }
    let subject = assertion.one(ASSERTION, "Subject")?;
    let name = subject.at_most_one(ASSERTION, "NameID")?.ok_or(Flaw::Principal)?;
    if name.attribute("Format") == Some(TRANSIENT) {
        return Err(Flaw::Transient);
    }
    // A name that another provider gave, or that was given for another service, may be somebody else's.
    let of_others = name.attribute("NameQualifier").is_some_and(|by| by != expected.issuer)
        || name.attribute("SPNameQualifier").is_some_and(|of| of != expected.audience);
    if of_others {
        return Err(Flaw::Principal);
    }
    let text = name.text().map_err(|_| Flaw::Principal)?;
    crate::claims::name(&text).filter(|name| name.trim() == name).ok_or(Flaw::Principal)
}

/// The values of an attribute by its name; `flaw` where one is no text that may be shown.
fn values(assertion: &Element<'_>, name: &str, flaw: Flaw) -> Result<Vec<String>, Flaw> {
    let statements = assertion.all(ASSERTION, "AttributeStatement");
    let attributes = statements.iter().flat_map(|statement| statement.all(ASSERTION, "Attribute"));
    let own = attributes.filter(|attribute| attribute.attribute("Name") == Some(name));
    let values = own.flat_map(|attribute| attribute.all(ASSERTION, "AttributeValue"));
    let read = |value: Element<'_>| {
        let text = value.text().map_err(|_| flaw)?;
        crate::claims::name(&text).filter(|name| name.trim() == name).ok_or(flaw)
    };
    let values: Vec<String> = values.map(read).collect::<Result<_, _>>()?;
    if values.len() > crate::claims::GROUPS { Err(flaw) } else { Ok(values) }
}

fn first(assertion: &Element<'_>, name: Option<&str>) -> Result<Option<String>, Flaw> {
    let Some(name) = name else { return Ok(None) };
    Ok(values(assertion, name, Flaw::Shape)?.into_iter().next())
}

/// A text as it may stand in a record.
fn shown(text: &str) -> Result<String, Flaw> {
    crate::claims::name(text).ok_or(Flaw::Authentication)
}

fn not_of_the_future(time: Option<&str>, expected: Expected<'_>) -> Result<(), Flaw> {
    not_of_the_future_if_any(Some(time.ok_or(Flaw::Time)?), expected)
}

fn not_of_the_future_if_any(time: Option<&str>, expected: Expected<'_>) -> Result<(), Flaw> {
    let time = time.map(moment).transpose()?;
    if time.is_some_and(|time| time > expected.now.saturating_add(expected.skew)) {
        return Err(Flaw::NotYet);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn times_are_in_utc() {
        assert_eq!(moment("2027-01-15T08:00:00Z"), Ok(1_800_000_000));
        assert_eq!(moment("2027-01-15T08:00:00.999Z"), Ok(1_800_000_000));
        for wrong in [
            "",
            "2027-01-15T08:00:00",
            "2027-01-15T09:00:00+01:00",
            "2027-01-15",
            "x",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
