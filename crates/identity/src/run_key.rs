//! The key that signs run tokens: Ed25519, `run.key` in the data folder. Who has it can mint runs for anybody; who loses
//! it loses all runs, and a new one is made.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::jose::{self, Key};
use crate::random::{self, NoRandomness};

const FILE: &str = "run.key";

/// The key that signs run tokens.
pub struct RunKey {
    pair: Ed25519KeyPair,
    public: Key,
    id: String,
}

/// Why there is no run key.
#[derive(Debug, thiserror::Error)]
pub enum RunKeyError {
    /// The file cannot be used.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It is not 32 bytes.
    #[error("`{}` is no run key; restore it, or remove it: all runs are then void", .0.display())]
    Form(PathBuf),
    /// Others than its owner can read it.
    #[error("others may read `{}`; whoever has read it can act as anybody: remove it, or `chmod 600` it", .0.display())]
    Open(PathBuf),
    /// The system failed.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl RunKey {
    /// Opens the key in the data folder, made (0600) if it is not there.
    ///
    /// # Errors
    /// See [`RunKeyError`].
    pub fn open(data: &Path) -> Result<RunKey, RunKeyError> {
        let bytes = secret(data, FILE)?;
        let wrong = |_| RunKeyError::Form(data.join(FILE));
        let pair = Ed25519KeyPair::from_seed_unchecked(&bytes).map_err(wrong)?;
        let public = Key::ed25519(pair.public_key().as_ref());
        Ok(RunKey { id: public.thumbprint(), public, pair })
    }

    /// A signed token of type `at+jwt` with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_typed("at+jwt", claims)
    }

    /// A signed statement to somebody else: of a type that no run token has.
    pub(crate) fn state(&self, claims: &Value) -> String {
        self.sign_typed("JWT", claims)
    }

    fn sign_typed(&self, kind: &str, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": self.id, "typ": kind });
        let signed = format!("{}.{}", jose::encode(header.to_string()), jose::encode(claims.to_string()));
        let signature = jose::encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn public(&self) -> &Key {
        &self.public
    }

    /// The public key as a key set, for who wants to verify run tokens without asking.
    pub(crate) fn set(&self) -> Value {
        let x = jose::encode(self.pair.public_key());
        json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.id, "x": x,
        }] })
    }
}

impl fmt::Debug for RunKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RunKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The content of a file with a secret in the data folder, made of 32 random bytes (0600) if it is not there.
pub(crate) fn secret(data: &Path, name: &str) -> Result<Vec<u8>, RunKeyError> {
    let path = data.join(name);
    let failed = |source| RunKeyError::Io { path: path.clone(), source };
    if !path.exists() {
        make(data, (&path, name))?;
    }
    let file = File::open(&path).map_err(failed)?;
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(RunKeyError::Open(path));
    }
    std::fs::read(&path).map_err(failed)
}

/// Makes the file whole or not at all, also when another process does the same: the first stays.
fn make(data: &Path, (path, name): (&Path, &str)) -> Result<(), RunKeyError> {
    let failed = |source| RunKeyError::Io { path: path.to_owned(), source };
    let seed: [u8; 32] = random::bytes()?;
    let staged = data.join(format!(".{name}.{}", random::digits(8)?));
    let put = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
        file.write_all(&seed)?;
        file.sync_all()?;
        match std::fs::hard_link(&staged, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => File::open(data)?.sync_all(),
        }
    };
    let made = put();
    // It holds a secret, whether or not it became the key.
    let removed = std::fs::remove_file(&staged);
    made.and(removed).map_err(failed)
}
