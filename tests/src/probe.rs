//! The probe: a process that does what a test orders, one system call at a
//! time, and says what the kernel answered.
//!
//! Tests enrol it as a workload. Orders come on its standard input and answers
//! go to its standard output, one JSON object per line, so that giving orders
//! needs no operation that a guard would look at. The program is
//! `scene-probe`; [`Probe`] is the test's end of the line.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::child;
use crate::namespace::Namespace;

/// How long a probe may take to start; emulated machines are slow.
const START: Duration = Duration::from_secs(90);
/// How long an order may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a probe can be told to do. Whatever is sent is [`LOOT`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Connect by TCP and send.
    Connect(SocketAddr),
    /// The same with TCP fast open: `sendto` connects.
    FastOpen(SocketAddr),
    /// Connect a UDP socket and send.
    UdpConnect(SocketAddr),
    /// Send by UDP without connecting.
    SendTo(SocketAddr),
    /// Connect a UDP socket to the first address, then send to the second.
    SendPast(SocketAddr, SocketAddr),
    /// Listen on a TCP port for as long as the probe lives.
    Listen(SocketAddr),
    /// Read a file.
    Read(PathBuf),
    /// Add to the end of a file that exists.
    Append(PathBuf),
    /// Start a program and wait for it.
    Exec(PathBuf, Vec<String>),
    /// Become another program, keeping the line to the test.
    Become(PathBuf),
    /// Make a system call by its number, with these numbers as arguments.
    Call(i64, [u64; 3]),
    /// Create a file.
    Create(PathBuf),
    /// Remove a file.
    Remove(PathBuf),
    /// Remove a directory.
    RemoveDirectory(PathBuf),
    /// Rename the first to the second.
    Rename(PathBuf, PathBuf),
    /// Give the first the second as another name.
    Link(PathBuf, PathBuf),
    /// Cut a file to nothing, by its name.
    Cut(PathBuf),
    /// Make a symbolic link, to the first, at the second.
    Symlink(PathBuf, PathBuf),
    /// Make a directory.
    MakeDirectory(PathBuf),
    /// Lay the first over the second by a bind mount.
    Bind(PathBuf, PathBuf),
    /// The same by open_tree and move_mount.
    CloneMount(PathBuf, PathBuf),
    /// Take a mount away.
    Unmount(PathBuf),
    /// Make a mount the root, in a mount namespace made for that, and read
    /// the second there.
    Pivot(PathBuf, PathBuf),
    /// Make a user namespace.
    UserNamespace,
    /// Start a child in a user namespace of its own, by clone3 if so.
    UserNamespaceChild(bool),
    /// Trace a process, and let it go.
    Trace(i32),
    /// Start a program in a child that is traced from before it, and leave it
    /// stopped there; the answer is its process id.
    TracedExec(PathBuf, Vec<String>),
    /// Read four bytes of a process's memory at an address.
    ReadMemory(i32, usize),
    /// Map a file into memory.
    Map(PathBuf),
    /// Set up an io_uring.
    Ring,
    /// Connect by TCP through an io_uring and send; through one that the
    /// kernel's own thread serves if so.
    RingConnect(SocketAddr, bool),
    /// Read a file through an io_uring.
    RingRead(PathBuf),
    /// Remove a file through an io_uring.
    RingRemove(PathBuf),
    /// Listen on TCP without binding first, by IPv6 if so, for as long as the
    /// probe lives.
    ListenUnbound(bool),
    /// Take a UDP port.
    UdpBind(SocketAddr),
    /// Make a socket of this family, type and protocol.
    Socket(i32, i32, i32),
    /// Connect to a unix socket and send: a path, or `@` and an abstract name.
    UnixConnect(String),
    /// Send a datagram to a unix socket, without connecting.
    UnixSend(String),
    /// Have a forked child do it, without an exec in between.
    Fork(Box<Order>),
    /// Have a second thread do it.
    Thread(Box<Order>),
    /// Connect by TCP, send these bytes, and count what comes back.
    Talk(SocketAddr, Vec<u8>),
    /// Send a name server this message, by TCP or not, and count what comes back.
    Ask(SocketAddr, Vec<u8>, bool),
    /// Send a name server this message by UDP, and connect a UDP socket to this address in the instant
    /// in which the answer is there.
    AskAndUse(SocketAddr, Vec<u8>, SocketAddr),
    /// Connect by TCP and keep the connection.
    Hold(SocketAddr),
    /// Send on the connection that was kept last.
    More(Vec<u8>),
    /// Open a file, for writing or not, and keep it open.
    Keep(PathBuf, bool),
}

/// What a probe sends and writes.
pub const LOOT: &str = "loot";

impl Order {
    /// The same by a forked child.
    pub fn forked(self) -> Self {
        Self::Fork(Box::new(self))
    }

