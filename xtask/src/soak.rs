//! `cargo xtask soak`: a long ordinary life under enforcement, and what the guard got wrong in it.
//!
//! Builds and starts the program that does it; what happens in it is in `tests/`.

use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{apt, build, paths, scene, setup, sh};

/// Lets a real server and agent work for long under enforcement: whatever is refused is a mistake.
///
/// Requests one by one and side by side; restarts of agent, server and guard; swapped models. The exit
/// status is 0 only if nothing was refused, nobody was ended and every request was answered.
#[derive(Args)]
pub struct Soak {
    /// Rounds of four requests each.
    #[arg(long, default_value_t = 360)]
    rounds: u64,
    /// Requests that a day of a workload has: the rates are given per such a day.
    #[arg(long, default_value_t = 1_440)]
    per_day: u64,
    /// One JSON object on stdout; everything else goes to stderr.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Soak) -> Result<ExitCode> {
    if !apt::is_root()? {
        bail!("loading kernel programs and making namespaces needs root: run this as root");
    }
    setup::scene_tools()?;
    let server = scene::server()?;
    build::kernel_object()?;
    build::workspace()?;
    let program = paths::release_bin("scene-soak");
    let status = sh::command(&program)
        .arg("--work-dir")
        .arg(paths::target().join("demo"))
        .arg("--node-modules")
        .arg(&server.modules)
        .arg("--slmguard")
        .arg(paths::release_bin("slmguard"))
        .args(["--rounds", &args.rounds.to_string()])
        .args(["--per-day", &args.per_day.to_string()])
        .args(args.json.then_some("--json"))
        .envs(server.env())
        .stdin(Stdio::inherit())
        .status()
        .with_context(|| format!("starting {}", program.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
