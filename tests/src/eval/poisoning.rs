//! Question: what does a patient attacker gain who shifts what is measured?
//!
//! Simulates bytes of one connector per five minutes, and an attacker who knows the threshold and
//! stays below it. The thresholds are [`Threshold`]'s; here is only the world around them, and what
//! a learner without bounds would do.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_distr::{Distribution, LogNormal};
use slmguard_core::baseline::{
    lineage::{FROM_ANCHOR, Threshold},
    volume::cusum::{Cusum, Hours},
};

use super::{Goal, Question, Target};

/// Section of the page.
pub const SECTION: &str = "Poisoning: what a patient attacker gains";
/// What stands above its table.
pub const TEXT: &str = "Simulated: one connector, log-normal bytes per five minutes around 100 kB. The \
    threshold is set each night so that one window in 10,000 of the last seven days would exceed it, \
    if they were log-normal. From day 7 on an attacker who knows it adds, in every second window, \
    90 % (aggressive) or 15 % (quiet) of the threshold, never exceeding it, for 60 days. *Adaptive* \
    follows what it measures; *bounded* moves by at most 5 % a day and at most to twice the frozen \
    value. What a bounded threshold lets through is what the CUSUM against the frozen anchor \
    finds: *found after* counts from the beginning of the attack.";

/// The question.
pub const QUESTION: Question = Question {
    name: "poisoning",
    ask,
};

/// Length of a window.
const SECONDS: u32 = 300;
/// Windows of a day.
const PER_DAY: usize = 288;
/// Days of learning, and of memory.
const MEMORY: usize = 7;
/// Days of the attack.
const DAYS: usize = 60;
/// Bytes of a quiet window, median.
const MEDIAN: f64 = 100_000.0;
/// Standard deviation of their logarithm.
const SPREAD: f64 = 0.5;
/// Standard deviations from the mean that one in 10,000 exceeds.
const RARE: f64 = 3.719;
/// What a link of 1 Gbit/s carries in a window.
const LINK: f64 = 37.5e9;
/// Runs with different random numbers.
const RUNS: u64 = 20;

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Adaptive,
    Bounded,
}

#[derive(Debug, PartialEq)]
struct Outcome {
    growth: f64,
    /// Days until the threshold was ten times what it had been.
    tenfold: Option<usize>,
    lost: f64,
    /// Hours until the CUSUM alarmed, and bytes lost by then.
    found: Option<(f64, f64)>,
    /// Growth without an attacker.
    quiet: f64,
}

fn ask(tell: &mut dyn FnMut(&str)) -> Result<Vec<Target>> {
    let mut targets = vec![];
    for (word, part) in [("aggressive", 0.9), ("quiet", 0.15)] {
        for (name, rule) in [("adaptive", Rule::Adaptive), ("bounded", Rule::Bounded)] {
            tell(&format!("{word}, {name}"));
            let outcomes = (0..RUNS)
                .map(|seed| simulate(rule, part, seed))
                .collect::<Result<Vec<_>>>()?;
            let worst = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).fold(0.0, f64::max);
            let goal = match rule {
                Rule::Adaptive => Goal::Told,
                Rule::Bounded => Goal::AtMost(FROM_ANCHOR),
            };
            let row = |suffix: &str, what: &str, value, goal| {
                let name = format!("poisoning_{word}_{name}_{suffix}");
                Target::new(
                    SECTION,
                    &name,
                    &format!("{word} attacker, {what}"),
                    value,
                    goal,
                )
            };
            let what = format!("{name}: growth of the threshold in 60 days, worst of {RUNS} runs");
            targets.push(row("growth", &what, worst(|o| o.growth), goal));
            if rule == Rule::Adaptive {
                let days = outcomes.iter().filter_map(|o| o.tenfold).max();
                let what = format!("{name}: days until it is tenfold (61: never)");
                let days = days.unwrap_or(DAYS + 1) as f64;
                targets.push(row("tenfold_days", &what, days, Goal::Told));
            }
            let what = format!("{name}: gigabytes lost in 60 days, worst of {RUNS} runs");
            targets.push(row("lost_gb", &what, worst(|o| o.lost / 1e9), Goal::Told));
            if rule == Rule::Bounded {
                // Who is never found has taken everything.
                let all = DAYS as f64 * 24.0;
                let hours = outcomes
                    .iter()
                    .map(|o| o.found.map_or(all, |(hours, _)| hours));
                let hours = hours.fold(0.0, f64::max);
                let what = format!("found after hours, slowest of {RUNS} runs");
                targets.push(row("found_hours", &what, hours, Goal::AtMost(24.0)));
                let what = format!("megabytes lost until found, worst of {RUNS} runs");
                let lost = worst(|o| o.found.map_or(o.lost, |(_, lost)| lost) / 1e6);
                targets.push(row("found_lost_mb", &what, lost, Goal::Told));
            }
            if part > 0.5 {
                let what = format!("{name}: growth without an attacker, worst of {RUNS} runs");
                targets.push(row("unattacked_growth", &what, worst(|o| o.quiet), goal));
            }
        }
    }
    Ok(targets)
}

