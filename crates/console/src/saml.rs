//! Operators' login by SAML: where a provider has the browser send its response, and where the browser comes again.
//!
//! The response comes as a form from another site, so its `Origin` is not looked at and no cookie comes with it: it proves
//! itself. That makes no session. The browser is sent on with a ticket, by a GET with which it sends the cookie of the
//! trip, and only the browser that set out gets one.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;

use crate::desk::{Asked, Desk, see};
use crate::form::Form;
use crate::reply;

/// Below the console's address, what the places of SAML are in.
pub const ROOT: &str = "/login";

/// Where responses are sent: the one place that takes forms from other sites.
pub(crate) const ASSERTIONS: &str = "/login/saml/acs";

const METADATA: &str = "/login/saml/metadata";
const ARRIVED: &str = "/login/saml/arrived";

/// Largest form with a response: base64 of 256 KiB, its signs escaped.
pub(crate) const RESPONSE_BYTES: usize = 512 << 10;

/// The method of a path of SAML's; `None`: it is none.
pub(crate) fn method_of(path: &str) -> Option<Method> {
    match path {
        ASSERTIONS => Some(Method::POST),
        METADATA | ARRIVED => Some(Method::GET),
        _ => None,
    }
}

impl Desk {
    /// Whether a request brings what a SAML provider says, and there is one.
    pub(crate) fn takes_response(&self, method: &Method, path: &str) -> bool {
        *method == Method::POST && path == ASSERTIONS && self.operators().saml_metadata().is_some()
    }

    /// Answers on a path of SAML's, by its method; `None`: there is no SAML provider.
    pub(crate) async fn saml(&self, asked: &Asked) -> Option<Response<Full<Bytes>>> {
        let metadata = self.operators().saml_metadata()?;
        Some(match asked.path.as_str() {
            METADATA => reply(StatusCode::OK, "application/samlmetadata+xml", metadata),
            ASSERTIONS => self.asserted(asked).await,
            _ => self.arrived(asked).await,
        })
    }

    /// What is no form has no response in it, which is refused and noted as that.
    async fn asserted(&self, asked: &Asked) -> Response<Full<Bytes>> {
        // What is no form has no response in it, which is refused and noted like that.
        let body = Form::body_of(asked).unwrap_or_default();
        match self.operators().assertion(body, self.now()).await {
            Ok(ticket) => see(&format!("{ARRIVED}?ticket={}", ticket.reveal())),
            Err(refused) => self.refused(&refused),
        }
    }

    async fn arrived(&self, asked: &Asked) -> Response<Full<Bytes>> {
        let form = Form::parse(asked.query.as_bytes());
        let ticket = form.as_ref().and_then(|form| form.field("ticket")).unwrap_or_default();
        let browser = self.trip_of(&asked.headers);
        let arrived = self.operators().arrived(ticket, browser.as_deref(), self.now()).await;
        self.entered(arrived)
    }
}
