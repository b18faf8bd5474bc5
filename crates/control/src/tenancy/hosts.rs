//! Domains of tenants' own, as in `portal.acme.com`. The operator vouches that the name is the tenant's: proof by a
//! TXT record, which lets tenants claim names themselves, is not there yet.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use rowhouse_domain::id::{HostId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::resolution::canonical_host;
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor, path_id};

/// The routes of hosts.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list_hosts, create_host)).routes(routes!(delete_host))
}

/// Names that lead to a tenant: all, or one tenant's.
pub async fn load_hosts(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(String, TenantId)>, StoreError> {
    let tenant = tenant.map(|tenant| tenant.0);
    let rows = transaction
        .query(
            "SELECT name, tenant_id FROM tenancy.hosts WHERE $1::uuid IS NULL OR tenant_id = $1",
            &[&tenant],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), TenantId(row.get(1)))).collect())
}

/// A domain of a tenant's own.
#[derive(Debug, Serialize, ToSchema)]
struct Host {
    /// `host_…`
    #[schema(value_type = String)]
    id: HostId,
    /// Whose.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// In canonical form.
    name: String,
    /// `custom`.
    kind: &'static str,
    /// `active`.
    state: &'static str,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewHost {
    /// As in `portal.acme.com`.
    name: String,
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
    let rows = transaction
        .query(
            "SELECT host_id, tenant_id, name FROM tenancy.hosts \
             WHERE host_id > $1 AND ($2::uuid IS NULL OR tenant_id = $2) ORDER BY host_id LIMIT $3",
            &[&after.0, &scope.map(|tenant| tenant.0), &(size + 1)],
        )
        .await?;
    transaction.finish().await?;
    let mut items: Vec<Host> =
        rows.iter().map(|row| host(HostId(row.get(0)), TenantId(row.get(1)), row.get(2))).collect();
    let next_cursor = cursor::cut(&control, &query, &mut items, size, |host| host.id.to_string());
    Ok(Json(List { items, next_cursor }))
}

fn host(id: HostId, tenant: TenantId, name: String) -> Host {
    Host { id, tenant, name, kind: "custom", state: "active" }
}

/// Gives a tenant a domain. Only the operator can: it vouches for the name.
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
    if !caller.is_operator() {
        return Err(not_allowed("Only the operator can vouch for a domain so far.").into());
    }
    let name = check_name(&body.value.name, &control.settings.naming.base_domains)?;
    let id = HostId(control.entropy().uuid_v7(control.clock().now_us()));
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let added = transaction
        .execute(
            "INSERT INTO tenancy.hosts (host_id, tenant_id, name, vouched_by, created_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING",
            &[&id.0, &tenant.0, &name, &caller.principal().to_string(), &control.clock().now()],
        )
        .await?;
    if added == 0 {
        return Err(Refusal::new(&kind::HOST_TAKEN, format!("`{name}` belongs to a tenant already.")).into());
    }
    let answer = Kept::new(StatusCode::CREATED, &host(id, tenant, name.clone()));
    idempotency.keep(&transaction, &answer).await?;
    let change = Change::new(tenant, "tenancy.host_changed", "create", caller.principal()).on("host", id);
    let change = change.details(json!({ "name": name })).request(caller.request_id);
    transaction.commit(change.notify(Notice::tenant(tenant))).await?;
    Ok(answer)
}

/// Takes a domain away from its tenant.
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
    let gone = transaction
        .query_opt("DELETE FROM tenancy.hosts WHERE host_id = $1 RETURNING tenant_id, name", &[&id.0])
        .await?;
    let gone = gone.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such host."))?;
    let tenant = TenantId(gone.get(0));
    let change = Change::new(tenant, "tenancy.host_changed", "delete", caller.principal()).on("host", id);
    let change = change.details(json!({ "name": gone.get::<_, String>(1) })).request(caller.request_id);
    // Names are taken out of the directory only when all of it is made anew.
    transaction.commit(change.notify(Notice::catalog())).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn not_allowed(detail: impl Into<String>) -> Refusal {
    Refusal::new(&kind::HOST_NOT_ALLOWED, detail)
}

/// The canonical form of a name that can be a tenant's: two labels or more, no address, not ours.
fn check_name(name: &str, base_domains: &[String]) -> Result<String, Refusal> {
    let canonical = canonical_host(name).ok().filter(|_| !name.contains(':'));
    let canonical = canonical.ok_or_else(|| not_allowed(format!("`{name}` is no host name in A-labels.")))?;
    let ours = base_domains.iter().any(|base| canonical == *base || canonical.ends_with(&format!(".{base}")));
    let is_address = canonical.parse::<std::net::IpAddr>().is_ok();
    match () {
        () if ours => Err(not_allowed(format!("`{canonical}` lies under a domain of the platform."))),
        () if is_address => Err(not_allowed("An address is no host name.")),
        () if !canonical.contains('.') => Err(not_allowed("A host name has two labels or more.")),
        () => Ok(canonical.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tenants() {
        let ours = ["example.com".to_owned()];
        assert_eq!(check_name("Portal.Acme.ORG.", &ours).as_deref(), Ok("portal.acme.org"));
        for bad in ["localhost", "127.0.0.1", "a.example.com", "example.com", "x.org:80", "ä.org", "a..b", ""]
        {
            assert!(check_name(bad, &ours).is_err(), "{bad}");
        }
    }
}
