//! `/v1/issuers`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{IssuerId, OPERATOR_TENANT};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Change;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::refresh::{notice, refresh};
use super::register::{ISSUERS_MAX, NewIssuer, check, fetch_keys, stored_keys};
use super::{IssuerAnswer, IssuerRow, KeyName, queries};
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor, path_id};
use crate::{Shared, keys, tenancy};

/// The routes of issuers.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_issuers, create_issuer))
        .routes(routes!(get_issuer, delete_issuer))
        .routes(routes!(refresh_issuer))
}

impl From<&IssuerRow> for IssuerAnswer {
    fn from(row: &IssuerRow) -> Self {
        let keys = stored_keys(row.key_set.as_deref(), &row.algorithms);
        let name = |key: &rowhouse_domain::identity::issuer::IssuerKey| KeyName {
            kid: key.key_id.to_string(),
            algorithm: key.algorithm.as_str().to_owned(),
        };
        IssuerAnswer {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            name: row.name.clone(),
            issuer: row.issuer.clone(),
            jwks_uri: row.jwks_uri.clone(),
            audiences: row.audiences.clone(),
            algorithms: row.algorithms.iter().map(|own| own.as_str().to_owned()).collect(),
            subject_claim: row.subject_claim.clone(),
            keys: keys.iter().map(name).collect(),
            fetched_at: row.fetched_at.map(|at| at.to_string()),
            tried_at: row.tried_at.to_string(),
            last_problem: row.last_problem.clone(),
            created_at: row.created_at.to_string(),
            created_by: row.created_by.clone(),
        }
    }
}

fn no_such_issuer() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no issuer with this id.")
}

/// Issuers whose tokens may sign service accounts in, oldest first.
#[utoipa::path(
    get, path = "/v1/issuers", operation_id = "identity.list_issuers", tag = "identity",
    params(Page), responses((status = 200, body = List<IssuerAnswer>))
)]
async fn list_issuers(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<IssuerAnswer>>> {
    let scope = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("issuer:read", scope)?;
    let size = page.size()?;
    let query = format!("issuers {scope:?}");
    let after = cursor::after(&control, &query, page.cursor.as_deref())?.unwrap_or(IssuerId::from_u128(0));
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, after, scope, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    Ok(Json(List { items: rows.iter().map(IssuerAnswer::from).collect(), next_cursor }))
}

/// Registers an issuer. Its keys are fetched before it is; by itself it lets nobody in, see the `trust` of service accounts.
#[utoipa::path(
    post, path = "/v1/issuers", operation_id = "identity.create_issuer", tag = "identity",
    params(TenantParameter), request_body = NewIssuer, responses((status = 201, body = IssuerAnswer))
)]
async fn create_issuer(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<NewIssuer>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("issuer:manage", Some(tenant))?;
    caller.refuse_narrowed()?;
    let new = body.value;
    let algorithms = check(&new)?;
    let found = fetch_keys(&control, &new.issuer, new.jwks_uri.as_deref(), &algorithms).await;
    let key_set = found.map_err(|error| Refusal::new(&kind::ISSUER_UNREACHABLE, error.to_string()))?;
    // The operator's issuers are seen too: nobody takes the name of one.
    let seeing = control.store.read(&Permit::for_system(None, "names of issuers")).await?;
    let taken = queries::visible(&seeing, tenant, &new.issuer).await?;
    seeing.finish().await?;
    let is_taken = || Refusal::new(&kind::ISSUER_TAKEN, format!("`{}` is registered already.", new.issuer));
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    if taken.is_some() {
        return Err(is_taken().into());
    }
    // Counted one after the other.
    tenancy::lock(&transaction, tenant).await?;
    if queries::count(&transaction, tenant).await? >= ISSUERS_MAX {
        let most = format!("A tenant has at most {ISSUERS_MAX} issuers.");
        return Err(Refusal::new(&kind::ISSUER_INVALID, most).into());
    }
    let now = control.clock().now();
    let row = IssuerRow {
        id: IssuerId(control.entropy().uuid_v7(now.as_microsecond())),
        tenant,
        name: new.name,
        issuer: new.issuer.clone(),
        jwks_uri: new.jwks_uri,
        audiences: new.audiences,
        algorithms,
        subject_claim: new.subject_claim,
        key_set: Some(key_set),
        fetched_at: Some(now),
        tried_at: now,
        last_problem: None,
        created_by: caller.principal().to_string(),
        created_at: now,
    };
    queries::insert(&transaction, &row).await.map_err(|error| match error.constraint() {
        Some("issuers_issuer_key") => is_taken(),
        _ => error.into(),
    })?;
    let answer =
        Kept::new(StatusCode::CREATED, &IssuerAnswer::from(&row)).location(format!("/v1/issuers/{}", row.id));
    idempotency.keep(&transaction, &answer).await?;
    let change =
        Change::new(tenant, "identity.issuer_created", "create", caller.principal()).on("issuer", row.id);
    let details = json!({ "issuer": row.issuer, "audiences": row.audiences });
    transaction.commit(change.details(details).request(caller.request_id).notify(notice(&row))).await?;
    Ok(answer)
}

