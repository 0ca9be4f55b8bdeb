//! What the guard costs: operations in five situations, interleaved in one run.
//!
//! A round goes once through every situation: no daemon; a daemon with nothing enrolled; a daemon
//! with members, seen from a process that is not one, from a member whose behaviour is known, and
//! from a member in learn mode that does something new each time. Ratios are taken within a round.
//! It measures and reports; it judges nothing, and no test depends on its times.

pub mod stats;
pub mod worker;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde::Serialize;

use crate::child;
use crate::daemon::{Daemon, Options, quote};
use crate::wait;
use worker::{Clock, Objects, Operation};

/// Workload whose behaviour is learned and enforced.
const KNOWN: &str = "known";
/// Workload that learns something new all the time.
const NEW: &str = "new";

/// Where an operation is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Situation {
    /// No daemon, nothing attached.
    None,
    /// A daemon without workloads.
    NothingEnrolled,
    /// A daemon with members; the process is not one.
    NotMonitored,
    /// A member in mode enforce doing what is known.
    Known,
    /// A member in mode learn doing something new each time.
    New,
}

impl Situation {
    /// Every situation.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::NothingEnrolled,
        Self::NotMonitored,
        Self::Known,
        Self::New,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NothingEnrolled => "nothing_enrolled",
            Self::NotMonitored => "not_monitored",
            Self::Known => "known",
            Self::New => "new",
        }
    }
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The guard.
    pub slmguard: PathBuf,
    /// Times through every situation.
    pub rounds: u32,
    /// Slices of each operation in each situation and round.
    pub slices: u32,
    /// What is counted.
    pub clock: Clock,
    /// Divides the numbers of operations in a slice: for machines that are slow.
    pub divide: u32,
}

impl Plan {
    /// Operations in a slice.
    fn count(&self, operation: Operation, distinct: bool) -> u32 {
        let count = match (operation, distinct) {
            (Operation::Getppid, _) => 20_000,
            (Operation::OpenReadClose, false) => 1_000,
            (Operation::Sendto, false) => 2_000,
            (Operation::Connect, _) => 100,
            (Operation::OpenReadClose | Operation::Sendto, true) => 100,
            (Operation::ForkExec, _) => 10,
        };
        (count / self.divide).max(2)
    }
}

/// A line of the report.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Line {
    /// The operation; `hook/NAME` for a hook's own time.
    pub op: String,
    /// Where it was measured.
    pub situation: &'static str,
    /// Median time of one operation; in a guest that counts them, instructions.
    pub ns: f64,
    /// Median over rounds of the time ÷ the time with no daemon; none for hooks.
    pub ratio: Option<f64>,
    /// Half the distance between the quartiles of the times, as a part of their median.
    pub spread: f64,
    /// Slices measured.
    pub slices: usize,
}

type Slices = BTreeMap<(Operation, Situation, bool), Vec<f64>>;

/// The place where everything happens.
struct Bench<'a> {
    plan: &'a Plan,
    folder: tempfile::TempDir,
    objects: Objects,
    /// Objects that were used as new: each is new only once.
    used: u32,
    slices: Slices,
}

/// Measures everything.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(&str)) -> Result<Vec<Line>> {
    let mut bench = Bench::new(plan)?;
    for round in 0..plan.rounds {
        progress(&format!("round {} of {}", round + 1, plan.rounds));
        bench.round()?;
    }
    progress("the kernel's own times");
    let hooks = bench.hooks()?;
    Ok(bench.report().into_iter().chain(hooks).collect())
}

impl<'a> Bench<'a> {
    fn new(plan: &'a Plan) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("slmguard-bench-")
            .tempdir()
            .context("create a folder")?;
        let tcp = TcpListener::bind("0.0.0.0:0").context("listen")?;
        let udp = UdpSocket::bind("0.0.0.0:0").context("bind")?;
        let objects = Objects {
            folder: folder.path().join("objects"),
            tcp: tcp.local_addr()?.port(),
            udp: udp.local_addr()?.port(),
        };
        fs::create_dir(&objects.folder).context("create a folder")?;
        // Both end with this process.
        thread::spawn(move || tcp.incoming().for_each(drop));
        thread::spawn(move || {
            let mut byte = [0; 8];
            while udp.recv(&mut byte).is_ok() {}
        });
        for name in ["outsider", KNOWN, NEW] {
            let copy = folder.path().join(name);
            fs::copy(std::env::current_exe().context("find this program")?, &copy)
                .with_context(|| format!("copy this program to {}", copy.display()))?;
        }
        let bench = Self {
            plan,
            folder,
            objects,
            used: 1,
            slices: Slices::new(),
        };
        bench.provide(0, 1)?;
        Ok(bench)
    }

