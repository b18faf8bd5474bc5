//! `/v1/applications`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::ApplicationId;
use rowhouse_domain::identity::client_secret;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Change;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exchange::SECRET;
use super::queries::{self, ApplicationRow};
use super::redirect::may_be_registered;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, Parameters, TenantParameter, path_id};
use crate::identity::{queries as people, session, token};
use crate::{Shared, tenancy};

const NAME_MAX: usize = 100;
const ADDRESSES_MAX: usize = 10;
const MOST: usize = 100;
const PERMISSIONS_MAX: usize = 64;

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, register))
        .routes(routes!(read, remove))
        .routes(routes!(userinfo))
}

/// An application.
#[derive(Debug, Serialize, ToSchema)]
struct ApplicationAnswer {
    /// Its `client_id`.
    id: String,
    tenant: String,
    name: String,
    /// `web` has a secret, `public` has none.
    kind: &'static str,
    redirect_uris: Vec<String>,
    /// What it may use at most of the permissions of who lets it in, if it asks for them by name in `scope`.
    permissions: Vec<String>,
    created_at: String,
    created_by: String,
}

impl From<&ApplicationRow> for ApplicationAnswer {
    fn from(row: &ApplicationRow) -> Self {
        ApplicationAnswer {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            name: row.name.clone(),
            kind: if row.secret.is_some() { "web" } else { "public" },
            redirect_uris: row.redirect_uris.clone(),
            permissions: row.permissions.clone(),
            created_at: row.created_at.to_string(),
            created_by: row.created_by.clone(),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct ApplicationsAnswer {
    items: Vec<ApplicationAnswer>,
}

/// The applications of a tenant, oldest first.
#[utoipa::path(get, path = "/v1/applications", operation_id = "identity.list_applications", tag = "identity",
    params(TenantParameter), responses((status = 200, body = ApplicationsAnswer)))]
async fn list(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<ApplicationsAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("tenant:read", Some(tenant))?;
    let transaction = control.store.read(&permit).await?;
    let rows = queries::of_tenant(&transaction, tenant).await?;
    transaction.finish().await?;
    Ok(Json(ApplicationsAnswer { items: rows.iter().map(ApplicationAnswer::from).collect() }))
}

/// A kind of application.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ApplicationKind {
    /// On a server, which keeps a secret.
    Web,
    /// On people's own devices, or in a browser.
    Public,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApplicationBody {
    /// 1 to 100 characters; people see it.
    name: String,
    kind: ApplicationKind,
    /// 1 to 10: `https`, `http` on loopback, or a scheme of one's own with a dot in it. Compared letter by letter.
    redirect_uris: Vec<String>,
    /// At most 64 permissions (`type:action`) that it may use here in the name of who lets it in, as far as they may themselves. None that
    /// makes credentials or decides who signs in.
    #[serde(default)]
    permissions: Vec<String>,
}

/// Registers an application that people of the tenant (of the operator: all people) may sign in to with their account here.
#[utoipa::path(post, path = "/v1/applications", operation_id = "identity.register_application", tag = "identity",
    params(TenantParameter), request_body = ApplicationBody, responses((status = 201, body = ApplicationAnswer)))]
async fn register(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<ApplicationBody>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("tenant:update", Some(tenant))?;
    check(&body.value, |name| caller.directory().permissions.id(name).is_some())?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    // Counted one after the other.
    tenancy::lock(&transaction, tenant).await?;
    if queries::of_tenant(&transaction, tenant).await?.len() >= MOST {
        return Err(Refusal::new(
            &kind::TOO_MANY_APPLICATIONS,
            "The tenant has a hundred applications already.",
        )
        .into());
    }
    let now = control.clock().now();
    let secret =
        matches!(body.value.kind, ApplicationKind::Web).then(|| client_secret(control.entropy().bytes()));
    let row = ApplicationRow {
        id: ApplicationId(control.entropy().uuid_v7(now.as_microsecond())),
        tenant,
        name: body.value.name.trim().to_owned(),
        redirect_uris: body.value.redirect_uris,
        permissions: body.value.permissions,
        secret: secret.as_deref().map(|text| token::digest(&control, SECRET, text)),
        created_at: now,
        created_by: transaction.principal().to_string(),
    };
    queries::insert(&transaction, &row).await?;
    let answer = Kept::new(StatusCode::CREATED, &ApplicationAnswer::from(&row))
        .location(format!("/v1/applications/{}", row.id));
    idempotency.keep(&transaction, &answer).await?;
    let change = Change::new(tenant, "identity.application_registered", "create", transaction.principal())
        .on("application", row.id)
        .details(json!({ "redirect_uris": row.redirect_uris, "permissions": row.permissions }))
        .request(caller.request_id);
    transaction.commit(change).await?;
    Ok(match &secret {
        Some(text) => answer.with_field("client_secret", text),
        None => answer,
    })
}

