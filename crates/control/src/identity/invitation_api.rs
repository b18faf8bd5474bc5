//! Invitations over HTTP.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::access::PrincipalKind;
use rowhouse_domain::id::{InvitationId, RequestId};
use rowhouse_domain::messages::Address;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::accept::{Acceptance, accept};
use super::invitation::{self, DAYS, NewInvitation};
use super::invitation_queries::{self as rows, InvitationRow};
use super::sign_in::Source;
use crate::Shared;
use crate::access::Authority;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor, path_id};

/// The routes of invitations.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_invitations, create_invitation))
        .routes(routes!(delete_invitation))
        .routes(routes!(resend_invitation))
        .routes(routes!(accept_invitation))
}

/// An invitation.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvitationAnswer {
    id: String,
    tenant: String,
    email: String,
    roles: Vec<String>,
    /// `prepared` (told when the tenant is served), `pending`, or `expired`.
    state: String,
    /// How often it was sent.
    sends: i32,
    expires_at: Option<String>,
    created_at: String,
    created_by: String,
}

impl InvitationAnswer {
    fn new(row: &InvitationRow, now: jiff::Timestamp) -> Self {
        let is_over = row.state == "pending" && row.expires_at.is_some_and(|time| time <= now);
        InvitationAnswer {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            email: row.email.clone(),
            roles: row.roles.clone(),
            state: if is_over { "expired".to_owned() } else { row.state.clone() },
            sends: row.sends,
            expires_at: row.expires_at.map(|time| time.to_string()),
            created_at: row.created_at.to_string(),
            created_by: row.created_by.clone(),
        }
    }
}

/// Open invitations, oldest first.
#[utoipa::path(
    get, path = "/v1/invitations", operation_id = "identity.list_invitations", tag = "identity",
    params(Page), responses((status = 200, body = List<InvitationAnswer>))
)]
async fn list_invitations(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<InvitationAnswer>>> {
    let scope = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("invitation:read", scope)?;
    let size = page.size()?;
    let query = format!("invitations {scope:?}");
    let after = cursor::after::<InvitationId>(&control, &query, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let open = ["prepared", "pending"].map(str::to_owned);
    let mut found = rows::list(&transaction, scope, &open, after, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut found, size, |row| row.id.to_string());
    let now = control.clock().now();
    Ok(Json(List { items: found.iter().map(|row| InvitationAnswer::new(row, now)).collect(), next_cursor }))
}

/// Whom to invite.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationBody {
    /// Where the invitation goes.
    #[schema(value_type = String)]
    email: Address,
    /// Roles it gives, at most 20; none of them beyond your own rights.
    #[serde(default)]
    roles: Vec<String>,
    /// 1 to 30; 7 if not said.
    #[serde(default)]
    expires_days: Option<u32>,
}

/// Invites a person by e-mail.
#[utoipa::path(
    post, path = "/v1/invitations", operation_id = "identity.create_invitation", tag = "identity",
    params(TenantParameter), request_body = InvitationBody, responses((status = 201, body = InvitationAnswer))
)]
async fn create_invitation(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<InvitationBody>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("invitation:create", Some(tenant))?;
    let authority = Authority::of(&caller, tenant);
    let InvitationBody { email, roles, expires_days } = body.value;
    let inviter = caller.owner();
    if !matches!(inviter.kind, PrincipalKind::User | PrincipalKind::ServiceAccount) {
        return Err(Refusal::new(&kind::ACCESS_DENIED, "Only a person or a service account invites.").into());
    }
    let days = expires_days.unwrap_or(DAYS);
    let new = NewInvitation { tenant, email, roles, days, inviter: (caller.tenant(), inviter) };
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let made =
        invitation::invite(&control, &transaction, (&permit, &authority), new, caller.request_id).await?;
    let (row, change) = made;
    let answer = Kept::new(StatusCode::CREATED, &InvitationAnswer::new(&row, control.clock().now()))
        .location(format!("/v1/invitations/{}", row.id));
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change).await?;
    Ok(answer)
}

/// Takes an open invitation back: its link works no more.
#[utoipa::path(
    delete, path = "/v1/invitations/{id}", operation_id = "identity.delete_invitation", tag = "identity",
    params(("id" = String, Path, description = "Its id")), responses((status = 204))
)]
async fn delete_invitation(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let permit = caller.permit("invitation:delete", caller.home())?;
    invitation::revoke(&control, &permit, path_id(&id)?, caller.request_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends an open invitation again, with a new link; the old one works no more.
#[utoipa::path(
    post, path = "/v1/invitations/{id}/resend", operation_id = "identity.resend_invitation", tag = "identity",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = InvitationAnswer))
)]
async fn resend_invitation(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<InvitationAnswer>> {
    let permit = caller.permit("invitation:create", caller.home())?;
    let row = invitation::resend(&control, &permit, path_id(&id)?, caller.request_id).await?;
    Ok(Json(InvitationAnswer::new(&row, control.clock().now())))
}

/// The link's token, and who the person is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AcceptBody {
    /// As it stands in the link.
    token: String,
    /// 1 to 200 characters; for a new person.
    #[serde(default)]
    full_name: Option<String>,
    /// At least 15 characters; for a new person. Somebody who has this address already keeps theirs.
    #[serde(default)]
    password: Option<String>,
}

/// A person who has become a member.
#[derive(Debug, Serialize, ToSchema)]
struct AcceptAnswer {
    user: String,
    tenant: String,
    tenant_code: String,
    /// Whether a user was made; else the person is the one who has the address already.
    is_new: bool,
}

/// Accepts an invitation. Nobody is signed in by it. Who guesses at tokens is counted with who guesses at passwords, by address.
#[utoipa::path(
    post, path = "/v1/invitations/accept", operation_id = "identity.accept_invitation", tag = "identity",
    request_body = AcceptBody, responses((status = 200, body = AcceptAnswer))
)]
async fn accept_invitation(
    State(control): State<Shared>,
    axum::Extension(request_id): axum::Extension<RequestId>,
    source: Source,
    body: Body<AcceptBody>,
) -> Answer<Json<AcceptAnswer>> {
    let sources = &control.sign_in_sources;
    sources.admit(&source, "an invitation", control.clock().now_us())?;
    let AcceptBody { token, full_name, password } = body.value;
    let done = accept(&control, Acceptance { token, full_name, password }, request_id)
        .await
        .inspect_err(|_| sources.failed(&source))?;
    Ok(Json(AcceptAnswer {
        user: done.user.to_string(),
        tenant: done.tenant.to_string(),
        tenant_code: done.tenant_code,
        is_new: done.is_new,
    }))
}
