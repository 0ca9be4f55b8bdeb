//! Question `leak`: is a slow leak over an allowed connector found before it matters?
//!
//! Simulated: log-normal bytes per 5 minutes with a daily cycle, from a fixed seed. The anchor, the
//! sums, the fleet's residual and the single-window limit are the library's.

use anyhow::{Context, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, LogNormal};
use slmguard_core::baseline::volume::cusum::{Anchor, Cusum, Hours, residual};
use slmguard_core::baseline::volume::peaks::{Anchor as Peaks, Tail};

use super::{Goal, Target, share};

const SECTION: &str = "Slow leaks";
/// Seconds of a window.
const WINDOW: u32 = 300;
/// Windows of a day.
const DAY: u64 = 288;
/// Median bytes of a window.
const USUAL: f64 = 100_000.0;
/// How far the daily cycle goes up and down.
const CYCLE: f64 = 0.6;
/// Days that are learned.
const LEARNED: u64 = 14;
/// Days of good traffic before the leak.
const BEFORE: u64 = 2;
/// Runs per row.
const RUNS: u64 = 400;
/// Replicas of a fleet.
const FLEET: usize = 8;
/// Bytes that may be lost.
const MAY_BE_LOST: f64 = 3e6;

struct Traffic {
    random: ChaCha8Rng,
    noise: LogNormal<f64>,
}

impl Traffic {
    fn new(seed: u64, sigma: f64) -> Result<Self> {
        Ok(Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            noise: LogNormal::new(0.0, sigma).context("a log-normal distribution")?,
        })
    }

    fn window(&mut self, n: u64) -> f64 {
        let day = n as f64 / DAY as f64 * std::f64::consts::TAU;
        USUAL * (1.0 + CYCLE * day.sin()) * self.noise.sample(&mut self.random)
    }

    fn learn(&mut self) -> Result<(Anchor, Peaks)> {
        let (mut hours, mut tail) = (Hours::default(), Tail::default());
        for n in 0..LEARNED * DAY {
            let bytes = self.window(n);
            hours.add(time(n), bytes as u64);
            tail.add(bytes);
        }
        let anchor = hours.freeze().context("enough windows for an anchor")?;
        Ok((anchor, tail.freeze()))
    }
}

fn time(window: u64) -> u64 {
    window * u64::from(WINDOW) * 1_000_000_000
}

/// Answers the question.
pub fn ask(tell: &mut dyn FnMut(&str)) -> Result<Vec<Target>> {
    let mut targets = vec![];
    for sigma in [0.5, 0.3] {
        for more in [0.0, 0.05, 0.10, 0.25] {
            tell(&format!("{:.0} % more, spread {sigma}", more * 100.0));
            targets.extend(leak(sigma, more)?);
        }
    }
    tell("a deployment");
    targets.extend(deployment()?);
    Ok(targets)
}

fn leak(sigma: f64, more: f64) -> Result<Vec<Target>> {
    let (mut found, mut by_one, mut lost, mut hours) = (0, 0, vec![], vec![]);
    for seed in 0..RUNS {
        let mut traffic = Traffic::new(seed, sigma)?;
        let (anchor, peaks) = traffic.learn()?;
        let limit = peaks
            .limit(1.0 / (30.0 * DAY as f64))
            .context("a limit")?
            .value;
        let mut cusum = Cusum::new(WINDOW);
        let begins = (LEARNED + BEFORE) * DAY + seed * 37 % DAY;
        let (mut extra, mut shift, mut window) = (0.0, false, false);
        for n in LEARNED * DAY..begins + 7 * DAY {
            let mut bytes = traffic.window(n);
            if n >= begins {
                let added = USUAL * more;
                bytes += added;
                extra += if shift { 0.0 } else { added };
            }
            let alarm = cusum.add(anchor.z(time(n), bytes as u64)).is_some() && n >= begins;
            if alarm && !shift {
                shift = true;
                hours.push((n - begins + 1) as f64 / 12.0);
                found += usize::from(n < begins + DAY && extra <= MAY_BE_LOST);
            }
            window |= n >= begins && bytes > limit;
        }
        lost.push(extra);
        by_one += usize::from(window);
    }
    if more == 0.0 {
        return Ok(control(sigma, found, by_one));
    }
    let percent = (more * 100.0).round();
    let name = |what: &str| {
        format!(
            "leak_{percent}_percent_spread_{}_{what}",
            (sigma * 10.0) as u32
        )
    };
    let about = format!("{percent} % more, spread {sigma} of the logarithm");
    let (low, high) = share(found, RUNS as usize);
    let goal = if more == 0.10 && sigma == 0.5 {
        Goal::AtLeast(0.95)
    } else {
        Goal::Told
    };
    let found = found as f64 / RUNS as f64;
    let row = |n: &str, what: &str, value| {
        Target::new(
            SECTION,
            &name(n),
            &format!("{about}: {what}"),
            value,
            Goal::Told,
        )
    };
    let (one_low, one_high) = share(by_one, RUNS as usize);
    Ok(vec![
        Target::new(
            SECTION,
            &name("found"),
            &format!("{about}: found within 24 h and 3 MB"),
            found,
            goal,
        )
        .between(low, high),
        row(
            "hours",
            "median hours until it is found, where it was found in 7 days",
            middle(&mut hours),
        ),
        row(
            "lost",
            "median megabytes lost until then",
            middle(&mut lost) / 1e6,
        ),
        row(
            "by_one_window",
            "found by any single window within 7 days",
            by_one as f64 / RUNS as f64,
        )
        .between(one_low, one_high),
    ])
}

