//! The examples of `docs/policy.md` stand in `tests/examples` and compile.

use std::path::Path;

use policy::{Bundle, Source};

use super::made::catalog;

#[test]
fn every_example_compiles_and_stands_in_the_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/policy.md")).unwrap();
    let mut examples = 0;
    for entry in std::fs::read_dir(root.join("tests/examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let compiled = Bundle::compile(&[Source { name: name.clone(), text: text.clone() }], &catalog());
        assert!(compiled.is_ok(), "{name}: {}", compiled.unwrap_err());
        assert!(
            page.contains(&format!("```cedar\n{text}```")),
            "{name} does not stand in docs/policy.md as it is"
        );
        examples += 1;
    }
    assert_eq!(page.matches("```cedar").count(), examples);
}
