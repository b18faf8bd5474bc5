//! The admin listener: metrics and health, on loopback unless told otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use rowhouse_control::{Shared, resources};
use rowhouse_gateway::MetricsReader;
use rowhouse_journal::Journal;
use rowhouse_store::server::{PrivateServer, ServerState};
use serde_json::json;
use tokio::sync::watch;

use super::metrics;

/// What health and metrics are read from.
pub struct Admin {
    /// The gateway's numbers.
    pub gateway: Option<MetricsReader>,
    /// Lanes.
    pub journal: Arc<Journal>,
    /// Version in force, lag of projections.
    pub control: Shared,
    /// Our own PostgreSQL, if there is one.
    pub server: Option<Arc<PrivateServer>>,
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
    let control = &admin.control;
    let text = metrics::render(&metrics::Readings {
        gateway: admin.gateway.as_ref().map(MetricsReader::snapshot).unwrap_or_default(),
        journal: admin.journal.status(),
        lags: control.projections.lags(&admin.journal, control.clock().now_us()),
        directory_version: control.directory.current().version,
        messages: admin.messages(),
        stopped: resources::stopped(&control.directory.current()),
        collectors: control.resources.collectors(),
        stale: control.resources.stale(),
        alone: None,
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
    (status, axum::Json(json!({"ready": serves, "reasons": listed})))
}

impl Admin {
    fn messages(&self) -> metrics::Messages {
        let counts = &self.control.messages.counts;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        metrics::Messages {
            ended: [
                ("sent", of(&counts.sent)),
                ("deferred", of(&counts.deferred)),
                ("failed", of(&counts.failed)),
                ("suppressed", of(&counts.suppressed)),
            ],
            waiting: of(&counts.waiting),
            dead: of(&counts.dead),
        }
    }

    /// What is not as it should be: part, detail, and whether requests cannot be served because of it. The
    /// gateway serves without PostgreSQL, so that is degraded, not down.
    fn reasons(&self) -> Vec<(&'static str, String, bool)> {
        let mut reasons = Vec::new();
        if *self.stopping.borrow() {
            reasons.push(("process", "stopping".to_owned(), true));
        }
        if self.control.directory.current().version == 0 {
            reasons.push(("directory", "no version yet".to_owned(), true));
        }
        if let Some((_, why)) = self.journal.status().full {
            reasons.push(("journal", why, true));
        }
        if let Some(state) = self.server.as_ref().map(|server| server.state().borrow().clone())
            && state != ServerState::Running
        {
            reasons.push(("postgresql", format!("{state:?}"), false));
        }
        for problem in self.control.audit.standing().problems() {
            reasons.push(("audit", problem, false));
        }
        reasons
    }
}
