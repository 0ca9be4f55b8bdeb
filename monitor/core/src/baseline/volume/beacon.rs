//! Beacons: connections that come too regularly, for too long, to be anybody's request.
//!
//! Four equal parts, after RITA (Active Countermeasures): how evenly the intervals are spread, how
//! evenly the sizes are, how evenly the hours of the day are filled, how much of the time is
//! covered. Health checks and telemetry are beacons too, so only destinations first seen after
//! learning may be scored; the caller keeps one [`Beacon`] per such destination and no other.

use serde::{Deserialize, Serialize};

/// Connections that a score needs.
pub const LEAST: u32 = 4;
/// Nanoseconds between the first and the last that a score needs: 6 hours.
pub const LEAST_SPAN: u64 = 6 * HOUR;
/// From this score on it is told to a person.
pub const TOLD: f64 = 0.7;
/// From this score on it counts as evidence.
pub const CERTAIN: f64 = 0.9;
const HOUR: u64 = 3_600_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// What is kept of the connections to one destination: about 400 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// Intervals by the power of two of their milliseconds.
    intervals: [u32; 32],
    /// Connections by the power of two of their bytes.
    sizes: [u32; 32],
    /// Connections by hour of the day.
    hours: [u32; 24],
    /// First and last, nanoseconds since the epoch.
    span: Option<(u64, u64)>,
}

/// A score and its parts, each 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean of the parts.
    pub total: f64,
    /// Intervals: not skewed, and close to their median.
    pub intervals: f64,
    /// Sizes, the same way.
    pub sizes: f64,
    /// Hours filled equally.
    pub hours: f64,
    /// Share of the time since it began that it covers.
    pub coverage: f64,
    /// Median interval, seconds, to a factor of two.
    pub every: f64,
    /// Connections.
    pub connections: u32,
}

impl Beacon {
    /// Takes in a connection that began at `time` (nanoseconds since the epoch) and sent `bytes`.
    pub fn add(&mut self, time: u64, bytes: u64) {
        self.span = match self.span {
            None => Some((time, time)),
            Some((first, last)) => {
                count(&mut self.intervals, time.saturating_sub(last) / MILLISECOND);
                Some((first.min(time), last.max(time)))
            }
        };
        count(&mut self.sizes, bytes);
        let hour = &mut self.hours[(time / HOUR % 24) as usize];
        *hour = hour.saturating_add(1);
    }

