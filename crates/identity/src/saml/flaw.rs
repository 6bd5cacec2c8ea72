//! Why a response does not count. A flaw is a fixed text: nothing of the response can be in it.

/// What is wrong with a SAML response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It belongs to no login that this browser has begun and that still goes on.
    #[error(
        "the login is not known, has taken too long, has come back before, or was begun in another browser"
    )]
    Login,
    /// The form has no `SAMLResponse`, or it or `RelayState` twice.
    #[error("the form is not that of a SAML response")]
    Form,
    /// More than 256 KiB.
    #[error("the SAML response is larger than 256 KiB")]
    Oversized,
    /// Not base64, or not text within it.
    #[error("the SAML response is not base64 of UTF-8")]
    Encoding,
    /// What readers of XML differ about.
    #[error("the SAML response has a document type, an entity, a comment, an instruction, or CDATA")]
    Markup,
    /// Not well-formed.
    #[error("the SAML response is not well-formed XML with namespaces")]
    Xml,
    /// More, fewer or other elements than a login's response has, or in other places.
    #[error("the SAML response is not one response with one assertion of one person")]
    Shape,
    /// Two elements of one ID.
    #[error("an ID stands twice in the SAML response")]
    SameId,
    /// Something is encrypted.
    #[error("the assertion is encrypted, which is not read; let the provider sign it and leave it readable")]
    Encrypted,
    /// Not of SAML 2.0.
    #[error("the SAML response is not of version 2.0")]
    Version,
    /// A status other than success.
    #[error("the provider did not log the person in")]
    Status,
    /// Neither the response nor the assertion is signed.
    #[error("neither the response nor the assertion is signed")]
    Unsigned,
    /// The signature is not over the element that it stands in, or is made in another way than SAML prescribes.
    #[error("a signature is not over the element that it stands in, or has transforms other than SAML's")]
    SignatureForm,
    /// SHA-1, HMAC, none, or an unknown algorithm.
    #[error("a signature's algorithm is neither RSA nor ECDSA with SHA-256 or longer")]
    Algorithm,
    /// A certificate in the signature that the metadata does not have.
    #[error("a signature brings a certificate that is not in the provider's metadata")]
    Certificate,
    /// The signature does not hold.
    #[error("the signature does not hold with a key of the provider's metadata")]
    Signature,
    /// Another issuer, or none.
    #[error("the SAML response or its assertion has another issuer than the configured one")]
    Issuer,
    /// For another place.
    #[error(
        "the SAML response is for another place; compare the address at the provider with the metadata here"
    )]
    Destination,
    /// The confirmation is for another place.
    #[error(
        "the assertion is for another recipient; compare the address at the provider with the metadata here"
    )]
    Recipient,
    /// For somebody else, or for nobody.
    #[error(
        "the assertion is for another audience; compare the entity id at the provider with the metadata here"
    )]
    Audience,
    /// Unsolicited, or the answer to another request.
    #[error("the SAML response answers no request of this login")]
    InResponseTo,
    /// No bearer confirmation that could be checked.
    #[error("the assertion has no confirmation by bearer")]
    Confirmation,
    /// A condition is missing, or is none that is understood.
    #[error("the assertion's conditions are missing or not understood")]
    Conditions,
    /// Not of the form of a time in UTC.
    #[error("a time in the SAML response is missing or not of its form")]
    Time,
    /// Not valid yet, or issued in the future.
    #[error("the assertion is not valid yet; compare the clocks")]
    NotYet,
    /// Valid no longer.
    #[error("the assertion is not valid any more; compare the clocks")]
    Expired,
    /// It has logged somebody in before.
    #[error("the assertion was used before")]
    Replayed,
    /// It does not say how the person was authenticated.
    #[error("the assertion does not say when and how the person was authenticated")]
    Authentication,
    /// The name ID or attribute that names the person.
    #[error("what names the person is missing, stands twice, or is not of its form")]
    Principal,
    /// A name that holds for one login.
    #[error("the name ID is a transient one, which names nobody; configure an attribute or another format")]
    Transient,
    /// The attribute of groups.
    #[error("the attribute of groups is not of its form")]
    Groups,
}
