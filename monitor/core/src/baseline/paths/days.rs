//! Days on which something was seen, in 16 bytes.
//!
//! A set that forgets what is more than 64 days older than its newest day. Joining two sets gives
//! the same whatever the order, because the newest day can only move forward.

/// Days that a set reaches back, the newest included.
pub const WINDOW: u32 = 64;

/// A set of days, counted from any fixed day. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Days {
    first: u32,
    last: u32,
    /// Bit `n`: the day `last - n`.
    bits: u64,
}

impl Days {
    /// One day.
    pub const fn on(day: u32) -> Self {
        Self {
            first: day,
            last: day,
            bits: 1,
        }
    }

    /// What [`Self::parts`] gave; what no set can be made of is put right.
    pub fn from_parts(first: u32, last: u32, bits: u64) -> Self {
        Self {
            first: first.min(last),
            last,
            bits: bits | 1,
        }
    }

    /// First day, last day, and a bit for each day from the last one back.
    pub const fn parts(self) -> (u32, u32, u64) {
        (self.first, self.last, self.bits)
    }

    /// Both sets in one.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let (new, old) = if self.last >= other.last {
            (self, other)
        } else {
            (other, self)
        };
        let shifted = old.bits.checked_shl(new.last - old.last).unwrap_or(0);
        Self {
            first: self.first.min(other.first),
            last: new.last,
            bits: new.bits | shifted,
        }
    }

    /// First day ever, even if it is forgotten otherwise.
    pub const fn first(self) -> u32 {
        self.first
    }

    /// Newest day.
    pub const fn last(self) -> u32 {
        self.last
    }

    /// Number of days in the window.
    pub const fn count(self) -> u32 {
        self.bits.count_ones()
    }

    /// Whether it was seen on one day only, forgotten ones included.
    pub const fn is_single(self) -> bool {
        self.first == self.last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(days: &[u32]) -> Days {
        let mut sets = days.iter().map(|day| Days::on(*day));
        let first = sets.next().unwrap();
        sets.fold(first, Days::join)
    }

    #[test]
    fn days_are_counted_once_and_old_ones_are_forgotten() {
        let days = of(&[3, 5, 3, 9]);
        assert_eq!((days.first(), days.last(), days.count()), (3, 9, 3));
        assert!(of(&[7, 7]).is_single() && !days.is_single());
        let far = of(&[0, 63, 64]);
        assert_eq!((far.first(), far.count()), (0, 2));
        assert_eq!(of(&[0, u32::MAX]).count(), 1);
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(days in proptest::collection::vec(0u32..200, 1..12), turn in 0usize..12) {
            let mut other = days.clone();
            other.rotate_left(turn % days.len());
            other.reverse();
            prop_assert_eq!(of(&days), of(&other));
            let (a, b) = days.split_at(days.len() / 2);
            if !a.is_empty() {
                prop_assert_eq!(of(a).join(of(b)), of(&days));
                prop_assert_eq!(of(b).join(of(a)), of(&days));
            }
            let (first, last, bits) = of(&days).parts();
            prop_assert_eq!(Days::from_parts(first, last, bits), of(&days));
        }
    }
}
