//! Sizes and names in Rust sources, and what tests may not do.

use std::collections::BTreeMap;

use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Ident, ImplItemFn, Item, ItemFn, ItemMod, Signature, Visibility};

use super::Finding;

/// Lines of code in a file, tests aside.
const FILE_LINES: usize = 500;

/// Lines of a function, from its first to its last.
const FUNCTION_LINES: usize = 60;

/// Arguments of a function, `self` among them.
const ARGUMENTS: usize = 5;

/// Public items of a crate.
const PUBLIC_ITEMS: usize = 60;

/// Words that say nothing in a name.
const EMPTY_WORDS: [&str; 13] = [
    "manager",
    "handler",
    "helper",
    "util",
    "utils",
    "common",
    "core",
    "base",
    "service",
    "processor",
    "engine",
    "impl",
    "wrapper",
];

/// Calls that wait for time to pass.
const SLEEPS: [&str; 2] = [concat!("thread::sl", "eep"), concat!("time::sl", "eep(")];

/// What was seen of the crates so far.
#[derive(Debug, Default)]
pub(super) struct Sources {
    public: BTreeMap<String, usize>,
}

impl Sources {
    /// Checks one file.
    pub(super) fn check(&mut self, path: &str, text: &str) -> Vec<Finding> {
        let file = match syn::parse_file(text) {
            Ok(file) => file,
            Err(error) => {
                return vec![Finding::at("syntax", path, error.span().start().line, error.to_string())];
            }
        };
        let is_test = path.contains("/tests/") || path.contains("/examples/");
        let mut walk = Walk { path, findings: Vec::new(), skipped: Vec::new(), public: 0, in_test: is_test };
        walk.visit_file(&file);
        if let Some(name) = path.strip_prefix("crates/").and_then(|rest| rest.split('/').next())
            && !is_test
        {
            *self.public.entry(name.to_owned()).or_default() += walk.public;
        }
        let mut findings = walk.findings;
        if !is_test {
            let lines = lines_of_code(text, &walk.skipped);
            if lines > FILE_LINES {
                let text = format!("{lines} lines of code, {FILE_LINES} are the most");
                findings.push(Finding::at("file-size", path, 0, text));
            }
        }
        findings.extend(test_habits(path, text, is_test));
        findings
    }

    /// What only the sum of a crate's files shows.
    pub(super) fn crates(&self) -> Vec<Finding> {
        let large = self.public.iter().filter(|(_, count)| **count > PUBLIC_ITEMS);
        let findings = large.map(|(name, count)| {
            let text = format!("{count} public items, {PUBLIC_ITEMS} are the most");
            Finding::at("public-items", &format!("crates/{name}"), 0, text)
        });
        findings.collect()
    }
}

struct Walk<'a> {
    path: &'a str,
    findings: Vec<Finding>,
    /// First and last lines of test modules.
    skipped: Vec<(usize, usize)>,
    public: usize,
    in_test: bool,
}

impl Walk<'_> {
    fn complain(&mut self, rule: &'static str, span: Span, item: &Ident, text: String) {
        self.findings.push(Finding::at(rule, self.path, span.start().line, text).of(&item.to_string()));
    }

    fn name(&mut self, name: &Ident) {
        let words = words(&name.to_string());
        if let Some(word) = EMPTY_WORDS.iter().find(|word| words.iter().any(|w| w == *word)) {
            self.complain("empty-name", name.span(), name, format!("`{word}` in `{name}` says nothing"));
        }
    }

    fn function(&mut self, signature: &Signature, body: &Block) {
        let name = &signature.ident;
        self.name(name);
        let lines = body.span().end().line + 1 - signature.span().start().line;
        if lines > FUNCTION_LINES && !self.in_test {
            let text = format!("`{name}` has {lines} lines, {FUNCTION_LINES} are the most");
            self.complain("function-size", name.span(), name, text);
        }
        if signature.inputs.len() > ARGUMENTS {
            let text = format!("`{name}` has {} arguments, {ARGUMENTS} are the most", signature.inputs.len());
            self.complain("arguments", name.span(), name, text);
        }
    }

    fn publish(&mut self, visibility: &Visibility) {
        if matches!(visibility, Visibility::Public(_)) && !self.in_test {
            self.public += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Struct(item) => {
                self.publish(&item.vis);
                self.name(&item.ident);
            }
            Item::Enum(item) => {
                self.publish(&item.vis);
                self.name(&item.ident);
            }
            Item::Trait(item) => {
                self.publish(&item.vis);
                self.name(&item.ident);
            }
            Item::Fn(item) => self.publish(&item.vis),
            Item::Const(item) => self.publish(&item.vis),
            Item::Type(item) => self.publish(&item.vis),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.name(&item.ident);
        let outer = self.in_test;
        if item.attrs.iter().any(is_test_only) {
            self.in_test = true;
            self.skipped.push((item.span().start().line, item.span().end().line));
        }
        visit::visit_item_mod(self, item);
        self.in_test = outer;
    }
}

