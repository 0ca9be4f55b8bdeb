//! `cargo xtask test`: everything that must pass, here and on stock kernels.
//!
//! Knows the stages and their order. A stage that fails does not stop the next; what failed is
//! told again at the end, and the last line counts.

mod libtest;
mod mutants;
pub mod plan;
mod programs;
mod report;

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::plan::{Entry, Outcome};
use self::programs::Programs;
use self::report::Report;
use crate::{apt, build, kernels, paths, scene, servers, setup, sh, tidy, ui, vm};

/// Runs everything that must pass; the last line is `N passed, N failed`.
///
/// Without a flag: format, clippy, tidy, unit and property tests, end-to-end tests on this
/// kernel, and the same on stock Debian 6.1 and 6.12 in QEMU. Flags choose parts.
#[derive(Args)]
pub struct Test {
    /// Format, clippy, tidy, unit and property tests.
    #[arg(long)]
    unit: bool,
    /// End-to-end tests on this machine's kernel.
    #[arg(long)]
    native: bool,
    /// End-to-end tests on stock kernels in QEMU.
    #[arg(long)]
    vm: bool,
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
    /// Only tests whose name contains one of these.
    filter: Vec<String>,
}

/// Test files whose servers take minutes to build: only on demand.
const SLOW: [&str; 1] = ["servers"];

impl Test {
    /// Whether the person asked for the slow tests and nothing else.
    fn only_servers(&self) -> bool {
        self.servers && !(self.unit || self.native || self.vm || self.mutants)
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

/// Runs the command.
pub fn run(args: &Test) -> Result<ExitCode> {
    ui::use_stdout();
    let since = Instant::now();
    let all = !(args.unit || args.native || args.vm || args.mutants || args.servers);
    let native_too = all || args.native || args.only_servers();
    let mut report = Report::default();
    if all || args.unit {
        quick_checks(&mut report);
    }
    if let Some(programs) = prepare(&mut report, all || args.unit) {
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
            if native_too && !apt::is_root()? {
                let why = "loading kernel programs and making namespaces needs root";
                report.check("native", "run", false, why);
            } else if native_too {
                native(&mut report, &programs, args, &env)?;
            }
            if all || args.vm {
                virtual_machines(&mut report, &programs, args, &env);
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
    report.settle_claims(all && !args.narrowed());
    ui::line(&format!("\n{} in all", ui::seconds(since.elapsed())));
    Ok(if report.close() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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
) -> Result<()> {
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's release")?;
    ui::section(&format!("end to end on this kernel, {}", release.trim()));
    let outcomes = plan::execute(&end_to_end(programs, args, env, "native"));
    report.outcomes("native", outcomes, args.narrowed());
    Ok(())
}

fn virtual_machines(
    report: &mut Report,
    programs: &Programs,
    args: &Test,
    env: &BTreeMap<String, String>,
) {
    for series in kernels::SERIES {
        if !args.kernel.is_empty() && !args.kernel.iter().any(|wanted| wanted == series) {
            continue;
        }
        let stage = format!("vm-{series}");
        ui::section(&format!("end to end on stock Debian {series}, in QEMU"));
        let entries = end_to_end(programs, args, env, series);
        report.outcomes(&stage, in_guest(series, &entries), args.narrowed());
    }
}

/// Runs entries in one guest.
fn in_guest(series: &str, entries: &[Entry]) -> Result<Vec<Outcome>> {
    // Emulation is slow; a test that hangs is still ended well before the guest is.
    let entries: Vec<Entry> = entries
        .iter()
        .cloned()
        .map(|mut entry| {
            entry.limit = Duration::from_secs(900);
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
        env: BTreeMap::new(),
        timeout: Duration::from_secs(2400),
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
