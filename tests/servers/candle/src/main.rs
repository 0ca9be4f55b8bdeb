//! An inference server in pure Rust: candle for the model, rustls for the connection.
//!
//!     candle-server --model FILE --listen HOST:PORT --listen-tls HOST:PORT
//!
//! `POST /v1/completions {"prompt": …}` completes; with `"image_url"`, as for a multimodal model,
//! that page is fetched first. `POST /v1/load_lora_adapter {"lora_path": …}` loads an adapter, and
//! tells what stood at its start if it is none. `GET /health` answers once the model is loaded. Both
//! listeners serve the same. Neither addresses nor paths are checked, as in many a server: that is
//! what the tests attack.

mod model;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::{Context, Result, bail};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::model::Model;

const PATIENCE: Duration = Duration::from_secs(10);
const BODY_LIMIT: usize = 1 << 20;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let options: HashMap<&str, &str> = words
        .chunks_exact(2)
        .map(|pair| (pair[0].as_str(), pair[1].as_str()))
        .collect();
    let option = |name: &str| {
        let value = options.get(name).copied();
        value.with_context(|| format!("{name} is missing"))
    };
    let model = Model::load(&PathBuf::from(option("--model")?))?;
    let model = Arc::new(Mutex::new(model));
    let tls = tls()?;
    let plain = listen(option("--listen")?)?;
    let secure = listen(option("--listen-tls")?)?;
    let shared = Arc::clone(&model);
    thread::spawn(move || {
        for stream in secure.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&tls));
            tell(connection.map_err(Into::into).and_then(|connection| {
                bound(&stream)?;
                serve(StreamOwned::new(connection, stream), &shared)
            }));
        }
    });
    println!("serving");
    for stream in plain.incoming().flatten() {
        tell(bound(&stream).and_then(|()| serve(stream, &model)));
    }
    Ok(())
}

fn listen(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("listen on {address}"))
}

fn tell(result: Result<()>) {
    if let Err(error) = result {
        eprintln!("candle-server: {error:#}");
    }
}

fn bound(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(())
}

/// A certificate of this run's own.
fn tls() -> Result<Arc<ServerConfig>> {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)?;
    Ok(Arc::new(config))
}

fn serve(stream: impl Read + Write, model: &Mutex<Model>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let route = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    if length > BODY_LIMIT {
        bail!("the request is longer than {BODY_LIMIT} bytes");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, reply) = match answer(&route, &body, model) {
        Ok(reply) => ("200 OK", reply),
        Err(error) => ("400 Bad Request", json!({ "error": format!("{error:#}") })),
    };
    let reply = reply.to_string();
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{reply}",
        reply.len()
    )?;
    Ok(reader.get_mut().flush()?)
}

fn answer(route: &str, body: &[u8], model: &Mutex<Model>) -> Result<Value> {
    if route == "GET /health" {
        return Ok(json!({"status": "ok"}));
    }
    let asked: Value = serde_json::from_slice(body).context("the body is no JSON")?;
    let text = |name: &str| asked[name].as_str();
    match route {
        "POST /v1/completions" => {
            if let Some(url) = text("image_url") {
                fetch(url).with_context(|| format!("fetch {url}"))?;
            }
            let prompt = text("prompt").context("no prompt")?;
            let mut model = model.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(json!({"choices": [{"text": model.complete(prompt, 16)?}]}))
        }
        "POST /v1/load_lora_adapter" => {
            let path = text("lora_path").context("no lora_path")?;
            let bytes = fs::read(Path::new(path)).with_context(|| format!("read {path}"))?;
            if bytes.starts_with(b"GGUF") {
                return Ok(json!({"loaded": path}));
            }
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned();
            bail!("{path} is no adapter: it starts with {start:?}")
        }
        _ => bail!("no such route: {route}"),
    }
}

/// What `http://ADDRESS:PORT/…` answers.
fn fetch(url: &str) -> Result<Vec<u8>> {
    let rest = url.strip_prefix("http://").context("only http")?;
    let host = rest.split('/').next().unwrap_or(rest);
    let mut stream = TcpStream::connect(host)?;
    bound(&stream)?;
    write!(
        stream,
        "GET /{} HTTP/1.0\r\nhost: {host}\r\n\r\n",
        &rest[host.len()..].trim_start_matches('/')
    )?;
    let mut bytes = Vec::new();
    stream.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(bytes)
}
