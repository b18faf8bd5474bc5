//! `/v1/approvals`, `/v1/access/requests` and `/v1/access/settings`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{ApprovalId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::decide::{self, Decided, no_such_approval};
use super::operation::{Asked, RoleRequest, SETTINGS};
use super::queries::{self, ApprovalRow, Filter};
use super::{person, request, settings, waiting};
use crate::Shared;
use crate::access::Authority;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor, path_id};

/// The routes of this part.
pub(in crate::access) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_approvals))
        .routes(routes!(get_approval))
        .routes(routes!(approve))
        .routes(routes!(refuse))
        .routes(routes!(withdraw))
        .routes(routes!(request_role))
        .routes(routes!(read_settings, put_settings))
}

/// `?tenant=&state=&limit=&cursor=`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApprovalParameters {
    /// Which tenant.
    tenant: Option<String>,
    /// Only those that are `pending`, `done`, `failed`, `refused`, `withdrawn` or `expired`.
    state: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Something that waits for a second person's yes, or did.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApprovalAnswer {
    id: String,
    tenant: String,
    /// `access.grant`, `access.request` (a role for a time) or `access.settings`.
    operation: String,
    /// As it was sent.
    #[schema(value_type = Object)]
    request: Value,
    /// What it would have done when it was asked for.
    #[schema(value_type = Object)]
    would: Value,
    reason: String,
    requested_by: String,
    requested_at: String,
    expires_at: String,
    /// `pending`, `done`, `failed` (it did not fit any more), `refused`, `withdrawn` or `expired`.
    state: String,
    decided_by: Option<String>,
    decided_at: Option<String>,
    decision_reason: Option<String>,
    /// What came of it, as `{"grant": "grant_…"}`.
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
}

impl ApprovalAnswer {
    /// As it is now: what nobody decided in time has expired, whether that is written down yet or not.
    fn new(row: ApprovalRow, now: jiff::Timestamp) -> Self {
        let is_over = row.state == "pending" && row.expires_at <= now;
        ApprovalAnswer {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            operation: row.operation,
            request: row.request,
            would: row.would,
            reason: row.reason,
            requested_by: row.requester.to_string(),
            requested_at: row.requested_at.to_string(),
            expires_at: row.expires_at.to_string(),
            state: if is_over { "expired".to_owned() } else { row.state },
            decided_by: row.decided_by.map(|user| user.to_string()),
            decided_at: row.decided_at.map(|time| time.to_string()),
            decision_reason: row.decision_reason,
            result: row.result,
        }
    }
}

/// What the caller may see: everything with `grant:read`, else what they have asked for themselves.
fn sight(caller: &Caller, scope: Option<TenantId>) -> Result<(Permit, Option<uuid::Uuid>), Refusal> {
    match (caller.permit("grant:read", scope), caller.person()) {
        (Ok(permit), _) => Ok((permit, None)),
        (Err(_), Ok(own)) => Ok((Permit::for_system(scope, "what a person has asked for"), Some(own.user.0))),
        (Err(refusal), Err(_)) => Err(refusal),
    }
}

/// Approvals, the newest first. Who may not read grants sees their own.
#[utoipa::path(
    get, path = "/v1/approvals", operation_id = "access.list_approvals", tag = "access",
    params(ApprovalParameters), responses((status = 200, body = List<ApprovalAnswer>))
)]
async fn list_approvals(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<ApprovalParameters>,
) -> Answer<Json<List<ApprovalAnswer>>> {
    let scope = caller.scope(asked.tenant.as_deref())?;
    let (permit, requester) = sight(&caller, scope)?;
    let page = Page { tenant: asked.tenant, limit: asked.limit, cursor: asked.cursor };
    let size = page.size()?;
    let query = format!("approvals {scope:?} {:?} {requester:?}", asked.state);
    let before: Option<ApprovalId> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let tenant = scope.map(|tenant| tenant.0);
    let filter = Filter { tenant, state: asked.state, requester, before: before.map(|id| id.0) };
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, &filter, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    let now = control.clock().now();
    let items = rows.into_iter().map(|row| ApprovalAnswer::new(row, now)).collect();
    Ok(Json(List { items, next_cursor }))
}

/// One approval.
#[utoipa::path(
    get, path = "/v1/approvals/{id}", operation_id = "access.get_approval", tag = "access",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = ApprovalAnswer))
)]
async fn get_approval(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<ApprovalAnswer>> {
    let (permit, requester) = sight(&caller, caller.home())?;
    let id = path_id::<ApprovalId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::one(&transaction, id).await?;
    transaction.finish().await?;
    let row = row.filter(|row| requester.is_none_or(|own| row.requester.0 == own));
    let row = row.ok_or_else(no_such_approval)?;
    Ok(Json(ApprovalAnswer::new(row, control.clock().now())))
}

/// Why it is decided so.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerdictBody {
    /// At most 500 characters.
    #[serde(default)]
    reason: String,
}