fn simulate(rule: Rule, part: f64, seed: u64) -> Result<Outcome> {
    let quiet = run(rule, 0.0, seed)?.growth;
    Ok(Outcome {
        quiet,
        ..run(rule, part, seed)?
    })
}

fn run(rule: Rule, part: f64, seed: u64) -> Result<Outcome> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let benign = LogNormal::new(MEDIAN.ln(), SPREAD).context("a distribution")?;
    let mut windows: VecDeque<f64> = benign
        .sample_iter(&mut random)
        .take(MEMORY * PER_DAY)
        .collect();
    let mut hours = Hours::default();
    for (window, bytes) in windows.iter().enumerate() {
        hours.add(time(window), *bytes as u64);
    }
    let anchor = hours.freeze().context("an anchor")?;
    let mut cusum = Cusum::new(SECONDS);
    let first = rare(&windows);
    let mut bounded = Threshold::new(first, 0);
    let (mut threshold, mut tenfold, mut lost, mut found) = (first, None, 0.0, None);
    for day in 1..=DAYS {
        for window in 0..PER_DAY {
            let own = benign.sample(&mut random);
            let room = (threshold.min(LINK) - own).max(0.0);
            let extra = if window % 2 == 0 {
                (part * threshold).min(room)
            } else {
                0.0
            };
            lost += extra;
            windows.pop_front();
            windows.push_back(own + extra);
            let z = anchor.z(time(window), (own + extra) as u64);
            if cusum.add(z).is_some() && found.is_none() {
                let passed = ((day - 1) * PER_DAY + window + 1) as f64;
                found = Some((passed * 24.0 / PER_DAY as f64, lost));
            }
        }
        threshold = match rule {
            // More than the link carries is no threshold.
            Rule::Adaptive => rare(&windows).min(LINK),
            Rule::Bounded => bounded.propose(rare(&windows), day as u64),
        };
        if threshold >= 10.0 * first && tenfold.is_none() {
            tenfold = Some(day);
        }
    }
    Ok(Outcome {
        growth: threshold / first,
        tenfold,
        lost,
        found,
        quiet: 1.0,
    })
}

/// Beginning of a window, nanoseconds since a midnight.
fn time(window: usize) -> u64 {
    window as u64 * u64::from(SECONDS) * 1_000_000_000
}

/// What one window in 10,000 exceeds, if they are log-normal.
fn rare(windows: &VecDeque<f64>) -> f64 {
    let n = windows.len() as f64;
    let mean = windows.iter().map(|w| w.ln()).sum::<f64>() / n;
    let variance = windows.iter().map(|w| (w.ln() - mean).powi(2)).sum::<f64>() / n;
    (mean + RARE * variance.sqrt()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_world() -> Result<()> {
        let lost = |part, seed| Ok::<_, anyhow::Error>(run(Rule::Bounded, part, seed)?.lost);
        assert_eq!(run(Rule::Bounded, 0.9, 3)?, run(Rule::Bounded, 0.9, 3)?);
        assert_ne!(lost(0.9, 3)?, lost(0.9, 4)?);
        assert_eq!(lost(0.0, 3)?, 0.0);
        Ok(())
    }
}
