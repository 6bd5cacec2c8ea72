//! For any configuration: undo after init is the identity, and init changes nothing but the values it is about.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::Home;
use crate::environment::Environment;
use crate::setup::clients::{CLIENTS, Scope, Syntax};
use crate::setup::edit::{self, Edit};
use crate::setup::jsonc;
use crate::setup::plan::{Plan, Wanted};
use crate::setup::register::Register;
use crate::setup::revert::values;
use crate::setup::survey::{Source, Survey};
use crate::setup::tree::Node;

/// Whitespace and comments, as people leave them.
fn blank() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just(""), 3 => Just(" "), 2 => Just("\n  "), 1 => Just("\t"), 1 => Just("\r\n"),
        1 => Just("/* c, { */"), 1 => Just("// \"x\": [\n"),
    ];
    prop::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}

fn text() -> impl Strategy<Value = String> {
    let plain = "[a-zé文 ./\\\\\"\\n-]{0,8}".prop_map(|text| serde_json::Value::from(text).to_string());
    prop_oneof![6 => plain, 1 => Just("\"\\ud83d\"".to_owned()), 1 => Just("\"\\u0061\\/\"".to_owned())]
}

/// A value of any kind.
fn value() -> impl Strategy<Value = String> {
    let leaf =
        prop_oneof![text(), Just("true".to_owned()), Just("null".to_owned()), Just("-1.50E+3".to_owned()),];
    leaf.prop_recursive(3, 12, 3, |inner| prop_oneof![list(inner.clone()), object(text(), inner)])
}

fn list(item: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (prop::collection::vec((blank(), item, blank()), 0..4), any::<bool>(), blank()).prop_map(
        |(items, trailing, end)| {
            let items: Vec<String> = items.into_iter().map(|(a, item, b)| [a, item, b].concat()).collect();
            let comma = if trailing && !items.is_empty() { "," } else { "" };
            format!("[{}{comma}{end}]", items.join(","))
        },
    )
}

fn object(
    key: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let member = (blank(), key, blank(), blank(), value, blank())
        .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
    (prop::collection::vec(member, 0..4), any::<bool>(), blank()).prop_map(|(members, trailing, end)| {
        let comma = if trailing && !members.is_empty() { "," } else { "" };
        format!("{{{}{comma}{end}}}", members.join(","))
    })
}

/// A server's entry: the keys that matter, in any order, among others.
fn server() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        (Just("command"), text()),
        (Just("args"), list(text()).boxed().prop_map(|args| args)),
        (Just("env"), object(text(), text()).prop_map(|env| env)),
        (Just("x"), value()),
    ];
    (prop::collection::vec((blank(), member, blank()), 0..5), any::<bool>()).prop_map(
        |(members, trailing)| {
            let members: Vec<String> =
                members.into_iter().map(|(a, (key, value), b)| format!("{a}\"{key}\":{value}{b}")).collect();
            let comma = if trailing && !members.is_empty() { "," } else { "" };
            format!("{{{}{comma}}}", members.join(","))
        },
    )
}

fn configuration() -> impl Strategy<Value = String> {
    (blank(), value(), blank(), object(text(), server()), blank(), value()).prop_map(
        |(a, first, b, servers, c, last)| {
            format!("{a}{{\"first\":{first},{b}\"mcpServers\":{servers}{c},\"last\":{last}}}\n")
        },
    )
}

/// The text without what `init` may change: values of `command` and `args`, `"args"` itself, and what joins it on.
fn skeleton(source: &str) -> String {
    let tree = jsonc::parse(source).unwrap();
    let mut cuts = Vec::new();
    for server in tree.at("mcpServers").map(Node::members).unwrap_or_default() {
        for member in server.value.members() {
            if ["command", "args"].contains(&member.key.as_str()) {
                cuts.push(member.key_span.start..member.value.span.end);
            }
        }
    }
    let edits: Vec<_> = cuts.into_iter().map(|span| Edit { span, text: String::new() }).collect();
    edit::apply(source, &edits).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn only_the_values_in_question_change(source in configuration()) {
        let after = planned(&source);
        // Where `args` were added, so were a comma and white space before it.
        let plain = |text: &str| skeleton(text).replace([',', ' ', '\n', '\r', '\t'], "");
        prop_assert_eq!(plain(&after), plain(&source));
        prop_assert_eq!(planned(&after), after.clone(), "twice is once");
        // Taking back single values makes the same bytes as the backup has.
        let mut notes = Vec::new();
        let back = values(Syntax::Json, [&source, &after, &after], &mut notes);
        if notes.is_empty() && !has_twins(&source) {
            prop_assert_eq!(back, Some(source));
        }
    }
}

/// What `init` makes of Cursor's configuration.
fn planned(source: &str) -> String {
    let path = std::env::current_exe().unwrap();
    let (text, tree) = (source.to_owned(), jsonc::parse(source).unwrap());
    let source = Source {
        client: &CLIENTS[2],
        target: path.clone(),
        path,
        scope: Scope::User,
        syntax: Syntax::Json,
        text,
        tree,
    };
    let survey = Survey { sources: vec![source], unreadable: Vec::new() };
    let environment = Environment::of(BTreeMap::new(), PathBuf::from("/"));
    let wanted = Wanted {
        program: environment.program().unwrap(),
        options: Vec::new(),
        gateway: "http://127.0.0.1:7800/mcp/".to_owned(),
        skip: Vec::new(),
    };
    let plan = Plan::make(&survey, Register::read(&environment).unwrap(), &wanted);
    plan.changes.into_iter().next().map_or_else(|| survey.sources[0].text.clone(), |change| change.after)
}

/// Whether a key stands twice where `init` looks.
fn has_twins(source: &str) -> bool {
    let twins = |node: &Node| {
        let mut keys: Vec<_> = node.members().iter().map(|m| &m.key).collect();
        keys.sort();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    };
    let tree = jsonc::parse(source).unwrap();
    let servers = tree.at("mcpServers").unwrap();
    twins(servers) || servers.members().iter().any(|server| twins(&server.value))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn undo_after_init_is_the_identity(source in configuration()) {
        let home = Home::new();
        home.write(".cursor/mcp.json", &source);
        let before = home.files();
        prop_assert_eq!(home.init(&["--yes"]).0, 0);
        let all = home.files();
        prop_assert_eq!(home.init(&["--yes"]).0, 0);
        prop_assert_eq!(home.files(), all, "twice is once");
        prop_assert_eq!(home.init(&["--undo", "--yes"]).0, 0);
        prop_assert_eq!(home.files(), before);
    }

    #[test]
    fn forced_undo_keeps_what_others_changed(source in configuration(), added in value()) {
        let home = Home::new();
        home.write(".cursor/mcp.json", &source);
        prop_assert_eq!(home.init(&["--yes"]).0, 0);
        let changed = format!("{{\"added\":{added},{}", &home.read(".cursor/mcp.json").trim_start().split_once('{').unwrap_or_default().1);
        prop_assume!(jsonc::parse(&changed).is_ok());
        home.write(".cursor/mcp.json", &changed);
        let (code, text) = home.init(&["--undo", "--yes", "--force"]);
        prop_assert_eq!(code, 0, "{}", text);
        let tree = jsonc::parse(&home.read(".cursor/mcp.json")).unwrap();
        let (read, was) = (home.read(".cursor/mcp.json"), jsonc::parse(&source).unwrap());
        prop_assert!(tree.at("added").is_some());
        let same = was.members().iter().all(|m| tree.at(&m.key).is_some_and(|is| is.same(&read, &m.value, &source)));
        prop_assert!(same || text.contains("stays as it is"), "{}", read);
    }
}
