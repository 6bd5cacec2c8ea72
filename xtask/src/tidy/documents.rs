//! Pages: links lead somewhere, each crate says what it is, each dependency has a reason.

use super::Finding;
use crate::workspace::Crate;

/// Lines of a crate's README.
const README_LINES: usize = 30;

/// Relative links whose target does not exist.
pub(super) fn links(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut fenced = false;
    for (line, written) in (1..).zip(text.lines()) {
        fenced ^= written.trim_start().starts_with("```");
        for link in targets(written).filter(|_| !fenced) {
            let target = link.split('#').next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains(':');
            if !elsewhere && !resolve(folder, target).is_some_and(|target| exists(&target)) {
                findings.push(Finding::at("links", path, line, format!("`{link}` leads nowhere")));
            }
        }
    }
    findings
}

/// What stands in the round brackets of `[…](…)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

/// A path from the root, of one from a folder; `None` if it leaves the repository.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Crates without a README, or with a long one.
pub(super) fn readmes<'a>(crates: &[Crate], text_of: impl Fn(&str) -> Option<&'a str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for each in crates {
        let path = format!("{}/README.md", each.folder);
        match text_of(&path).map(|text| text.lines().count()) {
            None => findings.push(Finding::at("readme", &path, 0, "the crate has no README")),
            Some(lines) if lines > README_LINES => {
                findings.push(Finding::at(
                    "readme",
                    &path,
                    0,
                    format!("{lines} lines, {README_LINES} at most"),
                ));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Dependencies of the workspace that docs/dependencies.md does not name, and names that are no dependency.
pub(super) fn reasons(manifest: &str, page: &str) -> Vec<Finding> {
    let complain = |text: String| Finding::at("dependencies", "docs/dependencies.md", 0, text);
    let table: toml::Table = toml::from_str(manifest).unwrap_or_default();
    let listed = table
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(toml::Value::as_table);
    let Some(listed) = listed else {
        return vec![complain("the manifest's list of dependencies cannot be read".to_owned())];
    };
    let ours = |dependency: &toml::Value| dependency.get("path").is_some();
    let wanted: Vec<&str> =
        listed.iter().filter(|(_, to)| !ours(to)).map(|(name, _)| name.as_str()).collect();
    let named: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let missing =
        wanted.iter().filter(|name| !named.contains(name)).map(|name| format!("no reason for `{name}`"));
    let gone =
        named.iter().filter(|name| !wanted.contains(name)).map(|name| format!("`{name}` is no dependency"));
    missing.chain(gone).map(complain).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Finding;
    use super::{links, readmes, reasons};
    use crate::workspace::Crate;

    fn texts(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.text.as_str()).collect()
    }

    #[test]
    fn links_must_lead_somewhere() {
        let text = "[a](b.md) [c](../d.md#part) [e](https://e.example/) [f](#here)\n```\n[x](not-a-link)\n```\n[g](gone.md)";
        let found = links("docs/page.md", text, |target| ["docs/b.md", "d.md"].contains(&target));
        assert_eq!(texts(&found), ["`gone.md` leads nowhere"]);
        assert_eq!(found[0].line, 5);
        assert_eq!(links("page.md", "[a](../b.md)", |_| true).len(), 1, "out of the repository");
    }

    #[test]
    fn crates_have_a_short_readme() {
        let each = Crate { name: "a".to_owned(), folder: "crates/a".to_owned(), dependencies: [].into() };
        let long = "line\n".repeat(31);
        assert_eq!(texts(&readmes(&[each], |_| Some(&long))), ["31 lines, 30 at most"]);
        let each = Crate { name: "a".to_owned(), folder: "crates/a".to_owned(), dependencies: [].into() };
        assert_eq!(texts(&readmes(&[each], |_| None)), ["the crate has no README"]);
    }

    #[test]
    fn dependencies_have_a_reason() {
        let manifest = "[workspace.dependencies]\nours = { path = \"x\" }\nserde = \"1\"\nhttp = \"1\"\n";
        let page = "| crate | why |\n| `http` | types |\n| `left-pad` | once |\n";
        assert_eq!(texts(&reasons(manifest, page)), ["no reason for `serde`", "`left-pad` is no dependency"]);
    }
}
