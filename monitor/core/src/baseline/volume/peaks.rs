//! Peaks over threshold: which value is exceeded once in a thousand or ten thousand episodes.
//!
//! Keeps the largest values and a count; the tail above the 98th percentile is described by a
//! generalised Pareto distribution, fitted by probability-weighted moments (Hosking and Wallis 1987),
//! as in SPOT (Siffer et al., KDD 2017). It extrapolates only where that was found to be calibrated;
//! otherwise it answers from the values themselves and says what rate those can vouch for.

use serde::{Deserialize, Serialize};

/// Largest values kept. Up to 25,600 values the level is [`LEVEL`]; above, it rises with the count.
pub const KEPT: usize = 512;
/// Share of values below the threshold.
pub const LEVEL: f64 = 0.98;
/// Values needed to extrapolate at all.
pub const LEAST: u64 = 2_000;
/// Values needed to extrapolate to rates below [`RARE`].
pub const LEAST_RARE: u64 = 10_000;
/// The lowest rate that [`LEAST`] values support.
pub const RARE: f64 = 1e-3;
/// The lowest rate that is extrapolated to.
pub const RAREST: f64 = 1e-5;
/// Shapes that a fit may have. Above 1 there is no mean, so the moments mean nothing.
const SHAPES: (f64, f64) = (-0.5, 0.95);

/// The largest values of a stream and how many there were in all. Values are finite and not
/// negative; others are taken as 0 or as the largest number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Tail {
    count: u64,
    /// Falling.
    largest: Vec<f64>,
}

/// A tail as it is stored; anything can be read.
#[derive(Deserialize)]
struct Stored {
    count: u64,
    largest: Vec<f64>,
}

/// What an answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The fitted tail.
    Extrapolated,
    /// The values themselves: exact if the next one is like them, but never below 1/(n+1).
    Counted,
}

/// A limit: exceeded by at most a share `rate` of values like those learned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The value that may not be exceeded.
    pub value: f64,
    /// The rate that is vouched for; higher than the one asked for where the values are too few.
    pub rate: f64,
    /// What it rests on.
    pub basis: Basis,
}

/// A tail that learns no more, with its fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anchor {
    tail: Tail,
    fit: Option<Fit>,
}

/// A generalised Pareto tail.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Where the tail begins.
    pub threshold: f64,
    /// Share of values above it.
    pub share: f64,
    /// Shape: above 0 heavy, 0 exponential, below 0 bounded.
    pub shape: f64,
    /// Scale, in the unit of the values.
    pub scale: f64,
}

impl From<Stored> for Tail {
    fn from(stored: Stored) -> Self {
        let mut tail = Self::default();
        stored.largest.into_iter().for_each(|v| tail.add(v));
        tail.count = tail.count.max(stored.count);
        tail
    }
}

impl Tail {
    /// Takes a value in.
    pub fn add(&mut self, value: f64) {
        let value = sound(value);
        self.count = self.count.saturating_add(1);
        if self.largest.len() == KEPT && self.largest[KEPT - 1] >= value {
            return;
        }
        let place = self.largest.partition_point(|kept| *kept >= value);
        self.largest.insert(place, value);
        self.largest.truncate(KEPT);
    }

    /// Adds another stream's values: exactly the tail of both streams together.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.largest.extend(&other.largest);
        self.largest.sort_by(|a, b| b.total_cmp(a));
        self.largest.truncate(KEPT);
    }

    /// Values taken in.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The anchor that these values make.
    pub fn freeze(&self) -> Anchor {
        Anchor {
            tail: self.clone(),
            fit: self.fit(),
        }
    }

    fn fit(&self) -> Option<Fit> {
        if self.count < LEAST {
            return None;
        }
        let above = ((self.count as f64 * (1.0 - LEVEL)) as usize).min(self.largest.len() - 1);
        let threshold = self.largest[above];
        let excesses = self.largest[..above].iter().map(|v| v - threshold);
        // Falling order: the i-th largest of m has (i)/(m-1) of the others above it.
        let m = above as f64;
        let (mut mean, mut weighted) = (0.0, 0.0);
        for (i, excess) in excesses.enumerate() {
            mean += excess / m;
            weighted += excess / m * (i as f64 / (m - 1.0));
        }
        let share = m / self.count as f64;
        let spread = mean - 2.0 * weighted;
        if !(mean > 0.0 && spread > 0.0 && spread.is_finite() && weighted.is_finite()) {
            return None;
        }
        let shape = (2.0 - mean / spread).clamp(SHAPES.0, SHAPES.1);
        Some(Fit {
            threshold,
            share,
            shape,
            scale: mean * (1.0 - shape),
        })
    }
}

