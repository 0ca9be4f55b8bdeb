//! `cargo xtask fuzz`: coverage-guided fuzzing of everything that reads untrusted bytes.
//!
//! The targets stand in `fuzz/`, a workspace of its own. The engine is LLVM's libFuzzer out of the
//! crate registry; the instrumentation is the compiler's. Nothing has to be installed: where the
//! compiler brings the runtime of AddressSanitizer it is used, elsewhere assertions and checked
//! arithmetic find what there is to find in safe code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{apt, paths, sh, ui};

/// Seconds that each target runs unless told otherwise.
pub const SECONDS: u64 = 60;
/// The target with the planted mistake; not one of the others.
const PLANTED: &str = "planted";
/// What the engine may use: memory of one target in MiB, seconds for one input.
const LIMITS: [&str; 2] = ["-rss_limit_mb=2048", "-timeout=20"];
/// Inputs that a committed corpus has besides its seeds.
const KEPT: usize = 24;
/// An input of the corpora is not longer than this.
const LONGEST: &str = "-max_len=8192";

/// Fuzzes every decoder and parser of untrusted bytes.
///
/// New inputs are kept in target/fuzz/corpus; what makes a target fail goes to target/fuzz/crashes,
/// with the command that repeats it.
#[derive(Args)]
pub struct Fuzz {
    /// How long each target runs, in seconds.
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
    /// List the targets.
    #[arg(long)]
    list: bool,
    /// Check the search itself: it must find a planted mistake.
    #[arg(long)]
    self_check: bool,
    /// Run a target once on this input.
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// Take seeds for the corpora out of the recordings in tests/recordings.
    #[arg(long)]
    seeds: bool,
    /// Bring what was found into the committed corpora, as few and small inputs as reach the same.
    #[arg(long)]
    minimise: bool,
    /// Only these targets.
    target: Vec<String>,
}

/// How one target did.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub target: String,
    /// What it found, with the command that repeats it.
    pub failure: Option<String>,
}

