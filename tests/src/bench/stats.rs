//! Numbers from slices: medians, and ratios of slices that were measured beside each other.

/// The middle value; of an even number, the mean of the two in the middle.
///
/// # Panics
/// There is no value.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

/// The median over rounds of value ÷ base, each pair from the same round: what slows the whole
/// machine down for a while falls out.
pub fn paired_ratio(values: &[f64], base: &[f64]) -> f64 {
    let ratios: Vec<f64> = values.iter().zip(base).map(|(v, b)| v / b).collect();
    median(&ratios)
}

/// Half the distance between the quartiles, as a part of the median: how much to believe.
pub fn spread(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: f64| sorted[((sorted.len() - 1) as f64 * part).round() as usize];
    (at(0.75) - at(0.25)) / 2.0 / median(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(&[1.0, 2.0, 3.0, 100.0]), 2.5);
    }

    #[test]
    fn a_slow_round_does_not_change_a_ratio() {
        // The machine was three times as slow in the second round.
        let ratio = paired_ratio(&[110.0, 330.0, 110.0], &[100.0, 300.0, 100.0]);
        assert!((ratio - 1.1).abs() < 1e-9, "{ratio}");
    }

    #[test]
    fn equal_values_have_no_spread() {
        assert_eq!(spread(&[5.0, 5.0, 5.0, 5.0]), 0.0);
        assert!(spread(&[1.0, 5.0, 9.0, 13.0]) > 0.0);
    }
}
