//! The leaf: one record's bytes in the tree. No readable personal data: random ids, links, salted digests, digests of
//! ciphertext. The stored bytes are hashed; whoever verifies never writes them anew.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::{CallId, Hash, KekId, RunId, Seq};
use crate::json::Object;

/// Largest leaf: a tlog-tiles entry has a 16-bit length.
pub const LEAF_BYTES: usize = 65_535;

/// Version of the leaf format.
pub const VERSION: u32 = 1;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word in the leaf.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }
    };
}

words!(
    /// What a record tells.
    Kind {
        /// A gateway began to write.
        Start = "start",
        /// A request is about to be forwarded.
        Intent = "intent",
        /// A call waits for a human.
        ApprovalReq = "approval.req",
        /// A human said yes.
        ApprovalGrant = "approval.grant",
        /// A human said no.
        ApprovalDeny = "approval.deny",
        /// How a request ended.
        Outcome = "outcome",
        /// A request whose end nobody saw: it may have been carried out.
        OutcomeUnknown = "outcome.unknown",
        /// A message that was not forwarded.
        Refused = "refused",
        /// A message that needs no answer.
        Note = "note",
        /// A run began.
        SessionOpen = "session.open",
        /// A run ended.
        SessionClose = "session.close",
        /// The gateway lives; with counters.
        Heartbeat = "heartbeat",
        /// A key-encryption key was made.
        KeyCreated = "key.created",
        /// A key-encryption key was destroyed, and with it what it sealed.
        KeyDestroyed = "key.destroyed",
        /// A legal hold was set.
        HoldSet = "hold.set",
        /// A legal hold was released.
        HoldRelease = "hold.release",
        /// Somebody read payloads.
        Access = "access",
        /// The configuration in force.
        Config = "config",
        /// Digests of an exported index.
        IndexManifest = "index.manifest",
        /// A log was closed for good.
        Seal = "seal",
    }
);

words!(
    /// What was decided.
    Verdict {
        /// It may pass.
        Allow = "allow",
        /// It may not.
        Deny = "deny",
        /// A human must say.
        Hold = "hold",
    }
);

words!(
    /// How a request ended.
    Status {
        /// With a result.
        Ok = "ok",
        /// With a result that says the tool failed.
        ToolError = "tool_error",
        /// With a JSON-RPC or HTTP error.
        Error = "error",
        /// With a request for another round.
        InputRequired = "input_required",
        /// Taken, without an answer in this exchange.
        Accepted = "accepted",
        /// Cancelled by who asked.
        Cancelled = "cancelled",
        /// Who asked has gone.
        Disconnected = "disconnected",
        /// No answer in time.
        Timeout = "timeout",
        /// The server could not be reached or broke off.
        UpstreamFailed = "upstream_failed",
        /// An answer came and was not passed on.
        Withheld = "withheld",
        /// Nobody saw the end.
        Unknown = "unknown",
    }
);

/// A fact of a record that is nobody's personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fact {
    /// A number.
    Int(i64),
    /// A short word.
    Text(String),
}

/// A record's place in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLink {
    /// The run.
    pub run: RunId,
    /// The record's number within the run, from 0 without gaps.
    pub number: u64,
    /// Leaf hash of the run's record before; `None` at number 0.
    pub previous: Option<Hash>,
}

/// A record that another one refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its leaf hash.
    #[serde(rename = "h")]
    pub hash: Hash,
    /// Its place.
    #[serde(rename = "i")]
    pub seq: Seq,
    /// Its log.
    #[serde(rename = "o")]
    pub origin: String,
}

/// A sealed payload outside the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// SHA-256 of the sealed bytes.
    #[serde(rename = "d")]
    pub digest: Hash,
    /// The key that opens it.
    pub kek: KekId,
    /// Length of the sealed bytes.
    #[serde(rename = "z")]
    pub size: u64,
}

