//! What a location charges from now on. Cars that are inside pay by the tariff that held when they entered.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::put;
use axum::{Json, Router};
use jiff::Timestamp;
use rowhouse_tenantdb::{DatabaseError, TenantTransaction};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::price::{Step, Tariff};
use crate::refusals::{invalid, no_such};
use crate::service::{Answer, Body, Caller, Failure, Parking, Shared, checked};

/// Most steps of a tariff.
const STEPS_MAX: usize = 48;

pub fn routes() -> Router<Arc<Parking>> {
    Router::new().route("/v1/locations/{id}/tariff", put(set).get(read))
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TariffBody {
    grace_minutes: i32,
    daily_max_minor: Option<i64>,
    steps: Vec<StepBody>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepBody {
    from_minute: i32,
    every_minutes: i32,
    price_minor: i64,
}

async fn set(
    State(parking): Shared,
    Caller(request): Caller,
    Path(location): Path<Uuid>,
    Body(body): Body<TariffBody>,
) -> Answer<(StatusCode, Json<TariffBody>)> {
    if body.steps.len() > STEPS_MAX {
        return Err(invalid("/steps", "at most 48").into());
    }
    let (id, now) = (parking.id(), parking.clock.now());
    request
        .write(async |tx| {
            let there = tx.query_opt("SELECT FROM locations WHERE id = $1", &[&location]).await?;
            there.ok_or_else(|| no_such("location"))?;
            tx.execute(
                "INSERT INTO tariffs (id, location_id, valid_from, grace_minutes, daily_max_minor) \
                 VALUES ($1, $2, $3, $4, $5)",
                &[&id, &location, &now, &body.grace_minutes, &body.daily_max_minor],
            )
            .await
            .map_err(checked)?;
            insert_steps(tx, id, &body.steps).await
        })
        .await?;
    Ok((StatusCode::CREATED, Json(body)))
}

/// All steps in one statement.
async fn insert_steps(tx: &mut TenantTransaction, tariff: Uuid, steps: &[StepBody]) -> Result<(), Failure> {
    let tariffs = vec![tariff; steps.len()];
    let from: Vec<i32> = steps.iter().map(|step| step.from_minute).collect();
    let every: Vec<i32> = steps.iter().map(|step| step.every_minutes).collect();
    let prices: Vec<i64> = steps.iter().map(|step| step.price_minor).collect();
    tx.bulk_insert(
        "tariff_steps",
        &[
            ("tariff_id", &tariffs),
            ("from_minute", &from),
            ("every_minutes", &every),
            ("price_minor", &prices),
        ],
    )
    .await
    .map(drop)
    .map_err(checked)
}

async fn read(
    State(parking): Shared,
    Caller(request): Caller,
    Path(location): Path<Uuid>,
) -> Answer<Json<TariffBody>> {
    let now = parking.clock.now();
    let tariff = request.read(async |tx| held_at(tx, location, now).await).await?;
    let step = |step: &Step| StepBody {
        from_minute: step.from_minute as i32,
        every_minutes: step.every_minutes as i32,
        price_minor: step.price_minor,
    };
    let tariff = tariff.ok_or_else(|| no_such("tariff"))?;
    Ok(Json(TariffBody {
        grace_minutes: tariff.grace_minutes as i32,
        daily_max_minor: tariff.daily_max_minor,
        steps: tariff.steps.iter().map(step).collect(),
    }))
}

/// The tariff of `location` that held at `at`; the first one for what was before it.
pub async fn held_at(
    tx: &mut TenantTransaction,
    location: Uuid,
    at: Timestamp,
) -> Result<Option<Tariff>, DatabaseError> {
    let found = tx
        .query_opt(
            "SELECT id, grace_minutes, daily_max_minor FROM tariffs WHERE location_id = $1 \
             ORDER BY valid_from <= $2 DESC, CASE WHEN valid_from <= $2 THEN valid_from END DESC, valid_from LIMIT 1",
            &[&location, &at],
        )
        .await?;
    let Some(row) = found else { return Ok(None) };
    let steps = tx
        .query(
            "SELECT from_minute, every_minutes, price_minor FROM tariff_steps WHERE tariff_id = $1 \
             ORDER BY from_minute",
            &[&row.get::<_, Uuid>(0)],
        )
        .await?;
    let minutes = |value: i32| i64::from(value);
    Ok(Some(Tariff {
        grace_minutes: minutes(row.get(1)),
        daily_max_minor: row.get(2),
        steps: steps
            .iter()
            .map(|step| Step {
                from_minute: minutes(step.get(0)),
                every_minutes: minutes(step.get(1)),
                price_minor: step.get(2),
            })
            .collect(),
    }))
}