    /// Makes objects `first` to `first + count`.
    fn provide(&self, first: u32, count: u32) -> Result<()> {
        for n in first..first + count {
            let file = worker::file(&self.objects.folder, n);
            fs::write(&file, "content").with_context(|| format!("write {}", file.display()))?;
            let program = worker::program(&self.objects.folder, n);
            if n == 0 {
                fs::copy("/bin/true", &program).context("copy /bin/true")?;
                fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
            } else {
                fs::hard_link(worker::program(&self.objects.folder, 0), &program)
                    .with_context(|| format!("link {}", program.display()))?;
            }
        }
        Ok(())
    }

    fn worker(&self, name: &str) -> Result<Worker> {
        Worker::start(
            &self.folder.path().join(name),
            &self.objects,
            self.plan.clock,
        )
    }

    fn daemon(&self, name: &str, workloads: String) -> Result<Daemon> {
        let directory = self.folder.path().join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).context("clear the daemon's folder")?;
        }
        Daemon::start(Options::new(
            self.plan.slmguard.clone(),
            &directory,
            workloads,
        ))
    }

    fn workloads(&self) -> String {
        let one = |name: &str| {
            let exe = quote(&self.folder.path().join(name).display().to_string());
            format!(
                "[[workload]]\nname = \"{name}\"\n\n[[workload.process]]\nrole = \"server\"\nexe = {exe}\n\n"
            )
        };
        format!("{}{}", one(KNOWN), one(NEW))
    }

    fn round(&mut self) -> Result<()> {
        let mut outsider = self.worker("outsider")?;
        self.slice(&mut outsider, Situation::None, true)?;
        let daemon = self.daemon("empty", String::new())?;
        self.slice(&mut outsider, Situation::NothingEnrolled, false)?;
        daemon.stop()?;
        drop(daemon);
        let daemon = self.daemon("full", self.workloads())?;
        let mut known = self.trained(&daemon)?;
        let mut new = self.worker(NEW)?;
        for _ in 0..self.plan.slices {
            self.one_slice(&mut outsider, Situation::NotMonitored, false)?;
            self.one_slice(&mut known, Situation::Known, false)?;
            self.one_slice(&mut new, Situation::New, true)?;
        }
        daemon.stop()
    }

    /// A member whose behaviour was learned and is enforced.
    fn trained(&self, daemon: &Daemon) -> Result<Worker> {
        let mut known = self.worker(KNOWN)?;
        for operation in Operation::ALL {
            known.order(operation, false, 0, 2)?;
        }
        let program = worker::program(&self.objects.folder, 0);
        let program = program.display().to_string();
        daemon.learned(KNOWN, "exec", "the program", |subject| subject == program)?;
        let target = format!(":{}/udp", self.objects.udp);
        daemon.learned(KNOWN, "destination", "the socket", |s| s.ends_with(&target))?;
        // Everything of the tool as well: it is the same each time.
        wait::until("the tool's files are known", crate::daemon::ALERT, || {
            known.order(Operation::ForkExec, false, 0, 1)?;
            let baseline = daemon.json(&["baseline", "show", KNOWN])?;
            let tool = |e: &&serde_json::Value| e["role"] == "tool" && e["family"] == "read";
            Ok(baseline.iter().find(tool).map(drop))
        })?;
        daemon.mode(KNOWN, "enforce")?;
        Ok(known)
    }

    fn slice(&mut self, worker: &mut Worker, at: Situation, both: bool) -> Result<()> {
        for _ in 0..self.plan.slices {
            self.one_slice(worker, at, false)?;
            if both {
                self.one_slice(worker, at, true)?;
            }
        }
        Ok(())
    }

    fn one_slice(&mut self, worker: &mut Worker, at: Situation, distinct: bool) -> Result<()> {
        for operation in Operation::ALL {
            let distinct = distinct && operation.has_object();
            let count = self.plan.count(operation, distinct);
            let first = self.used;
            if distinct {
                self.provide(first, count)?;
                self.used += count;
            }
            // The first ones pay for caches that somebody else has emptied.
            worker.order(operation, false, 0, (count / 10).max(1))?;
            let total = worker.order(operation, distinct, first, count)?;
            let each = total as f64 / f64::from(count);
            self.slices
                .entry((operation, at, distinct))
                .or_default()
                .push(each);
        }
        Ok(())
    }

    fn report(&self) -> Vec<Line> {
        let mut lines = vec![];
        for operation in Operation::ALL {
            for at in Situation::ALL {
                let distinct = at == Situation::New && operation.has_object();
                let (Some(values), Some(base)) = (
                    self.slices.get(&(operation, at, distinct)),
                    self.slices.get(&(operation, Situation::None, distinct)),
                ) else {
                    continue;
                };
                lines.push(Line {
                    op: operation.name().into(),
                    situation: at.name(),
                    ns: stats::median(values),
                    ratio: Some(stats::paired_ratio(values, base)),
                    spread: stats::spread(values),
                    slices: values.len(),
                });
            }
        }
        lines
    }

    /// What the kernel counts for each program, while a process that is not a member works, and
    /// while a member does.
    fn hooks(&self) -> Result<Vec<Line>> {
        let daemon = self.daemon("full", self.workloads())?;
        let mut known = self.trained(&daemon)?;
        let mut outsider = self.worker("outsider")?;
        let counting = Counting::start()?;
        let mut lines = vec![];
        for (worker, at) in [
            (&mut outsider, Situation::NotMonitored),
            (&mut known, Situation::Known),
        ] {
            let before = costs(&daemon)?;
            for operation in Operation::ALL {
                let count = self.plan.count(operation, false);
                worker.order(operation, false, 0, count)?;
            }
            for (hook, (runs, ns)) in costs(&daemon)? {
                let (old_runs, old_ns) = before.get(&hook).copied().unwrap_or_default();
                let runs = runs - old_runs;
                if runs > 0 {
                    lines.push(Line {
                        op: format!("hook/{hook}"),
                        situation: at.name(),
                        ns: (ns - old_ns) as f64 / runs as f64,
                        ratio: None,
                        spread: 0.0,
                        slices: usize::try_from(runs).unwrap_or(usize::MAX),
                    });
                }
            }
        }
        drop(counting);
        daemon.stop()?;
        Ok(lines)
    }
}

