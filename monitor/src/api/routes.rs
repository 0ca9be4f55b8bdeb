//! The routes. Each takes its request apart, asks the backend on a thread that may block, and puts
//! the answer into JSON.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{ConnectInfo, Path, Query as UrlQuery, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Backend, Peer, Query, Refusal, stream, view};

/// Lines that are listed unless asked otherwise, and at most.
const LIMITS: (usize, usize) = (50, 10_000);

type Shared = Arc<dyn Backend>;

/// The API over a backend; streams end when `stop` becomes true.
pub fn router(backend: Shared, stop: watch::Receiver<bool>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/workloads", get(workloads))
        .route("/v1/workloads/{workload}/{action}", post(decide))
        .route("/v1/detection", get(search))
        .route("/v1/hooks", get(hooks))
        .route("/v1/events", get(events))
        .route("/v1/alerts", get(alerts))
        .route("/v1/alerts/{id}", get(alert))
        .route("/v1/baseline/{workload}", get(baseline))
        .route("/v1/baseline/{workload}/{action}", post(order_baseline))
        .route("/v1/profile/{workload}/{which}", get(profile))
        .route("/v1/evidence/{workload}", get(evidence))
        .route("/v1/evidence/{workload}/{step}", post(declare_step))
        .route("/v1/mode/{workload}", get(mode).post(set_mode))
        .route("/v1/recording", post(record).delete(end_recording))
        .route(
            "/v1/launch/{workload}/{role}",
            get(launch_plan).post(launch),
        )
        .fallback(|| async { answer_error(&Refusal::NotFound("there is no such page".into())) })
        .layer(Extension(stop))
        .with_state(backend)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineQuery {
    limit: Option<usize>,
    workload: Option<String>,
    #[serde(default)]
    follow: bool,
}

impl From<LineQuery> for Query {
    fn from(query: LineQuery) -> Self {
        let (usual, most) = LIMITS;
        Self {
            limit: query.limit.unwrap_or(usual).min(most),
            workload: query.workload,
            follow: query.follow,
        }
    }
}

async fn status(State(backend): State<Shared>) -> Response {
    json(move || backend.status()).await
}

async fn workloads(State(backend): State<Shared>) -> Response {
    json(move || backend.workloads()).await
}

async fn search(State(backend): State<Shared>) -> Response {
    json(move || backend.search()).await
}

async fn decide(
    State(backend): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((workload, action)): Path<(String, String)>,
    decision: Result<Json<view::Decide>, JsonRejection>,
) -> Response {
    match decision {
        Ok(Json(decision)) => {
            json(move || backend.decide(&workload, &action, &decision, peer)).await
        }
        Err(e) => answer_error(&Refusal::Bad(e.body_text())),
    }
}

async fn hooks(State(backend): State<Shared>) -> Response {
    json(move || backend.hooks()).await
}

async fn baseline(State(backend): State<Shared>, Path(workload): Path<String>) -> Response {
    json(move || backend.baseline(&workload)).await
}

async fn profile(
    State(backend): State<Shared>,
    Path((workload, which)): Path<(String, String)>,
) -> Response {
    json(move || backend.profile(&workload, &which)).await
}

async fn evidence(State(backend): State<Shared>, Path(workload): Path<String>) -> Response {
    json(move || backend.evidence(&workload)).await
}

async fn declare_step(
    State(backend): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((workload, step)): Path<(String, String)>,
    order: Result<Json<view::BaselineOrder>, JsonRejection>,
) -> Response {
    match order {
        Ok(Json(order)) => {
            json(move || backend.declare_step(&workload, &step, &order.reason, peer)).await
        }
        Err(e) => answer_error(&Refusal::Bad(e.body_text())),
    }
}

async fn order_baseline(
    State(backend): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((workload, action)): Path<(String, String)>,
    order: Result<Json<view::BaselineOrder>, JsonRejection>,
) -> Response {
    match order {
        Ok(Json(order)) => {
            json(move || backend.order_baseline(&workload, &action, &order, peer)).await
        }
        Err(e) => answer_error(&Refusal::Bad(e.body_text())),
    }
}

async fn mode(State(backend): State<Shared>, Path(workload): Path<String>) -> Response {
    json(move || backend.mode(&workload)).await
}

async fn set_mode(
    State(backend): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(workload): Path<String>,
    change: Result<Json<view::ModeChange>, JsonRejection>,
) -> Response {
    match change {
        Ok(Json(change)) => json(move || backend.set_mode(&workload, &change, peer)).await,
        Err(e) => answer_error(&Refusal::Bad(e.body_text())),
    }
}

async fn record(
    State(backend): State<Shared>,
    Extension(stop): Extension<watch::Receiver<bool>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    order: Result<Json<view::RecordingOrder>, JsonRejection>,
) -> Response {
    let order = match order {
        Ok(Json(order)) => order,
        Err(e) => return answer_error(&Refusal::Bad(e.body_text())),
    };
    let end = {
        let backend = Arc::clone(&backend);
        move || backend.end_recording("the daemon was stopped", peer)
    };
    match blocking(move || backend.record(&order, peer)).await {
        Ok(lines) => stream::record(lines, stop, end),
        Err(refusal) => answer_error(&refusal),
    }
}

async fn end_recording(
    State(backend): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    reason: Result<Json<String>, JsonRejection>,
) -> Response {
    match reason {
        Ok(Json(reason)) => json(move || backend.end_recording(&reason, peer)).await,
        Err(e) => answer_error(&Refusal::Bad(e.body_text())),
    }
}

async fn launch_plan(
    State(backend): State<Shared>,
    Path((workload, role)): Path<(String, String)>,
) -> Response {
    json(move || backend.launch_plan(&workload, &role)).await
}

async fn launch(
    State(backend): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((workload, role)): Path<(String, String)>,
) -> Response {
    json(move || backend.launch(&workload, &role, peer)).await
}

async fn events(
    State(backend): State<Shared>,
    Extension(stop): Extension<watch::Receiver<bool>>,
    UrlQuery(query): UrlQuery<LineQuery>,
) -> Response {
    lines(query.into(), stop, move |query| backend.events(query)).await
}

async fn alerts(
    State(backend): State<Shared>,
    Extension(stop): Extension<watch::Receiver<bool>>,
    UrlQuery(query): UrlQuery<LineQuery>,
) -> Response {
    lines(query.into(), stop, move |query| backend.alerts(query)).await
}

async fn alert(State(backend): State<Shared>, Path(id): Path<String>) -> Response {
    json(move || backend.alert(&id)).await
}

async fn lines(
    query: Query,
    stop: watch::Receiver<bool>,
    ask: impl FnOnce(&Query) -> Result<super::Answer, Refusal> + Send + 'static,
) -> Response {
    let workload = query.workload.clone();
    match blocking(move || ask(&query)).await {
        Ok(answer) => stream::respond(answer, workload, stop),
        Err(refusal) => answer_error(&refusal),
    }
}

async fn json<T: Serialize + Send + 'static>(
    ask: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Response {
    match blocking(ask).await {
        Ok(value) => Json(value).into_response(),
        Err(refusal) => answer_error(&refusal),
    }
}

async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(ask).await {
        Ok(result) => result,
        Err(e) => Err(Refusal::Failed(format!(
            "the request could not be worked on: {e}"
        ))),
    }
}

fn answer_error(refusal: &Refusal) -> Response {
    let code = match refusal {
        Refusal::NotFound(_) => StatusCode::NOT_FOUND,
        Refusal::Bad(_) => StatusCode::BAD_REQUEST,
        Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
        Refusal::Conflict(_) => StatusCode::CONFLICT,
        Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (
        code,
        Json(view::Problem {
            error: refusal.to_string(),
        }),
    )
        .into_response()
}
