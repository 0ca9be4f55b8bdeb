//! System calls that a confined program does not get: what would lead around the other guards, and
//! sockets that none of them judges.
//!
//! Names only; what number a call has on a processor is found out by whoever installs the filter.

use std::collections::BTreeSet;

use monitor_common::{
    class::{Family, Mode},
    facility::{Facility, INVARIANT_FACILITIES},
};
use serde::Serialize;

use super::{Difference, Note};
use crate::decide::Modes;

/// What a refused call answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// EPERM.
    Refused,
    /// ENOSYS, as an older kernel would: programs then use the older call.
    Unknown,
}

/// A condition on an argument of a call (32 bits of it count).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Argument equals.
    Is(u8, u32),
    /// Argument differs.
    IsNot(u8, u32),
    /// The bits of the mask in the argument have this value: argument, mask, value.
    Bits(u8, u32, u32),
}

impl When {
    /// Whether it holds.
    pub fn holds(self, arguments: &[u64; 6]) -> bool {
        let value = |at: u8| arguments[usize::from(at) % 6] as u32;
        match self {
            Self::Is(at, wanted) => value(at) == wanted,
            Self::IsNot(at, other) => value(at) != other,
            Self::Bits(at, mask, wanted) => value(at) & mask == wanted,
        }
    }
}

/// One way in which a call is refused; several about the same call add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallRule {
    /// The call's name.
    pub call: &'static str,
    /// What must hold of its arguments, all of it; nothing: always.
    pub when: Vec<When>,
    /// What the caller gets.
    pub answer: Answer,
    /// Why, for people.
    pub why: &'static str,
}

/// What becomes of a call with these arguments; `None`: it is let through.
pub fn judge(rules: &[CallRule], call: &str, arguments: &[u64; 6]) -> Option<Answer> {
    rules
        .iter()
        .find(|rule| rule.call == call && rule.when.iter().all(|w| w.holds(arguments)))
        .map(|rule| rule.answer)
}

/// Calls that are refused whatever their arguments, unless the facility that they belong to is
/// allowed.
const NEVER: &[(Option<Facility>, &str, &[&str])] = &[
    (
        Some(Facility::Ptrace),
        "looks into, or changes, other processes",
        &["ptrace"],
    ),
    (
        Some(Facility::ProcessMemory),
        "looks into, or changes, other processes",
        &[
            "process_vm_readv",
            "process_vm_writev",
            "pidfd_getfd",
            "kcmp",
        ],
    ),
    (
        Some(Facility::IoUring),
        "makes sockets and opens files past the other guards",
        &["io_uring_setup", "io_uring_enter", "io_uring_register"],
    ),
    (
        Some(Facility::Mount),
        "rearranges what paths mean",
        &[
            "mount",
            "umount2",
            "pivot_root",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "mount_setattr",
        ],
    ),
    (Some(Facility::Bpf), "changes or reads the kernel", &["bpf"]),
    (None, "enters other namespaces", &["setns"]),
    (
        None,
        "opens files without their path",
        &["open_by_handle_at"],
    ),
    (
        None,
        "changes or reads the kernel",
        &[
            "perf_event_open",
            "kexec_load",
            "kexec_file_load",
            "init_module",
            "finit_module",
            "delete_module",
            "userfaultfd",
        ],
    ),
    (
        None,
        "reaches keys that are shared with others",
        &["keyctl", "add_key", "request_key"],
    ),
];

/// `CLONE_NEW*` of `unshare` and `clone`, without time namespaces, whose bit is part of the exit
/// signal there.
const NAMESPACES: [u32; 7] = [
    0x1000_0000, // user
    0x0002_0000, // mount
    0x4000_0000, // network
    0x2000_0000, // process ids
    0x0400_0000, // host name
    0x0800_0000, // IPC
    0x0200_0000, // cgroup
];

const UNIX: u32 = 1;
const INET: u32 = 2;
const INET6: u32 = 10;
const NETLINK: u32 = 16;
const PACKET: u32 = 17;

