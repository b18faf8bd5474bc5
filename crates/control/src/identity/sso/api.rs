//! `/v1/connections`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use rowhouse_domain::id::{ConnectionId, TenantId, UserId};
use rowhouse_domain::identity::SingleSignOn;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::config::{CONNECTIONS_MAX, ConnectionBody, check};
use super::connection::ConnectionRow;
use super::{provider, queries};
use crate::access::{self, Authority, Rules};
use crate::api::{Answer, Body, Caller, IfMatch, Parameters, TenantParameter, etag, path_id};
use crate::identity::sign_in::policy;
use crate::{Control, Shared, tenancy};

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, change, remove))
        .routes(routes!(set_state))
        .routes(routes!(test, test_result))
        .routes(routes!(links))
        .routes(routes!(unlink))
}

/// How old a proof of the person who changes connections may be, in minutes.
const FRESH_MIN: i64 = 10;

/// A connection.
#[derive(Debug, Serialize, ToSchema)]
struct ConnectionAnswer {
    id: String,
    tenant: String,
    name: String,
    issuer: String,
    client_id: String,
    has_secret: bool,
    email_domains: Vec<String>,
    /// Those of them that the tenant has proven.
    proven_domains: Vec<String>,
    roles: Vec<String>,
    role_claim: Option<String>,
    #[schema(value_type = Object)]
    role_map: std::collections::BTreeMap<String, Vec<String>>,
    creates_members: bool,
    proves_mfa: bool,
    assumes_verified: bool,
    /// `off` or `active`.
    state: &'static str,
    /// Where people are sent to sign in, as the provider's discovery document says.
    authorization_endpoint: String,
    /// Where its answers are exchanged, by the same document.
    token_endpoint: String,
    /// Where its keys are, by the same document.
    jwks_uri: String,
    /// Enter this at the provider.
    redirect_uri: String,
    /// Where signing in by it begins; also for a tile at the provider.
    sign_in_url: String,
    /// When its documents were last fetched.
    fetched_at: String,
    last_problem: Option<String>,
    /// Whether a test got through with it as it is now.
    is_tested: bool,
    version: i64,
    created_at: String,
    created_by: String,
}

impl ConnectionAnswer {
    async fn of(control: &Control, transaction: &Transaction, row: ConnectionRow) -> Result<Self, Refusal> {
        let mut proven_domains = Vec::new();
        for domain in &row.domains {
            if tenancy::tenant_of_host(transaction, domain).await? == Some(row.tenant) {
                proven_domains.push(domain.clone());
            }
        }
        Ok(ConnectionAnswer {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            redirect_uri: row.redirect_uri(control),
            sign_in_url: row.start_url(control),
            authorization_endpoint: row.discovery.authorization_endpoint,
            token_endpoint: row.discovery.token_endpoint,
            jwks_uri: row.discovery.jwks_uri,
            name: row.name,
            issuer: row.issuer,
            client_id: row.client_id,
            has_secret: row.secret.is_some(),
            email_domains: row.domains,
            proven_domains,
            roles: row.roles,
            role_claim: row.role_claim,
            role_map: row.role_map,
            creates_members: row.creates_members,
            proves_mfa: row.proves_mfa,
            assumes_verified: row.assumes_verified,
            state: if row.is_active { "active" } else { "off" },
            fetched_at: row.fetched_at.to_string(),
            last_problem: row.last_problem,
            is_tested: row.tested_version == Some(row.version),
            version: row.version,
            created_at: row.created_at.to_string(),
            created_by: row.created_by,
        })
    }
}

#[derive(Serialize, ToSchema)]
struct ConnectionsAnswer {
    items: Vec<ConnectionAnswer>,
}

fn none() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such connection.")
}

fn fresh(control: &Control, caller: &Caller) -> Result<(), Refusal> {
    caller.fresh(control.clock().now_s(), FRESH_MIN)
}

/// The connections of a tenant, oldest first.
#[utoipa::path(get, path = "/v1/connections", operation_id = "identity.list_connections", tag = "identity",
    params(TenantParameter), responses((status = 200, body = ConnectionsAnswer)))]