/// What the same measurement finds where there is no leak.
fn control(sigma: f64, found: usize, by_one: usize) -> Vec<Target> {
    let row = |what: &str, text: &str, hits: usize| {
        let (low, high) = share(hits, RUNS as usize);
        let name = format!("leak_none_spread_{}_{what}", (sigma * 10.0) as u32);
        let text = format!("no leak, spread {sigma} of the logarithm: {text}");
        let value = hits as f64 / RUNS as f64;
        Target::new(SECTION, &name, &text, value, Goal::Told).between(low, high)
    };
    vec![
        row("found", "alarm all the same within 24 h", found),
        row(
            "by_one_window",
            "alarm by any single window within 7 days",
            by_one,
        ),
    ]
}

/// All replicas send 40 % more from one window on: nobody leaks.
fn deployment() -> Result<Vec<Target>> {
    let (mut with, mut without, mut alone, mut all) = (0, 0, 0, 0);
    for seed in 0..RUNS / 4 {
        let mut fleet = vec![];
        for replica in 0..FLEET as u64 {
            let mut traffic = Traffic::new(10_000 + seed * 100 + replica, 0.5)?;
            let anchor = traffic.learn()?.0;
            fleet.push((traffic, anchor));
        }
        let fresh = || vec![Cusum::new(WINDOW); FLEET];
        let (mut changed, mut unchanged, mut local) = (fresh(), fresh(), fresh());
        let (mut a, mut b, mut c) = ([false; FLEET], [false; FLEET], [false; FLEET]);
        let deployed = (LEARNED + BEFORE) * DAY;
        for n in LEARNED * DAY..deployed + DAY {
            let bytes: Vec<f64> = fleet.iter_mut().map(|(t, _)| t.window(n)).collect();
            let z = |factor: f64| -> Vec<f64> {
                let all = fleet.iter().zip(&bytes);
                all.map(|((_, anchor), b)| anchor.z(time(n), (b * factor) as u64))
                    .collect()
            };
            let after = n >= deployed;
            let (plain, grown) = (z(1.0), z(if after { 1.4 } else { 1.0 }));
            for i in 0..FLEET {
                let add = |sum: &mut Cusum, zs: &[f64]| {
                    let others: Vec<f64> = (0..FLEET).filter(|j| *j != i).map(|j| zs[j]).collect();
                    residual(zs[i], &others).is_some_and(|z| sum.add(z).is_some()) && after
                };
                a[i] |= add(&mut changed[i], &grown);
                b[i] |= add(&mut unchanged[i], &plain);
                c[i] |= local[i].add(grown[i]).is_some() && after;
            }
        }
        let count = |flags: &[bool]| flags.iter().filter(|f| **f).count();
        with += count(&a);
        without += count(&b);
        alone += count(&c);
        all += FLEET;
    }
    let row = |name: &str, what: &str, hits: usize| {
        let (low, high) = share(hits, all);
        Target::new(SECTION, name, what, hits as f64 / all as f64, Goal::Told).between(low, high)
    };
    let caused = (with as f64 - without as f64) / all as f64;
    let what = "all replicas send 40 % more: replicas that alarm because of it within 24 h, above those that alarm anyway";
    Ok(vec![
        Target::new(
            SECTION,
            "leak_deployment_caused",
            what,
            caused,
            Goal::AtMost(0.01),
        ),
        row(
            "leak_deployment_with",
            "replicas that alarm within 24 h of that change",
            with,
        ),
        row(
            "leak_deployment_without",
            "replicas that alarm in the same 24 h without it",
            without,
        ),
        row(
            "leak_deployment_alone",
            "replicas that would alarm if each were judged alone",
            alone,
        ),
    ])
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
