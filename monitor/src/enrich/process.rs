//! The process tree: what is known about members, from their events and, for the rest, from /proc.
//!
//! Ended processes stay for a while: the two rings are read one after the other, so that an event
//! can arrive after the exit of its process.

use std::collections::HashMap;

use slmguard_core::{
    alert::ProcessInfo,
    observation::{Fact, Observation, ProcessKey, Scope},
    text::escape,
};

use super::{
    cgroup::Cgroups,
    procfs::{Proc, TICK_NS},
};

/// Processes that are kept; beyond that, ended ones go first.
const CAPACITY: usize = 32_768;
/// How long an ended process is kept, in nanoseconds.
const KEEP_ENDED: u64 = 60_000_000_000;
/// Ancestors that are named.
const ANCESTORS: usize = 8;
/// Arguments that are kept, and bytes of each.
const ARGUMENTS: (usize, usize) = (32, 256);

/// One member.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// What people are shown.
    pub info: ProcessInfo,
    /// Where it belongs now.
    pub scope: Scope,
    /// When it ended, nanoseconds since the epoch.
    pub ended: Option<u64>,
    /// What it had when it was made a member: subjects of connections and open files.
    pub had: Vec<String>,
}

/// The table.
#[derive(Debug)]
pub struct ProcessTable {
    proc: Proc,
    cgroups: Cgroups,
    processes: HashMap<u32, Process>,
    capacity: usize,
    /// Entries made of what /proc says rather than of events, since they were last asked for.
    found: Vec<Process>,
}

impl ProcessTable {
    /// An empty table that looks things up there.
    pub fn new(proc: Proc, cgroups: Cgroups) -> Self {
        Self {
            proc,
            cgroups,
            processes: HashMap::new(),
            capacity: CAPACITY,
            found: vec![],
        }
    }

    /// An empty table that looks nothing up and forgets nothing: what events do not tell is entered
    /// by hand ([`Self::enter`]).
    pub fn told() -> Self {
        Self {
            capacity: usize::MAX,
            ..Self::new(Proc::at("/nonexistent"), Cgroups::at("/nonexistent"))
        }
    }

