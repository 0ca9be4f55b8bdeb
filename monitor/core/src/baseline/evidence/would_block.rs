//! What would have been blocked on each of the last days, had the baseline enforced.
//!
//! Knows subjects and times; nothing of why they would have been blocked.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::exposure::DAY;

/// Days that are kept.
pub const DAYS: usize = 30;
/// Subjects of one day that are told apart; more are counted as one each time.
const MAX_DISTINCT: usize = 256;

/// One day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Day since the epoch, UTC.
    pub day: u64,
    /// Distinct subjects.
    pub subjects: u64,
    /// Times.
    pub times: u64,
}

/// A ring of days, of one family of one scope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WouldBlock {
    days: VecDeque<Count>,
    /// Subjects of the newest day.
    today: BTreeSet<Box<str>>,
}

impl WouldBlock {
    /// Something unknown was done `times` times. What comes with the time of a day that is over, as
    /// when the clock was set back, counts for the newest day.
    pub fn note(&mut self, subject: &str, times: u64, time: u64) {
        let day = time / DAY;
        if self.days.back().is_none_or(|last| last.day < day) {
            if self.days.len() == DAYS {
                self.days.pop_front();
            }
            self.days.push_back(Count {
                day,
                ..Count::default()
            });
            self.today.clear();
        }
        let Some(count) = self.days.back_mut() else {
            return;
        };
        count.times = count.times.saturating_add(times);
        if !self.today.contains(subject) {
            count.subjects += 1;
            if self.today.len() < MAX_DISTINCT {
                self.today.insert(subject.into());
            }
        }
    }

    /// Subjects and times of the last `days` days up to `now`, nanoseconds since the epoch. A
    /// subject counts once for each day on which it was seen.
    pub fn last(&self, days: u64, now: u64) -> (u64, u64) {
        let from = (now / DAY).saturating_sub(days.saturating_sub(1));
        let recent = self.days.iter().filter(|count| count.day >= from);
        recent.fold((0, 0), |(subjects, times), count| {
            (subjects + count.subjects, times + count.times)
        })
    }

    /// Bytes of memory, nearly.
    pub fn bytes(&self) -> usize {
        let today = self.today.iter().map(|subject| subject.len() + 64);
        self.days.len() * size_of::<Count>() + today.sum::<usize>()
    }

    /// Days on which anything would have been blocked, oldest first.
    pub fn days(&self) -> impl Iterator<Item = &Count> {
        self.days.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_counts_once_a_day_and_its_times_always() {
        let mut ring = WouldBlock::default();
        ring.note("a", 1, 5 * DAY);
        ring.note("a", 3, 5 * DAY + 1);
        ring.note("b", 1, 5 * DAY + 2);
        ring.note("a", 1, 7 * DAY);
        assert_eq!(ring.last(1, 7 * DAY), (1, 1));
        assert_eq!(ring.last(3, 7 * DAY), (3, 6));
        assert_eq!(ring.last(2, 7 * DAY), (1, 1));
    }

    #[test]
    fn only_the_last_days_are_kept() {
        let mut ring = WouldBlock::default();
        for day in 0..100 {
            ring.note("a", 1, day * DAY);
        }
        assert_eq!(ring.days().count(), DAYS);
        assert_eq!(ring.last(1000, 99 * DAY), (30, 30));
    }

    #[test]
    fn a_clock_set_back_loses_nothing() {
        let mut ring = WouldBlock::default();
        ring.note("a", 1, 9 * DAY);
        ring.note("b", 1, 2 * DAY);
        assert_eq!(ring.last(1, 9 * DAY), (2, 2));
    }
}
