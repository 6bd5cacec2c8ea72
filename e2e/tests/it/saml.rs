//! A real SAML provider: people log in through it with an unmodified client, and what they may do is by their groups.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::gateway::tollbook;
use e2e::peers::{Peer, free_port, node, repository};
use serde_json::{Value, json};

use crate::callers::{printed, silent};
use crate::console::exchange;
use crate::logins::{Office, Vouching, head};
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
    let log = office.gateway.log();
    office.gateway.stop();
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
    let log = office.gateway.log();
    office.gateway.stop();
    let data = office.folder.path().join("data");
    let calls = printed(&data, &["calls", "--json", "--limit", "1000"]);
    assert!(calls.contains("the provider did not log the person in"), "{calls}");
    assert!(log.contains("a login was refused that is for no server"), "{log}");
}
