//! What an alert says that no schema has a place for, as one object of our own: `unmapped.slmguard`
//! in OCSF, `slmguard` in ECS. With what stands in its proper place, nothing of an alert is lost.

use serde::Serialize;
use serde_json::Value;

use super::object::{Absent, objects};
use crate::alert::{Alert, ChainStep, ProcessInfo};

objects! {
    /// What is ours alone.
    Own {
        /// Workload.
        workload: String,
        /// Role of the process.
        role: String,
        /// Phase of the process.
        phase: String,
        /// Mode that applied.
        mode: String,
        /// Kind.
        kind: String,
        /// Destination, path or name, as the alert has it.
        subject: String,
        /// Name that the workload was given the address for.
        name: Option<String>,
        /// How a file was asked for.
        access: Option<String>,
        /// `blocked`, `killed`, `would_block`, `audited`; of observations `known` and `new` too.
        verdict: String,
        /// True only if the operation took no effect.
        prevented: bool,
        /// `lsm` or `cgroup`.
        tier: String,
        /// Hook that decided.
        hook: String,
        /// Why, sentence by sentence.
        reasons: Vec<String>,
        /// ATLAS technique ids, where the schema has no place for them.
        atlas: Vec<String>,
        /// OWASP ids.
        owasp: Vec<String>,
        /// Known subjects that resemble it, where the schema has no place for them.
        nearest: Vec<String>,
        /// Steps of the same episode.
        chain: Vec<ChainStep>,
        /// What schemas do not say of a process.
        process: OwnProcess,
        /// First occurrence, RFC 3339 with microseconds.
        first_seen: Option<String>,
        /// Last occurrence, RFC 3339 with microseconds.
        last_seen: Option<String>,
        /// What an observation says besides its subject ([`crate::fact::Fact::detail`]).
        detail: Option<Detail>,
    }

    /// What schemas do not say of a process.
    OwnProcess {
        /// Arguments one by one.
        argv: Vec<String>,
        /// Start, nanoseconds since boot; as text, since JSON's numbers are not exact so far up.
        start_time: String,
        /// Path of its cgroup.
        cgroup: String,
        /// `pid exe` of parent, grandparent, … where the schema has no place for them.
        ancestors: Vec<String>,
        /// It was running before the daemon.
        adopted: bool,
    }
}

/// Details of an observation, already JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Detail(pub Value);
impl Absent for Detail {}

impl OwnProcess {
    pub(super) fn of(process: &ProcessInfo) -> Self {
        Self {
            argv: process.argv.clone(),
            start_time: process.start_time.to_string(),
            cgroup: process.cgroup.clone(),
            ancestors: vec![],
            adopted: process.adopted,
        }
    }
}

impl Own {
    /// Of an alert, without what OCSF has a place for.
    pub(super) fn of(alert: &Alert) -> Self {
        Self {
            workload: alert.workload.clone(),
            role: alert.role.clone(),
            phase: alert.phase.clone(),
            mode: alert.mode.clone(),
            kind: alert.kind.clone(),
            subject: alert.subject.clone(),
            name: alert.name.clone(),
            access: alert.access.clone(),
            verdict: alert.verdict.clone(),
            prevented: alert.prevented,
            tier: alert.tier.clone(),
            hook: alert.hook.clone(),
            reasons: alert.reasons.clone(),
            atlas: vec![],
            owasp: alert.owasp.clone(),
            nearest: vec![],
            chain: alert.chain.clone(),
            process: OwnProcess::of(&alert.process),
            first_seen: Some(alert.first_seen.clone()),
            last_seen: Some(alert.last_seen.clone()),
            detail: None,
        }
    }
}
