//! Where connections to servers are kept: in the state, sealed with `upstream.key` of the data folder (AES-256-GCM), each for one
//! server at one address. A server whose `url` is changed is to be connected anew.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use store::state::State;

use super::ConnectError;
use crate::random;
use crate::run_key;

const FILE: &str = "upstream.key";

const CONTEXT: &str = "tollbook connection v1";

/// What connections are sealed with, and where they are.
pub struct Vault {
    state: Arc<State>,
    key: LessSafeKey,
}

/// What opens a server; nothing of it is shown but to the authorization server and the server.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connection {
    pub(super) issuer: String,
    pub(super) token_endpoint: String,
    pub(super) proofs: Vec<String>,
    pub(super) client_id: String,
    /// The secret that came with a registration; one from the configuration is not kept here.
    pub(super) client_secret: Option<String>,
    pub(super) by_post: bool,
    pub(super) resource: String,
    pub(super) scopes: Vec<String>,
    pub(super) access: String,
    pub(super) refresh: Option<String>,
    pub(super) given: u64,
    pub(super) expires: u64,
}

impl Vault {
    /// The vault of a data folder; its key is made (0600) if it is not there.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn open(data: &Path, state: Arc<State>) -> Result<Vault, ConnectError> {
        let bytes = run_key::secret(data, FILE)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| ConnectError::Key)?;
        Ok(Vault { state, key: LessSafeKey::new(key) })
    }

    /// The connection of a server at an address, and which scopes it has asked for since. One that does not open is none.
    pub(super) fn read(
        &self,
        server: &str,
        url: &str,
    ) -> Result<(Option<Connection>, Vec<String>), ConnectError> {
        let Some(row) = self.state.connection(server)? else { return Ok((None, Vec::new())) };
        let connection = row.sealed.and_then(|sealed| {
            let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
            let mut bytes = rest.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = self.key.open_in_place(nonce, context(server, url), &mut bytes).ok()?;
            serde_json::from_slice(opened).ok()
        });
        Ok((connection, super::challenge::words(&row.wanted)))
    }

    /// Keeps a connection.
    pub(super) fn keep(
        &self,
        (server, url): (&str, &str),
        connection: &Connection,
        now: u64,
    ) -> Result<(), ConnectError> {
        let nonce: [u8; NONCE_LEN] = random::bytes().map_err(|_| ConnectError::Seal)?;
        let text = serde_json::to_string(connection).map_err(|_| ConnectError::Seal)?;
        let mut bytes = text.into_bytes();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(unique, context(server, url), &mut bytes)
            .map_err(|_| ConnectError::Seal)?;
        Ok(self.state.connect(server, &[&nonce[..], &bytes].concat(), now)?)
    }

    /// Keeps which scopes a server asks for.
    pub(super) fn want(&self, server: &str, scopes: &[String], now: u64) -> Result<(), ConnectError> {
        Ok(self.state.want_scopes(server, &scopes.join(" "), now)?)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Vault")
    }
}

/// Says when it ends, and nothing else.
impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").field("expires", &self.expires).finish_non_exhaustive()
    }
}

fn context(server: &str, url: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("{CONTEXT}\0{server}\0{url}").into_bytes())
}
