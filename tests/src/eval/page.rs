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
    (
        "Hijacked agents",
        "Public AgentDojo runs of 16 pipelines on 13 models; a run is an episode, a suite is a \
         workload. Destinations are visible to a kernel only where calls can be read: MCP over \
         stdio, plaintext HTTP. *Named* needs the request to be readable as well. *Tuning* and \
         *held out* are models, split five to three by a hash of their names; variants of one \
         model stay together, and nothing is learned from the model that is scored. The tuning \
         rows learn from tuning models only, the held-out rows from all but the one scored. One \
         caveat: before the split was made, the misses and false alarms of the plain first-seen \
         rule were looked at over all models, so the kinds of error there were not unknown. For \
         comparison, that rule without where text came from: 0.612 of hijacked runs at 0.0142 of \
         good ones. Two in a thousand is about two of the held-out good runs: the interval says \
         more than the value.",
    ),
    (
        "Slow leaks",
        "Simulated: log-normal bytes per 5 minutes around 100 kB, a daily cycle of ±60 %, 14 days \
         learned, 400 runs per row, a leak of a fixed share of the usual rate. The sum is set to \
         one false alarm in 30 days; with an anchor that had to be learned it is nearer one in 22, \
         see the rows without a leak. How soon a shift of 10 % can be found at all depends on the \
         spread, so two are shown.",
    ),
    (
        "Limits",
        "2,000 values learned, a limit for one in a thousand asked for, and how often it is really \
         exceeded. The intervals are the 10th to 90th percentile over learnings.",
    ),
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
