//! Time that never goes back, made of times that may: events of several processors arrive a little
//! out of order, and the wall clock may be set.
//!
//! Knows no clock: every time is an argument.

use serde::{Deserialize, Serialize};

/// An event that much older than the newest one was not late: the clock was set back.
const LATE: u64 = 5_000_000_000;

/// Steady time, nanoseconds since the first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steady {
    newest: u64,
    elapsed: u64,
}

impl Steady {
    /// Takes the time of an event in, nanoseconds since the epoch; returns how much steady time has
    /// passed because of it. Of a pause longer than `most` only `most` counts: the clock may have
    /// been set forward, or nobody watched.
    pub fn advance(&mut self, time: u64, most: u64) -> u64 {
        let passed = match self.newest {
            0 => 0,
            newest if time > newest => (time - newest).min(most),
            newest if newest - time <= LATE => return 0,
            _ => 0,
        };
        self.newest = time;
        self.elapsed = self.elapsed.saturating_add(passed);
        passed
    }

    /// From now on as if nothing had passed yet.
    pub fn restart(&mut self) {
        self.elapsed = 0;
    }

    /// Nanoseconds since the first event.
    pub fn now(&self) -> u64 {
        self.elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_stands_still_for_a_moment_and_then_goes_on() {
        let mut time = Steady::default();
        const S: u64 = 1_000_000_000;
        for at in [100, 101, 100, 101, 102] {
            time.advance(at * S, u64::MAX);
        }
        assert_eq!(time.now(), 2 * S, "late events add nothing");
        time.advance(10 * S, u64::MAX);
        time.advance(13 * S, u64::MAX);
        assert_eq!(time.now(), 5 * S);
        time.advance(1_000_000 * S, 60 * S);
        assert_eq!(time.now(), 65 * S, "a leap forward counts as far as agreed");
    }
}
