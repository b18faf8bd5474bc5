//! Rows of grants and of access versions.

use jiff::Timestamp;
use rowhouse_domain::access::{
    Condition, Grant, GrantEffect, GrantTarget, Holder, Interval, Principal, ResourceName,
};
use rowhouse_domain::id::{GrantId, TenantId};
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::api::stored_kind;

/// A grant with who gave it and why.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantRow {
    /// Its id.
    pub id: GrantId,
    /// In which tenant.
    pub tenant: TenantId,
    /// What it says.
    pub definition: Grant,
    /// Which of the tenant's own roles it gives; `None` for one of the catalogue.
    pub role_id: Option<Uuid>,
    /// Why it was given.
    pub reason: String,
    /// Who gave it.
    pub granted_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was taken back.
    pub removed_at: Option<Timestamp>,
}

const STORED: StoreError = StoreError::Stored { what: "a grant" };

/// The kind of a holder as it is stored.
pub(super) fn holder_kind(holder: Holder) -> &'static str {
    match holder {
        Holder::Principal(principal) => principal.kind.as_str(),
        Holder::Group(_) => "group",
        Holder::Everyone => "everyone",
    }
}

/// Its id; nil for everyone.
pub(super) fn holder_id(holder: Holder) -> Uuid {
    match holder {
        Holder::Principal(principal) => principal.id,
        Holder::Group(id) => id,
        Holder::Everyone => Uuid::nil(),
    }
}

/// The holder that is stored so.
pub(super) fn stored_holder(kind: &str, id: Uuid) -> Option<Holder> {
    match kind {
        "group" => Some(Holder::Group(id)),
        "everyone" => Some(Holder::Everyone),
        kind => stored_kind(kind).map(|kind| Holder::Principal(Principal { kind, id })),
    }
}

/// An end of an interval as it is stored.
pub(super) fn bound(us: i64) -> Option<Timestamp> {
    let end = |us: &i64| !matches!(*us, i64::MIN | i64::MAX);
    Some(us).filter(end).map(|us| Timestamp::from_microsecond(us).expect("it was made from a timestamp"))
}

/// A condition that cannot be read (any more) is kept: it lets nobody in and keeps nobody out of a denial.
fn condition(text: Option<String>, parameters: Option<Value>) -> Option<Condition> {
    let parameters = parameters.and_then(|all| all.as_object().cloned()).unwrap_or_default();
    text.map(|text| Condition::new(&text, parameters))
}

fn definition(row: &Row, from: usize) -> Result<Grant, StoreError> {
    let effect = match row.get(from + 3) {
        "allow" => GrantEffect::Allow,
        "deny" => GrantEffect::Deny,
        _ => return Err(STORED),
    };
    let (role, permission): (Option<String>, Option<String>) = (row.get(from + 4), row.get(from + 5));
    let role = role.map(GrantTarget::Role);
    let target = role.or_else(|| permission.map(GrantTarget::Permission)).ok_or(STORED)?;
    let time = |at: usize| row.get::<_, Option<Timestamp>>(at).map(|time| time.as_microsecond());
    let (kind, id): (Option<String>, Option<String>) = (row.get(from + 8), row.get(from + 9));
    Ok(Grant {
        id: row.get(from),
        holder: stored_holder(row.get(from + 1), row.get(from + 2)).ok_or(STORED)?,
        effect,
        target,
        resource: kind.zip(id).map(|(kind, id)| ResourceName { kind, id }),
        interval: Interval::new(time(from + 6), time(from + 7)),
        condition: condition(row.get(from + 10), row.get(from + 11)),
    })
}

