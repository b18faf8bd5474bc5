//! People over HTTP: members of tenants, and whether a person may enter one.

use std::fmt;
use std::str::FromStr;

use axum::Json;
use axum::extract::{Path, State};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::UserId;
use rowhouse_domain::identity::{Checks, EntryReason};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::member_answer::{UserAnswer, answers, one_answer};
use super::membership::{Step, change};
use super::queries::{self, Filter, MemberRow};
use super::{invitation_api, may_enter};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor, path_id};
use crate::{Control, Shared};

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_users))
        .routes(routes!(get_user, remove_user))
        .routes(routes!(suspend_user))
        .routes(routes!(resume_user))
        .routes(routes!(check_access))
        .merge(invitation_api::routes())
        .merge(super::sign_in::routes())
        .merge(super::account::routes())
        .merge(super::client::routes())
        .merge(super::application::routes())
        .merge(super::sso::routes())
        .merge(super::email::routes())
        .merge(super::device::routes())
        .merge(super::tokens::routes())
}

/// `?tenant=&status=&q=&limit=&cursor=`
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Which tenant.
    tenant: Option<String>,
    /// `active`, `suspended`, `removed`; a comma means any of. All but removed ones if not said.
    status: Option<String>,
    /// Within name or address; at most 200 characters.
    q: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Members of a tenant; for the operator without `?tenant=`, of all.
#[utoipa::path(
    get, path = "/v1/users", operation_id = "identity.list_users", tag = "identity",
    params(Asked), responses((status = 200, body = List<UserAnswer>))
)]
async fn list_users(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<Asked>,
) -> Answer<Json<List<UserAnswer>>> {
    let scope = caller.scope(asked.tenant.as_deref())?;
    let permit = caller.permit("user:read", scope)?;
    let size = Page { limit: asked.limit, ..Page::default() }.size()?;
    let query = format!("users {scope:?} {:?} {:?}", asked.status, asked.q);
    let after = cursor::after::<Place>(&control, &query, asked.cursor.as_deref())?.unwrap_or_default();
    let filter = Filter {
        tenant: scope.map(|tenant| tenant.0),
        status: asked.status.map(|list| list.split(',').map(str::to_owned).collect()),
        text: part(asked.q)?,
        after: (after.user, after.tenant),
    };
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, &filter, size + 1).await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| Place::of(row).to_string());
    let items = answers(&control, transaction, &rows).await?;
    Ok(Json(List { items, next_cursor }))
}

/// Most characters that are looked for.
const PART_MAX: usize = 200;

/// What is looked for, if anything.
fn part(asked: Option<String>) -> Result<Option<String>, Refusal> {
    match asked.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) {
        Some(text) if text.chars().count() > PART_MAX => {
            let refusal = Refusal::new(&kind::INVALID, "What is looked for is too long.");
            Err(refusal.field("/q", "too_long", "at most 200 characters"))
        }
        text => Ok(text),
    }
}

/// Where a page ends: nobody is left out who belongs to several tenants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    user: Uuid,
    tenant: Uuid,
}

impl Place {
    fn of(row: &MemberRow) -> Self {
        Place { user: row.user.id.0, tenant: row.tenant.0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.user, self.tenant)
    }
}

impl FromStr for Place {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        let (user, tenant) = text.split_once(' ').unwrap_or((text, ""));
        Ok(Place { user: user.parse()?, tenant: tenant.parse()? })
    }
}

/// One member.
#[utoipa::path(
    get, path = "/v1/users/{id}", operation_id = "identity.get_user", tag = "identity",
    params(("id" = String, Path, description = "The user's id"), TenantParameter),
    responses((status = 200, body = UserAnswer))
)]
async fn get_user(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<UserAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("user:read", Some(tenant))?;
    let user = path_id::<UserId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::find_member(&transaction, tenant, user).await?.ok_or_else(no_member)?;
    Ok(Json(one_answer(&control, transaction, row).await?))
}

fn no_member() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such member.")
}

async fn step(
    control: &Control,
    caller: &Caller,
    (permission, step): (&str, Step),
    (id, asked): (&str, TenantParameter),
) -> Result<UserAnswer, Refusal> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit(permission, Some(tenant))?;
    let user = path_id::<UserId>(id)?;
    let row = change(control, &permit, (tenant, user), step, caller.request_id).await?;
    let transaction = control.store.read(&permit).await?;
    one_answer(control, transaction, row).await
}

/// A member may not enter until resumed. What was granted stays.
#[utoipa::path(
    post, path = "/v1/users/{id}/suspend", operation_id = "identity.suspend_user", tag = "identity",
    params(("id" = String, Path, description = "The user's id"), TenantParameter),
    responses((status = 200, body = UserAnswer))
)]
async fn suspend_user(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<UserAnswer>> {
    Ok(Json(step(&control, &caller, ("user:update", Step::Suspend), (&id, asked)).await?))
}

/// A suspended member may enter again.
#[utoipa::path(
    post, path = "/v1/users/{id}/resume", operation_id = "identity.resume_user", tag = "identity",
    params(("id" = String, Path, description = "The user's id"), TenantParameter),
    responses((status = 200, body = UserAnswer))
)]
async fn resume_user(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<UserAnswer>> {
    Ok(Json(step(&control, &caller, ("user:update", Step::Resume), (&id, asked)).await?))
}

/// Removes a member from the tenant, with everything granted there. The person stays in other tenants.
#[utoipa::path(
    delete, path = "/v1/users/{id}", operation_id = "identity.remove_user", tag = "identity",
    params(("id" = String, Path, description = "The user's id"), TenantParameter),
    responses((status = 200, body = UserAnswer))
)]
async fn remove_user(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<UserAnswer>> {
    Ok(Json(step(&control, &caller, ("user:delete", Step::Remove), (&id, asked)).await?))
}

/// Whom to look at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CheckBody {
    /// The user's id.
    #[schema(value_type = String)]
    user: UserId,
}

/// Whether a person may enter a tenant.
#[derive(Debug, Serialize, ToSchema)]
struct CheckAnswer {
    allowed: bool,
    /// Everything that is against it: `user_disabled`, `not_a_member`, `membership_suspended`, `locked`,
    /// `tenant_not_active`, `policy_not_met`.
    #[schema(value_type = Vec<String>)]
    reasons: Vec<EntryReason>,
    /// What was looked at.
    #[schema(value_type = Object)]
    checks: Checks,
}

/// Whether a person may enter a tenant now, with everything that is against it.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant}/access_check", operation_id = "identity.check_access", tag = "identity",
    params(("tenant" = String, Path, description = "Id or code")), request_body = CheckBody,
    responses((status = 200, body = CheckAnswer))
)]
async fn check_access(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<CheckBody>,
) -> Answer<Json<CheckAnswer>> {
    let (_, tenant) = crate::tenancy::named(&control, &caller, "user:read", &name).await?;
    let platform = Permit::for_system(None, "whether a person may enter a tenant");
    let transaction = control.store.read(&platform).await?;
    let entry = may_enter(&control, &transaction, tenant, body.value.user).await?;
    transaction.finish().await?;
    let entry = entry.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    Ok(Json(CheckAnswer { allowed: entry.is_allowed(), reasons: entry.reasons, checks: entry.checks }))
}
