//! Bounds on what was not seen yet. Plain arithmetic over counts; knows nothing of what is counted.

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// How sure a bound is.
const CONFIDENCE: f64 = 0.95;

/// Upper 95 % limit of the mean of a Poisson count of which `seen` were counted: 3 for none (the
/// rule of three), otherwise half the 95 % quantile of chi-squared with `2 seen + 2` degrees of
/// freedom (Garwood 1936). Takes fractions, so that a forecast is smooth.
pub fn upper(seen: f64) -> f64 {
    if seen <= 0.0 {
        return 3.0;
    }
    ChiSquared::new(2.0 * seen + 2.0).map_or(f64::INFINITY, |chi| chi.inverse_cdf(CONFIDENCE) / 2.0)
}

/// The smallest number of episodes after which the bound on new subjects per day is within
/// `budget`, if they keep coming at `unseen` per episode and there are `per_day` episodes a day.
/// `None` where it never is: the bound cannot fall below the rate itself.
pub fn episodes_until(unseen: f64, per_day: f64, budget: f64) -> Option<f64> {
    let bound = |episodes: f64| upper(unseen * episodes) / episodes * per_day;
    if !(per_day.is_finite() && unseen * per_day < budget) {
        return None;
    }
    let (mut low, mut high) = (1.0, 2.0);
    while bound(high) > budget {
        (low, high) = (high, high * 2.0);
        if high > 1e15 {
            return None;
        }
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if bound(middle) > budget {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_limits_are_those_of_the_tables() {
        for (seen, limit) in [
            (0.0, 3.0),
            (1.0, 4.744),
            (2.0, 6.296),
            (5.0, 10.513),
            (10.0, 16.962),
        ] {
            assert!(
                (upper(seen) - limit).abs() < 1e-3,
                "{seen}: {}",
                upper(seen)
            );
        }
        assert!((upper(1000.0) - 1053.6).abs() < 1.0, "{}", upper(1000.0));
        assert!(
            (upper(100_000.0) - 100_521.0).abs() < 5.0,
            "{}",
            upper(100_000.0)
        );
    }

    #[test]
    fn without_news_a_tenth_a_day_takes_thirty_days() {
        let episodes = episodes_until(0.0, 2000.0, 0.1).unwrap();
        assert!((episodes / 2000.0 - 30.0).abs() < 1e-6, "{episodes}");
        assert_eq!(episodes_until(0.001, 2000.0, 1.0), None);
        assert_eq!(episodes_until(0.0, f64::INFINITY, 1.0), None);
    }

    proptest! {
        #[test]
        fn a_limit_is_above_the_count_and_rises_with_it(seen in 0u32..20_000) {
            let seen = f64::from(seen);
            prop_assert!(upper(seen) > seen);
            prop_assert!(upper(seen + 1.0) > upper(seen));
        }

        #[test]
        fn what_is_solved_is_a_solution(unseen in 0.0..0.01f64, per_day in 1.0..1e5f64, budget in 0.05..5.0f64) {
            match episodes_until(unseen, per_day, budget) {
                Some(t) => prop_assert!(upper(unseen * t) / t * per_day <= budget * 1.000_001),
                None => prop_assert!(unseen * per_day >= budget * 0.9999),
            }
        }
    }
}
