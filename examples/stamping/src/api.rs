//! The service's HTTP face. Errors are problems (RFC 9457) like the gateway's.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rowhouse_domain::clock::Clock;
use rowhouse_domain::context;
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{MEDIA_TYPE, Problem, Refusal, kind};
use rowhouse_tenantdb::{Access, DatabaseError, Databases, TenantContext};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::stamps::{self, NewStamp, Stamp};

/// What handlers work with.
pub struct Stamping {
    /// All tenants' databases, each only as that tenant.
    pub databases: Databases,
    /// The only tenant of a dedicated process.
    pub tenant: Option<TenantId>,
    /// The clock.
    pub clock: Clock,
    /// For ids.
    pub entropy: Entropy,
}

type Shared = State<Arc<Stamping>>;

/// All paths.
pub fn router(service: Stamping) -> Router {
    Router::new()
        .route("/v1/stamps", get(list).post(create))
        .route("/v1/stamps/{id}", get(read).put(update).delete(delete))
        .route("/health/ready", get(|| async { "ready" }))
        .with_state(Arc::new(service))
}

/// The verified caller.
struct Caller(TenantContext);

impl FromRequestParts<Arc<Stamping>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Stamping>) -> Result<Self, Failure> {
        let untrusted = |why: String| {
            Failure(
                Refusal::new(&kind::NO_CREDENTIALS, "This service is reached through the gateway only.")
                    .private(why),
            )
        };
        let mut headers = parts.headers.get_all(context::HEADER).iter();
        let (Some(header), None) = (headers.next(), headers.next()) else {
            return Err(untrusted("not exactly one context".to_owned()));
        };
        let header = header.to_str().map_err(|error| untrusted(error.to_string()))?;
        let context = service
            .databases
            .context(header, service.clock.now_s())
            .map_err(|error| untrusted(error.to_string()))?;
        match service.tenant {
            Some(own) if own != context.tenant() => Err(untrusted("another tenant's context".to_owned())),
            _ => Ok(Caller(context)),
        }
    }
}

/// A refusal as this service answers it.
struct Failure(Refusal);

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

/// Says what a call used; the gateway takes the header out.
fn used(usage: &'static str, response: impl IntoResponse) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("rowhouse-usage", HeaderValue::from_static(usage));
    (headers, response).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    content: String,
    #[serde(default = "no_metadata")]
    metadata: Value,
}

fn no_metadata() -> Value {
    Value::Object(serde_json::Map::new())
}

fn json<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Refusal> {
    let wrong = |error: JsonRejection| Refusal::new(&kind::INVALID, error.body_text());
    body.map(|Json(value)| value).map_err(wrong)
}

async fn create(
    State(service): Shared,
    Caller(context): Caller,
    body: Result<Json<Create>, JsonRejection>,
) -> Result<Response, Failure> {
    let body = json(body)?;
    let now = service.clock.now();
    let mut transaction = service.databases.begin(&context, Access::Write).await?;
    let new = NewStamp {
        id: service.entropy.uuid_v7(now.as_microsecond()),
        content: body.content.as_bytes(),
        metadata: &body.metadata,
        created_by: &context.claims().principal,
        at: now,
    };
    let stamp = stamps::create(&mut transaction, new).await?;
    transaction.commit().await?;
    Ok(used("hash_operations=1, stamps_created=1", (StatusCode::CREATED, Json(stamp))))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    before: Option<Uuid>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Stamps {
    items: Vec<Stamp>,
}

async fn list(
    State(service): Shared,
    Caller(context): Caller,
    Query(page): Query<Page>,
) -> Result<Json<Stamps>, Failure> {
    let mut transaction = service.databases.begin(&context, Access::Read).await?;
    let limit = page.limit.unwrap_or(50).clamp(1, 200);
    let items = stamps::list(&mut transaction, page.before, limit).await?;
    transaction.commit().await?;
    Ok(Json(Stamps { items }))
}

fn not_there() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such stamp.")
}

async fn read(
    State(service): Shared,
    Caller(context): Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<Stamp>, Failure> {
    let mut transaction = service.databases.begin(&context, Access::Read).await?;
    let stamp = stamps::read(&mut transaction, id).await?.ok_or_else(not_there)?;
    transaction.commit().await?;
    Ok(Json(stamp))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    metadata: Value,
}

async fn update(
    State(service): Shared,
    Caller(context): Caller,
    Path(id): Path<Uuid>,
    body: Result<Json<Update>, JsonRejection>,
) -> Result<Json<Stamp>, Failure> {
    let body = json(body)?;
    let mut transaction = service.databases.begin(&context, Access::Write).await?;
    let now = service.clock.now();
    let stamp = stamps::update(&mut transaction, id, &body.metadata, now).await?.ok_or_else(not_there)?;
    transaction.commit().await?;
    Ok(Json(stamp))
}

async fn delete(
    State(service): Shared,
    Caller(context): Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Failure> {
    let mut transaction = service.databases.begin(&context, Access::Write).await?;
    if !stamps::delete(&mut transaction, id).await? {
        return Err(not_there().into());
    }
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
