//! `/v1/service_accounts`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::id::ServiceAccountId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::account::Account;
use super::certificates::{self, CertificateBody};
use super::trust::{self, TrustBody};
use super::{NewAccount, create_account, queries};
use crate::Shared;
use crate::access::Authority;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter};
use crate::api::{cursor, path_id};

/// The routes of service accounts.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_service_accounts, create_service_account))
        .routes(routes!(get_service_account))
        .routes(routes!(set_trust))
        .routes(routes!(set_certificates))
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
    /// Whose tokens sign in as it, without a key.
    trust: Vec<TrustBody>,
    /// By which client certificates it signs in, without a key.
    certificates: Vec<CertificateBody>,
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
            trust: account.trust.clone(),
            certificates: account.certificates.clone(),
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
    let after = cursor::after(&control, &query, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list_accounts(&transaction, scope, after, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
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
    let permit = caller.permit("service_account:read", caller.home())?;
    let id = path_id::<ServiceAccountId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let account = queries::one_account(&transaction, id).await?;
    transaction.finish().await?;
    let missing = || Refusal::new(&kind::NOT_FOUND, "There is no service account with this id.");
    Ok(Json(AccountAnswer::from(&account.ok_or_else(missing)?)))
}

/// Whom an account trusts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustsBody {
    /// At most 10; none ends it.
    trust: Vec<TrustBody>,
}

/// Sets whose tokens sign in as a service account, in place of all before.
#[utoipa::path(
    put, path = "/v1/service_accounts/{id}/trust", operation_id = "keys.set_trust", tag = "keys",
    params(("id" = String, Path, description = "Its id")), request_body = TrustsBody,
    responses((status = 200, body = AccountAnswer))
)]
async fn set_trust(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    body: Body<TrustsBody>,
) -> Answer<Json<AccountAnswer>> {
    let permit = caller.permit("service_account:update", caller.home())?;
    caller.refuse_narrowed()?;
    let id = path_id::<ServiceAccountId>(&id)?;
    let transaction = control.store.write(&permit).await?;
    let missing = || Refusal::new(&kind::NOT_FOUND, "There is no service account with this id.");
    let account = queries::one_account(&transaction, id).await?.ok_or_else(missing)?;
    let authority = Authority::of(&caller, account.tenant);
    let (account, change) =
        trust::set(&control, &transaction, account, (body.value.trust, &authority)).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(Json(AccountAnswer::from(&account)))
}

/// By which certificates an account signs in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificatesBody {
    /// At most 10; none ends it.
    certificates: Vec<CertificateBody>,
}

/// Sets by which client certificates a service account signs in, in place of all before.
#[utoipa::path(
    put, path = "/v1/service_accounts/{id}/certificates", operation_id = "keys.set_certificates", tag = "keys",
    params(("id" = String, Path, description = "Its id")), request_body = CertificatesBody,
    responses((status = 200, body = AccountAnswer))
)]
async fn set_certificates(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    body: Body<CertificatesBody>,
) -> Answer<Json<AccountAnswer>> {
    let permit = caller.permit("service_account:update", caller.home())?;
    caller.refuse_narrowed()?;
    let id = path_id::<ServiceAccountId>(&id)?;
    let transaction = control.store.write(&permit).await?;
    let missing = || Refusal::new(&kind::NOT_FOUND, "There is no service account with this id.");
    let account = queries::one_account(&transaction, id).await?.ok_or_else(missing)?;
    let authority = Authority::of(&caller, account.tenant);
    let (account, change) =
        certificates::set(&transaction, account, (body.value.certificates, &authority)).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(Json(AccountAnswer::from(&account)))
}
