//! The admin listener of a gateway of its own: health, with the age of what it decides from, and metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use rowhouse_control::resources;
use rowhouse_domain::clock::Clock;
use rowhouse_domain::directory::DirectoryWatch;
use rowhouse_gateway::MetricsReader;
use rowhouse_journal::Journal;
use serde_json::json;
use tokio::sync::watch;

use super::super::metrics;
use super::standing::Standing;

/// What health and metrics are read from.
pub struct Admin {
    /// The gateway's numbers, while it is open.
    pub gateway: watch::Receiver<Option<MetricsReader>>,
    pub journal: Arc<Journal>,
    pub directory: DirectoryWatch,
    pub standing: Arc<Standing>,
    pub clock: Clock,
    /// Whether nobody is served from a stale directory.
    pub refuses_stale: bool,
    /// True once told to stop.
    pub stopping: watch::Receiver<bool>,
}

/// `/metrics`, `/health/live`, `/health/ready`, `/health/startup`.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(page))
        .route("/health/live", get(|| async { axum::Json(json!({"live": true})) }))
        .route("/health/ready", get(ready))
        .route("/health/startup", get(ready))
        .with_state(Arc::new(admin))
}

async fn page(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let directory = admin.directory.current();
    let text = metrics::render(&metrics::Readings {
        gateway: admin.gateway.borrow().as_ref().map(MetricsReader::snapshot).unwrap_or_default(),
        journal: admin.journal.status(),
        lags: Vec::new(),
        directory_version: directory.version,
        messages: metrics::Messages::default(),
        stopped: resources::stopped(&directory),
        collectors: Vec::new(),
        stale: 0,
        alone: Some(metrics::Alone {
            age_s: admin.age_s().and_then(|age_s| u64::try_from(age_s).ok()).unwrap_or(u64::MAX),
            stale: admin.standing.is_stale(),
            versions: admin.standing.versions.load(Ordering::Relaxed),
            shipped: admin.standing.shipped.load(Ordering::Relaxed),
        }),
    });
    ([("content-type", "text/plain; version=0.0.4")], text)
}

async fn ready(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let reasons = admin.reasons();
    let serves = !reasons.iter().any(|(_, _, stops)| *stops);
    let listed: Vec<_> = reasons
        .iter()
        .map(|(part, detail, stops)| {
            let state = if *stops { "down" } else { "degraded" };
            json!({"part": part, "state": state, "detail": detail})
        })
        .collect();
    let status = if serves { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let directory = json!({"version": admin.directory.version(), "age_seconds": admin.age_s()});
    (
        status,
        axum::Json(json!({
            "ready": serves,
            "connected": admin.standing.is_connected(),
            "drain": admin.standing.drain.borrow().as_str(),
            "directory": directory,
            "reasons": listed,
        })),
    )
}

impl Admin {
    fn age_s(&self) -> Option<i64> {
        self.standing.age_s(self.clock.now_us())
    }

    /// What is not as it should be: part, detail, and whether requests cannot be served because of it.
    fn reasons(&self) -> Vec<(&'static str, String, bool)> {
        let mut reasons = Vec::new();
        if *self.stopping.borrow() {
            reasons.push(("process", "stopping".to_owned(), true));
        }
        if self.standing.is_revoked() {
            reasons.push(("node", "revoked".to_owned(), true));
        } else if let Some(drain) = self.standing.drain.borrow().as_str() {
            reasons.push(("node", format!("asked to take no requests: {drain}"), true));
        } else if self.directory.version() == 0 || self.gateway.borrow().is_none() {
            reasons.push(("directory", "no version yet".to_owned(), true));
        } else if self.standing.is_stale() {
            reasons.push((
                "directory",
                "stale: the control plane was not heard of for too long".to_owned(),
                self.refuses_stale,
            ));
        }
        if let Some((_, why)) = self.journal.status().full {
            reasons.push(("journal", why, true));
        }
        let problems = self.standing.problems(self.clock.now_us()).into_iter();
        reasons.extend(problems.map(|(part, why)| (part, why, false)));
        reasons
    }
}
