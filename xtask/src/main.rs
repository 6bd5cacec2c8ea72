//! Chores of the workspace as one command: `cargo xtask ci` is all that CI runs, `cargo xtask demo` shows the product.
//!
//! What the chores need beyond Rust, Node and Python they install themselves, into `.tools/` of the repository or with
//! apt-get, once. Each step prints one line with its duration; what a step says itself is shown when it fails.

mod bench;
mod ci;
mod demo;
mod package;
mod setup;
mod shell;
mod tidy;
mod workspace;

use std::process::ExitCode;

use crate::workspace::Workspace;

const USAGE: &str = "usage: cargo xtask COMMAND

  demo [--keep]  a gateway, two real servers and a scripted agent: record, replay, verify, find a flipped byte;
                 then a bank whose tellers log in, and what policy makes of their calls;
                 --keep leaves the gateway running and says how to point a client at it
  test           install what the tests need, run every test
  ci             what CI runs: format, lints, tidy, licences, tests, docs, end to end
  bench [--quick] [--million]
                 measures against a direct connection and writes docs/performance/; --quick takes a minute and writes
                 to the target folder, --million searches a million calls too
  package        the release binary, manual pages, completions and a Debian package, below the target folder
  tidy           architecture arrows, size budgets, names, links
  setup          install what tests and demo need; instant when it is there
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["demo"] => Workspace::open().and_then(|workspace| demo::run(&workspace, demo::After::Stop)),
        ["demo", "--keep"] => {
            Workspace::open().and_then(|workspace| demo::run(&workspace, demo::After::Keep))
        }
        ["test"] => Workspace::open().and_then(|workspace| ci::test(&workspace)),
        ["ci"] => Workspace::open().and_then(|workspace| ci::ci(&workspace)),
        ["bench", chosen @ ..] => Workspace::open().and_then(|workspace| bench::run(&workspace, chosen)),
        ["package"] => Workspace::open().and_then(|workspace| package::run(&workspace)),
        ["tidy"] => Workspace::open().and_then(|workspace| tidy::run(&workspace)),
        ["setup"] => Workspace::open().and_then(|workspace| setup::all(&workspace)),
        _ => {
            shell::say(USAGE);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
