//! The routes of hosts.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use rowhouse_domain::id::HostId;
use rowhouse_domain::tenancy::hosts::{HostState, Proof};
use rowhouse_store::{Change, Notice};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::claim::{self, Wanted};
use super::name::{check, not_allowed};
use super::queries;
use super::record::{Host, HostRow};
use super::resolvers::{self, Said};
use super::verify::{self, no_such_host};
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor, path_id};
use crate::{Control, Shared};

/// The routes of hosts.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_hosts, create_host))
        .routes(routes!(read_host, delete_host))
        .routes(routes!(verify_host))
        .routes(routes!(diagnose_host))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewHost {
    /// As in `portal.acme.com`.
    name: String,
    /// Whether the operator vouches for it, so that nothing has to be proven; if not said, its principals do and
    /// tenants' do not.
    vouch: Option<bool>,
}

/// The domains of tenants.
#[utoipa::path(get, path = "/v1/hosts", operation_id = "tenancy.list_hosts", tag = "tenancy", params(Page),
    responses((status = 200, body = List<Host>)))]
async fn list_hosts(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<Host>>> {
    let scope = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("host:read", scope)?;
    let query = format!("hosts {scope:?}");
    let after = cursor::after(&control, &query, page.cursor.as_deref())?.unwrap_or(HostId::from_u128(0));
    let size = page.size()?;
    let transaction = control.store.read(&permit).await?;
    let rows = queries::list(&transaction, after, scope, size + 1).await?;
    transaction.finish().await?;
    let mut items: Vec<Host> = rows.into_iter().map(|row| row.answer(&control)).collect();
    let next_cursor = cursor::cut(&control, &query, &mut items, size, |host| host.id.to_string());
    Ok(Json(List { items, next_cursor }))
}

/// Claims a domain for a tenant; the answer says which TXT record proves it. The operator may vouch for it instead.
#[utoipa::path(post, path = "/v1/hosts", operation_id = "tenancy.create_host", tag = "tenancy",
    params(TenantParameter), request_body = NewHost, responses((status = 201, body = Host)))]
async fn create_host(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(which): Parameters<TenantParameter>,
    body: Body<NewHost>,
) -> Answer<impl IntoResponse> {
    let tenant = caller.one_tenant(which.tenant.as_deref())?;
    let permit = caller.permit("host:manage", Some(tenant))?;
    let vouches = body.value.vouch.unwrap_or(caller.is_operator());
    if vouches && !caller.is_operator() {
        return Err(not_allowed("Only the operator can vouch for a domain.").into());
    }
    let name = check(&body.value.name, &control.settings.naming.base_domains)?;
    let principal = caller.principal().to_string();
    let vouched_by = vouches.then_some(principal.as_str());
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let host = claim::enter(&control, &transaction, Wanted { tenant, name: &name, vouched_by }).await?;
    let change =
        Change::new(tenant, "tenancy.host_changed", "create", caller.principal()).on("host", host.id);
    let details = json!({ "name": name, "state": host.standing.state.as_str() });
    let change = change.details(details).request(caller.request_id);
    let answer = Kept::new(StatusCode::CREATED, &host.answer(&control));
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.notify(Notice::tenant(tenant))).await?;
    Ok(answer)
}

async fn find(control: &Control, caller: &Caller, permission: &str, id: &str) -> Answer<HostRow> {
    let id: HostId = path_id(id)?;
    let permit = caller.permit(permission, caller.scope(None)?)?;
    let transaction = control.store.read(&permit).await?;
    let host = queries::find(&transaction, id).await?;
    transaction.finish().await?;
    Ok(host.ok_or_else(no_such_host)?)
}

/// One domain.
#[utoipa::path(get, path = "/v1/hosts/{id}", operation_id = "tenancy.read_host", tag = "tenancy",
    params(("id" = String, Path)), responses((status = 200, body = Host)))]
async fn read_host(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Host>> {
    let host = find(&control, &caller, "host:read", &id).await?;
    Ok(Json(host.answer(&control)))
}

/// Looks for the proof now. The answer has the state that follows, and what is wrong.
#[utoipa::path(post, path = "/v1/hosts/{id}/verify", operation_id = "tenancy.verify_host", tag = "tenancy",
    params(("id" = String, Path)), responses((status = 200, body = Host)))]
