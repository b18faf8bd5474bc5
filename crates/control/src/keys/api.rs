//! `/v1/keys`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use rowhouse_domain::id::{KeyId, ServiceAccountId};
use rowhouse_domain::keys::PublicId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bounds::{self, GRACE_DEFAULT_S};
use super::explain::{KeyExplanation, explain};
use super::queries::{self, Filter};
use super::verify::{Question, Verdict, verify};
use super::wire::{
    ExplainBody, KeyAnswer, KeyBody, KeyParameters, NoBody, RenewBody, RevokeBody, RotateBody, VerifyBody,
    with_secret,
};
use super::{KeyEdit, KeyRecord, Turn, create, edit, renew, rotate, turn};
use crate::Shared;
use crate::access::Authority;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, IfMatch, List, Page, Parameters, TenantParameter};
use crate::api::{cursor, etag, path_id};

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_keys, create_key))
        .routes(routes!(verify_key))
        .routes(routes!(explain_key))
        .routes(routes!(get_key, update_key))
        .routes(routes!(renew_key))
        .routes(routes!(revoke_key))
        .routes(routes!(disable_key))
        .routes(routes!(enable_key))
        .routes(routes!(rotate_key))
        .merge(super::account_api::routes())
}

fn no_such_key() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no key with this id.")
}

/// Keys, oldest first.
#[utoipa::path(
    get, path = "/v1/keys", operation_id = "keys.list_keys", tag = "keys",
    params(KeyParameters), responses((status = 200, body = List<KeyAnswer>))
)]
async fn list_keys(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<KeyParameters>,
) -> Answer<Json<List<KeyAnswer>>> {
    let scope = caller.scope(asked.tenant.as_deref())?;
    let permit = caller.permit("api_key:read", scope)?;
    let page = Page { tenant: asked.tenant, limit: asked.limit, cursor: asked.cursor };
    let size = page.size()?;
    let query = format!("keys {scope:?} {:?}", asked.owner);
    let after: Option<KeyId> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let owner = asked.owner.as_deref().map(path_id::<ServiceAccountId>).transpose()?;
    let filter = Filter {
        tenant: scope.map(|tenant| tenant.0),
        owner: owner.map(|owner| owner.0),
        after: after.map(|id| id.0),
    };
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, filter, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    let now_us = control.clock().now_us();
    Ok(Json(List { items: rows.iter().map(|row| KeyAnswer::new(row, now_us)).collect(), next_cursor }))
}

/// Makes a key; its text is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/v1/keys", operation_id = "keys.create_key", tag = "keys",
    params(TenantParameter), request_body = KeyBody, responses((status = 201, body = KeyAnswer))
)]
async fn create_key(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<KeyBody>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("api_key:create", Some(tenant))?;
    let mut new = body.value.parse()?;
    // Whoever holds a key of the tenant for a day gets no other one for a year. The operator's keys serve all tenants' lives.
    let ends_us =
        caller.key().and_then(|key| key.standing.expires_at_us).filter(|_| caller.tenant() == tenant);
    new.maker_ends = ends_us.and_then(|us| Timestamp::from_microsecond(us).ok());
    bounds::within_maker(&caller, new.environment, &new.narrow)?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let authority = Authority::of_key_maker(&caller, tenant);
    let (created, change) = create(&control, &transaction, tenant, new, &authority).await?;
    let shown = KeyAnswer::new(&created.key, control.clock().now_us());
    let answer = Kept::new(StatusCode::CREATED, &with_secret(&shown, &[]))
        .location(format!("/v1/keys/{}", created.key.id));
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer.with_field("key", &created.text))
}