impl VerdictBody {
    fn reason(self) -> Result<String, Refusal> {
        match self.reason.chars().count() {
            0..=500 => Ok(self.reason),
            _ => Err(Refusal::new(&kind::INVALID, "The reason is too long.").field(
                "/reason",
                "too_long",
                "at most 500 characters",
            )),
        }
    }
}

/// What who decides must hold besides everything that would be given.
fn permission_of(row: &ApprovalRow) -> &'static str {
    match row.operation.as_str() {
        SETTINGS => "constraint:delete",
        _ => "grant:create",
    }
}

async fn answered(
    control: &Shared,
    (caller, idempotency): (&Caller, &Idempotency),
    (transaction, decided): (Transaction, Decided),
) -> Answer<Response> {
    let Decided { row, changes, stale } = decided;
    let answer = Kept::new(StatusCode::OK, &ApprovalAnswer::new(row, control.clock().now()));
    if stale.is_none() {
        idempotency.keep(&transaction, &answer).await?;
    }
    let changes = changes.into_iter().map(|change| change.request(caller.request_id)).collect();
    transaction.commit_all(changes).await?;
    match stale {
        Some(refusal) => Err(refusal.into()),
        None => Ok(answer.into_response()),
    }
}

/// Says yes: what was asked for is judged anew and happens. Only a person does, who could do it himself, and who neither asked for
/// it nor has anything of it.
#[utoipa::path(
    post, path = "/v1/approvals/{id}/approve", operation_id = "access.approve", tag = "access",
    params(("id" = String, Path, description = "Its id")), request_body = VerdictBody,
    responses((status = 200, body = ApprovalAnswer))
)]
async fn approve(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    idempotency: Idempotency,
    body: Body<VerdictBody>,
) -> Answer<Response> {
    let by = caller.person()?.user;
    let id = path_id::<ApprovalId>(&id)?;
    let permit = caller.permit("grant:create", caller.home())?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept.into_response());
    }
    let row = decide::waiting(&transaction, id).await?;
    caller.permit(permission_of(&row), Some(row.tenant))?;
    let authority = Authority::of(&caller, row.tenant);
    let reason = body.value.reason()?;
    let decided = decide::approve(&control, &transaction, (row, by, reason), &authority).await?;
    answered(&control, (&caller, &idempotency), (transaction, decided)).await
}

/// Says no. Whoever could say yes can.
#[utoipa::path(
    post, path = "/v1/approvals/{id}/refuse", operation_id = "access.refuse_approval", tag = "access",
    params(("id" = String, Path, description = "Its id")), request_body = VerdictBody,
    responses((status = 200, body = ApprovalAnswer))
)]
async fn refuse(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    idempotency: Idempotency,
    body: Body<VerdictBody>,
) -> Answer<Response> {
    let by = caller.person()?.user;
    let id = path_id::<ApprovalId>(&id)?;
    let permit = caller.permit("grant:create", caller.home())?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept.into_response());
    }
    let row = decide::waiting(&transaction, id).await?;
    caller.permit(permission_of(&row), Some(row.tenant))?;
    let decided = decide::refuse(&transaction, (row, by, body.value.reason()?)).await?;
    answered(&control, (&caller, &idempotency), (transaction, decided)).await
}

/// Takes back what the caller has asked for.
#[utoipa::path(
    post, path = "/v1/approvals/{id}/withdraw", operation_id = "access.withdraw_approval", tag = "access",
    params(("id" = String, Path, description = "Its id")), request_body = VerdictBody,
    responses((status = 200, body = ApprovalAnswer))
)]
async fn withdraw(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    idempotency: Idempotency,
    body: Body<VerdictBody>,
) -> Answer<Response> {
    let by = caller.person()?.user;
    let id = path_id::<ApprovalId>(&id)?;
    let permit = Permit::for_system(caller.home(), "what a person takes back");
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept.into_response());
    }
    // Others' are not there, whatever their state is.
    let own = queries::one(&transaction, id).await?.filter(|row| row.requester == by);
    own.ok_or_else(no_such_approval)?;
    let row = decide::waiting(&transaction, id).await?;
    let decided = decide::withdraw(&transaction, (row, by, body.value.reason()?)).await?;
    answered(&control, (&caller, &idempotency), (transaction, decided)).await
}

