//! What is due, and paying it. A payment is reported as one of the meter `transactions`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_tenantdb::{Row, TenantTransaction};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::entries::{self, Entry};
use crate::refusals::{AMOUNT, REFERENCE, invalid};
use crate::service::{Answer, Body, Caller, Failure, Parking, Shared, checked, name, used};
use crate::tariffs;

/// Who has paid may take so long to reach the gate.
const WAY_OUT: SignedDuration = SignedDuration::from_mins(15);

pub fn routes() -> Router<Arc<Parking>> {
    Router::new().route("/v1/entries/{id}/payments", post(pay))
}

/// What a stay costs up to now.
#[derive(Debug, Serialize)]
pub struct Account {
    /// Minor units of `currency`.
    pub paid_minor: i64,
    /// What is still to be paid before the car may leave now.
    pub due_minor: i64,
    /// ISO 4217.
    pub currency: String,
}

/// The account of `entry` at `now`, or at the exit.
pub async fn account(tx: &mut TenantTransaction, entry: &Entry, now: Timestamp) -> Result<Account, Failure> {
    let until = entry.exited_at.unwrap_or(now);
    let row = tx
        .query_one(
            "SELECT l.currency, coalesce(sum(p.amount_minor), 0)::bigint, max(p.paid_at) \
             FROM locations l LEFT JOIN payments p ON p.entry_id = $2 WHERE l.id = $1 GROUP BY l.currency",
            &[&entry.location, &entry.id],
        )
        .await?;
    let (currency, paid_minor, last): (String, i64, Option<Timestamp>) = (row.get(0), row.get(1), row.get(2));
    let tariff = tariffs::held_at(tx, entry.location, entry.entered_at).await?.unwrap_or_default();
    let price = |at: Timestamp| {
        let price = tariff.price_minor(at.duration_since(entry.entered_at).as_secs());
        price.ok_or_else(|| Refusal::new(&kind::INTERNAL, "The price is out of range."))
    };
    // Whoever has paid all by then has the way out for nothing.
    let counted = match last {
        Some(at) if until.duration_since(at) <= WAY_OUT && price(at)? <= paid_minor => at,
        _ => until,
    };
    let due_minor = if entry.permit.is_some() { 0 } else { (price(counted)? - paid_minor).max(0) };
    Ok(Account { paid_minor, due_minor, currency })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPayment {
    amount_minor: i64,
    method: String,
    /// What the terminal calls it; the same again answers the same payment.
    reference: String,
}

#[derive(Debug, Serialize)]
struct Payment {
    id: Uuid,
    entry: Uuid,
    amount_minor: i64,
    method: String,
    reference: String,
    paid_at: Timestamp,
}

impl From<Row> for Payment {
    fn from(row: Row) -> Self {
        Payment {
            id: row.get(0),
            entry: row.get(1),
            amount_minor: row.get(2),
            method: row.get(3),
            reference: row.get(4),
            paid_at: row.get(5),
        }
    }
}

async fn pay(
    State(parking): Shared,
    Caller(request): Caller,
    Path(entry): Path<Uuid>,
    Body(new): Body<NewPayment>,
) -> Answer<Response> {
    name("/reference", &new.reference, 100)?;
    if !["cash", "card", "app", "invoice"].contains(&new.method.as_str()) {
        return Err(invalid("/method", "cash, card, app or invoice").into());
    }
    let (id, now) = (parking.id(), parking.clock.now());
    let paid = request.write(async |tx| {
        if let Some(known) = by_reference(tx, &new.reference).await? {
            return same(known, entry, new.amount_minor);
        }
        let stay = entries::hold(tx, entry).await?;
        let due = account(tx, &stay, now).await?;
        if due.due_minor != new.amount_minor || new.amount_minor <= 0 {
            let detail = format!("{} {} minor units are due.", due.due_minor, due.currency);
            return Err(Refusal::new(&AMOUNT, detail).into());
        }
        let row = tx
            .query_one(
                "INSERT INTO payments (id, entry_id, amount_minor, method, reference, paid_at) \
                 VALUES ($1, $2, $3, $4::text::payment_method, $5, $6) \
                 RETURNING id, entry_id, amount_minor, method::text, reference, paid_at",
                &[&id, &entry, &new.amount_minor, &new.method, &new.reference, &now],
            )
            .await
            .map_err(checked)?;
        Ok((StatusCode::CREATED, Payment::from(row)))
    });
    let (status, payment) = paid.await?;
    let answer = (status, Json(payment));
    // What was paid before is not used again.
    Ok(if status == StatusCode::CREATED { used("transactions=1", answer) } else { answer.into_response() })
}

async fn by_reference(tx: &mut TenantTransaction, reference: &str) -> Result<Option<Payment>, Failure> {
    let row = tx
        .query_opt(
            "SELECT id, entry_id, amount_minor, method::text, reference, paid_at FROM payments WHERE reference = $1",
            &[&reference],
        )
        .await?;
    Ok(row.map(Payment::from))
}

fn same(known: Payment, entry: Uuid, amount_minor: i64) -> Result<(StatusCode, Payment), Failure> {
    match known.entry == entry && known.amount_minor == amount_minor {
        true => Ok((StatusCode::OK, known)),
        false => Err(Refusal::new(&REFERENCE, "It was used with another entry or amount.").into()),
    }
}