    /// Adds what another replica saw of the same destination. The interval between the two is not
    /// known, and not counted.
    pub fn merge(&mut self, other: &Self) {
        let both = |mine: &mut [u32], theirs: &[u32]| {
            for (a, b) in mine.iter_mut().zip(theirs) {
                *a = a.saturating_add(*b);
            }
        };
        both(&mut self.intervals, &other.intervals);
        both(&mut self.sizes, &other.sizes);
        both(&mut self.hours, &other.hours);
        self.span = match (self.span, other.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, None) => one,
            (None, other) => other,
        };
    }

    /// The score at a time; `None` before [`LEAST`] connections over [`LEAST_SPAN`].
    pub fn score(&self, now: u64) -> Option<Score> {
        let (first, last) = self.span?;
        let connections = sum(&self.sizes).min(u64::from(u32::MAX)) as u32;
        if connections < LEAST || last - first < LEAST_SPAN {
            return None;
        }
        let (intervals, sizes) = (evenness(&self.intervals), evenness(&self.sizes));
        let hours = self.hours_filled(first, last);
        let coverage = (last - first) as f64 / (now.max(last) - first) as f64;
        Some(Score {
            total: (intervals + sizes + hours + coverage) / 4.0,
            intervals,
            sizes,
            hours,
            coverage,
            every: quantile(&self.intervals, 0.5) / 1000.0,
            connections,
        })
    }

    /// One less the coefficient of variation over the whole hours between first and last; over all
    /// 24 from a day on. The hours in which it began and ended are not whole.
    fn hours_filled(&self, first: u64, last: u64) -> f64 {
        let (from, to) = match last / HOUR - first / HOUR {
            hours @ 0..2 => (0, hours + 1),
            hours @ 2..24 => (1, hours),
            _ => (0, 24),
        };
        let counts: Vec<f64> = (from..to)
            .map(|i| f64::from(self.hours[((first / HOUR + i) % 24) as usize]))
            .collect();
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / counts.len() as f64;
        if mean > 0.0 {
            (1.0 - variance.sqrt() / mean).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

impl Score {
    /// What a person is told.
    pub fn sentence(&self, destination: &str) -> String {
        format!(
            "{destination} was called {} times, about every {:.0} s, evenly over {:.0} % of the time since it was first seen (score {:.2}).",
            self.connections,
            self.every,
            self.coverage * 100.0,
            self.total
        )
    }
}

/// Mean of one less the Bowley skewness and one less the median deviation over the median.
fn evenness(bins: &[u32; 32]) -> f64 {
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|q| quantile(bins, q));
    let skew = if high > low {
        ((high + low - 2.0 * middle) / (high - low)).abs()
    } else {
        0.0
    };
    let spread = if middle > 0.0 {
        (deviation(bins, middle) / middle).min(1.0)
    } else {
        1.0
    };
    (1.0 - skew.min(1.0) + 1.0 - spread) / 2.0
}

/// Lower and upper edge of a bin: 0, then powers of two. Everything of one bin is taken to lie
/// in the middle half of it: a clock that ticks evenly fills one bin, not evenly all of it.
fn edges(bin: usize) -> (f64, f64) {
    match bin {
        0 => (0.0, 1.0),
        n => (f64::from(n as u32 - 1).exp2(), f64::from(n as u32).exp2()),
    }
}

fn inside(bin: usize, share: f64) -> f64 {
    let (low, high) = edges(bin);
    low + (high - low) * (0.25 + 0.5 * share)
}

fn quantile(bins: &[u32; 32], q: f64) -> f64 {
    let wanted = q * sum(bins) as f64;
    let mut below = 0.0;
    for (bin, n) in bins.iter().enumerate().filter(|(_, n)| **n > 0) {
        let n = f64::from(*n);
        if below + n >= wanted {
            return inside(bin, (wanted - below) / n);
        }
        below += n;
    }
    0.0
}

/// Median distance from a value.
fn deviation(bins: &[u32; 32], from: f64) -> f64 {
    let mut distances: Vec<(f64, u32)> = bins
        .iter()
        .enumerate()
        .filter(|(_, n)| **n > 0)
        .map(|(bin, n)| {
            let (low, high) = (inside(bin, 0.0), inside(bin, 1.0));
            let distance = if (low..=high).contains(&from) {
                (high - low) / 4.0
            } else {
                (inside(bin, 0.5) - from).abs()
            };
            (distance, *n)
        })
        .collect();
    distances.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = sum(bins).div_ceil(2);
    let mut below = 0;
    for (distance, n) in distances {
        below += u64::from(n);
        if below >= half {
            return distance;
        }
    }
    0.0
}

fn count(bins: &mut [u32; 32], value: u64) {
    let bin = (64 - value.leading_zeros() as usize).min(31);
    bins[bin] = bins[bin].saturating_add(1);
}

fn sum(bins: &[u32]) -> u64 {
    bins.iter().map(|n| u64::from(*n)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_700_000_000 * SECOND;

    #[test]
    fn a_clock_is_a_beacon_even_with_jitter() {
        for (every, jitter, least) in [(60, 0, CERTAIN), (60, 12, 0.85), (3600, 0, CERTAIN)] {
            let mut beacon = Beacon::default();
            let (mut time, mut flip) = (START, 1u64);
            while time < START + 12 * HOUR {
                beacon.add(time, 412);
                flip = flip * 5 % 13;
                time += (every + jitter * flip / 13) * SECOND;
            }
            let score = beacon.score(time).unwrap();
            assert!(score.total >= least, "{every} {score:?}");
        }
    }

    #[test]
    fn requests_of_people_are_none() {
        let mut beacon = Beacon::default();
        let (mut time, mut n) = (START, 1u64);
        for _ in 0..200 {
            n = n * 48_271 % 2_147_483_647;
            // Bursts, pauses, long nights; sizes of all kinds.
            time += SECOND << (n % 12);
            beacon.add(time, 1 << (n / 7 % 20));
        }
        let score = beacon.score(time + HOUR).unwrap();
        assert!(score.total < TOLD, "{score:?}");
    }

    #[test]
    fn few_or_short_is_not_scored() {
        let mut beacon = Beacon::default();
        assert_eq!(beacon.score(START), None);
        (0..3).for_each(|i| beacon.add(START + i * 4 * HOUR, 1));
        assert_eq!(beacon.score(START + 8 * HOUR), None);
        beacon.add(START + 12 * HOUR, 1);
        assert!(beacon.score(START + 12 * HOUR).is_some());
    }

    proptest! {
        #[test]
        fn no_input_makes_a_panic_or_a_score_out_of_range(
            a in prop::collection::vec(any::<(u64, u64)>(), 0..40),
            b in prop::collection::vec(any::<(u64, u64)>(), 0..40),
            now in any::<u64>(),
        ) {
            let of = |calls: &[(u64, u64)]| {
                let mut beacon = Beacon::default();
                calls.iter().for_each(|(time, bytes)| beacon.add(*time, *bytes));
                beacon
            };
            let mut one = of(&a);
            one.merge(&of(&b));
            let mut other = of(&b);
            other.merge(&of(&a));
            prop_assert_eq!(&one, &other);
            if let Some(score) = one.score(now) {
                for part in [score.total, score.intervals, score.sizes, score.hours, score.coverage] {
                    prop_assert!((0.0..=1.0).contains(&part), "{:?}", score);
                }
                prop_assert!(score.every.is_finite());
            }
        }
    }
}
