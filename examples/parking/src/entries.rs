//! Cars that enter and leave.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::refusal::Refusal;
use rowhouse_tenantdb::{DatabaseError, Row, TenantTransaction};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::payments::{self, Account};
use crate::refusals::{DUE, FULL, INSIDE, LEFT, invalid, no_such};
use crate::service::{Answer, Body, Caller, Failure, Parking, Shared, checked, name};

/// A gate that was offline tells of cars late, but not later than this.
const LATE_MAX: SignedDuration = SignedDuration::from_hours(24 * 31);

pub fn routes() -> Router<Arc<Parking>> {
    Router::new()
        .route("/v1/locations/{id}/entries", post(enter))
        .route("/v1/entries", get(list))
        .route("/v1/entries/{id}", get(read))
        .route("/v1/entries/{id}/exit", post(leave))
}

/// One stay of a car.
#[derive(Debug, Serialize)]
pub struct Entry {
    pub id: Uuid,
    pub location: Uuid,
    pub plate: String,
    /// Parks for nothing.
    pub permit: Option<Uuid>,
    pub entered_at: Timestamp,
    pub exited_at: Option<Timestamp>,
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        Entry {
            id: row.get("id"),
            location: row.get("location_id"),
            plate: row.get("plate"),
            permit: row.get("permit_id"),
            entered_at: row.get("entered_at"),
            exited_at: row.get("exited_at"),
        }
    }
}

/// An entry with what is due.
#[derive(Debug, Serialize)]
struct EntryAndAccount {
    #[serde(flatten)]
    entry: Entry,
    #[serde(flatten)]
    account: Account,
}

