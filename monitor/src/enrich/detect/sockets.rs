//! TCP sockets, one table per network namespace, read once per scan.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
};

use slmguard_core::detect::socket::{self, Socket};

/// Bytes of a table that are read.
const LARGEST: u64 = 16 << 20;

/// Tables by the inode of their network namespace.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    tables: HashMap<u64, Vec<Socket>>,
}

impl Sockets {
    /// The sockets of the network namespace in which a process lives, and which one that is.
    pub(super) fn around(&mut self, proc: &Path) -> (u64, &[Socket]) {
        let namespace = fs::metadata(proc.join("ns/net")).map_or(0, |m| m.ino());
        let table = self.tables.entry(namespace).or_insert_with(|| {
            ["net/tcp", "net/tcp6"]
                .into_iter()
                .flat_map(|name| {
                    let text = super::files::read_text(&proc.join(name), LARGEST);
                    socket::parse(&text)
                })
                .collect()
        });
        (namespace, table)
    }

    /// Forgets the tables: they are old.
    pub(super) fn clear(&mut self) {
        self.tables.clear();
    }
}

/// Ports on which one of these sockets listens.
pub(super) fn listens(table: &[Socket], own: &HashSet<u64>) -> Vec<u16> {
    let mut ports: Vec<u16> = table
        .iter()
        .filter(|s| s.listens && own.contains(&s.inode))
        .map(|s| s.local.port())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
