//! `/v1/keys` and `/v1/service_accounts`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use rowhouse_domain::id::{KeyId, OPERATOR_TENANT, ServiceAccountId, TenantId};
use rowhouse_domain::keys::Environment;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::account::Account;
use super::bounds::GRACE_DEFAULT_S;
use super::queries::{self, Filter};
use super::verify::{Question, Verdict, verify};
use super::{KeyRecord, NewAccount, NewKey, Turn, create, create_account, rotate, turn};
use crate::Shared;
use crate::access::Authority;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, PrincipalBody, TenantParameter};
use crate::api::{cursor, path_id};

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_keys, create_key))
        .routes(routes!(verify_key))
        .routes(routes!(get_key))
        .routes(routes!(revoke_key))
        .routes(routes!(disable_key))
        .routes(routes!(enable_key))
        .routes(routes!(rotate_key))
        .routes(routes!(list_service_accounts, create_service_account))
        .routes(routes!(get_service_account))
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyBody {
    /// 1 to 100 characters.
    name: String,
    /// At most 500 characters.
    #[serde(default)]
    description: String,
    /// A service account of the tenant.
    owner: PrincipalBody,
    /// `live` (the default) or `test`.
    #[schema(value_type = Option<String>)]
    environment: Option<Environment>,
    /// At most 16 roles.
    #[serde(default)]
    roles: Vec<String>,
    /// At most 256 permissions and patterns.
    #[serde(default)]
    permissions: Vec<String>,
    /// Only for these services; all if not said.
    services: Option<Vec<String>>,
    /// At most 20 words for finding it.
    #[serde(default)]
    tags: Vec<String>,
    /// The tenant's own, at most 4 KiB.
    #[serde(default = "empty")]
    #[schema(value_type = Object)]
    metadata: Value,
    /// Not before, RFC 3339.
    #[schema(value_type = Option<String>)]
    not_before: Option<Timestamp>,
    /// Not at or after, RFC 3339; at most and by default 365 days from now.
    #[schema(value_type = Option<String>)]
    expires_at: Option<Timestamp>,
}

fn empty() -> Value {
    json!({})
}

impl KeyBody {
    fn parse(self) -> Result<NewKey, Refusal> {
        Ok(NewKey {
            owner: self.owner.parse("/owner")?,
            name: self.name,
            description: self.description,
            environment: self.environment.unwrap_or(Environment::Live),
            roles: self.roles,
            permissions: self.permissions,
            services: self.services,
            tags: self.tags,
            metadata: self.metadata,
            not_before: self.not_before,
            expires_at: self.expires_at,
        })
    }
}

/// A key, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyAnswer {
    id: String,
    tenant: String,
    public_id: String,
    hint: String,
    name: String,
    description: String,
    owner: PrincipalBody,
    environment: &'static str,
    roles: Vec<String>,
    permissions: Vec<String>,
    services: Option<Vec<String>>,
    tags: Vec<String>,
    #[schema(value_type = Object)]
    metadata: Value,
    /// `scheduled`, `active`, `grace`, `expired`, `disabled` or `revoked`.
    state: &'static str,
    not_before: Option<String>,
    expires_at: Option<String>,
    family: String,
    replaces: Option<String>,
    replaced_by: Option<String>,
    revoked_reason: Option<String>,
    created_at: String,
    created_by: String,
    version: i64,
}

impl KeyAnswer {
    fn new(key: &KeyRecord, now_us: i64) -> Self {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        KeyAnswer {
            id: key.id.to_string(),
            tenant: key.tenant.to_string(),
            public_id: key.public_id.clone(),
            hint: key.hint.clone(),
            name: key.name.clone(),
            description: key.description.clone(),
            owner: key.owner.into(),
            environment: key.environment.as_str(),
            roles: key.roles.clone(),
            permissions: key.permissions.clone(),
            services: key.services.clone(),
            tags: key.tags.clone(),
            metadata: key.metadata.clone(),
            state: key.shown_state(now_us),
            not_before: time(key.not_before),
            expires_at: time(key.expires_at),
            family: key.family.to_string(),
            replaces: key.replaces.map(|id| id.to_string()),
            replaced_by: key.replaced_by.map(|id| id.to_string()),
            revoked_reason: key.revoked_reason.clone(),
            created_at: key.created_at.to_string(),
            created_by: key.created_by.clone(),
            version: key.version,
        }
    }
}

/// The same with what is shown once. `key` is `null` when the answer is repeated.
fn with_secret(answer: &KeyAnswer, more: &[(&str, Value)]) -> Value {
    let mut value = serde_json::to_value(answer).expect("wire types are JSON");
    value["key"] = Value::Null;
    for (name, what) in more {
        value[*name] = what.clone();
    }
    value
}

fn no_such_key() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no key with this id.")
}

/// The scope that a thing addressed by id alone is looked for in.
fn home(caller: &Caller) -> Option<TenantId> {
    (caller.key.tenant != OPERATOR_TENANT).then_some(caller.key.tenant)
}