async fn list(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<ConnectionsAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("issuer:read", Some(tenant))?;
    let transaction = control.store.read(&permit).await?;
    let mut items = Vec::new();
    for row in queries::of_tenant(&transaction, tenant).await? {
        items.push(ConnectionAnswer::of(&control, &transaction, row).await?);
    }
    transaction.finish().await?;
    Ok(Json(ConnectionsAnswer { items }))
}

/// Connects a provider. Its documents are fetched first; nobody comes in by it before it is made active.
#[utoipa::path(post, path = "/v1/connections", operation_id = "identity.create_connection", tag = "identity",
    params(TenantParameter), request_body = ConnectionBody, responses((status = 201, body = ConnectionAnswer)))]
async fn create(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<ConnectionBody>,
) -> Answer<(StatusCode, Json<ConnectionAnswer>)> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("issuer:manage", Some(tenant))?;
    caller.refuse_narrowed()?;
    fresh(&control, &caller)?;
    let body = check(body.value)?;
    if body.client_secret.is_none() && !body.is_public {
        let refusal = Refusal::new(&kind::CONNECTION_INVALID, "The connection is not well-formed.");
        return Err(refusal.field("/client_secret", "missing", "a secret, or `is_public`").into());
    }
    let documents = documents(&control, &body).await?;
    let transaction = control.store.write(&permit).await?;
    // Connections are counted one after the other.
    tenancy::lock(&transaction, tenant).await?;
    refuse_beyond(&transaction, &caller, tenant, &body).await?;
    let now = control.clock().now();
    let row = ConnectionRow {
        id: ConnectionId(control.entropy().uuid_v7(now.as_microsecond())),
        tenant,
        name: String::new(),
        issuer: String::new(),
        client_id: String::new(),
        secret: None,
        domains: Vec::new(),
        roles: Vec::new(),
        role_claim: None,
        role_map: Default::default(),
        creates_members: true,
        proves_mfa: false,
        assumes_verified: false,
        is_active: false,
        discovery: documents.0.clone(),
        key_set: String::new(),
        fetched_at: now,
        tried_at: now,
        last_problem: None,
        tested_version: None,
        test_result: None,
        version: 0,
        created_by: transaction.principal().to_string(),
        created_at: now,
        changed_at: now,
    };
    if queries::of_tenant(&transaction, tenant).await?.len() >= CONNECTIONS_MAX {
        let refusal = Refusal::new(&kind::CONNECTION_WRONG_STATE, "The tenant has ten connections already.");
        return Err(refusal.into());
    }
    let row = filled(&control, row, body, documents);
    put(&transaction, &row).await?;
    let answer = ConnectionAnswer::of(&control, &transaction, row.clone()).await?;
    transaction.commit(told(&caller, &row, "identity.connection_created", "create")).await?;
    Ok((StatusCode::CREATED, Json(answer)))
}

type Documents = (super::connection::Discovery, String);

async fn documents(control: &Control, body: &ConnectionBody) -> Result<Documents, Refusal> {
    let found = provider::documents(control, &body.issuer).await;
    found.map_err(|problem| Refusal::new(&kind::CONNECTION_UNREACHABLE, format!("{problem}.")))
}

/// Roles come from those who hold them: whoever connects a provider gives them to all its people. And whoever says by which provider people
/// are known can come in as each of them.
async fn refuse_beyond(
    transaction: &Transaction,
    caller: &Caller,
    tenant: TenantId,
    body: &ConnectionBody,
) -> Result<(), Refusal> {
    let authority = Authority::of(caller, tenant);
    Rules::refuse_standing_in_for_people(transaction, &authority, tenant).await?;
    let rules = Rules::load_for(transaction, tenant).await.map_err(Refusal::from)?;
    let all: Vec<String> = body.roles.iter().chain(body.role_map.values().flatten()).cloned().collect();
    let given = rules.of_roles(tenant, &all)?;
    rules.refuse_escalation(&authority, &given)?;
    access::refuse_alone(transaction, tenant, (&authority, &rules), &given).await
}

