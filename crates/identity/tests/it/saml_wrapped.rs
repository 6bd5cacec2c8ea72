//! Signature wrapping: a signed assertion that nobody reads beside one that nobody signed, in the eight ways of "On
//! Breaking SAML: Be Whoever You Want to Be" (2012), and more.

use identity::Flaw;

use crate::saml_attacks::{Case, refuse};
use crate::saml_made::{Door, How, KEY, assertion, good, named, put, response, signature, signed};

/// An assertion that nobody signed, under an ID of its own.
fn evil(request: &str) -> String {
    assertion(request).replace(">alice<", ">root<").replace(&named(request), "_evil")
}

/// A response that nobody signed, around an assertion that nobody signed.
fn evil_response(request: &str, more: &str) -> String {
    let text = response(request, &evil(request)).replace("ID=\"_r1\"", "ID=\"_evil-r\"");
    put(&text, more)
}

/// The signature of an assertion, with something in an `Object` of it.
fn with_object(request: &str, within: &str) -> String {
    let plain = signature(&assertion(request), &KEY, &How::default());
    plain.replace("</ds:Signature>", &format!("<ds:Object>{within}</ds:Object></ds:Signature>"))
}

fn over_response(request: &str, how: &How) -> String {
    signature(&response(request, &assertion(request)), &KEY, how)
}

