//! The way to the daemon: HTTP over its unix socket. Whatever goes wrong is told with what to do.

use std::{io::ErrorKind, path::PathBuf, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    net::UnixStream,
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

use crate::{
    api::view::{Problem, RecordingOrder},
    exit::{Exit, Failure},
};

/// How long an answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(15);
/// Answers that are not streams are not larger than this.
const LARGEST: usize = 256 << 20;
/// A line of a stream is not longer than this.
const LONGEST_LINE: usize = 4 << 20;

/// Where recordings are.
const RECORDING: &str = "/v1/recording";
/// How long the rest of a recording may take to come once it was asked to end.
const FAREWELL: Duration = Duration::from_secs(30);

/// What to do with a stream that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Read on.
    On,
    /// Ask the daemon to end it, for this reason, and read what is left.
    End(&'static str),
    /// Stop reading at once.
    Stop,
}

/// A client of one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon behind this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// Asks for one value.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.value(request(Method::GET, path, Bytes::new())?)
    }

    /// Sends one value and takes the answer.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|e| failed(format!("cannot write the request: {e}")))?;
        self.value(request(Method::POST, path, body.into())?)
    }

    /// Asks for lines, and hands over each as it comes until the daemon ends the stream.
    pub fn lines(
        &self,
        path: &str,
        mut take: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let request = request(Method::GET, path, Bytes::new())?;
        block_on(async {
            let mut body = self.send(request).await?.into_body();
            let mut waiting = vec![];
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|e| failed(format!("the daemon broke off: {e}")))?;
                waiting.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                let end = waiting
                    .iter()
                    .rposition(|b| *b == b'\n')
                    .map_or(0, |at| at + 1);
                for line in waiting[..end]
                    .split(|b| *b == b'\n')
                    .filter(|l| !l.is_empty())
                {
                    take(&String::from_utf8_lossy(line))?;
                }
                waiting.drain(..end);
                if waiting.len() > LONGEST_LINE {
                    return Err(failed("the daemon sends a line without an end".into()));
                }
            }
            Ok(())
        })
    }

    /// Has the daemon make a recording, and hands over its bytes as they come: until the daemon
    /// ends it, `take` or a signal wants it to end, or the time is over.
    pub fn record(
        &self,
        order: &RecordingOrder,
        duration: Option<Duration>,
        mut take: impl FnMut(&[u8]) -> Result<Flow, Failure>,
    ) -> Result<(), Failure> {
        let order = serde_json::to_vec(order)
            .map_err(|e| failed(format!("cannot write the request: {e}")))?;
        let request = request(Method::POST, RECORDING, order.into())?;
        block_on(async {
            let signals = |kind| signal(kind).map_err(|e| failed(format!("no signals: {e}")));
            let mut interrupt = signals(SignalKind::interrupt())?;
            let mut terminate = signals(SignalKind::terminate())?;
            let mut body = self.send(request).await?.into_body();
            let mut over = Box::pin(sleep(duration.unwrap_or(Duration::MAX)));
            let mut ending = false;
            loop {
                let reason = tokio::select! {
                    frame = body.frame() => match frame {
                        None => return Ok(()),
                        Some(Err(e)) => return Err(failed(format!("the daemon broke off: {e}"))),
                        Some(Ok(frame)) => match take(frame.data_ref().map_or(&[][..], |d| d))? {
                            Flow::Stop => return Ok(()),
                            Flow::End(reason) if !ending => reason,
                            _ => continue,
                        },
                    },
                    _ = interrupt.recv() => "it was interrupted",
                    _ = terminate.recv() => "it was interrupted",
                    () = &mut over => {
                        if ending {
                            return Err(failed(format!(
                                "the daemon did not end the recording within {} s",
                                FAREWELL.as_secs()
                            )));
                        }
                        "the time given with --for was over"
                    }
                };
                if !ending {
                    ending = true;
                    over = Box::pin(sleep(FAREWELL));
                    let end = self::request(Method::DELETE, RECORDING, json_text(reason))?;
                    let socket = self.clone();
                    tokio::spawn(async move { socket.send(end).await.map(drop) });
                }
            }
        })
    }

    fn value<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>) -> Result<T, Failure> {
        block_on(async {
            let response = self.send(request).await?;
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            let bytes = body
                .map_err(|e| failed(format!("the daemon broke off: {e}")))?
                .to_bytes();
            serde_json::from_slice(&bytes).map_err(|e| {
                failed(format!(
                    "the daemon's answer cannot be read: {e}; are slmguard and its daemon of the \
                     same version?"
                ))
            })
        })
    }

    /// Sends a request and turns refusals into failures.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|e| self.no_connection(&e))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| failed(format!("the daemon does not answer: {e}")))?;
        tokio::spawn(connection);
        let response = match timeout(PATIENCE, sender.send_request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(e)) => return Err(failed(format!("the daemon does not answer: {e}"))),
            Err(_) => {
                return Err(failed(format!(
                    "the daemon behind {} does not answer within {} s: is it stopped (then `kill \
                     -CONT` it) or overloaded? What the kernel enforces goes on",
                    self.socket.display(),
                    PATIENCE.as_secs()
                )));
            }
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), 64 << 10).collect().await;
        let bytes = body.map(|b| b.to_bytes()).unwrap_or_default();
        let message = match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => problem.error,
            Err(_) => format!("the daemon answers {status}"),
        };
        let exit = match status {
            StatusCode::FORBIDDEN | StatusCode::CONFLICT => Exit::Denied,
            _ => Exit::Failure,
        };
        Err(Failure::new(exit, message))
    }

    fn no_connection(&self, error: &std::io::Error) -> Failure {
        let socket = self.socket.display();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::new(
                Exit::NotRunning,
                format!(
                    "the daemon is not running: nothing answers at {socket}; start it with \
                     `slmguard run`, or name its socket with --socket"
                ),
            ),
            ErrorKind::PermissionDenied => Failure::new(
                Exit::Denied,
                format!(
                    "you may not talk to the daemon at {socket}: run this as root, or as a \
                         member of the socket's group"
                ),
            ),
            ErrorKind::WouldBlock => failed(format!(
                "the daemon at {socket} takes no connections: is it stopped (then `kill -CONT` \
                 it) or overloaded? What the kernel enforces goes on"
            )),
            _ => failed(format!("cannot reach the daemon at {socket}: {error}")),
        }
    }
}

fn json_text(text: &str) -> Bytes {
    serde_json::Value::from(text).to_string().into()
}

fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "slmguard")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|e| failed(format!("{path} cannot be asked for: {e}")))
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| failed(format!("cannot start: {e}")))?
        .block_on(work)
}

fn failed(message: String) -> Failure {
    Failure::new(Exit::Failure, message)
}
