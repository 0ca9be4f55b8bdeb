//! Other tools that work on the same kernel: their programs, and how to talk to
//! them.
//!
//! They are scripts in `tests/beside` that load programs with bare system
//! calls. Must not know the guard.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::child;

const BPF: &str = include_str!("../beside/bpf.py");
const FANOTIFY: &str = include_str!("../beside/fanotify.py");
/// Debian's interpreter, which is there in guests as well.
const PYTHON: &str = "/usr/bin/python3";
/// How long a tool may take to start or to answer; emulated machines are slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// A tool that runs. Dropping it ends it, and takes its programs away.
pub struct Other {
    what: String,
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Other {
    /// A program on the connects of everything below `cgroup`.
    pub fn connects(cgroup: &Path) -> Result<Self> {
        Self::start(BPF, &["connect", &cgroup.display().to_string()])
    }

    /// A program on the packets that leave from `cgroup`, attached as service
    /// managers attach theirs for `IPAddressDeny=`.
    pub fn addresses(cgroup: &Path) -> Result<Self> {
        Self::start(BPF, &["address", &cgroup.display().to_string()])
    }

    /// A security module on file opens. Needs BPF LSM.
    pub fn security_module() -> Result<Self> {
        Self::start(BPF, &["lsm"])
    }

    /// A program at the end of system calls.
    pub fn tracer() -> Result<Self> {
        Self::start(BPF, &["tracepoint"])
    }

    /// A tool that permits each open in `folder`.
    pub fn permitter(folder: &Path) -> Result<Self> {
        Self::start(FANOTIFY, &[&folder.display().to_string()])
    }

    fn start(script: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(PYTHON);
        command
            .args(["-c", script])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let what = format!("the other tool ({})", arguments.join(" "));
        let mut child = child::tie(&mut command, Signal::SIGKILL)
            .spawn()
            .with_context(|| format!("start {what}"))?;
        let orders = child.stdin.take().context("its standard input")?;
        let output = child.stdout.take().context("its standard output")?;
        let (lines, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let other = Self {
            what,
            child,
            orders,
            answers,
        };
        let first = other.answer()?;
        ensure!(first == "ready", "{} says {first}", other.what);
        Ok(other)
    }

    fn answer(&self) -> Result<String> {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(line) => Ok(line),
            Err(error) => bail!("{}: {error}; see its words above", self.what),
        }
    }

    fn order(&mut self, order: &str) -> Result<u64> {
        writeln!(self.orders, "{order}")
            .and_then(|()| self.orders.flush())
            .with_context(|| format!("talk to {}", self.what))?;
        let answer = self.answer()?;
        answer
            .parse()
            .with_context(|| format!("{} says {answer}", self.what))
    }

    /// How much it has seen so far.
    pub fn count(&mut self) -> Result<u64> {
        self.order("count")
    }

    /// Has it refuse what goes to this IPv4 address.
    pub fn deny_address(&mut self, address: IpAddr) -> Result<()> {
        let IpAddr::V4(v4) = address else {
            bail!("{} knows IPv4 only", self.what)
        };
        let number = u32::from_ne_bytes(v4.octets());
        self.order(&format!("deny {number}")).map(drop)
    }

    /// Has it refuse nothing any more.
    pub fn deny_nothing(&mut self) -> Result<()> {
        self.order("deny 0").map(drop)
    }

    /// Has it refuse what this process asks for.
    pub fn deny_process(&mut self, pid: i32) -> Result<()> {
        self.order(&format!("deny {pid}")).map(drop)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended by itself; reaping it is what counts.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
