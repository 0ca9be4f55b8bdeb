//! Facts: what can be observed, one variant per kind of kernel event, and what each is about.
//!
//! Knows words and text forms; nothing of layouts (the decoder's) or of policies.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use monitor_common::{
    class::Family,
    event::change::Action,
    facility::Facility,
    path::permission::{READ, WRITE},
};

use serde::{Deserialize, Serialize};

pub use crate::odd::{OddCall, Oddity};
pub use crate::request::{Host, Request, Target};
use crate::{
    observation::{ProcessKey, Scope},
    text,
};

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
    /// A socket began to listen; the local endpoint.
    Listen(Endpoint),
    /// A connection was accepted.
    Accept {
        /// Who called, with the port that it called from.
        peer: Endpoint,
        /// Where it called.
        local: Endpoint,
        /// User of a peer on this host, where it is known.
        uid: Option<u32>,
    },
    /// A process that is not a member called a member's port. Process, user and cgroup of the
    /// observation are the caller's, the scope is the listener's.
    Caller {
        /// Where it called.
        endpoint: Endpoint,
        /// Device and inode of its program.
        program: (u64, u64),
    },
    /// A unix socket was connected or sent to.
    Unix(UnixPeer),
    /// A flow ended.
    Flow(Flow),
    /// A name was looked up.
    Query(Lookup),
    /// A look-up was answered.
    Answer {
        /// The question, and who answered it.
        lookup: Lookup,
        /// DNS response code.
        code: u16,
        /// Addresses, and for how many seconds each may be kept.
        addresses: Vec<(IpAddr, u32)>,
        /// Addresses in the answer; more than listed where they did not all fit.
        total: u16,
    },
    /// A TLS connection was begun.
    Hello {
        /// With whom.
        endpoint: Endpoint,
        /// Server name as sent, if one was.
        name: Option<Vec<u8>>,
        /// The true name is encrypted.
        encrypted: bool,
        /// The hello did not fit into what was looked at.
        cut: bool,
        /// Cookie of the socket.
        cookie: u64,
    },
    /// An HTTP proxy was asked for a host.
    Request(Request),
    /// A file was opened.
    Open(FileAccess),
    /// A file was mapped into memory.
    Map {
        /// The file.
        file: FileAccess,
        /// Its bytes.
        size: u64,
        /// Bits of [`monitor_common::event::map::protection`].
        protection: u8,
        /// Whether changes reach the file.
        shared: bool,
    },
    /// A name in the file system was added, taken away or moved, or a file cut.
    Change {
        /// What was done.
        action: Action,
        /// To which name.
        file: FileAccess,
    },
    /// A program was started.
    Exec {
        /// The program.
        program: FileAccess,
        /// Arguments, raw bytes; empty where the kernel could not have them.
        argv: Vec<Vec<u8>>,
        /// Scope from now on; `None` where the exec did not happen.
        after: Option<Scope>,
    },
    /// A rarely needed part of the kernel was used.
    Facility {
        /// Which.
        facility: Facility,
        /// As in [`monitor_common::event::facility::FacilityEvent::detail`].
        detail: [u32; 3],
    },
    /// What a process had when it was made a member: a connection, or an open file.
    Found(Box<Fact>),
    /// More was sent than is usual. Not seen by any hook: worked out from flows.
    Volume(Volume),
    /// A call that is rare in a server. Not seen by any hook: worked out from calls and answers.
    Odd(OddCall),
    /// A model that was not learned. Not seen by any hook: worked out from the files that workloads use.
    Model(Box<ModelFile>),
    /// An episode that is odd as a whole. Not seen by any hook: worked out from its calls.
    Episode(Box<OddEpisode>),
    /// A workload in another shape than before. Not seen by any hook: worked out from its processes and
    /// the models that they use.
    Lineage(Box<Shape>),
    /// Alerts that were over the budget. Not seen by any hook: counted by the daemon.
    Held(Box<Held>),
}

/// A model file that a workload uses and did not learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// Path, escaped.
    pub path: String,
    /// SHA-256 of all of it, in hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Loading its format runs code.
    pub runs_code: bool,
    /// Digest of what was used under that path before.
    pub before: Option<String>,
    /// How many models were learned.
    pub known: u64,
}

/// An episode that is odd as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct OddEpisode {
    /// Calls in it.
    pub calls: u64,
    /// Bytes that were sent in it.
    pub sent: u64,
    /// The share of good episodes that are as odd, at most.
    pub p: f64,
}

