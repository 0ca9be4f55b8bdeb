//! Who is connected to whom: tables of TCP sockets as the kernel prints them, and the callers of a
//! workload's listeners among them.
//!
//! This is the fallback for connections that exist already; the kernel tells of new ones. Both end
//! in a [`Caller`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Lines of a table that are read.
const LONGEST_TABLE: usize = 65_536;

/// One socket of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its own address.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// It listens.
    pub listens: bool,
    /// It is connected.
    pub established: bool,
    /// Its inode; 0 once its process has let go of it.
    pub inode: u64,
}

/// A connection of a local process to a listener of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller {
    /// Where the caller's end is.
    pub client: SocketAddr,
    /// What it called.
    pub server: SocketAddr,
    /// Inode of the caller's socket.
    pub inode: u64,
}

/// Reads `/proc/net/tcp` or `tcp6`; lines that are not understood are left out.
pub fn parse(table: &str) -> Vec<Socket> {
    table
        .lines()
        .skip(1)
        .take(LONGEST_TABLE)
        .filter_map(line)
        .collect()
}

fn line(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let local = address(fields.nth(1)?)?;
    let remote = address(fields.next()?)?;
    let state = fields.next()?;
    let inode = fields.nth(5)?.parse().ok()?;
    Some(Socket {
        local,
        remote,
        listens: state == "0A",
        established: state == "01",
        inode,
    })
}

/// `0100007F:1F90`: words of the address in this machine's byte order, port in plain hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if !host.is_ascii() {
        return None;
    }
    let word = |at: usize| {
        let digits = host.get(8 * at..8 * at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let address: IpAddr = match host.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[4 * at..4 * at + 4].copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// The callers of listeners on these ports among the sockets of one network namespace: a socket
/// that is connected, whose other end is on this machine, belongs to the server and has such a
/// port.
pub fn callers(sockets: &[Socket], server_inodes: &[u64], ports: &[u16]) -> Vec<Caller> {
    use std::collections::HashSet;
    let own: HashSet<u64> = server_inodes.iter().copied().filter(|i| *i != 0).collect();
    let accepted: HashSet<(SocketAddr, SocketAddr)> = sockets
        .iter()
        .filter(|s| s.established && ports.contains(&s.local.port()) && own.contains(&s.inode))
        .map(|s| (s.local, s.remote))
        .collect();
    let mut found: Vec<Caller> = sockets
        .iter()
        .filter(|s| s.established && s.inode != 0 && accepted.contains(&(s.remote, s.local)))
        .map(|s| Caller {
            client: s.local,
            server: s.remote,
            inode: s.inode,
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(lines: &[(&str, &str, &str, u64)]) -> String {
        let mut text = "  sl  local_address rem_address   st …\n".to_owned();
        for (i, (local, remote, state, inode)) in lines.iter().enumerate() {
            text.push_str(&format!(
                "{i:4}: {local} {remote} {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 x\n"
            ));
        }
        text
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_caller_is_the_other_end_of_an_accepted_connection() {
        let sockets = parse(&table(&[
            ("0100007F:1F90", "00000000:0000", "0A", 10),
            ("0100007F:1F90", "0100007F:C350", "01", 11),
            ("0100007F:C350", "0100007F:1F90", "01", 12),
            // somebody else's server on another port
            ("0100007F:1F91", "0100007F:C351", "01", 13),
            ("0100007F:C351", "0100007F:1F91", "01", 14),
            // already closed by its process
            ("0100007F:C352", "0100007F:1F90", "06", 0),
        ]));
        assert_eq!(sockets.len(), 6);
        assert!(sockets[0].listens && sockets[0].local == "127.0.0.1:8080".parse().unwrap());
        let found = callers(&sockets, &[10, 11], &[8080]);
        assert_eq!(
            found,
            [Caller {
                client: "127.0.0.1:50000".parse().unwrap(),
                server: "127.0.0.1:8080".parse().unwrap(),
                inode: 12
            }]
        );
        assert!(
            callers(&sockets, &[10], &[8080]).is_empty(),
            "accepted by nobody that we know"
        );
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn both_families_meet() {
        let sockets = parse(&table(&[
            (
                "0000000000000000FFFF00000100007F:1F90",
                "0000000000000000FFFF00000100007F:C350",
                "01",
                11,
            ),
            ("0100007F:C350", "0100007F:1F90", "01", 12),
        ]));
        assert_eq!(
            callers(&sockets, &[11], &[8080]).len(),
            1,
            "a v6 listener, a v4 caller"
        );
    }

    proptest! {
        #[test]
        fn any_table_is_read_without_harm(text in "[0-9A-F: \\n]{0,400}") {
            parse(&text);
        }
        #[test]
        fn any_text_is_read_without_harm(text in ".{0,200}") {
            parse(&format!("head\n{text}"));
        }
    }
}
