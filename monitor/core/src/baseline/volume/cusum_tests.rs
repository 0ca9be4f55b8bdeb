//! Tests of the CUSUM.

use proptest::prelude::*;

use super::*;

/// Roughly normal numbers from a small generator: twelve uniform ones, less six.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

#[test]
fn one_false_alarm_in_about_thirty_days() {
    let mut noise = Noise(7);
    let mut cusum = Cusum::new(300);
    let windows = 8_640 * 200;
    let alarms = (0..windows)
        .filter(|_| cusum.add(noise.normal()).is_some())
        .count();
    assert!(
        (130..=290).contains(&alarms),
        "{alarms} alarms in 200 times thirty days"
    );
}

#[test]
fn a_small_lasting_shift_is_found_and_one_burst_is_not() {
    let mut noise = Noise(3);
    let mut cusum = Cusum::new(300);
    assert_eq!(cusum.add(1e9), None);
    let shift = (0..2_000)
        .find_map(|_| cusum.add(noise.normal() + 0.3))
        .unwrap();
    assert!(shift.windows < 1_000 && shift.mean > 0.1, "{shift:?}");
    assert_eq!(cusum.progress(), 0.0);
}

#[test]
fn what_all_replicas_do_is_not_one_replicas_shift() {
    assert_eq!(residual(5.0, &[5.0, 5.0]), None);
    assert_eq!(residual(5.0, &[5.0, 4.0, 6.0]), Some(0.0));
    assert!(residual(5.0, &[0.0, 1.0, -1.0, 0.5]).unwrap() > 3.0);
    assert_eq!(residual(f64::NAN, &[0.0; 5]), None);
}

#[test]
fn the_height_is_the_one_of_the_literature() {
    // k = 0.5, h = 4: one alarm in about 168 (Montgomery, tables of the one-sided CUSUM: 336).
    assert!((height(0.5, 336.0) - 4.0).abs() < 0.1);
    assert!((height(0.1, 8_640.0) - 24.7).abs() < 0.2);
}

#[test]
fn hours_have_means_of_their_own() {
    let hour_long = 3_600_000_000_000u64;
    let mut hours = Hours::default();
    for day in 0..20 {
        for hour in 0..24 {
            let value = if hour < 12 { 1_000 } else { 100_000 };
            hours.add((day * 24 + hour) * hour_long, value + day);
        }
    }
    let anchor = hours.freeze().unwrap();
    assert!(anchor.z(3 * hour_long, 1_010).abs() < 1.0);
    assert!(anchor.z(3 * hour_long, 100_000) > 10.0);
    assert!((anchor.usual(20 * hour_long) / 100_000.0 - 1.0).abs() < 0.01);
    assert_eq!(Hours::default().freeze(), None);
}

proptest! {
    #[test]
    fn moments_add_like_values(
        a in prop::collection::vec(any::<u64>(), 0..40),
        b in prop::collection::vec(any::<u64>(), 0..40),
    ) {
        let of = |values: &mut dyn Iterator<Item = &u64>| {
            let mut moments = Moments::default();
            values.for_each(|v| moments.add(*v));
            moments
        };
        let mut merged = of(&mut a.iter());
        merged.merge(&of(&mut b.iter()));
        let all = of(&mut a.iter().chain(&b));
        prop_assert_eq!(merged.count, all.count);
        prop_assert!((merged.mean - all.mean).abs() < 1e-9);
        prop_assert!((merged.squares - all.squares).abs() < 1e-6 * (1.0 + all.squares));
    }

    #[test]
    fn no_input_makes_a_panic_or_a_number_that_is_none(
        values in prop::collection::vec(any::<(u64, u64)>(), 0..400),
        zs in prop::collection::vec(any::<f64>(), 0..40),
        seconds in any::<u32>(),
        k in any::<f64>(),
        windows in any::<f64>(),
    ) {
        let mut hours = Hours::default();
        values.iter().for_each(|(time, value)| hours.add(*time, *value));
        hours.merge(&hours.clone());
        if let Some(anchor) = hours.freeze() {
            for (time, value) in &values {
                prop_assert!(anchor.z(*time, *value).is_finite() && anchor.usual(*time).is_finite());
            }
        }
        prop_assert!(height(k, windows).is_finite());
        let mut cusum = Cusum::new(seconds);
        for z in &zs {
            cusum.add(*z);
            prop_assert!((0.0..=1.0).contains(&cusum.progress()));
        }
        if let Some(z) = residual(0.0, &zs) {
            prop_assert!(z.is_finite());
        }
    }
}