impl Anchor {
    /// Values that it was made of.
    pub fn count(&self) -> u64 {
        self.tail.count
    }

    /// The largest value; 0 without any.
    pub fn largest(&self) -> f64 {
        self.tail.largest.first().copied().unwrap_or(0.0)
    }

    /// The fit, where there are enough values and they differ.
    pub fn fit(&self) -> Option<&Fit> {
        self.fit.as_ref()
    }

    /// The limit for a rate above 0 and below 1; `None` for other rates and without any value.
    pub fn limit(&self, rate: f64) -> Option<Limit> {
        if !(rate > 0.0 && rate < 1.0) || self.tail.largest.is_empty() {
            return None;
        }
        if let Some(fit) = self.fit.filter(|fit| self.reaches(rate, fit)) {
            return Some(Limit {
                value: fit.quantile(rate),
                rate,
                basis: Basis::Extrapolated,
            });
        }
        let all = self.tail.count as f64 + 1.0;
        let place = ((rate * all) as usize).clamp(1, self.tail.largest.len());
        Some(Limit {
            value: self.tail.largest[place - 1],
            rate: place as f64 / all,
            basis: Basis::Counted,
        })
    }

    /// How likely a value at least as large is; 1 for everything that is not in the tail.
    pub fn p(&self, value: f64) -> f64 {
        let value = sound(value);
        let tail = &self.tail.largest;
        let above = tail.partition_point(|kept| *kept >= value);
        if above == tail.len() && self.tail.count as usize > above {
            return 1.0;
        }
        let counted = (above as f64 + 1.0) / (self.tail.count as f64 + 1.0);
        let rarest = if self.tail.count >= LEAST_RARE {
            RAREST
        } else {
            RARE
        };
        match self.fit {
            Some(fit) if value > fit.threshold => fit.exceeded(value).max(rarest).min(1.0),
            _ => counted.min(1.0),
        }
    }

    fn reaches(&self, rate: f64, fit: &Fit) -> bool {
        let rarest = if self.tail.count >= LEAST_RARE {
            RAREST
        } else {
            RARE
        };
        rate >= rarest && rate < fit.share
    }
}

impl Fit {
    /// The value exceeded at a rate.
    fn quantile(&self, rate: f64) -> f64 {
        let odds = self.share / rate;
        let steps = if self.shape.abs() < 1e-6 {
            odds.ln()
        } else {
            (odds.powf(self.shape) - 1.0) / self.shape
        };
        sound(self.threshold + self.scale * steps)
    }

    /// The rate at which a value is exceeded.
    fn exceeded(&self, value: f64) -> f64 {
        let steps = (value - self.threshold) / self.scale;
        let share = if self.shape.abs() < 1e-6 {
            (-steps).exp()
        } else {
            (1.0 + self.shape * steps).max(0.0).powf(-1.0 / self.shape)
        };
        self.share * if share.is_nan() { 0.0 } else { share }
    }
}

/// A number that can be sorted, added and stored.
fn sound(value: f64) -> f64 {
    const LARGEST: f64 = 1e300;
    if value.is_nan() {
        LARGEST
    } else {
        value.clamp(0.0, LARGEST)
    }
}

#[cfg(test)]
#[path = "peaks_tests.rs"]
mod tests;