const STREAM: u32 = 1;
const DATAGRAM: u32 = 2;
const RAW: u32 = 3;
/// Bits of a socket's type that are no flags.
const TYPE: u32 = 0xf;

const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMP: u32 = 1;
const ICMP6: u32 = 58;
const MPTCP: u32 = 262;

const MSG_FASTOPEN: u32 = 0x2000_0000;
const MFD_NOEXEC_SEAL: u32 = 8;

const VSOCK: u32 = 40;
const ALG: u32 = 38;

const IP: u32 = 0;
const IPV6: u32 = 41;
const IP_OPTIONS: u32 = 4;
const IPV6_RTHDR: u32 = 57;

/// Collects rules: what is refused unless its facility is allowed or need not be.
struct Book {
    rules: Vec<CallRule>,
    /// Facilities that are let through.
    open: u64,
}

impl Book {
    fn refuse(&mut self, call: &'static str, when: &[When], why: &'static str) {
        self.rules.push(CallRule {
            call,
            when: when.to_vec(),
            answer: Answer::Refused,
            why,
        });
    }

    fn is_open(&self, facility: Facility) -> bool {
        self.open & facility.bit() != 0
    }

    fn socket(&mut self, facility: Facility, when: &[When], why: &'static str) {
        if !self.is_open(facility) {
            self.refuse("socket", when, why);
        }
    }
}

/// The calls that a program in these modes does not get. `allowed` are the facilities that its
/// policy allows; where facilities are not enforced, all but the invariants are let through.
pub fn rules(modes: Modes, allowed: u64, notes: &mut BTreeSet<Note>) -> Vec<CallRule> {
    let enforced = |family| modes.get(family) == Mode::Enforce;
    let mut book = Book {
        rules: vec![],
        open: if enforced(Family::Facility) {
            allowed
        } else {
            !INVARIANT_FACILITIES
        },
    };
    for (facility, why, calls) in NEVER {
        if facility.is_some_and(|facility| book.is_open(facility)) {
            continue;
        }
        for call in *calls {
            book.refuse(call, &[], why);
        }
    }
    if !book.is_open(Facility::UserNamespace) {
        let why = "makes namespaces, in which it could mount and own what it wants";
        for bit in NAMESPACES {
            book.refuse("unshare", &[When::Bits(0, bit, bit)], why);
            book.refuse("clone", &[When::Bits(0, bit, bit)], why);
        }
        book.rules.push(CallRule {
            call: "clone3",
            when: vec![],
            answer: Answer::Unknown,
            why: "its flags cannot be seen here; clone is used instead",
        });
    }
    sockets(&mut book);
    if book.is_open(Facility::IoUring) {
        let what = "is allowed, and what it does instead of system calls is not seen by seccomp";
        notes.insert(Note::new(Difference::Hooks, "io_uring", what));
    }
    if enforced(Family::Destination) {
        connections(&mut book, notes);
    }
    if enforced(Family::Exec) {
        // Landlock does not judge files without a place in the file system.
        book.refuse(
            "memfd_create",
            &[When::Bits(1, MFD_NOEXEC_SEAL, 0)],
            "makes files that can be run and have no path",
        );
    }
    book.rules
}

