//! Where the fleet is: versions, who is behind and why, what has drifted.

use std::collections::BTreeMap;

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{StoreError, Transaction};
use rowhouse_tenantdb::doctor;

use crate::{Control, tenancy};

/// A schema with its place in the fleet.
#[derive(Debug, Clone)]
pub(super) struct Lying {
    pub cell: String,
    pub database: String,
    pub schema: String,
    /// Nothing for a shared one.
    pub tenant: Option<TenantId>,
    pub version: i32,
    /// Tenants whose rows are in it.
    pub tenants: i64,
    /// Why the last rollout did not bring it on.
    pub problem: Option<String>,
    pub drifted: bool,
}

/// Every schema of a service.
pub(super) async fn lying(transaction: &Transaction, service: &str) -> Result<Vec<Lying>, StoreError> {
    let rows = transaction
        .query(
            "SELECT i.cell, i.database, i.schema, i.tenant_id, i.version, \
                    CASE WHEN i.tenant_id IS NOT NULL THEN 1 ELSE \
                      (SELECT count(*) FROM tenancy.places p JOIN tenancy.tenants t ON t.tenant_id = p.tenant_id \
                        WHERE p.cell = i.cell AND p.database = i.database AND t.isolation = 'shared') END, \
                    (SELECT g.problem FROM tenancy.rollout_targets g JOIN tenancy.rollouts r ON r.rollout_id = g.rollout_id \
                      WHERE g.cell = i.cell AND g.database = i.database AND g.schema = i.schema AND r.service = i.service \
                        AND g.problem IS NOT NULL ORDER BY r.created_at DESC LIMIT 1), \
                    EXISTS (SELECT FROM tenancy.findings f WHERE f.cell = i.cell AND f.database = i.database \
                              AND f.code = 'D27' AND f.object = i.schema) \
             FROM tenancy.installations i WHERE i.service = $1 ORDER BY i.version, i.tenant_id NULLS FIRST, i.cell",
            &[&service],
        )
        .await?;
    let lying = |row: &tokio_postgres::Row| Lying {
        cell: row.get(0),
        database: row.get(1),
        schema: row.get(2),
        tenant: row.get::<_, Option<uuid::Uuid>>(3).map(TenantId),
        version: row.get(4),
        tenants: row.get(5),
        problem: row.get(6),
        drifted: row.get(7),
    };
    Ok(rows.iter().map(lying).collect())
}

/// Tenants by version.
pub(super) fn versions(lying: &[Lying]) -> BTreeMap<String, i64> {
    let mut versions = BTreeMap::new();
    for one in lying {
        *versions.entry(one.version.to_string()).or_default() += one.tenants;
    }
    versions
}

/// Looks now which schemas are not what was installed in them. Databases that are away are named.
///
/// # Errors
/// If the control database is away.
pub(super) async fn drift(
    control: &Control,
    permit: &Permit,
    service: &str,
) -> Result<(Vec<Lying>, usize, Vec<String>), Refusal> {
    let transaction = control.store.read(permit).await?;
    let all = lying(&transaction, service).await?;
    let mut databases = BTreeMap::new();
    for one in &all {
        let cell = tenancy::cells::get(&transaction, &one.cell).await?;
        databases.insert((one.cell.clone(), one.database.clone()), cell);
    }
    transaction.finish().await?;
    let mut drifted = Vec::new();
    let mut away = Vec::new();
    for ((name, database), cell) in databases {
        let found = match &cell {
            Some(cell) => doctor::drifted(cell, &database, Some(service)).await,
            None => {
                away.push(format!("{name}/{database}"));
                continue;
            }
        };
        match found {
            Ok(schemas) => drifted.extend(
                all.iter()
                    .filter(|one| {
                        one.cell == name && one.database == database && schemas.contains(&one.schema)
                    })
                    .cloned(),
            ),
            Err(error) => {
                tracing::warn!(cell = name, database, %error, "a database cannot be compared");
                away.push(format!("{name}/{database}"));
            }
        }
    }
    Ok((drifted, all.len(), away))
}
