//! Evidence: some records with all that is needed to check them alone — a run, or a single record.
//!
//! Each record brings its leaf, the way to the signed root, and the disclosures of what its payload holds. A stranger needs
//! this document and the log's public key from elsewhere; the key inside only says which one is meant.

use serde::{Deserialize, Serialize};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;

use crate::checkpoint::{Checkpoint, VerifierKey};
use crate::ids::{Hash, RunId, Seq};
use crate::proof::{self, ProofError, TileSource};
use crate::record::{Fact, Kind, Leaf, leaf_hash};

/// Version of the document.
pub const VERSION: u32 = 1;

/// A document of evidence; JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`VERSION`].
    pub tollbook_evidence: u32,
    /// What it claims to be.
    pub scope: Scope,
    /// The log's public key, as `name+id+base64`.
    pub vkey: String,
    /// The signed checkpoint that the proofs lead to.
    pub checkpoint: String,
    /// The records in their order.
    pub records: Vec<Exhibit>,
}

/// What a document claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All records of this run up to the checkpoint.
    Run(RunId),
    /// Records that need not be all of anything.
    Records,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exhibit {
    /// Its place in the log.
    pub seq: Seq,
    /// The leaf's bytes.
    pub leaf: String,
    /// The inclusion proof.
    pub proof: Vec<Hash>,
    /// Disclosures (RFC 9901) of the fields that are shown.
    pub disclosures: Vec<String>,
    /// The message itself, base64url, if it is shown; the `body` disclosure then says its salted digest and `body_salt` the
    /// salt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Salt of the body's digest, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_salt: Option<String>,
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EvidenceFault {
    /// The record; `None` for the document as a whole.
    pub seq: Option<Seq>,
    /// Why.
    pub reason: String,
}

impl std::fmt::Display for EvidenceFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.seq {
            Some(seq) => write!(formatter, "record {seq}: {}", self.reason),
            None => write!(formatter, "document: {}", self.reason),
        }
    }
}

/// What a document proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EvidenceReport {
    /// Whether everything holds.
    pub ok: bool,
    /// The log.
    pub origin: String,
    /// Size of the tree that the records are in.
    pub size: u64,
    /// Records checked.
    pub records: u64,
    /// For a run: whether its end is among them.
    pub complete: bool,
    /// What is wrong.
    pub faults: Vec<EvidenceFault>,
}

impl Exhibit {
    /// A record with its proof; disclosures are added by who decides what to show.
    ///
    /// # Errors
    /// [`ProofError`] where the tiles do not give the proof; `Range` also for a leaf that is no text.
    pub fn new(tiles: &impl TileSource, seq: Seq, leaf: &[u8], size: u64) -> Result<Exhibit, ProofError> {
        let proof = proof::inclusion(tiles, seq.0, size)?;
        let leaf = std::str::from_utf8(leaf).map_err(|_| ProofError::Range)?.to_owned();
        Ok(Exhibit { seq, leaf, proof, disclosures: Vec::new(), body: None, body_salt: None })
    }
}

impl Evidence {
    /// Checks everything that the document shows, against a key from elsewhere or, failing that, the one inside.
    pub fn verify(&self, key: Option<&VerifierKey>) -> EvidenceReport {
        let mut check = Check { faults: Vec::new() };
        let checkpoint = check.head(self, key);
        let mut complete = false;
        let mut previous: Option<(Hash, u64)> = None;
        for exhibit in &self.records {
            let Some((leaf, hash)) = check.exhibit(exhibit, checkpoint.as_ref()) else { continue };
            if let Scope::Run(run) = self.scope {
                if complete {
                    check.fault(Some(exhibit.seq), "it comes after the run's end");
                }
                check.follow(exhibit.seq, run, &leaf, previous);
                complete |= leaf.kind == Kind::SessionClose;
                previous = leaf.link.map(|link| (hash, link.number));
            }
        }
        EvidenceReport {
            ok: check.faults.is_empty(),
            origin: checkpoint.as_ref().map(|checkpoint| checkpoint.origin.clone()).unwrap_or_default(),
            size: checkpoint.map_or(0, |checkpoint| checkpoint.size),
            records: self.records.len() as u64,
            complete,
            faults: check.faults,
        }
    }
}

