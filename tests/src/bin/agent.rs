//! `scene-agent`: the agent as a service.
//!
//!     scene-agent --listen HOST:PORT --server HOST:PORT
//!
//! `POST /ask {"prompt": …}` runs one task and answers with its transcript;
//! `GET /health` answers once it listens. One task at a time.

use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, bail};
use scene::agent::{self, Task};
use scene::http::{self, Response};

fn main() -> Result<()> {
    let (listen, server) = arguments()?;
    let listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
    println!("agent listens on http://{listen}, asks the model at http://{server}");
    for connection in listener.incoming() {
        if let Err(error) = connection
            .map_err(Into::into)
            .and_then(|stream| serve(stream, server))
        {
            eprintln!("agent: {error:#}");
        }
    }
    Ok(())
}

fn arguments() -> Result<(SocketAddr, SocketAddr)> {
    let (mut listen, mut server) = (None, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let slot = match word.as_str() {
            "--listen" => &mut listen,
            "--server" => &mut server,
            other => bail!(
                "unknown argument {other}; usage: scene-agent --listen HOST:PORT --server HOST:PORT"
            ),
        };
        let value = words
            .next()
            .with_context(|| format!("{word} needs a value"))?;
        *slot = Some(
            value
                .parse()
                .with_context(|| format!("{word} {value} is no address"))?,
        );
    }
    Ok((
        listen.context("--listen HOST:PORT is missing")?,
        server.context("--server HOST:PORT is missing")?,
    ))
}

fn serve(mut stream: TcpStream, server: SocketAddr) -> Result<()> {
    http::bound(&stream)?;
    let Some(request) = http::parse_request(&http::read_message(&mut stream)) else {
        return Ok(());
    };
    let response = match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/health") => Response::ok("{}"),
        ("POST", "/ask") => ask(&request.body, server).unwrap_or_else(|error| Response {
            status: 500,
            body: format!("{error:#}"),
        }),
        _ => Response {
            status: 404,
            body: format!("no such route: {} {}", request.method, request.path),
        },
    };
    http::respond(&mut stream, &response).context("answer")
}

fn ask(body: &str, server: SocketAddr) -> Result<Response> {
    let task: Task = serde_json::from_str(body).context("the task is no JSON with a prompt")?;
    Ok(Response::ok(serde_json::to_string(&agent::perform(
        server, &task,
    )?)?))
}