/// One issuer, with the names of its keys.
#[utoipa::path(
    get, path = "/v1/issuers/{id}", operation_id = "identity.get_issuer", tag = "identity",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = IssuerAnswer))
)]
async fn get_issuer(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<IssuerAnswer>> {
    let permit = caller.permit("issuer:read", caller.home())?;
    let id = path_id::<IssuerId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::find(&transaction, id).await?;
    transaction.finish().await?;
    Ok(Json(IssuerAnswer::from(&row.ok_or_else(no_such_issuer)?)))
}

/// Forgets an issuer. Refused while a service account trusts it: whoever took its name afterwards would be trusted.
#[utoipa::path(
    delete, path = "/v1/issuers/{id}", operation_id = "identity.delete_issuer", tag = "identity",
    params(("id" = String, Path, description = "Its id")), responses((status = 204))
)]
async fn delete_issuer(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let permit = caller.permit("issuer:manage", caller.home())?;
    caller.refuse_narrowed()?;
    let id = path_id::<IssuerId>(&id)?;
    let transaction = control.store.write(&permit).await?;
    let row = queries::lock(&transaction, id).await?.ok_or_else(no_such_issuer)?;
    // The operator's issuers may be trusted by accounts that this caller's transaction sees, which are all.
    if keys::trusts_issuer(&transaction, id).await? {
        let words = "Service accounts trust it; take it out of their `trust` first.";
        return Err(Refusal::new(&kind::ISSUER_IN_USE, words).into());
    }
    queries::delete(&transaction, id).await?;
    let change =
        Change::new(row.tenant, "identity.issuer_deleted", "delete", caller.principal()).on("issuer", id);
    let details = json!({ "issuer": row.issuer });
    transaction.commit(change.details(details).request(caller.request_id).notify(notice(&row))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks it for its keys now, at most once a minute.
#[utoipa::path(
    post, path = "/v1/issuers/{id}/refresh", operation_id = "identity.refresh_issuer", tag = "identity",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = IssuerAnswer))
)]
async fn refresh_issuer(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<IssuerAnswer>> {
    let permit = caller.permit("issuer:manage", caller.home())?;
    caller.refuse_narrowed()?;
    let id = path_id::<IssuerId>(&id)?;
    let before = control.clock().now() - jiff::SignedDuration::from_secs(60);
    if let Some(row) = refresh(&control, id, before, Some(&permit)).await? {
        return Ok(Json(IssuerAnswer::from(&row)));
    }
    let transaction = control.store.read(&permit).await?;
    let row = queries::find(&transaction, id).await?;
    transaction.finish().await?;
    Ok(Json(IssuerAnswer::from(&row.ok_or_else(no_such_issuer)?)))
}

impl IssuerRow {
    /// As the directory needs it; whom it signs in is filled in there.
    pub fn compiled(&self, control: &crate::Control) -> rowhouse_domain::identity::issuer::Issuer {
        rowhouse_domain::identity::issuer::Issuer {
            id: self.id,
            issuer: self.issuer.as_str().into(),
            audiences: self.audiences.iter().map(|own| own.as_str().into()).collect(),
            subject_claim: self.subject_claim.as_str().into(),
            keys: stored_keys(self.key_set.as_deref(), &self.algorithms),
            trusts: Vec::new(),
            missed: control.missed_keys.of(self.id),
        }
    }

    /// Whether every tenant may trust it.
    pub fn is_of_operator(&self) -> bool {
        self.tenant == OPERATOR_TENANT
    }
}