/// Grants that were not taken back, of one tenant or of all; expired ones too. Those of roles that a tenant had and has not
/// any more are left out, also when it has another of that name. With each, whether it gives a role of the tenant's own.
pub async fn load_grants(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(TenantId, Grant, bool)>, StoreError> {
    let rows = match tenant {
        Some(tenant) => {
            transaction
                .query(
                    "SELECT g.tenant_id, g.role_id, g.grant_id, g.principal_kind, g.principal_id, g.effect, g.role, \
                     g.permission, g.valid_from, g.valid_until, g.resource_type, g.resource_id, g.condition, g.parameters \
                     FROM access.grants g LEFT JOIN access.tenant_roles r \
                       ON r.tenant_id = g.tenant_id AND r.name = g.role AND r.role_id = g.role_id \
                     WHERE g.removed_at IS NULL AND g.role_id IS NOT DISTINCT FROM r.role_id \
                       AND g.tenant_id = $1 ORDER BY g.grant_id",
                    &[&tenant.0],
                )
                .await?
        }
        None => {
            transaction
                .query(
                    "SELECT g.tenant_id, g.role_id, g.grant_id, g.principal_kind, g.principal_id, g.effect, g.role, \
                     g.permission, g.valid_from, g.valid_until, g.resource_type, g.resource_id, g.condition, g.parameters \
                     FROM access.grants g LEFT JOIN access.tenant_roles r \
                       ON r.tenant_id = g.tenant_id AND r.name = g.role AND r.role_id = g.role_id \
                     WHERE g.removed_at IS NULL AND g.role_id IS NOT DISTINCT FROM r.role_id \
                     ORDER BY g.tenant_id, g.grant_id",
                    &[],
                )
                .await?
        }
    };
    let read = |row: &Row| {
        let own = row.get::<_, Option<Uuid>>(1).is_some();
        Ok((TenantId(row.get(0)), definition(row, 2)?, own))
    };
    rows.iter().map(read).collect()
}

/// Names of the roles that people have on their whole tenants, by tenant and person; not what is denied, over, or a group's.
/// The transaction must see the tenants.
///
/// # Errors
/// If the database fails.
pub async fn roles_of_people(
    transaction: &Transaction,
    (tenants, people): (&[Uuid], &[Uuid]),
    now: Timestamp,
) -> Result<Vec<(TenantId, Uuid, String)>, StoreError> {
    let sql = "SELECT g.tenant_id, g.principal_id, g.role FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, user_id) \
               JOIN access.grants g ON g.tenant_id = wanted.tenant_id AND g.principal_id = wanted.user_id \
               LEFT JOIN access.tenant_roles r \
                 ON r.tenant_id = g.tenant_id AND r.name = g.role AND r.role_id = g.role_id \
               WHERE g.removed_at IS NULL AND g.principal_kind = 'user' AND g.effect = 'allow' AND g.role IS NOT NULL \
                 AND g.resource_type IS NULL AND g.role_id IS NOT DISTINCT FROM r.role_id \
                 AND (g.valid_until IS NULL OR g.valid_until > $3) ORDER BY g.grant_id";
    let rows = transaction.query(sql, &[&tenants, &people, &now]).await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), row.get(1), row.get(2))).collect())
}

/// Access versions of one tenant or of all; a tenant that never had a grant is not there.
pub async fn load_versions(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(TenantId, u64)>, StoreError> {
    let rows = match tenant {
        Some(tenant) => {
            transaction
                .query("SELECT tenant_id, version FROM access.versions WHERE tenant_id = $1", &[&tenant.0])
                .await?
        }
        None => transaction.query("SELECT tenant_id, version FROM access.versions", &[]).await?,
    };
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), row.get::<_, i64>(1) as u64)).collect())
}

fn grant(row: &Row) -> Result<GrantRow, StoreError> {
    Ok(GrantRow {
        id: GrantId(row.get(0)),
        tenant: TenantId(row.get(12)),
        definition: definition(row, 0)?,
        role_id: row.get(13),
        reason: row.get(14),
        granted_by: row.get(15),
        created_at: row.get(16),
        removed_at: row.get(17),
    })
}

/// Which grants a list is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub tenant: Option<Uuid>,
    pub principal: Option<Uuid>,
    pub role: Option<String>,
    pub resource: Option<ResourceName>,
    pub after: Option<Uuid>,
}

/// At most `limit` grants that were not taken back, in the order of their ids.
pub(super) async fn list(tx: &Transaction, filter: &Filter, limit: i64) -> Result<Vec<GrantRow>, StoreError> {
    let kind = filter.resource.as_ref().map(|name| name.kind.as_str());
    let id = filter.resource.as_ref().map(|name| name.id.as_str());
    let rows = tx
        .query(
            "SELECT grant_id, principal_kind, principal_id, effect, role, permission, valid_from, valid_until, \
             resource_type, resource_id, condition, parameters, tenant_id, role_id, reason, granted_by, created_at, \
             removed_at \
             FROM access.grants \
             WHERE removed_at IS NULL \
               AND ($1::uuid IS NULL OR tenant_id = $1) \
               AND ($2::uuid IS NULL OR principal_id = $2) \
               AND ($3::uuid IS NULL OR grant_id > $3) \
               AND ($4::text IS NULL OR role = $4) \
               AND ($5::text IS NULL OR resource_type = $5 AND resource_id = $6) \
             ORDER BY grant_id LIMIT $7",
            &[&filter.tenant, &filter.principal, &filter.after, &filter.role, &kind, &id, &limit],
        )
        .await?;
    rows.iter().map(grant).collect()
}