/// The next version of a connection.
fn filled(
    control: &Control,
    row: ConnectionRow,
    body: ConnectionBody,
    documents: Documents,
) -> ConnectionRow {
    let now = control.clock().now();
    let mut next = ConnectionRow {
        name: body.name,
        issuer: body.issuer,
        client_id: body.client_id,
        domains: body.email_domains,
        roles: body.roles,
        role_claim: body.role_claim,
        role_map: body.role_map,
        creates_members: body.creates_members,
        proves_mfa: body.proves_mfa,
        assumes_verified: body.assumes_verified,
        discovery: documents.0,
        key_set: documents.1,
        fetched_at: now,
        tried_at: now,
        last_problem: None,
        version: row.version + 1,
        changed_at: now,
        ..row
    };
    next.secret = match (body.is_public, &body.client_secret) {
        (true, _) => None,
        (false, Some(secret)) => Some(next.seal(control, secret)),
        (false, None) => next.secret,
    };
    next
}

async fn put(transaction: &Transaction, row: &ConnectionRow) -> Result<(), Refusal> {
    queries::put(transaction, row).await.map_err(|error| match error.constraint() {
        Some("connections_name_key") => {
            let refusal =
                Refusal::new(&kind::CONNECTION_INVALID, "The tenant has a connection of this name.");
            refusal.field("/name", "taken", "another name")
        }
        _ => error.into(),
    })
}

fn told(caller: &Caller, row: &ConnectionRow, event: &str, action: &str) -> Change {
    Change::new(row.tenant, event, action, caller.principal())
        .on("connection", row.id)
        .details(json!({ "issuer": row.issuer, "state": if row.is_active { "active" } else { "off" },
            "email_domains": row.domains, "roles": row.all_roles(), "version": row.version }))
        .request(caller.request_id)
}

/// A connection of the caller's to change, held against others.
async fn held(
    transaction: &Transaction,
    tenant: TenantId,
    id: ConnectionId,
) -> Result<ConnectionRow, Refusal> {
    queries::lock(transaction, id).await?.filter(|row| row.tenant == tenant).ok_or_else(none)
}

type One = ([(HeaderName, HeaderValue); 1], Json<ConnectionAnswer>);

/// One connection.
#[utoipa::path(get, path = "/v1/connections/{id}", operation_id = "identity.get_connection", tag = "identity",
    params(("id" = String, Path), TenantParameter), responses((status = 200, body = ConnectionAnswer)))]
async fn read(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<One> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("issuer:read", Some(tenant))?;
    let id = path_id::<ConnectionId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::find(&transaction, id).await?.filter(|row| row.tenant == tenant).ok_or_else(none)?;
    let version = row.version;
    let answer = ConnectionAnswer::of(&control, &transaction, row).await?;
    transaction.finish().await?;
    Ok((etag(version), Json(answer)))
}

/// Changes all of a connection. `If-Match` must say the version that was read. Who came in by it stays linked, unless the issuer or the
/// client is another one: then all links go, for its `sub` may mean others.
#[utoipa::path(put, path = "/v1/connections/{id}", operation_id = "identity.change_connection", tag = "identity",
    params(("id" = String, Path), TenantParameter), request_body = ConnectionBody,
    responses((status = 200, body = ConnectionAnswer)))]
async fn change(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
    expected: IfMatch,
    body: Body<ConnectionBody>,
) -> Answer<One> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("issuer:manage", Some(tenant))?;
    caller.refuse_narrowed()?;
    fresh(&control, &caller)?;
    let id = path_id::<ConnectionId>(&id)?;
    expected.said()?;
    let body = check(body.value)?;
    let transaction = control.store.read(&permit).await?;
    queries::find(&transaction, id).await?.filter(|row| row.tenant == tenant).ok_or_else(none)?;
    transaction.finish().await?;
    let documents = documents(&control, &body).await?;
    let transaction = control.store.write(&permit).await?;
    let row = held(&transaction, tenant, id).await?;
    expected.check(row.version)?;
    refuse_beyond(&transaction, &caller, tenant, &body).await?;
    let is_other = row.issuer != body.issuer || row.client_id != body.client_id;
    if is_other && body.client_secret.is_none() && !body.is_public {
        let refusal =
            Refusal::new(&kind::CONNECTION_INVALID, "Another provider is not shown the secret of this one.");
        return Err(refusal.field("/client_secret", "missing", "the secret of the new one").into());
    }
    if is_other {
        queries::delete_links(&transaction, id).await?;
    }
    let row = filled(&control, row, body, documents);
    put(&transaction, &row).await?;
    let version = row.version;
    let change = told(&caller, &row, "identity.connection_changed", "update");
    let answer = ConnectionAnswer::of(&control, &transaction, row).await?;
    transaction.commit(change).await?;
    Ok((etag(version), Json(answer)))
}