/// A record as it stands in the tree. `docs/formats/record.md` has each member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// `k`.
    pub kind: Kind,
    /// `t`: microseconds since the Unix epoch; never falls within a log.
    pub time_us: u64,
    /// `c`: the call it belongs to.
    pub call: Option<CallId>,
    /// `n`: number of the round within the call, from 0.
    pub round: Option<u32>,
    /// `p`: the call in whose course a server asked.
    pub parent: Option<CallId>,
    /// `s`, `sn`, `sp`.
    pub link: Option<RunLink>,
    /// `r`.
    pub reference: Option<Reference>,
    /// `dec`.
    pub verdict: Option<Verdict>,
    /// `st`.
    pub status: Option<Status>,
    /// `pol`: digest of the policy that decided.
    pub policy: Option<Hash>,
    /// `cfg`: digest of the configuration.
    pub config: Option<Hash>,
    /// `b`.
    pub blobs: Vec<BlobRef>,
    /// `_sd`: sorted digests of salted disclosures (RFC 9901).
    pub commitments: Vec<Hash>,
    /// `x`.
    pub facts: BTreeMap<String, Fact>,
}

/// Why bytes are no leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not the JSON of a leaf.
    #[error("not a leaf: {0}")]
    Form(String),
    /// A version that this program does not know.
    #[error("a leaf of version {0}, which this program does not know; use a newer one")]
    Version(u32),
    /// Beyond [`LEAF_BYTES`].
    #[error("a leaf of {0} bytes, more than a tile can hold")]
    TooLong(usize),
}

impl Leaf {
    /// A leaf of a kind and time, and nothing else.
    pub fn new(kind: Kind, time_us: u64) -> Leaf {
        Leaf {
            kind,
            time_us,
            call: None,
            round: None,
            parent: None,
            link: None,
            reference: None,
            verdict: None,
            status: None,
            policy: None,
            config: None,
            blobs: Vec::new(),
            commitments: Vec::new(),
            facts: BTreeMap::new(),
        }
    }

    /// The bytes that are stored and hashed.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = String::with_capacity(256 + self.commitments.len() * 46 + self.blobs.len() * 130);
        let mut leaf = Object::begin(&mut out);
        if !self.commitments.is_empty() {
            leaf.with("_sd", |out| push_list(out, &self.commitments, |out, hash| push_plain(out, hash)));
            leaf.plain("_sd_alg", "sha-256");
        }
        if !self.blobs.is_empty() {
            leaf.with("b", |out| push_list(out, &self.blobs, push_blob));
        }
        if let Some(call) = self.call {
            leaf.plain("c", call);
        }
        if let Some(config) = self.config {
            leaf.plain("cfg", config);
        }
        if let Some(verdict) = self.verdict {
            leaf.plain("dec", verdict.as_str());
        }
        leaf.plain("k", self.kind.as_str());
        if let Some(round) = self.round {
            leaf.number("n", round);
        }
        if let Some(parent) = self.parent {
            leaf.plain("p", parent);
        }
        if let Some(policy) = self.policy {
            leaf.plain("pol", policy);
        }
        if let Some(reference) = &self.reference {
            leaf.with("r", |out| push_reference(out, reference));
        }
        if let Some(link) = &self.link {
            leaf.plain("s", link.run);
            leaf.number("sn", link.number);
            if let Some(previous) = link.previous {
                leaf.plain("sp", previous);
            }
        }
        if let Some(status) = self.status {
            leaf.plain("st", status.as_str());
        }
        leaf.number("t", self.time_us);
        leaf.number("v", VERSION);
        if !self.facts.is_empty() {
            leaf.with("x", |out| push_facts(out, &self.facts));
        }
        leaf.end();
        out.into_bytes()
    }

    /// Reads a leaf. Members that this version does not know are passed over: their bytes are hashed all the same.
    ///
    /// # Errors
    /// See [`LeafError`].
    pub fn decode(bytes: &[u8]) -> Result<Leaf, LeafError> {
        if bytes.len() > LEAF_BYTES {
            return Err(LeafError::TooLong(bytes.len()));
        }
        // Serde would take an array of the members' values as well.
        if bytes.first() != Some(&b'{') {
            return Err(LeafError::Form("expected an object".to_owned()));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|error| LeafError::Form(error.to_string()))?;
        if wire.v != VERSION {
            return Err(LeafError::Version(wire.v));
        }
        if wire.algorithm.is_some_and(|algorithm| algorithm != "sha-256") {
            return Err(LeafError::Form("`_sd_alg` is not sha-256".to_owned()));
        }
        let link = match (wire.s, wire.sn, wire.sp) {
            (Some(run), Some(number), previous) => Some(RunLink { run, number, previous }),
            (None, None, None) => None,
            _ => return Err(LeafError::Form("`s`, `sn` and `sp` go together".to_owned())),
        };
        Ok(Leaf {
            kind: wire.k,
            time_us: wire.t,
            call: wire.c,
            round: wire.n,
            parent: wire.p,
            link,
            reference: wire.r,
            verdict: wire.dec,
            status: wire.st,
            policy: wire.pol,
            config: wire.cfg,
            blobs: wire.b,
            commitments: wire.commitments,
            facts: wire.x,
        })
    }
}

