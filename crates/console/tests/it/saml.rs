//! The places of SAML: which requests reach them from where, and what their cookies are. What a response must be is tested
//! in `identity`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use identity::operators::Operators;
use identity::{Mint, RunKey, SamlMetadata, SamlSettings, Settings, Verifier};

use crate::made::{NOW, Stage};

const ENTITY: &str = "https://idp.example/saml";
const CONSOLE: &str = "https://ops.example";

/// Of a key that nobody has.
const CERTIFICATE: &str = "MIIBczCCARmgAwIBAgIUaFC5pgj0nRe4Y3nLW/8Wc1u0B50wCgYIKoZIzj0EAwIwDjEMMAoGA1UEAwwDaWRwMCAXDTI2MTEyMTIzMz\
    U0NloYDzIxMjYxMDI4MjMzNTQ2WjAOMQwwCgYDVQQDDANpZHAwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARz8Vlmuq6E5KDygh1j+ANT0IFoTZT6FjuXxc0\
    Qoo20jtOzGhN6rTEXdarfHlRKsBpUYwZhmvOrxnQZfFSD/rr6o1MwUTAdBgNVHQ4EFgQULDeHkdjgw6arzoTvDr66mqriQd8wHwYDVR0jBBgwFoAULDeHkdjgw6\
    arzoTvDr66mqriQd8wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiAI7rsNtodfw6qH5bTsPPtgdgx906A+5KtJ2mTMfkNTgwIhAIdipxlRfpQBB\
    16lq8ODzAQI93YVjGwyMA+JjSNNUDNZ";

fn with_saml(operators: Operators, folder: &Path) -> Operators {
    let path = folder.join("idp.xml");
    let metadata = format!(
        "<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" \
         entityID=\"{ENTITY}\"><md:IDPSSODescriptor protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">\
         <md:KeyDescriptor use=\"signing\"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{CERTIFICATE}</ds:X509Certificate>\
         </ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService \
         Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"https://idp.example/login\"/>\
         </md:IDPSSODescriptor></md:EntityDescriptor>"
    );
    std::fs::write(&path, metadata).unwrap();
    let settings = Settings::new("https://gate.example");
    let state = Arc::clone(operators.state());
    let key = RunKey::open(folder).unwrap();
    let mint = Arc::new(Mint::new(Arc::clone(&state), key, &settings.public_url, settings.runs.clone()));
    let verifier = Verifier::new(&settings, state, mint).unwrap();
    let mut saml = SamlSettings::new(ENTITY, SamlMetadata::File(path));
    saml.groups_attribute = Some("groups".to_owned());
    operators.with_saml(&verifier, &saml, &format!("{CONSOLE}{}", console::SAML_ROOT)).unwrap()
}

/// What a provider's page has a browser send.
fn foreign(origin: &str) -> String {
    format!("host: ops.example\r\norigin: {origin}\r\ncontent-type: application/x-www-form-urlencoded\r\n")
}

#[tokio::test]
async fn the_way_there_says_who_asks_and_leaves_a_lax_cookie() {
    let stage = Stage::with(Some(CONSOLE), with_saml).await;
    let form = stage.send("GET /login", "", "").await;
    assert!(form.body.contains("/login/provider"), "{form:?}");
    let away = stage.send("GET /login/provider", "", "").await;
    assert_eq!(away.status, 303, "{away:?}");
    assert!(away.head.contains("location: https://idp.example/login?samlrequest="), "{away:?}");
    let cookie = "; path=/; httponly; samesite=lax; secure; max-age=600";
    assert!(
        away.head.contains("set-cookie: __host-tollbook-trip=") && away.head.contains(cookie),
        "{away:?}"
    );
    let metadata = stage.send("GET /login/saml/metadata", "", "").await;
    assert!(metadata.head.contains("content-type: application/samlmetadata+xml"), "{metadata:?}");
    for part in ["entityID=\"https://ops.example/login/saml/metadata\"", "https://ops.example/login/saml/acs"]
    {
        assert!(metadata.body.contains(part), "{part}: {metadata:?}");
    }
}

