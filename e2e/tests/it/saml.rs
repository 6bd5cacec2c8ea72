//! A real SAML provider: people log in through it with an unmodified client, and what they may do is by their groups.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::gateway::{Gateway, tollbook};
use e2e::peers::{Peer, free_port, node, repository};
use serde_json::{Value, json};

use crate::callers::{printed, silent};
use crate::console::{exchange, request};
use crate::logins::{Office, Vouching, head};
use crate::operators::{sent_back, session};
use crate::peers::typescript;

/// A provider that knows the gateway.
fn start(gateway: &str, policies: &Path) -> Vouching {
    let port = free_port();
    let mut command = Command::new(node());
    command.arg(repository().join("e2e/peers/node/saml.mjs")).arg(port.to_string()).arg(gateway);
    let peer = Peer::start(command, "listening on");
    let issuer = format!("http://127.0.0.1:{port}/saml");
    let settings = format!(
        "{}[identity.saml]\nentity_id = \"{issuer}\"\nmetadata = \"{issuer}\"\ngroups_attribute = \"groups\"\n\
         name_attribute = \"displayName\"\n",
        head(gateway, policies)
    );
    Vouching { issuer, settings, peer }
}

#[test]
fn people_log_in_with_saml_and_their_groups_decide() {
    let office = Office::with(start);
    let simple = ("test_simple_text", "This is a simple text");
    let hidden = ("test_simple_text", "Unknown tool: test_simple_text");
    let logins = [
        office.log_in(typescript, ("tools", "2026-07-28"), json!({"person": "mira"}), simple),
        office.log_in(typescript, ("tools", "legacy"), json!({"person": "mira"}), simple),
        office.log_in(typescript, ("tools", "2026-07-28"), json!({"person": "otto"}), hidden),
    ];
    let log = office.gateway.stop();
    let data = office.folder.path().join("data");
    assert!(tollbook(&data, &["verify"]).status.success());
    let calls = printed(&data, &["calls", "--json", "--limit", "1000"]);
    let runs = printed(&data, &["run", "list", "--json"]);
    let of = |person: &str, rule: &str| {
        let principal = format!("user:{person} ({})", office.issuer);
        runs.lines().filter(|run| run.contains(&principal) && run.contains(rule)).count()
    };
    let counted = [of("mira", "one run token"), of("mira", "one MCP session"), of("otto", "one run token")];
    assert_eq!(counted, [1, 1, 1], "{runs}");
    how_is_recorded(&data, &runs);
    let minted = printed(&data, &["run", "minted"]);
    assert_eq!(minted.lines().count(), 3, "each login is one run: {minted}");
    let given =
        |what: &str| logins.iter().map(|login| login[what].as_str().expect("a token").to_owned()).collect();
    let given: [Vec<String>; 2] = [given("access"), given("refresh")];
    silent(&given.concat(), &[&log, &calls, &runs, &minted]);
}

/// The run's first record says how the person was authenticated, in which session, and their name for people.
fn how_is_recorded(data: &Path, runs: &str) {
    let run =
        runs.lines().find(|run| run.contains("user:mira") && run.contains("one run token")).expect("a run");
    let run: Value = serde_json::from_str(run).expect("JSON");
    let evidence = printed(data, &["evidence", run["run"].as_str().expect("an id")]);
    let evidence: Value = serde_json::from_str(&evidence).expect("JSON");
    let shown = evidence["records"][0]["disclosures"].as_array().expect("a list");
    let shown =
        shown.iter().map(|one| URL_SAFE_NO_PAD.decode(one.as_str().expect("a text")).expect("base64url"));
    let shown: Vec<Value> = shown.map(|one| serde_json::from_slice(&one).expect("JSON")).collect();
    let credential = shown.iter().find(|one| one[1] == "credential").expect("what was presented");
    let login = &credential[2]["login"];
    assert_eq!(
        login["authn_context"], "urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken",
        "{credential}"
    );
    assert_eq!(login["session_index"], "session-of-a-test");
    assert_eq!(login["name"], "mira of the tests");
    assert_eq!(credential[2]["groups"], json!(["tellers", "staff"]));
}

#[test]
fn who_is_not_logged_in_goes_back_with_nothing_and_that_is_recorded() {
    let office = Office::with(start);
    let (status, head, metadata) = exchange(&office.url, "GET /oauth/saml/metadata", "", "");
    assert_eq!(status, 200);
    assert!(head.contains("application/samlmetadata+xml"), "{head}");
    assert!(metadata.contains(&format!("Location=\"{}/oauth/saml/acs\"", office.url)), "{metadata}");
    let back = office.browse("nobody", "allow");
    assert!(back.contains("error=access_denied") && !back.contains("code="), "{back}");
    let back = office.browse("mira", "allow");
    assert!(back.contains("code=") && !back.contains("error"), "{back}");

    // As a page of another site sends it.
    let form = "content-type: application/x-www-form-urlencoded\r\norigin: null\r\n";
    let (status, _, page) =
        exchange(&office.url, "POST /oauth/saml/acs", form, "SAMLResponse=eA&RelayState=x");
    assert_eq!(status, 400, "{page}");
    office.gateway.stop();
    let data = office.folder.path().join("data");
    let calls = printed(&data, &["calls", "--json", "--limit", "1000"]);
    assert!(calls.contains("the provider did not log the person in"), "{calls}");
    // That one belonged to no login, and so to no server.
    let refused = calls.lines().find(|call| call.contains("the login is not known")).expect("a record");
    let refused: Value = serde_json::from_str(refused).expect("JSON");
    assert_eq!((&refused["verdict"], &refused["server"]), (&json!("deny"), &Value::Null), "{refused}");
    assert!(tollbook(&data, &["verify"]).status.success());
}

