//! `/v1/service_accounts/{id}/secrets`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::id::{ServiceAccountId, SessionId};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::queries::{self, SecretRow};
use super::secret::{self, NewSecret};
use crate::access::Authority;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, Parameters, TenantParameter, path_id};
use crate::{Shared, keys};

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list, make)).routes(routes!(revoke))
}

/// A secret; its text is shown once.
#[derive(Debug, Serialize, ToSchema)]
struct SecretAnswer {
    id: String,
    label: String,
    /// Of the token endpoint: the service account.
    client_id: String,
    created_at: String,
    created_by: String,
    expires_at: String,
    /// To the minute.
    used_at: Option<String>,
}

impl From<&SecretRow> for SecretAnswer {
    fn from(row: &SecretRow) -> Self {
        SecretAnswer {
            id: row.id.to_string(),
            label: row.label.clone(),
            client_id: row.account.to_string(),
            created_at: row.created_at.to_string(),
            created_by: row.created_by.clone(),
            expires_at: row.expires_at.to_string(),
            used_at: row.used_at.map(|time| time.to_string()),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct SecretsAnswer {
    items: Vec<SecretAnswer>,
}

/// The secrets of a service account that are not revoked: at most two in use.
#[utoipa::path(get, path = "/v1/service_accounts/{id}/secrets", operation_id = "identity.list_client_secrets", tag = "identity",
    params(("id" = String, Path), TenantParameter), responses((status = 200, body = SecretsAnswer)))]
async fn list(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<SecretsAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("service_account:read", Some(tenant))?;
    let account = path_id::<ServiceAccountId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    keys::service_account_of(&transaction, tenant, account.0).await?;
    let rows = queries::of_account(&transaction, account).await?;
    transaction.finish().await?;
    Ok(Json(SecretsAnswer { items: rows.iter().map(SecretAnswer::from).collect() }))
}

fn year() -> i64 {
    365
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecretBody {
    /// At most 60 characters.
    #[serde(default)]
    label: String,
    /// How long it is good, 1 to 365.
    #[serde(default = "year")]
    days: i64,
}

/// Makes a secret, with which the account asks `/oauth2/token` for tokens. Whoever makes it must hold what the account holds.
#[utoipa::path(post, path = "/v1/service_accounts/{id}/secrets", operation_id = "identity.create_client_secret", tag = "identity",
    params(("id" = String, Path), TenantParameter), request_body = SecretBody, responses((status = 201, body = SecretAnswer)))]
async fn make(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<SecretBody>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("service_account:update", Some(tenant))?;
    let account = path_id::<ServiceAccountId>(&id)?;
    // A key may be narrowed in ways that a secret is not: what it lends is not handed on for good.
    if caller.key().is_some() && caller.tenant() == tenant {
        let words = "A key of the tenant makes no secrets: sign in as a person.";
        return Err(Refusal::new(&kind::ACCESS_ESCALATION, words).into());
    }
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let new = NewSecret { label: body.value.label, days: body.value.days };
    let authority = Authority::of(&caller, tenant);
    let (row, text, change) =
        secret::make(&control, &transaction, (tenant, account), new, &authority).await?;
    let answer = Kept::new(StatusCode::CREATED, &SecretAnswer::from(&row));
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer.with_field("client_secret", &text))
}

/// Revokes a secret. Its tokens are refused within a second.
#[utoipa::path(delete, path = "/v1/service_accounts/{id}/secrets/{secret}", operation_id = "identity.revoke_client_secret",
    tag = "identity", params(("id" = String, Path), ("secret" = String, Path), TenantParameter), responses((status = 204)))]
async fn revoke(
    State(control): State<Shared>,
    caller: Caller,
    Path((id, secret)): Path<(String, String)>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("service_account:update", Some(tenant))?;
    let account = path_id::<ServiceAccountId>(&id)?;
    let secret = path_id::<SessionId>(&secret)?;
    let transaction = control.store.write(&permit).await?;
    let change = super::secret::revoke(&control, &transaction, (tenant, account), secret).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
