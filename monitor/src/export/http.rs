//! `/metrics` and `/healthz` over TCP. Read only, no secrets, loopback unless configured otherwise.

use std::{future::Future, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use super::exposition::{OPENMETRICS, TEXT, to_text, wants_openmetrics};

/// What the endpoint shows.
pub trait Source: Send + Sync + 'static {
    /// All metrics, brought up to date, as OpenMetrics.
    fn openmetrics(&self) -> String;
    /// Whether the daemon does its work; if not, why.
    fn health(&self) -> Result<(), String>;
}

/// Binds the address; port 0 becomes a free one.
pub async fn bind(listen: &str) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves until `stop` is ready.
pub async fn serve(
    listener: TcpListener,
    source: Arc<dyn Source>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(source))
        .with_graceful_shutdown(stop)
        .await
}

fn router(source: Arc<dyn Source>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .with_state(source)
}

async fn metrics(State(source): State<Arc<dyn Source>>, headers: HeaderMap) -> Response {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let openmetrics = wants_openmetrics(accept);
    // It asks kernel maps and takes locks.
    let Ok(text) = tokio::task::spawn_blocking(move || source.openmetrics()).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if openmetrics {
        ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response()
    } else {
        ([(header::CONTENT_TYPE, TEXT)], to_text(&text)).into_response()
    }
}

async fn health(State(source): State<Arc<dyn Source>>) -> Response {
    match tokio::task::spawn_blocking(move || source.health()).await {
        Ok(Ok(())) => "ok\n".into_response(),
        Ok(Err(why)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        sync::atomic::{AtomicBool, Ordering},
    };

    struct Fake(AtomicBool);
    impl Source for Fake {
        fn openmetrics(&self) -> String {
            "# HELP a Things.\n# TYPE a counter\na_total 1\n# EOF\n".into()
        }
        fn health(&self) -> Result<(), String> {
            if self.0.load(Ordering::Relaxed) {
                Ok(())
            } else {
                Err("the pipeline stands still".into())
            }
        }
    }

    fn ask(address: SocketAddr, path: &str, accept: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn both_formats_and_health_are_served_until_told_to_stop() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (listener, address) = runtime.block_on(bind("127.0.0.1:0")).unwrap();
        assert_ne!(address.port(), 0);
        let source = Arc::new(Fake(AtomicBool::new(true)));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = runtime.spawn(serve(listener, Arc::clone(&source) as _, async {
            let _ = stopped.await;
        }));
        let openmetrics = ask(
            address,
            "/metrics",
            "application/openmetrics-text;version=1.0.0",
        );
        assert!(
            openmetrics.contains("openmetrics-text; version=1.0.0"),
            "{openmetrics}"
        );
        assert!(openmetrics.contains("# TYPE a counter") && openmetrics.contains("# EOF"));
        let text = ask(address, "/metrics", "*/*");
        assert!(text.contains("text/plain; version=0.0.4"), "{text}");
        assert!(text.contains("# TYPE a_total counter") && !text.contains("# EOF"));
        assert!(ask(address, "/healthz", "*/*").ends_with("ok\n"));
        source.0.store(false, Ordering::Relaxed);
        let ill = ask(address, "/healthz", "*/*");
        assert!(
            ill.starts_with("HTTP/1.1 503") && ill.contains("stands still"),
            "{ill}"
        );
        stop.send(()).unwrap();
        runtime.block_on(server).unwrap().unwrap();
    }
}
