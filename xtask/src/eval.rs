//! `cargo xtask eval`: what the baselines are worth.
//!
//! Builds and starts the program that scores; data, questions and targets are in `tests/src/eval/`.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::{paths, sh};

/// Scores the baseline engine on committed and simulated data, offline and repeatably, and writes
/// docs/evaluation.md.
///
/// Every value comes from the daemon's own library. With names of questions only those are asked,
/// and the page is left alone.
#[derive(Args)]
pub struct Eval {
    /// One JSON object per target on stdout: name, value, interval, target, met, held_out.
    #[arg(long)]
    json: bool,
    /// Only these questions.
    question: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Eval) -> Result<ExitCode> {
    let mut options: Vec<String> = args.question.clone();
    if args.json {
        options.push("--json".into());
    }
    if args.question.is_empty() {
        options.extend(["--page".into(), page().to_string_lossy().into_owned()]);
    }
    Ok(ExitCode::from(u8::from(!score(&options)?)))
}

/// Where the page is.
pub fn page() -> PathBuf {
    paths::root().join("docs/evaluation.md")
}

/// Builds the program and has it score.
pub fn score(options: &[String]) -> Result<bool> {
    let status = sh::cargo()
        .args(["run", "--quiet", "--release", "--package", "slmguard-tests"])
        .args(["--bin", "scene-eval", "--"])
        .args(options)
        .stdin(Stdio::null())
        .status()
        .context("starting the evaluation")?;
    Ok(status.success())
}