/// `?tenant=&owner=&limit=&cursor=`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KeyParameters {
    /// Which tenant.
    tenant: Option<String>,
    /// Only keys of this service account.
    owner: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
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
    let after = page.cursor.as_deref().map(|text| cursor::open(&control, &query, text)).transpose()?;
    let after = after.map(|text| path_id::<KeyId>(&text)).transpose()?;
    let owner = asked.owner.as_deref().map(path_id::<ServiceAccountId>).transpose()?;
    let filter = Filter {
        tenant: scope.map(|tenant| tenant.0),
        owner: owner.map(|owner| owner.0),
        after: after.map(|id| id.0),
    };
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, filter, size + 1).await?;
    transaction.finish().await?;
    let more = rows.len() as i64 > size;
    rows.truncate(size as usize);
    let last = rows.last().filter(|_| more);
    let next_cursor = last.map(|row| cursor::seal(&control, &query, &row.id.to_string()));
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
    let new = body.value.parse()?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let authority = Authority::of(&caller, tenant);
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
) -> Answer<Json<KeyAnswer>> {
    let permit = caller.permit("api_key:read", home(&caller))?;
    let id = path_id::<KeyId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let key = queries::one(&transaction, id, false).await?.ok_or_else(no_such_key)?;
    transaction.finish().await?;
    Ok(Json(KeyAnswer::new(&key, control.clock().now_us())))
}

/// Why a key is revoked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeBody {
    /// 1 to 500 characters.
    reason: String,
}

/// Nothing to say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoBody {}

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
    let permit = caller.permit(permission, home(caller))?;
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

/// How a key is rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// How long the old key goes on: 0 to 7,776,000 s, default 86,400.
    grace_seconds: Option<i64>,
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
    let permit = caller.permit("api_key:create", home(&caller))?;
    let id = path_id::<KeyId>(&id)?;
    let grace_s = body.value.grace_seconds.unwrap_or(GRACE_DEFAULT_S);
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let authority = |tenant| Authority::of(&caller, tenant);
    let rotated = rotate(&control, &transaction, id, grace_s, authority).await?;
    let (created, ends, change) = rotated.ok_or_else(no_such_key)?;
    let shown = KeyAnswer::new(&created.key, control.clock().now_us());
    let until = [("grace_until", json!(ends.to_string()))];
    let answer = Kept::new(StatusCode::CREATED, &with_secret(&shown, &until))
        .location(format!("/v1/keys/{}", created.key.id));
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer.with_field("key", &created.text))
}

/// A key that a service has met.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyBody {
    /// Its text.
    key: String,
    /// What it is to be used for: `type:action`.
    permission: Option<String>,
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
    caller.permit("access:evaluate", home(&caller))?;
    let question = Question {
        text: &body.value.key,
        permission: body.value.permission.as_deref(),
        asker: caller.key.tenant,
        now_us: control.clock().now_us(),
    };
    Ok(Json(verify(caller.directory(), &control.peppers, question)))
}

/// A service account to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountBody {
    /// 1 to 100 characters, once in the tenant.
    name: String,
    /// At most 500 characters.
    #[serde(default)]
    description: String,
}

/// A service account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountAnswer {
    id: String,
    tenant: String,
    name: String,
    description: String,
    disabled: bool,
    created_at: String,
    created_by: String,
    version: i64,
}

impl From<&Account> for AccountAnswer {
    fn from(account: &Account) -> Self {
        AccountAnswer {
            id: account.id.to_string(),
            tenant: account.tenant.to_string(),
            name: account.name.clone(),
            description: account.description.clone(),
            disabled: account.disabled,
            created_at: account.created_at.to_string(),
            created_by: account.created_by.clone(),
            version: account.version,
        }
    }
}

/// Service accounts, oldest first.
#[utoipa::path(
    get, path = "/v1/service_accounts", operation_id = "keys.list_service_accounts", tag = "keys",
    params(Page), responses((status = 200, body = List<AccountAnswer>))
)]
async fn list_service_accounts(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<AccountAnswer>>> {
    let scope = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("service_account:read", scope)?;
    let size = page.size()?;
    let query = format!("service_accounts {scope:?}");
    let after = page.cursor.as_deref().map(|text| cursor::open(&control, &query, text)).transpose()?;
    let after = after.map(|text| path_id::<ServiceAccountId>(&text)).transpose()?;
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list_accounts(&transaction, scope, after, size + 1).await?;
    transaction.finish().await?;
    let more = rows.len() as i64 > size;
    rows.truncate(size as usize);
    let last = rows.last().filter(|_| more);
    let next_cursor = last.map(|row| cursor::seal(&control, &query, &row.id.to_string()));
    Ok(Json(List { items: rows.iter().map(AccountAnswer::from).collect(), next_cursor }))
}

/// Makes a service account. It may do nothing until it is granted something.
#[utoipa::path(
    post, path = "/v1/service_accounts", operation_id = "keys.create_service_account", tag = "keys",
    params(TenantParameter), request_body = AccountBody, responses((status = 201, body = AccountAnswer))
)]
async fn create_service_account(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<AccountBody>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("service_account:create", Some(tenant))?;
    let new = NewAccount { name: body.value.name, description: body.value.description };
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let (account, change) = create_account(&transaction, tenant, new).await?;
    let answer = Kept::new(StatusCode::CREATED, &AccountAnswer::from(&account))
        .location(format!("/v1/service_accounts/{}", account.id));
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer)
}

/// One service account.
#[utoipa::path(
    get, path = "/v1/service_accounts/{id}", operation_id = "keys.get_service_account", tag = "keys",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = AccountAnswer))
)]
async fn get_service_account(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<AccountAnswer>> {
    let permit = caller.permit("service_account:read", home(&caller))?;
    let id = path_id::<ServiceAccountId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let account = queries::one_account(&transaction, id).await?;
    transaction.finish().await?;
    let missing = || Refusal::new(&kind::NOT_FOUND, "There is no service account with this id.");
    Ok(Json(AccountAnswer::from(&account.ok_or_else(missing)?)))
}
