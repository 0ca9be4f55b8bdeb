//! Names: which names a workload was given an address for, so that a person is shown both.
//!
//! Bounded, and with an end: an entry is kept for as long as the answer said, and a while longer,
//! because programs hold on to addresses. Knows answers only; whether an answer is to be believed
//! was decided by the kernel programs, which had seen its question.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use monitor_common::limits::{ANSWER_LIFETIME, SECOND_NS};

use crate::text;

/// Addresses that are remembered per workload; beyond that, what ends first goes first.
pub const MAX_ADDRESSES: usize = 4096;
/// Names that are remembered per address: one that many services share has many.
pub const MAX_NAMES: usize = 16;
/// What is added to the lifetime of an answer, in seconds.
const GRACE: u64 = 3600;

/// Nanoseconds that an entry is kept beyond the lifetime of its answer.
pub const KEPT: u64 = GRACE * SECOND_NS;

/// One name of an address.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Answer {
    /// When it ends, nanoseconds since the epoch.
    ends: u64,
    /// When it was last given as an answer; 0 for one that was restored.
    last: u64,
}

/// Names of one address, escaped.
type Names = BTreeMap<String, Answer>;

/// The table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NameTable {
    workloads: BTreeMap<String, BTreeMap<IpAddr, Names>>,
}

impl NameTable {
    /// Takes an answer in: at `now`, `workload` was told that `name` has `address` for `ttl`
    /// seconds.
    pub fn learn(&mut self, workload: &str, name: &[u8], address: IpAddr, ttl: u32, now: u64) {
        let (least, most) = ANSWER_LIFETIME;
        let lifetime = u64::from(ttl.clamp(least, most)) + GRACE;
        let ends = now.saturating_add(lifetime * SECOND_NS);
        self.enter(
            workload,
            text::escape(name),
            address,
            Answer { ends, last: now },
            now,
        );
    }

    /// Enters what [`Self::entries`] of another table gave: a name, escaped, and when it ends.
    pub fn restore(&mut self, workload: &str, name: String, address: IpAddr, ends: u64, now: u64) {
        self.enter(workload, name, address, Answer { ends, last: 0 }, now);
    }

    fn enter(&mut self, workload: &str, name: String, address: IpAddr, new: Answer, now: u64) {
        let table = match self.workloads.get_mut(workload) {
            Some(table) => table,
            None => self.workloads.entry(workload.to_owned()).or_default(),
        };
        let address = address.to_canonical();
        if !table.contains_key(&address) {
            make_room(table, now);
        }
        let names = table.entry(address).or_default();
        let known = names.entry(name).or_insert(new);
        known.ends = known.ends.max(new.ends);
        known.last = known.last.max(new.last);
        while names.len() > MAX_NAMES {
            let first = names.iter().min_by_key(|(_, answer)| answer.ends);
            let Some(first) = first.map(|(name, _)| name.clone()) else {
                return;
            };
            names.remove(&first);
        }
    }

    /// Names that a workload was given an address for and that have not ended, in a fixed order.
    pub fn of(&self, workload: &str, address: IpAddr, now: u64) -> Vec<&str> {
        self.answers(workload, address)
            .filter(|(_, ends, _)| *ends > now)
            .map(|(name, ..)| name)
            .collect()
    }

    /// Names that a workload was given an address for, ended ones included, in a fixed order: name,
    /// end, and when it was last given (0 if that was before a restart).
    pub fn answers(
        &self,
        workload: &str,
        address: IpAddr,
    ) -> impl Iterator<Item = (&str, u64, u64)> {
        let names = self
            .workloads
            .get(workload)
            .and_then(|table| table.get(&address.to_canonical()));
        names
            .into_iter()
            .flatten()
            .map(|(name, answer)| (name.as_str(), answer.ends, answer.last))
    }

    /// Everything in the table, in a fixed order: workload, address, name, end.
    pub fn entries(&self) -> impl Iterator<Item = (&str, IpAddr, &str, u64)> {
        self.workloads.iter().flat_map(|(workload, table)| {
            table.iter().flat_map(move |(address, names)| {
                names
                    .iter()
                    .map(move |(name, a)| (workload.as_str(), *address, name.as_str(), a.ends))
            })
        })
    }

