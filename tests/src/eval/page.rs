//! The page `docs/evaluation.md`, from targets.

use std::fmt::Write as _;

use super::{Goal, Target, convergence, paths, poisoning};

/// What stands above the tables.
const HEAD: &str = "# Evaluation\n\n\
    Made by `cargo xtask eval`; do not edit. Data: `tests/eval/`. Every row calls the daemon's own \
    library. *held out*: no setting was chosen on the data behind the row. What was missed is marked \
    as clearly as what was met.\n";

/// Texts of each section, above its table.
const SECTIONS: &[(&str, &str)] = &[
    (convergence::SECTION, convergence::TEXT),
    (poisoning::SECTION, poisoning::TEXT),
    (paths::SECTION, paths::TEXT),
];

/// The page. Values that depend on the machine are left out: they are printed by the command.
pub fn page(targets: &[Target]) -> String {
    let mut page = HEAD.to_owned();
    let mut sections: Vec<&str> = vec![];
    for target in targets.iter().filter(|t| !t.measured) {
        if !sections.contains(&target.section) {
            sections.push(target.section);
        }
    }
    for section in sections {
        let _ = write!(page, "\n## {section}\n\n");
        if let Some((_, text)) = SECTIONS.iter().find(|(name, _)| *name == section) {
            let _ = write!(page, "{text}\n\n");
        }
        page.push_str("| | value | 95 % interval | target | |\n|---|---|---|---|---|\n");
        for t in targets
            .iter()
            .filter(|t| !t.measured && t.section == section)
        {
            let interval = t
                .interval
                .map(|(low, high)| format!("{} to {}", number(low), number(high)))
                .unwrap_or_default();
            let verdict = match (t.target, t.met) {
                (Goal::Told, _) => "",
                (_, true) => "met",
                (_, false) => "**missed**",
            };
            let held_out = if t.held_out { ", held out" } else { "" };
            let _ = writeln!(
                page,
                "| {}{held_out} | {} | {interval} | {} | {verdict} |",
                t.what,
                number(t.value),
                goal(t.target),
            );
        }
    }
    page
}

fn goal(goal: Goal) -> String {
    match goal {
        Goal::AtLeast(n) => format!("≥ {}", number(n)),
        Goal::AtMost(n) => format!("≤ {}", number(n)),
        Goal::Within(low, high) => format!("{} to {}", number(low), number(high)),
        Goal::Told => String::new(),
    }
}

/// Four digits that mean something.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.85, "0.85"),
            (0.002, "0.002"),
            (0.013_37, "0.01337"),
            (1234.5, "1234"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn what_was_missed_stands_out() {
        let missed = Target::new("A", "a", "share", 0.5, Goal::AtLeast(0.9)).held_out();
        let measured = Target::new("A", "b", "ns", 5.0, Goal::Told).measured();
        let page = page(&[missed, measured]);
        assert!(
            page.contains("| share, held out | 0.5 |  | ≥ 0.9 | **missed** |"),
            "{page}"
        );
        assert!(!page.contains("ns"), "{page}");
    }
}
