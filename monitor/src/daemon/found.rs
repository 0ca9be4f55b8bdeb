//! What a process has when it is made a member: sockets get their owner, connections and open files
//! are judged by the policy and told. They cannot be refused any more.

use std::{path::Path, time::Instant};

use monitor_common::{
    class::{ClassId, Mode},
    event::Verdict,
    hook::Hook,
    socket::Owner,
};
use slmguard_core::{
    decide::judge_found,
    decode::name_of,
    observation::{Endpoint, Fact, FileAccess, Observation, ProcessKey, Scope},
};

use super::{clock, engine::Engine};
use crate::{enrich::procfs::TICK_NS, kernel::FoundSocket};

/// Found subjects that are shown with a process.
const SHOWN: usize = 64;

impl Engine {
    /// Marks the sockets of a process as its own. Returns those that are connected.
    pub(super) fn own_sockets(&self, pid: u32, class: ClassId) -> Vec<FoundSocket> {
        let Some(stat) = self.proc.stat(pid) else {
            return vec![];
        };
        let mut comm = [0; 16];
        let exe = self.proc.exe(pid).unwrap_or_default();
        let name = exe.rsplit(|b| *b == b'/').next().unwrap_or_default();
        // As the kernel has it: fifteen bytes of the program's name.
        let length = name.len().min(15);
        comm[..length].copy_from_slice(&name[..length]);
        let owner = Owner {
            start_time: stat.start_ticks * TICK_NS,
            tgid: pid,
            uid: self.proc.user(pid).unwrap_or(u32::MAX),
            class,
            comm,
            ..Owner::default()
        };
        let sockets = self.guard().own_sockets(owner);
        sockets.unwrap_or_else(|e| {
            tracing::warn!("what process {pid} sends on its open sockets is not told: {e}");
            vec![]
        })
    }

    /// Looks into a process that has just been made a member.
    pub(super) fn look_into(&self, pid: u32, class: ClassId, scope: Scope) {
        let connections = self.own_sockets(pid, class);
        let mut facts: Vec<Fact> = connections
            .iter()
            .filter(|c| !c.inbound)
            .map(|c| {
                Fact::Connect(Endpoint {
                    address: c.peer.ip().to_canonical(),
                    port: c.peer.port(),
                    protocol: c.protocol,
                })
            })
            .collect();
        let own = format!("/proc/{pid}");
        for (path, access) in self.proc.open_files(pid) {
            let flags = if path.starts_with(own.as_bytes()) {
                monitor_common::event::flag::PROC_SELF
            } else {
                0
            };
            facts.push(Fact::Open(FileAccess {
                name: name_of(&path, flags),
                inode: inode(&path),
                path,
                access,
                cut: false,
                incomplete: false,
            }));
        }
        facts.dedup();
        let subjects: Vec<String> = facts.iter().map(Fact::subject).take(SHOWN).collect();
        self.state().processes.set_had(pid, subjects);
        let alerts: Vec<_> = facts
            .into_iter()
            .filter_map(|fact| {
                let observation = self.found(pid, &scope, fact);
                self.ingest(observation, None, Instant::now())
            })
            .collect();
        if let Err(e) = self.store_alerts(&alerts) {
            self.problem(
                "found",
                Some(format!(
                    "what process {pid} had open could not be told: {e}"
                )),
            );
        }
    }

    fn found(&self, pid: u32, scope: &Scope, fact: Fact) -> Observation {
        let fact = Fact::Found(Box::new(fact));
        let workload = self
            .config
            .workloads
            .iter()
            .find(|w| w.name == scope.workload);
        let state = self.state();
        let mode = state.mode(&scope.workload).unwrap_or(Mode::Learn);
        let (verdict, invariant) = workload.map_or((Verdict::Known, false), |w| {
            judge_found(&fact, scope, &state.baseline, (&w.allow, &w.deny), mode)
        });
        drop(state);
        let start_time = self.proc.stat(pid).map_or(0, |s| s.start_ticks * TICK_NS);
        Observation {
            time: clock::now(),
            process: ProcessKey { pid, start_time },
            thread: pid,
            uid: self.proc.user(pid).unwrap_or(u32::MAX),
            cgroup: 0,
            comm: String::new(),
            scope: scope.clone(),
            // Where it would have been seen, had it happened now.
            hook: match fact.inner() {
                Fact::Connect(e) if e.address.is_ipv4() => Hook::Connect4,
                Fact::Connect(_) => Hook::Connect6,
                _ if self.tier() == "lsm" => Hook::LsmFileOpen,
                _ => Hook::OpenExit,
            },
            verdict,
            mode,
            policy: 0,
            invariant,
            single_thread: false,
            count: 1,
            fact,
        }
    }
}

/// Device (in the kernel's own encoding) and inode of a path, as far as it can be seen from here.
fn inode(path: &[u8]) -> (u64, u64) {
    use std::os::unix::{ffi::OsStrExt, fs::MetadataExt};
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    std::fs::metadata(path).map_or((0, 0), |m| {
        let device = m.dev();
        let (major, minor) = (libc::major(device), libc::minor(device));
        (u64::from(major) << 20 | u64::from(minor), m.ino())
    })
}
