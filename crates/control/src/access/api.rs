//! `/v1/grants` and `/v1/access/explain`. Roles and resource types are definitions of the catalogue.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use rowhouse_domain::access::{self, GrantEffect, GrantTarget, ResourceName};
use rowhouse_domain::id::GrantId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::explain::{Explanation, Question, explain};
use super::member::HolderBody;
use super::queries::{self, Filter, GrantRow};
use super::resources_api::ThingBody;
use super::{Authority, NewGrant, approval, grant, take_back};
use crate::Shared;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, PrincipalBody, TenantParameter};
use crate::api::{cursor, path_id};

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_grants, create_grant))
        .routes(routes!(get_grant, delete_grant))
        .routes(routes!(explain_access))
        .merge(super::active_roles_api::routes())
        .merge(approval::routes())
        .merge(super::authzen::routes())
        .merge(super::conditions_api::routes())
        .merge(super::constraints_api::routes())
        .merge(super::groups_api::routes())
        .merge(super::resources_api::routes())
        .merge(super::review::routes())
        .merge(super::review_api::routes())
        .merge(super::roles_api::routes())
        .merge(super::simulate::routes())
}

/// `?tenant=&principal=&role=&resource=&limit=&cursor=`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GrantParameters {
    /// Which tenant.
    tenant: Option<String>,
    /// Only grants of this principal or group: its id.
    principal: Option<String>,
    /// Only grants of this role.
    role: Option<String>,
    /// Only grants on exactly this thing: `type:id`.
    resource: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A grant to be made: exactly one of `role` and `permission`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantBody {
    /// Whom it is for.
    principal: HolderBody,
    /// `allow` (the default) or `deny`.
    effect: Option<String>,
    /// A role.
    role: Option<String>,
    /// A permission `type:action`, or a pattern.
    permission: Option<String>,
    /// On which thing and what it holds; the whole tenant if not said.
    resource: Option<ThingBody>,
    /// From this instant, RFC 3339.
    #[schema(value_type = Option<String>)]
    valid_from: Option<Timestamp>,
    /// Until before this instant, RFC 3339.
    #[schema(value_type = Option<String>)]
    valid_until: Option<Timestamp>,
    /// Under which condition besides: a Cedar expression of at most 4 KiB, the body of `when { … }`.
    condition: Option<String>,
    /// What the condition reads as `context.params`: texts, whole numbers, true or false, lists of texts; at most 1 KiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    /// Why; at most 500 characters.
    #[serde(default)]
    reason: String,
}

/// A grant.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantAnswer {
    id: String,
    tenant: String,
    principal: HolderBody,
    effect: &'static str,
    role: Option<String>,
    permission: Option<String>,
    resource: Option<ThingBody>,
    valid_from: Option<String>,
    valid_until: Option<String>,
    condition: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    reason: String,
    granted_by: String,
    created_at: String,
    /// `pending`, `active`, `expired` or `removed`.
    state: &'static str,
}

impl GrantAnswer {
    fn new(row: &GrantRow, now_us: i64) -> Self {
        let definition = &row.definition;
        let (role, permission) = match &definition.target {
            GrantTarget::Role(role) => (Some(role.clone()), None),
            GrantTarget::Permission(permission) => (None, Some(permission.clone())),
        };
        let time = |us| queries::bound(us).map(|time| time.to_string());
        let state = match definition.interval.state(now_us) {
            _ if row.removed_at.is_some() => "removed",
            access::State::Pending => "pending",
            access::State::Active => "active",
            access::State::Expired | access::State::Never => "expired",
        };
        GrantAnswer {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            principal: definition.holder.into(),
            effect: definition.effect.as_str(),
            role,
            permission,
            resource: definition.resource.as_ref().map(ThingBody::from),
            valid_from: time(definition.interval.from_us),
            valid_until: time(definition.interval.until_us),
            condition: definition.condition.as_ref().map(|own| own.text().to_owned()),
            parameters: definition.condition.as_ref().map(|own| own.parameters().clone()).unwrap_or_default(),
            reason: row.reason.clone(),
            granted_by: row.granted_by.clone(),
            created_at: row.created_at.to_string(),
            state,
        }
    }
}

