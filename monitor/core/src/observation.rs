//! Observation: one decoded fact from the kernel, in the daemon's own words.
//!
//! It knows nothing of rings, hashes or class numbers; the decoder has turned those into names.

use monitor_common::{
    class::{Family, Mode, Phase, Role},
    event::{Verdict, map::protection::EXEC},
    hook::Hook,
    limits::LARGE_FILE,
};
use serde::{Deserialize, Serialize};

pub use crate::fact::*;

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

impl Observation {
    /// Something that no hook saw: worked out from what several did. It stopped nothing.
    pub fn derived(time: u64, process: ProcessKey, scope: &Scope, mode: Mode, fact: Fact) -> Self {
        Self {
            time,
            process,
            thread: process.pid,
            uid: 0,
            cgroup: 0,
            comm: String::new(),
            scope: scope.clone(),
            hook: Hook::FlowState,
            verdict: Verdict::Audited,
            mode,
            policy: 0,
            invariant: false,
            single_thread: false,
            count: 1,
            fact,
        }
    }

    /// Families whose baselines this belongs to: an open for reading and writing belongs to two.
    pub fn families(&self) -> Vec<Family> {
        self.fact.families()
    }

    /// What it was done to, in the form that baselines, alerts and rules share: an endpoint, a
    /// path, a name, escaped for text. Empty for process events.
    pub fn subject(&self) -> String {
        self.fact.subject()
    }

    /// What the mapping of a large file says about the life of its process: a model is loaded
    /// before it serves, or replaced while it does. Told, and never a change of class: a process
    /// must not get the policy of another phase by mapping a file. Programs and libraries are
    /// mapped to be executed, and say nothing.
    pub fn stage(&self) -> Option<Phase> {
        let Fact::Map {
            file,
            size,
            protection,
            ..
        } = &self.fact
        else {
            return None;
        };
        if *size < LARGE_FILE || protection & EXEC != 0 || is_library(&file.path) {
            return None;
        }
        match self.scope.phase {
            Phase::Start | Phase::Load => Some(Phase::Load),
            Phase::Serve | Phase::Reload => Some(Phase::Reload),
            Phase::Stop => None,
        }
    }
}

/// Whether a file is called as libraries are: `libc.so.6`. The loader maps them to be read before
/// it maps parts of them to be executed.
fn is_library(path: &[u8]) -> bool {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}
