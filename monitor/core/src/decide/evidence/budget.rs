//! The alert budget: an operator is told once about each thing, and not more often a day than was
//! agreed.
//!
//! Alerts about the same (role, family, subject) are one alert with a count. What is beyond the
//! budget is counted and told in one summary, never dropped in silence. Blocks are not bounded here:
//! only what a person is asked to read.

use std::collections::BTreeMap;

/// Nanoseconds of a day.
pub const DAY: u64 = 86_400 * 1_000_000_000;
/// Things kept per workload; the one seen least recently goes first.
pub const KEPT: usize = 1_024;

/// What makes two alerts the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Role of the process.
    pub role: String,
    /// Family.
    pub family: String,
    /// Subject, as in alerts.
    pub subject: String,
}

/// What becomes of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Told as a new one.
    First,
    /// One more of a known one: its count.
    Again(u64),
    /// Over the budget: counted for the summary, with how many that makes today.
    Over(u64),
}

/// The alerts of one workload.
#[derive(Clone, Debug)]
pub struct Budget {
    per_day: u32,
    day: u64,
    spent: u32,
    over: u64,
    known: BTreeMap<Key, (u64, u64)>,
}

impl Budget {
    /// With so many new alerts a day.
    pub fn new(per_day: u32) -> Self {
        Self {
            per_day,
            day: 0,
            spent: 0,
            over: 0,
            known: BTreeMap::new(),
        }
    }

    /// Places an alert; `now` in nanoseconds since the epoch. `urgent` ones (something was blocked
    /// or killed, or would have been) are always told, and spend the budget as well.
    pub fn place(&mut self, key: Key, urgent: bool, now: u64) -> Place {
        if now / DAY > self.day {
            (self.day, self.spent, self.over) = (now / DAY, 0, 0);
        }
        if let Some((count, last)) = self.known.get_mut(&key) {
            *count = count.saturating_add(1);
            *last = now.max(*last);
            return Place::Again(*count);
        }
        if self.spent >= self.per_day && !urgent {
            self.over = self.over.saturating_add(1);
            return Place::Over(self.over);
        }
        if self.known.len() >= KEPT {
            let oldest = self.known.iter().min_by_key(|(_, (_, last))| *last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.known.remove(&oldest);
            }
        }
        self.spent = self.spent.saturating_add(1);
        self.known.insert(key, (1, now));
        Place::First
    }

    /// Alerts of today that are over the budget.
    pub fn over(&self) -> u64 {
        self.over
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(subject: u8) -> Key {
        Key {
            role: "tool".into(),
            family: "name".into(),
            subject: subject.to_string(),
        }
    }

    #[test]
    fn the_same_thing_is_told_once_and_counted() {
        let mut budget = Budget::new(1);
        assert_eq!(budget.place(key(1), false, 0), Place::First);
        assert_eq!(budget.place(key(1), false, 1), Place::Again(2));
        assert_eq!(budget.place(key(2), false, 2), Place::Over(1));
        assert_eq!(budget.place(key(3), true, 3), Place::First);
        assert_eq!(budget.over(), 1);
        assert_eq!(budget.place(key(2), false, DAY), Place::First);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_budget_holds(
            per_day in 0..5u32,
            alerts in prop::collection::vec((any::<u8>(), 0..3u64), 0..200),
        ) {
            let mut alerts = alerts;
            alerts.sort_by_key(|(_, day)| *day);
            let mut budget = Budget::new(per_day);
            let (mut first, mut again, mut over) = ([0u32; 3], 0, 0);
            for (subject, day) in &alerts {
                match budget.place(key(*subject), false, day * DAY) {
                    Place::First => first[*day as usize] += 1,
                    Place::Again(_) => again += 1,
                    Place::Over(_) => over += 1,
                }
            }
            prop_assert!(first.iter().all(|n| *n <= per_day));
            prop_assert_eq!(first.iter().sum::<u32>() as usize + again + over, alerts.len());
        }
    }
}
