//! What was told, and when it is to be told again: a bounded table with a time of quiet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Entries of one table; the one told longest ago goes first.
pub const MAX_TOLD: usize = 1024;
/// Nanoseconds by which a clock may be set back without being taken for another.
pub(super) const JITTER: u64 = 300_000_000_000;

/// When something was told, nanoseconds since the epoch, and how often it was seen since then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    time: u64,
    since: u64,
}

/// What was told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table<K>(BTreeMap<K, Told>);

impl<K: Ord> Default for Table<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Table<K> {
    /// How often something was seen since it was last told, where it is to be told now: after so many
    /// nanoseconds of `quiet`, and never without `room`.
    pub(super) fn weigh(
        &mut self,
        key: K,
        (time, calls): (u64, u64),
        quiet: u64,
        room: bool,
    ) -> Option<u64> {
        if let Some(told) = self.0.get_mut(&key) {
            told.since = told.since.saturating_add(calls);
            if within(told.time, quiet, time) {
                return None;
            }
        }
        if !room {
            return None;
        }
        if self.0.len() >= MAX_TOLD && !self.0.contains_key(&key) {
            let oldest = self.0.iter().min_by_key(|(key, told)| (told.time, *key));
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.0.remove(&oldest);
            }
        }
        let before = self.0.insert(key, Told { time, since: 0 });
        Some(before.map_or(calls, |told| told.since).max(1))
    }

    /// Forgets that something was told.
    pub(super) fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// Everything, for the store.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &Told)> {
        self.0.iter()
    }
}

impl<K: Ord> FromIterator<(K, Told)> for Table<K> {
    /// As far as there is room.
    fn from_iter<I: IntoIterator<Item = (K, Told)>>(all: I) -> Self {
        Self(all.into_iter().take(MAX_TOLD).collect())
    }
}

/// Whether so many nanoseconds have not passed since something was told. A clock that was set back
/// does not silence it.
pub(super) fn within(told: u64, quiet: u64, now: u64) -> bool {
    (told.saturating_sub(JITTER)..told.saturating_add(quiet)).contains(&now)
}