pub(super) fn parse(body: GrantBody) -> Result<NewGrant, Refusal> {
    let wrong = |pointer: &str, detail: &str| {
        Refusal::new(&kind::INVALID, "The grant is not well-formed.").field(pointer, "invalid", detail)
    };
    let target = match (body.role, body.permission) {
        (Some(role), None) => GrantTarget::Role(role),
        (None, Some(permission)) => GrantTarget::Permission(permission),
        _ => return Err(wrong("/role", "exactly one of `role` and `permission`")),
    };
    let effect = match body.effect.as_deref() {
        None | Some("allow") => GrantEffect::Allow,
        Some("deny") => GrantEffect::Deny,
        Some(_) => return Err(wrong("/effect", "allow or deny")),
    };
    let condition = match (body.condition, body.parameters) {
        (Some(text), parameters) => Some((text, parameters)),
        (None, parameters) if parameters.is_empty() => None,
        _ => return Err(wrong("/parameters", "only with a condition")),
    };
    Ok(NewGrant {
        holder: body.principal.parse("/principal")?,
        effect,
        target,
        resource: body.resource.map(ResourceName::from),
        valid_from: body.valid_from,
        valid_until: body.valid_until,
        condition,
        reason: body.reason,
    })
}

/// Grants that were not taken back, oldest first.
#[utoipa::path(
    get, path = "/v1/grants", operation_id = "access.list_grants", tag = "access",
    params(GrantParameters), responses((status = 200, body = List<GrantAnswer>))
)]
async fn list_grants(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<GrantParameters>,
) -> Answer<Json<List<GrantAnswer>>> {
    let scope = caller.scope(asked.tenant.as_deref())?;
    let permit = caller.permit("grant:read", scope)?;
    let page = Page { tenant: asked.tenant, limit: asked.limit, cursor: asked.cursor };
    let size = page.size()?;
    let query = format!("grants {scope:?} {:?} {:?} {:?}", asked.principal, asked.role, asked.resource);
    let after: Option<GrantId> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let principal = asked.principal.as_deref().map(|text| holder_of(text, "/principal")).transpose()?;
    let resource = asked.resource.as_deref().map(thing_of).transpose()?;
    let (tenant, after) = (scope.map(|tenant| tenant.0), after.map(|id| id.0));
    let filter = Filter { tenant, principal, role: asked.role, resource, after };
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, &filter, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    let now_us = control.clock().now_us();
    let items = rows.iter().map(|row| GrantAnswer::new(row, now_us)).collect();
    Ok(Json(List { items, next_cursor }))
}

/// What an id of a person, a program or a group means; 422 naming `field` for anything else.
pub(super) fn holder_of(text: &str, field: &str) -> Result<uuid::Uuid, Refusal> {
    let kind = match text.split('_').next() {
        Some("user") => "user",
        Some("group") => "group",
        _ => "service_account",
    };
    let body = HolderBody { kind: kind.to_owned(), id: text.to_owned() };
    Ok(queries::holder_id(body.parse(field)?))
}

/// `type:id`.
pub(super) fn thing_of(text: &str) -> Result<ResourceName, Refusal> {
    let wrong = || {
        let refusal = Refusal::new(&kind::INVALID, "The resource is not well-formed.");
        refusal.field("/resource", "malformed", "type:id")
    };
    let (kind, id) = text.split_once(':').ok_or_else(wrong)?;
    Ok(ResourceName { kind: kind.to_owned(), id: id.to_owned() })
}

