//! `tollbook completions`, `tollbook man` and `tollbook schema`: what a package installs beside the binary, made from the
//! command line's own definition and from the types of the configuration, so that none can fall behind.

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

/// Prints the JSON Schema of `tollbook.toml`; the exit code is 0.
pub(crate) fn schema(out: &mut dyn Write) -> anyhow::Result<u8> {
    // `config/schema.rs` has the tests that keep it true.
    out.write_all(include_bytes!("../../../docs/tollbook.schema.json"))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{Command, CommandFactory as _, Parser as _};

    use super::{CompletionsArgs, KnownShell, ManArgs, completions, man};
    use crate::environment::Environment;
    use crate::{Cli, config};

    const UNIT: &str = include_str!("../../../packaging/tollbook.service");
    const CONTAINER: &str = include_str!("../../../packaging/Dockerfile");
    const MANIFEST: &str = include_str!("../Cargo.toml");

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

    /// The value of a line `NAME…` of a unit or a Dockerfile.
    fn line<'a>(text: &'a str, name: &str) -> &'a str {
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap()
    }

    #[test]
    fn the_unit_starts_a_gateway() {
        let started: Vec<&str> = line(UNIT, "ExecStart=").split(' ').collect();
        assert_eq!(started[..2], ["/usr/bin/tollbook", "serve"]);
        let cli = Cli::try_parse_from(started).unwrap();
        assert_eq!(cli.data.as_deref(), Some(Path::new("/var/lib/tollbook")));
        assert!(matches!(cli.command, crate::Command::Serve(_)));
    }

    #[test]
    fn the_container_starts_a_gateway() {
        let words = |name| serde_json::from_str::<Vec<String>>(line(CONTAINER, name)).unwrap();
        let started = [words("ENTRYPOINT "), words("CMD ")].concat();
        let cli = Cli::try_parse_from(started).unwrap();
        assert!(matches!(cli.command, crate::Command::Serve(_)));
    }

    #[test]
    fn the_packaged_configuration_is_valid() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/tollbook.toml");
        let config = config::read(Some(&file), &Environment::read()).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7800");
        assert!(config.servers.is_empty());
    }

    #[test]
    fn the_package_has_what_unit_and_configuration_name() {
        let manifest: toml::Table = MANIFEST.parse().unwrap();
        let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
        let targets: Vec<&str> = assets.iter().map(|asset| asset[1].as_str().unwrap()).collect();
        let schema = line(include_str!("../../../packaging/tollbook.toml"), "#:schema file:///");
        let words: Vec<&str> =
            line(UNIT, "ExecStart=/").split(" /").flat_map(|part| part.split(' ')).collect();
        for named in [schema, words[0], "etc/tollbook/tollbook.toml"] {
            assert!(targets.contains(&named), "the package lacks `{named}`");
        }
        for asset in assets {
            let source = asset[0].as_str().unwrap();
            let is_made = source.starts_with("target/release/");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
            assert!(is_made || path.is_file(), "there is no `{source}`");
        }
    }
}