    /// Takes note of what an observation says about processes, and returns who did it.
    pub fn observe(&mut self, observation: &Observation) -> ProcessInfo {
        let pid = observation.process.pid;
        if let Fact::Caller { .. } = observation.fact {
            // Not a member: looked at and forgotten.
            return self.describe(observation);
        }
        self.ensure(observation);
        match &observation.fact {
            Fact::Fork { child } => self.fork(observation, *child),
            Fact::Exec {
                program,
                argv,
                after: Some(after),
            } => {
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.info.exe = escape(&program.path);
                    process.info.argv = shown(argv);
                    process.scope = after.clone();
                }
            }
            Fact::Phase { after, .. } => {
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.scope = after.clone();
                }
            }
            Fact::Exit { .. } => {
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.ended = Some(observation.time);
                }
            }
            _ => {}
        }
        self.processes
            .get(&pid)
            .map(|p| p.info.clone())
            .unwrap_or_default()
    }

    /// Enters a process that was here before the daemon.
    pub fn adopt(&mut self, pid: u32, scope: Scope) {
        self.look_up(pid, scope, true);
    }

    fn look_up(&mut self, pid: u32, scope: Scope, adopted: bool) {
        let Some(stat) = self.proc.stat(pid) else {
            return;
        };
        let key = ProcessKey {
            pid,
            start_time: stat.start_ticks * TICK_NS,
        };
        let mut info = self.read(key);
        info.adopted = adopted;
        self.enter(info, scope);
    }

    /// Enters a process about which something was found out otherwise than by its events.
    pub fn enter(&mut self, info: ProcessInfo, scope: Scope) {
        let process = Process {
            info,
            scope,
            ended: None,
            had: vec![],
        };
        self.found.push(process.clone());
        self.processes.insert(process.info.pid, process);
        self.make_room();
    }

    /// Processes that were entered since this was last asked for, in the order of their entry.
    pub fn take_found(&mut self) -> Vec<Process> {
        std::mem::take(&mut self.found)
    }

    /// A process in the table, living or ended.
    pub fn get(&self, pid: u32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// Everything in the table, in no particular order.
    pub fn all(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// What a process had when it was made a member.
    pub fn set_had(&mut self, pid: u32, had: Vec<String>) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.had = had;
        }
    }

    /// Enters a member that no event told about.
    pub fn discover(&mut self, pid: u32, scope: Scope) {
        match self.processes.get_mut(&pid).filter(|p| p.ended.is_none()) {
            Some(process) => process.scope = scope,
            None => self.look_up(pid, scope, false),
        }
    }

    /// Living members.
    pub fn living(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().filter(|p| p.ended.is_none())
    }

    /// Ends what is no longer a member (an exit that was not reported), and forgets what ended long
    /// ago or exceeds the table.
    pub fn tidy(&mut self, now: u64, is_member: impl Fn(u32) -> bool) {
        for (pid, process) in &mut self.processes {
            if process.ended.is_none() && !is_member(*pid) {
                process.ended = Some(now);
            }
        }
        self.processes
            // Either way: a clock that was set back must not keep them until it is caught up with.
            .retain(|_, p| p.ended.is_none_or(|ended| now.abs_diff(ended) < KEEP_ENDED));
        self.make_room();
    }

    /// Processes in the table.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    fn make_room(&mut self) {
        if self.processes.len() <= self.capacity {
            return;
        }
        let mut ended: Vec<_> = self
            .processes
            .iter()
            .filter_map(|(pid, p)| Some((p.ended?, *pid)))
            .collect();
        ended.sort_unstable();
        for (_, pid) in ended.into_iter().take(self.processes.len() - self.capacity) {
            self.processes.remove(&pid);
        }
    }

    /// Makes sure that the process of an observation is in the table.
    fn ensure(&mut self, observation: &Observation) {
        let key = observation.process;
        if self
            .processes
            .get(&key.pid)
            .is_some_and(|p| is_same(&p.info, key))
        {
            return;
        }
        let info = self.describe(observation);
        self.enter(info, observation.scope.clone());
    }

    /// The process of an observation, whether or not it still lives.
    fn describe(&mut self, observation: &Observation) -> ProcessInfo {
        let key = observation.process;
        let mut info = self.read(key);
        info.uid = observation.uid;
        if info.exe.is_empty() {
            info.exe = observation.comm.clone();
        }
        let guess = self.proc.cgroup(key.pid);
        info.cgroup = match self.cgroups.path(observation.cgroup, guess) {
            Some(path) => escape(path.as_bytes()),
            None => format!("#{}", observation.cgroup),
        };
        info
    }

    fn fork(&mut self, observation: &Observation, child: ProcessKey) {
        if self
            .processes
            .get(&child.pid)
            .is_some_and(|p| is_same(&p.info, child))
        {
            return;
        }
        let Some(parent) = self.processes.get(&observation.process.pid) else {
            return;
        };
        let mut info = parent.info.clone();
        info.pid = child.pid;
        info.start_time = child.start_time;
        info.adopted = false;
        info.ancestors.insert(0, named(&parent.info));
        info.ancestors.truncate(ANCESTORS);
        let scope = parent.scope.clone();
        self.processes.insert(
            child.pid,
            Process {
                info,
                scope,
                ended: None,
                had: vec![],
            },
        );
        self.make_room();
    }

    /// What /proc says, if the process is still the same one.
    fn read(&self, key: ProcessKey) -> ProcessInfo {
        let mut info = ProcessInfo {
            pid: key.pid,
            start_time: key.start_time,
            ..ProcessInfo::default()
        };
        if !self.proc.is(key.pid, key.start_time) {
            return info;
        }
        info.exe = escape(&self.proc.exe(key.pid).unwrap_or_default());
        info.argv = shown(&self.proc.arguments(key.pid));
        info.uid = self.proc.user(key.pid).unwrap_or_default();
        info.cgroup = escape(self.proc.cgroup(key.pid).unwrap_or_default().as_bytes());
        info.ancestors = self.ancestors(key.pid);
        info
    }

    fn ancestors(&self, pid: u32) -> Vec<String> {
        let mut found = vec![];
        let mut parent = self.proc.stat(pid).map_or(0, |s| s.parent);
        while parent != 0 && found.len() < ANCESTORS {
            let name = match self.processes.get(&parent).filter(|p| p.ended.is_none()) {
                Some(process) => named(&process.info),
                None => {
                    let exe = escape(&self.proc.exe(parent).unwrap_or_default());
                    format!("{parent} {exe}").trim_end().to_owned()
                }
            };
            found.push(name);
            parent = self.proc.stat(parent).map_or(0, |s| s.parent);
        }
        found
    }
}

/// Whether an entry is about this very process; what was adopted is known to a tick only.
fn is_same(info: &ProcessInfo, key: ProcessKey) -> bool {
    key.start_time == 0
        || info.start_time == key.start_time
        || info.start_time / TICK_NS == key.start_time / TICK_NS
}

fn named(info: &ProcessInfo) -> String {
    format!("{} {}", info.pid, info.exe)
}