#[tokio::test]
async fn one_place_takes_forms_of_other_sites_and_makes_no_session_of_them() {
    let stage = Stage::with(Some(CONSOLE), with_saml).await;
    let own = stage.session("mira").await;
    let large = format!("SAMLResponse={}&RelayState=x", "A".repeat(300 << 10));
    let too_large = format!("SAMLResponse={}", "A".repeat(600 << 10));
    let login = "operators.login a login with the provider refused";
    let turned = "operators.forbidden POST /login/saml/acs refused";
    for (case, line, headers, body, status, expected) in [
        (
            "another site",
            "POST /login/saml/acs",
            foreign("https://idp.example"),
            "SAMLResponse=eA&RelayState=x",
            401,
            login,
        ),
        ("a page without referrers", "POST /login/saml/acs", foreign("null"), "SAMLResponse=eA", 401, login),
        ("large", "POST /login/saml/acs", foreign("null"), large.as_str(), 401, login),
        ("too large", "POST /login/saml/acs", foreign("null"), too_large.as_str(), 413, turned),
        ("two states", "POST /login/saml/acs", foreign("null"), "RelayState=x&RelayState=y", 401, login),
        ("no form", "POST /login/saml/acs", "host: ops.example\r\n".to_owned(), "{}", 401, login),
        (
            "a stranger's host",
            "POST /login/saml/acs",
            "host: evil.example\r\ncontent-type: application/x-www-form-urlencoded\r\n".to_owned(),
            "SAMLResponse=eA",
            403,
            turned,
        ),
        ("another path", "POST /login/saml/arrived", foreign("null"), "", 403, "operators.forbidden"),
        ("a path beneath", "POST /login/saml/acs/", foreign("null"), "", 403, "operators.forbidden"),
        ("a path in other words", "POST /login//saml/acs", foreign("null"), "", 403, "operators.forbidden"),
        ("another method", "PUT /login/saml/acs", foreign("null"), "", 403, "operators.forbidden"),
        (
            "the form of a password",
            "POST /login",
            foreign("null"),
            "name=mira&password=x",
            403,
            "POST /login refused",
        ),
        ("no ticket", "GET /login/saml/arrived", "host: ops.example\r\n".to_owned(), "", 401, login),
        (
            "another ticket",
            "GET /login/saml/arrived?ticket=x",
            "host: ops.example\r\n".to_owned(),
            "",
            401,
            login,
        ),
        (
            "somebody's session",
            "POST /login/saml/acs",
            format!("{}cookie: {}\r\n", foreign("https://idp.example"), own.cookie),
            "SAMLResponse=eA&RelayState=x",
            401,
            login,
        ),
    ] {
        NOW.fetch_add(1, Ordering::SeqCst);
        let told = stage.send(line, &headers, body).await;
        assert_eq!(told.status, status, "{case}: {told:?}");
        assert!(!told.head.contains("set-cookie"), "{case}: {told:?}");
        let noted = stage.noted().pop().unwrap();
        assert!(noted.contains(expected), "{case}: {noted}");
    }
    let told = stage.send("GET /login/saml/acs", "host: ops.example\r\n", "").await;
    assert!(told.status == 405 && told.head.contains("allow: post"), "{told:?}");
}

#[tokio::test]
async fn without_a_provider_there_are_no_such_places() {
    let stage = Stage::set(Some(CONSOLE)).await;
    let told = stage.send("POST /login/saml/acs", &foreign("https://idp.example"), "SAMLResponse=eA").await;
    assert_eq!(told.status, 403, "{told:?}");
    let own = "host: ops.example\r\norigin: https://ops.example\r\n";
    for line in ["GET /login/saml/metadata", "GET /login/saml/arrived?ticket=x", "POST /login/saml/acs"] {
        let told = stage.send(line, own, "").await;
        assert!(told.status == 404 || told.status == 405, "{line}: {told:?}");
    }
}
