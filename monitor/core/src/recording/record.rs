//! What can stand on a line of a recording.

use monitor_common::class::ClassId;
use serde::{Deserialize, Serialize};

use super::Base64;
use crate::{
    alert::ProcessInfo,
    baseline::{self, order::Row},
    config::Workload,
    observation::{Flow, ProcessKey, Scope},
    workload::{phase_from, phase_name, role_from, role_name},
};

/// [`Record::Lost`]: the kernel's rings were full.
pub const BY_KERNEL: &str = "kernel";
/// [`Record::Lost`]: the recording was written more slowly than events came.
pub const BY_RECORDER: &str = "recorder";

/// One line of a recording.
///
/// In this order: the header; the state in which the recording starts (workloads, classes, modes,
/// policies, what is known, processes, the clock); [`Record::Begin`]; then events and changes of
/// that state as they came; [`Record::End`], unless the recording was broken off.
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time is made, written and dropped"
)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// Where the recording comes from, and what holds for all of it.
    Header(Header),
    /// A workload as it is configured.
    Workload(Workload),
    /// What a class number stands for.
    Class(Member),
    /// The mode of a workload, from here on.
    Mode {
        /// The workload.
        workload: String,
        /// Its mode.
        mode: String,
        /// On what the right to enforce rests.
        basis: String,
        /// Since when, nanoseconds since the epoch.
        changed: u64,
    },
    /// The version behind one of the kernel's policy numbers, from here on.
    Policy {
        /// The kernel's number.
        number: u32,
        /// Fingerprint of its content.
        version: u64,
    },
    /// One subject of the baseline.
    Known(baseline::Row),
    /// A name that a workload was given an address for before the recording began.
    Name {
        /// The workload.
        workload: String,
        /// The address.
        address: std::net::IpAddr,
        /// The name, escaped.
        name: String,
        /// When it ends, nanoseconds since the epoch.
        ends: u64,
    },
    /// Pairs of connectors that a workload learned.
    Order(Row),
    /// What connections carried that the kernel only added up; no event tells it.
    Flow {
        /// Where it belongs.
        member: Member,
        /// The process that sent last.
        process: ProcessKey,
        /// What was carried.
        flow: Flow,
        /// How many connections.
        count: u64,
        /// When it was read, nanoseconds since the epoch.
        time: u64,
    },
    /// A process whose origin no event tells: what the daemon found out about it from outside.
    Process {
        /// The process.
        info: ProcessInfo,
        /// Where it belongs.
        member: Member,
    },
    /// From here on nanoseconds to add to the kernel's clock to get the wall clock.
    Clock {
        /// Nanoseconds.
        monotonic_to_wall_ns: i64,
    },
    /// The state is complete.
    Begin,
    /// An event as it came from the kernel.
    Event {
        /// Its bytes, untouched.
        bytes: Base64,
        /// The id that the daemon drew for the alert that it raised about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Who did it, where that was looked up for this event alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process: Option<Box<ProcessInfo>>,
    },
    /// Events that are missing here.
    Lost {
        /// [`BY_KERNEL`] or [`BY_RECORDER`].
        by: String,
        /// How many.
        events: u64,
    },
    /// The end.
    End(End),
}

/// Where a recording comes from, and what holds for all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the daemon.
    pub version: String,
    /// [`monitor_common::ABI`] of the daemon: the layout of the events.
    pub abi: u32,
    /// Release of the kernel.
    pub kernel: String,
    /// Architecture.
    pub arch: String,
    /// `lsm` or `cgroup`.
    pub tier: String,
    /// Names of the hooks, in the order of the numbers that events carry.
    pub hooks: Vec<String>,
    /// Host name, as in alerts.
    pub host: String,
    /// When the recording started, RFC 3339.
    pub started: String,
    /// User who asked for it.
    pub uid: u32,
    /// The command that asked for it, escaped.
    pub command: String,
    /// What it is for, in the words of who asked; escaped.
    pub note: String,
}

/// A class number and what it stands for; for processes the class they are in, number 0 if that is
/// not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The number.
    pub class: ClassId,
    /// Workload.
    pub workload: String,
    /// Role.
    pub role: String,
    /// Phase.
    pub phase: String,
}

/// The end of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Why it ended.
    pub reason: String,
    /// Events in it.
    pub events: u64,
    /// Events that are missing in it.
    pub lost: u64,
}

impl Member {
    /// The words for a scope.
    pub fn new(class: ClassId, scope: &Scope) -> Self {
        Self {
            class,
            workload: scope.workload.clone(),
            role: role_name(scope.role).into(),
            phase: phase_name(scope.phase).into(),
        }
    }

    /// The scope, if role and phase are ones that there are.
    pub fn scope(&self) -> Option<Scope> {
        Some(Scope {
            workload: self.workload.clone(),
            role: role_from(&self.role)?,
            phase: phase_from(&self.phase)?,
        })
    }
}

impl Record {
    /// An event, cut to the length that it says it has: a hook reserves room for the longest one,
    /// and what follows is not part of it. Bytes that are no event stay as they are.
    pub fn event(bytes: &[u8], id: Option<String>, process: Option<Box<ProcessInfo>>) -> Self {
        let length = match crate::decode::header(bytes) {
            Ok(header) => header.length as usize,
            Err(_) => bytes.len(),
        };
        Self::Event {
            bytes: Base64(bytes[..length].to_vec()),
            id,
            process,
        }
    }

    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Header(_) => "header",
            Self::Workload(_) => "workload",
            Self::Class(_) => "class",
            Self::Mode { .. } => "mode",
            Self::Policy { .. } => "policy",
            Self::Known(_) => "known",
            Self::Name { .. } => "name",
            Self::Order(_) => "order",
            Self::Flow { .. } => "flow",
            Self::Process { .. } => "process",
            Self::Clock { .. } => "clock",
            Self::Begin => "begin",
            Self::Event { .. } => "event",
            Self::Lost { .. } => "lost",
            Self::End(_) => "end",
        }
    }
}
