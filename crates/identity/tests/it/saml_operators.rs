//! Operators who log in with a SAML provider: one right way through, and every wrong turn, each of them noted.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::operators::{LoginRefused, Operators, Role, RoleMap};
use identity::{RunKey, Secret, Verifier};
use store::state::{Action, State};

use crate::logins::form;
use crate::made::{NOW, Stage, logged};
use crate::provider::Answer;
use crate::saml_made::{
    CANARY, Door, ENTITY, How, KEY, OTHER, OURS, PLACE, assertion, good, named, response, signed,
};

const ROOT: &str = "https://ops.example/login";
const CONSOLE: &str = "https://ops.example/login/saml/metadata";
const CONSOLE_PLACE: &str = "https://ops.example/login/saml/acs";

/// A gateway whose callers and operators log in with one provider.
struct Desk {
    door: Door,
    operators: Operators,
}

/// A trip: what is to be brought back, the request's id, and the browser's secret.
struct Trip {
    state: String,
    id: String,
    browser: String,
}

impl Desk {
    async fn open() -> Desk {
        Desk::of(Door::open().await)
    }

    fn of(door: Door) -> Desk {
        let mut roles = RoleMap::default();
        roles.give(Role::Auditor, vec!["on call".to_owned()]);
        let operators = Operators::new(Arc::clone(&door.stage.state), roles);
        let saml = door.stage.settings.saml.clone().unwrap();
        let operators = operators.with_saml(&door.stage.verifier, &saml, ROOT).unwrap();
        Desk { door, operators }
    }

