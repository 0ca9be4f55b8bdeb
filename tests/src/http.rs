//! As much HTTP/1.1 as the scene's own processes speak with each other.
//!
//! One request per connection, bodies by content length, no TLS. Errors stay
//! `io::Error`, because what the kernel answered (EPERM, ECONNREFUSED) is what
//! the tests are about. Made for local peers of the scene only.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// No message of the scene is larger.
const LIMIT: usize = 1 << 20;
/// How long a peer of the scene may keep another one waiting for data.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may take to be accepted.
const CONNECT: Duration = Duration::from_secs(3);

/// A request as received.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The body, empty if there was none.
    pub body: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Response {
    /// A 200 with this body.
    pub fn ok(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            body: body.into(),
        }
    }
}

/// Reads the bytes of one message: head, then as much body as it announces.
/// Returns what came, also if the peer stopped half-way.
pub fn read_message(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while bytes.len() < LIMIT && !complete(&bytes) {
        match stream.read(&mut chunk) {
            // An io_uring that was just given up still notifies the thread that had it.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
    bytes
}

fn complete(bytes: &[u8]) -> bool {
    match split_head(bytes) {
        Some((head, body)) => content_length(&head).is_some_and(|length| body.len() >= length),
        None => false,
    }
}

fn split_head(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some((
        String::from_utf8_lossy(&bytes[..end]).into_owned(),
        &bytes[end + 4..],
    ))
}

/// The announced length of the body. A request without one has no body; an
/// answer without one ends with the connection (`None`).
fn content_length(head: &str) -> Option<usize> {
    let announced = head.lines().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    if announced.is_none() && !head.starts_with("HTTP/") {
        Some(0)
    } else {
        announced
    }
}

/// Understands the bytes of a request.
pub fn parse_request(bytes: &[u8]) -> Option<Request> {
    let (head, body) = split_head(bytes)?;
    let mut words = head.lines().next()?.split(' ');
    Some(Request {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        body: String::from_utf8_lossy(body).into_owned(),
    })
}

/// Sends an answer and ends the conversation.
pub fn respond(stream: &mut TcpStream, response: &Response) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        response.status,
        if response.status < 400 { "OK" } else { "Error" },
        response.body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(response.body.as_bytes())
}

/// An `http://` address, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Url {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Port, 80 unless given.
    pub port: u16,
    /// Path and query, at least `/`.
    pub path: String,
}

impl Url {
    /// Parses `http://host[:port][/path]`.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let (authority, path) = match rest.find('/') {
            Some(slash) => (&rest[..slash], &rest[slash..]),
            None => (rest, "/"),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = port.map_or(Some(80), |p| p.parse().ok())?;
        (!host.is_empty()).then(|| Self {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }
}

/// Asks `url`, resolving its name as every program does. `patience` is how
/// long the answer may take.
pub fn fetch(url: &Url, body: Option<&str>, patience: Duration) -> io::Result<Response> {
    let mut last = io::Error::new(
        io::ErrorKind::NotFound,
        format!("{} has no address", url.host),
    );
    for address in (url.host.as_str(), url.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return exchange(stream, &url.host, &url.path, body, patience),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks the service at `address`.
pub fn ask(
    address: SocketAddr,
    path: &str,
    body: Option<&str>,
    patience: Duration,
) -> io::Result<Response> {
    let stream = TcpStream::connect_timeout(&address, CONNECT)?;
    exchange(stream, &address.to_string(), path, body, patience)
}

fn exchange(
    mut stream: TcpStream,
    host: &str,
    path: &str,
    body: Option<&str>,
    patience: Duration,
) -> io::Result<Response> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let bytes = read_message(&mut stream);
    let (head, body) = split_head(&bytes).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the peer closed the connection without an answer",
        )
    })?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))?;
    if content_length(&head).is_some_and(|length| body.len() < length) {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the peer closed the connection within its answer",
        ));
    }
    Ok(Response {
        status,
        body: String::from_utf8_lossy(body).into_owned(),
    })
}

/// Gives an accepted connection the scene's patience.
pub fn bound(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let url = |host: &str, port, path: &str| {
            Some(Url {
                host: host.into(),
                port,
                path: path.into(),
            })
        };
        assert_eq!(
            Url::parse("http://a.demo/x?y=1"),
            url("a.demo", 80, "/x?y=1")
        );
        assert_eq!(
            Url::parse("http://10.0.0.1:8080"),
            url("10.0.0.1", 8080, "/")
        );
        assert_eq!(
            Url::parse("http://[fd77::66]:81/a"),
            url("fd77::66", 81, "/a")
        );
        assert_eq!(Url::parse("http://[::1]/"), url("::1", 80, "/"));
        assert_eq!(Url::parse("https://a.demo/"), None);
        assert_eq!(Url::parse("http:///x"), None);
        assert_eq!(Url::parse("http://a:b/"), None);
    }

    #[test]
    fn a_message_ends_where_it_says() {
        let mut bytes: &[u8] = b"POST /ask HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        let request = parse_request(&read_message(&mut bytes)).expect("a request");
        assert_eq!(
            request,
            Request {
                method: "POST".into(),
                path: "/ask".into(),
                body: "abc".into()
            }
        );
        assert!(complete(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert!(!complete(b"HTTP/1.1 200 OK\r\n\r\nuntil the end"));
        assert!(!complete(
            b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nabc"
        ));
        assert!(parse_request(b"half a he").is_none());
    }
}