/// One key.
#[utoipa::path(
    get, path = "/v1/keys/{id}", operation_id = "keys.get_key", tag = "keys",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = KeyAnswer))
)]
async fn get_key(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<(HeaderMap, Json<KeyAnswer>)> {
    let permit = caller.permit("api_key:read", caller.home())?;
    let id = path_id::<KeyId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let key = queries::one(&transaction, id, false).await?.ok_or_else(no_such_key)?;
    transaction.finish().await?;
    Ok(shown(&key, control.clock().now_us()))
}

/// Changes a key; what is absent stays.
#[utoipa::path(
    patch, path = "/v1/keys/{id}", operation_id = "keys.update_key", tag = "keys",
    params(("id" = String, Path, description = "Its id")), request_body = KeyEdit,
    responses((status = 200, body = KeyAnswer))
)]
async fn update_key(
    State(control): State<Shared>,
    caller: Caller,
    seen: IfMatch,
    Path(id): Path<String>,
    body: Body<KeyEdit>,
) -> Answer<(HeaderMap, Json<KeyAnswer>)> {
    let permit = caller.permit("api_key:update", caller.home())?;
    let id = path_id::<KeyId>(&id)?;
    let transaction = control.store.write(&permit).await?;
    let (key, change) = edit(&transaction, id, body.value, &caller, &seen).await?.ok_or_else(no_such_key)?;
    match change {
        Some(change) => drop(transaction.commit(change.request(caller.request_id)).await?),
        None => transaction.rollback().await?,
    }
    Ok(shown(&key, control.clock().now_us()))
}

/// Moves the end of a key: at most 365 days from now.
#[utoipa::path(
    post, path = "/v1/keys/{id}/renew", operation_id = "keys.renew_key", tag = "keys",
    params(("id" = String, Path, description = "Its id")), request_body = RenewBody,
    responses((status = 200, body = KeyAnswer))
)]
async fn renew_key(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Path(id): Path<String>,
    body: Body<RenewBody>,
) -> Answer<Kept> {
    let permit = caller.permit("api_key:create", caller.home())?;
    let id = path_id::<KeyId>(&id)?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let renewed = renew(&transaction, id, body.value.expires_at, own_end(&caller), &caller).await?;
    let (key, change) = renewed.ok_or_else(no_such_key)?;
    let answer = Kept::new(StatusCode::OK, &KeyAnswer::new(&key, control.clock().now_us()));
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer)
}

/// When the caller's key ends. The operator's keys serve all tenants' lives.
fn own_end(caller: &Caller) -> Option<Timestamp> {
    let ends_us = caller.key().and_then(|key| key.standing.expires_at_us).filter(|_| !caller.is_operator());
    ends_us.and_then(|us| Timestamp::from_microsecond(us).ok())
}

fn shown(key: &KeyRecord, now_us: i64) -> (HeaderMap, Json<KeyAnswer>) {
    (HeaderMap::from_iter(etag(key.version)), Json(KeyAnswer::new(key, now_us)))
}

/// Ends a key for ever. In force on every gateway within a second.
#[utoipa::path(
    post, path = "/v1/keys/{id}/revoke", operation_id = "keys.revoke_key", tag = "keys",
    params(("id" = String, Path, description = "Its id")), request_body = RevokeBody,
    responses((status = 200, body = KeyAnswer))
)]
async fn revoke_key(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Path(id): Path<String>,
    body: Body<RevokeBody>,
) -> Answer<Kept> {
    let revoke = Turn::Revoke(body.value.reason);
    turned(&control, &caller, idempotency, (&id, &body.bytes), ("api_key:delete", revoke)).await
}

/// Switches a key off until it is enabled.
#[utoipa::path(
    post, path = "/v1/keys/{id}/disable", operation_id = "keys.disable_key", tag = "keys",
    params(("id" = String, Path, description = "Its id")), request_body = NoBody,
    responses((status = 200, body = KeyAnswer))
)]
async fn disable_key(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Path(id): Path<String>,
    body: Body<NoBody>,
) -> Answer<Kept> {
    turned(&control, &caller, idempotency, (&id, &body.bytes), ("api_key:update", Turn::Disable)).await
}

/// Switches a disabled key on.
#[utoipa::path(
    post, path = "/v1/keys/{id}/enable", operation_id = "keys.enable_key", tag = "keys",
    params(("id" = String, Path, description = "Its id")), request_body = NoBody,
    responses((status = 200, body = KeyAnswer))
)]
async fn enable_key(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Path(id): Path<String>,
    body: Body<NoBody>,
) -> Answer<Kept> {
    turned(&control, &caller, idempotency, (&id, &body.bytes), ("api_key:update", Turn::Enable)).await
}