    async fn depart(&self) -> Trip {
        let (url, browser) = self.operators.depart(NOW).await.unwrap();
        let (place, query) = url.split_once('?').unwrap();
        assert_eq!(place, "https://idp.example/login");
        let query: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let packed = STANDARD.decode(&query["SAMLRequest"]).unwrap();
        let request = String::from_utf8(saml_rs::binding::deflate_raw_decode(&packed).unwrap()).unwrap();
        assert!(request.contains(&format!("<saml:Issuer>{CONSOLE}</saml:Issuer>")), "{request}");
        let id = request.split(" ID=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        Trip { state: query["RelayState"].clone(), id, browser: browser.reveal().to_owned() }
    }

    /// A browser brings a document, without its cookie.
    async fn bring(&self, state: &str, document: &str) -> Result<Secret, LoginRefused> {
        let response = STANDARD.encode(document);
        let body = form([("SAMLResponse", &*response), ("RelayState", state)]);
        self.operators.assertion(body.as_bytes(), NOW).await
    }

    /// The whole way of a document that counts.
    async fn enter(&self, document: impl Fn(&str) -> String) -> Result<Secret, LoginRefused> {
        let trip = self.depart().await;
        let ticket = self.bring(&trip.state, &document(&trip.id)).await?;
        self.operators.arrived(ticket.reveal(), Some(&trip.browser), NOW).await
    }

    fn noted(&self) -> Vec<String> {
        let line = |action: Action| {
            let Action { who, what, subject, reason, outcome, .. } = action;
            format!("{who} {what} {subject} {}: {}", outcome.as_str(), reason.unwrap_or_default())
        };
        self.door.stage.state.unrecorded(1000).unwrap().into_iter().map(line).collect()
    }
}

/// A text for the console instead of the gateway.
fn ours(text: &str) -> String {
    text.replace(OURS, CONSOLE).replace(PLACE, CONSOLE_PLACE)
}

/// An assertion for the console, signed after it was changed.
fn says(id: &str, from: &str, to: &str) -> String {
    let text = ours(&assertion(id));
    let changed = text.replace(from, to);
    assert!(from.is_empty() || text != changed, "{from}");
    around(id, &signed(&changed, &KEY, &How::default()))
}

/// A response to the console around that.
fn around(id: &str, within: &str) -> String {
    ours(&response(id, "@")).replace('@', within)
}

fn right(id: &str) -> String {
    says(id, "", "")
}

#[tokio::test]
async fn who_has_a_role_gets_a_session() {
    let desk = Desk::open().await;
    let metadata = desk.operators.saml_metadata().unwrap();
    assert!(metadata.contains(CONSOLE) && metadata.contains(CONSOLE_PLACE), "{metadata}");
    let session = desk.enter(right).await.unwrap();
    let alice = desk.operators.operator(session.reveal(), NOW).unwrap().unwrap();
    let identity = format!("user:{ENTITY}:alice");
    assert_eq!((&alice.identity, alice.roles.as_slice()), (&identity, &[Role::Auditor][..]));
    assert_eq!(desk.noted(), [format!("{identity} operators.login {identity} done: ")]);

    let ends = |id: &str| {
        let ends = "SessionIndex=\"s-1\" SessionNotOnOrAfter=\"2027-01-15T08:20:00Z\"";
        says(id, "SessionIndex=\"s-1\"", ends)
    };
    let session = desk.enter(ends).await.unwrap();
    assert!(desk.operators.operator(session.reveal(), NOW + 1199).unwrap().is_some());
    assert!(desk.operators.operator(session.reveal(), NOW + 1200).unwrap().is_none(), "as the provider's");
}

#[tokio::test]
async fn responses_that_do_not_count() {
    let desk = Desk::open().await;
    type Document = fn(&str) -> String;
    let cases: Vec<(&str, Document, &str)> = vec![
        ("for the callers' place", good, "for another place"),
        (
            "for the callers' place, led to the console's",
            |id| good(id).replacen(PLACE, CONSOLE_PLACE, 1),
            "for another recipient",
        ),
        ("another audience", |id| says(id, CONSOLE, OURS), "for another audience"),
        ("another recipient", |id| says(id, CONSOLE_PLACE, PLACE), "for another recipient"),
        (
            "no audience",
            |id| {
                says(
                    id,
                    &format!(
                        "<saml:AudienceRestriction><saml:Audience>{CONSOLE}</saml:Audience></saml:AudienceRestriction>"
                    ),
                    "",
                )
            },
            "for another audience",
        ),
        ("unsolicited", |id| right(id).replace(&format!(" InResponseTo=\"{id}\""), ""), "does not hold"),
        (
            "unsolicited, signed",
            |id| {
                says(id, &format!(" InResponseTo=\"{id}\""), "")
                    .replace(&format!(" InResponseTo=\"{id}\""), "")
            },
            "answers no request",
        ),
        ("of another request", |_| right("_other"), "answers no request"),
        ("not signed", |id| ours(&response(id, &assertion(id))), "neither the response nor"),
        (
            "signed by somebody else",
            |id| around(id, &signed(&ours(&assertion(id)), &OTHER, &How::default())),
            "does not hold",
        ),
        ("changed on its way", |id| right(id).replace(">alice<", ">root<"), "does not hold"),
        ("another group on its way", |id| right(id).replace(">eng<", ">staff<"), "does not hold"),
        ("another issuer", |id| says(id, ENTITY, "https://evil.example"), "has another issuer"),
        ("too old", |id| says(id, "2027-01-15T08:05:00Z", "2027-01-15T07:55:00Z"), "not valid any more"),
        ("of the future", |id| says(id, "2027-01-15T07:59:00Z", "2027-01-15T08:02:00Z"), "not valid yet"),
        (
            "a transient name",
            |id| says(id, "1.1:nameid-format:unspecified", "2.0:nameid-format:transient"),
            "transient",
        ),
        (
            "a name of the gateway",
            |id| says(id, "unspecified\">", &format!("unspecified\" SPNameQualifier=\"{OURS}\">")),
            "names the person",
        ),
        (
            "two assertions",
            |id| right(id).replace("</samlp:Response>", &format!("{}</samlp:Response>", assertion("_b"))),
            "one assertion",
        ),
        ("a comment", |id| right(id).replace(">alice<", ">al<!-- -->ice<"), "a comment"),
        (
            "no success",
            |id| right(id).replace("status:Success", "status:Responder"),
            "did not log the person in",
        ),
        ("no XML", |_| CANARY.to_owned(), "not well-formed"),
        ("empty", |_| String::new(), "not that of a SAML response"),
    ];
    let count = cases.len();
    for (at, (case, document, expected)) in cases.into_iter().enumerate() {
        let trip = desk.depart().await;
        let text = document(&trip.id);
        // Of one second five are noted.
        let later = NOW + u64::try_from(at).unwrap();
        let body = form([("SAMLResponse", &*STANDARD.encode(&text)), ("RelayState", &trip.state)]);
        let (refused, log) = logged(desk.operators.assertion(body.as_bytes(), later)).await;
        assert!(matches!(refused, Err(LoginRefused::NotVouched(_))), "{case}: {refused:?}");
        let noted = desk.noted().pop().unwrap();
        assert!(
            noted.starts_with("nobody operators.login a login with the provider refused"),
            "{case}: {noted}"
        );
        assert!(noted.contains(expected), "{case}: {noted}");
        for secret in [CANARY, &trip.browser, &trip.state, "evil.example"] {
            assert!(!format!("{noted}{log}").contains(secret), "{case}: {secret} in {noted}{log}");
        }
        let again = desk.bring(&trip.state, &right(&trip.id)).await;
        assert!(matches!(again, Err(LoginRefused::NotVouched(_))), "{case}: a state holds once");
    }
    assert!(
        desk.noted().len() as u64 + desk.operators.unnoted() == 2 * count as u64,
        "each is noted or counted"
    );
}

#[tokio::test]
async fn a_response_leads_nobody_in_but_the_browser_that_set_out() {
    let desk = Desk::open().await;
    let theirs = desk.depart().await;
    for (case, browser, later) in [
        ("another browser", Some(theirs.browser.as_str()), 0),
        ("a browser that set out nowhere", None, 0),
        ("an empty cookie", Some(""), 0),
        ("too late", Some("own"), 60),
    ] {
        let trip = desk.depart().await;
        let ticket = desk.bring(&trip.state, &right(&trip.id)).await.unwrap();
        let browser = if browser == Some("own") { Some(trip.browser.as_str()) } else { browser };
        let refused = desk.operators.arrived(ticket.reveal(), browser, NOW + later).await;
        assert!(matches!(refused, Err(LoginRefused::NotVouched(_))), "{case}: {refused:?}");
        let again = desk.operators.arrived(ticket.reveal(), Some(&trip.browser), NOW).await;
        assert!(matches!(again, Err(LoginRefused::NotVouched(_))), "{case}: a ticket holds once");
    }
    for (case, state) in [
        ("nobody asked", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("a place", "https://evil.example"),
        ("none", ""),
    ] {
        let trip = desk.depart().await;
        let refused = desk.bring(state, &right(&trip.id)).await;
        assert!(matches!(refused, Err(LoginRefused::NotVouched(_))), "{case}: {refused:?}");
    }
    let (mine, other) = (desk.depart().await, desk.depart().await);
    let crossed = desk.bring(&other.state, &right(&mine.id)).await;
    assert!(matches!(crossed, Err(LoginRefused::NotVouched(_))), "another trip's");
    let body = form([("SAMLResponse", &*STANDARD.encode(right(&mine.id))), ("RelayState", &mine.state)]);
    let late = desk.operators.assertion(body.as_bytes(), NOW + 600).await;
    assert!(matches!(late, Err(LoginRefused::NotVouched(_))), "ten minutes later");
    let trip = desk.depart().await;
    let state = desk.operators.arrived(&trip.state, Some(&trip.browser), NOW).await;
    assert!(matches!(state, Err(LoginRefused::NotVouched(_))), "a state is no ticket");
    // What comes as a query, with the cookie, is no response either: not for a provider of the other protocol, and not this way.
    let query = form([
        ("state", &*trip.state),
        ("RelayState", &trip.state),
        ("SAMLResponse", &STANDARD.encode(right(&trip.id))),
    ]);
    let callback = desk.operators.arrive(&query, Some(&trip.browser), NOW).await;
    assert!(matches!(callback, Err(LoginRefused::NotVouched(_))), "by redirect");
    assert!(desk.noted().iter().all(|line| !line.contains("done")), "nobody came in: {:?}", desk.noted());
}

#[tokio::test]
async fn callers_and_operators_are_two_services_of_one_provider() {
    let desk = Desk::open().await;
    let away = desk.door.away().await;
    let landing = desk.door.bring(&away, &right(&away.id)).await;
    assert!(landing.refused.is_some(), "the console's at the gateway");
    let trip = desk.depart().await;
    let elsewhere = desk.bring(&away.state, &good(&away.id)).await;
    assert!(matches!(elsewhere, Err(LoginRefused::NotVouched(_))), "the gateway's at the console");
    let body = form([("SAMLResponse", &*STANDARD.encode(right(&trip.id))), ("RelayState", &trip.state)]);
    let landing = desk.door.logins.assertion(body.as_bytes(), NOW).await;
    assert!(landing.refused.is_some(), "a trip of the console's at the gateway");
    let away = desk.door.away().await;
    let landing = desk.door.bring(&away, &good(&away.id)).await;
    let (_, query) = crate::logins::redirected(landing.page);
    let ticket = desk.operators.arrived(&query["ticket"], Some(&away.cookie), NOW).await;
    assert!(matches!(ticket, Err(LoginRefused::NotVouched(_))), "the gateway's ticket at the console");
}

#[tokio::test]
async fn an_assertion_counts_once_also_after_a_restart() {
    let desk = Desk::open().await;
    let trip = desk.depart().await;
    let first = right(&trip.id);
    desk.bring(&trip.state, &first).await.unwrap();
    let reused = |id: &str| says(id, &named(id), &named(&trip.id));
    let second = desk.depart().await;
    let replayed = desk.bring(&second.state, &reused(&second.id)).await;
    assert!(matches!(replayed, Err(LoginRefused::NotVouched(_))), "{replayed:?}");
    assert!(desk.noted().pop().unwrap().contains("was used before"));

    let Door { stage, .. } = desk.door;
    let state = Arc::new(State::open(stage.folder.path()).unwrap());
    let key = RunKey::open(stage.folder.path()).unwrap();
    let (url, runs) = (&stage.settings.public_url, stage.settings.runs.clone());
    let mint = identity::Mint::new(Arc::clone(&state), key, url, runs);
    let verifier = Verifier::new(&stage.settings, Arc::clone(&state), Arc::new(mint)).unwrap();
    let desk = Desk::of(Door::of(Stage { state, verifier: Arc::new(verifier), ..stage }).await);
    let third = desk.depart().await;
    let replayed = desk.bring(&third.state, &reused(&third.id)).await;
    assert!(matches!(replayed, Err(LoginRefused::NotVouched(_))), "{replayed:?}");
    desk.enter(right).await.unwrap();
}

#[tokio::test]
async fn who_has_no_role_or_is_disabled_gets_no_session() {
    let desk = Desk::open().await;
    type Document = fn(&str) -> String;
    let none: [(&str, Document); 4] = [
        ("another group", |id| says(id, ">on call<", ">sales<")),
        ("in another case", |id| says(id, ">on call<", ">On call<")),
        ("no groups", |id| says(id, "Name=\"groups\"", "Name=\"teams\"")),
        ("groups in other words", |id| {
            says(id, "Name=\"groups\"", "FriendlyName=\"groups\" Name=\"Groups\"")
        }),
    ];
    for (case, document) in none {
        let refused = desk.enter(document).await;
        assert!(matches!(refused, Err(LoginRefused::NoRole)), "{case}: {refused:?}");
    }
    let session = desk.enter(right).await.unwrap();
    let identity = format!("user:{ENTITY}:alice");
    identity::operators::disable(&desk.door.stage.state, &identity, NOW).unwrap();
    assert!(desk.operators.operator(session.reveal(), NOW).unwrap().is_none(), "the session is over");
    assert!(matches!(desk.enter(right).await, Err(LoginRefused::Disabled)));
    let noted = desk.noted();
    let refused = noted
        .iter()
        .filter(|line| line.starts_with(&format!("{identity} operators.login {identity} refused")));
    assert_eq!(refused.count() as u64 + desk.operators.unnoted(), 5, "{noted:?}");
}

#[tokio::test]
async fn while_the_metadata_cannot_be_had_nobody_sets_out() {
    let desk = Desk::open().await;
    desk.door.stage.idp.answers("/saml", Answer::Status(503));
    let refused = desk.operators.depart(NOW).await;
    assert!(matches!(refused, Err(LoginRefused::NotVouched("the login cannot go on now"))), "{refused:?}");
    let good = crate::saml_made::metadata(&[&crate::saml_made::certificate(&KEY)]);
    desk.door.stage.idp.answers("/saml", Answer::Json(good));
    assert!(desk.operators.depart(NOW + 10).await.is_ok(), "well again");
}

#[tokio::test]
async fn a_provider_is_named_like_no_other() {
    let desk = Desk::open().await;
    let stage = &desk.door.stage;
    for entity in [stage.idp.url.as_str(), "https://gate.example", ""] {
        let mut saml = stage.settings.saml.clone().unwrap();
        entity.clone_into(&mut saml.entity_id);
        let operators = Operators::new(Arc::clone(&stage.state), RoleMap::default());
        assert!(operators.with_saml(&stage.verifier, &saml, ROOT).is_err(), "{entity}");
    }
    let none = Operators::new(Arc::clone(&stage.state), RoleMap::default());
    assert!(none.saml_metadata().is_none() && none.assertion(b"", NOW).await.is_err());
    assert!(none.arrived("x", Some("x"), NOW).await.is_err());
}