async fn verify_host(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Host>> {
    let id: HostId = path_id(&id)?;
    let permit = caller.permit("host:manage", caller.scope(None)?)?;
    let host = verify::verify(&control, &permit, id, Some(caller.request_id)).await?;
    Ok(Json(host.answer(&control)))
}

/// Gives a domain up. One that was served is kept from other tenants for a while.
#[utoipa::path(delete, path = "/v1/hosts/{id}", operation_id = "tenancy.delete_host", tag = "tenancy",
    params(("id" = String, Path)), responses((status = 204)))]
async fn delete_host(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let id: HostId = path_id(&id)?;
    let permit = caller.permit("host:manage", caller.scope(None)?)?;
    let transaction = control.store.write(&permit).await?;
    let host = queries::lock(&transaction, id).await?;
    // One in quarantine is gone as far as its tenant goes.
    let host = host.filter(|host| host.standing.state != HostState::Quarantined).ok_or_else(no_such_host)?;
    let change =
        Change::new(host.tenant, "tenancy.host_changed", "delete", caller.principal()).on("host", id);
    let details = json!({ "name": host.name, "before": host.standing.state.as_str() });
    claim::give_up(&control, &transaction, host).await?;
    // Names are taken out of the directory only when all of it is made anew.
    let change = change.details(details).request(caller.request_id).notify(Notice::catalog());
    transaction.commit(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What DNS says of a domain, and what is to be done next.
#[derive(Debug, Serialize, ToSchema)]
struct Diagnosis {
    #[schema(value_type = String)]
    state: HostState,
    proof: DiagnosedProof,
    address: DiagnosedAddress,
    next: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct DiagnosedProof {
    name: String,
    expected: String,
    found: Vec<Said>,
    ok: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct DiagnosedAddress {
    /// The name that it should lead to, and where that leads.
    expected: Vec<String>,
    found: Vec<Said>,
    ok: bool,
}

/// Asks DNS and says what it found; nothing is changed.
#[utoipa::path(get, path = "/v1/hosts/{id}/diagnose", operation_id = "tenancy.diagnose_host", tag = "tenancy",
    params(("id" = String, Path)), responses((status = 200, body = Diagnosis)))]
async fn diagnose_host(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Diagnosis>> {
    let host = find(&control, &caller, "host:read", &id).await?;
    let (found, proof, problem) = verify::ask(&control, &host).await;
    let address = diagnose_address(&control, &host).await;
    let record = host.proof(&control);
    let state = host.standing.state;
    let next = match (state, proof) {
        (HostState::Quarantined, _) => "claim the name again to have it back".to_owned(),
        (HostState::Pending, Proof::Shown) => "verify it: the record is there".to_owned(),
        (HostState::Pending | HostState::Failing, _) => {
            let why = problem.unwrap_or_default();
            format!("add the TXT record {} with {}, then verify ({why})", record.name, record.value)
        }
        _ if !address.ok => format!("let {} lead to {}", host.name, address.expected.join(" or ")),
        _ => "nothing is to be done".to_owned(),
    };
    let proof =
        DiagnosedProof { name: record.name, expected: record.value, found, ok: proof == Proof::Shown };
    Ok(Json(Diagnosis { state, proof, address, next }))
}

/// Whether the name leads where the tenant's own subdomain leads, as the first resolver sees it.
async fn diagnose_address(control: &Control, host: &HostRow) -> DiagnosedAddress {
    let first = &control.settings.hosts.resolvers[..control.settings.hosts.resolvers.len().min(1)];
    let found = resolvers::addresses(first, control.entropy(), &host.name).await;
    let Some(subdomain) = host.address(control) else {
        return DiagnosedAddress { expected: Vec::new(), found, ok: false };
    };
    let ours = resolvers::addresses(first, control.entropy(), &subdomain).await;
    let known: Vec<&String> = ours.iter().flat_map(|said| &said.found).collect();
    let ok = found.iter().flat_map(|said| &said.found).any(|address| known.contains(&address));
    let expected = std::iter::once(&subdomain).chain(known).cloned().collect();
    DiagnosedAddress { expected, found, ok }
}