async fn turned(
    control: &Shared,
    caller: &Caller,
    idempotency: Idempotency,
    (id, bytes): (&str, &[u8]),
    (permission, how): (&str, Turn),
) -> Answer<Kept> {
    let permit = caller.permit(permission, caller.home())?;
    let id = path_id::<KeyId>(id)?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, bytes).await? {
        return Ok(kept);
    }
    let (key, change) = turn(&transaction, id, how).await?.ok_or_else(no_such_key)?;
    let answer = Kept::new(StatusCode::OK, &KeyAnswer::new(&key, control.clock().now_us()));
    match change {
        Some(change) => {
            idempotency.keep(&transaction, &answer).await?;
            transaction.commit(change.request(caller.request_id)).await?;
        }
        None => transaction.rollback().await?,
    }
    Ok(answer)
}

/// Replaces a key; both work during the grace.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotate", operation_id = "keys.rotate_key", tag = "keys",
    params(("id" = String, Path, description = "Its id")), request_body = RotateBody,
    responses((status = 201, body = KeyAnswer))
)]
async fn rotate_key(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Path(id): Path<String>,
    body: Body<RotateBody>,
) -> Answer<Kept> {
    let permit = caller.permit("api_key:create", caller.home())?;
    let id = path_id::<KeyId>(&id)?;
    let grace_s = body.value.grace_seconds.unwrap_or(GRACE_DEFAULT_S);
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let authority = |tenant| Authority::of_key_maker(&caller, tenant);
    let rotated = rotate(&control, &transaction, id, (grace_s, own_end(&caller)), authority).await?;
    let (created, ends, change) = rotated.ok_or_else(no_such_key)?;
    // Who sees the new text could use it.
    bounds::within_maker(&caller, created.key.environment, &created.key.narrow)?;
    let shown = KeyAnswer::new(&created.key, control.clock().now_us());
    let until = [("grace_until", json!(ends.to_string()))];
    let answer = Kept::new(StatusCode::CREATED, &with_secret(&shown, &until))
        .location(format!("/v1/keys/{}", created.key.id));
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer.with_field("key", &created.text))
}

/// What the gateway would say to a request with a key, and why. Every check is made; nothing is charged.
#[utoipa::path(
    post, path = "/v1/keys/explain", operation_id = "keys.explain_key", tag = "keys",
    request_body = ExplainBody, responses((status = 200, body = KeyExplanation))
)]
async fn explain_key(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<ExplainBody>,
) -> Answer<Json<KeyExplanation>> {
    caller.permit("access:explain", caller.home())?;
    let permit = caller.permit("api_key:read", caller.home())?;
    let id = path_id::<KeyId>(&body.value.key_id)?;
    let transaction = control.store.read(&permit).await?;
    let record = queries::one(&transaction, id, false).await?.ok_or_else(no_such_key)?;
    transaction.finish().await?;
    let now_us = body.value.at.map_or_else(|| control.clock().now_us(), |at| at.as_microsecond());
    let public_id = PublicId::parse(&record.public_id).ok_or_else(no_such_key)?;
    let key = caller.directory().keys.get(&public_id).ok_or_else(no_such_key)?;
    Ok(Json(explain(caller.directory(), key, &body.value.request, now_us)))
}

/// Whether a key is good, and what for. Always 200; the answer says why not.
#[utoipa::path(
    post, path = "/v1/keys/verify", operation_id = "keys.verify_key", tag = "keys",
    request_body = VerifyBody, responses((status = 200, body = Verdict))
)]
async fn verify_key(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<VerifyBody>,
) -> Answer<Json<Verdict>> {
    caller.permit("access:evaluate", caller.home())?;
    let question = Question {
        text: &body.value.key,
        permission: body.value.permission.as_deref(),
        client: body.value.ip,
        thing: body.value.resource.as_ref().map(|own| (&*own.kind, &*own.id)),
        asker: caller.tenant(),
        now_us: control.clock().now_us(),
    };
    Ok(Json(verify(caller.directory(), &control.peppers, question)))
}