struct Check {
    faults: Vec<EvidenceFault>,
}

impl Check {
    fn fault(&mut self, seq: Option<Seq>, reason: impl Into<String>) {
        self.faults.push(EvidenceFault { seq, reason: reason.into() });
    }

    fn head(&mut self, evidence: &Evidence, key: Option<&VerifierKey>) -> Option<Checkpoint> {
        if evidence.tollbook_evidence != VERSION {
            self.fault(None, "of a version that this program does not know");
        }
        if evidence.records.is_empty() {
            self.fault(None, "it holds no records");
        }
        let inside = evidence.vkey.parse::<VerifierKey>();
        let key = match (key, &inside) {
            (Some(key), Ok(inside)) if key != inside => {
                self.fault(None, "it was made by a log of another key");
                key
            }
            (Some(key), _) => key,
            (None, Ok(inside)) => inside,
            (None, Err(_)) => {
                self.fault(None, "its key cannot be read");
                return None;
            }
        };
        match Checkpoint::verify(&evidence.checkpoint, key) {
            Ok(checkpoint) => Some(checkpoint),
            Err(error) => {
                self.fault(None, error.to_string());
                None
            }
        }
    }

    fn exhibit(&mut self, exhibit: &Exhibit, checkpoint: Option<&Checkpoint>) -> Option<(Leaf, Hash)> {
        let seq = Some(exhibit.seq);
        let hash = leaf_hash(exhibit.leaf.as_bytes());
        if let Some(checkpoint) = checkpoint
            && let Err(error) =
                proof::check_inclusion(hash, exhibit.seq.0, checkpoint.size, checkpoint.root, &exhibit.proof)
        {
            self.fault(seq, error.to_string());
        }
        let leaf = match Leaf::decode(exhibit.leaf.as_bytes()) {
            Ok(leaf) => leaf,
            Err(error) => {
                self.fault(seq, error.to_string());
                return None;
            }
        };
        let mut body_value = None;
        for disclosure in &exhibit.disclosures {
            if !leaf.commitments.contains(&Hash::of(disclosure.as_bytes())) {
                self.fault(seq, "a disclosure is not what the record commits to");
            }
            if let Some((name, value)) = open_disclosure(disclosure)
                && name == crate::payload::BODY
            {
                body_value = Some(value);
            }
        }
        if let Some(body) = &exhibit.body
            && !is_body(body, exhibit.body_salt.as_deref(), body_value.as_deref())
        {
            self.fault(seq, "the message is not what the record commits to");
        }
        Some((leaf, hash))
    }

    fn follow(&mut self, seq: Seq, run: RunId, leaf: &Leaf, previous: Option<(Hash, u64)>) {
        let Some(link) = leaf.link.filter(|link| link.run == run) else {
            return self.fault(Some(seq), "it is not of this run");
        };
        let expected = previous.map_or(0, |(_, number)| number.saturating_add(1));
        if link.number != expected || link.previous != previous.map(|(hash, _)| hash) {
            self.fault(Some(seq), "it does not follow the record before it: records are missing");
        }
        if leaf.kind == Kind::SessionClose
            && let Some(Fact::Int(count)) = leaf.facts.get("count")
            && u64::try_from(*count) != Ok(link.number.saturating_add(1))
        {
            self.fault(Some(seq), "the run's end counts other records");
        }
    }
}

/// Name and JSON value of a disclosure.
pub fn open_disclosure(disclosure: &str) -> Option<(String, String)> {
    let json = URL_SAFE_NO_PAD.decode(disclosure).ok()?;
    let (_, name, value): (String, String, Box<RawValue>) = serde_json::from_slice(&json).ok()?;
    Some((name, value.get().to_owned()))
}

fn is_body(body: &str, salt: Option<&str>, value: Option<&str>) -> bool {
    let parts =
        salt.and_then(|salt| URL_SAFE_NO_PAD.decode(salt).ok()).zip(URL_SAFE_NO_PAD.decode(body).ok());
    let (Some((mut salted, body)), Some(value)) = (parts, value) else { return false };
    let size = body.len();
    salted.extend_from_slice(&body);
    value == format!(r#"{{"sha256":"{}","size":{size}}}"#, Hash::of(&salted))
}
