//! Where a secret comes from, and reading it again: a file that somebody writes anew, a program that gives another one.
//!
//! What was read is kept as it was while it cannot be read again: who replaces a file may take a moment. A secret that cannot
//! stand in a header is none.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::io::AsyncReadExt;

use super::UpstreamError;
use crate::secret::Secret;

/// Longest secret.
const SECRET_BYTES: u64 = 64 * 1024;

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// It is known and stays.
    Fixed(Secret),
    /// The text of a file, looked at again each second.
    File(PathBuf),
    /// What a program prints.
    Command {
        /// Program and arguments.
        line: Vec<String>,
        /// Its whole environment.
        env: BTreeMap<String, String>,
        /// Longest it may take.
        wait: Duration,
        /// How long what it printed is used before it is asked again.
        holds: Duration,
    },
}

/// A secret that is read when it is needed.
#[derive(Debug)]
pub(super) struct Value {
    source: SecretSource,
    /// Locked for single reads and writes.
    kept: Mutex<Option<Kept>>,
    /// Held while reading, so that one reads and the others wait for it.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Kept {
    secret: Secret,
    /// What tells that a file is another one.
    mark: Option<Mark>,
    looked: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    changed: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Value {
    pub(super) fn new(source: SecretSource) -> Value {
        let kept = match &source {
            SecretSource::Fixed(secret) => Some(Kept { secret: secret.clone(), mark: None, looked: 0 }),
            _ => None,
        };
        Value { source, kept: Mutex::new(kept), turn: tokio::sync::Mutex::default() }
    }

    /// The secret as it is now.
    pub(super) async fn current(&self, now: u64) -> Result<Secret, UpstreamError> {
        match self.fresh(now) {
            Some(secret) => Ok(secret),
            None => Box::pin(self.read(now, None)).await,
        }
    }

    /// The secret after `refused` was not accepted: another one, if there is one.
    pub(super) async fn after(&self, refused: &Secret, now: u64) -> Result<Option<Secret>, UpstreamError> {
        if matches!(self.source, SecretSource::Fixed(_)) {
            return Ok(None);
        }
        let secret = self.read(now, Some(refused)).await?;
        Ok((secret != *refused).then_some(secret))
    }

    fn fresh(&self, now: u64) -> Option<Secret> {
        let kept = self.kept()?;
        let holds = match &self.source {
            SecretSource::Fixed(_) => return Some(kept.secret),
            SecretSource::File(_) => 1,
            SecretSource::Command { holds, .. } => holds.as_secs(),
        };
        (now.abs_diff(kept.looked) < holds).then_some(kept.secret)
    }

    async fn read(&self, now: u64, refused: Option<&Secret>) -> Result<Secret, UpstreamError> {
        let _one = self.turn.lock().await;
        // Somebody else may have read it meanwhile.
        if let Some(secret) = self.fresh(now).filter(|secret| Some(secret) != refused) {
            return Ok(secret);
        }
        let before = self.kept();
        let read = match &self.source {
            SecretSource::Fixed(secret) => return Ok(secret.clone()),
            SecretSource::File(path) => of_file(path, before.as_ref()).await,
            SecretSource::Command { line, env, wait, .. } => {
                of_command((line, env), *wait).await.map(|secret| (secret, None))
            }
        };
        let (secret, mark) = match (read, before) {
            (Ok(read), _) => read,
            (Err(error), Some(before)) if refused.is_none() => {
                tracing::warn!(%error, "a secret cannot be read again; the one before stays in use");
                (before.secret, before.mark)
            }
            (Err(error), _) => return Err(error),
        };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Kept { secret: secret.clone(), mark, looked: now });
        Ok(secret)
    }

