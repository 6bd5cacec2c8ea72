//! Whether what is read is what was signed. The form of signatures is ours to check, their value `saml-rs`'s.
//!
//! SAML leaves little to choose (Core §5.4): a signature stands in the element that it is over, names it by its ID, and
//! is made by exclusive canonical XML without the signature itself. Each signature that is there must be so, and the
//! first one must hold; the element that it is over must be the assertion that is read, or the response around it.

use saml_rs::crypto;
use saml_rs::xml::dom::XmlLimits;

use super::document::{DOCUMENT_BYTES, Element, SIGNATURE};
use super::flaw::Flaw;

const CANONICAL: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";

const ALGORITHMS: [&str; 6] = [
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
];

const DIGESTS: [&str; 3] = [
    "http://www.w3.org/2001/04/xmlenc#sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512",
];

/// Shortest RSA key, in bytes of its public part's DER: 2048 bits.
const RSA_BYTES: usize = 290;

/// Checks where signatures stand and what they are over; at least one is there.
pub(super) fn check_form(response: &Element<'_>, assertion: &Element<'_>) -> Result<(), Flaw> {
    let all: Vec<Element<'_>> =
        response.within().into_iter().filter(|element| element.name() == "Signature").collect();
    let own = [response.at_most_one(SIGNATURE, "Signature")?, assertion.at_most_one(SIGNATURE, "Signature")?];
    let own: Vec<Element<'_>> = own.into_iter().flatten().collect();
    if all.len() != own.len() {
        return Err(Flaw::SignatureForm);
    }
    if own.is_empty() {
        return Err(Flaw::Unsigned);
    }
    own.iter().try_for_each(of_its_parent)
}

/// Checks the value of the first signature of a document whose form was checked: over `assertion`, or over the response
/// that it is in, by the key of one of these certificates.
pub(super) fn verify(text: &str, assertion: &Element<'_>, certificates: &[String]) -> Result<(), Flaw> {
    let limits = XmlLimits { max_bytes: DOCUMENT_BYTES, ..XmlLimits::default() };
    match crypto::verify_signature_with_limits(text, certificates, limits) {
        // What is said to be signed must be, byte for byte, what is read.
        Ok((true, Some(signed))) if assertion.source() == Some(signed.as_str()) => Ok(()),
        Err(saml_rs::SamlError::CertificateMismatch) => Err(Flaw::Certificate),
        // Its texts may quote the document: none goes on.
        Ok(_) | Err(_) => Err(Flaw::Signature),
    }
}

/// Whether a certificate's key may verify anything here. Dates and issuers of certificates in metadata say nothing: the
/// metadata is what vouches for them.
pub(super) fn is_usable(certificate: &str) -> bool {
    let Ok(key) = crypto::keys::load_certificate(certificate) else { return false };
    match key.algorithm_name() {
        "RSA" => key.to_spki_der().is_some_and(|der| der.len() >= RSA_BYTES),
        name => name.starts_with("EC"),
    }
}

fn of_its_parent(signature: &Element<'_>) -> Result<(), Flaw> {
    named(signature, &["SignedInfo", "SignatureValue", "KeyInfo"])?;
    let id = signature.parent().and_then(|parent| parent.attribute("ID")).filter(|id| !id.is_empty());
    let id = id.ok_or(Flaw::SignatureForm)?;
    let signed = only(signature, "SignedInfo")?;
    named(&signed, &["CanonicalizationMethod", "SignatureMethod", "Reference"])?;
    if algorithm(&only(&signed, "CanonicalizationMethod")?)? != CANONICAL {
        return Err(Flaw::SignatureForm);
    }
    let method = only(&signed, "SignatureMethod")?;
    if !ALGORITHMS.contains(&algorithm(&method)?) || method.children().next().is_some() {
        return Err(Flaw::Algorithm);
    }
    let reference = only(&signed, "Reference")?;
    named(&reference, &["Transforms", "DigestMethod", "DigestValue"])?;
    if reference.attribute("URI").and_then(|uri| uri.strip_prefix('#')) != Some(id) {
        return Err(Flaw::SignatureForm);
    }
    let digest = only(&reference, "DigestMethod")?;
    if !DIGESTS.contains(&algorithm(&digest)?) || digest.children().next().is_some() {
        return Err(Flaw::Algorithm);
    }
    let transforms = only(&reference, "Transforms")?;
    named(&transforms, &["Transform"])?;
    let made: Vec<&str> = transforms.children().map(|one| algorithm(&one)).collect::<Result<_, _>>()?;
    if made != [ENVELOPED, CANONICAL] {
        return Err(Flaw::SignatureForm);
    }
    transforms.children().try_for_each(|one| of_canonical_xml(&one))?;
    key_is_said_here(signature)
}

/// A transform has nothing in it but what exclusive canonical XML is told of prefixes.
fn of_canonical_xml(transform: &Element<'_>) -> Result<(), Flaw> {
    let known = transform.children().all(|child| child.is(CANONICAL, "InclusiveNamespaces"));
    if known { Ok(()) } else { Err(Flaw::SignatureForm) }
}

/// What is said of the key may be its name, its value or its certificate: not where to fetch it. All of it is ignored but
/// for the certificate, which must be the provider's.
fn key_is_said_here(signature: &Element<'_>) -> Result<(), Flaw> {
    let Some(said) = one_or_none(signature, "KeyInfo")? else { return Ok(()) };
    named(&said, &["KeyName", "KeyValue", "X509Data"])
}

/// Refuses children of other names, or of other namespaces.
fn named(element: &Element<'_>, names: &[&str]) -> Result<(), Flaw> {
    let known = |child: Element<'_>| names.iter().any(|name| child.is(SIGNATURE, name));
    if element.children().all(known) { Ok(()) } else { Err(Flaw::SignatureForm) }
}

fn only<'d>(element: &Element<'d>, name: &'static str) -> Result<Element<'d>, Flaw> {
    one_or_none(element, name)?.ok_or(Flaw::SignatureForm)
}

fn one_or_none<'d>(element: &Element<'d>, name: &'static str) -> Result<Option<Element<'d>>, Flaw> {
    element.at_most_one(SIGNATURE, name).map_err(|_| Flaw::SignatureForm)
}

fn algorithm<'d>(element: &Element<'d>) -> Result<&'d str, Flaw> {
    element.attribute("Algorithm").ok_or(Flaw::Algorithm)
}
