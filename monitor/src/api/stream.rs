//! JSON lines as a response: those that are there, then those to come until either side goes away.

use std::{
    collections::HashSet,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::header,
    response::{IntoResponse, Response},
};
use hyper::body::Frame;
use tokio::sync::{broadcast, mpsc, watch};

use super::{Answer, Line, Refusal};

/// `Content-Type` of JSON lines.
pub const NDJSON: &str = "application/x-ndjson";
/// Lines between the feed and a slow connection.
const BUFFERED: usize = 64;

/// The response to a query.
pub fn respond(answer: Answer, workload: Option<String>, stop: watch::Receiver<bool>) -> Response {
    let sent = answer.sent();
    let mut first = String::new();
    for line in &answer.lines {
        first.push_str(line);
        first.push('\n');
    }
    let body = match answer.follow {
        None => Body::from(first),
        Some(follow) => {
            let (sender, receiver) = mpsc::channel(BUFFERED);
            tokio::spawn(forward(first, follow, workload, sent, sender, stop));
            Body::new(Lines { receiver })
        }
    };
    ([(header::CONTENT_TYPE, NDJSON)], body).into_response()
}

/// Copies from the feed to the connection. Ends when the connection does, or the daemon.
async fn forward(
    first: String,
    mut follow: broadcast::Receiver<Line>,
    workload: Option<String>,
    mut sent: HashSet<String>,
    sender: mpsc::Sender<Bytes>,
    mut stop: watch::Receiver<bool>,
) {
    if sender.send(first.into()).await.is_err() {
        return;
    }
    loop {
        let received = tokio::select! {
            received = follow.recv() => received,
            _ = stop.wait_for(|stop| *stop) => return,
            () = sender.closed() => return,
        };
        let text = match received {
            Ok(line) if workload.as_deref().is_some_and(|w| w != &*line.workload) => continue,
            Ok(line) if sent.remove(&*line.text) => continue,
            Ok(line) => format!("{}\n", line.text),
            Err(broadcast::error::RecvError::Lagged(lost)) => format!("{{\"lost\":{lost}}}\n"),
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if sender.send(text.into()).await.is_err() {
            return;
        }
    }
}

/// The response that carries a recording. When the daemon stops, `end` makes it whole first.
pub fn record(
    mut recorded: mpsc::Receiver<Bytes>,
    mut stop: watch::Receiver<bool>,
    end: impl FnOnce() -> Result<(), Refusal> + Send + 'static,
) -> Response {
    let (sender, receiver) = mpsc::channel(BUFFERED);
    let mut end = Some(end);
    tokio::spawn(async move {
        loop {
            let received = tokio::select! {
                received = recorded.recv() => received,
                () = sender.closed() => return,
                _ = stop.wait_for(|stop| *stop), if end.is_some() => {
                    if let Some(end) = end.take() {
                        tokio::task::spawn_blocking(end);
                    }
                    continue;
                }
            };
            let Some(bytes) = received else {
                return;
            };
            if sender.send(bytes).await.is_err() {
                return;
            }
        }
    });
    let body = Body::new(Lines { receiver });
    ([(header::CONTENT_TYPE, NDJSON)], body).into_response()
}

struct Lines {
    receiver: mpsc::Receiver<Bytes>,
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.receiver
            .poll_recv(context)
            .map(|bytes| bytes.map(|b| Ok(Frame::data(b))))
    }
}
