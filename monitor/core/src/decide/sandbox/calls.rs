//! System calls that a confined program does not get: what would lead around the other guards, and
//! sockets that none of them judges.
//!
//! Names only; what number a call has on a processor is found out by whoever installs the filter.

use monitor_common::class::{Family, Mode};
use serde::Serialize;

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

/// Calls that are refused whatever their arguments.
const NEVER: &[(&str, &[&str])] = &[
    (
        "looks into, or changes, other processes",
        &[
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "pidfd_getfd",
            "kcmp",
        ],
    ),
    (
        "makes sockets and opens files past the other guards",
        &["io_uring_setup", "io_uring_enter", "io_uring_register"],
    ),
    (
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
    ("enters other namespaces", &["setns"]),
    ("opens files without their path", &["open_by_handle_at"]),
    (
        "changes or reads the kernel",
        &[
            "bpf",
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

const MSG_FASTOPEN: u32 = 0x2000_0000;
const MFD_NOEXEC_SEAL: u32 = 8;

/// The calls that a program in these modes does not get.
pub fn rules(modes: Modes) -> Vec<CallRule> {
    let mut rules = vec![];
    let mut refuse = |call, when: &[When], why| {
        rules.push(CallRule {
            call,
            when: when.to_vec(),
            answer: Answer::Refused,
            why,
        });
    };
    for (why, calls) in NEVER {
        for call in *calls {
            refuse(call, &[], why);
        }
    }
    for bit in NAMESPACES {
        let why = "makes namespaces, in which it could mount and own what it wants";
        refuse("unshare", &[When::Bits(0, bit, bit)], why);
        refuse("clone", &[When::Bits(0, bit, bit)], why);
    }
    let why = "makes packets that no guard of destinations judges";
    refuse("socket", &[When::Is(0, PACKET)], why);
    for family in [INET, INET6] {
        refuse(
            "socket",
            &[When::Is(0, family), When::Bits(1, TYPE, RAW)],
            why,
        );
    }
    if modes.get(Family::Destination) == Mode::Enforce {
        destinations(&mut refuse);
    }
    if modes.get(Family::Exec) == Mode::Enforce {
        // Landlock does not judge files without a place in the file system.
        refuse(
            "memfd_create",
            &[When::Bits(1, MFD_NOEXEC_SEAL, 0)],
            "makes files that can be run and have no path",
        );
    }
    rules.push(CallRule {
        call: "clone3",
        when: vec![],
        answer: Answer::Unknown,
        why: "its flags cannot be seen here; clone is used instead",
    });
    rules
}

/// Sockets that no guard of destinations judges.
fn destinations(refuse: &mut impl FnMut(&'static str, &[When], &'static str)) {
    let why = "no guard judges this family of sockets";
    let others = |at| [UNIX, INET, INET6, NETLINK].map(|family| When::IsNot(at, family));
    refuse("socket", &others(0), why);
    refuse("socketpair", &[When::IsNot(0, UNIX)], why);
    let why = "only routes and addresses of this host may be asked for";
    refuse("socket", &[When::Is(0, NETLINK), When::IsNot(2, 0)], why);
    let why = "no guard judges this protocol";
    for family in [INET, INET6] {
        let of_family = When::Is(0, family);
        for kind in (0..=TYPE).filter(|kind| ![STREAM, DATAGRAM, RAW].contains(kind)) {
            refuse("socket", &[of_family, When::Bits(1, TYPE, kind)], why);
        }
        for (kind, protocol) in [(STREAM, TCP), (DATAGRAM, UDP)] {
            let other = [
                of_family,
                When::Bits(1, TYPE, kind),
                When::IsNot(2, 0),
                When::IsNot(2, protocol),
            ];
            refuse("socket", &other, why);
        }
    }
    // Landlock judges connect only.
    let why = "connects without connect";
    for (call, at) in [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)] {
        refuse(call, &[When::Bits(at, MSG_FASTOPEN, MSG_FASTOPEN)], why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(mode: Mode, call: &str, arguments: [u64; 6]) -> Option<Answer> {
        judge(&rules(Modes::all(mode)), call, &arguments)
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
        for rule in rules(Modes::all(Mode::Enforce)) {
            assert!(!rule.why.is_empty(), "{}", rule.call);
        }
    }
}
