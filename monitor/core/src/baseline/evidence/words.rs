//! Numbers and families in words for a person.

use monitor_common::class::Family;

/// A family as something countable, several of it.
pub(super) const fn plural(family: Family) -> &'static str {
    match family {
        Family::Destination => "destinations",
        Family::Read => "files read",
        Family::Write => "files written",
        Family::Exec => "programs",
        Family::Unix => "unix sockets",
        Family::Listen => "listening endpoints",
        Family::Name => "names",
        Family::Facility => "kernel facilities",
    }
}

/// So many of a family: `1 file read`, `2,000 files read`.
pub(super) fn of(n: u64, family: Family) -> String {
    let one = match family {
        Family::Destination => "destination",
        Family::Read => "file read",
        Family::Write => "file written",
        Family::Exec => "program",
        Family::Unix => "unix socket",
        Family::Listen => "listening endpoint",
        Family::Name => "name",
        Family::Facility => "kernel facility",
    };
    let word = if n == 1 { one } else { plural(family) };
    format!("{} {word}", count(n))
}

/// Episodes, counted.
pub(super) fn episodes(n: u64) -> String {
    let word = if n == 1 { "episode" } else { "episodes" };
    format!("{} {word}", count(n))
}

/// Days, as exactly as one wants to know.
pub(super) fn days(days: f64) -> String {
    let text = amount(days);
    let word = if text == "1" { "day" } else { "days" };
    format!("{text} {word}")
}

/// A whole number with its thousands apart.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with two digits that mean something.
pub(super) fn amount(value: f64) -> String {
    let text = match value {
        v if v <= 0.0 => return "0".into(),
        v if v < 0.01 => return "less than 0.01".into(),
        v if v >= 9.95 => return count(v.round() as u64),
        v if v >= 0.0995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, text) in [
            (0.0, "0"),
            (0.002, "less than 0.01"),
            (0.014, "0.01"),
            (0.1, "0.1"),
            (0.236, "0.2"),
            (1.0, "1"),
            (2.96, "3"),
            (9.94, "9.9"),
            (9.96, "10"),
            (12_345.6, "12,346"),
        ] {
            assert_eq!(amount(value), text);
        }
        assert_eq!(
            (count(999), count(1000), count(1_234_567)),
            ("999".into(), "1,000".into(), "1,234,567".into())
        );
        assert_eq!(
            (of(1, Family::Read), of(2, Family::Facility)),
            ("1 file read".into(), "2 kernel facilities".into())
        );
        assert_eq!(
            (days(1.0), days(0.5), episodes(1)),
            ("1 day".into(), "0.5 days".into(), "1 episode".into())
        );
    }
}