    /// Number of addresses that have names in a workload.
    pub fn len(&self, workload: &str) -> usize {
        self.workloads.get(workload).map_or(0, BTreeMap::len)
    }

    /// Whether nothing is known at all.
    pub fn is_empty(&self) -> bool {
        self.workloads.values().all(BTreeMap::is_empty)
    }
}

/// Makes room for one more address: what has ended goes, or else a part of what ends first, so that
/// a flood of names does not make each one dear.
fn make_room(table: &mut BTreeMap<IpAddr, Names>, now: u64) {
    if table.len() < MAX_ADDRESSES {
        return;
    }
    let end = |names: &Names| names.values().map(|answer| answer.ends).max().unwrap_or(0);
    table.retain(|_, names| end(names) > now);
    if table.len() < MAX_ADDRESSES {
        return;
    }
    let order: BTreeSet<(u64, IpAddr)> = table.iter().map(|(a, names)| (end(names), *a)).collect();
    for (_, address) in order.into_iter().take(MAX_ADDRESSES / 8) {
        table.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000_000_000;
    const HOUR: u64 = 3600 * SECOND_NS;

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn an_address_has_the_names_it_was_the_answer_for_and_in_no_other_workload() {
        let mut table = NameTable::default();
        table.learn("a", b"one.example", v4(1), 30, NOW);
        table.learn("a", b"two.example", v4(1), 30, NOW);
        assert_eq!(table.of("a", v4(1), NOW), ["one.example", "two.example"]);
        let mapped = IpAddr::V6(std::net::Ipv4Addr::from(1).to_ipv6_mapped());
        assert_eq!(table.of("a", mapped, NOW).len(), 2, "the same address");
        assert!(table.of("b", v4(1), NOW).is_empty());
        let mut copy = NameTable::default();
        for (workload, address, name, ends) in table.entries() {
            copy.restore(workload, name.to_owned(), address, ends, NOW);
        }
        assert!(copy.entries().eq(table.entries()));
        assert!(table.of("a", v4(2), NOW).is_empty());
    }

    #[test]
    fn a_name_ends_some_time_after_its_answer_and_a_later_answer_does_not_shorten_it() {
        let mut table = NameTable::default();
        table.learn("a", b"long.example", v4(1), 7200, NOW);
        table.learn("a", b"long.example", v4(1), 1, NOW + 1);
        table.learn("a", b"forever.example", v4(2), u32::MAX, NOW);
        assert_eq!(table.of("a", v4(1), NOW + 2 * HOUR), ["long.example"]);
        assert!(table.of("a", v4(1), NOW + 3 * HOUR + 1).is_empty());
        assert!(table.of("a", v4(2), NOW + 25 * HOUR + 1).is_empty());
    }

    #[test]
    fn names_are_escaped() {
        let mut table = NameTable::default();
        table.learn("a", b"x\n\xff.example", v4(1), 1, NOW);
        assert_eq!(table.of("a", v4(1), NOW), ["x\\u{a}\\xff.example"]);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_what_ends_last() {
        let mut table = NameTable::default();
        for n in 0..2 * MAX_ADDRESSES as u32 {
            table.learn("a", b"x.example", v4(n), 300, NOW + u64::from(n));
        }
        assert!(table.len("a") <= MAX_ADDRESSES && table.len("a") > MAX_ADDRESSES / 2);
        let last = v4(2 * MAX_ADDRESSES as u32 - 1);
        assert_eq!(table.of("a", last, NOW).len(), 1);
        for n in 0..3 * MAX_NAMES {
            let name = format!("{n}.example");
            table.learn("a", name.as_bytes(), last, 300, NOW + 1_000_000 + n as u64);
        }
        let names = table.of("a", last, NOW);
        assert_eq!(names.len(), MAX_NAMES);
        assert!(names.contains(&"47.example") && !names.contains(&"0.example"));
    }
}