/// Leaf hash of RFC 6962 §2.1: SHA-256 of a zero byte and the leaf.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(leaf);
    Hash::from_digest(&context.finish())
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default, rename = "_sd")]
    commitments: Vec<Hash>,
    #[serde(rename = "_sd_alg")]
    algorithm: Option<String>,
    #[serde(default)]
    b: Vec<BlobRef>,
    c: Option<CallId>,
    cfg: Option<Hash>,
    dec: Option<Verdict>,
    k: Kind,
    n: Option<u32>,
    p: Option<CallId>,
    pol: Option<Hash>,
    r: Option<Reference>,
    s: Option<RunId>,
    sn: Option<u64>,
    sp: Option<Hash>,
    st: Option<Status>,
    t: u64,
    v: u32,
    #[serde(default, deserialize_with = "facts")]
    x: BTreeMap<String, Fact>,
}

/// Reads facts, each once: readers differ on which of two of a name counts.
fn facts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Fact>, D::Error> {
    struct Facts;

    impl<'de> Visitor<'de> for Facts {
        type Value = BTreeMap<String, Fact>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object of numbers and texts")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut facts = BTreeMap::new();
            while let Some((name, fact)) = members.next_entry::<String, Fact>()? {
                if facts.insert(name, fact).is_some() {
                    return Err(de::Error::custom("duplicate member in `x`"));
                }
            }
            Ok(facts)
        }
    }

    deserializer.deserialize_map(Facts)
}

fn push_list<T>(out: &mut String, items: &[T], mut push: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push(out, item);
    }
    out.push(']');
}

fn push_plain(out: &mut String, value: impl fmt::Display) {
    use fmt::Write as _;
    // Writing to a String cannot fail.
    let _ = write!(out, "\"{value}\"");
}

fn push_blob(out: &mut String, blob: &BlobRef) {
    let mut object = Object::begin(out);
    object.plain("d", blob.digest);
    object.plain("kek", blob.kek);
    object.number("z", blob.size);
    object.end();
}

fn push_reference(out: &mut String, reference: &Reference) {
    let mut object = Object::begin(out);
    object.plain("h", reference.hash);
    object.number("i", reference.seq);
    object.text("o", &reference.origin);
    object.end();
}

fn push_facts(out: &mut String, facts: &BTreeMap<String, Fact>) {
    let mut object = Object::begin(out);
    for (name, fact) in facts {
        match fact {
            Fact::Int(number) => object.number(name, number),
            Fact::Text(text) => object.text(name, text),
        }
    }
    object.end();
}