/// Gives a role or permission to a principal; nobody gives what he does not hold. Where the tenant wants two people for what is
/// sensitive, such a grant waits for the second one's yes.
#[utoipa::path(
    post, path = "/v1/grants", operation_id = "access.create_grant", tag = "access",
    params(TenantParameter), request_body = GrantBody,
    responses((status = 201, body = GrantAnswer), (status = 202, body = Object, description = "An approval"))
)]
async fn create_grant(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<GrantBody>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("grant:create", Some(tenant))?;
    let new = parse(body.value)?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let authority = Authority::of(&caller, tenant);
    let sent = serde_json::from_slice(&body.bytes).expect("it was read as JSON");
    if let Some(asked) = approval::wanted(&transaction, tenant, (&new, &sent), &authority).await? {
        return approval::wait(&control, (&caller, &idempotency), transaction, asked).await;
    }
    let (row, version, change) = grant(&transaction, tenant, new, &authority).await?;
    let answer = GrantAnswer::new(&row, control.clock().now_us());
    let mut answer = serde_json::to_value(answer).expect("wire types are JSON");
    answer["version"] = version.into();
    let answer = Kept::new(StatusCode::CREATED, &answer).location(format!("/v1/grants/{}", row.id));
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer)
}

fn no_such_grant() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no grant with this id.")
}

/// One grant.
#[utoipa::path(
    get, path = "/v1/grants/{id}", operation_id = "access.get_grant", tag = "access",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = GrantAnswer))
)]
async fn get_grant(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<GrantAnswer>> {
    let permit = caller.permit("grant:read", caller.home())?;
    let id = path_id::<GrantId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::one(&transaction, id).await?.ok_or_else(no_such_grant)?;
    transaction.finish().await?;
    Ok(Json(GrantAnswer::new(&row, control.clock().now_us())))
}

/// Takes a grant back.
#[utoipa::path(
    delete, path = "/v1/grants/{id}", operation_id = "access.delete_grant", tag = "access",
    params(("id" = String, Path, description = "Its id")), responses((status = 204))
)]
async fn delete_grant(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let permit = caller.permit("grant:delete", caller.home())?;
    let id = path_id::<GrantId>(&id)?;
    let transaction = control.store.write(&permit).await?;
    let authority = |tenant| Authority::of(&caller, tenant);
    let (_, change) = take_back(&transaction, id, authority).await?.ok_or_else(no_such_grant)?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A question about a decision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccessExplainBody)]
pub struct ExplainBody {
    /// Who would act.
    principal: PrincipalBody,
    /// What for: `type:action`.
    permission: String,
    /// In which of a person's sessions; if not said, as in one in which no roles were chosen.
    session: Option<String>,
    /// On which thing; the whole tenant if not said.
    resource: Option<ThingBody>,
    /// What conditions can ask for: `ip`, `mfa`, `mfa_age_s`, `auth_method`, `country`, `method`, `path`, `action`, and what is
    /// declared.
    #[serde(default)]
    #[schema(value_type = Object)]
    context: Map<String, Value>,
    /// When; now if not said.
    #[schema(value_type = Option<String>)]
    at: Option<Timestamp>,
}

/// Whether a principal may do something, and why: by which grant, through which groups. The same decision as the gateway's.
#[utoipa::path(
    post, path = "/v1/access/explain", operation_id = "access.explain", tag = "access",
    params(TenantParameter), request_body = ExplainBody, responses((status = 200, body = Explanation))
)]
async fn explain_access(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<ExplainBody>,
) -> Answer<Json<Explanation>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("access:explain", Some(tenant))?;
    let question = Question {
        principal: body.value.principal.parse("/principal")?,
        session: body.value.session.as_deref().map(path_id).transpose()?,
        permission: &body.value.permission,
        thing: body.value.resource.map(ResourceName::from),
        context: &body.value.context,
        at_us: body.value.at.unwrap_or_else(|| control.clock().now()).as_microsecond(),
    };
    let transaction = control.store.read(&permit).await?;
    let answer = explain(&transaction, caller.directory(), (tenant, question)).await?;
    transaction.finish().await?;
    Ok(Json(answer))
}