    /// The same by a second thread.
    pub fn in_thread(self) -> Self {
        Self::Thread(Box::new(self))
    }

    /// Start `program` with `arguments`.
    pub fn exec(program: &str, arguments: &[&str]) -> Self {
        Self::Exec(
            program.into(),
            arguments.iter().map(|&a| a.to_owned()).collect(),
        )
    }
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It worked; what was read or printed.
    Done(String),
    /// The kernel refused with this error number.
    Refused(i32),
    /// A child or program that the probe had started was killed by this signal.
    ChildKilled(i32),
    /// A program that the probe had started failed.
    ChildFailed(String),
    /// The probe itself was killed by this signal.
    Killed(i32),
}

impl Fate {
    /// Whether the order was carried out.
    pub fn worked(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// The kernel refused with EPERM.
    pub const EPERM: Self = Self::Refused(Errno::EPERM as i32);
    /// The probe was killed with SIGKILL.
    pub const SHOT: Self = Self::Killed(Signal::SIGKILL as i32);
    /// A child of the probe was killed with SIGKILL.
    pub const CHILD_SHOT: Self = Self::ChildKilled(Signal::SIGKILL as i32);
}

/// A running probe. Dropping it ends it.
pub struct Probe {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

/// What is particular about how a probe is started.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Its arguments, which it ignores, except for one that begins with
    /// [`FIRST`].
    pub arguments: Vec<String>,
    /// Its user, if not this one.
    pub user: Option<u32>,
    /// In a mount namespace of its own, as containers are.
    pub apart: bool,
}

impl Probe {
    /// Starts the probe `program` in a namespace.
    pub fn start(namespace: &Namespace, program: &Path, launch: Launch) -> Result<Self> {
        let program = program.to_owned();
        namespace.run(move || Self::start_here(&program, launch))?
    }

    fn start_here(program: &Path, launch: Launch) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(&launch.arguments);
        if let Some(user) = launch.user {
            command.uid(user).gid(user);
        }
        if launch.apart {
            child::apart(&mut command);
        }
        command.env_clear();
        Self::speak(command)
    }

    /// Starts a probe by another program, such as a container runtime, that
    /// hands its standard input and output on, and ends as the probe does.
    pub fn start_by(namespace: &Namespace, command: Command) -> Result<Self> {
        namespace.run(move || Self::speak(command))?
    }

    fn speak(mut command: Command) -> Result<Self> {
        command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = child::tie(&mut command, Signal::SIGKILL)
            .spawn()
            .with_context(|| format!("start the probe: {command:?}"))?;
        let orders = child.stdin.take().context("the probe's standard input")?;
        let output = child.stdout.take().context("the probe's standard output")?;
        let (lines, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let probe = Self {
            child,
            orders,
            answers,
        };
        match probe.answers.recv_timeout(START) {
            Ok(line) if line == READY => Ok(probe),
            other => bail!("the probe did not start: {other:?}"),
        }
    }

    /// Has the probe become another copy of itself, which takes its place.
    pub fn become_copy(&mut self, program: &Path) -> Result<()> {
        let order =
            serde_json::to_string(&Order::Become(program.to_owned())).context("write an order")?;
        writeln!(self.orders, "{order}")
            .and_then(|()| self.orders.flush())
            .context("give an order")?;
        match self.answers.recv_timeout(PATIENCE) {
            Ok(line) if line == READY => Ok(()),
            other => bail!("the probe did not become {}: {other:?}", program.display()),
        }
    }

    /// Gives an order and waits for what comes of it.
    pub fn ask(&mut self, order: &Order) -> Result<Fate> {
        let line = serde_json::to_string(order).context("write an order")?;
        // A probe that was killed meanwhile is noticed below.
        let _ = writeln!(self.orders, "{line}").and_then(|()| self.orders.flush());
        match self.answers.recv_timeout(PATIENCE) {
            Ok(line) => {
                serde_json::from_str(&line).with_context(|| format!("the probe's answer: {line}"))
            }
            Err(RecvTimeoutError::Timeout) => bail!("the probe did not answer to {order:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().context("wait for the probe")?;
                // A runtime tells of a signal as shells do.
                let signal = status.signal().or(status.code().map(|code| code - 128));
                match signal.filter(|&signal| signal > 0) {
                    Some(signal) => Ok(Fate::Killed(signal)),
                    None => bail!("the probe ended with {status} at {order:?}"),
                }
            }
        }
    }

    /// The probe's process.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It may be dead already; reaping it is what counts.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What begins an argument with an order that the probe carries out first of
/// all, before it says anything; what came of it is lost.
pub const FIRST: &str = "first=";

/// The argument with which a probe has its parent trace it, and ends.
pub const TRACE_ME: &str = "--trace-me";

/// What a probe says first.
pub const READY: &str = "ready";
