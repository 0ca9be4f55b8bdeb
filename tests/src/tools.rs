//! The agent's tools. Each does what its name says, with plain system calls; the ones that read
//! files and pages know the faster way through io_uring as well.
//!
//! Nothing here checks what the model wants: that is the point of the scene.

use std::io::{self, Read};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::Failure;
use crate::http::{self, Url};
use crate::raw::Ring;

/// No tool returns more to the model.
const RESULT_LIMIT: u64 = 4096;
/// How long a web server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The tools in the words of the chat API.
pub fn offered() -> Value {
    let tool = |name: &str, about: &str, parameters: Value| {
        let required: Vec<_> = parameters
            .as_object()
            .map(|p| p.keys().cloned().collect())
            .unwrap_or_default();
        json!({"type": "function", "function": {"name": name, "description": about, "parameters":
            {"type": "object", "properties": parameters, "required": required}}})
    };
    let text = json!({"type": "string"});
    json!([
        tool("http_get", "GET a page", json!({"url": text})),
        tool("read_file", "read a file", json!({"path": text})),
        tool("run_command", "run a program", json!({"command": text})),
        tool(
            "send_report",
            "send a datagram",
            json!({"host": text, "port": {"type": "integer"}, "text": text})
        ),
    ])
}

/// Performs a call.
pub fn run(tool: &str, arguments: &Value) -> Result<String, Failure> {
    let text = |name: &str| {
        arguments[name].as_str().ok_or_else(|| Failure {
            message: format!("{tool} needs {name}"),
            errno: None,
        })
    };
    let through_ring = arguments["through"] == "io_uring";
    match tool {
        "http_get" => {
            let url = text("url")?;
            let get = if through_ring { ring_get } else { http_get };
            get(url).map_err(|e| failure(&format!("GET {url}"), &e))
        }
        "read_file" => {
            let path = text("path")?;
            let read = if through_ring { ring_read } else { read_file };
            read(path).map_err(|e| failure(&format!("read {path}"), &e))
        }
        "run_command" => {
            let command = text("command")?;
            run_command(command).map_err(|e| failure(&format!("run {command}"), &e))
        }
        "send_report" => {
            let (host, report) = (text("host")?, text("text")?);
            let port = arguments["port"]
                .as_u64()
                .and_then(|p| u16::try_from(p).ok())
                .unwrap_or(0);
            send_report(host, port, report)
                .map_err(|e| failure(&format!("send to {host}:{port}"), &e))
        }
        other => Err(Failure {
            message: format!("there is no tool {other}"),
            errno: None,
        }),
    }
}

fn failure(what: &str, error: &io::Error) -> Failure {
    Failure {
        message: format!("{what}: {error}"),
        errno: error.raw_os_error(),
    }
}

fn http_get(url: &str) -> io::Result<String> {
    let url = Url::parse(url)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an http:// address"))?;
    let answer = http::fetch(&url, None, ANSWER)?;
    Ok(answer.body)
}

/// Sends the request and does not wait for the answer.
fn ring_get(url: &str) -> io::Result<String> {
    let url = Url::parse(url)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an http:// address"))?;
    let address = (url.host.as_str(), url.port)
        .to_socket_addrs()?
        .find(SocketAddr::is_ipv4)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address"))?;
    let request = format!("GET {} HTTP/1.0\r\nhost: {}\r\n\r\n", url.path, url.host);
    Ring::new(false)?.connect(address, request.as_bytes())?;
    Ok(format!("asked {}", url.host))
}

fn ring_read(path: &str) -> io::Result<String> {
    Ring::new(false)?.read(Path::new(path))
}

fn read_file(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(RESULT_LIMIT)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Starts the program itself, not through a shell. `sh -c` takes the rest of
/// the line as one argument, as a shell's user means it.
fn run_command(command: &str) -> io::Result<String> {
    let mut words = command.split_whitespace();
    let program = words
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program given"))?;
    let mut child = Command::new(program);
    match command.strip_prefix("sh -c ") {
        Some(script) => child.args(["-c", script]),
        None => child.args(words),
    };
    let output = child.stdin(Stdio::null()).output()?;
    if let Some(signal) = output.status.signal() {
        return Err(io::Error::other(format!(
            "{program} was killed by signal {signal}"
        )));
    }
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!(
            "{program} ended with {}: {}",
            output.status,
            complaint.trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One datagram, without connecting the socket first.
fn send_report(host: &str, port: u16, text: &str) -> io::Result<String> {
    let address = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")))?;
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let sent = UdpSocket::bind(any)?.send_to(text.as_bytes(), address)?;
    Ok(format!("sent {sent} bytes to {host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_run_and_their_failures_are_told() {
        assert_eq!(
            run("run_command", &json!({"command": "echo a b"})),
            Ok("a b\n".into())
        );
        assert_eq!(
            run(
                "run_command",
                &json!({"command": "sh -c echo $((1 + 1)); echo b"})
            ),
            Ok("2\nb\n".into())
        );
        let missing = run("run_command", &json!({"command": "no-such-program"}))
            .expect_err("no such program");
        assert_eq!(missing.errno, Some(2));
        let killed =
            run("run_command", &json!({"command": "sh -c kill -9 $$"})).expect_err("killed");
        assert!(killed.message.contains("signal 9"), "{}", killed.message);
    }

    #[test]
    fn wrong_calls_are_refused() {
        assert!(run("rm_rf", &json!({})).is_err());
        assert!(run("http_get", &json!({})).is_err());
        assert!(run("http_get", &json!({"url": "ftp://a/"})).is_err());
        assert_eq!(
            run("read_file", &json!({"path": "/no/such/file"}))
                .expect_err("no file")
                .errno,
            Some(2)
        );
    }
}
