//! Sockets that were there before their process became a member: the kernel programs never saw them
//! being made. They are reached through the process's descriptors, in whatever network namespace
//! they live, and marked with their owner.

use std::{
    collections::HashSet,
    fs, io,
    net::{SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use monitor_common::{
    class::ClassId,
    endpoint::Address,
    listener::{IP4, IP6, Listener, ListenerKey},
    socket::{FlowKey, FlowSum, Owner, Traffic, state},
};

use super::{Kernel, KernelError, plain::Plain};

const TCP: u32 = libc::IPPROTO_TCP as u32;
const UDP: u32 = libc::IPPROTO_UDP as u32;
/// Which network namespace a socket is in; libc has no name for it on every target.
const SO_NETNS_COOKIE: libc::c_int = 71;
/// `BPF_NOEXIST`
const ONLY_NEW: u64 = 1;

/// A connected socket that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundSocket {
    /// The peer.
    pub peer: SocketAddr,
    /// The own end.
    pub local: SocketAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// The peer opened it, as far as can be told: the process listens on the own port.
    pub inbound: bool,
}

/// One socket, duplicated into this process for as long as it is looked at.
struct Socket {
    fd: OwnedFd,
    protocol: u32,
    listens: bool,
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
}

impl Kernel {
    /// Makes a process the owner of the IP sockets that it has open, as far as they have none.
    /// `owner` says who it is. Returns those that are connected.
    ///
    /// # Errors
    /// The process cannot be looked into.
    pub fn own_sockets(&mut self, owner: Owner) -> Result<Vec<FoundSocket>, KernelError> {
        let sockets = sockets(owner.tgid).map_err(|e| KernelError::Feature {
            what: format!(
                "the sockets of process {} cannot be reached: {e}",
                owner.tgid
            ),
            advice: "run slmguard as root with CAP_SYS_PTRACE".into(),
        })?;
        let listening: Vec<u16> = sockets
            .iter()
            .filter(|s| s.listens)
            .filter_map(|s| Some(s.local?.port()))
            .collect();
        let mut found = vec![];
        for socket in &sockets {
            let mut value = Owner {
                protocol: socket.protocol,
                ..owner
            };
            let connected = socket.local.zip(socket.peer);
            if let Some((local, peer)) = connected {
                let inbound = listening.contains(&local.port());
                if socket.protocol == TCP {
                    value.flags = state::FOUND | state::LOOKED_AT;
                    value.flags |= if inbound { state::INBOUND } else { 0 };
                    value.peer = mapped(peer);
                    value.port = peer.port();
                    value.local_port = local.port();
                }
                found.push(FoundSocket {
                    peer,
                    local,
                    protocol: socket.protocol as u8,
                    inbound,
                });
            }
            if socket.listens {
                self.listens(socket, &owner);
            }
            // One that has an owner already was made by a member: it stays that one's.
            let _ = self.sockets.insert(&socket.fd, Plain(value), ONLY_NEW);
        }
        Ok(found)
    }

    /// Enters a port on which a process listened before the kernel programs could see it, so that
    /// its callers are seen from now on. What cannot be entered is found by looking at tables of
    /// sockets only, as before.
    fn listens(&mut self, socket: &Socket, owner: &Owner) {
        let names = (
            long_option(&socket.fd, libc::SO_COOKIE),
            long_option(&socket.fd, SO_NETNS_COOKIE),
        );
        let ((Some(cookie), Some(netns)), Some(local)) = (names, socket.local) else {
            return;
        };
        if socket.protocol != TCP {
            return;
        }
        let key = ListenerKey {
            netns,
            port: local.port(),
            protocol: TCP as u8,
            zero: [0; 5],
        };
        // Seen by the kernel meanwhile, or entered before: it is counted already.
        if self.listening.insert(cookie, Plain(key), ONLY_NEW).is_err() {
            return;
        }
        let address = match local.ip().is_unspecified() {
            true => [0; 16],
            false => mapped(local),
        };
        let ips = match (local, local.ip().is_unspecified()) {
            (SocketAddr::V4(_), _) => IP4,
            (SocketAddr::V6(v6), false) if v6.ip().to_ipv4_mapped().is_some() => IP4,
            (SocketAddr::V6(_), false) => IP6,
            (SocketAddr::V6(_), true) => IP4 | IP6,
        };
        let mut entry = Listener {
            address,
            start_time: owner.start_time,
            cgroup: owner.cgroup,
            tgid: owner.tgid,
            sockets: 1,
            uid: owner.uid,
            class: owner.class,
            ips,
            zero: 0,
        };
        if let Ok(Plain(known)) = self.listeners.get(&Plain(key), 0) {
            entry.sockets += known.sockets;
            entry.ips |= known.ips;
            if known.address != address {
                entry.address = [0; 16];
            }
        }
        if self.listeners.insert(Plain(key), Plain(entry), 0).is_err() {
            let _ = self.listening.remove(&cookie);
        }
    }

    /// Sums over flows, per class and peer.
    pub fn flows(&self) -> Vec<(FlowKey, FlowSum)> {
        // An entry can be evicted while the map is read: it is skipped.
        self.flows
            .iter()
            .filter_map(Result::ok)
            .map(|(k, v)| (k.0, v.0))
            .collect()
    }

    /// Sums over a class.
    pub fn traffic(&self, class: ClassId) -> Traffic {
        self.traffic
            .get(&u32::from(class), 0)
            .map_or_else(|_| Traffic::default(), |t| t.0)
    }
}

/// The address as the kernel programs have it.
fn mapped(address: SocketAddr) -> Address {
    match address.ip() {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(v6) => v6.octets(),
    }
}

/// Each IP socket that a process has open, once: a socket may have several descriptors.
fn sockets(pid: u32) -> io::Result<Vec<Socket>> {
    let process = pidfd_open(pid)?;
    let mut all = vec![];
    let mut cookies = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        let is_socket = fs::read_link(entry.path())
            .is_ok_and(|target| target.to_string_lossy().starts_with("socket:["));
        let number = entry.file_name().to_string_lossy().parse().ok();
        let Some(number) = number.filter(|_| is_socket) else {
            continue;
        };
        // Closed meanwhile, or of a kind that has no address: not ours to keep.
        let Ok(fd) = pidfd_getfd(&process, number) else {
            continue;
        };
        let known = long_option(&fd, libc::SO_COOKIE).is_some_and(|c| !cookies.insert(c));
        if !known {
            all.extend(describe(fd));
        }
    }
    Ok(all)
}

