//! From verified claims to a caller: times, kind of token, and the issuer's mapping.

use ledger::Hash;
use serde_json::{Map, Value};

use crate::caller::{Actor, Principal, PrincipalKind, RunName};
use crate::refused::Reason;
use crate::scope::Scope;
use crate::settings::{Issuer, KindRule, TokenType};

/// Longest name of a principal or group, in bytes.
const NAME_BYTES: usize = 256;

/// Most groups of a principal.
pub(crate) const GROUPS: usize = 1024;

/// Deepest chain of actors.
const ACTORS: usize = 8;

/// A token whose signature held, read by its issuer's settings.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) principal: Principal,
    pub(crate) groups: Vec<String>,
    pub(crate) run: RunName,
    pub(crate) scope: Scope,
    pub(crate) actors: Vec<Actor>,
    pub(crate) client: Option<String>,
    pub(crate) times: Times,
    pub(crate) audience: Vec<String>,
    /// Thumbprint of the key that it is bound to.
    pub(crate) bound: Option<String>,
}

/// When a token counts, in seconds since the Unix epoch; the issuer's skew is in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) from: u64,
    pub(crate) until: u64,
}

impl Times {
    /// Reads `exp`, `nbf` and `iat` (RFC 7519 §4.1).
    pub(crate) fn read(claims: &Map<String, Value>, skew: u64, now: u64) -> Result<Times, Reason> {
        let expires = moment(claims, "exp")?.ok_or(Reason::Claim("exp"))?;
        let from = moment(claims, "nbf")?.unwrap_or_default().saturating_sub(skew);
        if moment(claims, "iat")?.is_some_and(|issued| issued > now.saturating_add(skew)) {
            return Err(Reason::IssuedInFuture);
        }
        let times = Times { from, until: expires.saturating_add(skew) };
        times.check(now).map(|()| times)
    }

    pub(crate) fn check(&self, now: u64) -> Result<(), Reason> {
        if now >= self.until {
            return Err(Reason::Expired);
        }
        if now < self.from { Err(Reason::NotYet) } else { Ok(()) }
    }
}

/// Reads a token of a configured issuer.
pub(crate) fn read(
    claims: &Map<String, Value>,
    kind: Option<&str>,
    issuer: &Issuer,
    now: u64,
) -> Result<Read, Reason> {
    check_kind(claims, kind, issuer)?;
    map(claims, issuer, now)
}

/// Reads verified claims by the issuer's mapping, whatever kind of token they are of.
pub(crate) fn map(claims: &Map<String, Value>, issuer: &Issuer, now: u64) -> Result<Read, Reason> {
    let times = Times::read(claims, issuer.skew.as_secs(), now)?;
    let client = client(claims)?;
    let principal = principal(claims, client.as_deref(), issuer)?;
    Ok(Read {
        run: run_name(claims, &principal, client.as_deref())?,
        groups: groups(claims, issuer)?,
        scope: scope(claims, issuer)?,
        actors: actors(claims, &issuer.url)?,
        audience: audience(claims)?,
        bound: bound(claims)?,
        principal,
        client,
        times,
    })
}

/// Refuses what is no access token, by header and by claims.
fn check_kind(claims: &Map<String, Value>, kind: Option<&str>, issuer: &Issuer) -> Result<(), Reason> {
    let kind = match kind {
        None => TokenType::Absent,
        Some("jwt") => TokenType::Jwt,
        Some("at+jwt") => TokenType::AccessToken,
        Some(_) => return Err(Reason::Type),
    };
    if !issuer.types.contains(&kind) {
        return Err(Reason::Type);
    }
    if kind == TokenType::AccessToken {
        return full_access_token(claims);
    }
    let says = |name: &str, values: &[&str]| {
        let value = claims.get(name).and_then(Value::as_str);
        value.is_some_and(|value| values.contains(&value))
    };
    // What only ID and logout tokens carry (OpenID Connect Core §2, Back-Channel Logout §2.4); `nonce` alone is also in
    // access tokens of older providers, which then have a scope.
    let mark = ["at_hash", "c_hash", "s_hash", "events"].iter().any(|name| claims.contains_key(*name));
    let scoped = claims.contains_key("scope") || claims.contains_key("scp");
    let foreign = mark
        || (claims.contains_key("nonce") && !scoped)
        || says("typ", &["ID", "Refresh", "Offline", "Logout"])
        || says("token_use", &["id", "refresh"]);
    if foreign { Err(Reason::NotAccessToken) } else { Ok(()) }
}

