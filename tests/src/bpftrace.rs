//! bpftrace: a script that tells of system calls and programs as they happen.
//!
//! Knows its tracepoints and its lines; must not know the guard.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::child;
use crate::daemon::masked;

/// How long a line may take; emulated machines are slow, and it compiles its script first.
const PATIENCE: Duration = Duration::from_secs(180);

/// What it tells. No kprobes: not every kernel has them.
const SCRIPT: &str = r#"
BEGIN { printf("ready\n"); }
tracepoint:syscalls:sys_exit_connect { printf("connect %d %d\n", pid, args->ret); }
tracepoint:syscalls:sys_exit_sendto { printf("sendto %d %d\n", pid, args->ret); }
tracepoint:sched:sched_process_exec { printf("exec %d %s\n", pid, str(args->filename)); }
tracepoint:signal:signal_generate /args->sig == 9/ { printf("kill %d\n", args->pid); }
"#;

/// It looks for its tracepoints there.
const TRACEFS: &str =
    "test -e /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing";

/// A bpftrace that runs. Dropping it ends it, and takes its programs away.
pub struct Bpftrace {
    child: Child,
    lines: Receiver<String>,
    told: RefCell<Vec<String>>,
}

impl Bpftrace {
    /// Starts it; returns when its programs are attached.
    pub fn start() -> Result<Self> {
        let words = masked(TRACEFS);
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(["bpftrace", "-B", "line", "-e", SCRIPT])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = child::tie(&mut command, Signal::SIGKILL)
            .spawn()
            .context("start bpftrace")?;
        let output = child.stdout.take().context("its standard output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let bpftrace = Self {
            child,
            lines,
            told: RefCell::default(),
        };
        bpftrace
            .tells("ready", |line| line == "ready")
            .context("`cargo xtask setup` installs bpftrace")?;
        Ok(bpftrace)
    }

    /// Waits until it tells that this process called `call` and got `result`.
    pub fn saw_call(&self, call: &str, pid: i32, result: i32) -> Result<()> {
        let wanted = format!("{call} {pid} {result}");
        self.tells(&wanted, |line| line == wanted)
    }

    /// Waits until it tells that somebody started this program.
    pub fn saw_program(&self, program: &str) -> Result<()> {
        self.tells(&format!("exec of {program}"), |line| {
            line.starts_with("exec ") && line.ends_with(&format!(" {program}"))
        })
    }

    /// Waits until it tells that this process was sent SIGKILL.
    pub fn saw_kill(&self, pid: i32) -> Result<()> {
        let wanted = format!("kill {pid}");
        self.tells(&wanted, |line| line == wanted)
    }

    /// Forgets what it told so far.
    pub fn forget(&self) {
        self.lines.try_iter().for_each(drop);
        self.told.borrow_mut().clear();
    }

    fn tells(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.told.borrow().iter().any(|line| wanted(line)) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.told.borrow_mut().push(line),
                Err(error) => bail!("bpftrace does not tell \"{what}\": {error}"),
            }
        }
    }
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        // It may have ended by itself; reaping it is what counts.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
