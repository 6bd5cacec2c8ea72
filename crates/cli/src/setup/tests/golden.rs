//! A sample configuration of each client: to Tollbook, again, and back.

use expect_test::{expect, expect_file};

use super::Home;

/// Where each sample goes.
const SAMPLES: [(&str, &str); 7] = [
    ("claude-desktop.before.json", ".config/Claude/claude_desktop_config.json"),
    ("claude-code.before.json", ".claude.json"),
    ("cursor.before.json", ".cursor/mcp.json"),
    ("vscode.before.json", "project/.vscode/mcp.json"),
    ("windsurf.before.json", ".codeium/windsurf/mcp_config.json"),
    ("codex.before.toml", ".codex/config.toml"),
    ("gemini.before.json", ".gemini/settings.json"),
];

fn sample(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/setup/golden").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn home(lines: fn(&str) -> String) -> Home {
    let home = Home::new();
    for (name, path) in SAMPLES {
        home.write(path, &lines(&sample(name)));
    }
    home
}

fn with_crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

#[test]
fn every_client_to_tollbook_and_back() {
    let home = home(str::to_owned);
    let before = home.files();
    let (code, text) = home.init(&["--yes"]);
    assert_eq!(code, 0, "{text}");
    expect_file!["../golden/output.txt"].assert_eq(&text);
    let golden = |path: &str| home.read(path).replace(&home.path("").display().to_string(), "HOME/");
    expect_file!["../golden/claude-desktop.after.json"].assert_eq(&golden(SAMPLES[0].1));
    expect_file!["../golden/claude-code.after.json"].assert_eq(&golden(SAMPLES[1].1));
    expect_file!["../golden/cursor.after.json"].assert_eq(&golden(SAMPLES[2].1));
    expect_file!["../golden/vscode.after.json"].assert_eq(&golden(SAMPLES[3].1));
    expect_file!["../golden/windsurf.after.json"].assert_eq(&golden(SAMPLES[4].1));
    expect_file!["../golden/codex.after.toml"].assert_eq(&golden(SAMPLES[5].1));
    expect_file!["../golden/gemini.after.json"].assert_eq(&golden(SAMPLES[6].1));
    expect_file!["../golden/tollbook.after.toml"].assert_eq(&golden(".config/tollbook/tollbook.toml"));
    assert_eq!(home.read(".config/tollbook/search.authorization"), "Bearer claude-token\n");
    assert_eq!(home.mode(".config/tollbook/search.authorization"), 0o600);
    assert_eq!(home.mode(".config/tollbook/tollbook.toml"), 0o600);
    assert_eq!(home.mode(".config/tollbook/undo"), 0o700);

    let after = home.files();
    let (code, text) = home.init(&["--yes"]);
    assert_eq!(code, 0);
    assert!(text.ends_with("Nothing to change.\n"), "{text}");
    assert_eq!(home.files(), after, "twice is once");

    let (code, text) = home.init(&["--undo", "--yes"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(home.files(), before);
    expect!["There is nothing to undo.\n"].assert_eq(&home.init(&["--undo", "--yes"]).1);
}

#[test]
fn lines_that_end_as_on_windows_stay_so() {
    let (unix, windows) = (home(str::to_owned), home(with_crlf));
    let before = windows.files();
    assert_eq!((unix.init(&["--yes"]).0, windows.init(&["--yes"]).0), (0, 0));
    for (_, path) in SAMPLES {
        let of_unix = unix.read(path).replace(&unix.path("").display().to_string(), "");
        let of_windows = windows.read(path).replace(&windows.path("").display().to_string(), "");
        assert_eq!(of_windows, with_crlf(&of_unix), "{path}");
    }
    assert_eq!(windows.init(&["--undo", "--yes"]).0, 0);
    assert_eq!(windows.files(), before);
}

#[test]
fn a_dry_run_shows_and_changes_nothing() {
    let home = home(str::to_owned);
    let before = home.files();
    let (code, text) = home.init(&["--dry-run"]);
    assert_eq!(code, 0);
    assert!(text.contains("+++ "), "{text}");
    for credential in ["s3cret", "claude-token", "another-token", "key-1", "k1\"", "välue"] {
        assert!(!text.contains(credential), "{credential} in {text}");
    }
    assert_eq!(home.files(), before);
    assert_eq!(home.init(&["--yes"]).0, 0);
    let after = home.files();
    assert_eq!(home.init(&["--undo", "--dry-run"]).0, 0);
    assert_eq!(home.files(), after);
}
