//! Alert: the value every sink sends, and its formats. A format is a projection of [`Alert`];
//! none of them can say what the value does not.

pub mod catalogue;
mod explain;
pub mod format;
mod json;
mod mapping;
#[cfg(test)]
mod tests;

pub use explain::{choices, explain};
pub use format::Format;
pub use mapping::{Mapping, mapping};
use mapping::{NOTHING, TRIFECTA};
use monitor_common::{
    event::Verdict,
    facility::Facility,
    path::permission::{READ, WRITE},
};
use serde::{Deserialize, Serialize};

use crate::{
    baseline::order::chain::Step,
    decision::Decision,
    observation::{Fact, Observation},
    time::rfc3339,
    workload::{hook_name, mode_name, phase_name, role_name, verdict_name},
};

/// What an operator is told. All text in it is already escaped ([`crate::text::escape`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Unique and sortable by time.
    pub id: String,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// Host name.
    pub host: String,
    /// Workload.
    pub workload: String,
    /// Role of the process.
    pub role: String,
    /// Phase of the process.
    pub phase: String,
    /// Mode that applied to the family.
    pub mode: String,
    /// `connect`, `send`, `open`, `exec`, `found`, `volume`, `odd` and the others of [`Fact::kind`].
    pub kind: String,
    /// Destination or path.
    pub subject: String,
    /// Name that the workload was given the address for, where one is known.
    #[serde(default)]
    pub name: Option<String>,
    /// How a file was asked for: `read`, `write`, `read+write`; absent for other kinds.
    pub access: Option<String>,
    /// `audited`, `would_block`, `blocked`, `killed`.
    pub verdict: String,
    /// True only if the operation did not take effect.
    pub prevented: bool,
    /// `lsm` or `cgroup`.
    pub tier: String,
    /// Hook that decided.
    pub hook: String,
    /// How bad.
    pub severity: Severity,
    /// Why, in sentences.
    pub reasons: Vec<String>,
    /// The nearest known subjects, at most three.
    pub nearest: Vec<String>,
    /// What came before in the same episode, what it is about last; absent where nothing did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<ChainStep>,
    /// Who.
    pub process: ProcessInfo,
    /// Version of the policy that decided.
    pub policy_version: u64,
    /// ATT&CK technique ids.
    pub attack: Vec<String>,
    /// ATLAS technique ids.
    pub atlas: Vec<String>,
    /// OWASP ids.
    pub owasp: Vec<String>,
    /// Occurrences that this alert stands for.
    pub count: u64,
    /// First of them, RFC 3339.
    pub first_seen: String,
    /// Last of them, RFC 3339.
    pub last_seen: String,
}

/// How bad, in OCSF's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// Unusual.
    Low,
    /// A deviation.
    Medium,
    /// A deviation of a kind that attacks are made of.
    High,
    /// A breach of an invariant, or all that it takes to carry data out.
    Critical,
}

impl Severity {
    /// One step worse.
    pub const fn raised(self) -> Self {
        match self {
            Self::Info => Self::Low,
            Self::Low => Self::Medium,
            Self::Medium => Self::High,
            Self::High | Self::Critical => Self::Critical,
        }
    }
}

/// A step of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainStep {
    /// Milliseconds since the first step.
    pub after_ms: u64,
    /// `inbound`, `read`, `exec`, `egress`.
    pub step: String,
    /// Peer, file, program or destination.
    pub subject: String,
    /// Of what is read: `untrusted`, `private`, `private and untrusted`, `secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Of a destination: whether it is in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<bool>,
}

/// A process as alerts and events show it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Start, nanoseconds since boot.
    pub start_time: u64,
    /// Path of its program.
    pub exe: String,
    /// Arguments.
    pub argv: Vec<String>,
    /// User.
    pub uid: u32,
    /// Path of its cgroup, or `#id` where the path is not known.
    pub cgroup: String,
    /// `pid exe` of parent, grandparent, …
    pub ancestors: Vec<String>,
    /// It was running before the daemon and was found in /proc.
    pub adopted: bool,
}

