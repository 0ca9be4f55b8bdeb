//! What travels in the tests of flows and names: questions and hellos written
//! by hand, and how a probe puts them on the wire.
//!
//! A probe keeps connections and files open between orders, so that a guard
//! can find them.

use std::any::Any;
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    static HELD: RefCell<Vec<TcpStream>> = const { RefCell::new(Vec::new()) };
    static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Connects by TCP, sends `bytes`, ends its side, and reads what comes until
/// the peer ends its own. Returns how many bytes came.
pub fn talk(to: SocketAddr, bytes: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(reply.len().to_string())
}

/// Sends a DNS message, by UDP or TCP, and waits for an answer. Returns how
/// many bytes came.
pub fn ask(resolver: SocketAddr, message: &[u8], tcp: bool) -> io::Result<String> {
    let mut buffer = [0; 4096];
    let length = if tcp {
        let mut stream = TcpStream::connect_timeout(&resolver, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut framed = (message.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(message);
        stream.write_all(&framed)?;
        stream.read(&mut buffer)?
    } else {
        let any = if resolver.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send_to(message, resolver)?;
        socket.recv(&mut buffer)?
    };
    Ok(length.to_string())
}

/// Sends a DNS message by UDP, looks for the answer without sleeping, and connects a UDP socket that
/// is already there as soon as it has come.
pub fn ask_and_use(resolver: SocketAddr, message: &[u8], target: SocketAddr) -> io::Result<()> {
    let (asking, using) = (UdpSocket::bind("0.0.0.0:0")?, UdpSocket::bind("0.0.0.0:0")?);
    asking.set_nonblocking(true)?;
    asking.send_to(message, resolver)?;
    let until = Instant::now() + PATIENCE;
    let mut buffer = [0; 512];
    loop {
        match asking.recv(&mut buffer) {
            Ok(_) => return using.connect(target),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {}
            Err(e) => return Err(e),
        }
    }
}

/// Connects by TCP and keeps the connection.
pub fn hold(to: SocketAddr) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    HELD.with_borrow_mut(|held| held.push(stream));
    Ok(String::new())
}

/// Sends on the connection that was kept last.
pub fn more(bytes: &[u8]) -> io::Result<String> {
    HELD.with_borrow_mut(|held| match held.last_mut() {
        Some(stream) => stream.write_all(bytes).map(|()| String::new()),
        None => Err(io::Error::other("no connection is held")),
    })
}

/// Opens a file for reading, or for writing at its end, and keeps it open.
pub fn keep(path: &Path, write: bool) -> io::Result<String> {
    let file = if write {
        OpenOptions::new().append(true).open(path)?
    } else {
        File::open(path)?
    };
    KEPT.with_borrow_mut(|kept| kept.push(Box::new(file)));
    Ok(String::new())
}

/// A question for the addresses of `name`: type 1 for IPv4, 28 for IPv6.
pub fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&1u16.to_be_bytes());
    bytes
}

/// A ClientHello of TLS 1.3 for a server `name`; `encrypted` adds the
/// extension that hides the true one.
pub fn hello(name: &str, encrypted: bool) -> Vec<u8> {
    let extension = |kind: u16, body: &[u8]| {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    };
    // Something unknown comes first, as with every browser.
    let mut extensions = extension(0x0a0a, &[]);
    let mut list = vec![0];
    list.extend_from_slice(&(name.len() as u16).to_be_bytes());
    list.extend_from_slice(name.as_bytes());
    let mut names = (list.len() as u16).to_be_bytes().to_vec();
    names.extend_from_slice(&list);
    extensions.extend(extension(0, &names));
    extensions.extend(extension(43, &[2, 3, 4]));
    if encrypted {
        extensions.extend(extension(0xfe0d, &[0; 16]));
    }
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.push(32);
    body.extend_from_slice(&[9; 32]);
    body.extend_from_slice(&[0, 4, 0x13, 0x01, 0x13, 0x02]);
    body.extend_from_slice(&[1, 0]);
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut record = vec![0x16, 3, 1];
    record.extend_from_slice(&(body.len() as u16 + 4).to_be_bytes());
    record.extend_from_slice(&[1, 0]);
    record.extend_from_slice(&(body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}
