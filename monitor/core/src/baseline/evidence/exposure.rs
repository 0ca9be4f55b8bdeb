//! Exposure: for how long a scope was watched, and how many episodes a day it has.
//!
//! Measured in days of watching, never in dates: a clock that is set cannot make a baseline older.
//! Knows nothing of subjects.

use serde::{Deserialize, Serialize};

use super::steady::Steady;

/// Nanoseconds of a day.
pub const DAY: u64 = 86_400_000_000_000;

/// How long, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    time: Steady,
    /// Days brought in from other hosts, nanoseconds.
    pooled: u64,
    episodes: u64,
    /// Number of the day of watching that `today` is about.
    day: u64,
    today: u64,
    busiest: u64,
}

impl Exposure {
    /// Takes episodes in that ended at `time`, nanoseconds since the epoch. A pause counts as at
    /// most a day.
    pub fn ended(&mut self, episodes: u64, time: u64) {
        self.time.advance(time, DAY);
        self.episodes = self.episodes.saturating_add(episodes);
        let day = self.time.now() / DAY;
        if day != self.day {
            self.day = day;
            self.today = 0;
        }
        self.today = self.today.saturating_add(episodes);
        self.busiest = self.busiest.max(self.today);
    }

    /// Episodes that ended.
    pub fn episodes(&self) -> u64 {
        self.episodes
    }

    /// Days of watching; those of several hosts add up.
    pub fn days(&self) -> f64 {
        (self.time.now().saturating_add(self.pooled)) as f64 / DAY as f64
    }

    /// Episodes per day of one host: those of the busiest day, or the average where that is more,
    /// as it is before the first day is over. Infinite where nothing can be said yet.
    pub fn per_day(&self) -> f64 {
        if self.episodes == 0 || self.days() <= 0.0 {
            return f64::INFINITY;
        }
        (self.busiest as f64).max(self.episodes as f64 / self.days())
    }

    /// Adds what another host saw.
    pub fn merge(&mut self, other: &Self) {
        let theirs = other.time.now().saturating_add(other.pooled);
        self.pooled = self.pooled.saturating_add(theirs);
        self.episodes = self.episodes.saturating_add(other.episodes);
        self.busiest = self.busiest.max(other.busiest);
    }

    /// Begins anew; the clock goes on.
    pub fn restart(&mut self) {
        let mut time = self.time;
        time.restart();
        *self = Self {
            time,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady_load(days: u64, per_day: u64, from: u64) -> Exposure {
        let mut exposure = Exposure::default();
        for i in 0..=days * per_day {
            exposure.ended(1, from + i * (DAY / per_day));
        }
        exposure
    }

    #[test]
    fn a_steady_load_is_read_off_as_it_is() {
        let exposure = steady_load(3, 1440, 1_700_000_000_000_000_000);
        assert!((exposure.days() - 3.0).abs() < 1e-9);
        assert!(
            (exposure.per_day() - 1440.0).abs() < 2.0,
            "{}",
            exposure.per_day()
        );
    }

    #[test]
    fn a_burst_counts_by_its_busiest_day() {
        let mut exposure = steady_load(1, 24, 1_700_000_000_000_000_000);
        for _ in 0..1000 {
            exposure.ended(1, 1_700_000_000_000_000_000 + DAY + DAY / 2);
        }
        exposure.ended(1, 1_700_000_000_000_000_000 + 9 * DAY);
        assert!(exposure.per_day() >= 1000.0, "{}", exposure.per_day());
    }

    #[test]
    fn a_clock_set_forward_by_a_year_is_one_day() {
        let mut exposure = steady_load(1, 24, 1_700_000_000_000_000_000);
        exposure.ended(1, 1_700_000_000_000_000_000 + 365 * DAY);
        assert!(exposure.days() <= 2.0 + 1e-9, "{}", exposure.days());
    }

    #[test]
    fn a_clock_set_back_takes_nothing_away_and_adds_nothing() {
        let mut exposure = steady_load(2, 24, 1_700_000_000_000_000_000);
        exposure.ended(1, 1_600_000_000_000_000_000);
        assert!((exposure.days() - 2.0).abs() < 1e-9);
        exposure.ended(1, 1_600_000_000_000_000_000 + DAY);
        assert!((exposure.days() - 3.0).abs() < 1e-9);
    }

    #[test]
    fn hosts_add_their_days_but_not_their_rates() {
        let mut exposure = steady_load(2, 100, 1_700_000_000_000_000_000);
        exposure.merge(&steady_load(3, 100, 1_700_000_000_000_000_000));
        assert!((exposure.days() - 5.0).abs() < 1e-9);
        assert!(exposure.per_day() < 102.0, "{}", exposure.per_day());
    }

    #[test]
    fn before_anything_happened_nothing_is_said() {
        let mut exposure = Exposure::default();
        assert_eq!(exposure.per_day(), f64::INFINITY);
        exposure.ended(5, 1);
        assert_eq!(exposure.per_day(), f64::INFINITY);
    }
}
