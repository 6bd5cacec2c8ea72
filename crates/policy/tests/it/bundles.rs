//! What names a bundle, and what a catalog refuses.

use expect_test::expect;
use policy::{Bundle, Catalog, CatalogError, Server, Source, Tool};

use super::made::{catalog, tool};

fn digest(files: &[(&str, &str)]) -> String {
    let file = |(name, text): &(&str, &str)| Source { name: (*name).to_owned(), text: (*text).to_owned() };
    let files: Vec<Source> = files.iter().map(file).collect();
    Bundle::compile(&files, &catalog()).unwrap().digest().to_string()
}

const ALL: &str = "permit (principal, action, resource);";

#[test]
fn the_digest_is_of_names_and_texts() {
    expect!["SRcDiARUyWGX-HOJ4tSFYahEVbeyG5Cw57eNQwLv_dk"]
        .assert_eq(&digest(&[("a.cedar", ALL), ("b.cedar", "")]));
    assert_eq!(digest(&[("a.cedar", ALL), ("b.cedar", "")]), digest(&[("b.cedar", ""), ("a.cedar", ALL)]));
    let others = [
        vec![("a.cedar", ALL)],
        vec![("b.cedar", ALL), ("a.cedar", "")],
        vec![("a.cedar", ALL), ("b.cedar", " ")],
    ];
    for other in others {
        assert_ne!(digest(&other), digest(&[("a.cedar", ALL), ("b.cedar", "")]), "{other:?}");
    }
}

#[test]
fn names_of_servers_and_tools_are_unique() {
    let server = |name: &str, tools: Vec<Tool>| Server {
        name: name.to_owned(),
        tools: Some(tools),
        prompts: Vec::new(),
    };
    let error = |servers| Catalog::of(servers).unwrap_err();
    assert_eq!(error(vec![server("a/b", vec![])]), CatalogError::ServerName("a/b".to_owned()));
    assert_eq!(error(vec![server("", vec![])]), CatalogError::ServerName(String::new()));
    assert_eq!(error(vec![server("a", vec![]), server("a", vec![])]), CatalogError::Twice("a".to_owned()));
    let twice = vec![tool("t", ""), tool("u", ""), tool("t", "")];
    assert_eq!(error(vec![server("a", twice)]), CatalogError::Twice("a/t".to_owned()));
}

#[test]
fn a_tool_is_read_from_its_definition() {
    let definition = r#"{"name":"t","title":null,"description":"does","inputSchema":{"type" : "object"},
        "annotations":{"readOnlyHint":true,"title":"x","openWorldHint":false},"_meta":{}}"#;
    let tool = Tool::of_definition(definition).unwrap();
    assert_eq!((tool.title.as_deref(), tool.description.as_deref()), (None, Some("does")));
    assert_eq!(tool.input_schema.as_deref(), Some(r#"{"type" : "object"}"#));
    assert_eq!(
        (tool.hints.read_only, tool.hints.destructive, tool.hints.open_world),
        (Some(true), None, Some(false))
    );
    assert_eq!(
        Tool::of_definition(r#"{"name":"t","annotations":{"readOnlyHint":"yes"}}"#).unwrap().hints.read_only,
        None
    );
    assert_eq!(Tool::of_definition(r#"{"title":"t"}"#), None);
}
