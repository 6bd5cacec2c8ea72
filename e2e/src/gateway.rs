//! The binary as a process.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

/// The binary under test.
///
/// # Panics
/// Without `TOLLBOOK_BIN`.
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says where the binary is")]
pub fn binary() -> PathBuf {
    std::env::var_os("TOLLBOOK_BIN")
        .map(PathBuf::from)
        .expect("TOLLBOOK_BIN is not set: run `cargo xtask test`")
}

/// Runs a command of the binary on a data folder and gives what it printed.
///
/// # Panics
/// When it cannot be run.
pub fn tollbook(data: &Path, arguments: &[&str]) -> Output {
    Command::new(binary()).arg("--data").arg(data).args(arguments).output().expect("tollbook runs")
}

/// A running `tollbook serve`.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// Its data folder.
    pub data: PathBuf,
    /// `http://127.0.0.1:PORT` of the console, if it has one.
    pub console: Option<String>,
    log: Arc<Log>,
    /// Ends with what it prints.
    reader: Option<JoinHandle<()>>,
}

/// What a gateway has printed.
#[derive(Debug, Default)]
struct Log {
    text: Mutex<String>,
    /// A line came, or nothing more will.
    grew: Condvar,
}

impl Log {
    fn append(&self, line: &str) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
        self.grew.notify_all();
    }

    fn read(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Gateway {
    /// Starts a gateway on a data folder, on a free port. `servers` is the rest of the configuration.
    ///
    /// # Panics
    /// With its log, when it does not come up.
    pub fn start(data: &Path, servers: &str) -> Gateway {
        Gateway::with_fault(data, servers, "")
            .unwrap_or_else(|log| panic!("the gateway did not come up:\n{log}"))
    }

    /// Starts one with a fault plan (`recorder::faults`); without a plan if that is empty.
    ///
    /// # Errors
    /// Its log, when it ends before it listens.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn with_fault(data: &Path, servers: &str, plan: &str) -> Result<Gateway, String> {
        let plan = [("TOLLBOOK_FAULT", plan)];
        let environment = if plan[0].1.is_empty() { &[][..] } else { &plan[..] };
        Gateway::with_environment(data, &format!("listen = \"127.0.0.1:0\"\n{servers}"), environment)
    }

    /// Starts one with a whole configuration and these variables.
    ///
    /// # Errors
    /// Its log, when it ends before it listens.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn with_environment(
        data: &Path,
        configuration: &str,
        environment: &[(&str, &str)],
    ) -> Result<Gateway, String> {
        std::fs::create_dir_all(data).expect("the data folder can be made");
        let config = data.join("tollbook.toml");
        std::fs::write(&config, configuration).expect("the configuration is written");
        let mut child = Command::new(binary())
            .envs(environment.iter().copied())
            .args(["serve", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tollbook starts");
        let stderr = child.stderr.take().expect("its standard error was asked for");
        let log = Arc::new(Log::default());
        let mut lines = BufReader::new(stderr).lines();
        let (mut url, mut console) = (None, None);
        for line in lines.by_ref().map_while(Result::ok) {
            log.append(&line);
            if line.starts_with("listening on /") {
                break;
            }
            console = console.or_else(|| line.strip_prefix("console on ").map(str::to_owned));
            url = url.or_else(|| line.strip_prefix("listening on ").map(str::to_owned));
        }
        let rest = Arc::clone(&log);
        let reader =
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| rest.append(&line)));
        let Some(url) = url else {
            child.wait().expect("the gateway can be waited for");
            return Err(log.read());
        };
        Ok(Gateway { child, url, data: data.to_owned(), console, log, reader: Some(reader) })
    }

    /// What it has logged so far, as far as that was read: all that it printed before it listened, and all before a line
    /// that was waited for ([`Gateway::logged`]). [`Gateway::stop`] gives all.
    pub fn log(&self) -> String {
        self.log.read()
    }

    /// Waits until it has logged a text so many times.
    pub fn logged(&self, text: &str, times: usize) {
        let mut log = self.log.text.lock().unwrap_or_else(PoisonError::into_inner);
        while log.matches(text).count() < times {
            log = self.log.grew.wait(log).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Replaces its configuration by this one, and tells it to read it.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn reload(&self, servers: &str) {
        let text = format!("listen = \"127.0.0.1:0\"\n{servers}");
        std::fs::write(self.data.join("tollbook.toml"), text).expect("the configuration is written");
        signal(&self.child, Signal::HUP);
    }

    /// Tells it to read its configuration again.
    pub fn signal_reload(&self) {
        signal(&self.child, Signal::HUP);
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to end, and does not wait.
    pub fn signal_stop(&self) {
        signal(&self.child, Signal::TERM);
    }

    /// Ends it as an operator does, and waits until it has closed its ledger. Gives all that it has logged.
    ///
    /// # Panics
    /// With its log, when it does not end well.
    pub fn stop(self) -> String {
        signal(&self.child, Signal::TERM);
        let (status, log) = self.waited();
        assert!(status.success(), "the gateway ended with {status}:\n{log}");
        log
    }

    /// Waits until it has ended by itself, or by a fault. Gives all that it has logged.
    ///
    /// # Panics
    /// When it ended well, or cannot be waited for.
    pub fn ended(self) -> String {
        let (status, log) = self.waited();
        assert!(!status.success(), "the gateway ended with {status}:\n{log}");
        log
    }

    fn waited(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("the gateway can be waited for");
        let reader = self.reader.take().expect("it is waited for once");
        reader.join().expect("all that it printed is read");
        (status, self.log())
    }

    /// Kills it without warning.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(mut self) {
        signal(&self.child, Signal::KILL);
        self.child.wait().expect("the gateway can be waited for");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended.
        let _ = kill_process(pid, signal);
    }
}
