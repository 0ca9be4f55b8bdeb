//! Question `calibration`: is a limit for one in a thousand exceeded by one in a thousand?
//!
//! Simulated from fixed seeds. The limit is the library's; mean plus 3.09 standard deviations, what
//! is done elsewhere, stands beside it.

use anyhow::{Context, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Gamma, LogNormal, Pareto, StandardUniform};
use slmguard_core::baseline::volume::peaks::Tail;

use super::{Goal, Target};

const SECTION: &str = "Limits";
/// Values learned.
const LEARNED: usize = 2_000;
/// Values that the true rate is taken from.
const TRUTH: usize = 1_000_000;
/// Learnings per distribution.
const RUNS: u64 = 300;
/// The rate that is asked for, and how many standard deviations that would be for normal values.
const RATE: f64 = 1e-3;
const DEVIATIONS: f64 = 3.090_232;

type Draw = Box<dyn Fn(&mut ChaCha8Rng) -> f64>;

/// Answers the question.
pub fn ask(tell: &mut dyn FnMut(&str)) -> Result<Vec<Target>> {
    let gamma = Gamma::new(2.0, 50_000.0).context("gamma")?;
    let lognormal = LogNormal::new(11.0, 1.0).context("lognormal")?;
    let pareto = Pareto::new(10_000.0, 1.5).context("Pareto")?;
    let usual = LogNormal::new(11.0, 0.5).context("usual")?;
    let burst = LogNormal::new(14.0, 0.5).context("burst")?;
    let mixture = move |random: &mut ChaCha8Rng| {
        let share: f64 = StandardUniform.sample(random);
        if share < 0.95 {
            usual.sample(random)
        } else {
            burst.sample(random)
        }
    };
    let all: [(&str, Draw); 4] = [
        ("gamma", Box::new(move |r| gamma.sample(r))),
        ("lognormal", Box::new(move |r| lognormal.sample(r))),
        ("pareto", Box::new(move |r| pareto.sample(r))),
        ("bursts", Box::new(mixture)),
    ];
    let mut targets = vec![];
    for (number, (name, draw)) in all.iter().enumerate() {
        tell(name);
        targets.extend(rates(name, draw, number as u64)?);
    }
    Ok(targets)
}

fn rates(name: &str, draw: &Draw, number: u64) -> Result<Vec<Target>> {
    let mut random = ChaCha8Rng::seed_from_u64(number);
    let mut truth: Vec<f64> = (0..TRUTH).map(|_| draw(&mut random)).collect();
    truth.sort_by(f64::total_cmp);
    let rate = |limit: f64| {
        let above = TRUTH - truth.partition_point(|value| *value <= limit);
        above as f64 / TRUTH as f64 / RATE
    };
    let (mut peaks, mut deviations) = (vec![], vec![]);
    for run in 0..RUNS {
        let mut random = ChaCha8Rng::seed_from_u64(1_000_000 * (number + 1) + run);
        let values: Vec<f64> = (0..LEARNED).map(|_| draw(&mut random)).collect();
        let mut tail = Tail::default();
        values.iter().for_each(|value| tail.add(*value));
        peaks.push(rate(tail.freeze().limit(RATE).context("a limit")?.value));
        let mean = values.iter().sum::<f64>() / LEARNED as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        deviations.push(rate(
            mean + DEVIATIONS * (squares / (LEARNED - 1) as f64).sqrt(),
        ));
    }
    let row = |suffix: &str, what: &str, values: &mut Vec<f64>, goal: Goal| {
        values.sort_by(f64::total_cmp);
        let at = |q: f64| values[(q * (values.len() - 1) as f64) as usize];
        let what = format!(
            "{name}: {what}, as a multiple of the rate asked for; median, and 10th to 90th percentile of 300 learnings"
        );
        Target::new(
            SECTION,
            &format!("calibration_{name}_{suffix}"),
            &what,
            at(0.5),
            goal,
        )
        .between(at(0.1), at(0.9))
    };
    Ok(vec![
        row(
            "peaks",
            "peaks over threshold",
            &mut peaks,
            Goal::Within(0.5, 2.0),
        ),
        row(
            "deviations",
            "mean and standard deviation",
            &mut deviations,
            Goal::Told,
        ),
    ])
}
