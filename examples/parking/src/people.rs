//! People with permits, and their vehicles.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use rowhouse_tenantdb::{DatabaseError, Row};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::entries::plate_key;
use crate::refusals::{invalid, no_such};
use crate::service::{Answer, Body, Caller, Failure, Parking, Shared, checked, name};

pub fn routes() -> Router<Arc<Parking>> {
    Router::new()
        .route("/v1/people", get(list).post(create))
        .route("/v1/people/{id}", axum::routing::delete(remove))
        .route("/v1/people/{id}/vehicles", post(add_vehicle))
        .route("/v1/people/{id}/permits", post(add_permit))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPerson {
    name: String,
    email: Option<String>,
}

#[derive(Debug, Serialize)]
struct Person {
    id: Uuid,
    name: String,
    email: Option<String>,
    plates: Vec<String>,
}

async fn create(
    State(parking): Shared,
    Caller(request): Caller,
    Body(new): Body<NewPerson>,
) -> Answer<(StatusCode, Json<Person>)> {
    name("/name", &new.name, 200)?;
    let (id, now) = (parking.id(), parking.clock.now());
    request
        .write(async |tx| {
            tx.execute(
                "INSERT INTO people (id, name, email, created_at) VALUES ($1, $2, $3, $4)",
                &[&id, &new.name, &new.email, &now],
            )
            .await
            .map_err(checked)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(Person { id, name: new.name, email: new.email, plates: Vec::new() })))
}

#[derive(Debug, Serialize)]
struct People {
    items: Vec<Person>,
}

async fn list(Caller(request): Caller) -> Answer<Json<People>> {
    let rows = request.read(async |tx| {
        tx.query(
            "SELECT p.id, p.name, p.email, array_remove(array_agg(v.plate ORDER BY v.plate), NULL) AS plates \
             FROM people p LEFT JOIN vehicles v ON v.person_id = p.id \
             GROUP BY p.id, p.name, p.email ORDER BY p.id LIMIT 1000",
            &[],
        )
        .await
    });
    let person =
        |row: Row| Person { id: row.get(0), name: row.get(1), email: row.get(2), plates: row.get(3) };
    Ok(Json(People { items: rows.await?.into_iter().map(person).collect() }))
}

/// The person goes with vehicles; permits that were used stay with their entries, so the person stays too then.
async fn remove(Caller(request): Caller, Path(id): Path<Uuid>) -> Answer<StatusCode> {
    let gone = request.write(async |tx| tx.execute("DELETE FROM people WHERE id = $1", &[&id]).await).await?;
    if gone == 0 { Err(no_such("person").into()) } else { Ok(StatusCode::NO_CONTENT) }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vehicle {
    plate: String,
}

async fn add_vehicle(
    Caller(request): Caller,
    Path(person): Path<Uuid>,
    Body(vehicle): Body<Vehicle>,
) -> Answer<(StatusCode, Json<Vehicle>)> {
    let key = plate_key("/plate", &vehicle.plate)?;
    request
        .write(async |tx| {
            tx.execute(
                "INSERT INTO vehicles (plate, person_id, plate_key) VALUES ($1, $2, $3)",
                &[&vehicle.plate, &person, &key],
            )
            .await
            .map_err(no_person)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(vehicle)))
}

/// A foreign key has `tenant_id` in it, so another tenant's person is as unknown as none.
fn no_person(error: DatabaseError) -> Failure {
    match error.sqlstate() {
        Some("23503") => no_such("person or location").into(),
        _ => checked(error),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPermit {
    location: Uuid,
    kind: String,
    valid_from: Timestamp,
    valid_until: Timestamp,
}

#[derive(Debug, Serialize)]
struct Permit {
    id: Uuid,
}

async fn add_permit(
    State(parking): Shared,
    Caller(request): Caller,
    Path(person): Path<Uuid>,
    Body(new): Body<NewPermit>,
) -> Answer<(StatusCode, Json<Permit>)> {
    if !["resident", "employee", "season"].contains(&new.kind.as_str()) {
        return Err(invalid("/kind", "resident, employee or season").into());
    }
    let id = parking.id();
    request
        .write(async |tx| {
            tx.execute(
                "INSERT INTO permits (id, person_id, location_id, kind, valid_from, valid_until) \
                 VALUES ($1, $2, $3, $4::text::permit_kind, $5, $6)",
                &[&id, &person, &new.location, &new.kind, &new.valid_from, &new.valid_until],
            )
            .await
            .map_err(no_person)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(Permit { id })))
}
