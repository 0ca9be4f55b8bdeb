//! `scene-soak`: lives a long ordinary life under enforcement; see [`scene::soak`].
//!
//! Exit status: 0 if nothing was refused, nobody ended and every request answered; 1 if not; 2 for a
//! wrong call.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use scene::soak::{self, Options, Report};

const USAGE: &str = "usage: scene-soak --work-dir DIR [--node-modules DIR] [--slmguard PATH] \
                     [--rounds N] [--per-day N] [--json]";

fn main() -> ExitCode {
    let (options, json, work) = match arguments(env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("soak: {error:#}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let result = play(options, json, &work);
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(options: Options, json: bool, work: &PathBuf) -> Result<bool> {
    fs::create_dir_all(work).with_context(|| format!("create {}", work.display()))?;
    let directory = tempfile::Builder::new()
        .prefix("soak-")
        .tempdir_in(work)
        .with_context(|| format!("create a folder in {}", work.display()))?;
    let path = directory.path().canonicalize().context("find the folder")?;
    let options = Options {
        directory: path,
        ..options
    };
    let rounds = options.rounds;
    let report = soak::run(&options, |round| {
        if round % 20 == 0 {
            eprintln!("soak: {round} of {rounds} rounds");
        }
    });
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            eprintln!("soak: what is left is in {}", directory.keep().display());
            return Err(error);
        }
    };
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        show(&report);
    }
    Ok(report.is_clean())
}

fn show(report: &Report) {
    println!(
        "{} requests on the {} tier, {} of them side by side; restarts: {} of the agent, {} of the \
         server, {} of the guard; {} models swapped",
        report.requests,
        report.tier,
        report.side_by_side,
        report.restarts[0],
        report.restarts[1],
        report.restarts[2],
        report.swaps
    );
    println!(
        "{} refused, {} processes ended, {} requests failed, {} other alerts",
        report.blocked,
        report.killed,
        report.failed.len(),
        report.told
    );
    println!(
        "as {:.1} days of a workload: at most {:.2} refusals and {:.2} ends a day (95 %, Poisson)",
        report.days, report.blocked_per_day, report.killed_per_day
    );
    for line in report.subjects.iter().chain(&report.failed) {
        println!("  {line}");
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<(Options, bool, PathBuf)> {
    let (mut work, mut modules, mut slmguard) = (None, None, None);
    let (mut rounds, mut per_day, mut json) = (360, 1_440, false);
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .with_context(|| format!("{word} needs a value"))
        };
        let number = |text: String| -> Result<u64> {
            let number = text.parse().ok().filter(|n| *n > 0);
            number.with_context(|| format!("{text} is no number above 0"))
        };
        match word.as_str() {
            "--work-dir" => work = Some(PathBuf::from(value()?)),
            "--node-modules" => modules = Some(PathBuf::from(value()?)),
            "--slmguard" => slmguard = Some(PathBuf::from(value()?)),
            "--rounds" => rounds = number(value()?)?,
            "--per-day" => per_day = number(value()?)?,
            "--json" => json = true,
            other => bail!("unknown argument {other}"),
        }
    }
    let modules = match modules {
        Some(path) => path,
        None => scene::scene::installed_modules()?,
    };
    let slmguard = match slmguard {
        Some(path) => path,
        None => scene::daemon::program()?,
    };
    let work = work.context("--work-dir DIR is missing")?;
    let options = Options {
        slmguard,
        directory: work.clone(),
        modules,
        rounds,
        per_day,
    };
    Ok((options, json, work))
}
