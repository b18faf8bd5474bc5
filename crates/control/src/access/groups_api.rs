//! `/v1/groups` and who is in them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use rowhouse_domain::id::GroupId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::Authority;
use super::api::holder_of;
use super::group::{self, Joining, no_such_group};
use super::group_queries::{self, GroupRow, MemberRow};
use super::member::HolderBody;
use super::queries::{bound, holder_id};
use crate::Shared;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor, path_id};

/// The routes of this part.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_groups, create_group))
        .routes(routes!(get_group, delete_group))
        .routes(routes!(list_members))
        .routes(routes!(put_member, delete_member))
}

/// `?tenant=&member=&limit=&cursor=`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GroupParameters {
    /// Which tenant.
    tenant: Option<String>,
    /// Only groups that this principal or group is in itself: its id.
    member: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A group to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupBody {
    /// `[a-z][a-z0-9_-]{0,62}`, once in the tenant.
    name: String,
    /// Shown to people; at most 500 characters.
    #[serde(default)]
    title: String,
}

/// A named set of principals.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupAnswer {
    id: String,
    tenant: String,
    name: String,
    title: String,
    created_by: String,
    created_at: String,
}

impl From<GroupRow> for GroupAnswer {
    fn from(row: GroupRow) -> Self {
        GroupAnswer {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            name: row.name,
            title: row.title,
            created_by: row.created_by,
            created_at: row.created_at.to_string(),
        }
    }
}

/// For how long someone is to be in a group.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MembershipBody {
    /// From this instant, RFC 3339.
    #[schema(value_type = Option<String>)]
    valid_from: Option<Timestamp>,
    /// Until before this instant, RFC 3339.
    #[schema(value_type = Option<String>)]
    valid_until: Option<Timestamp>,
}

/// Someone in a group.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberAnswer {
    principal: HolderBody,
    valid_from: Option<String>,
    valid_until: Option<String>,
    added_by: String,
    added_at: String,
}

impl From<MemberRow> for MemberAnswer {
    fn from(row: MemberRow) -> Self {
        MemberAnswer {
            principal: row.membership.member.into(),
            valid_from: bound(row.membership.interval.from_us).map(|time| time.to_string()),
            valid_until: bound(row.membership.interval.until_us).map(|time| time.to_string()),
            added_by: row.added_by,
            added_at: row.added_at.to_string(),
        }
    }
}

/// Groups, oldest first.
#[utoipa::path(
    get, path = "/v1/groups", operation_id = "access.list_groups", tag = "access",
    params(GroupParameters), responses((status = 200, body = List<GroupAnswer>))
)]
async fn list_groups(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<GroupParameters>,
) -> Answer<Json<List<GroupAnswer>>> {
    let GroupParameters { tenant, member, limit, cursor } = asked;
    let page = Page { tenant, limit, cursor };
    let scope = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("group:read", scope)?;
    let size = page.size()?;
    let query = format!("groups {scope:?} {member:?}");
    let after: Option<GroupId> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let member = member.as_deref().map(|text| holder_of(text, "/member")).transpose()?;
    let transaction = control.store.read(&permit).await?;
    let mut rows = group_queries::list(&transaction, (scope, after), member, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    Ok(Json(List { items: rows.into_iter().map(GroupAnswer::from).collect(), next_cursor }))
}

/// Makes an empty group.
#[utoipa::path(
    post, path = "/v1/groups", operation_id = "access.create_group", tag = "access",
    params(TenantParameter), request_body = GroupBody, responses((status = 201, body = GroupAnswer))
)]
async fn create_group(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<GroupBody>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("group:create", Some(tenant))?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let GroupBody { name, title } = body.value;
    let (row, change) = group::create(&transaction, tenant, (name, title)).await?;
    let place = format!("/v1/groups/{}", row.id);
    let answer = Kept::new(StatusCode::CREATED, &GroupAnswer::from(row)).location(place);
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer)
}

