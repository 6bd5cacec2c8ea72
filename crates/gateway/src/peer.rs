//! Who is at the other end of a connection: the operating system's word, not the client's.
//!
//! On loopback the kernel knows which user and which process own the other socket. That user is the principal
//! until an identity provider is configured; the process separates the runs of clients that have no session.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use identity::{Caller, RunName};

use crate::sock_diag::{self, Socket};

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// `os:NAME`, or `os:#UID` where the user has no name; of who was verified, kind, name and issuer.
    pub(crate) principal: Arc<str>,
    /// What tells the runs of clients without a session apart.
    pub(crate) process: Process,
    /// Who was verified, if an identity provider vouches for the principal.
    pub(crate) verified: Option<Verified>,
    /// The address at the other end.
    pub(crate) address: Option<IpAddr>,
}

/// A caller that was verified.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    pub(crate) caller: Arc<Caller>,
    /// What policies call the principal.
    pub(crate) name: Arc<str>,
    /// What limits count as one run: all that the credential's run minted; `None`: nothing in the credential names a run.
    pub(crate) run: Option<Arc<str>>,
}

/// What the operating system says of the process at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Process {
    /// Process id and its start time in clock ticks since boot, which together are unique until reboot.
    Known { pid: u32, started: u64 },
    /// Not to be found: the address stands in.
    Address(SocketAddr),
    /// Not to be found on a Unix socket.
    Unnamed,
    /// A credential names the run, whichever process presents it.
    Credential(RunName),
}

impl Peer {
    /// The peer of a Unix socket, by its kernel credentials.
    pub(crate) fn of_socket(credentials: &tokio::net::unix::UCred) -> Peer {
        let process = credentials
            .pid()
            .and_then(|pid| u32::try_from(pid).ok())
            .map_or(Process::Unnamed, |pid| Process::Known { pid, started: start_time(pid).unwrap_or(0) });
        Peer::of_system(principal(credentials.uid()), process, None)
    }

    fn of_system(principal: Arc<str>, process: Process, address: Option<SocketAddr>) -> Peer {
        let address = address.map(|address| address.ip().to_canonical());
        Peer { principal, process, verified: None, address }
    }

    /// The same end of a connection, once a credential says who it is.
    pub(crate) fn verified(&self, verified: Verified) -> Peer {
        let process = match &verified.caller.run {
            RunName::Unnamed => self.process.clone(),
            named => Process::Credential(named.clone()),
        };
        let principal = Arc::from(verified.caller.principal.to_string());
        Peer { principal, process, verified: Some(verified), address: self.address }
    }

    /// Whether a session that one of them opened may be used by the other: the same principal, by credentials that may do the
    /// same. A renewed token goes on; a run narrower than the one that opened it does not get at what that one may.
    pub(crate) fn may_share_with(&self, other: &Peer) -> bool {
        let minted = |caller: &Caller| match &caller.run {
            RunName::Minted(run) => Some(*run),
            _ => None,
        };
        let equal = match (&self.verified, &other.verified) {
            (None, None) => true,
            (Some(one), Some(two)) => {
                let (one, two) = (&one.caller, &two.caller);
                one.groups == two.groups && one.scope == two.scope && minted(one) == minted(two)
            }
            _ => false,
        };
        equal && self.principal == other.principal
    }

    /// The peer of a TCP connection between these addresses. Reads `/proc`, so it may take milliseconds: call it off the
    /// event loop. Beyond loopback nothing is known, and the principal is `anonymous`.
    pub(crate) fn of_connection(local: SocketAddr, remote: SocketAddr, owners: &Owners) -> Peer {
        if !remote.ip().to_canonical().is_loopback() {
            return Peer::of_system(Arc::from("anonymous"), Process::Address(remote), Some(remote));
        }
        // Their address is ours, seen from the other end.
        let found = sock_diag::find(remote, local).unwrap_or_else(|_| socket_of(remote));
        let Some(socket) = found else {
            // Without /proc the listener's own user is the only one that loopback mode is meant for.
            let own = principal(rustix::process::getuid().as_raw());
            return Peer::of_system(own, Process::Address(remote), Some(remote));
        };
        let process = owners.find(socket.inode).map_or(Process::Address(remote), |pid| Process::Known {
            pid,
            started: start_time(pid).unwrap_or(0),
        });
        Peer::of_system(principal(socket.uid), process, Some(remote))
    }