fn costs(daemon: &Daemon) -> Result<BTreeMap<String, (u64, u64)>> {
    let hooks = daemon.doctor()?;
    let cost = |hook: &serde_json::Value| {
        let name = hook["hook"].as_str()?.to_owned();
        Some((name, (hook["runs"].as_u64()?, hook["run_ns"].as_u64()?)))
    };
    Ok(hooks.iter().filter_map(cost).collect())
}

/// Has the kernel count while this lives.
struct Counting;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl Counting {
    fn start() -> Result<Self> {
        fs::write(SWITCH, "1").with_context(|| format!("write {SWITCH}"))?;
        Ok(Self)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, "0") {
            eprintln!("bench: {SWITCH} stays on: {error}");
        }
    }
}

/// A process that is measured.
struct Worker {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(program: &Path, objects: &Objects, clock: Clock) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .arg("worker")
            .arg(&objects.folder)
            .args([objects.tcp.to_string(), objects.udp.to_string()])
            .arg(clock.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = child::tie(&mut command, Signal::SIGKILL)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let orders = child.stdin.take();
        let answers = child.stdout.take().context("the worker has an output")?;
        let mut worker = Self {
            child,
            orders,
            answers: BufReader::new(answers),
        };
        let word = worker.answer()?;
        ensure!(word == "ready", "the worker said {word:?}");
        Ok(worker)
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .context("ask the worker")?;
        if line.is_empty() {
            let status = self.child.wait().context("wait for the worker")?;
            bail!("the worker ended with {status}");
        }
        Ok(line.trim().to_owned())
    }

    /// Nanoseconds that `count` operations took.
    fn order(
        &mut self,
        operation: Operation,
        distinct: bool,
        first: u32,
        count: u32,
    ) -> Result<u64> {
        let pattern = if distinct { "distinct" } else { "same" };
        let orders = self.orders.as_mut().context("the worker has an input")?;
        writeln!(orders, "{} {pattern} {first} {count}", operation.name())
            .context("order the worker")?;
        let answer = self
            .answer()
            .with_context(|| format!("measure {}", operation.name()))?;
        answer
            .parse()
            .with_context(|| format!("the worker said {answer:?}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Its input ends, and with it the worker.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}
