//! The process that is measured: carries out one operation many times and says how long it took.
//!
//! Speaks on its standard input and output, one line each way: `operation pattern first count` →
//! nanoseconds. Knows nothing of guards.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::time::{ClockId, clock_gettime};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// The shortest system call.
    Getppid,
    /// open, one read, close.
    OpenReadClose,
    /// socket, connect by TCP over loopback, close.
    Connect,
    /// One datagram over loopback from a socket that is there.
    Sendto,
    /// fork, exec of a small program, wait.
    ForkExec,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 5] = [
        Self::Getppid,
        Self::OpenReadClose,
        Self::Connect,
        Self::Sendto,
        Self::ForkExec,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Getppid => "getppid",
            Self::OpenReadClose => "open_read_close",
            Self::Connect => "connect",
            Self::Sendto => "sendto",
            Self::ForkExec => "fork_exec",
        }
    }

    /// Whether it has an object that can be another one each time.
    pub const fn has_object(self) -> bool {
        !matches!(self, Self::Getppid)
    }
}

impl FromStr for Operation {
    type Err = io::Error;
    fn from_str(name: &str) -> io::Result<Self> {
        let found = Self::ALL.into_iter().find(|o| o.name() == name);
        found.ok_or_else(|| io::Error::other(format!("no operation {name}")))
    }
}

/// The objects of the operations.
#[derive(Debug, Clone)]
pub struct Objects {
    /// Folder with files `0`, `1`, … and programs `p0`, `p1`, ….
    pub folder: PathBuf,
    /// Port of a TCP listener on every loopback address.
    pub tcp: u16,
    /// Port of a UDP socket on every loopback address.
    pub udp: u16,
}

impl Objects {
    fn file(&self, n: u32) -> PathBuf {
        file(&self.folder, n)
    }

    fn address(&self, port: u16, n: u32) -> SocketAddrV4 {
        let [_, _, high, low] = n.to_be_bytes();
        // 127.1.0.1 and on: away from 127.0.0.1, which other things use.
        SocketAddrV4::new(Ipv4Addr::new(127, 1 + high, low, 1), port)
    }
}

/// The n-th file.
pub fn file(folder: &Path, n: u32) -> PathBuf {
    folder.join(n.to_string())
}

/// The n-th program.
pub fn program(folder: &Path, n: u32) -> PathBuf {
    folder.join(format!("p{n}"))
}

/// Serves orders until its input ends.
pub fn serve(objects: &Objects, clock: Clock) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut out = io::stdout();
    writeln!(out, "ready")?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let &[operation, pattern, first, count] = words.as_slice() else {
            return Err(io::Error::other(format!("not an order: {line}")));
        };
        let number = |text: &str| text.parse::<u32>().map_err(io::Error::other);
        let (first, count) = (number(first)?, number(count)?);
        let distinct = pattern == "distinct";
        let operation = operation.parse()?;
        let start = clock.now()?;
        perform(operation, distinct, first, count, objects, &socket)?;
        writeln!(out, "{}", clock.now()? - start)?;
    }
    Ok(())
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Time that passes: what a caller feels.
    Wall,
    /// Time of processors for this process and its children: what is left where others run in
    /// between, as on the one processor of a guest that counts instructions.
    Processor,
}

impl Clock {
    /// Its name on the worker's command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Processor => "processor",
        }
    }

    /// Nanoseconds so far.
    fn now(self) -> io::Result<u64> {
        let read = |id| -> io::Result<u64> {
            let t = clock_gettime(id)?;
            Ok(t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
        };
        match self {
            Self::Wall => read(ClockId::CLOCK_MONOTONIC),
            Self::Processor => {
                let children = getrusage(UsageWho::RUSAGE_CHILDREN)?;
                let spent =
                    |t: TimeVal| t.tv_sec() as u64 * 1_000_000_000 + t.tv_usec() as u64 * 1000;
                Ok(read(ClockId::CLOCK_PROCESS_CPUTIME_ID)?
                    + spent(children.user_time())
                    + spent(children.system_time()))
            }
        }
    }
}

impl FromStr for Clock {
    type Err = io::Error;
    fn from_str(name: &str) -> io::Result<Self> {
        let found = [Self::Wall, Self::Processor]
            .into_iter()
            .find(|c| c.name() == name);
        found.ok_or_else(|| io::Error::other(format!("no clock {name}")))
    }
}

fn perform(
    operation: Operation,
    distinct: bool,
    first: u32,
    count: u32,
    objects: &Objects,
    socket: &UdpSocket,
) -> io::Result<()> {
    for i in 0..count {
        let n = if distinct { first + i } else { 0 };
        match operation {
            Operation::Getppid => {
                black_box(nix::unistd::getppid());
            }
            Operation::OpenReadClose => {
                let mut byte = [0; 64];
                black_box(File::open(objects.file(n))?.read(&mut byte)?);
            }
            Operation::Connect => {
                drop(TcpStream::connect(objects.address(objects.tcp, n))?);
            }
            Operation::Sendto => {
                socket.send_to(b"x", objects.address(objects.udp, n))?;
            }
            Operation::ForkExec => {
                let status = Command::new(program(&objects.folder, n))
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .status()?;
                if !status.success() {
                    return Err(io::Error::other(format!("the program ended with {status}")));
                }
            }
        }
    }
    Ok(())
}
