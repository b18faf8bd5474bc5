//! `/v1/services/{name}/splits`, `…/promote`, `…/rollback`: who gets which release. For the operator.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rowhouse_domain::refusal::Refusal;
use rowhouse_domain::routes::{ServiceDefinition, Split, Traffic};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::splits::{self, Stored, Wanted};
use crate::Shared;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, IfMatch, etag};

/// Who gets which release of a service.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SplitsView {
    /// The service.
    service: String,
    /// The release for whom no split is; null where the service has no releases.
    default_release: Option<String>,
    /// Pinned tenants go first, then headers, then shares.
    #[schema(value_type = Vec<Object>)]
    splits: Vec<Split>,
    /// The releases that the service declares, its own copies' first.
    releases: Vec<String>,
    /// What held before the last change: what a rollback brings back.
    #[schema(value_type = Option<Object>)]
    before: Option<Traffic>,
    /// Raised with each change; the ETag.
    version: i64,
    /// The principal that changed it last.
    set_by: Option<String>,
    /// When.
    set_at: Option<String>,
}

fn view(service: &ServiceDefinition, stored: Option<Stored>) -> SplitsView {
    let releases = (0..=service.releases.len()).map(|index| service.release_name(index).to_owned());
    let traffic = stored.as_ref().map(|stored| stored.traffic.clone()).unwrap_or_default();
    SplitsView {
        service: service.name.clone(),
        default_release: traffic.default_release.or_else(|| service.release.clone()),
        splits: traffic.splits,
        releases: releases.filter(|name| !name.is_empty()).collect(),
        version: stored.as_ref().map_or(0, |stored| stored.version),
        set_by: stored.as_ref().map(|stored| stored.set_by.clone()),
        set_at: stored.as_ref().map(|stored| stored.set_at.to_string()),
        before: stored.map(|stored| stored.before),
    }
}

fn shown(service: &ServiceDefinition, stored: Option<Stored>) -> Response {
    let tag = etag(stored.as_ref().map_or(0, |stored| stored.version));
    (tag, Json(view(service, stored))).into_response()
}

/// Who gets which release of a service.
#[utoipa::path(get, path = "/v1/services/{name}/splits", operation_id = "routes.get_splits", tag = "routes",
    params(("name" = String, Path, description = "The service")), responses((status = 200, body = SplitsView)))]
pub(super) async fn get_splits(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Response> {
    let permit = caller.permit("service:read", None)?;
    let (service, stored) = splits::get(&control, &permit, &name).await?;
    Ok(shown(&service, stored))
}

/// Sets who gets which release of a service, in place of what held.
#[utoipa::path(put, path = "/v1/services/{name}/splits", operation_id = "routes.put_splits", tag = "routes",
    params(("name" = String, Path, description = "The service")), request_body = Object,
    responses((status = 200, body = SplitsView)))]
pub(super) async fn put_splits(
    State(control): State<Shared>,
    caller: Caller,
    if_match: IfMatch,
    Path(name): Path<String>,
    body: Body<Traffic>,
) -> Answer<Response> {
    let permit = caller.permit("service:update", None)?;
    let transaction = control.store.write(&permit).await?;
    let wanted = (name.as_str(), Wanted::Set(body.value), &if_match);
    let (service, stored, change) =
        splits::change(&control, &transaction, &permit, wanted, caller.request_id).await?;
    match change {
        Some(change) => transaction.commit(change).await.map(drop).map_err(Refusal::from)?,
        None => transaction.rollback().await.map_err(Refusal::from)?,
    }
    Ok(shown(&service, stored))
}

/// The release that becomes the default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Promotion {
    /// Its name.
    release: String,
}

/// Makes a release the default for everybody who is not pinned to another one.
#[utoipa::path(post, path = "/v1/services/{name}/promote", operation_id = "routes.promote_release", tag = "routes",
    params(("name" = String, Path, description = "The service")), request_body = Promotion,
    responses((status = 200, body = SplitsView)))]
pub(super) async fn promote_release(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    if_match: IfMatch,
    Path(name): Path<String>,
    body: Body<Promotion>,
) -> Answer<Kept> {
    let wanted = (name.as_str(), Wanted::Promote(body.value.release), &if_match);
    once(&control, &caller, &idempotency, &body.bytes, wanted).await
}

/// Nothing to say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Takes the last change of a service's splits back, a promotion among them.
#[utoipa::path(post, path = "/v1/services/{name}/rollback", operation_id = "routes.roll_back_release",
    tag = "routes", params(("name" = String, Path, description = "The service")), request_body = Nothing,
    responses((status = 200, body = SplitsView)))]
pub(super) async fn roll_back_release(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    if_match: IfMatch,
    Path(name): Path<String>,
    body: Body<Nothing>,
) -> Answer<Kept> {
    let Nothing {} = body.value;
    once(&control, &caller, &idempotency, &body.bytes, (&name, Wanted::RollBack, &if_match)).await
}

/// A change whose answer is kept under the call's key, so that sending it twice does it once.
async fn once(
    control: &Shared,
    caller: &Caller,
    idempotency: &Idempotency,
    bytes: &[u8],
    wanted: (&str, Wanted, &IfMatch),
) -> Answer<Kept> {
    let permit = caller.permit("service:update", None)?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, bytes).await? {
        return Ok(kept);
    }
    let (service, stored, change) =
        splits::change(control, &transaction, &permit, wanted, caller.request_id).await?;
    let answer = Kept::new(StatusCode::OK, &view(&service, stored));
    match change {
        Some(change) => {
            idempotency.keep(&transaction, &answer).await?;
            transaction.commit(change).await?;
        }
        None => transaction.rollback().await?,
    }
    Ok(answer)
}
