//! Bounds on what was not seen yet. Plain arithmetic over counts; knows nothing of what is counted.

use statrs::distribution::{ChiSquared, ContinuousCDF, Gamma};

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

/// Upper 95 % limit of the unseen mass, times T, of which `once` subjects speak, in clusters of
/// `cluster` on average: what comes new comes in handfuls, and a limit for single events is then too
/// low. The limit is that of a gamma distribution, as for weighted counts (Fay and Feuer 1997), with
/// the variance of the Good–Turing estimate, which `twice` is part of (Esty 1983): the mass itself
/// varies as well, and is large just when `once` happens to be small. Without clusters and without
/// subjects seen twice it is [`upper`], and never below it.
pub fn upper_clustered(once: f64, cluster: f64, twice: f64) -> f64 {
    if once <= 0.0 {
        return upper(0.0);
    }
    let cluster = cluster.max(1.0);
    let simple = cluster * upper(once / cluster);
    let mean = once + cluster;
    let variance = cluster * (mean + 2.0 * twice);
    let limit = Gamma::new(mean * mean / variance, mean / variance)
        .map_or(f64::INFINITY, |gamma| gamma.inverse_cdf(CONFIDENCE));
    simple.max(limit)
}

/// The smallest number of episodes after which the bound on new subjects per day is within
/// `budget`, if they keep coming at `unseen` per episode and there are `per_day` episodes a day.
/// `limit` says what the upper limit for so many singletons is. `None` where the bound never is: it
/// cannot fall below the rate itself.
pub fn episodes_until(
    unseen: f64,
    per_day: f64,
    budget: f64,
    limit: impl Fn(f64) -> f64,
) -> Option<f64> {
    let bound = |episodes: f64| limit(unseen * episodes) / episodes * per_day;
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
        let episodes = episodes_until(0.0, 2000.0, 0.1, upper).unwrap();
        assert!((episodes / 2000.0 - 30.0).abs() < 1e-6, "{episodes}");
        assert_eq!(episodes_until(0.001, 2000.0, 1.0, upper), None);
        assert_eq!(episodes_until(0.0, f64::INFINITY, 1.0, upper), None);
    }

    #[test]
    fn clusters_and_chance_widen_the_limit_and_nothing_else_does() {
        for once in [0.0, 1.0, 7.0, 300.0] {
            assert!((upper_clustered(once, 1.0, 0.0) - upper(once)).abs() < 1e-6 * upper(once));
        }
        // One episode with ten new subjects is one cluster, not ten.
        assert!((upper_clustered(10.0, 10.0, 0.0) - 10.0 * upper(1.0)).abs() < 1e-6);
        assert!(upper_clustered(10.0, 1.0, 10.0) > 1.15 * upper(10.0));
        assert_eq!(upper_clustered(0.0, 5.0, 50.0), 3.0);
    }

    proptest! {
        #[test]
        fn a_clustered_limit_is_never_below_the_plain_one(once in 0u32..5000, cluster in 1.0..50.0f64, twice in 0u32..5000) {
            let once = f64::from(once);
            let limit = upper_clustered(once, cluster, f64::from(twice));
            prop_assert!(limit.is_finite() && limit >= upper(once) * (1.0 - 1e-9), "{limit}");
        }

        #[test]
        fn a_limit_is_above_the_count_and_rises_with_it(seen in 0u32..20_000) {
            let seen = f64::from(seen);
            prop_assert!(upper(seen) > seen);
            prop_assert!(upper(seen + 1.0) > upper(seen));
        }

        #[test]
        fn what_is_solved_is_a_solution(unseen in 0.0..0.01f64, per_day in 1.0..1e5f64, budget in 0.05..5.0f64) {
            match episodes_until(unseen, per_day, budget, upper) {
                Some(t) => prop_assert!(upper(unseen * t) / t * per_day <= budget * 1.000_001),
                None => prop_assert!(unseen * per_day >= budget * 0.9999),
            }
        }
    }
}
