//! What must not compile: forwarding without a record. The cases stand in `tests/compile`, each beside what the compiler
//! says to it; `passes.rs` shows that the cases fail for that reason and no other.

#[test]
fn forwarding_needs_a_record() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile/passes.rs");
    cases.compile_fail("tests/compile/fails_*.rs");
}
