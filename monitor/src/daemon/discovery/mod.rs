//! Workloads that nobody configured: from what the scanner saw to workloads that are guarded, and
//! what operators decide about them.
//!
//! A workload that was found learns and does not enforce before an operator confirmed it. It is
//! entered whole (store, classes, policies, rules) or not at all. The detector thread does the
//! work; the API reads [`Discovery`] and decides.
//!
//! Locks: [`Discovery`] comes before the state and the guard, and is never held while `/proc` is
//! read.

mod agents;
mod apply;
mod found;
mod operator;
mod rules;
mod show;
pub(super) mod worker;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::{MutexGuard, PoisonError},
};

use monitor_common::class::Role;
use serde::{Deserialize, Serialize};
use slmguard_core::{
    fact::Fact,
    observation::{Observation, ProcessKey},
};

use super::engine::Engine;
use crate::{
    api::view,
    enrich::detect::{FileId, digest::Digests},
};

/// Roles that a workload has from the start; an agent's are added when one is enrolled.
pub(super) const ROLES: [Role; 2] = [Role::Server, Role::Tool];
/// Calls that wait for the detector thread.
const CALLS: usize = 1024;

/// What is known about workloads beside their state.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Workloads that were found, by name.
    pub found: BTreeMap<String, Found>,
    /// Agents by workload and name.
    pub agents: BTreeMap<(String, String), Agent>,
    /// What the detectors say about each workload, configured ones as well.
    pub seen: BTreeMap<String, Seen>,
    /// Keys and names of what is not to be found again.
    pub dismissed: BTreeMap<String, String>,
    /// Why a key was refused.
    pub refused: BTreeMap<String, String>,
    /// Processes that come near.
    pub candidates: Vec<view::Candidate>,
    /// Members that are MCP servers of other members.
    pub mcp: HashSet<u32>,
    /// Calls that the kernel told of.
    pub calls: VecDeque<Call>,
    /// Rules that found no room in the kernel.
    pub without_rule: usize,
}

/// A workload that was found, as it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What its replicas have in common.
    pub key: String,
    /// An operator said that it is one.
    pub confirmed: bool,
    /// When it was found, nanoseconds since the epoch.
    pub since: u64,
    /// Everything else.
    pub body: Body,
}

/// The part that only the daemon reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Body {
    /// What the detectors said when it was seen last.
    pub detection: view::Detection,
    /// Its programs.
    pub programs: Vec<Program>,
    /// Its files, so that a digest is worked out once.
    pub files: Vec<(String, FileId)>,
}

/// How the kernel recognises a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Path of the executable.
    pub exe: String,
    /// Device and inode of it, as they were.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// The path leads there from the daemon's own tree of files.
    pub own_files: bool,
    /// Arguments that tell; `None`: nothing tells it from others.
    pub arguments: Option<Vec<String>>,
    /// Its unit.
    pub unit: Option<String>,
    /// Role.
    pub role: String,
}

/// What the detectors say about a workload that is running.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// For the API; models are filled in when asked for.
    pub detection: view::Detection,
    /// Its model files.
    pub files: Vec<(String, FileId, slmguard_core::detect::model::Format)>,
}

/// A local process that calls a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agent {
    /// What was decided.
    pub state: AgentState,
    /// How it is recognised.
    pub program: Program,
    /// Its user.
    pub uid: u32,
    /// Its processes.
    pub pids: BTreeSet<u32>,
    /// What was seen of it.
    pub evidence: Vec<String>,
    /// Connections that were seen.
    pub calls: u64,
}

/// What was decided about an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentState {
    /// Nothing yet.
    #[default]
    Offered,
    /// It belongs to the workload.
    Enrolled,
    /// It is not to be offered again.
    Dismissed,
}

impl AgentState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Enrolled => "enrolled",
            Self::Dismissed => "dismissed",
        }
    }
}

/// A call that the kernel told of: the boundary between its events and the search for agents.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The workload that was called.
    pub workload: String,
    /// Who called.
    pub process: ProcessKey,
    /// What it called.
    pub server: String,
}

impl Engine {
    pub(super) fn discovery(&self) -> MutexGuard<'_, Discovery> {
        self.discovery
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Digests of model files.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Takes note of a caller that the kernel told of.
    pub(super) fn note_caller(&self, observation: &Observation) {
        let Fact::Caller { endpoint, .. } = &observation.fact else {
            return;
        };
        let mut discovery = self.discovery();
        let call = Call {
            workload: observation.scope.workload.clone(),
            process: observation.process,
            server: endpoint.to_string(),
        };
        // Whoever calls again is told of again; a list that is full loses nothing for good.
        if discovery.calls.len() < CALLS && !discovery.calls.contains(&call) {
            discovery.calls.push_back(call);
        }
    }
}