/// One key for all spellings of a plate: letters and digits, upper-case.
pub fn plate_key(pointer: &str, plate: &str) -> Result<String, Failure> {
    name(pointer, plate, 20)?;
    let key: String = plate.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect();
    if key.is_empty() { Err(invalid(pointer, "letters or digits").into()) } else { Ok(key) }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEntry {
    plate: String,
    /// What the gate calls it; the same again answers the same entry.
    gate_event: Option<String>,
    /// Now, if not said.
    entered_at: Option<Timestamp>,
}

async fn enter(
    State(parking): Shared,
    Caller(request): Caller,
    Path(location): Path<Uuid>,
    Body(new): Body<NewEntry>,
) -> Answer<(StatusCode, Json<Entry>)> {
    let key = plate_key("/plate", &new.plate)?;
    if let Some(event) = &new.gate_event {
        name("/gate_event", event, 100)?;
    }
    let now = parking.clock.now();
    let entered_at = new.entered_at.unwrap_or(now);
    if entered_at > now || now.duration_since(entered_at) > LATE_MAX {
        return Err(invalid("/entered_at", "within the last 31 days").into());
    }
    let id = parking.id();
    let by = request.claims().principal.clone();
    request
        .write(async |tx| {
            if let Some(known) = by_gate_event(tx, location, new.gate_event.as_deref()).await? {
                return Ok((StatusCode::OK, Json(known)));
            }
            let permit = permit(tx, location, &key, entered_at).await?;
            let entered = tx
                .query_opt(
                    "INSERT INTO entries (id, location_id, plate, plate_key, permit_id, gate_event, entered_at, created_by) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                     ON CONFLICT (tenant_id, location_id, plate_key) WHERE exited_at IS NULL DO NOTHING RETURNING *",
                    &[&id, &location, &new.plate, &key, &permit, &new.gate_event, &entered_at, &by],
                )
                .await
                .map_err(not_entered)?;
            let inside = || Refusal::new(&INSIDE, format!("`{}` has entered and not left.", new.plate));
            Ok((StatusCode::CREATED, Json(entered.ok_or_else(inside)?.into())))
        })
        .await
}

fn not_entered(error: DatabaseError) -> Failure {
    match &error {
        DatabaseError::Constraint { constraint: Some(name), .. } => match name.as_str() {
            "locations_has_room" => Refusal::new(&FULL, "Every space is taken.").into(),
            "entries_location_fkey" => no_such("location").into(),
            _ => checked(error),
        },
        _ => error.into(),
    }
}

async fn by_gate_event(
    tx: &mut TenantTransaction,
    location: Uuid,
    event: Option<&str>,
) -> Result<Option<Entry>, DatabaseError> {
    let Some(event) = event else { return Ok(None) };
    let row = tx
        .query_opt("SELECT * FROM entries WHERE location_id = $1 AND gate_event = $2", &[&location, &event])
        .await?;
    Ok(row.map(Entry::from))
}

async fn permit(
    tx: &mut TenantTransaction,
    location: Uuid,
    plate_key: &str,
    at: Timestamp,
) -> Result<Option<Uuid>, DatabaseError> {
    let row = tx
        .query_opt(
            "SELECT p.id FROM vehicles v JOIN permits p ON p.person_id = v.person_id \
             WHERE v.plate_key = $1 AND p.location_id = $2 AND p.valid_from <= $3 AND p.valid_until > $3 \
             ORDER BY p.valid_until DESC LIMIT 1",
            &[&plate_key, &location, &at],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    location: Option<Uuid>,
    inside: Option<bool>,
    before: Option<Uuid>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Entries {
    items: Vec<Entry>,
}

async fn list(Caller(request): Caller, Query(page): Query<Page>) -> Answer<Json<Entries>> {
    let limit = page.limit.unwrap_or(50).clamp(1, 200);
    let rows = request.read(async |tx| {
        tx.query(
            "SELECT * FROM entries WHERE ($1::uuid IS NULL OR location_id = $1) \
             AND ($2::boolean IS NULL OR (exited_at IS NULL) = $2) AND ($3::uuid IS NULL OR id < $3) \
             ORDER BY id DESC LIMIT $4",
            &[&page.location, &page.inside, &page.before, &limit],
        )
        .await
    });
    Ok(Json(Entries { items: rows.await?.into_iter().map(Entry::from).collect() }))
}

async fn read(
    State(parking): Shared,
    Caller(request): Caller,
    Path(id): Path<Uuid>,
) -> Answer<Json<impl Serialize>> {
    let now = parking.clock.now();
    request
        .read(async |tx| {
            let entry = find(tx, id).await?;
            let account = payments::account(tx, &entry, now).await?;
            Ok(Json(EntryAndAccount { entry, account }))
        })
        .await
}

async fn find(tx: &mut TenantTransaction, id: Uuid) -> Result<Entry, Failure> {
    let row = tx.query_opt("SELECT * FROM entries WHERE id = $1", &[&id]).await?;
    Ok(row.ok_or_else(|| no_such("entry"))?.into())
}

/// The entry, held against changes until the transaction ends; it must be of a car that is inside.
pub async fn hold(tx: &mut TenantTransaction, id: Uuid) -> Result<Entry, Failure> {
    let row = tx.query_opt("SELECT * FROM entries WHERE id = $1 FOR UPDATE", &[&id]).await?;
    let entry: Entry = row.ok_or_else(|| no_such("entry"))?.into();
    match entry.exited_at {
        None => Ok(entry),
        Some(at) => Err(Refusal::new(&LEFT, format!("It left at {at}.")).into()),
    }
}

async fn leave(State(parking): Shared, Caller(request): Caller, Path(id): Path<Uuid>) -> Answer<Json<Entry>> {
    let now = parking.clock.now();
    request
        .write(async |tx| {
            let entry = hold(tx, id).await?;
            let account = payments::account(tx, &entry, now).await?;
            if account.due_minor > 0 {
                let detail = format!("{} {} minor units are due.", account.due_minor, account.currency);
                return Err(Refusal::new(&DUE, detail).into());
            }
            let row = tx
                .query_one("UPDATE entries SET exited_at = $2 WHERE id = $1 RETURNING *", &[&id, &now])
                .await?;
            Ok(Json(row.into()))
        })
        .await
}