/// A workload that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The number of the lineage that begins.
    pub lineage: u64,
    /// What is new, in words: `another program`, `other flags`, `another model`.
    pub differs: Vec<&'static str>,
    /// The digests and command lines that were not known, escaped.
    pub news: Vec<String>,
}

/// Alerts of one scope that were over the budget of a day, told together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// How many.
    pub alerts: u64,
    /// When the first was, nanoseconds since the epoch.
    pub first: u64,
    /// When the last was, nanoseconds since the epoch.
    pub last: u64,
    /// How many of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Some of their subjects, as in alerts.
    pub examples: Vec<String>,
}

/// More bytes than a connector usually carries away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Volume {
    /// Which connector.
    pub connector: Connector,
    /// Bytes sent to it in the time that is judged.
    pub sent: u64,
    /// Length of that time, seconds.
    pub seconds: u64,
    /// What was exceeded.
    pub excess: Excess,
}

/// In which way it was more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Excess {
    /// Too much at once.
    Burst {
        /// Bytes from which on it is told.
        limit: u64,
        /// The most that was learned.
        largest: u64,
        /// Busy slots that were learned.
        learned: u64,
        /// The limit comes from a fitted tail; otherwise it is twice the largest.
        extrapolated: bool,
        /// Slots over the limit since it was last told, this one included.
        slots: u64,
    },
    /// A little too much for long.
    Leak {
        /// Bytes that were to be expected in that time, at those hours of the day.
        expected: u64,
    },
}

impl Excess {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Burst { .. } => "burst",
            Self::Leak { .. } => "leak",
        }
    }
}

/// What volumes are counted by: a destination that members open connections to, or a port of theirs
/// that others call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Connector {
    /// Members call.
    Out(Endpoint),
    /// Others call: local port, IP protocol number.
    In(u16, u8),
}

impl fmt::Display for Connector {
    /// The endpoint, or `*:8080/tcp` for a port of the workload's own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Out(endpoint) => endpoint.fmt(f),
            Self::In(port, protocol) => write!(f, "*:{port}/{}", protocol_name(*protocol)),
        }
    }
}

/// A unix socket as a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixPeer {
    /// By path.
    Path(FileAccess),
    /// By abstract name, raw bytes without the leading zero.
    Abstract(Vec<u8>),
    /// A socket without a name.
    Unnamed,
}

/// What a flow carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// The peer.
    pub peer: Endpoint,
    /// Local port.
    pub local_port: u16,
    /// The peer called; otherwise the member did.
    pub inbound: bool,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Nanoseconds between its beginning and its end.
    pub duration: u64,
    /// Cookie of the socket.
    pub cookie: u64,
}

/// A look-up of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The name in lower case, raw bytes, no dot at the end.
    pub name: Vec<u8>,
    /// DNS type.
    pub qtype: u16,
    /// The resolver.
    pub resolver: Endpoint,
    /// Cookie of the socket.
    pub cookie: u64,
}

/// A destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
        protocol_name(self.protocol)
    }
}

