//! Other people's clients and servers, as `cargo xtask setup` installs them.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The repository.
///
/// # Panics
/// Never: this crate stands in it.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate has a parent folder").to_owned()
}

/// Node of the version that the conformance suite needs.
///
/// # Panics
/// When it is not installed.
pub fn node() -> PathBuf {
    installed("e2e/peers/node/node_modules/node/bin/node")
}

/// Python with the MCP SDK.
///
/// # Panics
/// When it is not installed.
pub fn python() -> PathBuf {
    installed(".tools/venv/bin/python")
}

/// A script or program of a Node package.
///
/// # Panics
/// When it is not installed.
pub fn package(path: &str) -> PathBuf {
    installed(&format!("e2e/peers/node/node_modules/{path}"))
}

/// The reference server with every feature.
///
/// # Panics
/// When it is not installed.
pub fn everything() -> PathBuf {
    package("@modelcontextprotocol/server-everything/dist/index.js")
}

/// The reference server for files.
///
/// # Panics
/// When it is not installed.
pub fn filesystem() -> PathBuf {
    package("@modelcontextprotocol/server-filesystem/dist/index.js")
}

fn installed(path: &str) -> PathBuf {
    let path = repository().join(path);
    assert!(path.exists(), "{} is not installed: run `cargo xtask test`", path.display());
    path
}

/// A peer that runs until it is dropped.
#[derive(Debug)]
pub struct Peer {
    child: Child,
}

impl Peer {
    /// Starts a peer and waits until it prints a line that holds `ready`, on either stream.
    ///
    /// # Panics
    /// When it ends before.
    pub fn start(mut command: Command, ready: &str) -> Peer {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        command.stdin(Stdio::null()).stdout(writer.try_clone().expect("a pipe")).stderr(writer);
        let peer = Peer { child: command.spawn().expect("the peer starts") };
        // Or its writing ends would stay open here.
        drop(command);
        let mut lines = BufReader::new(reader).lines();
        let mut seen = String::new();
        for line in lines.by_ref().map_while(Result::ok) {
            seen.push_str(&line);
            seen.push('\n');
            if line.contains(ready) {
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return peer;
            }
        }
        panic!("the peer did not come up:\n{seen}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now, and that no other test is given: the system's own choice, for which all connections of this machine
/// compete, may be taken again before it is used. Each test is a process, and tries another part of what lies below.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(16);
    (0..PORTS)
        .map(|_| FIRST + own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| is_ours(*port) && std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// Whether no other test of this machine has the port; it is ours until this process ends.
fn is_ours(port: u16) -> bool {
    let path = std::env::temp_dir().join(format!("tollbook-e2e-port-{port}"));
    let lock = File::options().create(true).truncate(false).write(true).open(path).expect("a lock");
    let is_ours = lock.try_lock().is_ok();
    if is_ours {
        std::mem::forget(lock);
    }
    is_ours
}

/// Ports that the system gives to nobody by itself (`ip_local_port_range` begins at 32768).
const FIRST: u32 = 20_000;
const PORTS: u32 = 12_000;
