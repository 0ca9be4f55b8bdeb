//! `scene-probe`: carries out the orders of [`scene::probe`].

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, sendto, socket,
};
use scene::child;
use scene::probe::{FIRST, Fate, LOOT, Order, READY};
use scene::wire;

/// `MSG_FASTOPEN` of Linux, which nix does not name.
const FAST_OPEN: i32 = 0x2000_0000;
const CONNECT: Duration = Duration::from_secs(3);
/// No file is read further.
const LIMIT: u64 = 64 << 10;

fn main() -> io::Result<()> {
    let mut open = Vec::new();
    for argument in std::env::args() {
        if let Some(order) = argument.strip_prefix(FIRST) {
            perform(&serde_json::from_str(order)?, &mut open);
        }
    }
    answer(READY)?;
    for line in io::stdin().lock().lines() {
        let order = serde_json::from_str(&line?).map_err(io::Error::other)?;
        let fate = perform(&order, &mut open);
        answer(&serde_json::to_string(&fate).map_err(io::Error::other)?)?;
    }
    Ok(())
}

fn answer(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Performs an order; listeners stay in `open` for as long as the probe lives.
fn perform(order: &Order, open: &mut Vec<TcpListener>) -> Fate {
    let result = match order {
        Order::Connect(to) => connect(*to),
        Order::FastOpen(to) => fast_open(*to),
        Order::UdpConnect(to) => udp(*to).and_then(|socket| {
            socket.connect(to)?;
            socket.send(LOOT.as_bytes()).map(drop)
        }),
        Order::SendTo(to) => {
            udp(*to).and_then(|socket| socket.send_to(LOOT.as_bytes(), to).map(drop))
        }
        Order::SendPast(first, to) => udp(*to).and_then(|socket| {
            socket.connect(first)?;
            send_past(&socket, *to)
        }),
        Order::Listen(at) => TcpListener::bind(at).map(|listener| open.push(listener)),
        Order::Read(path) => return fate(read(path)),
        Order::Append(path) => append(path),
        Order::Exec(program, arguments) => return exec(program, arguments),
        Order::Call(number, arguments) => child::call(*number, *arguments),
        Order::Become(program) => Err(Command::new(program).exec()),
        Order::Fork(order) => return fork(order),
        Order::Thread(order) => return in_thread(order),
        Order::Talk(to, bytes) => return fate(wire::talk(*to, bytes)),
        Order::Ask(to, message, tcp) => return fate(wire::ask(*to, message, *tcp)),
        Order::Hold(to) => return fate(wire::hold(*to)),
        Order::More(bytes) => return fate(wire::more(bytes)),
        Order::Keep(path, write) => return fate(wire::keep(path, *write)),
    };
    fate(result.map(|()| String::new()))
}

fn fate(result: io::Result<String>) -> Fate {
    match result {
        Ok(text) => Fate::Done(text),
        Err(error) => match error.raw_os_error() {
            Some(errno) => Fate::Refused(errno),
            None => Fate::ChildFailed(error.to_string()),
        },
    }
}

fn connect(to: SocketAddr) -> io::Result<()> {
    TcpStream::connect_timeout(&to, CONNECT)?.write_all(LOOT.as_bytes())
}

fn fast_open(to: SocketAddr) -> io::Result<()> {
    let family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let flags = MsgFlags::from_bits_retain(FAST_OPEN);
    sendto(
        socket.as_raw_fd(),
        LOOT.as_bytes(),
        &SockaddrStorage::from(to),
        flags,
    )?;
    Ok(())
}

fn udp(to: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })
}

/// std refuses to send past a connection; the kernel does not.
fn send_past(socket: &UdpSocket, to: SocketAddr) -> io::Result<()> {
    let (bytes, to) = (LOOT.as_bytes(), SockaddrStorage::from(to));
    sendto(socket.as_raw_fd(), bytes, &to, MsgFlags::empty())?;
    Ok(())
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn append(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .open(path)?
        .write_all(LOOT.as_bytes())
}

fn exec(program: &Path, arguments: &[String]) -> Fate {
    let output = match Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
    {
        Ok(output) => output,
        Err(error) => return fate(Err(error)),
    };
    match (output.status.signal(), output.status.success()) {
        (Some(signal), _) => Fate::ChildKilled(signal),
        (None, true) => Fate::Done(String::from_utf8_lossy(&output.stdout).into_owned()),
        (None, false) => Fate::ChildFailed(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The child tells its fate through a pipe that it inherits.
fn fork(order: &Order) -> Fate {
    let told = child::fork(|| {
        let fate = perform(order, &mut Vec::new());
        serde_json::to_vec(&fate).unwrap_or_default()
    });
    match told {
        Ok(child::Ending::Said(bytes)) => serde_json::from_slice(&bytes)
            .unwrap_or_else(|error| Fate::ChildFailed(error.to_string())),
        Ok(child::Ending::Killed(signal)) => Fate::ChildKilled(signal),
        Err(error) => fate(Err(error)),
    }
}

fn in_thread(order: &Order) -> Fate {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| perform(order, &mut Vec::new()));
        thread
            .join()
            .unwrap_or_else(|_| Fate::ChildFailed("the thread panicked".into()))
    })
}
