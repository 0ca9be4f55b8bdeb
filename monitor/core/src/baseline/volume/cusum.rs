//! Slow leaks: a clipped CUSUM against a frozen anchor finds a shift that no single window shows.
//!
//! C ← max(0, C + clip(z, ±3) − k), alarm at C ≥ h (Page 1954). z is the distance of `ln(1 + x)` from
//! the anchor's mean for that hour of the day, in its standard deviations; with replicas, from what
//! the median replica shows at the same time, so that a deployment alarms nobody. Clipping keeps one
//! burst from being an alarm: that is what the peaks are for.

use serde::{Deserialize, Serialize};

/// What z must exceed on average to be noticed.
pub const SLACK: f64 = 0.1;
/// What one window can contribute at most, either way.
pub const CLIP: f64 = 3.0;
/// Days between two false alarms.
pub const DAYS: f64 = 30.0;
/// Windows that an anchor needs.
pub const LEAST: u64 = 288;
/// Values that an hour needs for a mean of its own.
pub const LEAST_HOUR: u64 = 12;
/// Replicas, beside the one that is judged, that make a median.
pub const LEAST_PEERS: usize = 3;
/// The smallest standard deviation that counts, of `ln(1 + x)`: a constant flow would make any
/// change infinitely far.
const LEAST_DEVIATION: f64 = 0.02;

/// Count, mean and spread of `ln(1 + x)`; adds exactly (Chan, Golub, LeVeque 1979).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Takes a value in: bytes, calls or nanoseconds of one window.
    pub fn add(&mut self, value: u64) {
        let x = logarithm(value);
        self.count = self.count.saturating_add(1);
        let delta = x - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (x - self.mean);
    }

    /// Adds the values of another.
    pub fn merge(&mut self, other: &Self) {
        let (a, b) = (self.count as f64, other.count as f64);
        if a + b == 0.0 {
            return;
        }
        let delta = other.mean - self.mean;
        self.mean += delta * b / (a + b);
        self.squares += other.squares + delta * delta * a * b / (a + b);
        self.count = self.count.saturating_add(other.count);
    }

    /// Values taken in.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Moments per hour of the day, while learning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hours([Moments; 24]);

impl Hours {
    /// Takes in the value of a window that began at `time`, nanoseconds since the epoch.
    pub fn add(&mut self, time: u64, value: u64) {
        self.0[hour(time)].add(value);
    }

    /// Adds the values of another replica or day.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.merge(theirs);
        }
    }

    /// Windows taken in.
    pub fn count(&self) -> u64 {
        self.0.iter().map(Moments::count).sum()
    }

    /// The anchor; `None` before [`LEAST`] windows.
    pub fn freeze(&self) -> Option<Anchor> {
        let mut all = Moments::default();
        self.0.iter().for_each(|hour| all.merge(hour));
        if all.count < LEAST {
            return None;
        }
        let seasonal = self.0.iter().filter(|hour| hour.count >= LEAST_HOUR);
        let (mut squares, mut free) = (0.0, 0.0);
        for hour in seasonal {
            squares += hour.squares;
            free += hour.count as f64 - 1.0;
        }
        let whole = all.squares / (all.count as f64 - 1.0);
        let within = if free > 0.0 { squares / free } else { whole };
        let mean = |hour: &Moments| match hour.count {
            LEAST_HOUR.. => hour.mean,
            _ => all.mean,
        };
        Some(Anchor {
            means: self.0.each_ref().map(mean),
            deviation: within.max(0.0).sqrt().max(LEAST_DEVIATION),
        })
    }
}

/// What windows are measured against; never moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anchor {
    means: [f64; 24],
    deviation: f64,
}

impl Anchor {
    /// Distance of a window's value from what is usual at that hour, in standard deviations.
    pub fn z(&self, time: u64, value: u64) -> f64 {
        let z = (logarithm(value) - self.means[hour(time)]) / self.deviation;
        if z.is_finite() { z } else { 0.0 }
    }

    /// What a window at that hour carries on average, if it is log-normal: more than is usual.
    pub fn expected(&self, time: u64) -> f64 {
        let mean = self.means[hour(time)] + self.deviation * self.deviation / 2.0;
        mean.min(700.0).exp_m1().max(0.0)
    }

    /// The usual value of a window at that hour.
    pub fn usual(&self, time: u64) -> f64 {
        self.means[hour(time)].min(700.0).exp_m1().max(0.0)
    }
}

/// What a replica shows that the others do not: its z less the median of theirs, scaled to a
/// standard deviation of 1 again. `None` where there are fewer than [`LEAST_PEERS`] others.
pub fn residual(own: f64, others: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = others.iter().copied().filter(|z| z.is_finite()).collect();
    if sorted.len() < LEAST_PEERS || !own.is_finite() {
        return None;
    }
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    };
    // The variance of the median of m normal values is about π/2 over m.
    let variance = 1.0 + std::f64::consts::FRAC_PI_2 / sorted.len() as f64;
    Some((own - median) / variance.sqrt())
}

/// The sum, and where it alarms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    sum: f64,
    height: f64,
    windows: u64,
}

impl Cusum {
    /// For windows of `seconds`, with one false alarm per [`DAYS`] days.
    pub fn new(seconds: u32) -> Self {
        let windows = DAYS * 86_400.0 / f64::from(seconds.max(1));
        Self {
            sum: 0.0,
            height: height(SLACK, windows),
            windows: 0,
        }
    }

    /// Takes in one window; whether it alarms. An alarm empties the sum.
    pub fn add(&mut self, z: f64) -> Option<Shift> {
        let z = if z.is_nan() {
            0.0
        } else {
            z.clamp(-CLIP, CLIP)
        };
        self.sum = (self.sum + z - SLACK).max(0.0);
        self.windows = if self.sum > 0.0 {
            self.windows.saturating_add(1)
        } else {
            0
        };
        if self.sum < self.height {
            return None;
        }
        let shift = Shift {
            windows: self.windows,
            mean: self.sum / self.windows as f64 + SLACK,
        };
        (self.sum, self.windows) = (0.0, 0);
        Some(shift)
    }

    /// How far it is on the way to an alarm, 0 to 1.
    pub fn progress(&self) -> f64 {
        (self.sum / self.height).clamp(0.0, 1.0)
    }
}

/// A shift that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// Windows since it began, as far as the sum knows.
    pub windows: u64,
    /// Mean distance over them, standard deviations.
    pub mean: f64,
}

/// The height at which a CUSUM of standard normal values with slack `k` alarms once in `windows` on
/// average: Siegmund's approximation (1985), (e^x − x − 1) / 2k² with x = 2k(h + 1.166), solved for h.
pub fn height(k: f64, windows: f64) -> f64 {
    let k = if k.is_finite() {
        k.clamp(0.01, 2.0)
    } else {
        SLACK
    };
    let windows = if windows.is_finite() {
        windows.clamp(10.0, 1e12)
    } else {
        1e12
    };
    let wanted = windows * 2.0 * k * k;
    let (mut low, mut high) = (0.0f64, 100.0f64);
    for _ in 0..80 {
        let x = (low + high) / 2.0;
        if x.exp_m1() - x < wanted {
            low = x;
        } else {
            high = x;
        }
    }
    (low / (2.0 * k) - 1.166).max(CLIP)
}

fn logarithm(value: u64) -> f64 {
    (value as f64).ln_1p()
}

/// Hour of the day, UTC.
fn hour(time: u64) -> usize {
    (time / 3_600_000_000_000 % 24) as usize
}

#[cfg(test)]
#[path = "cusum_tests.rs"]
mod tests;
