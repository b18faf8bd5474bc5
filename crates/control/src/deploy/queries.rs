//! Rows and SQL of instances.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Topic, Transaction};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{Application, Desired, Ids, Observed};

/// An instance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRow {
    /// Whose.
    pub tenant: TenantId,
    /// The cell that its server is.
    pub cell: String,
    /// What it is to be.
    pub desired: Desired,
    /// What it was found to be.
    pub observed: Observed,
}

fn parse(row: &Row) -> InstanceRow {
    InstanceRow {
        tenant: TenantId(row.get(0)),
        cell: row.get(1),
        desired: row.get::<_, Json<Desired>>(2).0,
        observed: row.get::<_, Json<Observed>>(3).0,
    }
}

/// Says what an instance is to be; the reconciler sees to it.
pub async fn desire(
    transaction: &Transaction,
    tenant: TenantId,
    cell: &str,
    desired: &Desired,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO deploy.instances (tenant_id, cell, desired, updated_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id) DO UPDATE SET desired = excluded.desired, updated_at = excluded.updated_at",
            &[&tenant.0, &cell, &Json(desired), &transaction.store().clock().now()],
        )
        .await?;
    transaction.touch(Topic::Instances);
    Ok(())
}

/// The next pair of user ids of the range that no instance has; they go round, so that one is given out again as late as possible. The
/// transaction must see all instances.
///
/// # Errors
/// If all are in use, beside those of the database.
pub async fn choose_ids(transaction: &Transaction, range: &RangeInclusive<u32>) -> Result<Ids, StoreError> {
    let all = list(transaction, None, None, i64::MAX).await?;
    let taken: Vec<u32> = all.iter().filter_map(|row| row.desired.ids).map(|ids| ids.server).collect();
    let pairs = i64::from((range.end() - range.start()).div_ceil(2));
    for _ in 0..=taken.len() {
        let row = transaction.query_one("SELECT nextval('deploy.user_ids')", &[]).await?;
        let pair = u32::try_from(row.get::<_, i64>(0) % pairs.max(1)).expect("below the size of the range");
        let server = range.start() + 2 * pair;
        if !taken.contains(&server) && range.contains(&(server + 1)) {
            return Ok(Ids { server, processes: server + 1 });
        }
    }
    Err(StoreError::Stored { what: "user ids of instances (deploy.user_ids: all are in use)" })
}

/// The instance whose processes run as this user.
pub(crate) async fn of_process(
    transaction: &Transaction,
    user: u32,
) -> Result<Option<InstanceRow>, StoreError> {
    let sql = "SELECT tenant_id, cell, desired, observed FROM deploy.instances \
         WHERE desired -> 'ids' ->> 'processes' = $1 AND (desired ->> 'present')::boolean";
    Ok(transaction.query_opt(sql, &[&user.to_string()]).await?.as_ref().map(parse))
}

/// Tenants with a process of their own of `service`.
pub(crate) async fn with_own_process(
    transaction: &Transaction,
    service: &str,
) -> Result<Vec<TenantId>, StoreError> {
    let sql = "SELECT tenant_id FROM deploy.instances WHERE (desired ->> 'present')::boolean \
         AND desired -> 'applications' @> jsonb_build_array(jsonb_build_object('service', $1::text))";
    Ok(transaction.query(sql, &[&service]).await?.iter().map(|row| TenantId(row.get(0))).collect())
}

/// Forgets an instance of which nothing is left.
pub async fn forget(transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
    transaction.touch(Topic::Instances);
    transaction.execute("DELETE FROM deploy.instances WHERE tenant_id = $1", &[&tenant.0]).await.map(drop)
}

/// Records what was found.
pub(super) async fn observe(
    transaction: &Transaction,
    tenant: TenantId,
    observed: &Observed,
) -> Result<(), StoreError> {
    let sql = "UPDATE deploy.instances SET observed = $2 WHERE tenant_id = $1";
    transaction.execute(sql, &[&tenant.0, &Json(observed)]).await.map(drop)
}

/// One instance.
pub async fn get(transaction: &Transaction, tenant: TenantId) -> Result<Option<InstanceRow>, StoreError> {
    let sql = "SELECT tenant_id, cell, desired, observed FROM deploy.instances WHERE tenant_id = $1";
    Ok(transaction.query_opt(sql, &[&tenant.0]).await?.as_ref().map(parse))
}

/// A page of instances in the order of their tenants' ids; of one tenant, if one is named.
pub(super) async fn list(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    after: Option<Uuid>,
    size: i64,
) -> Result<Vec<InstanceRow>, StoreError> {
    let rows = transaction
        .query(
            "SELECT tenant_id, cell, desired, observed FROM deploy.instances \
             WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::uuid IS NULL OR tenant_id > $2) \
             ORDER BY tenant_id LIMIT $3",
            &[&tenant.map(|tenant| tenant.0), &after, &size],
        )
        .await?;
    Ok(rows.iter().map(parse).collect())
}

/// How many instances there are. The transaction must see all of them.
pub async fn count(transaction: &Transaction) -> Result<i64, StoreError> {
    Ok(transaction.query_one("SELECT count(*) FROM deploy.instances", &[]).await?.get(0))
}

/// Adds a process for each of `services` that the instance does not have yet, on ports that nobody uses. The transaction
/// must see all instances. `None` if there is no such instance; an error of its own if no port is free.
pub async fn reserve_applications(
    transaction: &Transaction,
    tenant: TenantId,
    services: &[&str],
    ports: RangeInclusive<u16>,
) -> Result<Option<Desired>, StoreError> {
    // Ports are chosen one at a time.
    transaction.execute("SELECT pg_advisory_xact_lock(7245)", &[]).await?;
    let all = list(transaction, None, None, i64::MAX).await?;
    let taken: Vec<u16> = all.iter().flat_map(|row| &row.desired.applications).map(|own| own.port).collect();
    let Some(row) = all.into_iter().find(|row| row.tenant == tenant) else { return Ok(None) };
    let mut desired = row.desired;
    let mut free = ports.filter(|port| !taken.contains(port) && is_free(*port));
    for service in services {
        if !desired.applications.iter().any(|own| own.service == *service) {
            let port =
                free.next().ok_or(StoreError::Stored { what: "ports of instances (all are in use)" })?;
            desired.applications.push(Application { service: (*service).to_owned(), port });
        }
    }
    desire(transaction, tenant, &row.cell, &desired).await?;
    Ok(Some(desired))
}

/// Somebody outside of our records may listen there.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Where the gateway reaches tenants' own processes: tenant, service, address.
pub async fn upstreams(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(TenantId, String, String)>, StoreError> {
    let rows = list(transaction, tenant, None, i64::MAX).await?;
    let of = |row: InstanceRow| {
        let (tenant, desired) = (row.tenant, row.desired);
        let present = desired.applications.into_iter().filter(move |_| desired.present);
        present.map(move |own| (tenant, own.service.clone(), own.address()))
    };
    Ok(rows.into_iter().flat_map(of).collect())
}
