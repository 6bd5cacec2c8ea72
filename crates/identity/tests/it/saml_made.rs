//! A SAML provider's answers, written and signed by hand: right ones, to be made wrong ones.
//!
//! Texts are written in exclusive canonical form, so that what is signed is their bytes.

use std::sync::LazyLock;

use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::{Landing, Logins, Page, SamlMetadata, SamlSettings};
use serde_json::{Value, json};

use crate::logins::{BACK, HERE, Query, VERIFIER, form, redirected};
use crate::made::{FILES, NOW, Stage};
use crate::provider::Answer;
use crate::signing::{Pair, b64, sha256};

pub(crate) const ENTITY: &str = "https://idp.example/saml";
pub(crate) const OURS: &str = "https://gate.example/oauth/saml/metadata";
pub(crate) const PLACE: &str = "https://gate.example/oauth/saml/acs";
/// In every assertion; no log, page or refusal may have it.
pub(crate) const CANARY: &str = "canary-of-the-assertion";

pub(crate) const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
pub(crate) const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
const SIGNATURE: &str = "http://www.w3.org/2000/09/xmldsig#";
pub(crate) const CANONICAL: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
pub(crate) const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";

/// One for all stages: making one takes a while.
pub(crate) static KEY: LazyLock<Pair> = LazyLock::new(Pair::rsa);
pub(crate) static OTHER: LazyLock<Pair> = LazyLock::new(Pair::rsa);

/// A gateway that logs people in with a SAML provider.
pub(crate) struct Door {
    pub(crate) stage: Stage,
    pub(crate) logins: Logins,
    pub(crate) client: String,
}

/// A browser at the provider.
pub(crate) struct Away {
    pub(crate) cookie: String,
    /// What it is to bring back.
    pub(crate) state: String,
    /// The request's text, and its id.
    pub(crate) request: String,
    pub(crate) id: String,
}

/// How a signature is made; `Default` is the right way.
pub(crate) struct How {
    pub(crate) algorithm: &'static str,
    pub(crate) jose: &'static str,
    pub(crate) digest: &'static str,
    pub(crate) canonical: &'static str,
    pub(crate) transforms: String,
    pub(crate) key_info: String,
    /// The reference, if it is not to be to the ID of what is signed.
    pub(crate) uri: Option<String>,
    /// More within `Signature`.
    pub(crate) more: String,
}

impl Default for How {
    fn default() -> How {
        How {
            algorithm: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            jose: "RS256",
            digest: "http://www.w3.org/2001/04/xmlenc#sha256",
            canonical: CANONICAL,
            transforms: format!("{}{}", transform(ENVELOPED), transform(CANONICAL)),
            key_info: String::new(),
            uri: None,
            more: String::new(),
        }
    }
}

