//! `cargo xtask bless`: makes the recordings and expected decisions in `tests/recordings` anew.
//!
//! Knows where the demo is played and what is kept of it; what a recording is, and what is decided
//! about it, is slmguard's own matter.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{apt, build, kernels, paths, scene, setup, sh, ui, vm};

/// What plays and records.
const SCRIPT: &str = include_str!("bless.sh");
/// What is committed: one recording of each tier; more would only be larger.
const COMMITTED: [&str; 2] = [NATIVE, "6.12"];
/// This machine's kernel.
const NATIVE: &str = "native";

/// Makes the recordings and expected decisions in tests/recordings anew.
///
/// The daemon records the demo, here and on a stock 6.12 in QEMU; `slmguard replay` then says what
/// is decided about each recording. Read the difference before you commit it.
#[derive(Args)]
pub struct Bless {
    /// This recording instead: native, 6.1 or 6.12.
    #[arg(long, value_name = "KERNEL")]
    kernel: Vec<String>,
    /// Keep the recordings; make only the expected decisions anew.
    #[arg(long)]
    decisions: bool,
}

/// Runs the command.
pub fn run(args: &Bless) -> Result<()> {
    if !args.decisions {
        record(args)?;
    } else {
        build::workspace()?;
    }
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .with_context(|| format!("reading {}", folder().display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "recording"))
        .collect();
    files.sort();
    for file in files {
        decide(&file, &[], "decisions.txt")?;
        decide(&file, &["--alerts", "--json"], "alerts.jsonl")?;
        ui::note("bless", &build::relative(&file), "decided");
    }
    Ok(())
}

fn folder() -> PathBuf {
    paths::root().join("tests/recordings")
}

fn record(args: &Bless) -> Result<()> {
    setup::scene_tools()?;
    let server = scene::server()?;
    build::kernel_object()?;
    build::workspace()?;
    fs::create_dir_all(folder()).with_context(|| format!("creating {}", folder().display()))?;
    let wanted = |name: &str| match &args.kernel[..] {
        [] => COMMITTED.contains(&name),
        named => named.iter().any(|k| k == name),
    };
    if wanted(NATIVE) {
        if !apt::is_root()? {
            bail!("loading kernel programs and making namespaces needs root: run this as root");
        }
        let goal = paths::target().join("bless/native.recording");
        ui::step("bless", "the demo on this kernel", |_| {
            native(&server.modules, &goal)
        })?;
        keep(&goal, NATIVE)?;
    }
    for series in kernels::SERIES.iter().filter(|series| wanted(series)) {
        let goal = ui::step("bless", &format!("the demo on {series}"), |_| {
            guest(series, &server)
        })?;
        keep(&goal, series)?;
    }
    Ok(())
}

/// The script with its arguments, in namespaces of its own.
fn argv(server: &Path, goal: &str) -> Result<Vec<String>> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let bin = paths::release_bin("demo");
    let bin = bin.parent().context("programs have a folder")?;
    let words = ["unshare", "--mount", "--uts", "sh", "-c", SCRIPT, "sh"];
    let mut argv: Vec<String> = words.map(str::to_owned).to_vec();
    argv.extend([text(bin), text(server), goal.to_owned()]);
    Ok(argv)
}

fn native(modules: &Path, goal: &Path) -> Result<()> {
    let parent = goal.parent().context("a recording has a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let _ = fs::remove_file(goal);
    // Whoever starts a process is named in alerts about it: here nobody does. The output ends when
    // the last of them has ended.
    let mut play = sh::command("setsid");
    play.arg("--fork")
        .args(argv(modules, &goal.to_string_lossy())?);
    let out = play.output().context("starting setsid")?;
    if !goal.is_file() {
        bail!(
            "the demo failed\n{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(())
}

fn guest(series: &str, server: &scene::Server) -> Result<PathBuf> {
    let end = vm::boot(&vm::Job {
        series: series.to_owned(),
        argv: argv(&server.modules, "/run/vm/out/demo.recording")?,
        env: server.env().into_iter().collect::<BTreeMap<_, _>>(),
        timeout: Duration::from_secs(900),
        count_instructions: false,
    })?;
    if end != vm::End::Exit(0) {
        bail!("the demo failed: {}", end.describe(series));
    }
    Ok(vm::out_dir(series).join("demo.recording"))
}

/// Puts a recording among the committed ones, unless it names this machine.
fn keep(file: &Path, name: &str) -> Result<()> {
    let mut replay = Command::new(paths::release_bin("slmguard"));
    replay.arg("replay").arg(file).arg("--json");
    let mut told = sh::output(replay)?;
    told.push_str(&fs::read_to_string(file).context("reading the recording")?);
    let root = paths::root().canonicalize()?;
    for place in [root.to_string_lossy(), paths::cache()?.to_string_lossy()] {
        if let Some(line) = told.lines().find(|line| line.contains(place.as_ref())) {
            bail!("the recording names {place}: {line}");
        }
    }
    let goal = folder().join(format!("{name}.recording"));
    fs::copy(file, &goal).with_context(|| format!("writing {}", goal.display()))?;
    // A recording is its owner's alone; these are everybody's.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&goal, everybody).with_context(|| format!("opening {}", goal.display()))
}

/// Writes down what is decided.
fn decide(file: &Path, options: &[&str], ending: &str) -> Result<()> {
    let mut replay = Command::new(paths::release_bin("slmguard"));
    replay.arg("replay").arg(file).args(options);
    let told = sh::output(replay)?;
    let goal = file.with_extension(ending);
    fs::write(&goal, told).with_context(|| format!("writing {}", goal.display()))
}