fn is_test_only(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<Ident>().is_ok_and(|what| what == "test")
}

/// Lines that are neither blank nor comments nor tests.
fn lines_of_code(text: &str, skipped: &[(usize, usize)]) -> usize {
    let counts = |(line, text): &(usize, &str)| {
        let text = text.trim();
        let is_code = !text.is_empty() && !text.starts_with("//");
        is_code && !skipped.iter().any(|(first, last)| (first..=last).contains(&line))
    };
    (1..).zip(text.lines()).filter(counts).count()
}

/// Tests that are skipped, that pass by failing, or that wait for time to pass.
fn test_habits(path: &str, text: &str, is_test: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, written) in (1..).zip(text.lines()) {
        let trimmed = written.trim_start();
        for attribute in [concat!("#[ign", "ore"), concat!("#[should", "_panic")] {
            if trimmed.starts_with(attribute) {
                findings.push(Finding::at("test-habit", path, line, format!("`{attribute}` on a test")));
            }
        }
        if is_test && let Some(sleep) = SLEEPS.iter().find(|sleep| written.contains(**sleep)) {
            findings.push(Finding::at(
                "test-habit",
                path,
                line,
                format!("`{sleep}` in a test: wait for what happens"),
            ));
        }
    }
    findings
}

/// `FrameReader` and `frame_reader` are `frame` and `reader`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for character in name.chars() {
        if character == '_' || character.is_uppercase() {
            words.push(String::new());
        }
        if character != '_'
            && let Some(word) = words.last_mut()
        {
            word.extend(character.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::Sources;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        Sources::default().check(path, text).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn sizes_and_names() {
        let long = format!("fn long() {{\n{}}}\n", "    let _ = 1;\n".repeat(60));
        for (text, expected) in [
            ("fn short(a: u8) {}", vec![]),
            (long.as_str(), vec!["function-size"]),
            ("fn many(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}", vec!["arguments"]),
            ("struct CallManager;", vec!["empty-name"]),
            ("fn base_of() {}", vec!["empty-name"]),
            ("mod util {}", vec!["empty-name"]),
            ("struct Database; fn encore() {}", vec![]),
            ("fn broken(", vec!["syntax"]),
        ] {
            assert_eq!(rules("crates/x/src/a.rs", text), expected, "{text}");
        }
    }

    #[test]
    fn large_files_but_not_their_tests() {
        let code = "const A: u8 = 1;\n".repeat(501);
        assert_eq!(rules("crates/x/src/a.rs", &code), ["file-size"]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(rules("crates/x/src/a.rs", &tests), Vec::<&str>::new());
    }

    #[test]
    fn habits_of_tests() {
        let ignored = format!("#[test]\n{}]\nfn t() {{}}", concat!("#[ign", "ore"));
        assert_eq!(rules("crates/x/src/a.rs", &ignored), ["test-habit"]);
        let sleeps = format!("fn t() {{ std::{}(d) }}", concat!("thread::sl", "eep"));
        assert_eq!(rules("crates/x/tests/it/a.rs", &sleeps), ["test-habit"]);
        assert_eq!(rules("crates/x/src/a.rs", &sleeps), Vec::<&str>::new());
    }
}
