//! Metadata: the provider's, whose keys are the only ones that count, and ours.

use super::document::{Element, METADATA, SIGNATURE, read};
use super::response::moment;
use super::signature;
use crate::fetch::Place;

const REDIRECT: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";
const POST: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";

/// What a provider's metadata says.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Where to send people.
    pub(super) login: String,
    /// Its certificates, each as base64 of DER.
    pub(super) certificates: Vec<String>,
    /// When it ends, if it says so.
    pub(super) until: Option<u64>,
}

/// Why a document is no metadata of the provider: for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetadataError {
    #[error("it is not well-formed XML, or has a document type")]
    Xml,
    #[error("it is no `EntityDescriptor` with the configured `entity_id`, character for character")]
    Entity,
    #[error("its `validUntil` has passed; fetch a newer one")]
    Ended,
    #[error("it has no `IDPSSODescriptor` for SAML 2.0")]
    Role,
    #[error("it has no place for logins by HTTP-Redirect at https, or http on the loopback")]
    Place,
    #[error("it has no certificate for signatures with RSA of 2048 bits or a curve")]
    Keys,
}

impl Peer {
    /// Reads the metadata of the provider of that entity id.
    pub(super) fn read(bytes: &[u8], entity: &str, now: u64) -> Result<Peer, MetadataError> {
        let text = std::str::from_utf8(bytes).map_err(|_| MetadataError::Xml)?;
        let document = read(text.trim_start_matches('\u{feff}')).map_err(|_| MetadataError::Xml)?;
        let root = Element::root(&document).map_err(|_| MetadataError::Xml)?;
        if !root.is(METADATA, "EntityDescriptor") || root.attribute("entityID") != Some(entity) {
            return Err(MetadataError::Entity);
        }
        let role = root.one(METADATA, "IDPSSODescriptor").map_err(|_| MetadataError::Role)?;
        let ends = [&root, &role].into_iter().filter_map(|one| one.attribute("validUntil"));
        // A time that cannot be read is one that has passed.
        let until = ends.map(|end| moment(end).unwrap_or_default()).min();
        if until.is_some_and(|until| until <= now) {
            return Err(MetadataError::Ended);
        }
        let mut places = role.all(METADATA, "SingleSignOnService").into_iter();
        let login = places.find(|place| place.attribute("Binding") == Some(REDIRECT));
        let login = login.and_then(|place| place.attribute("Location"));
        let login = login.filter(|url| Place::parse(url).is_ok()).ok_or(MetadataError::Place)?;
        let certificates = certificates(&role);
        if certificates.is_empty() {
            return Err(MetadataError::Keys);
        }
        Ok(Peer { login: login.to_owned(), certificates, until })
    }
}

/// The certificates of a role that are for signatures and can be used.
fn certificates(role: &Element<'_>) -> Vec<String> {
    let keys = role.all(METADATA, "KeyDescriptor").into_iter();
    let signing = keys.filter(|key| key.attribute("use").is_none_or(|of| of == "signing"));
    let within = signing.flat_map(|key| key.within());
    let texts = within.filter(|one| one.is(SIGNATURE, "X509Certificate")).filter_map(|one| one.text().ok());
    let plain = texts.map(|text| text.split_ascii_whitespace().collect::<String>());
    plain.filter(|certificate| signature::is_usable(certificate)).collect()
}

/// Our metadata, for the provider.
pub(super) fn own(entity: &str, place: &str) -> String {
    let (entity, place) = (escaped(entity), escaped(place));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <md:EntityDescriptor xmlns:md=\"{METADATA}\" entityID=\"{entity}\">\
         <md:SPSSODescriptor AuthnRequestsSigned=\"false\" WantAssertionsSigned=\"true\" \
         protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">\
         <md:AssertionConsumerService Binding=\"{POST}\" Location=\"{place}\" index=\"0\" isDefault=\"true\"/>\
         </md:SPSSODescriptor></md:EntityDescriptor>\n"
    )
}

/// A text within an attribute.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