/// RFC 9068 §2.2: what a token that calls itself `at+jwt` must have. `azp` stands for `client_id` with some providers.
fn full_access_token(claims: &Map<String, Value>) -> Result<(), Reason> {
    for name in ["exp", "aud", "sub", "iat", "jti"] {
        if !claims.contains_key(name) {
            return Err(Reason::Claim(name));
        }
    }
    let client = claims.contains_key("client_id") || claims.contains_key("azp");
    if client { Ok(()) } else { Err(Reason::Claim("client_id")) }
}

fn principal(
    claims: &Map<String, Value>,
    client: Option<&str>,
    issuer: &Issuer,
) -> Result<Principal, Reason> {
    let kind = principal_kind(claims, client, &issuer.kind)?;
    let claim = issuer.principal_claim.as_str();
    let named = find(claims, claim).and_then(Value::as_str).and_then(name);
    // A client for itself has no e-mail address: its `sub` names it.
    let id = match (named, kind) {
        (Some(id), _) => id,
        (None, PrincipalKind::Service) if claim != "sub" => {
            claims.get("sub").and_then(Value::as_str).and_then(name).ok_or(Reason::Claim("sub"))?
        }
        (None, _) => return Err(Reason::PrincipalClaim),
    };
    if claim == "email" && claims.get("email_verified").is_some_and(|verified| !is_true(verified)) {
        return Err(Reason::Unverified);
    }
    Ok(Principal { kind, id, issuer: issuer.url.clone() })
}

fn principal_kind(
    claims: &Map<String, Value>,
    client: Option<&str>,
    rule: &KindRule,
) -> Result<PrincipalKind, Reason> {
    let says = |name: &str, value: &str| find(claims, name).and_then(Value::as_str) == Some(value);
    let is_service = match rule {
        KindRule::Users => false,
        KindRule::Services => true,
        KindRule::Claim { name, value } => says(name, value),
        KindRule::Detect => {
            let subject = text(claims, "sub")?;
            let itself = subject.is_some() && subject == client;
            itself || says("idtyp", "app") || says("gty", "client-credentials")
        }
    };
    Ok(if is_service { PrincipalKind::Service } else { PrincipalKind::User })
}

fn client(claims: &Map<String, Value>) -> Result<Option<String>, Reason> {
    let client = text(claims, "client_id")?.or(text(claims, "azp")?);
    match client {
        None => Ok(None),
        Some(client) => name(client).map(Some).ok_or(Reason::Claim("client_id")),
    }
}

fn run_name(
    claims: &Map<String, Value>,
    principal: &Principal,
    client: Option<&str>,
) -> Result<RunName, Reason> {
    let digest = |of: &str, value: &str| {
        let mut text = String::new();
        for part in [of, &principal.issuer, &principal.id, client.unwrap_or_default(), value] {
            text.push_str(&format!("{}:{part}", part.len()));
        }
        Hash::of(text.as_bytes())
    };
    // A login outlives its tokens, which are renewed every few minutes.
    if let Some(sid) = text(claims, "sid")?.filter(|sid| !sid.is_empty()) {
        return Ok(RunName::Login(digest("sid", sid)));
    }
    let id = text(claims, "jti")?.filter(|id| !id.is_empty());
    Ok(id.map_or(RunName::Unnamed, |id| RunName::Token(digest("jti", id))))
}