/// What one principal of a tenant was granted itself and still has, expired or not.
pub async fn grants_of(
    transaction: &Transaction,
    tenant: TenantId,
    principal: Uuid,
) -> Result<Vec<(GrantId, Grant)>, StoreError> {
    let filter = Filter { tenant: Some(tenant.0), principal: Some(principal), ..Filter::default() };
    let rows = list(transaction, &filter, i64::from(i32::MAX)).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.definition)).collect())
}

/// One grant, taken back or not.
pub(super) async fn one(transaction: &Transaction, id: GrantId) -> Result<Option<GrantRow>, StoreError> {
    let row = transaction
        .query_opt(
            "SELECT grant_id, principal_kind, principal_id, effect, role, permission, valid_from, valid_until, \
             resource_type, resource_id, condition, parameters, tenant_id, role_id, reason, granted_by, created_at, \
             removed_at \
             FROM access.grants WHERE grant_id = $1",
            &[&id.0],
        )
        .await?;
    row.as_ref().map(grant).transpose()
}

/// How many grants that were not taken back a holder has, and how many of the tenant are about single things.
pub(super) async fn count(
    transaction: &Transaction,
    tenant: TenantId,
    holder: Holder,
) -> Result<(i64, i64), StoreError> {
    let row = transaction
        .query_one(
            "SELECT (SELECT count(*) FROM access.grants WHERE tenant_id = $1 AND principal_id = $2 \
                     AND principal_kind = $3 AND removed_at IS NULL AND resource_type IS NULL), \
                    (SELECT count(*) FROM access.grants WHERE tenant_id = $1 AND removed_at IS NULL \
                     AND resource_type IS NOT NULL)",
            &[&tenant.0, &holder_id(holder), &holder_kind(holder)],
        )
        .await?;
    Ok((row.get(0), row.get(1)))
}

/// Stores a grant.
pub(super) async fn insert(transaction: &Transaction, grant: &GrantRow) -> Result<(), StoreError> {
    let definition = &grant.definition;
    let (role, permission) = match &definition.target {
        GrantTarget::Role(role) => (Some(role), None),
        GrantTarget::Permission(permission) => (None, Some(permission)),
    };
    let kind = definition.resource.as_ref().map(|name| name.kind.as_str());
    let id = definition.resource.as_ref().map(|name| name.id.as_str());
    let condition = definition.condition.as_ref().map(Condition::text);
    let parameters = definition.condition.as_ref().map(|own| Value::Object(own.parameters().clone()));
    transaction
        .execute(
            "INSERT INTO access.grants (grant_id, tenant_id, principal_kind, principal_id, effect, role, \
             permission, valid_from, valid_until, reason, granted_by, created_at, resource_type, resource_id, \
             role_id, condition, parameters) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
            &[
                &grant.id.0,
                &grant.tenant.0,
                &holder_kind(definition.holder),
                &holder_id(definition.holder),
                &definition.effect.as_str(),
                &role,
                &permission,
                &bound(definition.interval.from_us),
                &bound(definition.interval.until_us),
                &grant.reason,
                &grant.granted_by,
                &grant.created_at,
                &kind,
                &id,
                &grant.role_id,
                &condition,
                &parameters,
            ],
        )
        .await
        .map(drop)
}

/// Takes a grant back; false if it was taken back before.
pub(super) async fn remove(tx: &Transaction, id: GrantId, now: Timestamp) -> Result<bool, StoreError> {
    let touched = tx
        .execute(
            "UPDATE access.grants SET removed_at = $2 WHERE grant_id = $1 AND removed_at IS NULL",
            &[&id.0, &now],
        )
        .await?;
    Ok(touched == 1)
}

/// Raises the tenant's access version and returns it. Until it commits, the operator declares nothing that is kept apart in every
/// tenant ([`take_all`]): who changes access and who looks at everybody's wait for each other.
pub(super) async fn raise_version(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    let row = transaction
        .query_one(
            "INSERT INTO access.versions (tenant_id, version) VALUES ($1, 1) \
             ON CONFLICT ON CONSTRAINT versions_pkey DO UPDATE SET version = versions.version + 1 \
             RETURNING version, pg_advisory_xact_lock_shared(7241, 25)::text",
            &[&tenant.0],
        )
        .await?;
    Ok(row.get(0))
}

/// Waits for every running change of anybody's access, and lets none begin until the end of the transaction.
pub(super) async fn take_all(transaction: &Transaction) -> Result<(), StoreError> {
    transaction.query_one("SELECT pg_advisory_xact_lock(7241, 25)::text", &[]).await.map(drop)
}
