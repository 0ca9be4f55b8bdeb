//! What a self-test process does: one operation of each family, on loopback and on its own files.
//!
//! It runs as a child of the daemon (`/proc/self/exe __probe …`), waits until it has been made a
//! member, and reports on its standard output what happened to each operation.

use std::{
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::{
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
            process::ExitStatusExt,
        },
    },
    process::{Command, ExitCode, Stdio},
};

/// First argument that makes this program a probe.
pub const ARGUMENT: &str = "__probe";

/// First line of its output.
pub const READY: &str = "ready";

/// Operations, by the name of the hook they exercise.
pub const NETWORK: [&str; 8] = [
    "connect4",
    "connect6",
    "sendmsg4",
    "sendmsg6",
    "bind4",
    "bind6",
    "sock_create",
    "flow",
];

/// Runs the operations named in `args`, one line of output each: `name ok`, `name errno N`, `name
/// killed`, or `name unavailable` where the machine has no such protocol.
pub fn run(args: &[String]) -> ExitCode {
    // The parent must not make this process a member before its exec is over, and it must not go
    // on before it is one.
    let mut go = [0; 1];
    if writeln!(std::io::stdout(), "{READY}").is_err()
        || std::io::stdin().read_exact(&mut go).is_err()
    {
        return ExitCode::FAILURE;
    }
    for name in args {
        let outcome = if name == "exec" {
            execute()
        } else {
            describe(operate(name))
        };
        if writeln!(std::io::stdout(), "{name} {outcome}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn operate(name: &str) -> Option<std::io::Result<()>> {
    // Port 9 (discard) on loopback: connecting a UDP socket sends nothing.
    Some(match name {
        "connect4" => UdpSocket::bind("127.0.0.1:0").ok()?.connect("127.0.0.1:9"),
        "connect6" => UdpSocket::bind("[::1]:0").ok()?.connect("[::1]:9"),
        "sendmsg4" => UdpSocket::bind("127.0.0.1:0")
            .ok()?
            .send_to(&[], "127.0.0.1:9")
            .map(drop),
        "sendmsg6" => UdpSocket::bind("[::1]:0")
            .ok()?
            .send_to(&[], "[::1]:9")
            .map(drop),
        "bind4" => TcpListener::bind("127.0.0.1:0").map(drop),
        "bind6" => match TcpListener::bind("[::1]:0") {
            Err(e) if e.raw_os_error() == Some(libc::EADDRNOTAVAIL) => return None,
            Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) => return None,
            r => r.map(drop),
        },
        "flow" => flow(),
        "open" => File::open("/proc/version").map(drop),
        // No such file system: nothing is mounted even where this is let through.
        "mount" => Err(nix::mount::mount(
            Some("none"),
            "/",
            Some("slmguard-none"),
            nix::mount::MsFlags::empty(),
            None::<&str>,
        )
        .err()?
        .into()),
        "ring" => return ring(),
        "names" => names(),
        "sock_create" => socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP).map(drop),
        "netlink" => socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE).map(drop),
        "listen" => listen(),
        "unix" => {
            let at = own_name("unix").ok()?;
            let _listener = UnixListener::bind_addr(&at).ok()?;
            UnixStream::connect_addr(&at).map(drop)
        }
        "datagram" => {
            let at = own_name("datagram").ok()?;
            let _receiver = UnixDatagram::bind_addr(&at).ok()?;
            UnixDatagram::unbound()
                .ok()?
                .send_to_addr(&[], &at)
                .map(drop)
        }
        _ => return None,
    })
}

/// An abstract name of this process's own: a process of another pid namespace may have its number.
fn own_name(purpose: &str) -> std::io::Result<SocketAddr> {
    let own = RandomState::new().hash_one(std::process::id());
    SocketAddr::from_abstract_name(format!("slmguard-probe-{purpose}-{own:016x}"))
}

fn socket(family: i32, kind: i32, protocol: i32) -> std::io::Result<OwnedFd> {
    // SAFETY: a system call without pointers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just made and that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Listens without having bound: the kernel chooses a port.
fn listen() -> std::io::Result<()> {
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    // SAFETY: a system call without pointers, on a descriptor of our own.
    match unsafe { libc::listen(socket.as_raw_fd(), 1) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Makes a directory in the working directory, and removes it again. Where the tier can only kill,
/// it does so between the two: whoever starts the probe gives it a working directory of its own.
fn names() -> std::io::Result<()> {
    std::fs::create_dir("names")?;
    std::fs::remove_dir("names")
}

/// Sets up a ring of one entry. `None` where the kernel has none, or the system allows none.
fn ring() -> Option<std::io::Result<()>> {
    // `struct io_uring_params`: nothing is asked for.
    let mut parameters = [0u32; 30];
    // SAFETY: the kernel writes at most the 120 bytes of its structure.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    if fd < 0 {
        return Some(Err(std::io::Error::last_os_error()));
    }
    // SAFETY: a descriptor that was just made and that nobody else has.
    drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    Some(Ok(()))
}

/// A connection to itself, and a datagram, from beginning to end.
fn flow() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"?")?;
    server.read_exact(&mut [0])?;
    let (a, b) = (
        UdpSocket::bind("127.0.0.1:0")?,
        UdpSocket::bind("127.0.0.1:0")?,
    );
    b.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
    a.send_to(b"?", b.local_addr()?)?;
    b.recv(&mut [0]).map(drop)
}

fn describe(outcome: Option<std::io::Result<()>>) -> String {
    match outcome {
        Some(Ok(())) => "ok".to_owned(),
        Some(Err(e)) => format!("errno {}", e.raw_os_error().unwrap_or(0)),
        None => "unavailable".to_owned(),
    }
}

/// Starts a program: itself, which ends at once because nobody tells it to go. Inherits its
/// input, so that nothing but the program is opened.
fn execute() -> String {
    match Command::new("/proc/self/exe")
        .arg(ARGUMENT)
        .stdout(Stdio::piped())
        .status()
    {
        Ok(status) if status.signal() == Some(libc::SIGKILL) => "killed".to_owned(),
        Ok(_) => "ok".to_owned(),
        Err(e) => describe(Some(Err(e))),
    }
}