/// One group.
#[utoipa::path(
    get, path = "/v1/groups/{id}", operation_id = "access.get_group", tag = "access",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = GroupAnswer))
)]
async fn get_group(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<GroupAnswer>> {
    let permit = caller.permit("group:read", caller.home())?;
    let transaction = control.store.read(&permit).await?;
    let row = group_queries::one(&transaction, path_id(&id)?).await?.ok_or_else(no_such_group)?;
    transaction.finish().await?;
    Ok(Json(row.into()))
}

/// Removes a group, with its memberships; its grants are taken back.
#[utoipa::path(
    delete, path = "/v1/groups/{id}", operation_id = "access.delete_group", tag = "access",
    params(("id" = String, Path, description = "Its id")), responses((status = 204))
)]
async fn delete_group(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let permit = caller.permit("group:delete", caller.home())?;
    let transaction = control.store.write(&permit).await?;
    let authority = |tenant| Authority::of(&caller, tenant);
    let change = group::remove(&transaction, path_id(&id)?, authority).await?.ok_or_else(no_such_group)?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is in a group itself, by id.
#[utoipa::path(
    get, path = "/v1/groups/{id}/members", operation_id = "access.list_members", tag = "access",
    params(("id" = String, Path, description = "The group's id"), Page),
    responses((status = 200, body = List<MemberAnswer>))
)]
async fn list_members(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<MemberAnswer>>> {
    let permit = caller.permit("group:read", caller.home())?;
    let size = page.size()?;
    let query = format!("members of {id}");
    let after: Option<Uuid> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let group = group_queries::one(&transaction, path_id(&id)?).await?.ok_or_else(no_such_group)?;
    let mut rows = group_queries::members(&transaction, (&group, after), size + 1).await?;
    transaction.finish().await?;
    let next_cursor =
        cursor::cut(&control, &query, &mut rows, size, |row| holder_id(row.membership.member).to_string());
    Ok(Json(List { items: rows.into_iter().map(MemberAnswer::from).collect(), next_cursor }))
}

/// Puts a user, a service account or a group into a group, or changes for how long.
#[utoipa::path(
    put, path = "/v1/groups/{id}/members/{kind}/{member}", operation_id = "access.put_member", tag = "access",
    params(
        ("id" = String, Path, description = "The group's id"),
        ("kind" = String, Path, description = "`user`, `service_account` or `group`"),
        ("member" = String, Path, description = "Its id"),
    ),
    request_body = MembershipBody, responses((status = 200, body = MemberAnswer))
)]
async fn put_member(
    State(control): State<Shared>,
    caller: Caller,
    Path((id, kind, member)): Path<(String, String, String)>,
    body: Body<MembershipBody>,
) -> Answer<Json<MemberAnswer>> {
    let permit = caller.permit("group:update", caller.home())?;
    let MembershipBody { valid_from: from, valid_until: until } = body.value;
    let joining = Joining { group: path_id(&id)?, member: member_of(kind, member)?, from, until };
    let transaction = control.store.write(&permit).await?;
    let authority = |tenant| Authority::of(&caller, tenant);
    let (row, change) = group::add_member(&transaction, joining, authority).await?;
    match change {
        Some(change) => transaction.commit(change.request(caller.request_id)).await.map(drop)?,
        None => transaction.rollback().await?,
    }
    Ok(Json(row.into()))
}

/// Takes someone out of a group.
#[utoipa::path(
    delete, path = "/v1/groups/{id}/members/{kind}/{member}", operation_id = "access.delete_member",
    tag = "access",
    params(
        ("id" = String, Path, description = "The group's id"),
        ("kind" = String, Path, description = "`user`, `service_account` or `group`"),
        ("member" = String, Path, description = "Its id"),
    ),
    responses((status = 204))
)]
async fn delete_member(
    State(control): State<Shared>,
    caller: Caller,
    Path((id, kind, member)): Path<(String, String, String)>,
) -> Answer<StatusCode> {
    let permit = caller.permit("group:update", caller.home())?;
    let leaving = (path_id(&id)?, member_of(kind, member)?);
    let transaction = control.store.write(&permit).await?;
    let authority = |tenant| Authority::of(&caller, tenant);
    let nobody = || Refusal::new(&kind::NOT_FOUND, "That is no member of the group.");
    let change = group::remove_member(&transaction, leaving, authority).await?.ok_or_else(nobody)?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn member_of(word: String, id: String) -> Result<rowhouse_domain::access::Holder, Refusal> {
    let everyone = word == "everyone";
    let body = HolderBody { kind: word, id };
    match everyone {
        false => body.parse("/member"),
        true => Err(Refusal::new(&kind::INVALID, "The member is not well-formed.").field(
            "/member/kind",
            "unknown",
            "everyone is in no group",
        )),
    }
}
