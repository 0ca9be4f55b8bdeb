//! `cargo xtask demo`: a real server, a real agent, eight attacks, and what the kernel did.
//!
//! Builds and starts the program that plays the scene, here or in a guest; the scene itself is in
//! `tests/`.

use std::collections::BTreeMap;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{apt, build, paths, scene, setup, sh, ui, vm};

/// Plays the demo: a real llama.cpp server learns, is attacked, and is defended.
///
/// Everything happens in network namespaces that the demo makes and removes. The exit status is 0
/// only if every benign request worked and every attack was stopped (with --without-guard: only
/// if every attack got through).
#[derive(Args)]
pub struct Demo {
    /// Play it on this stock kernel (6.1 or 6.12) in QEMU instead of on this machine's.
    #[arg(long, value_name = "SERIES")]
    vm: Option<String>,
    /// The same attacks without slmguard: each must succeed.
    #[arg(long)]
    without_guard: bool,
    /// One JSON object per act on stdout; everything else goes to stderr.
    #[arg(long)]
    json: bool,
    /// Stop (SIGSTOP) or kill (SIGKILL) the daemon before the attacks: the kernel goes on alone.
    #[arg(long, value_name = "HOW", value_parser = ["stop", "kill"])]
    freeze: Option<String>,
    /// Let the workload set up io_uring: what is done through it is stopped all the same.
    #[arg(long)]
    allow_io_uring: bool,
    /// Server and agent in a container (crun) with pid, mount, net, user and cgroup namespaces of
    /// its own, as root inside.
    #[arg(long)]
    container: bool,
    /// Leave the scene and the daemon running, to look around.
    #[arg(long)]
    keep: bool,
}

/// Runs the command.
pub fn run(args: &Demo) -> Result<ExitCode> {
    if args.keep && args.vm.is_some() {
        bail!("--keep leaves a scene on this machine; a guest is gone when its command ends");
    }
    if args.vm.is_none() && !apt::is_root()? {
        bail!("loading kernel programs and making namespaces needs root: run this as root");
    }
    setup::scene_tools()?;
    let server = scene::server()?;
    build::kernel_object()?;
    build::workspace()?;
    let argv = argv(args, &server);
    let env: BTreeMap<String, String> = server.env().into_iter().collect();
    if let Some(series) = &args.vm {
        ui::note(
            "demo",
            &format!("booting stock kernel {series}"),
            "QEMU, no KVM: be patient",
        );
        let job = vm::Job {
            series: series.clone(),
            argv,
            env,
            timeout: Duration::from_secs(900),
            count_instructions: false,
        };
        let end = vm::boot(&job)?;
        if !matches!(end, vm::End::Exit(_)) {
            ui::note("demo", &format!("kernel {series}"), &end.describe(series));
        }
        return Ok(ExitCode::from(end.status()));
    }
    let (program, rest) = argv.split_first().context("the demo has a program")?;
    let status = sh::command(program)
        .args(rest)
        .envs(env)
        .stdin(Stdio::inherit())
        .status()
        .with_context(|| format!("starting {program}"))?;
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}

fn argv(args: &Demo, server: &scene::Server) -> Vec<String> {
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let mut argv = vec![
        text(paths::release_bin("demo")),
        "--slmguard".to_owned(),
        text(paths::release_bin("slmguard")),
        "--work-dir".to_owned(),
        text(paths::target().join("demo")),
        "--node-modules".to_owned(),
        text(server.modules.clone()),
    ];
    let flags = [
        ("--without-guard", args.without_guard),
        ("--json", args.json),
        ("--keep", args.keep),
        ("--allow-io-uring", args.allow_io_uring),
        ("--container", args.container),
    ];
    argv.extend(
        flags
            .iter()
            .filter(|(_, set)| *set)
            .map(|(flag, _)| (*flag).to_owned()),
    );
    if let Some(how) = &args.freeze {
        argv.extend(["--freeze".to_owned(), how.clone()]);
    }
    argv
}
