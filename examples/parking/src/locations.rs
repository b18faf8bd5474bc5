//! Car parks. Their number is reported as the meter `locations`.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use rowhouse_tenantdb::{DatabaseError, Row, TenantTransaction};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

use crate::refusals::{IN_USE, invalid, no_such};
use crate::service::{Answer, Body, Caller, Failure, Parking, Shared, checked, name, used};
use rowhouse_domain::refusal::Refusal;

pub fn routes() -> Router<Arc<Parking>> {
    Router::new()
        .route("/v1/locations", get(list).post(create))
        .route("/v1/locations/{id}", get(read).delete(remove))
}

/// A car park as it is answered.
#[derive(Debug, Serialize)]
pub struct Location {
    id: Uuid,
    code: String,
    name: String,
    time_zone: String,
    currency: String,
    capacity: i32,
    /// Cars that are inside now.
    inside: i32,
}

impl From<Row> for Location {
    fn from(row: Row) -> Self {
        Location {
            id: row.get("id"),
            code: row.get("code"),
            name: row.get("name"),
            time_zone: row.get("time_zone"),
            currency: row.get("currency"),
            capacity: row.get("capacity"),
            inside: row.get("inside"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLocation {
    code: String,
    name: String,
    time_zone: String,
    currency: String,
    capacity: i32,
}

async fn create(
    axum::extract::State(parking): Shared,
    Caller(request): Caller,
    Body(new): Body<NewLocation>,
) -> Answer<Response> {
    name("/name", &new.name, 200)?;
    if jiff::tz::TimeZone::get(&new.time_zone).is_err() {
        return Err(invalid("/time_zone", "a name of the IANA time zone database").into());
    }
    let (id, now) = (parking.id(), parking.clock.now());
    let made = request.write(async |tx| {
        let row = tx
            .query_one(
                "INSERT INTO locations (id, code, name, time_zone, currency, capacity, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *",
                &[&id, &new.code, &new.name, &new.time_zone, &new.currency, &new.capacity, &now],
            )
            .await
            .map_err(unknown_currency)?;
        Ok::<_, Failure>((Location::from(row), count(tx).await?))
    });
    let (location, number) = made.await?;
    Ok(used(&format!("locations={number}"), (StatusCode::CREATED, Json(location))))
}

fn unknown_currency(error: DatabaseError) -> Failure {
    match error.sqlstate() {
        Some("23503") => invalid("/currency", "a currency of the list").into(),
        _ => checked(error),
    }
}

async fn count(tx: &mut TenantTransaction) -> Result<i64, DatabaseError> {
    Ok(tx.query_one("SELECT count(*) FROM locations", &[]).await?.get(0))
}

#[derive(Debug, Serialize)]
struct Locations {
    items: Vec<Location>,
}

async fn list(Caller(request): Caller) -> Answer<Json<Locations>> {
    let rows =
        request.read(async |tx| tx.query("SELECT * FROM locations ORDER BY code LIMIT 1000", &[]).await);
    Ok(Json(Locations { items: rows.await?.into_iter().map(Location::from).collect() }))
}

async fn read(Caller(request): Caller, Path(id): Path<Uuid>) -> Answer<Json<Location>> {
    let row = request.read(async |tx| tx.query_opt("SELECT * FROM locations WHERE id = $1", &[&id]).await);
    Ok(Json(row.await?.ok_or_else(|| no_such("location"))?.into()))
}

async fn remove(Caller(request): Caller, Path(id): Path<Uuid>) -> Answer<Response> {
    let removed = request.write(async |tx| {
        let gone = tx.execute("DELETE FROM locations WHERE id = $1", &[&id]).await.map_err(in_use)?;
        Ok::<_, Failure>((gone, count(tx).await?))
    });
    match removed.await? {
        (0, _) => Err(no_such("location").into()),
        (_, number) => Ok(used(&format!("locations={number}"), StatusCode::NO_CONTENT)),
    }
}

fn in_use(error: DatabaseError) -> Failure {
    match error.sqlstate() {
        Some("23503") => Refusal::new(&IN_USE, "Cars have parked at this location.").into(),
        _ => error.into(),
    }
}
