//! Proofs of possession (RFC 9449): that whoever presents a token holds the key it is bound to.
//!
//! A proof counts once, for one method, URL and token, for about a minute. What was seen is remembered for as long as it
//! could be presented again, in memory. What a process before this one may have seen is refused: clients make another.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use ledger::Hash;

use crate::claims::{moment, text};
use crate::jose::{self, Embedded, Jws};
use crate::refused::Reason;

/// Seconds that a proof may come from the future. As long does it take after a start until the first one counts, and longer for who
/// has a clock that is behind.
const AHEAD: u64 = 5;

/// Longest `jti`.
const ID_BYTES: usize = 256;

/// Proofs remembered per lifetime of a proof; beyond that, further ones are refused.
const REMEMBERED: usize = 100_000;

/// A proof as presented.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) proof: &'a str,
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
}

/// Judges proofs and remembers them.
#[derive(Debug)]
pub(crate) struct Proofs {
    /// Seconds that a proof may be old.
    age: u64,
    /// When this memory began, in seconds since the Unix epoch.
    pub(crate) started: u64,
    /// The same on a clock that nobody sets: a lifetime later there is nothing that a process before could have seen, whatever the
    /// other clock says.
    pub(crate) since: Instant,
    /// Locked for one look-up.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    since: u64,
    current: HashSet<Hash>,
    previous: HashSet<Hash>,
}

impl Proofs {
    pub(crate) fn new(age: u64) -> Proofs {
        Proofs { age, started: 0, since: Instant::now(), seen: Mutex::default() }
    }

    /// Checks a proof (RFC 9449 §4.3), for a token if there is one, and gives its key's thumbprint.
    pub(crate) fn check(
        &self,
        presented: Presented<'_>,
        token: Option<&str>,
        now: u64,
    ) -> Result<String, Reason> {
        let proof = Jws::parse(presented.proof, Embedded::Expected).map_err(|reason| match reason {
            Reason::ProofKey => reason,
            _ => Reason::ProofForm,
        })?;
        if proof.kind.as_deref() != Some("dpop+jwt") {
            return Err(Reason::ProofForm);
        }
        let key = proof.embedded.as_ref().ok_or(Reason::ProofKey)?;
        if !key.fits(proof.algorithm) {
            return Err(Reason::ProofKey);
        }
        if !proof.signed_by(key) {
            return Err(Reason::ProofSignature);
        }
        let claim = |name| text(&proof.claims, name).ok().flatten();
        if claim("htm") != Some(presented.method) {
            return Err(Reason::ProofMethod);
        }
        if !claim("htu").is_some_and(|url| same_place(url, presented.url)) {
            return Err(Reason::ProofUrl);
        }
        let issued = moment(&proof.claims, "iat").ok().flatten().ok_or(Reason::ProofForm)?;
        if issued.saturating_add(self.age) < now || issued > now.saturating_add(AHEAD) {
            return Err(Reason::ProofTime);
        }
        // One that was made later was not accepted by the process before, which went by the same clock.
        let lifetime = Duration::from_secs(self.age + 2 * AHEAD);
        if issued <= self.started.saturating_add(AHEAD) && self.since.elapsed() <= lifetime {
            return Err(Reason::ProofEarly);
        }
        let of_token = token.map(|token| jose::encode(Hash::of(token.as_bytes()).0));
        if of_token.is_some() && claim("ath") != of_token.as_deref() {
            return Err(Reason::ProofToken);
        }
        let id = claim("jti").filter(|id| !id.is_empty() && id.len() <= ID_BYTES).ok_or(Reason::ProofForm)?;
        let thumbprint = key.thumbprint();
        self.remember(Hash::of(format!("{thumbprint} {id}").as_bytes()), now)?;
        Ok(thumbprint)
    }

    fn remember(&self, proof: Hash, now: u64) -> Result<(), Reason> {
        let span = self.age + AHEAD + 1;
        // Nothing panics while this is locked.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= seen.since + span {
            let is_recent = now < seen.since + 2 * span;
            let current = std::mem::take(&mut seen.current);
            seen.previous = if is_recent { current } else { HashSet::new() };
            seen.since = now;
        }
        if seen.previous.contains(&proof) || seen.current.contains(&proof) {
            return Err(Reason::ProofReplayed);
        }
        if seen.current.len() >= REMEMBERED {
            return Err(Reason::Crowded);
        }
        seen.current.insert(proof);
        Ok(())
    }
}

/// Whether two URLs are the same without query and fragment (RFC 9449 §4.3, item 9), scheme and host in any case.
fn same_place(one: &str, other: &str) -> bool {
    match (place(one), place(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

fn place(url: &str) -> Option<(String, String, u16, String)> {
    let uri: Uri = url.split('#').next()?.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let port = authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, authority.host().to_ascii_lowercase(), port, uri.path().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{AHEAD, Proofs, same_place};
    use crate::refused::Reason;
    use ledger::Hash;

    #[test]
    fn which_urls_are_the_same() {
        for (one, other, same) in [
            ("https://gate.example/mcp/a", "https://gate.example/mcp/a", true),
            ("HTTPS://Gate.Example:443/mcp/a?x=1#y", "https://gate.example/mcp/a", true),
            ("https://gate.example", "https://gate.example/", true),
            ("http://gate.example/mcp/a", "https://gate.example/mcp/a", false),
            ("https://gate.example:8443/mcp/a", "https://gate.example/mcp/a", false),
            ("https://gate.example/mcp/A", "https://gate.example/mcp/a", false),
            ("https://gate.example/mcp/a/", "https://gate.example/mcp/a", false),
            ("https://gate.example@evil.example/mcp/a", "https://gate.example/mcp/a", false),
            ("/mcp/a", "https://gate.example/mcp/a", false),
        ] {
            assert_eq!(same_place(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn what_was_seen_is_remembered_for_as_long_as_it_could_come_again() {
        let proofs = Proofs::new(60);
        let one = Hash::of(b"1");
        for start in [1_000, 1_030, 1_059] {
            let proofs = Proofs::new(60);
            assert_eq!(proofs.remember(Hash::of(b"0"), 1_000), Ok(()));
            assert_eq!(proofs.remember(one, start), Ok(()));
            // Made up to `AHEAD` later than it was first seen, and accepted for 60 seconds from then.
            for later in 0..=60 + AHEAD {
                assert_eq!(
                    proofs.remember(one, start + later),
                    Err(Reason::ProofReplayed),
                    "{start} {later}"
                );
            }
        }
        assert_eq!(proofs.remember(one, 1_000), Ok(()));
        assert_eq!(proofs.remember(one, 1_000 + 3 * (60 + AHEAD)), Ok(()), "forgotten");
    }
}