/// Removes a connection. Who came in by it stays a member.
#[utoipa::path(delete, path = "/v1/connections/{id}", operation_id = "identity.delete_connection", tag = "identity",
    params(("id" = String, Path), TenantParameter), responses((status = 204)))]
async fn remove(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("issuer:manage", Some(tenant))?;
    caller.refuse_narrowed()?;
    fresh(&control, &caller)?;
    let transaction = control.store.write(&permit).await?;
    let row = held(&transaction, tenant, path_id::<ConnectionId>(&id)?).await?;
    refuse_last(&transaction, &row).await?;
    queries::delete(&transaction, row.id).await?;
    transaction.commit(told(&caller, &row, "identity.connection_deleted", "delete")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses to take away the last way in while there must be one.
async fn refuse_last(transaction: &Transaction, row: &ConnectionRow) -> Result<(), Refusal> {
    let in_force = policy::in_force(transaction, row.tenant).await?.policy;
    let all = queries::active_of(transaction, row.tenant).await?;
    let others = all.iter().any(|own| own.id != row.id);
    match row.is_active && !others && in_force.single_sign_on == SingleSignOn::Enforced {
        true => Err(Refusal::new(
            &kind::CONNECTION_WRONG_STATE,
            "The sign-in policy enforces single sign-on: make that optional first.",
        )),
        false => Ok(()),
    }
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConnectionState {
    /// Nobody comes in by it.
    Off,
    /// It stands on the tenant's sign-in page.
    Active,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StateBody {
    state: ConnectionState,
}

/// Makes a connection active, or turns it off. Twice is once.
#[utoipa::path(post, path = "/v1/connections/{id}/state", operation_id = "identity.set_connection_state", tag = "identity",
    params(("id" = String, Path), TenantParameter), request_body = StateBody,
    responses((status = 200, body = ConnectionAnswer)))]
async fn set_state(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<StateBody>,
) -> Answer<Json<ConnectionAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("issuer:manage", Some(tenant))?;
    caller.refuse_narrowed()?;
    fresh(&control, &caller)?;
    let transaction = control.store.write(&permit).await?;
    let mut row = held(&transaction, tenant, path_id::<ConnectionId>(&id)?).await?;
    let wanted = matches!(body.value.state, ConnectionState::Active);
    let before = row.is_active;
    match wanted {
        true => {
            Rules::refuse_standing_in_for_people(&transaction, &Authority::of(&caller, tenant), tenant)
                .await?
        }
        false => refuse_last(&transaction, &row).await?,
    }
    row.is_active = wanted;
    queries::put(&transaction, &row).await?;
    let change = told(&caller, &row, "identity.connection_changed", "update");
    let answer = ConnectionAnswer::of(&control, &transaction, row).await?;
    match before == wanted {
        true => transaction.rollback().await?,
        false => {
            transaction.commit(change).await?;
        }
    }
    Ok(Json(answer))
}

#[derive(Serialize, ToSchema)]
#[schema(as = ConnectionTestAnswer)]
struct TestAnswer {
    /// Open it in a browser within ten minutes: it signs you in at the provider, and nobody here.
    url: String,
}

/// Begins a test of a connection, active or not.
#[utoipa::path(post, path = "/v1/connections/{id}/test", operation_id = "identity.test_connection", tag = "identity",
    params(("id" = String, Path), TenantParameter), responses((status = 200, body = TestAnswer)))]
