//! Quantile sketch of bytes, calls and durations: relative error 1 %, exact merge, bounded memory.
//!
//! The method is DDSketch (Masson, Rim, Lee, VLDB 2019): one counter per power of γ = (1+a)/(1-a).
//! The crate `sketches-ddsketch` was read and not used: it keeps its counters private, its serde
//! form cannot be checked on the way in, its decoder overflows on damaged bytes, and its dense store
//! collapses the low bins of wide data. Whole numbers need no collapse: all of `u64` fits into
//! [`MAX_BINS`] counters, of which only those in use are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Relative error of a quantile.
pub const ERROR: f64 = 0.01;
/// Counters that a sketch can have: `ceil(ln(2^64) / ln γ) + 1`.
pub const MAX_BINS: usize = 2_220;
/// γ.
const GAMMA: f64 = (1.0 + ERROR) / (1.0 - ERROR);

/// Counts of values by size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Sketch {
    zeros: u64,
    bins: BTreeMap<u16, u64>,
}

/// A sketch as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Values that were 0.
    pub zeros: u64,
    /// Bin `k` counts the values in (γ^(k-1), γ^k]; in order of `k`.
    pub bins: Vec<(u16, u64)>,
}

/// Why a stored sketch cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bin {0} of a stored sketch is out of range or out of order")]
pub struct StoredError(pub u16);

impl Sketch {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        self.add_many(value, 1);
    }

    /// Counts a value several times.
    pub fn add_many(&mut self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        let counter = match bin(value) {
            None => &mut self.zeros,
            Some(bin) => self.bins.entry(bin).or_default(),
        };
        *counter = counter.saturating_add(times);
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.bins
            .values()
            .fold(self.zeros, |sum, n| sum.saturating_add(*n))
    }

    /// The value below which a share `q` (0 to 1) of all values lies, within [`ERROR`]; `None` for
    /// an empty sketch or a share that is none.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let rank = (q * (count - 1) as f64) as u64;
        let mut below = self.zeros;
        if rank < below {
            return Some(0.0);
        }
        let mut last = 0.0;
        for (bin, n) in &self.bins {
            below = below.saturating_add(*n);
            last = middle(*bin);
            if rank < below {
                break;
            }
        }
        Some(last)
    }

    /// Values that are at least as large as this one; those of the same bin count as such.
    pub fn at_least(&self, value: u64) -> u64 {
        match bin(value) {
            None => self.count(),
            Some(bin) => self
                .bins
                .range(bin..)
                .fold(0, |sum: u64, (_, n)| sum.saturating_add(*n)),
        }
    }

    /// Adds what another sketch counted: the same as if all its values had been counted here.
    pub fn merge(&mut self, other: &Self) {
        self.zeros = self.zeros.saturating_add(other.zeros);
        for (bin, n) in &other.bins {
            let counter = self.bins.entry(*bin).or_default();
            *counter = counter.saturating_add(*n);
        }
    }

    /// Counters in use.
    pub fn len(&self) -> usize {
        self.bins.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.zeros == 0 && self.bins.is_empty()
    }
}

/// Bin of a value; `None` for 0.
fn bin(value: u64) -> Option<u16> {
    let bin = ((value as f64).ln() / GAMMA.ln()).ceil();
    (value > 0).then_some((bin as u16).min(MAX_BINS as u16 - 1))
}

/// The value that is within [`ERROR`] of all values of a bin.
fn middle(bin: u16) -> f64 {
    GAMMA.powi(i32::from(bin)) * 2.0 / (1.0 + GAMMA)
}

impl From<Sketch> for Stored {
    fn from(sketch: Sketch) -> Self {
        Self {
            zeros: sketch.zeros,
            bins: sketch.bins.into_iter().collect(),
        }
    }
}

impl TryFrom<Stored> for Sketch {
    type Error = StoredError;

    fn try_from(stored: Stored) -> Result<Self, StoredError> {
        let mut least = 0;
        for (bin, _) in &stored.bins {
            if *bin < least || usize::from(*bin) >= MAX_BINS {
                return Err(StoredError(*bin));
            }
            least = bin + 1;
        }
        Ok(Self {
            zeros: stored.zeros,
            bins: stored.bins.into_iter().filter(|(_, n)| *n > 0).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value));
        sketch
    }

    #[test]
    fn the_largest_number_has_a_bin() {
        let sketch = of(&[u64::MAX, 1, 0]);
        assert_eq!(sketch.count(), 3);
        assert_eq!(sketch.quantile(0.0), Some(0.0));
        let top = sketch.quantile(1.0).unwrap();
        assert!((top / u64::MAX as f64 - 1.0).abs() < ERROR, "{top}");
        assert_eq!(Sketch::default().quantile(0.5), None);
        assert_eq!(sketch.quantile(f64::NAN), None);
    }

    #[test]
    fn damaged_rows_are_refused() {
        for bins in [vec![(5, 1), (5, 1)], vec![(9, 1), (3, 1)], vec![(3000, 1)]] {
            assert!(Sketch::try_from(Stored { zeros: 0, bins }).is_err());
        }
    }

    proptest! {
        #[test]
        fn quantiles_are_within_one_per_cent(
            mut values in prop::collection::vec(any::<u64>().prop_map(|n| n >> (n % 60)), 1..200),
            q in 0.0..=1.0f64,
        ) {
            let sketch = of(&values);
            values.sort_unstable();
            let exact = values[(q * (values.len() - 1) as f64) as usize] as f64;
            let got = sketch.quantile(q).unwrap();
            prop_assert!((got - exact).abs() <= (ERROR + 1e-9) * exact, "{got} for {exact}");
        }

        #[test]
        fn a_merge_is_the_same_as_counting_everything_in_one(
            a in prop::collection::vec(any::<u64>(), 0..50),
            b in prop::collection::vec(any::<u64>(), 0..50),
        ) {
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let all: Vec<u64> = a.into_iter().chain(b).collect();
            prop_assert_eq!(&merged, &of(&all));
            let stored = serde_json::to_string(&merged).unwrap();
            prop_assert_eq!(serde_json::from_str::<Sketch>(&stored).unwrap(), merged);
        }

        #[test]
        fn any_stored_form_is_read_or_refused_and_never_panics(
            zeros in any::<u64>(),
            bins in prop::collection::vec(any::<(u16, u64)>(), 0..20),
            value in any::<u64>(),
        ) {
            if let Ok(mut sketch) = Sketch::try_from(Stored { zeros, bins }) {
                sketch.add(value);
                let copy = sketch.clone();
                sketch.merge(&copy);
                prop_assert!(sketch.quantile(0.5).unwrap().is_finite());
                prop_assert!(sketch.at_least(value) >= 1 && sketch.len() <= MAX_BINS);
            }
        }
    }
}
