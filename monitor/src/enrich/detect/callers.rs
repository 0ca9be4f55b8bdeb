//! Local processes that are connected to a workload's listeners, found in the tables of sockets:
//! the way to connections that are older than the daemon's hooks.

use std::collections::{BTreeMap, HashMap, HashSet};

use slmguard_core::detect::socket::{self, Caller};

use super::{files, scan::Scanner};

/// A process that calls a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Calling {
    /// The workload.
    pub workload: String,
    /// The process that calls.
    pub pid: u32,
    /// Both ends.
    pub caller: Caller,
}

/// A member that may listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its workload.
    pub workload: String,
    /// The process.
    pub pid: u32,
}

/// Remembers whose socket is whose.
#[derive(Debug, Default)]
pub struct Callers {
    owners: HashMap<u64, u32>,
}

impl Callers {
    /// Everybody who is connected to one of these right now.
    pub fn find(&mut self, scanner: &mut Scanner, listeners: &[Listener]) -> Vec<Calling> {
        let mut wanted: BTreeMap<u64, Vec<(String, Caller)>> = BTreeMap::new();
        for listener in listeners {
            let own = files::sockets(&scanner.directory(listener.pid));
            if own.is_empty() {
                continue;
            }
            let (namespace, table) = scanner.sockets_around(listener.pid);
            let ports = super::sockets::listens(table, &own);
            let own: Vec<u64> = own.into_iter().collect();
            let found = socket::callers(table, &own, &ports);
            if !found.is_empty() {
                wanted
                    .entry(namespace)
                    .or_default()
                    .extend(found.into_iter().map(|c| (listener.workload.clone(), c)));
            }
        }
        let mut calling = vec![];
        let mut sought = HashSet::new();
        for (workload, caller) in wanted.values().flatten() {
            match self.owner(scanner, caller.inode) {
                Some(pid) => calling.push(Calling {
                    workload: workload.clone(),
                    pid,
                    caller: *caller,
                }),
                None => {
                    sought.insert(caller.inode);
                }
            }
        }
        if !sought.is_empty() {
            self.search(scanner, &sought);
            for (workload, caller) in wanted.values().flatten() {
                if let Some(pid) = self.owners.get(&caller.inode)
                    && sought.contains(&caller.inode)
                {
                    calling.push(Calling {
                        workload: workload.clone(),
                        pid: *pid,
                        caller: *caller,
                    });
                }
            }
        }
        calling.sort();
        calling.dedup();
        calling
    }

    /// The owner that is remembered, if it still holds the socket.
    fn owner(&mut self, scanner: &Scanner, inode: u64) -> Option<u32> {
        let pid = *self.owners.get(&inode)?;
        if files::sockets(&scanner.directory(pid)).contains(&inode) {
            return Some(pid);
        }
        self.owners.remove(&inode);
        None
    }

    /// Looks through everybody's descriptors.
    fn search(&mut self, scanner: &Scanner, sought: &HashSet<u64>) {
        self.owners.clear();
        let own = std::process::id();
        for pid in scanner.proc().pids().unwrap_or_default() {
            if pid == own {
                continue;
            }
            for inode in files::sockets(&scanner.directory(pid)) {
                if sought.contains(&inode) {
                    self.owners.insert(inode, pid);
                }
            }
        }
    }
}
