//! What administrators do for people: their sessions, locks and lost factors.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OPERATOR_TENANT, SessionId, UserId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::me_api::{SessionAnswer, SessionsAnswer};
use crate::Shared;
use crate::api::{Answer, Caller, Parameters, TenantParameter, path_id};
use crate::identity::{factor, queries as people, session, sign_in};

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_sessions))
        .routes(routes!(end_session))
        .routes(routes!(unlock))
        .routes(routes!(reset_factors))
        .routes(routes!(turn_keys))
}

/// `?user=&tenant=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Whose.
    #[param(value_type = String)]
    user: UserId,
    /// In which tenant.
    tenant: Option<String>,
}

/// A member's sessions in the tenant, newest first.
#[utoipa::path(get, path = "/v1/sessions", operation_id = "identity.list_sessions", tag = "identity",
    params(Asked), responses((status = 200, body = SessionsAnswer)))]
async fn list_sessions(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<Asked>,
) -> Answer<Json<SessionsAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("user:read", Some(tenant))?;
    let transaction = control.store.read(&permit).await?;
    let rows =
        session::queries::of_user(&transaction, asked.user, Some(tenant), control.clock().now()).await?;
    transaction.finish().await?;
    Ok(Json(SessionsAnswer { items: rows.iter().map(|row| SessionAnswer::new(row, None)).collect() }))
}

/// Ends a member's session. Its tokens are refused within a second.
#[utoipa::path(delete, path = "/v1/sessions/{id}", operation_id = "identity.end_session", tag = "identity",
    params(("id" = String, Path)), responses((status = 204)))]
async fn end_session(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let permit = caller.permit("user:update", caller.home())?;
    let id: SessionId = path_id(&id)?;
    let transaction = control.store.write(&permit).await?;
    let row = session::queries::lock(&transaction, id).await?;
    let row = row.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such session."))?;
    if let Some(change) =
        session::end_one(&transaction, (row.tenant, row.id), "ended_by_administrator", permit.principal())
            .await?
    {
        transaction.commit(change.request(caller.request_id)).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Opens the lock on a member's password, and a password that was closed after too many wrong tries.
#[utoipa::path(post, path = "/v1/users/{id}/unlock", operation_id = "identity.unlock_user", tag = "identity",
    params(("id" = String, Path), TenantParameter), responses((status = 204)))]
async fn unlock(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("user:update", Some(tenant))?;
    let user: UserId = path_id(&id)?;
    let transaction =
        control.store.write(&Permit::for_system(None, "a lock that an administrator opens")).await?;
    let member = people::find_member(&transaction, tenant, user).await?;
    let member = member.filter(|member| member.status != people::MembershipStatus::Removed);
    let member = member.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such member."))?;
    if let Some(email) = &member.user.email {
        sign_in::reopened(&transaction, &sign_in::name_key(&control, email)).await?;
    }
    let change = Change::new(tenant, "identity.user_unlocked", "update", permit.principal()).on("user", user);
    transaction.commit(change.details(json!({})).request(caller.request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a member's second factors and recovery codes away, for who has lost them. The next sign-in asks for new ones as the policy
/// says. Only for people who belong to no other tenant, be it suspended there: what proves a person elsewhere is not this tenant's to take.
#[utoipa::path(post, path = "/v1/users/{id}/reset_factors", operation_id = "identity.reset_factors", tag = "identity",
    params(("id" = String, Path), TenantParameter), responses((status = 204)))]
async fn reset_factors(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("user:update", Some(tenant))?;
    caller.fresh(control.clock().now_s(), 10)?;
    let user: UserId = path_id(&id)?;
    let transaction =
        control.store.write(&Permit::for_system(None, "factors that an administrator resets")).await?;
    let member = people::find_member(&transaction, tenant, user).await?;
    let member = member.filter(|member| member.status != people::MembershipStatus::Removed);
    member.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such member."))?;
    session::forget_flows(&transaction, user).await?;
    let elsewhere = sign_in::standing_of(&transaction, user).await?.iter().any(|other| *other != tenant);
    if elsewhere && !caller.is_operator() {
        return Err(Refusal::new(
            &kind::ACCESS_DENIED,
            "The person belongs to other tenants too: only the operator does this.",
        )
        .into());
    }
    super::members::refuse_more_privileged(&caller, tenant, user)?;
    for row in factor::list(&transaction, user).await? {
        factor::revoke(&transaction, user, row.id).await?;
    }
    factor::drop_codes(&transaction, user).await?;
    sign_in::void_mailed(&transaction, user).await?;
    let mut changes =
        session::end_every(&transaction, user, None, "factors_reset", permit.principal()).await?;
    sign_in::told(&control, &transaction, user, "An administrator took your second factors away.").await?;
    let change = Change::new(tenant, "identity.mfa_disabled", "delete", permit.principal()).on("user", user);
    changes.push(change.details(json!({ "by": "administrator" })).request(caller.request_id));
    transaction.commit_all(changes).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
struct TurnedAnswer {
    /// Raised with each turn.
    generation: i32,
}

/// Makes the keys that sign access tokens other ones: all tokens are void, and sessions go on with their next refresh. For the day
/// a key has leaked; otherwise keys turn by themselves every 90 days. Only the operator's.
#[utoipa::path(post, path = "/v1/token_keys/turn", operation_id = "identity.turn_token_keys", tag = "identity",
    responses((status = 200, body = TurnedAnswer)))]
async fn turn_keys(State(control): State<Shared>, caller: Caller) -> Answer<Json<TurnedAnswer>> {
    let permit = caller.permit("system:admin", None)?;
    let transaction = control.store.write(&permit).await?;
    let generation = session::queries::next_generation(&transaction).await?;
    let change = Change::new(OPERATOR_TENANT, "identity.token_keys_turned", "update", permit.principal())
        .on("token_keys", generation)
        .details(json!({}))
        .request(caller.request_id)
        .notify(Notice::catalog());
    transaction.commit(change).await?;
    Ok(Json(TurnedAnswer { generation }))
}
