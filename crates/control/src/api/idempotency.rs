//! `Idempotency-Key`: the answer to a POST is kept with its effect, in one transaction, for 24 hours.
//!
//! Two calls with one key at the same time: the second waits for the first's transaction, then gets its answer.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{StoreError, Transaction};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio_postgres::types::Json;

use super::{ApiError, Caller};
use crate::Shared;

/// What makes a call the same call.
#[derive(Debug, Clone)]
pub struct Idempotency {
    key: Option<String>,
    principal: String,
    tenant: String,
    method: String,
    path: String,
}

/// The answer to a change: status, body, and where to follow it.
#[derive(Debug, Clone)]
pub struct Kept {
    status: StatusCode,
    body: serde_json::Value,
    location: Option<String>,
    replayed: bool,
}

impl FromRequestParts<Shared> for Idempotency {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, control: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, control).await?;
        let given = parts.headers.get("idempotency-key");
        let key = given.map(|value| value.to_str().map(str::to_owned)).transpose().ok().flatten();
        let well_formed =
            |key: &String| (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
        if given.is_some() && !key.as_ref().is_some_and(well_formed) {
            return Err(Refusal::new(&kind::INVALID, "The Idempotency-Key is malformed.")
                .next("Send 1 to 255 visible ASCII characters.")
                .into());
        }
        Ok(Idempotency {
            key,
            principal: caller.principal().to_string(),
            tenant: digest_of(parts.uri.query().unwrap_or("")),
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
        })
    }
}

/// The query in a form of one length: it is part of a database key, which has a bound.
fn digest_of(query: &str) -> String {
    Sha256::digest(query).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Idempotency {
    /// Claims the key in `transaction`; the kept answer if the call was made before.
    pub async fn begin(&self, transaction: &Transaction, body: &[u8]) -> Result<Option<Kept>, Refusal> {
        let Some(key) = &self.key else { return Ok(None) };
        let digest = Sha256::digest(body).to_vec();
        let now = transaction.store().clock().now();
        let claimed = transaction
            .execute(
                "INSERT INTO api.idempotency (principal, tenant, method, path, key, body_sha256, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                &[&self.principal, &self.tenant, &self.method, &self.path, key, &digest, &now],
            )
            .await?;
        if claimed == 1 {
            return Ok(None);
        }
        self.kept(transaction, key, &digest).await
    }

    async fn kept(&self, tx: &Transaction, key: &str, digest: &[u8]) -> Result<Option<Kept>, Refusal> {
        let row = tx
            .query_opt(
                "SELECT body_sha256, status, answer, location FROM api.idempotency \
                 WHERE principal = $1 AND tenant = $2 AND method = $3 AND path = $4 AND key = $5",
                &[&self.principal, &self.tenant, &self.method, &self.path, &key],
            )
            .await?;
        let running =
            || Refusal::new(&kind::IDEMPOTENCY_RUNNING, "The first request still runs.").retry_after(1);
        let row = row.ok_or_else(running)?;
        if row.get::<_, &[u8]>(0) != digest {
            return Err(Refusal::new(&kind::IDEMPOTENCY_MISMATCH, "This key was used with another body."));
        }
        let status: i16 = row.get::<_, Option<i16>>(1).ok_or_else(running)?;
        Ok(Some(Kept {
            status: StatusCode::from_u16(status as u16).map_err(|_| running())?,
            body: row.get(2),
            location: row.get(3),
            replayed: true,
        }))
    }

    /// Keeps the answer with its effect. `body` without one-time secrets: they are not kept.
    pub async fn keep(&self, transaction: &Transaction, answer: &Kept) -> Result<(), StoreError> {
        let Some(key) = &self.key else { return Ok(()) };
        let status = answer.status.as_u16() as i16;
        transaction
            .execute(
                "UPDATE api.idempotency SET status = $6, answer = $7, location = $8 \
                 WHERE principal = $1 AND tenant = $2 AND method = $3 AND path = $4 AND key = $5",
                &[
                    &self.principal,
                    &self.tenant,
                    &self.method,
                    &self.path,
                    key,
                    &status,
                    &Json(&answer.body),
                    &answer.location,
                ],
            )
            .await?;
        Ok(())
    }
}

impl Kept {
    /// An answer with a body.
    pub fn new(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).expect("wire types are JSON");
        Kept { status, body, location: None, replayed: false }
    }
    /// Where to follow it.
    pub fn location(mut self, path: String) -> Self {
        self.location = Some(path);
        self
    }
    /// The same answer with one more field, as for a secret that is shown once.
    pub fn with_field(mut self, name: &str, value: &str) -> Self {
        self.body[name] = value.into();
        self
    }
}

impl IntoResponse for Kept {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        if let Some(location) = self.location.and_then(|path| HeaderValue::from_str(&path).ok()) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        if self.replayed {
            response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}
