//! `POST /v1/users/{id}/explain_sign_in`: what would come of it if a member signed in now.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Path, State};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::UserId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::api::{Answer, Body, Caller, Parameters, TenantParameter, path_id};
use crate::identity::queries::{self as people, MembershipStatus};
use crate::identity::sign_in::{self, SignInExplanation};

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(explain_sign_in))
}

/// From where.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExplainSignInBody {
    /// The address that the person comes from, if that is in question: too many failures from one close it for everybody for a while.
    #[schema(value_type = Option<String>)]
    ip: Option<IpAddr>,
}

/// What would come of it if a member signed in to the tenant now: every way in, with what follows, or why it is closed and what opens it.
/// Nothing is tried and nothing counted.
#[utoipa::path(post, path = "/v1/users/{id}/explain_sign_in", operation_id = "identity.explain_sign_in", tag = "identity",
    params(("id" = String, Path), TenantParameter), request_body = ExplainSignInBody,
    responses((status = 200, body = SignInExplanation)))]
async fn explain_sign_in(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<ExplainSignInBody>,
) -> Answer<Json<SignInExplanation>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    caller.permit("user:read", Some(tenant))?;
    let user: UserId = path_id(&id)?;
    let platform = Permit::for_system(None, "what would come of a sign-in");
    let transaction = control.store.read(&platform).await?;
    let member = people::find_member(&transaction, tenant, user).await?;
    let member = member.filter(|member| member.status != MembershipStatus::Removed);
    let member = member.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such member."))?;
    let explained = sign_in::explain(&control, &transaction, &member, body.value.ip).await?;
    transaction.finish().await?;
    Ok(Json(explained))
}
