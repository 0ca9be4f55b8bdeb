//! `scene-probe`: carries out the orders of [`scene::probe`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::ptrace;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrStorage, listen, sendto, socket,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{self, Pid};
use scene::child;
use scene::probe::{FIRST, Fate, LOOT, Order, READY, TRACE_ME};
use scene::raw::{self, Ring};
use scene::wire;

/// `MSG_FASTOPEN` of Linux, which nix does not name.
const FAST_OPEN: i32 = 0x2000_0000;
const CONNECT: Duration = Duration::from_secs(3);
/// No file is read further.
const LIMIT: u64 = 64 << 10;

fn main() -> io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some(TRACE_ME) {
        return ptrace::traceme().map_err(Into::into);
    }
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

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    let none = None::<&Path>;
    mount(Some(from), to, none, MsFlags::MS_BIND, none).map_err(Into::into)
}

/// The old root is put over the new one's own folder of that name.
fn pivot(root: &Path, path: &Path) -> io::Result<String> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    unistd::pivot_root(root, &root.join("old"))?;
    read(path)
}

/// The child ends with the probe.
fn traced(program: &Path, arguments: &[String]) -> Fate {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let started = child::traced(&mut command).spawn();
    fate(started.and_then(|child| {
        let pid = Pid::from_raw(child.id() as i32);
        waitpid(pid, None)?;
        ptrace::setoptions(pid, ptrace::Options::PTRACE_O_EXITKILL)?;
        Ok(pid.to_string())
    }))
}

fn trace(pid: Pid) -> io::Result<()> {
    ptrace::seize(pid, ptrace::Options::empty())?;
    // Only who has stopped can be let go.
    ptrace::interrupt(pid)?;
    waitpid(pid, None)?;
    ptrace::detach(pid, None).map_err(Into::into)
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
        Order::Create(path) => File::create_new(path).map(drop),
        Order::Remove(path) => fs::remove_file(path),
        Order::RemoveDirectory(path) => fs::remove_dir(path),
        Order::Rename(from, to) => fs::rename(from, to),
        Order::Link(from, to) => fs::hard_link(from, to),
        Order::Cut(path) => unistd::truncate(path, 0).map_err(Into::into),
        Order::Symlink(from, to) => symlink(from, to),
        Order::MakeDirectory(path) => fs::create_dir(path),
        Order::Bind(from, to) => bind(from, to),
        Order::CloneMount(from, to) => raw::clone_mount(from, to),
        Order::Unmount(path) => umount(path).map_err(Into::into),
        Order::Pivot(root, path) => return fate(pivot(root, path)),
        Order::UserNamespace => unshare(CloneFlags::CLONE_NEWUSER).map_err(Into::into),
        Order::UserNamespaceChild(by_clone3) => {
            return match raw::child_apart(*by_clone3) {
                Ok(WaitStatus::Signaled(_, signal, _)) => Fate::ChildKilled(signal as i32),
                ended => fate(ended.map(|_| String::new())),
            };
        }
        Order::Trace(pid) => trace(Pid::from_raw(*pid)),
        Order::TracedExec(program, arguments) => return traced(program, arguments),
        Order::ReadMemory(pid, address) => return fate(raw::read_memory(*pid, *address)),
        Order::Map(path) => raw::map(path),
        Order::Ring => Ring::new(false).map(drop),
        Order::RingConnect(to, polled) => {
            Ring::new(*polled).and_then(|mut ring| ring.connect(*to, LOOT.as_bytes()))
        }
        Order::RingRead(path) => {
            return fate(Ring::new(false).and_then(|mut ring| ring.read(path)));
        }
        Order::RingRemove(path) => Ring::new(false).and_then(|mut ring| ring.remove(path)),
        Order::ListenUnbound(v6) => listen_unbound(*v6).map(|listener| open.push(listener)),
        Order::UdpBind(at) => UdpSocket::bind(at).map(drop),
        Order::Socket(family, kind, protocol) => {
            raw::socket_of(*family, *kind, *protocol).map(drop)
        }
        Order::UnixConnect(name) => unix_connect(name),
        Order::UnixSend(name) => unix_send(name),
        Order::Fork(order) => return fork(order),
        Order::Thread(order) => return in_thread(order),
        Order::Talk(to, bytes) => return fate(wire::talk(*to, bytes)),
        Order::Ask(to, message, tcp) => return fate(wire::ask(*to, message, *tcp)),
        Order::AskAndUse(to, message, target) => wire::ask_and_use(*to, message, *target),
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

fn listen_unbound(v6: bool) -> io::Result<TcpListener> {
    let family = if v6 {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    listen(&socket, Backlog::new(8)?)?;
    Ok(socket.into())
}

/// The address of a unix socket: a path, or `@` and an abstract name.
fn unix_address(name: &str) -> io::Result<UnixAddress> {
    match name.strip_prefix('@') {
        Some(name) => UnixAddress::from_abstract_name(name),
        None => UnixAddress::from_pathname(name),
    }
}

fn unix_connect(name: &str) -> io::Result<()> {
    UnixStream::connect_addr(&unix_address(name)?)?.write_all(LOOT.as_bytes())
}

fn unix_send(name: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    let sent = socket.send_to_addr(LOOT.as_bytes(), &unix_address(name)?);
    sent.map(drop)
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
