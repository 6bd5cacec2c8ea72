//! `tollbook completions` and `tollbook man`: what a package installs beside the binary, made from the command line's own
//! definition, so that neither can fall behind it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;

/// Print a shell's completions.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell that will read them.
    #[arg(value_enum)]
    shell: KnownShell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KnownShell {
    Bash,
    Zsh,
    Fish,
}

/// Write the manual pages, one for each command.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages; made if it is not there.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// Prints the completions; the exit code is 0.
pub(crate) fn completions(
    args: &CompletionsArgs,
    mut command: Command,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let shell = match args.shell {
        KnownShell::Bash => Shell::Bash,
        KnownShell::Zsh => Shell::Zsh,
        KnownShell::Fish => Shell::Fish,
    };
    // The generator panics where its writer fails, as it does when the reader goes away.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "tollbook", &mut script);
    out.write_all(&script)?;
    Ok(0)
}

/// Writes the pages; the exit code is 0.
pub(crate) fn man(args: &ManArgs, command: Command) -> anyhow::Result<u8> {
    let folder = &args.output;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("cannot write pages into `{}`", folder.display()))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::{CompletionsArgs, KnownShell, ManArgs, completions, man};
    use crate::Cli;

    /// `calls`, `index-status`, …: commands and their commands.
    fn names(command: &Command, before: &str) -> Vec<String> {
        let mut found = Vec::new();
        for each in command.get_subcommands().filter(|each| each.get_name() != "help") {
            let name = format!("{before}{}", each.get_name());
            found.extend(names(each, &format!("{name}-")));
            found.push(name);
        }
        found
    }

    #[test]
    fn completions_name_every_command() {
        for shell in [KnownShell::Bash, KnownShell::Zsh, KnownShell::Fish] {
            let mut out = Vec::new();
            assert_eq!(completions(&CompletionsArgs { shell }, Cli::command(), &mut out).unwrap(), 0);
            let script = String::from_utf8(out).unwrap();
            for name in names(&Cli::command(), "") {
                let word = name.rsplit('-').next().unwrap();
                assert!(script.contains(word), "{shell:?} does not complete `{word}`");
            }
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("man");
        assert_eq!(man(&ManArgs { output: output.clone() }, Cli::command()).unwrap(), 0);
        assert!(output.join("tollbook.1").exists());
        for name in names(&Cli::command(), "") {
            let page = std::fs::read_to_string(output.join(format!("tollbook-{name}.1"))).unwrap();
            assert!(page.contains(".TH"), "{name}");
        }
    }
}
