//! Rows of the things that services have registered.

use jiff::Timestamp;
use rowhouse_domain::access::{Resource, ResourceName};
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

fn resource(row: &Row, from: usize) -> Resource {
    let parent = row
        .get::<_, Option<String>>(from + 2)
        .zip(row.get(from + 3))
        .map(|(kind, id)| ResourceName { kind, id });
    let attributes = row.get::<_, Value>(from + 4).as_object().cloned().unwrap_or_default();
    Resource { name: ResourceName { kind: row.get(from), id: row.get(from + 1) }, parent, attributes }
}

/// The things of these tenants that something holds, or of which something is known.
pub(super) async fn load_held(
    transaction: &Transaction,
    tenants: &[Uuid],
) -> Result<Vec<(TenantId, Resource)>, StoreError> {
    let rows = transaction
        .query(
            "SELECT tenant_id, type, resource_id, parent_type, parent_id, attributes FROM access.resources \
             WHERE tenant_id = ANY($1) AND (parent_type IS NOT NULL OR attributes <> '{}')",
            &[&tenants],
        )
        .await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), resource(row, 1))).collect())
}

/// A thing and what holds it, inside out, at most 18 of them. Things that are not registered end it.
pub(super) async fn chain(
    transaction: &Transaction,
    tenant: TenantId,
    name: &ResourceName,
) -> Result<Vec<Resource>, StoreError> {
    let rows = transaction
        .query(
            "WITH RECURSIVE up AS ( \
               SELECT type, resource_id, parent_type, parent_id, attributes, 1 AS hop FROM access.resources \
               WHERE tenant_id = $1 AND type = $2 AND resource_id = $3 \
               UNION ALL \
               SELECT r.type, r.resource_id, r.parent_type, r.parent_id, r.attributes, up.hop + 1 FROM up \
               JOIN access.resources r ON r.tenant_id = $1 AND r.type = up.parent_type \
                 AND r.resource_id = up.parent_id \
               WHERE up.hop < 18 \
             ) SELECT type, resource_id, parent_type, parent_id, attributes FROM up ORDER BY hop",
            &[&tenant.0, &name.kind, &name.id],
        )
        .await?;
    Ok(rows.iter().map(|row| resource(row, 0)).collect())
}

/// How deep the things below one lie, at most 18 links.
pub(super) async fn depth_below(
    transaction: &Transaction,
    tenant: TenantId,
    name: &ResourceName,
) -> Result<i32, StoreError> {
    let row = transaction
        .query_one(
            "WITH RECURSIVE down AS ( \
               SELECT $2::text AS type, $3::text AS resource_id, 0 AS hop \
               UNION \
               SELECT r.type, r.resource_id, down.hop + 1 FROM down \
               JOIN access.resources r ON r.tenant_id = $1 AND r.parent_type = down.type \
                 AND r.parent_id = down.resource_id \
               WHERE down.hop < 18 \
             ) SELECT coalesce(max(hop), 0) FROM down",
            &[&tenant.0, &name.kind, &name.id],
        )
        .await?;
    Ok(row.get(0))
}

/// One thing, if it is registered.
pub(super) async fn one(
    transaction: &Transaction,
    tenant: TenantId,
    name: &ResourceName,
) -> Result<Option<Resource>, StoreError> {
    let row = transaction
        .query_opt(
            "SELECT type, resource_id, parent_type, parent_id, attributes FROM access.resources \
             WHERE tenant_id = $1 AND type = $2 AND resource_id = $3",
            &[&tenant.0, &name.kind, &name.id],
        )
        .await?;
    Ok(row.as_ref().map(|row| resource(row, 0)))
}

/// At most `limit` things of a type after `after`, in the order of their ids.
pub(super) async fn list(
    transaction: &Transaction,
    (tenant, kind, after): (TenantId, &str, Option<&str>),
    limit: i64,
) -> Result<Vec<Resource>, StoreError> {
    let rows = transaction
        .query(
            "SELECT type, resource_id, parent_type, parent_id, attributes FROM access.resources \
             WHERE tenant_id = $1 AND type = $2 AND ($3::text IS NULL OR resource_id > $3 COLLATE \"C\") \
             ORDER BY resource_id COLLATE \"C\" LIMIT $4",
            &[&tenant.0, &kind, &after, &limit],
        )
        .await?;
    Ok(rows.iter().map(|row| resource(row, 0)).collect())
}

/// How many things a tenant has registered.
pub(super) async fn count(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    let row = transaction
        .query_one("SELECT count(*) FROM access.resources WHERE tenant_id = $1", &[&tenant.0])
        .await?;
    Ok(row.get(0))
}

/// Registers a thing, or what holds it now.
pub(super) async fn put(
    transaction: &Transaction,
    tenant: TenantId,
    (resource, now): (&Resource, Timestamp),
) -> Result<(), StoreError> {
    let Resource { name, parent, attributes } = resource;
    let attributes = Value::Object(attributes.clone());
    let kind = parent.as_ref().map(|parent| parent.kind.as_str());
    let id = parent.as_ref().map(|parent| parent.id.as_str());
    transaction
        .execute(
            "INSERT INTO access.resources (tenant_id, type, resource_id, parent_type, parent_id, updated_at, attributes) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT ON CONSTRAINT resources_pkey DO UPDATE SET \
             parent_type = $4, parent_id = $5, updated_at = $6, attributes = $7",
            &[&tenant.0, &name.kind, &name.id, &kind, &id, &now, &attributes],
        )
        .await
        .map(drop)
}

/// Forgets a thing.
pub(super) async fn remove(
    transaction: &Transaction,
    tenant: TenantId,
    name: &ResourceName,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "DELETE FROM access.resources WHERE tenant_id = $1 AND type = $2 AND resource_id = $3",
            &[&tenant.0, &name.kind, &name.id],
        )
        .await
        .map(drop)
}
