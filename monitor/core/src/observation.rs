//! Observation: one decoded fact from the kernel, in the daemon's own words.
//!
//! It knows nothing of rings, hashes or class numbers; the decoder has turned those into names.

use std::{fmt, net::IpAddr};

use monitor_common::{
    class::{Family, Mode, Phase, Role},
    event::Verdict,
    hook::Hook,
};
use serde::{Deserialize, Serialize};

use crate::text;

/// One decoded fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Nanoseconds since the epoch: the kernel's time of the event, on the wall clock.
    pub time: u64,
    /// Process that did it.
    pub process: ProcessKey,
    /// Thread that did it.
    pub thread: u32,
    /// User, in the initial user namespace.
    pub uid: u32,
    /// cgroup v2 id.
    pub cgroup: u64,
    /// Name of the thread, escaped.
    pub comm: String,
    /// Where in which workload it happened.
    pub scope: Scope,
    /// Hook that saw it.
    pub hook: Hook,
    /// What the kernel did about it.
    pub verdict: Verdict,
    /// Mode that the kernel applied.
    pub mode: Mode,
    /// Number of the kernel policy that decided.
    pub policy: u32,
    /// An invariant or an operator's deny rule was met.
    pub invariant: bool,
    /// The process had one thread only, so that a kill left nobody who could use the result.
    pub single_thread: bool,
    /// Occurrences since the last report, this one included.
    pub count: u64,
    /// What was done.
    pub fact: Fact,
}

/// A process for as long as it lives: pid and start time together are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Start, nanoseconds since boot (CLOCK_BOOTTIME); 0 where it could not be learned.
    pub start_time: u64,
}

/// workload × role × phase.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// Name of the workload.
    pub workload: String,
    /// Kind of process.
    pub role: Role,
    /// Where in its life.
    pub phase: Phase,
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A process was started.
    Fork {
        /// The child.
        child: ProcessKey,
    },
    /// A process ended.
    Exit {
        /// Wait status.
        status: u32,
    },
    /// A process began to listen and is in another phase from now on.
    Phase {
        /// Local port.
        port: u16,
        /// Scope from now on.
        after: Scope,
    },
    /// A socket was connected.
    Connect(Endpoint),
    /// A datagram was sent to a named destination.
    Send(Endpoint),
    /// A file was opened.
    Open(FileAccess),
    /// A program was started.
    Exec {
        /// The program.
        program: FileAccess,
        /// Arguments, raw bytes; empty where the kernel could not have them.
        argv: Vec<Vec<u8>>,
        /// Scope from now on; `None` where the exec did not happen.
        after: Option<Scope>,
    },
}

/// A destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address; IPv4-mapped ones are IPv4 here.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// A file by path, and how it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAccess {
    /// Absolute path from the root of the mount namespace, raw bytes as the kernel has them.
    pub path: Vec<u8>,
    /// The path as baselines know it: `/proc/self/…` for the process's own, `/proc/*/…` for others.
    pub name: Vec<u8>,
    /// Device and inode.
    pub inode: (u64, u64),
    /// Bits of [`monitor_common::path::permission`].
    pub access: u8,
    /// The part nearest the root is missing.
    pub cut: bool,
    /// Could not be followed to the root.
    pub incomplete: bool,
}

impl Endpoint {
    /// `tcp`, `udp`, or the protocol's number.
    pub fn protocol_name(&self) -> String {
        match self.protocol {
            6 => "tcp".into(),
            17 => "udp".into(),
            58 => "icmp6".into(),
            1 => "icmp".into(),
            n => n.to_string(),
        }
    }
}

impl fmt::Display for Endpoint {
    /// `10.0.0.1:443/tcp`, `[2001:db8::1]:53/udp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol_name();
        match self.address {
            IpAddr::V4(a) => write!(f, "{a}:{}/{protocol}", self.port),
            IpAddr::V6(a) => write!(f, "[{a}]:{}/{protocol}", self.port),
        }
    }
}

impl FileAccess {
    /// The name in the text form of [`crate::text`]. A component that is `*` in the name and
    /// something else in the path was put there by the decoder and is a wildcard; one that is `*`
    /// in both is a file that is called so, and is escaped.
    pub fn subject(&self) -> String {
        let split = |path| <[u8]>::split(path, |b: &u8| *b == b'/');
        let mut path = split(&self.path);
        split(&self.name)
            .map(|name| match (name, path.next()) {
                (b"*", Some(real)) if real != b"*" => "*".into(),
                _ => text::escape_component(name),
            })
            .collect::<Vec<_>>()
            .join("/")
    }

    /// Whether the whole path is known, so that a rule about it can be made.
    pub fn is_whole(&self) -> bool {
        !self.cut && !self.incomplete && self.path.first() == Some(&b'/')
    }
}

impl Fact {
    /// The file, where it is about one.
    pub fn file(&self) -> Option<&FileAccess> {
        match self {
            Self::Open(file) | Self::Exec { program: file, .. } => Some(file),
            _ => None,
        }
    }

    /// Word for the kind, as in alerts, events and documentation.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Fork { .. } => "fork",
            Self::Exit { .. } => "exit",
            Self::Phase { .. } => "phase",
            Self::Connect(_) => "connect",
            Self::Send(_) => "send",
            Self::Open(_) => "open",
            Self::Exec { .. } => "exec",
        }
    }
}

impl Observation {
    /// Families whose baselines this belongs to: an open for reading and writing belongs to two.
    pub fn families(&self) -> Vec<Family> {
        use monitor_common::path::permission::{READ, WRITE};
        match &self.fact {
            Fact::Connect(_) | Fact::Send(_) => vec![Family::Destination],
            Fact::Exec { .. } => vec![Family::Exec],
            Fact::Open(file) => [(READ, Family::Read), (WRITE, Family::Write)]
                .into_iter()
                .filter(|(bit, _)| file.access & bit != 0)
                .map(|(_, family)| family)
                .collect(),
            Fact::Fork { .. } | Fact::Exit { .. } | Fact::Phase { .. } => vec![],
        }
    }

    /// What it was done to, in the form that baselines, alerts and rules share: an endpoint or a
    /// path, escaped for text. Empty for process events.
    pub fn subject(&self) -> String {
        match &self.fact {
            Fact::Connect(e) | Fact::Send(e) => e.to_string(),
            Fact::Open(file) => file.subject(),
            Fact::Exec { program, .. } => program.subject(),
            Fact::Fork { .. } | Fact::Exit { .. } | Fact::Phase { .. } => String::new(),
        }
    }
}