fn groups(claims: &Map<String, Value>, issuer: &Issuer) -> Result<Vec<String>, Reason> {
    let Some(claim) = &issuer.groups_claim else { return Ok(Vec::new()) };
    let named = |name: &Value| name.as_str().and_then(self::name).ok_or(Reason::GroupsClaim);
    let groups: Vec<String> = match find(claims, claim) {
        None => {
            // A policy that forbids something to a group must not be escaped by being in very many.
            let elsewhere = find(claims, "_claim_names").and_then(Value::as_object);
            if elsewhere.is_some_and(|names| names.contains_key(claim)) || claims.contains_key("hasgroups") {
                return Err(Reason::GroupsElsewhere);
            }
            Vec::new()
        }
        Some(Value::Array(list)) => list.iter().map(named).collect::<Result<_, _>>()?,
        Some(Value::String(words)) => {
            let words = words.split_ascii_whitespace().map(|word| name(word).ok_or(Reason::GroupsClaim));
            words.collect::<Result<_, _>>()?
        }
        Some(_) => return Err(Reason::GroupsClaim),
    };
    if groups.len() > GROUPS { Err(Reason::GroupsClaim) } else { Ok(groups) }
}

fn scope(claims: &Map<String, Value>, issuer: &Issuer) -> Result<Scope, Reason> {
    let Some(prefix) = &issuer.scope_prefix else { return Ok(Scope::Unlimited) };
    let words: Vec<&str> = match claims.get("scope").or_else(|| claims.get("scp")) {
        None => Vec::new(),
        Some(Value::String(words)) => words.split_ascii_whitespace().collect(),
        Some(Value::Array(list)) => {
            list.iter().map(|word| word.as_str().ok_or(Reason::Claim("scope"))).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(Reason::Claim("scope")),
    };
    let ours: Vec<&str> = words.into_iter().filter_map(|word| word.strip_prefix(prefix.as_str())).collect();
    Scope::parse(&ours.join(" ")).map_err(|_| Reason::Claim("scope"))
}

/// The chain of `act` (RFC 8693 §4.1), the nearest actor first.
pub(crate) fn actors(claims: &Map<String, Value>, issuer: &str) -> Result<Vec<Actor>, Reason> {
    let mut chain = Vec::new();
    let mut next = claims.get("act");
    while let Some(value) = next {
        let actor = value.as_object().filter(|_| chain.len() < ACTORS).ok_or(Reason::Claim("act"))?;
        let sub = text(actor, "sub")?.and_then(name).ok_or(Reason::Claim("act"))?;
        let iss = text(actor, "iss")?.map_or(Some(issuer.to_owned()), name).ok_or(Reason::Claim("act"))?;
        chain.push(Actor { sub, iss });
        next = actor.get("act");
    }
    Ok(chain)
}

/// `aud`: a text or a list of texts, at least one.
pub(crate) fn audience(claims: &Map<String, Value>) -> Result<Vec<String>, Reason> {
    let audience: Option<Vec<String>> = match claims.get("aud") {
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(list)) => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    audience.filter(|list| !list.is_empty()).ok_or(Reason::Claim("aud"))
}

/// The key that the token is bound to (RFC 9449 §6.1). What is bound in a way that cannot be checked does not count.
pub(crate) fn bound(claims: &Map<String, Value>) -> Result<Option<String>, Reason> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(None) };
    let confirmation = confirmation.as_object().ok_or(Reason::Confirmation)?;
    let thumbprint = confirmation.get("jkt").and_then(Value::as_str).filter(|_| confirmation.len() == 1);
    thumbprint.map(|thumbprint| Some(thumbprint.to_owned())).ok_or(Reason::Confirmation)
}

/// A claim that is a text, if it is there.
pub(crate) fn text<'a>(
    claims: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, Reason> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(Reason::Claim(name)),
    }
}

/// A time in whole seconds (RFC 7519 §2, NumericDate); fractions are cut off.
pub(crate) fn moment(claims: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, Reason> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_u64().filter(|seconds| *seconds < 1 << 53);
    let cut = || {
        let seconds = value.as_f64().filter(|seconds| (0.0..9e15).contains(seconds))?;
        format!("{:.0}", seconds.floor()).parse().ok()
    };
    whole.or_else(cut).map(Some).ok_or(Reason::Claim(name))
}

/// A claim by its name, which may have dots, or by its path.
fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut steps = path.split('.');
    let first = claims.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.get(step))
}

/// A name as it may stand in a record: not empty, not long, nothing that is not shown.
pub(crate) fn name(text: &str) -> Option<String> {
    let shown = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let sound = !text.trim().is_empty() && text.len() <= NAME_BYTES && text.chars().all(shown);
    sound.then(|| text.to_owned())
}

fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true) || value.as_str() == Some("true")
}
