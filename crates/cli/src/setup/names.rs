//! Names of servers in records: one target, one name; another target, another name.

use std::collections::BTreeMap;

use super::entry::Target;

/// Longest name that is made; the gateway takes 64.
const LONGEST: usize = 40;

/// Names in use and what they stand for.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, Target>);

impl Names {
    /// Notes a name in use; what was noted first counts.
    pub(super) fn occupy(&mut self, name: &str, target: Target) {
        self.0.entry(name.to_owned()).or_insert(target);
    }

    /// A name for a target: the one wanted if it is free or means the same, else with the client's, else with a number.
    pub(super) fn choose(&mut self, wanted: &str, client: &str, target: &Target) -> String {
        let wanted = allowed(wanted);
        let with_client = format!("{wanted}-{client}");
        let numbered = (2u32..).map(|n| format!("{wanted}-{client}-{n}"));
        let fits = |name: &String| self.0.get(name).is_none_or(|taken| taken == target);
        let name = [wanted.clone(), with_client].into_iter().chain(numbered).find(fits).unwrap_or(wanted);
        self.occupy(&name, target.clone());
        name
    }
}

/// The name in the letters that servers' names may have.
fn allowed(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let made: String = name.chars().map(letter).take(LONGEST).collect();
    let made = made.trim_matches('-');
    if made.is_empty() { "server".to_owned() } else { made.to_owned() }
}