#[tokio::test]
async fn wrapped_responses_are_refused() {
    let door = Door::open().await;
    let plain = How::default;
    refuse(
        &door,
        vec![
            // The signed response within the signature of the evil one.
            Case::new(
                "XSW1",
                move |id| {
                    let inner = response(id, &assertion(id));
                    let signature = over_response(id, &plain());
                    let signature = signature.replace(
                        "</ds:Signature>",
                        &format!("<ds:Object>{inner}</ds:Object></ds:Signature>"),
                    );
                    evil_response(id, &signature)
                },
                Flaw::Shape,
            ),
            // The signed response beside a signature that is not around it.
            Case::new(
                "XSW2",
                move |id| {
                    let inner = response(id, &assertion(id));
                    evil_response(id, &(inner + &over_response(id, &plain())))
                },
                Flaw::Shape,
            ),
            // The evil assertion before the signed one.
            Case::new("XSW3", |id| response(id, &(evil(id) + &by_provider(id))), Flaw::Shape),
            // The signed assertion within the evil one.
            Case::new(
                "XSW4",
                |id| {
                    response(
                        id,
                        &evil(id).replace("</saml:Assertion>", &(by_provider(id) + "</saml:Assertion>")),
                    )
                },
                Flaw::Shape,
            ),
            // The signature in the evil assertion, the signed one behind.
            Case::new(
                "XSW5",
                move |id| {
                    let signature = signature(&assertion(id), &KEY, &plain());
                    response(id, &(put(&evil(id), &signature) + &assertion(id)))
                },
                Flaw::Shape,
            ),
            // The same, with the signed assertion within the signature.
            Case::new(
                "XSW6",
                move |id| {
                    let signature = signature(&assertion(id), &KEY, &plain());
                    let within = format!("{}</ds:Signature>", assertion(id));
                    response(id, &put(&evil(id), &signature.replace("</ds:Signature>", &within)))
                },
                Flaw::Shape,
            ),
            // The evil assertion where anything may stand.
            Case::new(
                "XSW7",
                |id| {
                    let hidden = format!("<samlp:Extensions>{}</samlp:Extensions>", evil(id));
                    put(&good(id), &hidden)
                },
                Flaw::Shape,
            ),
            // The signed assertion in an object of the evil one's signature.
            Case::new(
                "XSW8",
                |id| response(id, &put(&evil(id), &with_object(id, &assertion(id)))),
                Flaw::Shape,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn other_ways_to_hide_what_was_signed_are_refused() {
    let door = Door::open().await;
    let within_data = |id: &str, what: &str| {
        evil(id).replace("</saml:SubjectConfirmationData>", &format!("{what}</saml:SubjectConfirmationData>"))
    };
    refuse(
        &door,
        vec![
            Case::new("the evil assertion behind", |id| response(id, &(by_provider(id) + &evil(id))), Flaw::Shape),
            Case::new("two signed assertions", |id| response(id, &(by_provider(id) + &also(id))), Flaw::Shape),
            Case::new("the same assertion twice", |id| response(id, &by_provider(id).repeat(2)), Flaw::SameId),
            Case::new(
                "the evil assertion under the signed one's ID",
                |id| response(id, &(evil(id).replace("_evil", &named(id)) + &by_provider(id))),
                Flaw::SameId,
            ),
            Case::new(
                "the ID by another name",
                |id| response(id, &evil(id).replace("<saml:Subject>", &format!("<saml:Subject Id=\"{}\">", named(id)))).replace("_evil", &named(id)),
                Flaw::SameId,
            ),
            Case::new("in the confirmation", move |id| response(id, &within_data(id, &by_provider(id))), Flaw::Shape),
            Case::new(
                "in advice",
                |id| response(id, &evil(id).replace("<saml:Conditions", &format!("<saml:Advice>{}</saml:Advice><saml:Conditions", by_provider(id)))),
                Flaw::Shape,
            ),
            Case::new(
                "the assertion deeper",
                |id| response(id, &format!("<samlp:Extensions>{}</samlp:Extensions>", by_provider(id))),
                Flaw::Shape,
            ),
            Case::new(
                "an assertion of no namespace",
                |id| response(id, &(by_provider(id) + "<Assertion></Assertion>")),
                Flaw::Shape,
            ),
            Case::new(
                "a response of another namespace",
                |id| good(id).replace("SAML:2.0:protocol\"", "SAML:1.0:protocol\""),
                Flaw::Shape,
            ),
            Case::new("the assertion alone", by_provider, Flaw::Shape),
            Case::new(
                "within an envelope",
                |id| format!("<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\">{}</soap:Envelope>", good(id)),
                Flaw::Shape,
            ),
            Case::new("two subjects", |id| changed(id, "<saml:Conditions", "<saml:Subject></saml:Subject><saml:Conditions"), Flaw::Shape),
            Case::new("two names", |id| changed(id, "<saml:NameID", "<saml:NameID>root</saml:NameID><saml:NameID"), Flaw::Shape),
            Case::new("no name", |id| changed(id, "saml:NameID", "saml:Name"), Flaw::Principal),
            Case::new("two conditions", |id| changed(id, "<saml:Conditions", "<saml:Conditions></saml:Conditions><saml:Conditions"), Flaw::Shape),
            Case::new("no ID", |id| changed(id, &format!(" ID=\"{}\"", named(id)), ""), Flaw::Shape),
            Case::new(
                "the signature elsewhere in the assertion",
                |id| {
                    let signature = signature(&assertion(id), &KEY, &How::default());
                    let hidden = format!("<saml:Subject>{signature}");
                    response(id, &assertion(id).replace("<saml:Subject>", &hidden))
                },
                Flaw::SignatureForm,
            ),
            Case::new(
                "the assertion's signature in the response",
                |id| put(&response(id, &assertion(id)), &signature(&assertion(id), &KEY, &How::default())),
                Flaw::SignatureForm,
            ),
            Case::new(
                "a signature of the response by a stranger",
                |id| signed(&good(id), &crate::saml_made::OTHER, &How::default()),
                Flaw::Signature,
            ),
        ],
    )
    .await;
}

/// The assertion as the provider signs it.
fn by_provider(request: &str) -> String {
    signed(&assertion(request), &KEY, &How::default())
}

/// Another one that it signs.
fn also(request: &str) -> String {
    signed(&evil(request), &KEY, &How::default())
}

/// A response whose assertion was changed before it was signed.
fn changed(request: &str, from: &str, to: &str) -> String {
    let text = assertion(request);
    let changed = text.replace(from, to);
    assert_ne!(text, changed, "{from}");
    // Without an ID there is none to sign under.
    if changed.contains(" ID=\"") {
        return response(request, &signed(&changed, &KEY, &How::default()));
    }
    let how = How { uri: Some("#x".to_owned()), ..How::default() };
    response(request, &put(&changed, &signature(&assertion(request), &KEY, &how)))
}
