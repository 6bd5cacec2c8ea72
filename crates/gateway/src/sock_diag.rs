//! Asks the kernel about one socket (sock_diag(7)): a question and an answer of a few hundred bytes.
//!
//! `/proc/net/tcp` says the same, but is a walk over the kernel's whole table of connections, milliseconds long where that is
//! sized for a large machine.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// Who owns a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) uid: u32,
    pub(crate) inode: u64,
}

/// `SOCK_DIAG_BY_FAMILY`, the type of question and answer.
const BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
const TCP: u8 = 6;
/// Of `nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// Of `nlmsghdr` and `inet_diag_req_v2`.
const QUESTION_BYTES: u32 = 72;
/// Where `inet_diag_msg` has them, behind the header.
const UID_AT: usize = HEADER_BYTES + 64;
const INODE_AT: usize = HEADER_BYTES + 68;

/// The TCP socket of this network namespace whose own address is `local` and whose peer's is `remote`; `None` if there is none.
///
/// # Errors
/// When the kernel does not answer such questions.
pub(crate) fn find(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Socket>> {
    let socket = open()?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &question(local, remote), SendFlags::empty(), &kernel)?;
    let mut answer = [0; 1024];
    // The kernel has answered before the question's system call returns.
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    read(answer.get(..length).unwrap_or_default())
}

fn open() -> io::Result<OwnedFd> {
    let protocol = Some(netlink::SOCK_DIAG);
    Ok(socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol)?)
}

fn question(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend_from_slice(&QUESTION_BYTES.to_ne_bytes());
    bytes.extend_from_slice(&BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&REQUEST.to_ne_bytes());
    // Sequence and port.
    bytes.extend_from_slice(&[0; 8]);
    let (local_ip, remote_ip) = (local.ip().to_canonical(), remote.ip().to_canonical());
    let family = if local_ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    bytes.extend_from_slice(&[u8::try_from(family.as_raw()).unwrap_or_default(), TCP, 0, 0]);
    // Whatever its state.
    bytes.extend_from_slice(&u32::MAX.to_ne_bytes());
    bytes.extend_from_slice(&local.port().to_be_bytes());
    bytes.extend_from_slice(&remote.port().to_be_bytes());
    push_address(&mut bytes, local_ip);
    push_address(&mut bytes, remote_ip);
    // On any interface; `INET_DIAG_NOCOOKIE`.
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[0xff; 8]);
    bytes
}

fn push_address(bytes: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            bytes.extend_from_slice(&ip.octets());
            bytes.extend_from_slice(&[0; 12]);
        }
        IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
    }
}

fn read(answer: &[u8]) -> io::Result<Option<Socket>> {
    let number = |at: usize| {
        let bytes = answer.get(at..).and_then(<[u8]>::first_chunk::<4>);
        bytes.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(io::ErrorKind::InvalidData)
    };
    let kind = answer.get(4..).and_then(<[u8]>::first_chunk::<2>).map(|bytes| u16::from_ne_bytes(*bytes));
    match kind {
        Some(BY_FAMILY) => Ok(Some(Socket { uid: number(UID_AT)?, inode: number(INODE_AT)?.into() })),
        Some(ERROR) => match number(HEADER_BYTES)?.cast_signed().wrapping_neg() {
            errno if errno == Errno::NOENT.raw_os_error() => Ok(None),
            errno => Err(io::Error::from_raw_os_error(errno)),
        },
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::find;

    #[test]
    fn the_kernel_knows_both_ends_and_no_third() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            // Some machines have no IPv6.
            let listener = match TcpListener::bind(bind) {
                Err(_) if bind.starts_with('[') => continue,
                bound => bound.expect("loopback"),
            };
            let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
            let (server, remote) = listener.accept().expect("accept");
            let local = server.local_addr().expect("bound");
            let ours = find(local, remote).expect("an answer").expect("a socket");
            let theirs = find(remote, local).expect("an answer").expect("a socket");
            assert_eq!(theirs.uid, rustix::process::getuid().as_raw());
            assert_ne!(ours.inode, theirs.inode);
            drop((client, server));
            let mut nobody = local;
            nobody.set_port(1);
            assert_eq!(find(nobody, remote).expect("an answer"), None);
        }
    }
}
