//! Runs commands as named steps: one line each with the duration, output shown when it matters.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};

/// Prints a line.
pub(crate) fn say(text: &str) {
    // Whoever read it may be gone.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Runs steps and counts the tests they ran.
pub(crate) struct Steps {
    started: Instant,
    /// Tests that passed and failed, of all steps.
    passed: u64,
    failed: u64,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), passed: 0, failed: 0 }
    }

    /// Runs work of our own as a step.
    pub(crate) fn own(
        &mut self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        work().with_context(|| format!("step `{name}` failed"))?;
        done(name, started);
        Ok(())
    }

    /// Runs a command whose output is shown only if it fails.
    pub(crate) fn quiet(&mut self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        self.own(name, || quietly(command))
    }

    /// Runs a test runner: shows what it says and counts its tests.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        let started = Instant::now();
        say(&format!("--- {name}"));
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context(shown(command))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let counts = std::thread::scope(|scope| {
            let errors = scope.spawn(|| err.map(count).unwrap_or_default());
            let (passed, failed) = out.map(count).unwrap_or_default();
            let (more_passed, more_failed) = errors.join().unwrap_or_default();
            (passed + more_passed, failed + more_failed)
        });
        self.passed += counts.0;
        self.failed += counts.1;
        if !child.wait()?.success() {
            say(&self.tally());
            bail!("step `{name}` failed");
        }
        done(name, started);
        Ok(())
    }

    /// The closing line that a machine reads.
    pub(crate) fn tally(&self) -> String {
        format!("{} passed, {} failed", self.passed, self.failed)
    }

    /// Ends with the time that all took and the tally.
    pub(crate) fn finish(&self, name: &str) {
        say(&format!("{name}: done in {:.0?}", self.started.elapsed()));
        say(&self.tally());
    }
}

/// Runs a command; its output is in the error if it fails.
pub(crate) fn quietly(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| shown(command))?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    bail!("{}: {}\n{out}{err}", shown(command), output.status)
}

/// Whether a command can be run and says yes.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
}

fn done(name: &str, started: Instant) {
    say(&format!("{name:.<42} {:6.1} s", started.elapsed().as_secs_f64()));
}

fn shown(command: &Command) -> String {
    let parts = std::iter::once(command.get_program()).chain(command.get_args());
    parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Passes lines on and sums what nextest and the doctest runner say at their end.
fn count(from: impl Read) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        say(&line);
        let (passed, failed) = counted(&line);
        sum = (sum.0 + passed, sum.1 + failed);
    }
    sum
}

/// Tests passed and failed in a runner's closing line; none in any other line.
fn counted(line: &str) -> (u64, u64) {
    // What a test that failed has printed is indented, and may have such a line too.
    if !line.trim_start().starts_with("Summary [") && !line.starts_with("test result:") {
        return (0, 0);
    }
    let words: Vec<&str> = line.split([' ', ',', ';']).filter(|word| !word.is_empty()).collect();
    let before = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
    };
    (before("passed").unwrap_or(0), before("failed").unwrap_or(0) + before("timed").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn closing_lines_are_counted() {
        for (line, expected) in [
            ("     Summary [   0.012s] 12 tests run: 11 passed (1 slow), 1 failed, 0 skipped", (11, 1)),
            ("     Summary [   3.1s] 2 tests run: 2 passed, 5 skipped", (2, 0)),
            ("     Summary [   3.1s] 3 tests run: 2 passed, 1 timed out, 0 skipped", (2, 1)),
            ("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", (3, 0)),
            ("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 119 filtered out", (0, 0)),
            ("        PASS [   0.01s] mcp::it reads 7 passed", (0, 0)),
        ] {
            assert_eq!(counted(line), expected, "{line}");
        }
    }
}