    /// A peer of whom nothing is known.
    pub(crate) fn unknown() -> Peer {
        Peer::of_system(Arc::from("anonymous"), Process::Unnamed, None)
    }

    /// What the record says of the peer, as JSON.
    pub(crate) fn describe(&self) -> String {
        match &self.process {
            Process::Known { pid, .. } => match self.address {
                Some(address) => format!(r#"{{"address":"{address}","pid":{pid}}}"#),
                None => format!(r#"{{"pid":{pid}}}"#),
            },
            Process::Address(address) => format!(r#"{{"address":"{address}"}}"#),
            Process::Unnamed => "{}".to_owned(),
            Process::Credential(_) => match self.address {
                Some(address) => format!(r#"{{"address":"{address}"}}"#),
                None => "{}".to_owned(),
            },
        }
    }
}

/// The processes that were found last, tried first: a client has many connections.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// Newest last. Locked for single reads and writes.
    recent: Mutex<Vec<u32>>,
}

impl Owners {
    /// Processes that are remembered.
    const RECENT: usize = 8;

    /// The process that has a socket open, by its inode.
    fn find(&self, inode: u64) -> Option<u32> {
        let wanted = format!("socket:[{inode}]");
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found =
            recent.into_iter().rev().find(|pid| has_open(*pid, &wanted)).or_else(|| owner_of(&wanted))?;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|pid| *pid != found);
        if recent.len() == Self::RECENT {
            recent.remove(0);
        }
        recent.push(found);
        Some(found)
    }
}

/// Finds the socket whose *local* address is our connection's remote one: the other end of a loopback connection.
fn socket_of(remote: SocketAddr) -> Option<Socket> {
    let table = match remote.ip() {
        IpAddr::V4(_) => fs::read_to_string("/proc/net/tcp"),
        IpAddr::V6(_) => fs::read_to_string("/proc/net/tcp6"),
    }
    .ok()?;
    let wanted = proc_address(remote);
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let local = columns.nth(1)?;
        (local == wanted).then_some(())?;
        let uid = columns.nth(5)?.parse().ok()?;
        let inode = columns.nth(1)?.parse().ok()?;
        Some(Socket { uid, inode })
    })
}

/// An address as the kernel prints it: each 32-bit word in host order, hexadecimal.
fn proc_address(address: SocketAddr) -> String {
    let words: String = match address.ip() {
        IpAddr::V4(ip) => format!("{:08X}", u32::from_ne_bytes(ip.octets())),
        IpAddr::V6(ip) => ip
            .octets()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
            .collect(),
    };
    format!("{words}:{:04X}", address.port())
}

fn owner_of(wanted: &str) -> Option<u32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        has_open(pid, wanted).then_some(pid)
    })
}

fn has_open(pid: u32, wanted: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == wanted))
}

/// Field 22 of `/proc/PID/stat`; the command name before it may hold spaces and brackets.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn principal(uid: u32) -> Arc<str> {
    let name = fs::read_to_string("/etc/passwd").ok().and_then(|users| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
        })
    });
    Arc::from(name.map_or_else(|| format!("os:#{uid}"), |name| format!("os:{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_own_process_behind_a_loopback_connection() {
        let owners = Owners::default();
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let listener = match std::net::TcpListener::bind(bind) {
                // Not every machine has IPv6.
                Err(_) if bind.starts_with('[') => continue,
                bound => bound.expect("loopback"),
            };
            let client =
                std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
            let (server, remote) = listener.accept().expect("accept");
            let peer = Peer::of_connection(server.local_addr().expect("bound"), remote, &owners);
            assert_eq!(peer.principal, principal(rustix::process::getuid().as_raw()));
            assert!(
                matches!(peer.process, Process::Known { pid, started } if pid == std::process::id() && started > 0),
                "{peer:?}"
            );
            assert_eq!(
                sock_diag::find(remote, server.local_addr().expect("bound")).ok(),
                Some(socket_of(remote))
            );
            drop(client);
        }
        assert_eq!(*owners.recent.lock().expect("sound"), [std::process::id()]);
    }

    #[test]
    fn knows_nothing_of_a_stranger() {
        let [local, remote] = ["192.0.2.1:80", "192.0.2.7:4711"].map(|text| text.parse().expect("address"));
        assert_eq!(&*Peer::of_connection(local, remote, &Owners::default()).principal, "anonymous");
    }
}