fn protocol_name(number: u8) -> String {
    match number {
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "icmp6".into(),
        1 => "icmp".into(),
        n => n.to_string(),
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

impl UnixPeer {
    /// The path, or `@` and the abstract name; `unnamed` for a socket that has none.
    pub fn subject(&self) -> String {
        match self {
            Self::Path(file) => file.subject(),
            Self::Abstract(name) => format!("@{}", text::escape(name)),
            Self::Unnamed => "unnamed".into(),
        }
    }
}

impl Fact {
    /// The fact itself, or what was found.
    pub fn inner(&self) -> &Self {
        match self {
            Self::Found(fact) => fact.inner(),
            fact => fact,
        }
    }

    /// The file, where it is about one.
    pub fn file(&self) -> Option<&FileAccess> {
        match self.inner() {
            Self::Open(file)
            | Self::Exec { program: file, .. }
            | Self::Map { file, .. }
            | Self::Change { file, .. }
            | Self::Unix(UnixPeer::Path(file)) => Some(file),
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
            Self::Listen(_) => "listen",
            Self::Accept { .. } => "accept",
            Self::Caller { .. } => "caller",
            Self::Unix(_) => "unix",
            Self::Flow(_) => "flow",
            Self::Query(_) => "query",
            Self::Answer { .. } => "answer",
            Self::Hello { .. } => "hello",
            Self::Request(_) => "request",
            Self::Open(_) => "open",
            Self::Map { .. } => "map",
            Self::Change { .. } => "change",
            Self::Exec { .. } => "exec",
            Self::Facility { .. } => "facility",
            Self::Found(_) => "found",
            Self::Volume(_) => "volume",
            Self::Odd(_) => "odd",
            Self::Model(_) => "model",
            Self::Episode(_) => "episode",
            Self::Lineage(_) => "lineage",
            Self::Held(_) => "held",
        }
    }

    /// Families whose baselines this belongs to. What is only context for others belongs to none.
    pub fn families(&self) -> Vec<Family> {
        match self {
            Self::Connect(_) | Self::Send(_) => vec![Family::Destination],
            Self::Exec { .. } => vec![Family::Exec],
            Self::Open(file) => [(READ, Family::Read), (WRITE, Family::Write)]
                .into_iter()
                .filter(|(bit, _)| file.access & bit != 0)
                .map(|(_, family)| family)
                .collect(),
            Self::Change { .. } => vec![Family::Write],
            Self::Unix(_) => vec![Family::Unix],
            Self::Listen(_) => vec![Family::Listen],
            Self::Query(_) => vec![Family::Name],
            Self::Facility { .. } => vec![Family::Facility],
            Self::Found(fact) => fact.families(),
            Self::Fork { .. }
            | Self::Exit { .. }
            | Self::Phase { .. }
            | Self::Accept { .. }
            | Self::Caller { .. }
            | Self::Flow(_)
            | Self::Answer { .. }
            | Self::Hello { .. }
            | Self::Request(_)
            | Self::Map { .. }
            | Self::Volume(_)
            | Self::Odd(_)
            | Self::Model(_)
            | Self::Episode(_)
            | Self::Lineage(_)
            | Self::Held(_) => vec![],
        }
    }

    /// What it was done to; see [`crate::observation::Observation::subject`].
    pub fn subject(&self) -> String {
        match self {
            Self::Connect(e) | Self::Send(e) | Self::Listen(e) => e.to_string(),
            Self::Caller { endpoint, .. } | Self::Hello { endpoint, .. } => endpoint.to_string(),
            Self::Accept { peer, .. } => peer.to_string(),
            Self::Request(request) => request.proxy.to_string(),
            Self::Flow(flow) => flow.peer.to_string(),
            Self::Unix(peer) => peer.subject(),
            Self::Query(lookup) | Self::Answer { lookup, .. } => text::escape(&lookup.name),
            Self::Open(file) | Self::Map { file, .. } | Self::Change { file, .. } => file.subject(),
            Self::Exec { program, .. } => program.subject(),
            Self::Facility { facility, .. } => facility.name().into(),
            Self::Found(fact) => fact.subject(),
            Self::Volume(volume) => volume.connector.to_string(),
            Self::Odd(call) => call.endpoint.to_string(),
            Self::Model(model) => model.path.clone(),
            Self::Episode(_) => "an episode as a whole".into(),
            Self::Lineage(shape) => {
                format!("lineage {}: {}", shape.lineage, shape.differs.join(", "))
            }
            Self::Held(_) => "the alert budget".into(),
            Self::Fork { .. } | Self::Exit { .. } | Self::Phase { .. } => String::new(),
        }
    }
}

impl Fact {
    /// The address that it leads to, where it is about one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.inner() {
            Self::Connect(endpoint) | Self::Send(endpoint) | Self::Hello { endpoint, .. } => {
                Some(endpoint.address)
            }
            Self::Request(request) => Some(request.proxy.address),
            Self::Flow(flow) if !flow.inbound => Some(flow.peer.address),
            Self::Volume(Volume {
                connector: Connector::Out(endpoint),
                ..
            }) => Some(endpoint.address),
            Self::Odd(call) => Some(call.endpoint.address),
            _ => None,
        }
    }
}

/// The word for an action on a name.
pub const fn action_name(action: Action) -> &'static str {
    match action {
        Action::Unlink => "unlink",
        Action::Rmdir => "rmdir",
        Action::RenameFrom => "rename-from",
        Action::RenameTo => "rename-to",
        Action::LinkFrom => "link-from",
        Action::LinkTo => "link-to",
        Action::Truncate => "truncate",
        Action::Symlink => "symlink",
        Action::Mkdir => "mkdir",
        Action::Mknod => "mknod",
    }
}
