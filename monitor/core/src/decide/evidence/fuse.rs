//! Fusion: several p-values become one, at a false-positive rate that holds.
//!
//! Fisher's sum, −2 Σ ln p, over the families; its textbook distribution needs independence, which
//! families of one episode do not have. So the sum is only a score, and is calibrated once more
//! against good episodes: on public agent runs that gave the rate that was asked for, where the
//! formula alone was off by a factor of two either way.

use serde::{Deserialize, Serialize};

use super::conformal::Calibration;

/// A p-value of one family, with its sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Family.
    pub family: String,
    /// The p-value.
    pub p: f64,
    /// Why, for a person.
    pub reason: String,
}

/// Calibrations per family, and of the sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fusion {
    families: Vec<(String, Calibration)>,
    sum: Calibration,
}

/// A fused p-value.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    /// The p-value of the episode.
    pub p: f64,
    /// Fisher's sum.
    pub sum: f64,
    /// Its parts, the largest first.
    pub parts: Vec<Part>,
}

impl Fusion {
    /// Calibrates: one row of scores per good episode, in the order of `families`. Rows of another
    /// length are left out. Each family is calibrated on the even rows and the sum on the odd ones,
    /// so that the sum never sees p-values of episodes that made them.
    pub fn calibrate(families: &[&str], rows: &[Vec<f64>]) -> Self {
        let rows: Vec<_> = rows
            .iter()
            .filter(|row| row.len() == families.len())
            .collect();
        let mut fusion = Self::default();
        for (i, family) in families.iter().enumerate() {
            let mut calibration = Calibration::default();
            calibration.extend(rows.iter().step_by(2).map(|row| row[i]));
            fusion.families.push(((*family).to_owned(), calibration));
        }
        let sums: Vec<f64> = rows
            .iter()
            .skip(1)
            .step_by(2)
            .map(|row| fusion.add_up(row))
            .collect();
        fusion.sum.extend(sums);
        fusion
    }

    /// The fused p-value of one episode's scores, with a sentence for each score.
    pub fn fuse(&self, scores: &[f64], reasons: &[String]) -> Fused {
        let sum = self.add_up(scores);
        let mut parts: Vec<Part> = self
            .families
            .iter()
            .zip(scores)
            .enumerate()
            .map(|(i, ((family, calibration), score))| Part {
                family: family.clone(),
                p: calibration.p(*score),
                reason: reasons.get(i).cloned().unwrap_or_default(),
            })
            .collect();
        parts.sort_by(|a, b| a.p.total_cmp(&b.p));
        Fused {
            p: self.sum.p(sum),
            sum,
            parts,
        }
    }

    /// The lowest p-value that can be said.
    pub fn floor(&self) -> f64 {
        self.sum.floor()
    }

    fn add_up(&self, scores: &[f64]) -> f64 {
        let pairs = self.families.iter().zip(scores);
        fisher(pairs.map(|((_, calibration), score)| calibration.p(*score)))
    }
}

impl Fused {
    /// For a person: the p-value and what made it, largest share first.
    pub fn sentence(&self) -> String {
        let whole: f64 = self.parts.iter().map(|part| weight(part.p)).sum();
        let shares = self
            .parts
            .iter()
            .filter(|part| weight(part.p) > 0.1 * whole);
        let words: Vec<String> = shares
            .map(|part| {
                let share = 100.0 * weight(part.p) / whole.max(f64::MIN_POSITIVE);
                format!(
                    "{share:.0} % {} ({})",
                    part.family,
                    part.reason.trim_end_matches('.')
                )
            })
            .collect();
        format!(
            "Taken together as odd as one good episode in {:.0}: {}.",
            1.0 / self.p,
            words.join(", ")
        )
    }
}

/// −2 Σ ln p (Fisher 1925). Values that are no probabilities count as 1.
pub fn fisher(ps: impl IntoIterator<Item = f64>) -> f64 {
    ps.into_iter().map(|p| 2.0 * weight(p)).sum()
}

fn weight(p: f64) -> f64 {
    if p > 0.0 && p < 1.0 { -p.ln() } else { 0.0 }
}

/// The false-positive rate per episode that spends a budget of `alerts` a day over `episodes` a day;
/// never more than 1 in 20.
pub fn alpha(alerts: f64, episodes: f64) -> f64 {
    const MOST: f64 = 0.05;
    if alerts.is_finite() && alerts > 0.0 && episodes > 0.0 {
        (alerts / episodes).min(MOST)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oddest_family_is_named_first() {
        let rows: Vec<Vec<f64>> = (0..2_000)
            .map(|i| vec![f64::from(i % 100), f64::from(i % 7)])
            .collect();
        let fusion = Fusion::calibrate(&["order", "bytes"], &rows);
        let fused = fusion.fuse(&[5.0, 1e6], &["a pair.".into(), "19 MB.".into()]);
        assert_eq!(fused.parts[0].family, "bytes");
        assert!(
            fused.sentence().contains("bytes (19 MB)"),
            "{}",
            fused.sentence()
        );
        assert_eq!(fusion.fuse(&[1e9, 1e9], &[]).p, fusion.floor());
        assert_eq!(fusion.fuse(&[-1.0, -1.0], &[]).p, 1.0);
    }

    #[test]
    fn the_budget_is_a_rate() {
        assert_eq!(alpha(1.0, 1_000.0), 1e-3);
        assert_eq!(alpha(1.0, 2.0), 0.05);
        assert_eq!((alpha(f64::NAN, 5.0), alpha(1.0, 0.0)), (0.0, 0.0));
    }

    proptest! {
        #[test]
        fn any_scores_give_a_probability(
            rows in prop::collection::vec(prop::collection::vec(any::<f64>(), 0..4), 0..40),
            scores in prop::collection::vec(any::<f64>(), 0..5),
        ) {
            let fusion = Fusion::calibrate(&["a", "b", "c"], &rows);
            let fused = fusion.fuse(&scores, &[]);
            prop_assert!(fused.p > 0.0 && fused.p <= 1.0 && fused.sum.is_finite());
            prop_assert!(!fused.sentence().contains("NaN"));
        }
    }
}
