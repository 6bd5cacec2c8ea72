//! What may be wrong with the files of others, and what others do between `init` and `--undo`.

use std::os::unix::fs::PermissionsExt;

use expect_test::{Expect, expect};

use super::{Home, arguments};
use crate::read::Mistake;
use crate::setup::survey::Survey;

const FILES: &str = r#"{"mcpServers": {"files": {"command": "npx", "args": ["files"]}}}"#;
const REMOTE: &str = r#"{"mcpServers": {"search": {"url": "https://mcp.example/mcp", "headers": {"Authorization": "Bearer x"}}}}"#;

fn unreadable(text: &str, expected: &Expect) {
    let home = Home::new();
    home.write(".cursor/mcp.json", text);
    home.write(".codeium/windsurf/mcp_config.json", FILES);
    let survey = Survey::of(&home.environment());
    let told: Vec<_> = survey.unreadable.iter().map(|each| each.text.clone()).collect();
    expected.assert_eq(&told.concat().replace(&home.path("").display().to_string(), "HOME/"));
    assert_eq!(home.init(&["--yes"]).0, crate::FAILED, "not all could be done");
    assert_eq!(home.read(".cursor/mcp.json"), text);
    assert!(home.read(".codeium/windsurf/mcp_config.json").contains("wrap"), "the others go on");
}

#[test]
fn malformed_files_are_named_and_left_alone() {
    unreadable(
        "{\n  \"mcpServers\": {\n    oops\n",
        &expect!["HOME/.cursor/mcp.json:3:5: a key in double quotes or `}` is expected"],
    );
    let home = Home::new();
    home.write(".codex/config.toml", "model = \n[x]\n");
    let survey = Survey::of(&home.environment());
    assert!(survey.unreadable[0].text.contains("/.codex/config.toml:1:9: "), "{:?}", survey.unreadable);
}