/// Families of sockets and protocols.
fn sockets(book: &mut Book) {
    let why = "makes packets that no guard of destinations judges";
    book.socket(Facility::Packet, &[When::Is(0, PACKET)], why);
    let why = "no guard judges this family of sockets";
    book.socket(Facility::Vsock, &[When::Is(0, VSOCK)], why);
    book.socket(Facility::Alg, &[When::Is(0, ALG)], why);
    let named = [UNIX, INET, INET6, NETLINK, PACKET, VSOCK, ALG];
    let others = named.map(|family| When::IsNot(0, family));
    book.socket(Facility::OtherSocket, &others, why);
    let netlink = When::Is(0, NETLINK);
    book.socket(Facility::NetlinkRoute, &[netlink, When::Is(2, 0)], why);
    let why = "only routes and addresses of this host may be asked for";
    book.socket(Facility::Netlink, &[netlink, When::IsNot(2, 0)], why);
    for (family, level, option, echo) in [
        (INET, IP, IP_OPTIONS, ICMP),
        (INET6, IPV6, IPV6_RTHDR, ICMP6),
    ] {
        let of_family = When::Is(0, family);
        let kind = |kind| When::Bits(1, TYPE, kind);
        let why = "makes packets that no guard of destinations judges";
        book.socket(Facility::Raw, &[of_family, kind(RAW)], why);
        let why = "no guard judges this protocol";
        for other in (0..=TYPE).filter(|k| ![STREAM, DATAGRAM, RAW].contains(k)) {
            book.socket(Facility::Transport, &[of_family, kind(other)], why);
        }
        let stream = [0, TCP, MPTCP].map(|protocol| When::IsNot(2, protocol));
        let stream = [&[of_family, kind(STREAM)], &stream[..]].concat();
        book.socket(Facility::Transport, &stream, why);
        let datagram = [0, UDP, echo].map(|protocol| When::IsNot(2, protocol));
        let datagram = [&[of_family, kind(DATAGRAM)], &datagram[..]].concat();
        book.socket(Facility::Transport, &datagram, why);
        let ping = [of_family, kind(DATAGRAM), When::Is(2, echo)];
        book.socket(Facility::Ping, &ping, why);
        if !book.is_open(Facility::SourceRoute) {
            let option = [When::Is(1, level), When::Is(2, option)];
            book.refuse("setsockopt", &option, "chooses the route of its packets");
        }
    }
}

