//! Takings of each local day, from a view: it asks as its reader, so it too shows one tenant.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use uuid::Uuid;

use crate::service::{Answer, Caller, Parking};

pub fn routes() -> Router<Arc<Parking>> {
    Router::new().route("/v1/takings", get(takings))
}

#[derive(Debug, Serialize)]
struct Takings {
    items: Vec<Day>,
}

#[derive(Debug, Serialize)]
struct Day {
    location: Uuid,
    day: String,
    currency: String,
    payments: i64,
    amount_minor: i64,
}

async fn takings(Caller(request): Caller) -> Answer<Json<Takings>> {
    let rows = request.read(async |tx| {
        tx.query(
            "SELECT location_id, day::text, currency, payments, amount_minor FROM daily_takings \
             ORDER BY day DESC, location_id LIMIT 1000",
            &[],
        )
        .await
    });
    let day = |row: &rowhouse_tenantdb::Row| Day {
        location: row.get(0),
        day: row.get(1),
        currency: row.get(2),
        payments: row.get(3),
        amount_minor: row.get(4),
    };
    Ok(Json(Takings { items: rows.await?.iter().map(day).collect() }))
}