    fn kept(&self) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The text of a file, unless it is the one that was read before.
async fn of_file(path: &Path, before: Option<&Kept>) -> Result<(Secret, Option<Mark>), UpstreamError> {
    let (path, before) = (path.to_owned(), before.cloned());
    let reading = tokio::task::spawn_blocking(move || {
        let failed = |_| UpstreamError::Secret("its file cannot be read");
        let file = std::fs::File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        let mark = Some(Mark { changed: found.modified().ok(), length: found.len(), inode: found.ino() });
        if let Some(before) = before.filter(|before| before.mark == mark) {
            return Ok((before.secret, mark));
        }
        let mut bytes = Vec::new();
        file.take(SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        Ok((sound(bytes)?, mark))
    });
    reading.await.map_err(|_| UpstreamError::Secret("its file cannot be read"))?
}

/// What a program prints. It gets no input, a bounded time, and what it says on standard error is nobody's: it may name the
/// secret.
async fn of_command(
    (line, env): (&[String], &BTreeMap<String, String>),
    wait: Duration,
) -> Result<Secret, UpstreamError> {
    let failed = |_| UpstreamError::Secret("its program cannot be started");
    let (program, arguments) = line.split_first().ok_or(UpstreamError::Secret("its program is not named"))?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let printing = async {
        let mut bytes = Vec::new();
        let stdout = child.stdout.take().ok_or(UpstreamError::Secret("its program prints nothing"))?;
        let read = AsyncReadExt::take(stdout, SECRET_BYTES + 1).read_to_end(&mut bytes).await;
        read.map_err(|_| UpstreamError::Secret("its program's output cannot be read"))?;
        if bytes.len() as u64 > SECRET_BYTES {
            return Err(UpstreamError::Secret("its program prints more than 64 KiB"));
        }
        let status = child.wait().await.map_err(failed)?;
        if !status.success() {
            return Err(UpstreamError::Secret("its program failed"));
        }
        sound(bytes)
    };
    let printed = tokio::time::timeout(wait, printing).await;
    printed.map_err(|_| UpstreamError::Secret("its program took too long"))?
}

/// A secret without the line end that editors and programs put behind it.
fn sound(bytes: Vec<u8>) -> Result<Secret, UpstreamError> {
    if bytes.len() as u64 > SECRET_BYTES {
        return Err(UpstreamError::Secret("it is larger than 64 KiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| UpstreamError::Secret("it is not text"))?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() { Err(UpstreamError::Secret("it is empty")) } else { Ok(Secret::new(text)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{SecretSource, Value};
    use crate::secret::Secret;

    fn command(script: &str, wait: Duration) -> SecretSource {
        let line = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        SecretSource::Command { line, env: BTreeMap::new(), wait, holds: Duration::from_secs(60) }
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes_and_kept_when_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "first\n").unwrap();
        let value = Value::new(SecretSource::File(path.clone()));
        assert_eq!(value.current(10).await.unwrap().reveal(), "first");
        std::fs::write(&path, "the second\n").unwrap();
        assert_eq!(value.current(10).await.unwrap().reveal(), "first", "within the second");
        assert_eq!(value.current(11).await.unwrap().reveal(), "the second");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(value.current(12).await.unwrap().reveal(), "the second");
        let refused = Secret::new("the second");
        assert!(value.after(&refused, 12).await.is_err(), "nothing else is there");
        std::fs::write(&path, "third").unwrap();
        assert_eq!(value.after(&refused, 12).await.unwrap(), Some(Secret::new("third")));
        assert_eq!(value.after(&Secret::new("third"), 12).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_program_is_asked_once_while_it_holds_and_again_when_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let script = format!("echo x >> {0}; wc -l < {0}", count.display());
        let value = Value::new(command(&script, Duration::from_secs(10)));
        let first = value.current(10).await.unwrap();
        assert_eq!(first.reveal().trim(), "1");
        assert_eq!(value.current(69).await.unwrap(), first);
        assert_eq!(value.after(&first, 69).await.unwrap().unwrap().reveal().trim(), "2");
        assert_eq!(value.current(200).await.unwrap().reveal().trim(), "3");
    }

    #[tokio::test]
    async fn a_program_that_fails_floods_or_hangs_gives_nothing() {
        for (script, wait, why) in [
            ("echo canary; echo canary >&2; exit 1", 10_000, "its program failed"),
            ("yes canary", 10_000, "its program prints more than 64 KiB"),
            ("exec sleep 60", 50, "its program took too long"),
            ("exit 0", 10_000, "it is empty"),
            ("printf '\\377'", 10_000, "it is not text"),
        ] {
            let error =
                Value::new(command(script, Duration::from_millis(wait))).current(1).await.unwrap_err();
            assert!(error.to_string().ends_with(why), "{script}: {error}");
            assert!(!format!("{error:?} {error}").contains("canary"));
        }
    }
}
