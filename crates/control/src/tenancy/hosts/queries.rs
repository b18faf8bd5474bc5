//! The statements about hosts.

use rowhouse_domain::id::{HostId, TenantId};
use rowhouse_domain::tenancy::hosts::{HostState, Standing};
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;

use super::record::HostRow;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT host_id, tenant_id, name, state, since, failures, failing_since, vouched_by, verified_at, checked_at, \
             last_problem, created_at FROM tenancy.hosts ",
            $rest
        )
    };
}

fn parse(row: &Row) -> Result<HostRow, StoreError> {
    let stored = |what| StoreError::Stored { what };
    let us = |at: jiff::Timestamp| at.as_microsecond();
    Ok(HostRow {
        id: HostId(row.get(0)),
        tenant: TenantId(row.get(1)),
        name: row.get(2),
        standing: Standing {
            state: HostState::parse(row.get(3)).ok_or(stored("the state of a host"))?,
            since_us: us(row.get(4)),
            failures: u32::try_from(row.get::<_, i32>(5)).map_err(|_| stored("the failures of a host"))?,
            failing_since_us: row.get::<_, Option<jiff::Timestamp>>(6).map(us),
        },
        vouched_by: row.get(7),
        verified_at: row.get(8),
        checked_at: row.get(9),
        last_problem: row.get(10),
        created_at: row.get(11),
    })
}

/// Names that lead to a tenant: all, or one tenant's.
pub async fn load_hosts(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(String, TenantId)>, StoreError> {
    let tenant = tenant.map(|tenant| tenant.0);
    let rows = transaction
        .query(
            "SELECT name, tenant_id FROM tenancy.hosts WHERE ($1::uuid IS NULL OR tenant_id = $1) \
             AND state IN ('verified', 'active', 'failing')",
            &[&tenant],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), TenantId(row.get(1)))).collect())
}

/// The tenant that a name leads to. The transaction must see the platform.
pub async fn tenant_of(transaction: &Transaction, name: &str) -> Result<Option<TenantId>, StoreError> {
    let sql =
        "SELECT tenant_id FROM tenancy.hosts WHERE name = $1 AND state IN ('verified', 'active', 'failing')";
    Ok(transaction.query_opt(sql, &[&name]).await?.map(|row| TenantId(row.get(0))))
}

pub(super) async fn list(
    transaction: &Transaction,
    after: HostId,
    tenant: Option<TenantId>,
    limit: i64,
) -> Result<Vec<HostRow>, StoreError> {
    let sql =
        select!("WHERE host_id > $1 AND ($2::uuid IS NULL OR tenant_id = $2) ORDER BY host_id LIMIT $3");
    let rows = transaction.query(sql, &[&after.0, &tenant.map(|tenant| tenant.0), &limit]).await?;
    rows.iter().map(parse).collect()
}

pub(super) async fn find(transaction: &Transaction, id: HostId) -> Result<Option<HostRow>, StoreError> {
    let row = transaction.query_opt(select!("WHERE host_id = $1"), &[&id.0]).await?;
    row.as_ref().map(parse).transpose()
}

pub(super) async fn lock(transaction: &Transaction, id: HostId) -> Result<Option<HostRow>, StoreError> {
    let row = transaction.query_opt(select!("WHERE host_id = $1 FOR UPDATE"), &[&id.0]).await?;
    row.as_ref().map(parse).transpose()
}

/// A tenant's own claim on or hold of a name, held until the transaction ends.
pub(super) async fn lock_own(
    transaction: &Transaction,
    tenant: TenantId,
    name: &str,
) -> Result<Option<HostRow>, StoreError> {
    let sql = select!("WHERE tenant_id = $1 AND name = $2 FOR UPDATE");
    let row = transaction.query_opt(sql, &[&tenant.0, &name]).await?;
    row.as_ref().map(parse).transpose()
}

/// Whoever holds a name, in a transaction that sees all tenants.
pub(super) async fn holder(transaction: &Transaction, name: &str) -> Result<Option<HostRow>, StoreError> {
    let row = transaction.query_opt(select!("WHERE name = $1 AND state <> 'pending'"), &[&name]).await?;
    row.as_ref().map(parse).transpose()
}

/// How many names a tenant has claimed or holds. Its claims wait for each other until the transaction ends.
pub(super) async fn count(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    let lock = "SELECT pg_advisory_xact_lock(7245, hashtext($1::uuid::text))";
    transaction.execute(lock, &[&tenant.0]).await?;
    let sql = "SELECT count(*) FROM tenancy.hosts WHERE tenant_id = $1 AND state <> 'quarantined'";
    Ok(transaction.query_one(sql, &[&tenant.0]).await?.get(0))
}

fn time(us: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(us).expect("clocks stay within years 0 to 9999")
}

/// Enters a name, or brings a row of the tenant's to `host`. Fails with the constraint `hosts_held_key` if another
/// tenant holds the name.
pub(super) async fn put(transaction: &Transaction, host: &HostRow) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO tenancy.hosts (host_id, tenant_id, name, state, since, failures, failing_since, vouched_by, \
               verified_at, checked_at, last_problem, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
             ON CONFLICT (host_id) DO UPDATE SET state = excluded.state, since = excluded.since, \
               failures = excluded.failures, failing_since = excluded.failing_since, vouched_by = excluded.vouched_by, \
               verified_at = excluded.verified_at, checked_at = excluded.checked_at, last_problem = excluded.last_problem",
            &[
                &host.id.0,
                &host.tenant.0,
                &host.name,
                &host.standing.state.as_str(),
                &time(host.standing.since_us),
                &i32::try_from(host.standing.failures).unwrap_or(i32::MAX),
                &host.standing.failing_since_us.map(time),
                &host.vouched_by,
                &host.verified_at,
                &host.checked_at,
                &host.last_problem,
                &host.created_at,
            ],
        )
        .await
        .map(drop)
}

pub(super) async fn delete(transaction: &Transaction, id: HostId) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM tenancy.hosts WHERE host_id = $1", &[&id.0]).await.map(drop)
}

/// Proven names that were not looked at since `before_us`, the longest unseen first.
pub(super) async fn due(
    transaction: &Transaction,
    before_us: i64,
    limit: i64,
) -> Result<Vec<HostRow>, StoreError> {
    let sql = select!(
        "WHERE state IN ('verified', 'failing') AND checked_at <= $1 ORDER BY checked_at, host_id LIMIT $2"
    );
    let rows = transaction.query(sql, &[&time(before_us), &limit]).await?;
    rows.iter().map(parse).collect()
}

/// Names whose time in quarantine began before `before_us`.
pub(super) async fn released(transaction: &Transaction, before_us: i64) -> Result<Vec<HostRow>, StoreError> {
    let sql = select!("WHERE state = 'quarantined' AND since <= $1 ORDER BY since LIMIT 1000");
    let rows = transaction.query(sql, &[&time(before_us)]).await?;
    rows.iter().map(parse).collect()
}

/// Puts all domains of a tenant that leaves into quarantine; claims that were never proven go. How many were held.
pub async fn quarantine_all(transaction: &Transaction, tenant: TenantId) -> Result<u64, StoreError> {
    let now = transaction.store().clock().now();
    let claims = "DELETE FROM tenancy.hosts WHERE tenant_id = $1 AND state = 'pending'";
    transaction.execute(claims, &[&tenant.0]).await?;
    let sql = "UPDATE tenancy.hosts SET state = 'quarantined', since = $2 WHERE tenant_id = $1 AND state <> 'quarantined'";
    transaction.execute(sql, &[&tenant.0, &now]).await
}
