//! Conformal p-values: how many of the held-out good episodes scored at least as high.
//!
//! p = (1 + #{calibration ≥ x}) / (n + 1): exact for any score and any distribution, as long as the
//! next episode is like the ones held out (Vovk, Gammerman, Shafer 2005; Bates et al., Annals of
//! Statistics 2023). It cannot go below 1/(n + 1), and says so instead of extrapolating.

use serde::{Deserialize, Serialize};

/// Scores kept. From then on the lowest are left out: they only matter for large p.
pub const KEPT: usize = 20_000;

/// Scores of good episodes that nothing was learned from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Calibration {
    /// Rising.
    scores: Vec<f64>,
    count: u64,
}

#[derive(Deserialize)]
struct Stored {
    scores: Vec<f64>,
    count: u64,
}

impl From<Stored> for Calibration {
    fn from(stored: Stored) -> Self {
        let mut calibration = Self::default();
        calibration.extend(stored.scores);
        calibration.count = calibration.count.max(stored.count);
        calibration
    }
}

impl Calibration {
    /// Takes scores in; a score that is no number counts as the highest.
    pub fn extend(&mut self, scores: impl IntoIterator<Item = f64>) {
        let before = self.scores.len();
        self.scores.extend(scores.into_iter().map(|s| {
            if s.is_nan() {
                f64::MAX
            } else {
                s.clamp(f64::MIN, f64::MAX)
            }
        }));
        self.count = self
            .count
            .saturating_add((self.scores.len() - before) as u64);
        self.sort();
    }

    /// Adds the scores of another host.
    pub fn merge(&mut self, other: &Self) {
        self.scores.extend(&other.scores);
        self.count = self.count.saturating_add(other.count);
        self.sort();
    }

    /// The p-value of a score; 1 without any calibration. Ties count against it.
    pub fn p(&self, score: f64) -> f64 {
        let score = if score.is_nan() { f64::MIN } else { score };
        let below = self.scores.partition_point(|s| *s < score);
        let at_least = if below == 0 {
            self.count
        } else {
            (self.scores.len() - below) as u64
        };
        (1.0 + at_least as f64) / (self.count as f64 + 1.0)
    }

    /// The lowest p-value that can be said.
    pub fn floor(&self) -> f64 {
        1.0 / (self.count as f64 + 1.0)
    }

    /// Scores taken in.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn sort(&mut self) {
        self.scores.sort_by(f64::total_cmp);
        let surplus = self.scores.len().saturating_sub(KEPT);
        self.scores.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_says_how_far_it_can_see() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.p(5.0), 1.0);
        calibration.extend((0..999).map(f64::from));
        assert_eq!((calibration.p(1e9), calibration.floor()), (1e-3, 1e-3));
        assert_eq!(calibration.p(998.0), 2e-3);
        assert_eq!(calibration.p(-1.0), 1.0);
        assert_eq!(calibration.p(f64::NAN), 1.0);
    }

    proptest! {
        #[test]
        fn of_a_set_left_out_in_turn_at_most_the_share_is_below(
            scores in prop::collection::vec(-1e6..1e6f64, 2..80),
            alpha in 0.01..0.9f64,
        ) {
            let mut below = 0;
            for i in 0..scores.len() {
                let mut calibration = Calibration::default();
                let others = scores.iter().enumerate().filter(|(j, _)| *j != i);
                calibration.extend(others.map(|(_, s)| *s));
                below += usize::from(calibration.p(scores[i]) <= alpha);
            }
            prop_assert!(below as f64 <= alpha * scores.len() as f64 + 1e-9);
        }

        #[test]
        fn any_scores_give_a_probability(
            a in prop::collection::vec(any::<f64>(), 0..30),
            b in prop::collection::vec(any::<f64>(), 0..30),
            score in any::<f64>(),
        ) {
            let of = |scores: Vec<f64>| {
                let mut calibration = Calibration::default();
                calibration.extend(scores);
                calibration
            };
            let mut merged = of(a.clone());
            merged.merge(&of(b.clone()));
            let p = merged.p(score);
            prop_assert!(p > 0.0 && p <= 1.0);
            prop_assert_eq!(p, of([a, b].concat()).p(score));
        }
    }
}