/// Arguments fit to be shown: escaped, and not longer than somebody would read.
fn shown(arguments: &[Vec<u8>]) -> Vec<String> {
    let (count, bytes) = ARGUMENTS;
    let mut shown: Vec<_> = arguments
        .iter()
        .take(count)
        .map(|a| match a.get(..bytes) {
            Some(start) if a.len() > bytes => format!("{}…", escape(start)),
            _ => escape(a),
        })
        .collect();
    if arguments.len() > count {
        shown.push("…".into());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_common::{
        class::{Mode, Phase, Role},
        event::Verdict,
        hook::Hook,
    };
    use slmguard_core::observation::FileAccess;

    fn scope(role: Role) -> Scope {
        Scope {
            workload: "a".into(),
            role,
            phase: Phase::Start,
        }
    }

    fn observation(pid: u32, start_time: u64, fact: Fact) -> Observation {
        Observation {
            time: 1000,
            process: ProcessKey { pid, start_time },
            thread: pid,
            single_thread: true,
            uid: 33,
            cgroup: 77,
            comm: "worker".into(),
            scope: scope(Role::Agent),
            hook: Hook::ProcessFork,
            verdict: Verdict::Known,
            mode: Mode::Learn,
            policy: 0,
            invariant: false,
            count: 1,
            fact,
        }
    }

    fn exec(path: &str, argv: &[&str], after: Option<Scope>) -> Fact {
        let program = FileAccess {
            path: path.into(),
            name: path.into(),
            inode: (1, 2),
            access: 4,
            cut: false,
            incomplete: false,
        };
        Fact::Exec {
            program,
            argv: argv.iter().map(|a| a.as_bytes().to_vec()).collect(),
            after,
        }
    }

    fn table() -> ProcessTable {
        ProcessTable::new(Proc::at("/nowhere"), Cgroups::at("/nowhere"))
    }

    #[test]
    fn a_child_inherits_and_an_exec_renames() {
        let mut table = table();
        table.observe(&observation(
            10,
            1,
            exec("/usr/bin/agent", &["agent"], Some(scope(Role::Agent))),
        ));
        let child = ProcessKey {
            pid: 11,
            start_time: 2,
        };
        table.observe(&observation(10, 1, Fact::Fork { child }));
        let info = table.observe(&observation(
            11,
            2,
            exec("/bin/sh", &["sh", "-c\n"], Some(scope(Role::Tool))),
        ));
        assert_eq!(info.exe, "/bin/sh");
        assert_eq!(info.argv, ["sh", "-c\\u{a}"]);
        assert_eq!(info.ancestors, ["10 /usr/bin/agent"]);
        assert_eq!((info.uid, info.cgroup.as_str()), (33, "#77"));
        let roles: Vec<_> = table.living().map(|p| p.scope.role).collect();
        assert!(roles.contains(&Role::Tool) && roles.contains(&Role::Agent));
    }

    #[test]
    fn a_denied_exec_renames_nothing() {
        let mut table = table();
        table.observe(&observation(
            10,
            1,
            exec("/usr/bin/agent", &[], Some(scope(Role::Agent))),
        ));
        let info = table.observe(&observation(10, 1, exec("/bin/sh", &[], None)));
        assert_eq!(info.exe, "/usr/bin/agent");
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let mut table = table();
        let far = TICK_NS * 100;
        table.observe(&observation(
            10,
            1,
            exec("/usr/bin/agent", &[], Some(scope(Role::Agent))),
        ));
        table.observe(&observation(10, 1, Fact::Exit { status: 0 }));
        assert_eq!(table.living().count(), 0);
        let info = table.observe(&observation(10, far, Fact::Exit { status: 0 }));
        assert_eq!(info.exe, "worker");
    }

    #[test]
    fn events_after_the_exit_still_know_their_process() {
        let mut table = table();
        table.observe(&observation(
            10,
            1,
            exec("/usr/bin/agent", &[], Some(scope(Role::Agent))),
        ));
        table.observe(&observation(10, 1, Fact::Exit { status: 0 }));
        let late = table.observe(&observation(10, 1, exec("/bin/sh", &[], None)));
        assert_eq!(late.exe, "/usr/bin/agent");
        table.tidy(1000 + KEEP_ENDED, |_| true);
        assert!(table.is_empty());
    }

    #[test]
    fn an_exit_that_was_not_reported_is_noticed() {
        let mut table = table();
        table.observe(&observation(
            10,
            1,
            exec("/usr/bin/agent", &[], Some(scope(Role::Agent))),
        ));
        table.tidy(2000, |_| false);
        assert_eq!((table.living().count(), table.len()), (0, 1));
    }

    #[test]
    fn an_adopted_process_is_marked_and_described_from_proc() {
        let mut table = ProcessTable::new(Proc::default(), Cgroups::discover());
        table.adopt(std::process::id(), scope(Role::Server));
        let process = table.living().next().unwrap();
        assert!(process.info.adopted && !process.info.ancestors.is_empty());
        assert!(
            process.info.exe.contains("slmguard"),
            "{}",
            process.info.exe
        );
    }

    #[test]
    fn a_member_that_no_event_told_about_is_discovered_once() {
        let mut table = ProcessTable::new(Proc::default(), Cgroups::discover());
        let me = std::process::id();
        table.discover(me, scope(Role::Server));
        table.discover(me, scope(Role::Agent));
        let process = table.living().next().unwrap();
        assert_eq!(
            (table.len(), process.scope.role, process.info.adopted),
            (1, Role::Agent, false)
        );
        table.discover(u32::MAX, scope(Role::Agent));
        assert_eq!(table.len(), 1, "it has ended already");
    }

    #[test]
    fn nobody_has_to_read_endless_arguments() {
        let many: Vec<_> = (0..100).map(|_| vec![b'x'; 1000]).collect();
        let shown = shown(&many);
        assert_eq!(shown.len(), ARGUMENTS.0 + 1);
        assert!(shown.iter().all(|a| a.len() <= ARGUMENTS.1 + 3));
    }
}