/// What waits for a second person.
#[derive(Debug, Serialize, ToSchema)]
pub struct WaitingAnswer {
    approval_id: String,
    /// After this instant nobody says yes any more.
    expires_at: String,
}

/// Keeps what is asked for until somebody decides: 202 with the approval.
pub(in crate::access) async fn wait(
    control: &Shared,
    (caller, idempotency): (&Caller, &Idempotency),
    transaction: Transaction,
    asked: Asked,
) -> Answer<Kept> {
    let own = caller.person()?;
    let (row, change) = request(control, &transaction, (own.user, caller.tenant()), asked).await?;
    let place = format!("/v1/approvals/{}", row.id);
    let answer = Kept::new(StatusCode::ACCEPTED, &waiting(&row)).location(place);
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer)
}

/// Asks for a role for oneself, for a time that begins when somebody who could give it says yes.
#[utoipa::path(
    post, path = "/v1/access/requests", operation_id = "access.request_role", tag = "access",
    request_body = RoleRequest, responses((status = 202, body = WaitingAnswer))
)]
async fn request_role(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    body: Body<RoleRequest>,
) -> Answer<Kept> {
    let own = caller.person()?;
    let tenant = caller.tenant();
    let permit = Permit::for_system(Some(tenant), "what a person asks for");
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let asked = body.value.asked(&control, &transaction, (tenant, person(own.user))).await?;
    wait(&control, (&caller, &idempotency), transaction, asked).await
}

/// What a tenant asks of its own administrators.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsBody {
    /// Whether a grant of what is sensitive takes two people. To set it to false takes two.
    approve_sensitive_grants: bool,
}

/// What the tenant asks of its own administrators.
#[utoipa::path(
    get, path = "/v1/access/settings", operation_id = "access.read_settings", tag = "access",
    params(TenantParameter), responses((status = 200, body = SettingsBody))
)]
async fn read_settings(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<SettingsBody>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("constraint:read", Some(tenant))?;
    let transaction = control.store.read(&permit).await?;
    let approve_sensitive_grants = settings::is_by_two(&transaction, tenant).await?;
    transaction.finish().await?;
    Ok(Json(SettingsBody { approve_sensitive_grants }))
}

/// Sets it. What asks less than before waits for a second person: 202 with the approval, the same one while it waits.
#[utoipa::path(
    put, path = "/v1/access/settings", operation_id = "access.put_settings", tag = "access",
    params(TenantParameter), request_body = SettingsBody,
    responses((status = 200, body = SettingsBody), (status = 202, body = WaitingAnswer))
)]
async fn put_settings(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<SettingsBody>,
) -> Answer<Response> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let wanted = body.value.approve_sensitive_grants;
    let permission = if wanted { "constraint:create" } else { "constraint:delete" };
    let permit = caller.permit(permission, Some(tenant))?;
    let transaction = control.store.write(&permit).await?;
    // Who gives a grant at the same time comes before or after.
    crate::access::take(&transaction, tenant).await?;
    match settings::is_by_two(&transaction, tenant).await? == wanted {
        true => transaction.rollback().await?,
        false if wanted => {
            let change = settings::set(&transaction, tenant, true).await?;
            transaction.commit(change.request(caller.request_id)).await?;
        }
        false => {
            // Who asks again is told of what waits already.
            if let Some(row) = waiting_for(&transaction, &control, (&caller, tenant)).await? {
                transaction.rollback().await?;
                return Ok(Kept::new(StatusCode::ACCEPTED, &waiting(&row)).into_response());
            }
            let asked = Asked {
                tenant,
                operation: SETTINGS,
                request: json!({ "approve_sensitive_grants": false }),
                would: json!({ "approve_sensitive_grants": false }),
                reason: String::new(),
                words: "that one person alone may give sensitive permissions".to_owned(),
            };
            let kept = wait(&control, (&caller, &idempotency), transaction, asked).await?;
            return Ok(kept.into_response());
        }
    }
    Ok(Json(SettingsBody { approve_sensitive_grants: wanted }).into_response())
}

/// The caller's own request to be asked no more, if it waits.
async fn waiting_for(
    transaction: &Transaction,
    control: &Shared,
    (caller, tenant): (&Caller, TenantId),
) -> Result<Option<ApprovalRow>, Refusal> {
    let (own, now) = (caller.person()?.user, control.clock().now());
    let pending = Some("pending".to_owned());
    let filter = Filter { tenant: Some(tenant.0), state: pending, requester: Some(own.0), before: None };
    let rows = queries::list(transaction, &filter, super::PENDING_MAX).await?;
    Ok(rows.into_iter().find(|row| row.operation == SETTINGS && row.expires_at > now))
}
