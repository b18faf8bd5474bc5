//! What all handlers share: the state, the believed request, the form of refusals, bodies and usage.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rowhouse_domain::clock::Clock;
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::refusal::{MEDIA_TYPE, Problem, Refusal, kind};
use rowhouse_tenantdb::{DatabaseError, Databases, TenantRequest};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::refusals::invalid;
use crate::{entries, locations, payments, people, reports, tariffs};

/// What handlers work with.
pub struct Parking {
    /// All tenants' databases, each only as that tenant.
    pub databases: Databases,
    /// The clock.
    pub clock: Clock,
    /// For ids.
    pub entropy: Entropy,
}

impl Parking {
    /// A new UUIDv7.
    pub fn id(&self) -> Uuid {
        self.entropy.uuid_v7(self.clock.now_us())
    }
}

/// The state as handlers get it.
pub type Shared = State<Arc<Parking>>;

/// All paths.
pub fn router(parking: Parking) -> Router {
    Router::new()
        .merge(locations::routes())
        .merge(tariffs::routes())
        .merge(people::routes())
        .merge(entries::routes())
        .merge(payments::routes())
        .merge(reports::routes())
        .route("/health/ready", get(|| async { "ready" }))
        .with_state(Arc::new(parking))
}

/// The believed request of a tenant: the only way to a transaction.
pub struct Caller(pub TenantRequest);

impl FromRequestParts<Arc<Parking>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, parking: &Arc<Parking>) -> Result<Self, Failure> {
        let believed = parking.databases.request(&parts.headers, parking.clock.now_s());
        believed.map(Caller).map_err(|error| Failure(error.refusal()))
    }
}

/// A refusal as this service answers it.
#[derive(Debug)]
pub struct Failure(pub Refusal);

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        Failure(error.refusal())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure(refusal)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if self.0.status() >= 500 || self.0.status() == 401 {
            tracing::warn!(code = self.0.code(), cause = self.0.private_detail().unwrap_or(""), "refused");
        }
        let status = StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = Problem::new(&self.0, "", String::new()).to_json();
        (status, [("content-type", MEDIA_TYPE)], body).into_response()
    }
}

/// What a handler answers.
pub type Answer<T> = Result<T, Failure>;

/// A JSON body; what is wrong with it is a refusal like all others.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let wrong = |error: JsonRejection| Failure(Refusal::new(&kind::INVALID, error.body_text()));
        Json::<T>::from_request(request, state).await.map(|Json(value)| Body(value)).map_err(wrong)
    }
}

/// Says what a call used; the gateway takes the header out.
pub fn used(usage: &str, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    if let Ok(value) = HeaderValue::from_str(usage) {
        response.headers_mut().insert("rowhouse-usage", value);
    }
    response
}

/// The CHECK constraints speak for fields; everything else is as [`DatabaseError::refusal`] says.
pub fn checked(error: DatabaseError) -> Failure {
    match &error {
        DatabaseError::Constraint { sqlstate, constraint } if sqlstate == "23514" => {
            let field = constraint.as_deref().unwrap_or("").trim_end_matches("_check");
            invalid(&format!("/{}", field.split_once('_').map_or(field, |(_, rest)| rest)), "out of bounds")
                .into()
        }
        DatabaseError::Constraint { sqlstate, constraint } if sqlstate == "23505" => {
            let named = constraint.as_deref().unwrap_or("a key").to_owned();
            Refusal::new(&crate::refusals::TAKEN, format!("`{named}` must be unique.")).into()
        }
        _ => error.into(),
    }
}

/// A name of 1 to `max` characters.
pub fn name(pointer: &str, text: &str, max: usize) -> Result<(), Failure> {
    match (1..=max).contains(&text.chars().count()) {
        true => Ok(()),
        false => Err(invalid(pointer, &format!("1 to {max} characters")).into()),
    }
}