#[test]
fn other_places_of_clients() {
    let mut home = Home::new();
    let folder = home.path("moved").display().to_string();
    home.variables.insert("CODEX_HOME".to_owned(), folder.clone());
    home.variables.insert("CLAUDE_CONFIG_DIR".to_owned(), folder);
    let server = r#"{"command": "npx", "args": ["files"]}"#;
    home.write("moved/config.toml", "[mcp_servers.files]\ncommand = \"npx\"\nargs = [\"files\"]\n");
    home.write("moved/.claude.json", FILES);
    home.write(
        ".config/Code/User/profiles/-1a/mcp.json",
        &format!(r#"{{"servers": {{"files": {server}}}}}"#),
    );
    home.write(
        ".config/Code/User/settings.json",
        &format!(r#"{{"mcp": {{"servers": {{"files": {server}}}}}}}"#),
    );
    home.write(
        "project/.codex/config.toml",
        "mcp_servers.files = { command = \"npx\", args = [\"files\"] }\n",
    );
    home.write("project/.cursor/mcp.json", FILES);
    home.write("project/.gemini/settings.json", FILES);
    home.write("project/.mcp.json", FILES);
    let (code, text) = home.init(&["--yes"]);
    assert_eq!((code, text.matches("+ files: through `tollbook wrap`\n").count()), (0, 8), "{text}");
    assert_eq!(home.init(&["--undo", "--yes"]).0, 0);
    assert_eq!(home.read("project/.mcp.json"), FILES);
}

#[test]
fn empty_files_have_no_servers() {
    let home = Home::new();
    home.write(".cursor/mcp.json", "\n");
    home.write(".gemini/settings.json", "");
    home.write(".mcp.json", "[]");
    assert_eq!(home.init(&["--yes"]), (0, "No client with MCP servers was found.\n".to_owned()));
}

#[test]
fn links_are_followed_and_modes_kept() {
    let home = Home::new();
    home.write("dotfiles/cursor.json", FILES);
    std::fs::set_permissions(home.path("dotfiles/cursor.json"), PermissionsExt::from_mode(0o640)).unwrap();
    std::fs::create_dir(home.path(".cursor")).unwrap();
    let link = home.path(".cursor/mcp.json");
    std::os::unix::fs::symlink("../dotfiles/cursor.json", &link).unwrap();
    assert_eq!(home.init(&["--yes"]).0, 0);
    assert!(link.is_symlink());
    assert!(home.read("dotfiles/cursor.json").contains("wrap"));
    assert_eq!(home.mode("dotfiles/cursor.json"), 0o640);
    assert_eq!(home.init(&["--undo", "--yes"]).0, 0);
    assert!(link.is_symlink());
    assert_eq!(
        (home.read("dotfiles/cursor.json").as_str(), home.mode("dotfiles/cursor.json")),
        (FILES, 0o640)
    );
}

#[test]
fn files_that_cannot_be_written_are_said_so() {
    let home = Home::new();
    home.write(".cursor/mcp.json", REMOTE);
    let path = home.path(".cursor/mcp.json");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
    if super::super::files::check_writable(&path).is_ok() {
        // The superuser may write everything.
        return;
    }
    let (code, text) = home.init(&["--yes"]);
    assert_eq!(code, crate::FAILED);
    assert!(text.contains("! search: left as it is: the file cannot be written"), "{text}");
    assert!(!home.path(".config/tollbook").exists(), "nothing is registered that nobody uses");
}

#[test]
fn nobody_is_asked_where_there_is_no_terminal() {
    if rustix::termios::isatty(std::io::stdin()) {
        return;
    }
    let home = Home::new();
    home.write(".cursor/mcp.json", FILES);
    let error = super::run(&arguments(&[]), &home.environment(), &mut Vec::new()).unwrap_err();
    assert!(error.is::<Mistake>());
    assert_eq!(home.read(".cursor/mcp.json"), FILES);
}

#[test]
fn an_existing_configuration_is_kept_and_its_names_count() {
    let mut home = Home::new();
    let existing = "# mine\nlisten = \"127.0.0.1:9000\"\ndata = \"/srv/book\"\n\n[servers.search]\nurl = \"https://else.example/\" # x";
    home.write(".config/tollbook/tollbook.toml", existing);
    home.write(".cursor/mcp.json", REMOTE);
    home.write(".codeium/windsurf/mcp_config.json", FILES);
    assert_eq!(home.init(&["--yes", "--skip=nothing"]).0, 0);
    let text = home.read(".config/tollbook/tollbook.toml");
    assert!(text.starts_with(existing), "{text}");
    assert!(text.contains("\n[servers.search-cursor]\nurl = \"https://mcp.example/mcp\"\n"), "{text}");
    assert!(home.read(".cursor/mcp.json").contains("http://127.0.0.1:9000/mcp/search-cursor"));
    assert!(home.read(".codeium/windsurf/mcp_config.json").contains(r#"["--data", "/srv/book", "wrap""#));
    // What is registered already is not registered again.
    home.write("project/.cursor/mcp.json", REMOTE);
    assert_eq!(home.init(&["--yes"]).0, 0);
    assert_eq!(home.read(".config/tollbook/tollbook.toml"), text);
    assert!(home.read("project/.cursor/mcp.json").contains("http://127.0.0.1:9000/mcp/search-cursor"));
    // A configuration that cannot be read leaves nothing to rely on.
    home.variables.insert("TOLLBOOK_CONFIG".to_owned(), home.path("broken.toml").display().to_string());
    home.write("broken.toml", "listen =\n");
    let error = super::run(&arguments(&["--yes"]), &home.environment(), &mut Vec::new()).unwrap_err();
    assert!(format!("{error:#}").contains("broken.toml:1:9: "), "{error:#}");
}

#[test]
fn servers_that_are_skipped_stay() {
    let home = Home::new();
    home.write(".cursor/mcp.json", FILES);
    let (code, text) = home.init(&["--yes", "--skip=files"]);
    assert_eq!((code, home.read(".cursor/mcp.json").as_str()), (0, FILES));
    assert!(text.contains("! files: left as it is: skipped"), "{text}");
}

#[test]
fn in_a_file_that_was_changed_since_only_own_values_are_taken_back() {
    let home = Home::new();
    home.write(".cursor/mcp.json", FILES);
    home.write(".codeium/windsurf/mcp_config.json", REMOTE);
    assert_eq!(home.init(&["--yes"]).0, 0);
    let changed = home.read(".cursor/mcp.json").replacen("{", "{ \"added\": true, ", 1);
    home.write(".cursor/mcp.json", &changed);
    let (code, text) = home.init(&["--undo", "--yes"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(home.read(".codeium/windsurf/mcp_config.json"), REMOTE);
    assert_eq!(home.read(".cursor/mcp.json"), FILES.replacen("{", "{ \"added\": true, ", 1));
    assert!(!home.path(".config/tollbook/tollbook.toml").exists());
    assert!(!home.path(".config/tollbook/search.authorization").exists());
    let kept = home.path(".config/tollbook/undo/kept");
    let kept = std::fs::read_dir(kept).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(kept.join("until-undo")).unwrap(), changed);
    assert_eq!(std::fs::read_to_string(kept.join("before")).unwrap(), FILES);
}

#[test]
fn a_server_that_was_changed_since_stays_even_if_forced() {
    let home = Home::new();
    home.write(".cursor/mcp.json", FILES);
    home.write(".codeium/windsurf/mcp_config.json", REMOTE);
    assert_eq!(home.init(&["--yes"]).0, 0);
    let changed = home.read(".cursor/mcp.json").replace("\"files\"]", "\"files\", \"more\"]");
    home.write(".cursor/mcp.json", &changed);
    assert_eq!(home.init(&["--undo", "--yes"]).0, crate::FAILED);
    assert_eq!(home.read(".cursor/mcp.json"), changed);
    assert_eq!(home.read(".codeium/windsurf/mcp_config.json"), REMOTE);
    assert!(home.path(".config/tollbook/tollbook.toml").exists(), "clients that were left may need it");

    let (code, text) = home.init(&["--undo", "--yes", "--force"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("`files` was changed since and stays as it is"), "{text}");
    assert_eq!(home.read(".cursor/mcp.json"), changed);
}

#[test]
fn a_client_that_still_points_at_the_gateway_keeps_its_server() {
    let home = Home::new();
    home.write(".cursor/mcp.json", REMOTE);
    assert_eq!(home.init(&["--yes"]).0, 0);
    let changed = home.read(".cursor/mcp.json").replace("\"headers\": {}", "\"headers\": {\"x\": \"y\"}");
    home.write(".cursor/mcp.json", &changed);
    for _ in 0..2 {
        assert_eq!(home.init(&["--undo", "--yes", "--force"]).0, crate::FAILED);
        assert_eq!(home.read(".cursor/mcp.json"), changed);
        assert_eq!(home.read(".config/tollbook/search.authorization"), "Bearer x\n");
        assert!(home.read(".config/tollbook/tollbook.toml").contains("[servers.search]"));
    }
    home.write(".cursor/mcp.json", "{}");
    assert_eq!(home.init(&["--undo", "--yes"]).0, 0);
    assert!(!home.path(".config/tollbook/tollbook.toml").exists());
}

#[test]
fn additions_to_the_configuration_stay() {
    let home = Home::new();
    home.write(".cursor/mcp.json", REMOTE);
    assert_eq!(home.init(&["--yes"]).0, 0);
    let config = ".config/tollbook/tollbook.toml";
    let text = home.read(config);
    home.write(config, &format!("receipts = true\n{text}[servers.mine]\ncommand = \"x\"\n"));
    assert_eq!(home.init(&["--undo", "--yes"]).0, 0);
    assert_eq!(home.read(".cursor/mcp.json"), REMOTE);
    assert_eq!(home.read(config), "receipts = true\n[servers.mine]\ncommand = \"x\"\n");
    assert!(!home.path(".config/tollbook/search.authorization").exists());
}

#[test]
fn a_configuration_whose_servers_were_changed_stays_unless_forced() {
    let home = Home::new();
    home.write(".cursor/mcp.json", REMOTE);
    assert_eq!(home.init(&["--yes"]).0, 0);
    let config = ".config/tollbook/tollbook.toml";
    let changed = home.read(config).replace("mcp.example", "mcp2.example");
    home.write(config, &changed);
    assert_eq!(home.init(&["--undo", "--yes"]).0, crate::FAILED);
    assert_eq!((home.read(".cursor/mcp.json").as_str(), home.read(config)), (REMOTE, changed));
    assert!(home.path(".config/tollbook/search.authorization").exists(), "the configuration names it still");
}

#[test]
fn several_times_and_back() {
    let home = Home::new();
    home.write(".cursor/mcp.json", FILES);
    assert_eq!(home.init(&["--yes"]).0, 0);
    home.write(".codeium/windsurf/mcp_config.json", REMOTE);
    assert_eq!(home.init(&["--yes"]).0, 0);
    let server = r#"{"mcpServers": {"more": {"command": "uvx"}, "#;
    let added = home.read(".cursor/mcp.json").replacen("{\"mcpServers\": {", server, 1);
    home.write(".cursor/mcp.json", &added);
    assert_eq!(home.init(&["--yes"]).0, 0);
    assert_eq!(home.init(&["--undo", "--yes"]).0, 0, "there is a change by others in between");
    assert_eq!(home.read(".cursor/mcp.json"), FILES.replacen("{\"mcpServers\": {", server, 1));
    assert_eq!(home.read(".codeium/windsurf/mcp_config.json"), REMOTE);
}

#[test]
fn a_crash_before_the_write_leaves_nothing_to_undo() {
    let home = Home::new();
    home.write(".cursor/mcp.json", FILES);
    assert_eq!(home.init(&["--yes"]).0, 0);
    home.write(".cursor/mcp.json", FILES);
    assert_eq!(home.init(&["--undo", "--yes"]).0, 0);
    assert_eq!(home.read(".cursor/mcp.json"), FILES);
}

#[test]
fn what_the_gateway_could_not_use_is_left_alone() {
    let home = Home::new();
    home.write(".config/tollbook/tollbook.toml", "servers = { a = { url = \"http://a.example/\" } }\n");
    home.write(".cursor/mcp.json", REMOTE);
    let (code, text) = home.init(&["--yes"]);
    assert_eq!((code, home.read(".cursor/mcp.json").as_str()), (0, REMOTE));
    assert!(text.contains("has its servers in one line"), "{text}");

    let home = Home::new();
    let entries = [
        (r#"{"url": "https://a b/"}"#, "its address"),
        (r#"{"url": "https://a.example/", "headers": {"a b": "c"}}"#, "its header `a b`"),
        (r#"{"url": "https://a.example/", "headers": {"a": "b\nc"}}"#, "its header `a`"),
        (r#"{"url": "https://a.example/", "headers": {"a": 1}}"#, "its headers are not all texts"),
        (r#"{"command": ["npx"]}"#, "its `command` is no text"),
        (r#"{"command": "npx", "args": "x"}"#, "its `args` are no list of texts"),
    ];
    for (entry, why) in entries {
        let text = format!("{{\"mcpServers\": {{\"x\": {entry}}}}}");
        home.write(".cursor/mcp.json", &text);
        let (code, told) = home.init(&["--yes"]);
        assert_eq!((code, home.read(".cursor/mcp.json")), (0, text));
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn the_gateway_never_becomes_a_server_of_its_own() {
    let home = Home::new();
    home.write(".config/tollbook/tollbook.toml", "[servers.a]\nurl = \"https://a.example/\"\n");
    for (url, fate) in [
        ("http://localhost:7800/mcp/a", "✓ x: goes through Tollbook already"),
        ("http://[::1]:7800/mcp/a/sse", "✓ x: goes through Tollbook already"),
        (
            "http://127.0.0.1:9000/mcp/a",
            "! x: left as it is: it points at a gateway, but not at http://127.0.0.1:7800/mcp/",
        ),
        ("http://127.0.0.1:9000/mcp/other", "+ x: through the gateway"),
        ("http://10.0.0.1:7800/mcp/a", "! x: through the gateway; if the client signs in there"),
    ] {
        home.write(".cursor/mcp.json", &format!("{{\"mcpServers\": {{\"x\": {{\"url\": \"{url}\"}}}}}}"));
        let (_, text) = home.init(&["--dry-run"]);
        assert!(text.contains(fate), "{url}: {text}");
    }
}

#[test]
fn headers_in_a_table_of_their_own() {
    let home = Home::new();
    let before = "[mcp_servers.x]\nurl = 'https://x.example/mcp'\n\n[mcp_servers.x.http_headers]\nX-Key = 'k' # mine\n";
    home.write(".codex/config.toml", before);
    assert_eq!(home.init(&["--yes"]).0, 0);
    expect![[r#"
        [mcp_servers.x]
        url = "http://127.0.0.1:7800/mcp/x"

        [mcp_servers.x.http_headers]
        X-Key = "" # mine
    "#]]
    .assert_eq(&home.read(".codex/config.toml"));
    assert_eq!(home.read(".config/tollbook/x.x-key"), "k\n");
    assert!(home.init(&["--yes"]).1.ends_with("Nothing to change.\n"));
    let changed =
        home.read(".codex/config.toml").replace("[mcp_servers.x]\n", "model = 'm'\n[mcp_servers.x]\n");
    home.write(".codex/config.toml", &changed);
    assert_eq!(home.init(&["--undo", "--yes", "--force"]).0, 0);
    assert_eq!(
        home.read(".codex/config.toml"),
        before.replace("[mcp_servers.x]\n", "model = 'm'\n[mcp_servers.x]\n")
    );
}