/// What an alert says that its decision does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertContext {
    /// Unique and sortable by time.
    pub id: String,
    /// Host name.
    pub host: String,
    /// `lsm` or `cgroup`.
    pub tier: String,
    /// Who.
    pub process: ProcessInfo,
    /// Version of the policy that decided.
    pub policy_version: u64,
}

impl Alert {
    /// The alert for a decision.
    pub fn from_decision(decision: &Decision, context: AlertContext) -> Self {
        let seen = &decision.observation;
        let Mapping {
            attack,
            atlas,
            owasp,
            severity,
        } = mapping(seen);
        let trifecta = decision.before.as_ref().is_some_and(|b| b.trifecta);
        let more = if trifecta { TRIFECTA } else { NOTHING };
        let severity = if trifecta {
            severity.raised()
        } else {
            severity
        };
        let owned = |ids: &[&str], more: &[&str]| {
            let mut all: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            let news = more.iter().filter(|id| !ids.contains(id));
            all.extend(news.map(|id| (*id).to_owned()));
            all
        };
        let before = decision.before.iter().flat_map(|before| &before.steps);
        let time = rfc3339(seen.time);
        Self {
            id: context.id,
            time: time.clone(),
            host: context.host,
            workload: seen.scope.workload.clone(),
            role: role_name(seen.scope.role).into(),
            phase: phase_name(seen.scope.phase).into(),
            mode: mode_name(seen.mode).into(),
            kind: seen.fact.kind().into(),
            subject: seen.subject(),
            name: decision.name.clone(),
            access: access(&seen.fact).map(str::to_owned),
            verdict: verdict_name(seen.verdict).into(),
            prevented: prevented(seen),
            tier: context.tier,
            hook: hook_name(seen.hook).into(),
            severity,
            reasons: decision.reasons.clone(),
            nearest: decision.nearest.clone(),
            chain: before.map(chain_step).collect(),
            process: context.process,
            policy_version: context.policy_version,
            attack: owned(attack, more.attack),
            atlas: owned(atlas, more.atlas),
            owasp: owned(owasp, more.owasp),
            count: seen.count,
            first_seen: decision.first.map_or_else(|| time.clone(), rfc3339),
            last_seen: time,
        }
    }
}

fn chain_step((after, step): &(u64, Step)) -> ChainStep {
    let (word, subject, class, known) = match step {
        Step::Inbound(from) => ("inbound", from, None, None),
        Step::Read(class, what) => ("read", what, Some(class.word().to_owned()), None),
        Step::Exec(program) => ("exec", program, None, None),
        Step::Egress {
            destination, known, ..
        } => ("egress", destination, None, Some(*known)),
    };
    ChainStep {
        after_ms: after / 1_000_000,
        step: word.into(),
        subject: subject.clone(),
        class,
        known,
    }
}

/// How a file was asked for.
fn access(fact: &Fact) -> Option<&'static str> {
    let Fact::Open(file) = fact.inner() else {
        return None;
    };
    match file.access & (READ | WRITE) {
        READ => Some("read"),
        WRITE => Some("write"),
        0 => None,
        _ => Some("read+write"),
    }
}

/// Whether the operation did not take effect. A program that was killed before its first
/// instruction did not run. A file that a killed process had opened for reading was of no use to
/// anybody if the process had one thread; with more, another may have used the moment. One opened
/// for writing may have been created or truncated by the open itself. A ring and a user namespace
/// are of as little use as a file; mounts and changes of names have happened.
fn prevented(seen: &Observation) -> bool {
    match seen.verdict {
        Verdict::Blocked => true,
        Verdict::Killed => match &seen.fact {
            Fact::Exec { .. } => true,
            Fact::Open(file) => seen.single_thread && file.access & WRITE == 0,
            Fact::Facility { facility, .. } => {
                let unused = matches!(facility, Facility::IoUring | Facility::UserNamespace);
                seen.single_thread && unused
            }
            _ => false,
        },
        Verdict::Known | Verdict::New | Verdict::WouldBlock | Verdict::Audited => false,
    }
}
