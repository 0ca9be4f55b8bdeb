//! A numeric threshold that may move, but not far and not fast.
//!
//! Who can shift what is measured can shift an adaptive threshold without end, if he is patient. A
//! bound on the step and a bound on the distance from a frozen value end that (Kloft and Laskov
//! 2012: poisoning of an online learner is bounded exactly when the updates are). Knows numbers and
//! days; nothing of what is measured.

use serde::{Deserialize, Serialize};

/// Growth or shrinkage within one day, at most.
pub const PER_DAY: f64 = 1.05;
/// Distance from the anchor, at most.
pub const FROM_ANCHOR: f64 = 2.0;

/// A threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    anchor: f64,
    live: f64,
    /// Day since the epoch that `morning` is of.
    day: u64,
    morning: f64,
}

impl Threshold {
    /// A threshold that is frozen at `anchor` on a day since the epoch.
    pub fn new(anchor: f64, day: u64) -> Self {
        Self {
            anchor,
            live: anchor,
            day,
            morning: anchor,
        }
    }

    /// What applies now.
    pub fn live(&self) -> f64 {
        self.live
    }

    /// What was frozen.
    pub fn anchor(&self) -> f64 {
        self.anchor
    }

    /// What was measured would make it `wanted`: moves there as far as it may. Returns what applies.
    /// A day that is not later than the last one, as when the clock was set back, gives no new room.
    pub fn propose(&mut self, wanted: f64, day: u64) -> f64 {
        if day > self.day {
            (self.day, self.morning) = (day, self.live);
        }
        if wanted.is_finite() {
            let low = (self.morning / PER_DAY).max(self.anchor / FROM_ANCHOR);
            let high = (self.morning * PER_DAY).min(self.anchor * FROM_ANCHOR);
            self.live = wanted.max(low).min(high);
        }
        self.live
    }

    /// The operator approves what applies: it is the new anchor.
    pub fn approve(&mut self) {
        (self.anchor, self.morning) = (self.live, self.live);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_patient_attacker_gets_twice_the_anchor_and_no_more() {
        let mut threshold = Threshold::new(100.0, 0);
        for day in 1..=14 {
            threshold.propose(1e9, day);
        }
        assert!(threshold.live() < 200.0);
        for day in 15..=1000 {
            threshold.propose(1e9, day);
        }
        assert_eq!((threshold.live(), threshold.anchor()), (200.0, 100.0));
    }

    #[test]
    fn a_day_gives_five_parts_in_a_hundred_however_often_it_is_asked() {
        let mut threshold = Threshold::new(100.0, 7);
        for _ in 0..50 {
            threshold.propose(1e9, 7);
        }
        assert_eq!(threshold.live(), 105.0);
        threshold.propose(1e9, 3);
        assert_eq!(threshold.live(), 105.0, "the clock was set back");
        threshold.propose(f64::NAN, 8);
        assert_eq!(threshold.live(), 105.0);
    }

    #[test]
    fn an_approval_is_a_new_anchor() {
        let mut threshold = Threshold::new(100.0, 0);
        threshold.propose(200.0, 1);
        threshold.approve();
        assert_eq!(threshold.anchor(), 105.0);
    }

    proptest! {
        #[test]
        fn nothing_leaves_the_bounds(anchor in 0.1..1e9f64, wishes in proptest::collection::vec((0.0..1e12f64, 0u64..3), 0..60)) {
            let mut threshold = Threshold::new(anchor, 0);
            let mut day = 0;
            for (wanted, later) in wishes {
                let morning = threshold.live();
                day += later;
                let live = threshold.propose(wanted, day);
                if later > 0 {
                    prop_assert!(live <= morning * PER_DAY * (1.0 + 1e-12));
                    prop_assert!(live >= morning / PER_DAY * (1.0 - 1e-12));
                }
                prop_assert!(live <= anchor * FROM_ANCHOR && live >= anchor / FROM_ANCHOR);
            }
        }
    }
}