/// Runs the command.
pub fn run(args: &Fuzz) -> Result<ExitCode> {
    let known = targets()?;
    if args.list {
        known.iter().for_each(|name| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    for name in &args.target {
        if !known.contains(name) {
            bail!(
                "there is no fuzz target {name}; there are: {}",
                known.join(", ")
            );
        }
    }
    let chosen = if args.target.is_empty() {
        known
    } else {
        args.target.clone()
    };
    let bins = build()?;
    if args.seeds {
        return seeds(&bins);
    }
    if args.self_check {
        self_check(&bins)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(input), [target]) = (&args.input, &chosen[..]) {
        let status = sh::command(bins.join(target))
            .arg(fs::canonicalize(input).with_context(|| format!("finding {}", input.display()))?)
            .status()
            .with_context(|| format!("starting {target}"))?;
        return Ok(ExitCode::from(u8::from(!status.success())));
    }
    if args.minimise {
        for target in &chosen {
            minimise(&bins, target)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let outcomes = all(&bins, &chosen, args.seconds)?;
    let failed = outcomes.iter().filter(|o| o.failure.is_some()).count();
    for outcome in &outcomes {
        if let Some(failure) = &outcome.failure {
            ui::line(&format!("\n{}: {failure}", outcome.target));
        }
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// The targets, as the manifest names them.
pub fn targets() -> Result<Vec<String>> {
    let file = folder().join("Cargo.toml");
    let manifest =
        fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    Ok(targets_in(&manifest))
}

fn targets_in(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .filter_map(|line| {
            let path = line.strip_prefix("path = \"fuzz_targets/")?;
            path.strip_suffix(".rs\"")
        })
        .filter(|name| *name != PLANTED)
        .map(str::to_owned)
        .collect()
}

fn folder() -> PathBuf {
    paths::root().join("fuzz")
}

fn work() -> PathBuf {
    paths::target().join("fuzz")
}

fn made(folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

/// Builds all targets; returns the folder that they are in.
pub fn build() -> Result<PathBuf> {
    // The engine is written in C++.
    apt::ensure(&[apt::Package::for_program(
        "g++",
        "c++",
        "C++ compiler for the fuzzing engine",
    )])?;
    let mut rustc = Command::new(rustc());
    rustc.arg("-vV");
    let version = sh::output(rustc)?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc -vV names no host")?
        .to_owned();
    let asan = has_asan(&host)?;
    let what = if asan {
        "fuzz targets, with AddressSanitizer"
    } else {
        "fuzz targets (this compiler has no AddressSanitizer)"
    };
    ui::step("build", what, |progress| {
        let mut cargo = sh::cargo();
        cargo
            .args(["build", "--release", "--target", &host])
            .current_dir(folder())
            // The flag of the sanitizer is not stable yet; a stable compiler takes it when told so.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", work())
            .env("CARGO_ENCODED_RUSTFLAGS", flags(asan).join("\u{1f}"))
            .env_remove("RUSTFLAGS");
        sh::run(cargo, progress).map(drop)
    })?;
    Ok(work().join(host).join("release"))
}

fn rustc() -> std::ffi::OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// Whether the compiler comes with the runtime of AddressSanitizer.
fn has_asan(host: &str) -> Result<bool> {
    let mut ask = Command::new(rustc());
    ask.args(["--print", "sysroot"]);
    let lib = Path::new(sh::output(ask)?.trim())
        .join("lib/rustlib")
        .join(host)
        .join("lib");
    Ok(fs::read_dir(lib).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"))
    }))
}

/// What makes the compiler tell the engine which way an input took, and what it was compared with.
fn flags(asan: bool) -> Vec<&'static str> {
    let mut flags = vec![
        "--cfg=fuzzing",
        "-Cpasses=sancov-module",
        "-Cllvm-args=-sanitizer-coverage-level=4",
        "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
        "-Cllvm-args=-sanitizer-coverage-pc-table",
        "-Cllvm-args=-sanitizer-coverage-trace-compares",
        "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    ];
    if asan {
        flags.push("-Zsanitizer=address");
    }
    flags
}

/// Runs targets side by side, as many as there are processors and never fewer than three.
pub fn all(bins: &Path, targets: &[String], seconds: u64) -> Result<Vec<Outcome>> {
    let side_by_side = thread::available_parallelism()
        .map_or(3, usize::from)
        .max(3);
    let mut waiting = targets.iter();
    let mut running: Vec<Running> = vec![];
    let mut outcomes = vec![];
    loop {
        while running.len() < side_by_side
            && let Some(target) = waiting.next()
        {
            running.push(Running::start(bins, target, seconds)?);
        }
        if running.is_empty() {
            return Ok(outcomes);
        }
        let mut still = vec![];
        for mut run in running {
            match run.child.try_wait().context("waiting for a fuzz target")? {
                Some(status) => outcomes.push(run.outcome(status.success())?),
                None if run.since.elapsed() > Duration::from_secs(seconds * 2 + 120) => {
                    run.child.kill().context("ending a fuzz target")?;
                    run.child.wait().context("ending a fuzz target")?;
                    let mut outcome = run.outcome(false)?;
                    outcome.failure = Some("it did not end in time".into());
                    outcomes.push(outcome);
                }
                None => still.push(run),
            }
        }
        running = still;
        thread::sleep(Duration::from_millis(100));
    }
}

struct Running {
    target: String,
    child: Child,
    log: PathBuf,
    since: Instant,
}

impl Running {
    fn start(bins: &Path, target: &str, seconds: u64) -> Result<Self> {
        let log = made(work().join("logs"))?.join(format!("{target}.log"));
        let file = fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let child = engine(bins, target)?
            .arg(made(work().join("corpus").join(target))?)
            .args(committed(target))
            .arg(format!("-max_total_time={seconds}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting the fuzz target {target}"))?;
        Ok(Self {
            target: target.to_owned(),
            child,
            log,
            since: Instant::now(),
        })
    }

    fn outcome(self, success: bool) -> Result<Outcome> {
        let log = fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        let log = String::from_utf8_lossy(&log);
        let words = summary(&log);
        let failure = (!success).then(|| failure(&self.target, &log));
        let mark = if failure.is_some() { "FAILED" } else { "ok" };
        ui::note(
            "fuzz",
            &format!("{}: {mark}, {words}", self.target),
            &ui::seconds(self.since.elapsed()),
        );
        Ok(Outcome {
            target: self.target,
            failure,
        })
    }
}

/// The engine with what is the same for every run.
fn engine(bins: &Path, target: &str) -> Result<Command> {
    let crashes = made(work().join("crashes"))?.join(format!("{target}-"));
    let mut command = sh::command(bins.join(target));
    command
        .args(LIMITS)
        .arg(LONGEST)
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}", crashes.display()));
    Ok(command)
}

/// The committed corpus of a target, if it has one.
fn committed(target: &str) -> Option<PathBuf> {
    Some(folder().join("corpus").join(target)).filter(|path| path.is_dir())
}

fn stat<'a>(log: &'a str, name: &str) -> Option<&'a str> {
    log.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn summary(log: &str) -> String {
    let tried = stat(log, "stat::number_of_executed_units").unwrap_or("?");
    // `#1234 DONE cov: 567 ft: 890 ...`
    let reached = log
        .lines()
        .rev()
        .find_map(|line| line.split_once(" cov: ")?.1.split(' ').next())
        .unwrap_or("?");
    format!("{tried} inputs, {reached} places reached")
}

/// What a person needs to know about a failure: what it said first, and how to repeat it.
fn failure(target: &str, log: &str) -> String {
    let said = log
        .lines()
        .skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR:"))
        .take_while(|line| !line.trim_start().starts_with("#0 "))
        .take(6)
        .collect::<Vec<_>>()
        .join("\n    ");
    let input = log
        .lines()
        .find_map(|line| line.split_once("Test unit written to "))
        .map(|(_, path)| path.trim());
    match input {
        Some(input) => format!(
            "{said}\n  repeat it with: cargo xtask fuzz {target} --input {}",
            sh::quote(input)
        ),
        None => format!("it failed without an input; the log ends:\n{}", tail(log)),
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// The planted mistake must be found, from nothing, in so many inputs as chance would never do with.
pub fn self_check(bins: &Path) -> Result<()> {
    const RUNS: &str = "-runs=3000000";
    ui::step("fuzz", "the search finds a planted mistake", |_| {
        let out = engine(bins, PLANTED)?
            .args([RUNS, "-seed=1"])
            .stdin(Stdio::null())
            .output()
            .context("starting the self-check")?;
        let log = String::from_utf8_lossy(&out.stderr);
        if out.status.success() {
            bail!(
                "{} without finding what was planted: is the code instrumented?",
                summary(&log)
            );
        }
        if !log.contains("planted.rs") {
            bail!("it failed in another way:\n{}", tail(&log));
        }
        Ok(())
    })
}

/// Puts into the committed corpus, beside its seeds, inputs that together reach what there is to
/// reach.
fn minimise(bins: &Path, target: &str) -> Result<()> {
    let small = work().join("minimised").join(target);
    if small.exists() {
        fs::remove_dir_all(&small).with_context(|| format!("removing {}", small.display()))?;
    }
    made(small.clone())?;
    ui::step(
        "fuzz",
        &format!("smallest corpus of {target}"),
        |progress| {
            let mut merge = engine(bins, target)?;
            merge
                .arg("-set_cover_merge=1")
                // Counting how often a place is reached would keep many inputs that differ in length.
                .arg("-use_counters=0")
                .arg(&small)
                .args(committed(target))
                .arg(made(work().join("corpus").join(target))?);
            sh::run(merge, progress).map(drop)
        },
    )?;
    let goal = made(folder().join("corpus").join(target))?;
    let is_seed = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("seed-");
    for entry in fs::read_dir(&goal)?.flatten() {
        if !is_seed(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    let mut found: Vec<_> = fs::read_dir(&small)?.flatten().collect();
    // The longest reach most; what is left out is found again in a minute.
    found.sort_by_key(|entry| {
        let length = entry.metadata().map_or(0, |meta| meta.len());
        (std::cmp::Reverse(length), entry.file_name())
    });
    for entry in found.iter().take(KEPT) {
        fs::copy(entry.path(), goal.join(entry.file_name()))?;
    }
    Ok(())
}

fn seeds(bins: &Path) -> Result<ExitCode> {
    let recordings = paths::root().join("tests/recordings");
    let mut files: Vec<PathBuf> = fs::read_dir(&recordings)
        .with_context(|| format!("reading {}", recordings.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "recording"))
        .collect();
    files.sort();
    let mut seeds = sh::command(bins.join("seeds"));
    seeds.arg(folder().join("corpus")).args(files);
    sh::output(seeds)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_those_of_the_manifest_but_for_the_planted_one() {
        let manifest = "[[bin]]\nname = \"a\"\npath = \"fuzz_targets/a.rs\"\n\n[[bin]]\n\
                        name = \"planted\"\npath = \"fuzz_targets/planted.rs\"\n\
                        [lib]\npath = \"src/lib.rs\"\n";
        assert_eq!(targets_in(manifest), ["a"]);
        let real = targets().unwrap();
        for entry in fs::read_dir(folder().join("fuzz_targets"))
            .unwrap()
            .flatten()
        {
            let name = entry
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            assert!(
                name == PLANTED || real.contains(&name),
                "{name} is in no [[bin]]"
            );
        }
    }

    #[test]
    fn a_failure_says_what_it_said_and_how_to_repeat_it() {
        let log = "#7 NEW cov: 9 ft: 9\nthread 'x' panicked at src/a.rs:1:2:\nindex out of range\n\
                   ==1== ERROR: libFuzzer: deadly signal\n    #0 0x1\nartifact_prefix='./'; \
                   Test unit written to /t/crashes/a-crash-1\n\
                   stat::number_of_executed_units: 12\n";
        let told = failure("a", log);
        assert!(
            told.contains("index out of range") && !told.contains("#0 0x1"),
            "{told}"
        );
        assert!(
            told.ends_with("cargo xtask fuzz a --input /t/crashes/a-crash-1"),
            "{told}"
        );
        assert_eq!(summary(log), "12 inputs, 9 places reached");
    }
}