#[test]
fn operators_log_in_with_saml_on_the_console() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let [port, gate, desk] = [free_port(), free_port(), free_port()];
    let (gate, console) = (format!("127.0.0.1:{gate}"), format!("http://127.0.0.1:{desk}"));
    let mut command = Command::new(node());
    let arguments = [port.to_string(), format!("http://{gate}"), console.clone()];
    command.arg(repository().join("e2e/peers/node/saml.mjs")).args(arguments);
    let _provider = Peer::start(command, "listening on");
    let issuer = format!("http://127.0.0.1:{port}/saml");
    let settings = format!(
        "listen = \"{gate}\"\npublic_url = \"http://{gate}\"\n[identity.saml]\nentity_id = \"{issuer}\"\n\
         metadata = \"{issuer}\"\ngroups_attribute = \"groups\"\nname_attribute = \"displayName\"\n\
         [console]\nlisten = \"127.0.0.1:{desk}\"\n[console.login]\nissuer = \"saml\"\n\
         [console.roles]\nadmin = [\"staff\"]\n"
    );
    let gateway = Gateway::with_environment(data, &settings, &[]).expect("it starts");
    let (_, _, metadata) = exchange(&console, "GET /login/saml/metadata", "", "");
    assert!(metadata.contains(&format!("Location=\"{console}/login/saml/acs\"")), "{metadata}");

    let (path, trip) = sent_back(&console, "/login/saml/arrived", "mira").expect("they come back");
    assert_eq!(exchange(&console, &format!("GET {path}"), "", "").0, 401, "in another browser");
    assert_eq!(exchange(&console, &format!("GET {path}"), &trip, "").0, 401, "a ticket holds once");
    let (path, trip) = sent_back(&console, "/login/saml/arrived", "mira").expect("they come back");
    let (status, head, page) = exchange(&console, &format!("GET {path}"), &trip, "");
    assert!(status == 200 && head.contains("SameSite=Strict"), "{head} {page}");
    let own = session(&head);
    let (status, me) = request(&console, "GET /api/v1/me", &own, "");
    let me: Value = serde_json::from_str(&me).expect("JSON");
    let identity = format!("user:{issuer}:mira");
    let told = [&me["identity"], &me["name"], &me["roles"][0]];
    assert_eq!((status, told), (200, [&json!(identity), &json!("mira of the tests"), &json!("admin")]));
    let write =
        format!("{own}origin: {console}\r\nx-csrf-token: {}\r\n", me["csrf"].as_str().expect("a token"));
    let noor = json!({"name": "noor", "roles": ["viewer"]}).to_string();
    assert_eq!(request(&console, "POST /api/v1/operators", &write, &noor).0, 201);

    let (path, trip) = sent_back(&console, "/login/saml/arrived", "otto").expect("they come back");
    let (status, head, page) = exchange(&console, &format!("GET {path}"), &trip, "");
    assert!(status == 401 && page.contains("none of your groups has a role"), "{status} {page}");
    assert!(!head.contains("tollbook-console="), "{head}");
    let refused = sent_back(&console, "/login/saml/arrived", "nobody").expect_err("the provider says no");
    assert!(refused.contains("401 at /login/saml/acs"), "{refused}");
    printed(data, &["operators", "disable", &identity]);
    assert_eq!(request(&console, "GET /api/v1/me", &own, "").0, 401, "disabled: the session is over");

    let log = gateway.stop();
    let actions = printed(data, &["operators", "actions", "--json"]);
    let told = |line: &str| {
        let action: Value = serde_json::from_str(line).expect("JSON");
        format!("{} {}", action["what"].as_str().unwrap_or(""), action["outcome"].as_str().unwrap_or(""))
    };
    let refused = "operators.login refused";
    assert_eq!(
        actions.lines().map(told).collect::<Vec<_>>(),
        [
            refused,
            refused,
            "operators.login done",
            "operators.add done",
            refused,
            refused,
            "operators.disable done"
        ]
    );
    assert!(actions.contains("the provider did not log the person in"), "{actions}");
    let calls = printed(data, &["calls", "method:operator/*", "--json"]);
    silent(&[own.trim().split_once('=').expect("a cookie").1.to_owned()], &[&log, &actions, &calls]);
    assert!(tollbook(data, &["verify"]).status.success());
}
