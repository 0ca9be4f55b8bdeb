//! `cargo xtask bench`: what the guard costs.
//!
//! Builds and starts the program that measures, here or in a guest; the measuring itself is in
//! `tests/src/bench/`.

use std::collections::BTreeMap;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{apt, build, paths, setup, sh, ui, vm};

/// Measures what the guard costs: operations without it, beside it and under it, interleaved in one
/// run; medians and ratios, and the kernel's own time per hook.
///
/// Situations: none (no daemon), nothing_enrolled (a daemon without workloads), not_monitored (a
/// process beside members), known (a member in mode enforce doing what is known), new (a member in
/// mode learn doing something new each time). Ratios are to none, taken within each round. How it
/// is done, and numbers: docs/performance.md.
#[derive(Args)]
pub struct Bench {
    /// Count the instructions of a guest with this stock kernel (6.1 or 6.12) instead of
    /// nanoseconds: the lsm tier, repeatable on a machine that is not quiet.
    #[arg(long, value_name = "SERIES")]
    vm: Option<String>,
    /// One JSON object per operation and situation on stdout; everything else goes to stderr.
    #[arg(long)]
    json: bool,
    /// Times through every situation.
    #[arg(long)]
    rounds: Option<u32>,
}

/// Runs the command.
pub fn run(args: &Bench) -> Result<ExitCode> {
    if args.vm.is_none() && !apt::is_root()? {
        bail!("loading kernel programs needs root: run this as root");
    }
    build::kernel_object()?;
    build::workspace()?;
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let mut argv = vec![
        text(paths::release_bin("scene-bench")),
        "--slmguard".to_owned(),
        text(paths::release_bin("slmguard")),
    ];
    if args.json {
        argv.push("--json".to_owned());
    }
    let rounds = |default: u32| args.rounds.unwrap_or(default).to_string();
    if let Some(series) = &args.vm {
        setup::vm_tools()?;
        // Instructions hardly vary: few rounds are enough.
        argv.extend(
            [
                "--instructions",
                "--slices",
                "2",
                "--divide",
                "10",
                "--rounds",
            ]
            .map(String::from),
        );
        argv.push(rounds(3));
        ui::note(
            "bench",
            &format!("booting stock kernel {series}"),
            "every instruction is counted: be patient",
        );
        let job = vm::Job {
            series: series.clone(),
            argv,
            env: BTreeMap::new(),
            timeout: Duration::from_secs(1800),
            count_instructions: true,
        };
        let end = vm::boot(&job)?;
        if !matches!(end, vm::End::Exit(_)) {
            ui::note("bench", &format!("kernel {series}"), &end.describe(series));
        }
        return Ok(ExitCode::from(end.status()));
    }
    argv.extend(["--rounds".to_owned(), rounds(10)]);
    let (program, rest) = argv.split_first().context("the bench has a program")?;
    let status = sh::command(program)
        .args(rest)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("starting {program}"))?;
    Ok(ExitCode::from(u8::from(!status.success())))
}
