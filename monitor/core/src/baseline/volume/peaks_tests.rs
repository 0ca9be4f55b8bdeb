//! Tests of peaks over threshold.

use proptest::prelude::*;

use super::*;

/// Exponential values by their quantiles: no randomness is needed to have a known tail.
fn exponential(n: usize) -> Tail {
    let mut tail = Tail::default();
    for i in 0..n {
        tail.add(-(1.0 - (i as f64 + 0.5) / n as f64).ln() * 1000.0);
    }
    tail
}

#[test]
fn a_known_tail_is_found() {
    let anchor = exponential(20_000).freeze();
    let fit = anchor.fit().unwrap();
    assert!(fit.shape.abs() < 0.05, "{fit:?}");
    let limit = anchor.limit(1e-4).unwrap();
    assert_eq!(limit.basis, Basis::Extrapolated);
    let exact = -(1e-4f64).ln() * 1000.0;
    assert!((limit.value / exact - 1.0).abs() < 0.03, "{limit:?}");
    assert!((anchor.p(exact) / 1e-4 - 1.0).abs() < 0.3);
}

#[test]
fn few_values_say_what_they_can_vouch_for() {
    let anchor = exponential(999).freeze();
    assert_eq!(anchor.fit(), None);
    let limit = anchor.limit(1e-4).unwrap();
    assert_eq!((limit.basis, limit.rate), (Basis::Counted, 1e-3));
    assert_eq!(anchor.p(1e12), 1e-3);
    let middling = exponential(5_000).freeze();
    assert_eq!(middling.limit(1e-3).unwrap().basis, Basis::Extrapolated);
    assert_eq!(middling.limit(1e-4).unwrap().basis, Basis::Counted);
    assert_eq!(Tail::default().freeze().limit(1e-3), None);
}

#[test]
fn equal_values_make_no_tail_and_no_nonsense() {
    let mut tail = Tail::default();
    (0..3_000).for_each(|_| tail.add(412.0));
    let anchor = tail.freeze();
    assert_eq!(anchor.fit(), None);
    assert_eq!(anchor.limit(1e-3).unwrap().value, 412.0);
    assert_eq!(anchor.p(412.0), 1.0);
    assert!(anchor.p(413.0) < 1e-3);
}

proptest! {
    #[test]
    fn the_tail_of_two_streams_is_the_tail_of_both(
        a in prop::collection::vec(0.0..1e9f64, 0..900),
        b in prop::collection::vec(0.0..1e9f64, 0..900),
    ) {
        let of = |values: &[f64]| {
            let mut tail = Tail::default();
            values.iter().for_each(|v| tail.add(*v));
            tail
        };
        let mut merged = of(&a);
        merged.merge(&of(&b));
        let all: Vec<f64> = a.into_iter().chain(b).collect();
        prop_assert_eq!(merged, of(&all));
    }

    #[test]
    fn a_counted_limit_is_never_exceeded_more_often_than_it_says(
        values in prop::collection::vec(0.0..100.0f64, 1..400),
        rate in 0.001..0.9f64,
    ) {
        let mut tail = Tail::default();
        values.iter().for_each(|v| tail.add(*v));
        let limit = tail.freeze().limit(rate).unwrap();
        let above = values.iter().filter(|v| **v > limit.value).count() as f64;
        prop_assert!(above / (values.len() as f64 + 1.0) <= limit.rate);
    }

    #[test]
    fn no_input_makes_a_panic_or_a_number_that_is_none(
        values in prop::collection::vec(any::<f64>(), 0..60),
        times in 1..60usize,
        rate in any::<f64>(),
        probe in any::<f64>(),
    ) {
        let mut tail = Tail::default();
        for _ in 0..times {
            values.iter().for_each(|v| tail.add(*v));
        }
        let anchor = tail.freeze();
        let p = anchor.p(probe);
        prop_assert!(p > 0.0 && p <= 1.0, "{}", p);
        if let Some(limit) = anchor.limit(rate) {
            prop_assert!(limit.value.is_finite() && limit.value >= 0.0 && limit.rate > 0.0);
        }
        // JSON keeps a number to its last digit but one.
        let copy: Tail = serde_json::from_str(&serde_json::to_string(&tail).unwrap()).unwrap();
        prop_assert_eq!(copy.count, tail.count);
        for (a, b) in copy.largest.iter().zip(&tail.largest) {
            prop_assert!((a - b).abs() <= 1e-12 * b);
        }
    }

    #[test]
    fn larger_values_are_never_more_likely(n in 100..6_000usize, x in 0.0..2e4f64, more in 0.0..1e4f64) {
        let anchor = exponential(n).freeze();
        prop_assert!(anchor.p(x + more) <= anchor.p(x) + 1e-9);
    }
}