/// Types of things that are credentials, or decide who signs in: what an application does with one would outlive its session.
const NEVER: [&str; 6] = ["api_key", "service_account", "issuer", "certificate", "node", "system"];

/// Whether an application may be registered with a permission that there is.
fn may_be_declared(permission: &str) -> bool {
    let (kind, action) = permission.split_once(':').unwrap_or((permission, ""));
    action == "read" || !NEVER.contains(&kind)
}

fn check(body: &ApplicationBody, is_permission: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    let name = body.name.trim();
    let mut refusal = Refusal::new(&kind::INVALID, "The application is not well-formed.");
    let name_fits =
        !name.is_empty() && name.chars().count() <= NAME_MAX && !name.chars().any(char::is_control);
    if !name_fits {
        refusal = refusal.field("/name", "malformed", "1 to 100 characters");
    }
    let uris = &body.redirect_uris;
    let uris_fit = (1..=ADDRESSES_MAX).contains(&uris.len()) && uris.iter().all(|uri| may_be_registered(uri));
    if !uris_fit {
        refusal = refusal.field(
            "/redirect_uris",
            "malformed",
            "1 to 10: `https`, `http` on loopback, or a scheme with a dot; no fragment",
        );
    }
    let permissions = &body.permissions;
    let permissions_fit = permissions.len() <= PERMISSIONS_MAX
        && permissions.iter().all(|name| is_permission(name) && may_be_declared(name));
    if !permissions_fit {
        refusal = refusal.field(
            "/permissions",
            "malformed",
            "at most 64 of the permissions there are; none that makes credentials or decides who signs in",
        );
    }
    if name_fits && uris_fit && permissions_fit { Ok(()) } else { Err(refusal) }
}

fn none() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such application.")
}

/// One application.
#[utoipa::path(get, path = "/v1/applications/{id}", operation_id = "identity.read_application", tag = "identity",
    params(("id" = String, Path), TenantParameter), responses((status = 200, body = ApplicationAnswer)))]
async fn read(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<ApplicationAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("tenant:read", Some(tenant))?;
    let id = path_id::<ApplicationId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::one(&transaction, id).await?.filter(|row| row.tenant == tenant);
    transaction.finish().await?;
    Ok(Json(ApplicationAnswer::from(&row.ok_or_else(none)?)))
}

/// Takes an application away: its codes are void, and the sessions that people have with it end.
#[utoipa::path(delete, path = "/v1/applications/{id}", operation_id = "identity.remove_application", tag = "identity",
    params(("id" = String, Path), TenantParameter), responses((status = 204)))]
async fn remove(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("tenant:update", Some(tenant))?;
    let id = path_id::<ApplicationId>(&id)?;
    let transaction = control.store.write(&permit).await?;
    if !queries::delete(&transaction, (tenant, id)).await? {
        return Err(none().into());
    }
    transaction.rollback().await?;
    // People of all tenants may have a session with one of the operator.
    let transaction =
        control.store.write(&Permit::for_system(None, "an application that is taken away")).await?;
    if !queries::delete(&transaction, (tenant, id)).await? {
        return Err(none().into());
    }
    let by = permit.principal();
    let mut changes = Vec::new();
    for session in session::queries::open_of_application(&transaction, id).await? {
        changes.extend(session::end_one(&transaction, session, "application_removed", by).await?);
    }
    let change = Change::new(tenant, "identity.application_removed", "delete", by);
    changes.push(change.on("application", id).details(json!({})).request(caller.request_id));
    transaction.commit_all(changes).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who has signed in (OpenID Connect Core §5.3).
#[derive(Serialize, ToSchema)]
struct UserinfoAnswer {
    /// The person's id; the same as in ID tokens.
    sub: String,
    /// With the scope `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// With the scope `email`, as the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    /// The tenant that the token is for.
    tenant: String,
}

/// Whose access token it is. An application is told what its scopes say (OpenID Connect Core §5.4); who has signed in here sees all.
#[utoipa::path(get, path = "/oauth2/userinfo", operation_id = "identity.userinfo", tag = "identity",
    responses((status = 200, body = UserinfoAnswer)))]
async fn userinfo(State(control): State<Shared>, caller: Caller) -> Answer<Json<UserinfoAnswer>> {
    let person = caller.bearer()?;
    let transaction = control.store.read(&Permit::for_system(None, "whose token it is")).await?;
    let user = people::find_user(&transaction, person.user).await?;
    transaction.finish().await?;
    let user = user.ok_or_else(|| Refusal::new(&kind::SESSION_ENDED, "The session has ended."))?;
    Ok(Json(UserinfoAnswer {
        sub: user.id.to_string(),
        name: person.claims.has_scope("profile").then_some(user.full_name),
        email_verified: person.claims.has_scope("email").then_some(user.email_verified_at.is_some()),
        email: user.email.filter(|_| person.claims.has_scope("email")),
        tenant: person.claims.tenant.to_string(),
    }))
}