impl Door {
    pub(crate) async fn open() -> Door {
        Door::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut SamlSettings)) -> Door {
        let stage = Stage::with(|settings| {
            let url = format!("{}/saml", settings.issuers[0].url);
            let mut saml = SamlSettings::new(ENTITY, SamlMetadata::At(url));
            saml.groups_attribute = Some("groups".to_owned());
            change(&mut saml);
            settings.saml = Some(saml);
        })
        .await;
        stage.idp.answers("/saml", Answer::Json(metadata(&[&certificate(&KEY)])));
        Door::of(stage).await
    }

    pub(crate) async fn of(stage: Stage) -> Door {
        let verifier = std::sync::Arc::clone(&stage.verifier);
        let logins = Logins::new(&stage.settings, verifier).unwrap().unwrap();
        let document = json!({ "client_name": "Editor", "redirect_uris": [BACK] });
        let reply = logins.register(document.to_string().as_bytes(), NOW).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let client = body["client_id"].as_str().unwrap().to_owned();
        Door { stage, logins, client }
    }

    /// Begins a login and agrees to it.
    pub(crate) async fn away(&self) -> Away {
        self.away_at(NOW).await
    }

    pub(crate) async fn away_at(&self, now: u64) -> Away {
        let (url, query, cookie) = self.sent(now).await;
        assert_eq!(url, "https://idp.example/login");
        let packed = STANDARD.decode(&query["SAMLRequest"]).unwrap();
        let request = saml_rs::binding::deflate_raw_decode(&packed).unwrap();
        let request = String::from_utf8(request).unwrap();
        let id = request.split(" ID=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        Away { cookie, state: query["RelayState"].clone(), request, id }
    }

    /// Where a browser is sent that agrees, and its cookie.
    pub(crate) async fn sent(&self, now: u64) -> (String, Query, String) {
        let challenge = b64(sha256(VERIFIER.as_bytes()));
        let query = form([
            ("response_type", "code"),
            ("client_id", self.client.as_str()),
            ("redirect_uri", HERE),
            ("state", "st"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("resource", FILES),
        ]);
        let page = self.logins.authorize(&query, None, now).await;
        let Page::Consent { ticket, cookie, .. } = page else { panic!("{page:?}") };
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let agreed = form([("ticket", &*ticket), ("answer", "allow")]);
        let (url, query) = redirected(self.logins.consent(agreed.as_bytes(), Some(&cookie), now).await);
        (url, query, cookie)
    }

    /// The browser brings a document.
    pub(crate) async fn bring(&self, away: &Away, document: &str) -> Landing {
        let response = STANDARD.encode(document);
        let body = form([("SAMLResponse", &*response), ("RelayState", &*away.state)]);
        self.logins.assertion(body.as_bytes(), NOW).await
    }

    /// And comes home with its cookie: where that leads.
    pub(crate) fn home(&self, landing: Landing, cookie: &str) -> Landing {
        assert_eq!(landing.refused, None, "{landing:?}");
        let (url, query) = redirected(landing.page);
        assert_eq!(url, "https://gate.example/oauth/saml/arrived");
        self.logins.arrived(&form([("ticket", &*query["ticket"])]), Some(cookie), NOW)
    }
}

/// The provider's metadata with these certificates.
pub(crate) fn metadata(certificates: &[&str]) -> String {
    let keys: String = certificates.iter().map(|one| descriptor(one)).collect();
    format!(
        "<?xml version=\"1.0\"?>\n<!-- of a test --><md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" \
         xmlns:ds=\"{SIGNATURE}\" entityID=\"{ENTITY}\"><md:IDPSSODescriptor \
         protocolSupportEnumeration=\"{PROTOCOL}\">{keys}<md:SingleSignOnService \
         Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST\" Location=\"https://idp.example/post\"/>\
         <md:SingleSignOnService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" \
         Location=\"https://idp.example/login\"/></md:IDPSSODescriptor></md:EntityDescriptor>"
    )
}

fn descriptor(certificate: &str) -> String {
    format!("<md:KeyDescriptor use=\"signing\">{}</md:KeyDescriptor>", key_info(certificate))
}

pub(crate) fn key_info(certificate: &str) -> String {
    format!(
        "<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
    )
}

pub(crate) fn transform(algorithm: &str) -> String {
    format!("<ds:Transform Algorithm=\"{algorithm}\"></ds:Transform>")
}

/// The ID of the assertion that answers a request.
pub(crate) fn named(request: &str) -> String {
    format!("_a{request}")
}

/// An assertion that counts, as the answer to a request.
pub(crate) fn assertion(request: &str) -> String {
    let id = named(request);
    format!(
        "<saml:Assertion xmlns:saml=\"{ASSERTION}\" ID=\"{id}\" IssueInstant=\"2027-01-15T08:00:00Z\" Version=\"2.0\">\
         <saml:Issuer>{ENTITY}</saml:Issuer><saml:Subject>\
         <saml:NameID Format=\"urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified\">alice</saml:NameID>\
         <saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\"><saml:SubjectConfirmationData \
         InResponseTo=\"{request}\" NotOnOrAfter=\"2027-01-15T08:05:00Z\" Recipient=\"{PLACE}\">\
         </saml:SubjectConfirmationData></saml:SubjectConfirmation></saml:Subject>\
         <saml:Conditions NotBefore=\"2027-01-15T07:59:00Z\" NotOnOrAfter=\"2027-01-15T08:05:00Z\">\
         <saml:AudienceRestriction><saml:Audience>{OURS}</saml:Audience></saml:AudienceRestriction></saml:Conditions>\
         <saml:AuthnStatement AuthnInstant=\"2027-01-15T07:50:00Z\" SessionIndex=\"s-1\"><saml:AuthnContext>\
         <saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken</saml:AuthnContextClassRef>\
         </saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement>\
         <saml:Attribute Name=\"groups\"><saml:AttributeValue>eng</saml:AttributeValue>\
         <saml:AttributeValue>on call</saml:AttributeValue></saml:Attribute>\
         <saml:Attribute Name=\"mail\"><saml:AttributeValue>alice@corp.example</saml:AttributeValue></saml:Attribute>\
         <saml:Attribute Name=\"x\"><saml:AttributeValue>{CANARY}</saml:AttributeValue></saml:Attribute>\
         </saml:AttributeStatement></saml:Assertion>"
    )
}

/// A response around assertions.
pub(crate) fn response(request: &str, within: &str) -> String {
    format!(
        "<samlp:Response xmlns:samlp=\"{PROTOCOL}\" Destination=\"{PLACE}\" ID=\"_r1\" InResponseTo=\"{request}\" \
         IssueInstant=\"2027-01-15T08:00:00Z\" Version=\"2.0\"><saml:Issuer xmlns:saml=\"{ASSERTION}\">{ENTITY}\
         </saml:Issuer><samlp:Status><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\">\
         </samlp:StatusCode></samlp:Status>{within}</samlp:Response>"
    )
}

/// Signs an element: the signature stands behind its issuer.
pub(crate) fn signed(element: &str, pair: &Pair, how: &How) -> String {
    put(element, &signature(element, pair, how))
}

/// An element with something behind its issuer.
pub(crate) fn put(element: &str, what: &str) -> String {
    element.replacen("</saml:Issuer>", &format!("</saml:Issuer>{what}"), 1)
}

/// A signature over an element as it is.
pub(crate) fn signature(element: &str, pair: &Pair, how: &How) -> String {
    let id = element.split(" ID=\"").nth(1).unwrap().split('"').next().unwrap();
    let uri = how.uri.clone().unwrap_or(format!("#{id}"));
    let digest = STANDARD.encode(sha256(element.as_bytes()));
    let info = format!(
        "<ds:SignedInfo xmlns:ds=\"{SIGNATURE}\"><ds:CanonicalizationMethod Algorithm=\"{}\"></ds:CanonicalizationMethod>\
         <ds:SignatureMethod Algorithm=\"{}\"></ds:SignatureMethod><ds:Reference URI=\"{uri}\"><ds:Transforms>{}\
         </ds:Transforms><ds:DigestMethod Algorithm=\"{}\"></ds:DigestMethod><ds:DigestValue>{digest}</ds:DigestValue>\
         </ds:Reference></ds:SignedInfo>",
        how.canonical, how.algorithm, how.transforms, how.digest
    );
    let value = STANDARD.encode(pair.sign(how.jose, info.as_bytes()));
    // Around it stands what declares the prefix already, which counts where the signature itself is signed.
    let info = info.replacen(&format!(" xmlns:ds=\"{SIGNATURE}\""), "", 1);
    format!(
        "<ds:Signature xmlns:ds=\"{SIGNATURE}\">{info}<ds:SignatureValue>{value}</ds:SignatureValue>{}{}</ds:Signature>",
        how.key_info, how.more
    )
}

/// A response that counts: its assertion is signed.
pub(crate) fn good(request: &str) -> String {
    response(request, &signed(&assertion(request), &KEY, &How::default()))
}

/// A certificate of a key, in base64, vouched for by nobody.
pub(crate) fn certificate(pair: &Pair) -> String {
    let public = match pair {
        Pair::Rsa(pair) => {
            let algorithm = der(0x30, &[OID_RSA, &[5, 0]]);
            der(0x30, &[&algorithm, &der(3, &[&[0], pair.public_key().as_ref()])])
        }
        Pair::Ec(_, pair) => {
            let algorithm = der(0x30, &[OID_EC, OID_P256]);
            der(0x30, &[&algorithm, &der(3, &[&[0], pair.public_key().as_ref()])])
        }
        _ => panic!("no certificate for such a key"),
    };
    certified(&public)
}

/// A certificate of a public key in DER.
pub(crate) fn certified(public: &[u8]) -> String {
    let algorithm = der(0x30, &[OID_RSA_SHA256, &[5, 0]]);
    let nobody = der(0x30, &[]);
    let validity = der(0x30, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"491231235959Z"])]);
    let body = der(0x30, &[&der(2, &[&[1]]), &algorithm, &nobody, &validity, &nobody, public]);
    STANDARD.encode(der(0x30, &[&body, &algorithm, &der(3, &[&[0; 257]])]))
}

/// A certificate of an RSA key of 1024 bits.
pub(crate) fn short_certificate() -> String {
    let modulus = [&[0, 0xc1][..], &[0x55; 126], &[1]].concat();
    let key = der(0x30, &[&der(2, &[&modulus]), &der(2, &[&[1, 0, 1]])]);
    let algorithm = der(0x30, &[OID_RSA, &[5, 0]]);
    certified(&der(0x30, &[&algorithm, &der(3, &[&[0], &key])]))
}

const OID_RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const OID_RSA_SHA256: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const OID_EC: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const OID_P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// A DER value.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut made = vec![tag];
    match length {
        0..=127 => made.push(u8::try_from(length).unwrap()),
        128..=255 => made.extend([0x81, u8::try_from(length).unwrap()]),
        _ => made.extend([0x82, u8::try_from(length >> 8).unwrap(), u8::try_from(length & 255).unwrap()]),
    }
    made.extend(content);
    made
}
