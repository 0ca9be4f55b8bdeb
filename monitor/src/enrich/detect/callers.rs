//! Local processes that are connected to a workload's listeners, found in the tables of sockets:
//! the way to connections that are older than the daemon's hooks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

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
    /// Who called before.
    earlier: BTreeSet<u32>,
}

impl Callers {
    /// Everybody who is connected to one of these right now.
    pub fn find(&mut self, scanner: &mut Scanner, listeners: &[Listener]) -> Vec<Calling> {
        // What was read during the scan is too old for connections that live for an instant.
        scanner.forget_sockets();
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
        for (namespace, found) in wanted {
            let inodes: HashSet<u64> = found.iter().map(|(_, c)| c.inode).collect();
            let owners = self.owners(scanner, namespace, &inodes);
            for (workload, caller) in found {
                if let Some(pid) = owners.get(&caller.inode) {
                    calling.push(Calling {
                        workload,
                        pid: *pid,
                        caller,
                    });
                }
            }
        }
        calling.sort();
        calling.dedup();
        calling
    }

    /// Whose sockets these are: who had one earlier is asked first, then everybody in the network
    /// namespace.
    fn owners(
        &mut self,
        scanner: &Scanner,
        namespace: u64,
        sought: &HashSet<u64>,
    ) -> HashMap<u64, u32> {
        let mut found = HashMap::new();
        let own = std::process::id();
        let mut look = |pid: u32| {
            let sockets = files::sockets(&scanner.directory(pid));
            for inode in sockets.intersection(sought) {
                found.insert(*inode, pid);
            }
            found.len() == sought.len()
        };
        let all = self.earlier.iter().any(|pid| look(*pid));
        if !all {
            for pid in scanner.proc().pids().unwrap_or_default() {
                let here = pid != own
                    && !self.earlier.contains(&pid)
                    && scanner.network(pid) == Some(namespace);
                if here && look(pid) {
                    break;
                }
            }
        }
        self.earlier.extend(found.values());
        self.earlier
            .retain(|pid| scanner.proc().stat(*pid).is_some());
        found
    }
}
