//! Things that no file may say, whatever its kind.

use super::Finding;

/// Files that tools write and whose content is not ours.
const GENERATED: [&str; 2] = ["Cargo.lock", "package-lock.json"];

/// Folders of a machine; put together here so that this file passes.
const MACHINE: [&str; 3] = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];

/// Hosts of package registries.
const REGISTRIES: [&str; 7] = [
    concat!("crates", ".io"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("debian", ".org"),
    concat!("golang", ".org/dl"),
];

const OPEN_ENDS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if GENERATED.contains(&name) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (line, written) in (1..).zip(text.lines()) {
        let mut complain = |rule, text: String| findings.push(Finding::at(rule, path, line, text));
        if let Some(folder) = MACHINE.iter().find(|folder| names_folder(written, folder)) {
            complain("machine-path", format!("`{folder}` is a path of one machine"));
        }
        if let Some(host) = REGISTRIES.iter().find(|host| written.contains(**host)) {
            complain("registry-host", format!("`{host}` is a registry's host"));
        }
        if let Some(mark) = OPEN_ENDS.iter().find(|mark| is_open(written, mark)) {
            complain("open-end", format!("`{mark}` without an issue, as in `{mark}(#12)`"));
        }
    }
    findings
}

/// Whether the folder stands at the beginning of a path, not within one.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/}*:".contains(c))
    })
}

fn is_open(line: &str, mark: &str) -> bool {
    line.match_indices(mark).any(|(at, _)| {
        let rest = line.get(at + mark.len()..).unwrap_or_default();
        let word =
            line.get(..at).and_then(|before| before.chars().next_back()).is_some_and(char::is_alphanumeric);
        !word && !rest.starts_with("(#") && !rest.starts_with(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    fn rules(text: &str) -> Vec<&'static str> {
        check("a.md", text).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn what_no_file_may_say_is_found() {
        assert_eq!(rules(concat!("see /wo", "rk/notes")), ["machine-path"]);
        assert_eq!(rules(concat!("\"/ho", "me/somebody/x\"")), ["machine-path"]);
        assert_eq!(rules(concat!("https://regi", "stry.npmjs", ".org/x")), ["registry-host"]);
        assert_eq!(rules(concat!("// TO", "DO: later")), ["open-end"]);
    }

    #[test]
    fn what_looks_alike_is_not() {
        assert_eq!(rules(concat!("docs/wo", "rk/x and net/ro", "ot/y")), Vec::<&str>::new());
        assert_eq!(rules(concat!("// TO", "DO(#12): later")), Vec::<&str>::new());
        assert_eq!(rules(concat!("MASTO", "DON")), Vec::<&str>::new());
        assert!(check("Cargo.lock", concat!("crates", ".io")).is_empty());
    }
}
