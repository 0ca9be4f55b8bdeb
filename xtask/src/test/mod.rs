//! `cargo xtask test`: everything that must pass, here and on stock kernels.
//!
//! Knows the stages and their order. A stage that fails does not stop the next; what failed is
//! told again at the end, and the last line counts.

mod aarch64;
mod libtest;
mod mutants;
pub mod plan;
mod programs;
mod report;
mod tiers;

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::plan::{Entry, Outcome};
use self::programs::Programs;
use self::report::Report;
use crate::{apt, build, fuzz, kernels, paths, scene, servers, setup, sh, tidy, ui, vm};

/// Runs everything that must pass; the last line is `N passed, N failed`.
///
/// Without a flag: format, clippy, tidy, unit and property tests, end-to-end tests on this
/// kernel, a choice of them on stock Debian 6.1 and 6.12 in QEMU (all of them with --vm), and each fuzz target for a minute. Flags
/// choose parts.
#[derive(Args)]
pub struct Test {
    /// Format, clippy, tidy, unit and property tests.
    #[arg(long)]
    unit: bool,
    /// End-to-end tests on this machine's kernel.
    #[arg(long)]
    native: bool,
    /// All end-to-end tests on stock kernels in QEMU: this takes hours.
    #[arg(long)]
    vm: bool,
    /// Each fuzz target for a minute, and the check that fuzzing finds what there is.
    #[arg(long)]
    fuzz: bool,
    /// Disables each hook in turn and requires the test named for it to fail.
    #[arg(long)]
    mutants: bool,
    /// Also the tests with inference servers that take minutes to build (`cargo xtask servers`);
    /// without other flags only these, on this kernel.
    #[arg(long)]
    servers: bool,
    /// Only this series of stock kernels (6.1 or 6.12).
    #[arg(long, value_name = "SERIES")]
    kernel: Vec<String>,
    /// Only this test file, for end-to-end tests.
    #[arg(long, value_name = "NAME")]
    file: Vec<String>,
    #[arg(skip)]
    write_tiers: bool,
    /// Only tests whose name contains one of these.
    filter: Vec<String>,
}

/// Test files whose servers take minutes to build: only on demand.
const SLOW: [&str; 1] = ["servers"];

impl Test {
    /// Whether the person asked for the slow tests and nothing else.
    fn only_servers(&self) -> bool {
        self.servers && !(self.unit || self.native || self.vm || self.fuzz || self.mutants)
    }

    /// Whether the end-to-end tests of this file are to run.
    fn wants(&self, label: &str) -> bool {
        let named = self.file.iter().any(|file| file == label);
        if SLOW.contains(&label) {
            named || self.servers
        } else {
            named || self.file.is_empty() && !self.only_servers()
        }
    }

    /// Whether the person asked for some tests only.
    fn narrowed(&self) -> bool {
        !(self.kernel.is_empty() && self.file.is_empty() && self.filter.is_empty())
    }
}

/// Writes docs/tiers.md from the outcomes that the tests see here and on 6.1 and 6.12.
#[derive(Args)]
pub struct Tiers {}

/// Runs the command.
pub fn run_tiers(_: &Tiers) -> Result<ExitCode> {
    run(&Test {
        unit: false,
        native: true,
        vm: true,
        fuzz: false,
        mutants: false,
        servers: false,
        kernel: vec![],
        file: vec![tiers::FILE.to_owned()],
        write_tiers: true,
        filter: vec![],
    })
}