/// Connections that Landlock's ports do not cover: it judges `connect` of TCP only.
fn connections(book: &mut Book, notes: &mut BTreeSet<Note>) {
    let why = "connects without connect";
    for (call, at) in [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)] {
        book.refuse(call, &[When::Bits(at, MSG_FASTOPEN, MSG_FASTOPEN)], why);
    }
    let why = "Landlock does not judge its ports; TCP is used instead";
    for family in [INET, INET6] {
        book.refuse("socket", &[When::Is(0, family), When::Is(2, MPTCP)], why);
    }
    for (rule, what) in [
        ("MPTCP", "is refused: Landlock does not judge its ports"),
        ("TCP fast open", "is refused: Landlock judges connect only"),
    ] {
        notes.insert(Note::new(Difference::Narrower, rule, what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: u64 = Facility::NetlinkRoute.bit();

    fn all(mode: Mode, allowed: u64) -> Vec<CallRule> {
        rules(Modes::all(mode), allowed, &mut BTreeSet::new())
    }

    fn fate(mode: Mode, call: &str, arguments: [u64; 6]) -> Option<Answer> {
        judge(&all(mode, USUAL), call, &arguments)
    }

    #[test]
    fn what_the_policy_allows_by_name_is_let_through_and_invariants_never() {
        let refused = Some(Answer::Refused);
        let socket = |allowed, [domain, kind, protocol]: [u64; 3]| {
            let arguments = [domain, kind, protocol, 0, 0, 0];
            judge(&all(Mode::Enforce, allowed), "socket", &arguments)
        };
        for (facility, arguments) in [
            (Facility::Vsock, [40, 1, 0]),
            (Facility::Alg, [38, 5, 0]),
            (Facility::OtherSocket, [31, 1, 0]),
            (Facility::Netlink, [16, 3, 15]),
            (Facility::NetlinkRoute, [16, 3, 0]),
            (Facility::Ping, [2, 2, 1]),
            (Facility::Ping, [10, 2, 58]),
            (Facility::Transport, [2, 1, 132]),
            (Facility::Transport, [10, 5, 132]),
        ] {
            assert_eq!(socket(0, arguments), refused, "{facility:?}");
            assert_eq!(socket(facility.bit(), arguments), None, "{facility:?}");
            assert_eq!(socket(!facility.bit(), arguments), refused, "{facility:?}");
        }
        for (facility, call) in [
            (Facility::IoUring, "io_uring_setup"),
            (Facility::Mount, "mount"),
            (Facility::UserNamespace, "clone3"),
        ] {
            let rules = all(Mode::Enforce, facility.bit());
            assert_eq!(judge(&rules, call, &[0; 6]), None, "{facility:?}");
            let rules = all(Mode::Enforce, !facility.bit());
            assert!(judge(&rules, call, &[0; 6]).is_some(), "{facility:?}");
        }
        let route = [3, 0, 4, 0, 0, 0];
        assert_eq!(fate(Mode::Enforce, "setsockopt", route), refused);
        assert_eq!(fate(Mode::Enforce, "setsockopt", [3, 0, 5, 0, 0, 0]), None);
    }

    #[test]
    fn sockets_of_every_day_are_let_through() {
        // AF_UNIX, TCP and UDP with flags, and what name look-ups use.
        for arguments in [
            [1, 1, 0],
            [1, 5, 0],
            [2, 0x80801, 0],
            [2, 0x80001, 6],
            [10, 0x80002, 17],
            [16, 0x80003, 0],
            [16, 3, 0],
        ] {
            let [domain, kind, protocol] = arguments;
            let arguments = [domain, kind, protocol, 0, 0, 0];
            assert_eq!(
                fate(Mode::Enforce, "socket", arguments),
                None,
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn sockets_that_no_guard_judges_are_refused() {
        // Packet, vsock, AF_ALG, Bluetooth; raw, ping, SCTP, MPTCP; other netlink.
        for [domain, kind, protocol] in [
            [17, 3, 0],
            [40, 1, 0],
            [38, 5, 0],
            [31, 1, 0],
            [2, 3, 6],
            [10, 0x80003, 58],
            [2, 2, 1],
            [2, 1, 132],
            [2, 5, 132],
            [10, 1, 262],
            [16, 3, 15],
            [0x1_0000_0011, 3, 0],
        ] {
            let arguments = [domain, kind, protocol, 0, 0, 0];
            let fate = fate(Mode::Enforce, "socket", arguments);
            assert_eq!(fate, Some(Answer::Refused), "{arguments:?}");
        }
    }

    #[test]
    fn in_monitor_only_what_no_program_may_do_is_refused() {
        let refused = Some(Answer::Refused);
        assert_eq!(fate(Mode::Monitor, "socket", [17, 3, 0, 0, 0, 0]), refused);
        assert_eq!(fate(Mode::Monitor, "socket", [2, 3, 1, 0, 0, 0]), refused);
        assert_eq!(fate(Mode::Monitor, "ptrace", [0; 6]), refused);
        assert_eq!(fate(Mode::Monitor, "socket", [40, 1, 0, 0, 0, 0]), None);
        assert_eq!(fate(Mode::Monitor, "memfd_create", [0; 6]), None);
    }

    #[test]
    fn threads_and_processes_can_be_made_and_namespaces_cannot() {
        // What fork and pthread_create pass.
        for flags in [0x0120_0011_u64, 0x003d_0f00] {
            assert_eq!(fate(Mode::Enforce, "clone", [flags, 0, 0, 0, 0, 0]), None);
        }
        for bit in NAMESPACES {
            let arguments = [u64::from(bit) | 17, 0, 0, 0, 0, 0];
            let refused = Some(Answer::Refused);
            assert_eq!(fate(Mode::Enforce, "clone", arguments), refused, "{bit:x}");
            assert_eq!(fate(Mode::Enforce, "unshare", arguments), refused);
        }
        assert_eq!(fate(Mode::Enforce, "clone3", [0; 6]), Some(Answer::Unknown));
    }

    #[test]
    fn every_rule_says_why() {
        for rule in all(Mode::Enforce, USUAL) {
            assert!(!rule.why.is_empty(), "{}", rule.call);
        }
    }
}
