//! What the API shows, as values: the daemon writes them, the commands read them, scripts rely on
//! their names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use slmguard_core::{alert::ProcessInfo, config::Rules};

pub use super::found::{
    Agent, Candidate, Capability, Decide, Decided, Detection, Evidence, Model, Search,
};
pub use super::profile::{
    Approval, BaselineOrder, FamilyEvidence, Lineage, Profile, Standing, VolumeEvidence, Waiting,
};

/// `GET /v1/status`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// `lsm` or `cgroup`.
    pub tier: String,
    /// Address of the metrics endpoint; absent where it is off.
    pub metrics: Option<String>,
    /// What should work and does not, in sentences.
    pub degraded: Vec<String>,
    /// Workloads in short.
    pub workloads: Vec<WorkloadStatus>,
    /// Events read from the kernel, per kind.
    pub events: BTreeMap<String, u64>,
    /// Events that the rings had no room for.
    pub drops: u64,
    /// Alerts that wait in memory because the store refuses them.
    #[serde(default)]
    pub alerts_waiting: u64,
    /// Alerts that neither store nor memory had room for, since the start.
    #[serde(default)]
    pub alerts_lost: u64,
    /// What the configuration leaves to be reported where this tier cannot deny, in sentences.
    #[serde(default)]
    pub unenforced: Vec<String>,
}

/// A workload in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkloadStatus {
    /// Its name.
    pub name: String,
    /// Its mode.
    pub mode: String,
    /// On what the right to enforce rests.
    pub basis: String,
    /// Living processes.
    pub processes: usize,
    /// Alerts in the store.
    pub alerts: u64,
}

/// One entry of `GET /v1/workloads`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Its mode.
    pub mode: String,
    /// On what the right to enforce rests.
    pub basis: String,
    /// Living processes.
    pub processes: Vec<Member>,
    /// Size of the baseline.
    pub baseline: BaselineSize,
    /// Tool processes and busy minutes that were seen since the daemon started.
    pub episodes: u64,
    /// `configured` or `detected`.
    #[serde(default)]
    pub origin: String,
    /// Somebody said that it is one: the configuration, or an operator.
    #[serde(default)]
    pub confirmed: bool,
    /// What the detectors say; absent where they have not seen it.
    #[serde(default)]
    pub detection: Option<Detection>,
    /// Local processes that call it.
    #[serde(default)]
    pub agents: Vec<Agent>,
}

/// A living process of a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub pid: u32,
    /// Its role.
    pub role: String,
    /// Its phase.
    pub phase: String,
    /// Its program.
    pub exe: String,
    /// It was here before the daemon.
    pub adopted: bool,
    /// Connections and open files that it had when it was made a member.
    #[serde(default)]
    pub found: Vec<String>,
    /// `mcp`: an MCP server that another member talks to over standard input and output.
    #[serde(default)]
    pub kind: Option<String>,
}

/// Subjects that were learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineSize {
    /// Destinations.
    pub destinations: usize,
    /// Files read.
    pub reads: usize,
    /// Files written.
    pub writes: usize,
    /// Programs started.
    pub execs: usize,
    /// Unix sockets reached.
    #[serde(default)]
    pub unix: usize,
    /// Endpoints listened on.
    #[serde(default)]
    pub listens: usize,
    /// Names looked up.
    #[serde(default)]
    pub names: usize,
    /// Facilities used.
    #[serde(default)]
    pub facilities: usize,
}

/// One entry of `GET /v1/hooks`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// Runs that the kernel counted (`kernel.bpf_stats_enabled`), and their nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<u64>,
    /// Nanoseconds of these runs, the counting included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_ns: Option<u64>,
    /// Its name.
    pub hook: String,
    /// Its family.
    pub family: String,
    /// `lsm`, `cgroup`, `both`.
    pub tier: String,
    /// It is attached.
    pub attached: bool,
    /// It was seen to fire; absent where that could not be tried.
    pub fires: Option<bool>,
    /// `prevents`, `kills`, `detects`, `tracks`.
    pub effect: String,
    /// What it guards.
    pub guards: String,
    /// Why it is not attached, or not as it should be.
    pub reason: Option<String>,
    /// It belongs to the tier in use, so that it ought to be attached.
    pub expected: bool,
}

impl Hook {
    /// Whether something is missing that this kernel could have.
    pub fn is_degraded(&self) -> bool {
        self.expected && (!self.attached || self.fires == Some(false))
    }
}

/// One line of `GET /v1/events`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, RFC 3339.
    pub time: String,
    /// Workload.
    pub workload: String,
    /// Role of the process.
    pub role: String,
    /// Its phase.
    pub phase: String,
    /// The kind of fact, as in docs/events.md.
    pub kind: String,
    /// Destination or path; empty for events of processes.
    pub subject: String,
    /// What the kernel did about it.
    pub verdict: String,
    /// Occurrences.
    pub count: u64,
    /// `load` or `reload`: a large file was mapped before, or while, the process serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// User of a peer on this host who connected; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_uid: Option<u32>,
    /// Name that the workload was given the address for, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the kind has besides its subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
    /// What is odd about it, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who.
    pub process: ProcessInfo,
}

/// One entry of `GET /v1/baseline/{workload}`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BaselineEntry {
    /// Workload.
    pub workload: String,
    /// Role.
    pub role: String,
    /// Phase.
    pub phase: String,
    /// `destination`, `read`, `write`, `exec`.
    pub family: String,
    /// Destination or path.
    pub subject: String,
    /// How often.
    pub count: u64,
    /// First time, RFC 3339.
    pub first_seen: String,
    /// Last time, RFC 3339.
    pub last_seen: String,
    /// `pinned`, `stale`, `added`; absent for what is simply known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// `GET /v1/mode/{workload}`, and the answer to a change of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mode {
    /// Workload.
    pub workload: String,
    /// Its mode.
    pub mode: String,
    /// On what the right to enforce rests.
    pub basis: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// `POST /v1/mode/{workload}`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeChange {
    /// The mode that is wanted.
    pub mode: String,
    /// The operator approves what was learned.
    #[serde(default)]
    pub declare: bool,
    /// Why; kept in the audit trail.
    #[serde(default)]
    pub reason: String,
}

/// `POST /v1/recording`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingOrder {
    /// The command that asks for it; kept in the recording.
    #[serde(default)]
    pub command: String,
    /// What it is for; kept in the recording.
    #[serde(default)]
    pub note: String,
}

/// `GET /v1/launch/{workload}/{role}`: what a launcher makes a sandbox from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaunchPlan {
    /// Workload.
    pub workload: String,
    /// Role.
    pub role: String,
    /// Mode of the workload.
    pub mode: String,
    /// `lsm` or `cgroup`.
    pub tier: String,
    /// What was learned for everything that the program and its children can become: family and
    /// subject.
    pub learned: Vec<(String, String)>,
    /// What the operator allows besides.
    pub allow: Rules,
    /// What the operator forbids.
    pub deny: Rules,
}

/// `POST /v1/launch/{workload}/{role}`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Launched {
    /// The process whose next exec is guarded.
    pub pid: u32,
    /// It was a member of this workload in this role already.
    pub member: bool,
}

/// What every refusal says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// In a sentence.
    pub error: String,
}