/// Runs the command.
pub fn run(args: &Test) -> Result<ExitCode> {
    ui::use_stdout();
    let since = Instant::now();
    let chosen = args.unit || args.native || args.vm || args.fuzz || args.mutants;
    let all = !(chosen || args.servers);
    let native_too = all || args.native || args.servers && !args.vm;
    let mut report = Report::default();
    if all || args.unit {
        quick_checks(&mut report);
    }
    let programs = all || args.unit || native_too || args.vm || args.mutants;
    if programs && let Some(programs) = prepare(&mut report, all || args.unit) {
        if all || args.unit {
            unit(&mut report, &programs, args);
        }
        let scene = if native_too || args.vm || args.mutants {
            setup::scene_tools()?;
            report.step("setup", "inference servers", scene_env(args))
        } else {
            None
        };
        if let Some(env) = scene {
            let mut seen = tiers::Seen::default();
            if native_too && !apt::is_root()? {
                let why = "loading kernel programs and making namespaces needs root";
                report.check("native", "run", false, why);
            } else if native_too {
                native(&mut report, &programs, args, &env, &mut seen)?;
            }
            if all || args.vm {
                virtual_machines(&mut report, &programs, args, &env, &mut seen);
            }
            if args.write_tiers && seen.is_whole() {
                report.step("tiers", "written", tiers::write(&seen));
            } else if args.write_tiers {
                report.check("tiers", "written", false, "not every kernel was seen");
            } else if seen.is_whole() {
                report.step("tiers", "docs/tiers.md", tiers::check(&seen));
            }
            if args.mutants {
                ui::section("mutants: a disabled hook must be noticed");
                let result = mutants::run(&mut report, &programs.end_to_end, &env);
                if let Err(error) = result {
                    report.check("mutants", "run", false, &format!("{error:#}"));
                }
            }
        }
        if args.narrowed() && report.tests() == 0 {
            report.check("tests", "any test", false, "no test has such a name");
        }
    }
    if (all && !args.narrowed()) || args.fuzz {
        fuzzing(&mut report);
    }
    report.settle_claims(all && !args.narrowed());
    ui::line(&format!("\n{} in all", ui::seconds(since.elapsed())));
    Ok(if report.close() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Every fuzz target for its minute.
fn fuzzing(report: &mut Report) {
    ui::section("fuzzing: each decoder and parser of untrusted bytes for a minute");
    let Some(bins) = report.step("fuzz", "targets", fuzz::build()) else {
        return;
    };
    report.step("fuzz", "self-check", fuzz::self_check(&bins));
    let outcomes = fuzz::targets().and_then(|targets| fuzz::all(&bins, &targets, fuzz::SECONDS));
    for outcome in report.step("fuzz", "run", outcomes).unwrap_or_default() {
        let failure = outcome.failure.as_deref();
        report.check(
            "fuzz",
            &outcome.target,
            failure.is_none(),
            failure.unwrap_or_default(),
        );
    }
}

/// Checks that need no build.
fn quick_checks(report: &mut Report) {
    ui::section("format and tidy");
    let format = ui::step("lint", "format", |progress| {
        let mut cargo = sh::cargo();
        cargo.args(["fmt", "--all", "--check", "--", "--color", "never"]);
        sh::run(cargo, progress)?;
        let mut cargo = sh::cargo();
        cargo
            .args(["fmt", "--check", "--", "--color", "never"])
            .current_dir(paths::root().join("monitor-ebpf"));
        sh::run(cargo, progress)
    });
    report.step("lint", "format", format);
    report.step("lint", "tidy", ui::step("lint", "tidy", |_| tidy::check()));
}

/// Builds everything, and lints it if asked; `None` where there is nothing to run.
fn prepare(report: &mut Report, lint: bool) -> Option<Programs> {
    ui::section("build");
    report.step("build", "kernel object", build::kernel_object())?;
    report.step("build", "programs", build::workspace())?;
    let programs = report.step("build", "test programs", programs::build());
    if lint {
        let clippy = ui::step("lint", "clippy", |progress| {
            let mut cargo = sh::cargo();
            cargo.args(["clippy", "--release", "--workspace", "--all-targets"]);
            cargo.args(["--", "-D", "warnings"]);
            sh::run(cargo, progress)
        });
        report.step("lint", "clippy", clippy);
        let mut had_clippy = true;
        let kernel = ui::step("lint", "clippy, kernel object", |progress| {
            had_clippy = build::kernel_clippy(progress)?;
            Ok(())
        });
        let arm = ui::step("lint", "64-bit ARM compiles", aarch64::check);
        report.step("lint", "64-bit ARM compiles", arm);
        if had_clippy {
            report.step("lint", "clippy, kernel object", kernel);
        } else {
            ui::note(
                "lint",
                "clippy, kernel object",
                "its compiler has no clippy",
            );
        }
    }
    programs
}

fn unit(report: &mut Report, programs: &Programs, args: &Test) {
    ui::section("unit and property tests");
    let entries: Vec<Entry> = programs
        .unit
        .iter()
        .cloned()
        .map(|mut entry| {
            entry.args.extend(args.filter.iter().cloned());
            entry
        })
        .collect();
    report.outcomes("unit", plan::execute(&entries), args.narrowed());
    let documentation = ui::step("unit", "examples in documentation", |progress| {
        let mut cargo = sh::cargo();
        cargo.args(["test", "--release", "--workspace", "--doc"]);
        sh::run(cargo, progress)
    });
    report.step("unit", "examples in documentation", documentation);
}

/// What end-to-end tests are told about where things are.
fn scene_env(args: &Test) -> Result<BTreeMap<String, String>> {
    let mut env = if SLOW.iter().any(|file| args.wants(file)) {
        servers::all()?
    } else {
        servers::quick()?
    };
    let bin = paths::release_bin("slmguard")
        .to_string_lossy()
        .into_owned();
    env.extend(scene::server()?.env());
    env.insert("SLMGUARD_BIN".to_owned(), bin);
    Ok(env)
}

/// The end-to-end programs that were asked for, each one test at a time.
fn end_to_end(
    programs: &Programs,
    args: &Test,
    env: &BTreeMap<String, String>,
    kernel: &str,
) -> Vec<Entry> {
    programs
        .end_to_end
        .iter()
        .filter(|entry| args.wants(&entry.label))
        .cloned()
        .map(|mut entry| {
            entry.args = vec!["--test-threads=1".to_owned(), "--show-output".to_owned()];
            entry.args.extend(args.filter.iter().cloned());
            entry.env = env.clone();
            entry
                .env
                .insert("SLMGUARD_KERNEL".to_owned(), kernel.to_owned());
            entry
        })
        .collect()
}

fn native(
    report: &mut Report,
    programs: &Programs,
    args: &Test,
    env: &BTreeMap<String, String>,
    seen: &mut tiers::Seen,
) -> Result<()> {
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's release")?;
    ui::section(&format!("end to end on this kernel, {}", release.trim()));
    let outcomes = plan::execute(&end_to_end(programs, args, env, "native"));
    seen.collect("native", outcomes.as_deref().unwrap_or_default());
    report.outcomes("native", outcomes, args.narrowed());
    Ok(())
}

fn virtual_machines(
    report: &mut Report,
    programs: &Programs,
    args: &Test,
    env: &BTreeMap<String, String>,
    seen: &mut tiers::Seen,
) {
    let wanted =
        |series: &&&str| args.kernel.is_empty() || args.kernel.iter().any(|k| k == **series);
    let all: Vec<&str> = kernels::SERIES.iter().filter(wanted).copied().collect();
    ui::section(&format!(
        "end to end on stock Debian {}, in QEMU",
        all.join(" and ")
    ));
    // What a guest does is mostly one thread's work: side by side they take little longer than one.
    let ended = thread::scope(|scope| {
        let started: Vec<_> = all
            .iter()
            .map(|series| {
                let mut entries = end_to_end(programs, args, env, series);
                if !args.vm && !args.narrowed() {
                    let chosen = kernels::in_every_run(series);
                    entries.retain(|entry| chosen.contains(&entry.label.as_str()));
                }
                (*series, scope.spawn(move || in_guest(series, &entries)))
            })
            .collect();
        let join = |handle: thread::ScopedJoinHandle<'_, Result<Vec<Outcome>>>| {
            handle
                .join()
                .unwrap_or_else(|_| bail!("the guest's thread panicked"))
        };
        let joined = started
            .into_iter()
            .map(|(series, handle)| (series, join(handle)));
        joined.collect::<Vec<_>>()
    });
    for (series, outcomes) in ended {
        seen.collect(series, outcomes.as_deref().unwrap_or_default());
        report.outcomes(&format!("vm-{series}"), outcomes, args.narrowed());
    }
}

/// Runs entries in one guest.
fn in_guest(series: &str, entries: &[Entry]) -> Result<Vec<Outcome>> {
    // Emulation is slow; a test that hangs is still ended well before the guest is.
    let entries: Vec<Entry> = entries
        .iter()
        .cloned()
        .map(|mut entry| {
            entry.limit = Duration::from_secs(1800);
            entry
        })
        .collect();
    let file = paths::target().join(format!("vm/plan-{series}.json"));
    let folder = file.parent().context("a plan has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    fs::write(&file, plan::to_text(&entries))
        .with_context(|| format!("writing {}", file.display()))?;
    let since = Instant::now();
    let end = vm::boot(&vm::Job {
        series: series.to_owned(),
        argv: [
            paths::release_bin("xtask").to_string_lossy().as_ref(),
            "plan",
            file.to_string_lossy().as_ref(),
            "/run/vm/out/outcomes.json",
        ]
        .map(str::to_owned)
        .to_vec(),
        env: BTreeMap::from([(plan::AREA.to_owned(), series.to_owned())]),
        timeout: Duration::from_secs(3 * 3600),
        count_instructions: false,
    })?;
    ui::note(
        "vm",
        &format!("guest {series}, from boot to end"),
        &ui::seconds(since.elapsed()),
    );
    if end != vm::End::Exit(0) {
        bail!("{}", end.describe(series));
    }
    plan::outcomes_from(&vm::out_dir(series).join("outcomes.json"))
}