fn describe(fd: OwnedFd) -> Option<Socket> {
    let domain = option(&fd, libc::SO_DOMAIN)?;
    if domain != libc::AF_INET && domain != libc::AF_INET6 {
        return None;
    }
    let protocol = option(&fd, libc::SO_PROTOCOL)? as u32;
    let listens = option(&fd, libc::SO_ACCEPTCONN)? != 0;
    // The standard library asks any IP socket the same way.
    let (fd, local, peer) = if protocol == UDP {
        let socket = UdpSocket::from(fd);
        let ends = (socket.local_addr().ok(), socket.peer_addr().ok());
        (OwnedFd::from(socket), ends.0, ends.1)
    } else {
        let socket = TcpStream::from(fd);
        let ends = (socket.local_addr().ok(), socket.peer_addr().ok());
        (OwnedFd::from(socket), ends.0, ends.1)
    };
    Some(Socket {
        fd,
        protocol,
        listens,
        local,
        peer,
    })
}

fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: a system call without pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    owned(fd)
}

fn pidfd_getfd(process: &OwnedFd, number: i32) -> io::Result<OwnedFd> {
    // SAFETY: a system call without pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
    owned(fd)
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(fd) {
        // SAFETY: a descriptor that the kernel has just made for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// An option of the socket itself, as its bytes.
fn option_bytes<const N: usize>(fd: &OwnedFd, name: libc::c_int) -> Option<[u8; N]> {
    let mut value = [0; N];
    let mut length = N as libc::socklen_t;
    // SAFETY: value and length are ours and as large as they say.
    let r = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (r == 0).then_some(value)
}

fn option(fd: &OwnedFd, name: libc::c_int) -> Option<libc::c_int> {
    option_bytes(fd, name).map(libc::c_int::from_ne_bytes)
}

/// An option of 64 bits.
fn long_option(fd: &OwnedFd, name: libc::c_int) -> Option<u64> {
    option_bytes(fd, name).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_sockets_of_a_process_are_found_with_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, _) = listener.accept().unwrap();
        // A second descriptor of the same socket is not a second socket.
        let _again = client.try_clone().unwrap();
        let datagrams = UdpSocket::bind("[::1]:0");
        let all = sockets(std::process::id()).unwrap();
        let of = |port: u16| {
            all.iter()
                .filter(move |s| s.local.is_some_and(|l| l.port() == port))
                .collect::<Vec<_>>()
        };
        let mine = of(client.local_addr().unwrap().port());
        assert_eq!(mine.len(), 1);
        assert_eq!(mine[0].peer, Some(listener.local_addr().unwrap()));
        assert!(mine[0].protocol == TCP && !mine[0].listens);
        let theirs = of(listener.local_addr().unwrap().port());
        assert_eq!(theirs.iter().filter(|s| s.listens).count(), 1);
        assert_eq!(theirs.iter().filter(|s| s.peer.is_some()).count(), 1);
        if let Ok(datagrams) = datagrams {
            let port = datagrams.local_addr().unwrap().port();
            assert!(
                of(port)
                    .iter()
                    .any(|s| s.protocol == UDP && s.peer.is_none())
            );
        }
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_not_a_panic() {
        assert!(sockets(4_000_000).is_err());
    }
}
