//! Responses that must log nobody in, each refused for its own reason, with nothing of it told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::{Flaw, Landing, Page, Reason};

use crate::logins::{HERE, form, redirected};
use crate::made::{NOW, logged};
use crate::saml_made::{
    Away, CANARY, CANONICAL, Door, ENTITY, ENVELOPED, How, KEY, OTHER, OURS, PLACE, assertion, certificate,
    good, key_info, named, response, signed, transform,
};
use crate::signing::Pair;

/// A document for a login, by its request's id.
type Document = Box<dyn Fn(&str) -> String>;

pub(crate) struct Case(pub(crate) &'static str, pub(crate) Document, pub(crate) Flaw);

impl Case {
    pub(crate) fn new(name: &'static str, document: impl Fn(&str) -> String + 'static, flaw: Flaw) -> Case {
        Case(name, Box::new(document), flaw)
    }
}

/// Has each document refused: back at the client without a code, recorded, and nothing of it told.
pub(crate) async fn refuse(door: &Door, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for Case(name, document, flaw) in cases {
        let away = door.away().await;
        let text = document(&away.id);
        let (landing, log) = logged(door.bring(&away, &text)).await;
        let found = landing.refused.clone().map(|refused| refused.reason);
        if found != Some(Reason::Saml(flaw)) {
            wrong.push(format!("{name}: {found:?} instead of {flaw:?}"));
            continue;
        }
        let (url, query) = redirected(landing.page.clone());
        assert_eq!((url.as_str(), query["error"].as_str()), (HERE, "access_denied"), "{name}");
        is_silent(name, &text, &format!("{log} {landing:?}"));
        let again = door.bring(&away, &good(&away.id)).await;
        is_refused(name, &again, Flaw::Login);
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(door.stage.state.minted_runs(9).unwrap(), [], "nobody has logged in");
}

fn is_refused(name: &str, landing: &Landing, flaw: Flaw) {
    let found = landing.refused.clone().map(|refused| refused.reason);
    assert_eq!(found, Some(Reason::Saml(flaw)), "{name}");
    assert!(!format!("{:?}", landing.page).contains("code="), "{name}");
}

/// Nothing of a document is told: neither its secrets nor its signature nor its IDs.
fn is_silent(name: &str, document: &str, told: &str) {
    assert!(!told.contains(CANARY), "{name}: {told}");
    let values = document.split(['<', '>', '"']).filter(|part| part.len() > 40 && !part.starts_with("http"));
    for part in values.filter(|part| !part.starts_with("urn:") && !part.contains('=')) {
        assert!(!told.contains(part), "{name}: {part} in {told}");
    }
}

/// The provider signs an assertion that was changed.
fn says(name: &'static str, from: &str, to: &str, flaw: Flaw) -> Case {
    let (from, to) = (from.to_owned(), to.to_owned());
    let document = move |id: &str| {
        let text = assertion(id);
        let changed = text.replace(&from.replace("{id}", id), &to);
        assert_ne!(text, changed, "{from}");
        response(id, &signed(&changed, &KEY, &How::default()))
    };
    Case::new(name, document, flaw)
}

/// A response that counts is changed on its way.
fn altered(name: &'static str, from: &str, to: &str, flaw: Flaw) -> Case {
    let (from, to) = (from.to_owned(), to.to_owned());
    let document = move |id: &str| {
        let text = good(id);
        let changed = text.replacen(&from, &to, 1);
        assert_ne!(text, changed, "{from}");
        changed
    };
    Case::new(name, document, flaw)
}

/// A signature that is made in another way.
fn made(name: &'static str, how: impl Fn() -> How + 'static, flaw: Flaw) -> Case {
    Case::new(name, move |id| response(id, &signed(&assertion(id), &KEY, &how())), flaw)
}

#[tokio::test]
async fn documents_that_readers_differ_about_are_not_read() {
    let door = Door::open().await;
    let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;\">]>";
    let external = "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>";
    let before = |what: &'static str| move |id: &str| format!("{what}{}", good(id));
    refuse(
        &door,
        vec![
            Case::new("a document type", before("<!DOCTYPE x>"), Flaw::Markup),
            Case::new("a billion laughs", before(laughs), Flaw::Markup),
            Case::new("a file as an entity", before(external), Flaw::Markup),
            altered("an entity that is used", "alice", "&a;", Flaw::Markup),
            altered("a comment in the name", "alice", "alice<!-- -->.evil.example", Flaw::Markup),
            Case::new(
                "a comment in the name, signed",
                |id| {
                    // Canonical XML leaves comments out: the signature holds with one and without it.
                    let text = good(&id.replace("alice", "root"));
                    text.replacen("alice", "al<!---->ice", 1)
                },
                Flaw::Markup,
            ),
            altered("CDATA in the name", "alice", "<![CDATA[alice]]>", Flaw::Markup),
            altered("an instruction in the name", "alice", "al<?x?>ice", Flaw::Markup),
            Case::new(
                "a style sheet",
                before("<?xml-stylesheet href=\"https://evil.example\"?>"),
                Flaw::Markup,
            ),
            Case::new("XML 1.1", before("<?xml version=\"1.1\"?>"), Flaw::Markup),
            Case::new("no XML", |_| CANARY.to_owned(), Flaw::Xml),
            Case::new("two documents", |id| good(id) + &good(id), Flaw::Xml),
            Case::new("broken off", |id| good(id).replace("</samlp:Response>", ""), Flaw::Xml),
            altered("a prefix of nothing", "<saml:NameID", "<evil:x/><saml:NameID", Flaw::Xml),
            altered("an attribute twice", " Version=\"2.0\"", " Version=\"2.0\" Version=\"2.0\"", Flaw::Xml),
            Case::new("very deep", |_| format!("{}{}", "<a>".repeat(5000), "</a>".repeat(5000)), Flaw::Xml),
        ],
    )
    .await;
}

#[tokio::test]
async fn signatures_that_are_none_are_refused() {
    let door = Door::open().await;
    let unsigned = |id: &str| response(id, &assertion(id));
    let by = |pair: &'static Pair, key_info: String| {
        move |id: &str| {
            let how = How { key_info: key_info.clone(), ..How::default() };
            response(id, &signed(&assertion(id), pair, &how))
        }
    };
    let smuggled = key_info(&certificate(&OTHER));
    let value = "<ds:KeyInfo><ds:KeyValue>x</ds:KeyValue></ds:KeyInfo>".to_owned();
    let elsewhere =
        "<ds:KeyInfo><ds:RetrievalMethod URI=\"https://evil.example/key\"></ds:RetrievalMethod></ds:KeyInfo>";
    refuse(
        &door,
        vec![
            Case::new("the signature removed", unsigned, Flaw::Unsigned),
            Case::new("another's key", by(&OTHER, String::new()), Flaw::Signature),
            Case::new("another's key and its certificate", by(&OTHER, smuggled.clone()), Flaw::Certificate),
            Case::new("another's key and its value", by(&OTHER, value), Flaw::Signature),
            Case::new("another's certificate with the right key", by(&KEY, smuggled), Flaw::Certificate),
            Case::new("a key that is to be fetched", by(&KEY, elsewhere.to_owned()), Flaw::SignatureForm),
            altered("the name exchanged", ">alice<", ">root<", Flaw::Signature),
            altered("a group more", ">eng<", ">admins<", Flaw::Signature),
            altered("an attribute more", "<saml:AttributeValue>eng", "<saml:AttributeValue>x</saml:AttributeValue><saml:AttributeValue>eng", Flaw::Signature),
            altered("the digest exchanged", "<ds:DigestValue>", "<ds:DigestValue>AAAA", Flaw::Signature),
            altered("the signature's value empty", "<ds:SignatureValue>", "<ds:SignatureValue>!", Flaw::Signature),
            altered("two signatures in one", "</ds:Signature>", "</ds:Signature><ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"></ds:Signature>", Flaw::Shape),
        ],
    )
    .await;
}

#[tokio::test]
async fn signatures_made_in_other_ways_are_refused() {
    let door = Door::open().await;
    let with = |algorithm: &'static str| move || How { algorithm, ..How::default() };
    let transforms = |text: String| move || How { transforms: text.clone(), ..How::default() };
    let of = |algorithm: &str| transform(ENVELOPED) + &transform(algorithm);
    let within = |what: &str| {
        let open = format!("<ds:Transform Algorithm=\"{CANONICAL}\">{what}</ds:Transform>");
        transform(ENVELOPED) + &open
    };
    let to = |uri: &'static str| move || How { uri: Some(uri.to_owned()), ..How::default() };
    let canonical = || How { canonical: "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", ..How::default() };
    let object = || How { more: format!("<ds:Object>{CANARY}</ds:Object>"), ..How::default() };
    let manifest = || How { more: "<ds:Manifest></ds:Manifest>".to_owned(), ..How::default() };
    let length =
        "http://www.w3.org/2000/09/xmldsig#hmac-sha1\"><ds:HMACOutputLength>1</ds:HMACOutputLength><x y=\"";
    refuse(
        &door,
        vec![
            made("RSA with SHA-1", with("http://www.w3.org/2000/09/xmldsig#rsa-sha1"), Flaw::Algorithm),
            made("RSA with MD5", with("http://www.w3.org/2001/04/xmldsig-more#rsa-md5"), Flaw::Algorithm),
            made("DSA", with("http://www.w3.org/2000/09/xmldsig#dsa-sha1"), Flaw::Algorithm),
            made("HMAC", with("http://www.w3.org/2000/09/xmldsig#hmac-sha1"), Flaw::Algorithm),
            Case::new(
                "HMAC with the certificate",
                |id| {
                    let algorithm = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256";
                    let shared = Pair::Hmac(STANDARD.decode(certificate(&KEY)).unwrap());
                    response(id, &signed(&assertion(id), &shared, &How { algorithm, ..How::default() }))
                },
                Flaw::Algorithm,
            ),
            made("HMAC of one bit", with(length), Flaw::Xml),
            made("no algorithm", with("none"), Flaw::Algorithm),
            made("an empty algorithm", with(""), Flaw::Algorithm),
            made(
                "ECDSA claimed of RSA",
                with("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"),
                Flaw::Signature,
            ),
            made(
                "a digest of SHA-1",
                || How { digest: "http://www.w3.org/2000/09/xmldsig#sha1", ..How::default() },
                Flaw::Algorithm,
            ),
            made("inclusive canonical XML", canonical, Flaw::SignatureForm),
            made("XSLT", transforms(of("http://www.w3.org/TR/1999/REC-xslt-19991116")), Flaw::SignatureForm),
            made(
                "XPath",
                transforms(of("http://www.w3.org/TR/1999/REC-xpath-19991116")),
                Flaw::SignatureForm,
            ),
            made(
                "an XPath filter",
                transforms(of("http://www.w3.org/2002/06/xmldsig-filter2")),
                Flaw::SignatureForm,
            ),
            made("base64", transforms(of("http://www.w3.org/2000/09/xmldsig#base64")), Flaw::SignatureForm),
            made(
                "XSLT within",
                transforms(within(
                    "<xsl:stylesheet xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\"></xsl:stylesheet>",
                )),
                Flaw::SignatureForm,
            ),
            made("no transform", transforms(String::new()), Flaw::SignatureForm),
            made("the signature not left out", transforms(transform(CANONICAL)), Flaw::SignatureForm),
            made(
                "comments kept",
                transforms(of("http://www.w3.org/2001/10/xml-exc-c14n#WithComments")),
                Flaw::SignatureForm,
            ),
            made(
                "a transform of no namespace",
                transforms(format!("{}<Transform Algorithm=\"{CANONICAL}\"></Transform>", of(CANONICAL))),
                Flaw::SignatureForm,
            ),
            made("over the whole document", to(""), Flaw::SignatureForm),
            made("over another element", to("#_r1"), Flaw::SignatureForm),
            made("over what is elsewhere", to("https://evil.example/x"), Flaw::SignatureForm),
            made("over a file", to("file:///etc/passwd"), Flaw::SignatureForm),
            made("by a pointer", to("#xpointer(/)"), Flaw::SignatureForm),
            made("with an object", object, Flaw::Shape),
            made("with a manifest", manifest, Flaw::SignatureForm),
        ],
    )
    .await;
}

#[tokio::test]
async fn assertions_for_others_are_refused() {
    let door = Door::open().await;
    let restriction =
        format!("<saml:AudienceRestriction><saml:Audience>{OURS}</saml:Audience></saml:AudienceRestriction>");
    let second = format!(
        "{restriction}<saml:AudienceRestriction><saml:Audience>x</saml:Audience></saml:AudienceRestriction>"
    );
    let (bearer, holder) = ("2.0:cm:bearer", "2.0:cm:holder-of-key");
    let later = "NotOnOrAfter=\"2027-01-15T08:05:00Z\"";
    refuse(
        &door,
        vec![
            says("another issuer", ENTITY, "https://evil.example", Flaw::Issuer),
            says("an issuer that begins so", ENTITY, &format!("{ENTITY}.evil"), Flaw::Issuer),
            says("an issuer with spaces", ENTITY, &format!(" {ENTITY}"), Flaw::Issuer),
            says("another audience", OURS, "https://other.example", Flaw::Audience),
            says("the gateway as audience", OURS, "https://gate.example", Flaw::Audience),
            says("no audience", &restriction, "", Flaw::Audience),
            says("two restrictions, one not for us", &restriction, &second, Flaw::Audience),
            says("another recipient", PLACE, "https://evil.example/acs", Flaw::Recipient),
            says("a recipient that begins so", PLACE, &format!("{PLACE}/x"), Flaw::Recipient),
            says("no recipient", &format!(" Recipient=\"{PLACE}\""), "", Flaw::Recipient),
            says("another request", "InResponseTo=\"{id}", "InResponseTo=\"_x", Flaw::InResponseTo),
            says("a condition that nobody knows", &restriction, &format!("{restriction}<saml:Condition></saml:Condition>"), Flaw::Conditions),
            says("not by bearer", bearer, holder, Flaw::Confirmation),
            says("confirmed twice", "<saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">", "<saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\"></saml:SubjectConfirmation><saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">", Flaw::Confirmation),
            says("a confirmation without an end", &format!("{later} Recipient"), "Recipient", Flaw::Time),
            says("of SAML 1.1", "Version=\"2.0\"", "Version=\"1.1\"", Flaw::Version),
            says("in words", "2027-01-15T07:59:00Z", "this morning", Flaw::Time),
            says("in local time", "2027-01-15T07:59:00Z", "2027-01-15T07:59:00", Flaw::Time),
            says("expired", "2027-01-15T08:05:00Z", "2027-01-15T07:59:00Z", Flaw::Expired),
            says("not valid yet", "2027-01-15T07:59:00Z", "2027-01-15T08:01:01Z", Flaw::NotYet),
            says("issued in the future", "IssueInstant=\"2027-01-15T08:00:00Z\"", "IssueInstant=\"2027-01-15T08:01:01Z\"", Flaw::NotYet),
            says("a session that has ended", "\"s-1\"", "\"s-1\" SessionNotOnOrAfter=\"2027-01-15T08:00:00Z\"", Flaw::Expired),
            says("a transient name", "1.1:nameid-format:unspecified", "2.0:nameid-format:transient", Flaw::Transient),
            says("a name of another provider's", ">alice<", " NameQualifier=\"https://evil.example\">alice<", Flaw::Principal),
            says("a name for another service", ">alice<", " SPNameQualifier=\"https://evil.example\">alice<", Flaw::Principal),
            says("an empty name", ">alice<", "><", Flaw::Principal),
            says("a name with a line end", ">alice<", ">alice\nroot<", Flaw::Principal),
            says("a name with a space before", ">alice<", "> alice<", Flaw::Principal),
            says("a name written backwards", ">alice<", ">ecila\u{202e}<", Flaw::Principal),
            says("an element in the name", ">alice<", ">alice<x></x><", Flaw::Principal),
            says("a group with a line end", ">eng<", ">eng\nadmins<", Flaw::Groups),
            says("an element for a group", ">eng<", "><x>eng</x><", Flaw::Groups),
            says(
                "nothing of how",
                "saml:AuthnStatement",
                "saml:AuthzDecisionStatement",
                Flaw::Authentication,
            ),
            says(
                "a confirmation that has expired",
                &format!("{later} Recipient"),
                "NotOnOrAfter=\"2027-01-15T07:59:00Z\" Recipient",
                Flaw::Expired,
            ),
            says(
                "conditions that have expired",
                &format!("{later}><saml:AudienceRestriction>"),
                "NotOnOrAfter=\"2027-01-15T07:59:00Z\"><saml:AudienceRestriction>",
                Flaw::Expired,
            ),
        ],
    )
    .await;
    let whole = |change: &'static dyn Fn(&str, &str) -> String| {
        move |id: &str| {
            let text = response(id, &assertion(id));
            let changed = change(&text, id);
            assert_ne!(text, changed);
            signed(&changed, &KEY, &How::default())
        }
    };
    refuse(
        &door,
        vec![
            Case::new(
                "another destination",
                whole(&|text, _| text.replacen(PLACE, "https://gate.example.evil/acs", 1)),
                Flaw::Destination,
            ),
            Case::new(
                "no destination",
                whole(&|text, _| text.replacen(&format!(" Destination=\"{PLACE}\""), "", 1)),
                Flaw::Destination,
            ),
            Case::new(
                "unsolicited",
                whole(&|text, id| text.replacen(&format!(" InResponseTo=\"{id}\""), "", 1)),
                Flaw::InResponseTo,
            ),
            Case::new(
                "the answer to another login",
                whole(&|text, id| text.replacen(&format!("InResponseTo=\"{id}\""), "InResponseTo=\"_x\"", 1)),
                Flaw::InResponseTo,
            ),
            Case::new(
                "another issuer around it",
                whole(&|text, _| text.replacen(ENTITY, "https://evil.example", 1)),
                Flaw::Issuer,
            ),
            Case::new(
                "not logged in",
                whole(&|text, _| text.replace("status:Success", "status:Responder")),
                Flaw::Status,
            ),
            Case::new(
                "no status",
                whole(&|text, _| text.replace("samlp:Status>", "samlp:Stat>")),
                Flaw::Shape,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn encrypted_assertions_are_not_read() {
    let door = Door::open().await;
    let encrypted = |id: &str| {
        let data =
            "<xenc:EncryptedData xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\"></xenc:EncryptedData>";
        let within = format!(
            "<saml:EncryptedAssertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\">{data}</saml:EncryptedAssertion>"
        );
        signed(&response(id, &within), &KEY, &How::default())
    };
    refuse(
        &door,
        vec![
            Case::new("instead of one", encrypted, Flaw::Encrypted),
            says(
                "an encrypted name",
                "<saml:SubjectConfirmation ",
                "<saml:EncryptedID></saml:EncryptedID><saml:SubjectConfirmation ",
                Flaw::Encrypted,
            ),
            says(
                "an encrypted attribute",
                "</saml:AttributeStatement>",
                "<saml:EncryptedAttribute></saml:EncryptedAttribute></saml:AttributeStatement>",
                Flaw::Encrypted,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn forms_that_are_none_are_refused() {
    let door = Door::open().await;
    let large = STANDARD.encode(format!("{}<x/>", good("_x")).repeat(100));
    let endless = "A".repeat(500_000);
    let bytes = STANDARD.encode([0xff, 0xfe, 0x00]);
    // Of HTTP-Redirect; by POST nothing is packed.
    let bomb = saml_rs::binding::deflate_raw_encode(" ".repeat(4 << 20).as_bytes()).unwrap();
    let bomb = STANDARD.encode(bomb);
    for (name, brought, flaw) in [
        ("not base64", Some("<samlp:Response>"), Flaw::Encoding),
        ("not text", Some(bytes.as_str()), Flaw::Encoding),
        ("packed", Some(bomb.as_str()), Flaw::Encoding),
        ("larger than 256 KiB", Some(large.as_str()), Flaw::Oversized),
        ("endless", Some(endless.as_str()), Flaw::Oversized),
        ("empty", Some(""), Flaw::Form),
        ("none", None, Flaw::Form),
    ] {
        let away = door.away().await;
        let fields =
            [brought.map(|brought| ("SAMLResponse", brought)), Some(("RelayState", away.state.as_str()))];
        let (landing, log) =
            logged(door.logins.assertion(form(fields.into_iter().flatten()).as_bytes(), NOW)).await;
        is_refused(name, &landing, flaw);
        assert!(brought.is_none_or(|brought| brought.len() < 9 || !log.contains(brought)), "{name}");
    }
    let away = door.away().await;
    let twice = format!("{}&{}", field(&away, &good(&away.id)), form([("SAMLResponse", "x")]));
    is_refused("two responses", &door.logins.assertion(twice.as_bytes(), NOW).await, Flaw::Form);
    let twice = format!("{}&RelayState=x", field(&away, &good(&away.id)));
    is_refused("two states", &door.logins.assertion(twice.as_bytes(), NOW).await, Flaw::Form);
}

fn field(away: &Away, document: &str) -> String {
    form([("SAMLResponse", &*STANDARD.encode(document)), ("RelayState", &*away.state)])
}

#[tokio::test]
async fn a_response_is_for_the_login_that_asked_and_leads_where_that_began() {
    let door = Door::open().await;
    let mine = door.away().await;
    for (name, state) in [
        ("no state", None),
        ("an empty one", Some("")),
        ("another one", Some("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
        ("a website", Some("https://evil.example/phish")),
        ("a script", Some("javascript:alert(1)")),
        ("a path", Some("//evil.example")),
    ] {
        let brought = STANDARD.encode(good(&mine.id));
        let fields = [Some(("SAMLResponse", &*brought)), state.map(|state| ("RelayState", state))];
        let landing = door.logins.assertion(form(fields.into_iter().flatten()).as_bytes(), NOW).await;
        is_refused(name, &landing, Flaw::Login);
        assert!(matches!(landing.page, Page::Refused(text) if !text.contains("evil")), "{name}");
    }
    let theirs = door.away().await;
    is_refused("of another login", &door.bring(&theirs, &good(&mine.id)).await, Flaw::InResponseTo);
    let late = door.logins.assertion(field(&mine, &good(&mine.id)).as_bytes(), NOW + 600).await;
    is_refused("too late", &late, Flaw::Login);

    let away = door.away().await;
    is_refused(
        "the ticket of consent",
        &door.logins.arrived(&form([("ticket", &*away.state)]), Some(&away.cookie), NOW),
        Flaw::Login,
    );
    for (name, cookie, now) in [
        (
            "in another browser",
            Some("__Host-tollbook-login=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            NOW,
        ),
        ("in a browser that began nothing", None, NOW),
        ("too late", Some("own"), NOW + 60),
    ] {
        let away = door.away().await;
        let (_, query) = redirected(door.bring(&away, &good(&away.id)).await.page);
        let ticket = form([("ticket", &*query["ticket"])]);
        let cookie = if cookie == Some("own") { Some(away.cookie.as_str()) } else { cookie };
        is_refused(name, &door.logins.arrived(&ticket, cookie, now), Flaw::Login);
        is_refused(
            "a ticket holds once",
            &door.logins.arrived(&ticket, Some(&away.cookie), NOW),
            Flaw::Login,
        );
    }
    assert_eq!(door.stage.state.minted_runs(9).unwrap(), []);
}

#[tokio::test]
async fn an_assertion_counts_once_also_after_a_restart() {
    let door = Door::open().await;
    let away = door.away().await;
    let document = good(&away.id);
    assert_eq!(door.bring(&away, &document).await.refused, None);
    is_refused("the same response", &door.bring(&away, &document).await, Flaw::Login);
    let first = named(&away.id);
    let reused = |id: &str| {
        let text = assertion(id).replace(&named(id), &first);
        response(id, &signed(&text, &KEY, &How::default()))
    };
    let second = door.away().await;
    is_refused("the same assertion", &door.bring(&second, &reused(&second.id)).await, Flaw::Replayed);

    let Door { stage, .. } = door;
    let state = std::sync::Arc::new(store::state::State::open(stage.folder.path()).unwrap());
    let key = identity::RunKey::open(stage.folder.path()).unwrap();
    let url = &stage.settings.public_url;
    let mint = identity::Mint::new(std::sync::Arc::clone(&state), key, url, stage.settings.runs.clone());
    let verifier = identity::Verifier::new(&stage.settings, state, std::sync::Arc::new(mint)).unwrap();
    let door = Door::of(crate::made::Stage { verifier: std::sync::Arc::new(verifier), ..stage }).await;
    let third = door.away().await;
    is_refused("after a restart", &door.bring(&third, &reused(&third.id)).await, Flaw::Replayed);
    let fresh = door.away().await;
    assert_eq!(door.bring(&fresh, &good(&fresh.id)).await.refused, None, "another one counts");
}