async fn test(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<TestAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("issuer:manage", Some(tenant))?;
    caller.refuse_narrowed()?;
    let id = path_id::<ConnectionId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::find(&transaction, id).await?.filter(|row| row.tenant == tenant).ok_or_else(none)?;
    transaction.finish().await?;
    let ticket = super::attempt::ticket(&control, &row);
    let url =
        format!("{}{}?test={ticket}", control.settings.public_url.trim_end_matches('/'), row.start_path());
    Ok(Json(TestAnswer { url }))
}

#[derive(Serialize, ToSchema)]
struct TestResult {
    /// Whether there was a test of the connection as it is now.
    is_tested: bool,
    /// What the newest one found: `ok`, `user` (`linked`, `known`, `new`), `roles`, `second_factor`, `claims`, `warnings`, `refused_because`.
    #[schema(value_type = Object)]
    result: Option<Value>,
}

/// What the newest test found.
#[utoipa::path(get, path = "/v1/connections/{id}/test", operation_id = "identity.get_connection_test", tag = "identity",
    params(("id" = String, Path), TenantParameter), responses((status = 200, body = TestResult)))]
async fn test_result(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<TestResult>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("issuer:manage", Some(tenant))?;
    caller.refuse_narrowed()?;
    let id = path_id::<ConnectionId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::find(&transaction, id).await?.filter(|row| row.tenant == tenant).ok_or_else(none)?;
    transaction.finish().await?;
    Ok(Json(TestResult { is_tested: row.tested_version == Some(row.version), result: row.test_result }))
}

#[derive(Serialize, ToSchema)]
struct LinkAnswer {
    user: String,
    /// Who the person is at the provider.
    subject: String,
    /// Roles that the connection gave.
    roles: Vec<String>,
    linked_at: String,
    last_used_at: String,
}

#[derive(Serialize, ToSchema)]
struct LinksAnswer {
    items: Vec<LinkAnswer>,
}

/// Who came in by a connection, at most 1,000.
#[utoipa::path(get, path = "/v1/connections/{id}/links", operation_id = "identity.list_connection_links", tag = "identity",
    params(("id" = String, Path), TenantParameter), responses((status = 200, body = LinksAnswer)))]
async fn links(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<LinksAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("issuer:manage", Some(tenant))?;
    caller.refuse_narrowed()?;
    let id = path_id::<ConnectionId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    queries::find(&transaction, id).await?.filter(|row| row.tenant == tenant).ok_or_else(none)?;
    let all = queries::links(&transaction, (None, Some(id))).await?;
    transaction.finish().await?;
    let items = all.into_iter().map(|row| LinkAnswer {
        user: row.user.to_string(),
        subject: row.subject,
        roles: row.roles,
        linked_at: row.linked_at.to_string(),
        last_used_at: row.last_used_at.to_string(),
    });
    Ok(Json(LinksAnswer { items: items.collect() }))
}

/// Takes a link away: the provider's person is nobody here until connected again.
#[utoipa::path(delete, path = "/v1/connections/{id}/links/{user}", operation_id = "identity.delete_connection_link",
    tag = "identity", params(("id" = String, Path), ("user" = String, Path), TenantParameter), responses((status = 204)))]
async fn unlink(
    State(control): State<Shared>,
    caller: Caller,
    Path((id, user)): Path<(String, String)>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("issuer:manage", Some(tenant))?;
    caller.refuse_narrowed()?;
    let user = path_id::<UserId>(&user)?;
    let transaction = control.store.write(&permit).await?;
    let row = held(&transaction, tenant, path_id::<ConnectionId>(&id)?).await?;
    if !queries::delete_link(&transaction, row.id, user).await? {
        return Err(Refusal::new(&kind::NOT_FOUND, "There is no such link.").into());
    }
    let change = Change::new(tenant, "identity.sso_unlinked", "delete", caller.principal()).on("user", user);
    transaction.commit(change.on("connection", row.id).details(json!({})).request(caller.request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
