//! Rows and SQL of the tenants themselves. Cells, places and tables have theirs beside them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::{Isolation, Status, SuspensionMode};
use rowhouse_store::{StoreError, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::tombstones;

/// What the directory needs of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantRow {
    /// Its id.
    pub id: TenantId,
    /// Its code.
    pub code: String,
    /// Its name.
    pub company_name: String,
    /// Its tier.
    pub tier: String,
    /// Its level.
    pub isolation: Isolation,
    /// Its home region.
    pub region: String,
    /// Its status.
    pub status: Status,
    /// The status before a migration.
    pub status_before: Option<Status>,
    /// What a suspension leaves open.
    pub suspension_mode: Option<SuspensionMode>,
    /// Meter → decimal string or `unlimited`, over the tier's.
    pub quota_overrides: BTreeMap<String, String>,
    /// Raised with each change.
    pub version: i64,
}

/// Why a tenant is suspended, by whom and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// `blocked` or `read_only`.
    #[schema(value_type = String)]
    pub mode: SuspensionMode,
    /// In words.
    pub reason: String,
    /// `operator`, `billing`, `security` or `tenant`.
    pub cause: String,
    /// The principal.
    pub by: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Who has asked for its end, where one person's word is not enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_asked: Option<ResumeAsked>,
}

/// A first person's wish to end a suspension that only two may end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeAsked {
    /// The principal.
    pub by: String,
    /// In words.
    pub reason: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
}

/// Everything about a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantRecord {
    /// What the directory needs.
    pub tenant: TenantRow,
    /// The running suspension.
    pub suspension: Option<Suspension>,
    /// Whom bills go to.
    pub billing_contact: Value,
    /// The operator's own.
    pub metadata: Value,
    /// The principal.
    pub created_by: String,
    /// When its provisioning began.
    pub created_at: Timestamp,
    /// When it was first served.
    pub activated_at: Option<Timestamp>,
    /// Since when it is suspended.
    pub suspended_at: Option<Timestamp>,
    /// When it ended.
    pub terminated_at: Option<Timestamp>,
    /// The last change.
    pub updated_at: Timestamp,
    /// Regions or zones that narrow where its bytes may rest; empty: no narrowing.
    pub residency: Vec<String>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT tenant_id, code, company_name, tier, isolation, region, status, status_before, suspension, \
             quota_overrides, version, billing_contact, metadata, created_by, created_at, activated_at, suspended_at, \
             terminated_at, updated_at, residency FROM tenancy.tenants ",
            $rest
        )
    };
}

fn stored<T>(value: Option<T>, what: &'static str) -> Result<T, StoreError> {
    value.ok_or(StoreError::Stored { what })
}

fn record(row: &Row) -> Result<TenantRecord, StoreError> {
    let suspension = row.get::<_, Option<Json<Suspension>>>(8).map(|json| json.0);
    let before = row.get::<_, Option<&str>>(7);
    let tenant = TenantRow {
        id: TenantId(row.get(0)),
        code: row.get(1),
        company_name: row.get(2),
        tier: row.get(3),
        isolation: stored(Isolation::parse(row.get(4)), "a tenant's isolation")?,
        region: row.get(5),
        status: stored(Status::parse(row.get(6)), "a tenant's status")?,
        status_before: before.map(|word| stored(Status::parse(word), "a tenant's status")).transpose()?,
        suspension_mode: suspension.as_ref().map(|suspension| suspension.mode),
        quota_overrides: row.get::<_, Json<_>>(9).0,
        version: row.get(10),
    };
    Ok(TenantRecord {
        tenant,
        suspension,
        billing_contact: row.get(11),
        metadata: row.get(12),
        created_by: row.get(13),
        created_at: row.get(14),
        activated_at: row.get(15),
        suspended_at: row.get(16),
        terminated_at: row.get(17),
        updated_at: row.get(18),
        residency: row.get(19),
    })
}

/// All tenants that the transaction sees, or the one.
pub async fn load_tenants(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<TenantRow>, StoreError> {
    let sql = select!("WHERE $1::uuid IS NULL OR tenant_id = $1 ORDER BY tenant_id");
    let rows = transaction.query(sql, &[&tenant.map(|tenant| tenant.0)]).await?;
    rows.iter().map(|row| Ok(record(row)?.tenant)).collect()
}

/// One tenant.
pub async fn get(transaction: &Transaction, tenant: TenantId) -> Result<Option<TenantRecord>, StoreError> {
    let row = transaction.query_opt(select!("WHERE tenant_id = $1"), &[&tenant.0]).await?;
    row.as_ref().map(record).transpose()
}

/// One tenant, which nobody else changes until the transaction ends. Who only writes a row about it (`tenancy.drop_late_row`) does not wait for
/// that, who begins its erasure does.
pub async fn lock(transaction: &Transaction, tenant: TenantId) -> Result<Option<TenantRecord>, StoreError> {
    let sql = select!("WHERE tenant_id = $1 FOR NO KEY UPDATE");
    let row = transaction.query_opt(sql, &[&tenant.0]).await?;
    row.as_ref().map(record).transpose()
}

/// The tenant with this id or code.
pub async fn find(transaction: &Transaction, name: &str) -> Result<Option<TenantId>, StoreError> {
    let id = name.parse::<TenantId>().ok().map(|id| id.0);
    let sql = "SELECT tenant_id FROM tenancy.tenants WHERE tenant_id = $1 OR code = $2";
    match transaction.query_opt(sql, &[&id, &name]).await? {
        Some(row) => Ok(Some(TenantId(row.get(0)))),
        // The operator finds who had the code, for its certificate.
        None => match tombstones::find(transaction, name).await? {
            Some(gone) => Ok(get(transaction, gone).await?.map(|record| record.tenant.id)),
            None => Ok(None),
        },
    }
}

/// Which tenants to list; an absent filter lets all through.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    /// Any of these.
    pub status: Option<Vec<String>>,
    /// Any of these.
    pub tier: Option<Vec<String>>,
    /// Any of these.
    pub isolation: Option<Vec<String>>,
    /// Any of these.
    pub region: Option<Vec<String>>,
    /// Within code or name, whatever the case.
    pub text: Option<String>,
}

/// A page of customers in the order of their ids, which is that of their making: the operator's own tenant is none.
pub async fn list(
    transaction: &Transaction,
    filter: &Filter,
    after: Option<Uuid>,
    size: i64,
) -> Result<Vec<TenantRecord>, StoreError> {
    let sql = select!(
        "WHERE tenant_id <> '00000000-0000-0000-0000-000000000001' \
           AND ($1::uuid IS NULL OR tenant_id > $1) \
           AND ($2::text[] IS NULL OR status = ANY ($2)) \
           AND ($3::text[] IS NULL OR tier = ANY ($3)) \
           AND ($4::text[] IS NULL OR isolation = ANY ($4)) \
           AND ($5::text[] IS NULL OR region = ANY ($5)) \
           AND ($6::text IS NULL OR strpos(lower(code || ' ' || company_name), lower($6)) > 0) \
         ORDER BY tenant_id LIMIT $7"
    );
    let Filter { status, tier, isolation, region, text } = filter;
    let rows = transaction.query(sql, &[&after, status, tier, isolation, region, text, &size]).await?;
    rows.iter().map(record).collect()
}

/// A tenant that is to be.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// A fresh UUIDv7.
    pub id: TenantId,
    /// Checked.
    pub code: String,
    /// Its name.
    pub company_name: String,
    /// A stored tier.
    pub tier: String,
    /// A level that the tier allows.
    pub isolation: Isolation,
    /// Its home region.
    pub region: String,
    /// Whom bills go to.
    pub billing_contact: Value,
    /// The operator's own.
    pub metadata: Value,
    /// The principal.
    pub created_by: String,
}

/// Enters a tenant as `provisioning`; whether its code was free: else the transaction is to be rolled back. The code of one
/// that failed, and so was never served, is free again; that of one that has left never is.
pub async fn insert(transaction: &Transaction, new: &NewTenant) -> Result<bool, StoreError> {
    let now = transaction.store().clock().now();
    transaction
        .execute(
            "UPDATE tenancy.tenants SET code = 'failed-' || tenant_id \
             WHERE code = $1 AND status = 'failed' AND activated_at IS NULL",
            &[&new.code],
        )
        .await?;
    let inserted = transaction
        .execute(
            "INSERT INTO tenancy.tenants (tenant_id, code, company_name, tier, isolation, region, status, billing_contact, \
               metadata, created_by, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, 'provisioning', $7, $8, $9, $10, $10) \
             ON CONFLICT (code) DO NOTHING",
            &[
                &new.id.0,
                &new.code,
                &new.company_name,
                &new.tier,
                &new.isolation.as_str(),
                &new.region,
                &new.billing_contact,
                &new.metadata,
                &new.created_by,
                &now,
            ],
        )
        .await?;
    // Asked last: a tenant that leaves just now gives its code to the tombstone in the transaction that frees it.
    Ok(inserted == 1 && !tombstones::is_taken(transaction, &new.code).await?)
}

/// Changes the status; the caller has locked the row and asked `Status::may_become`.
pub async fn set_status(
    transaction: &Transaction,
    tenant: TenantId,
    status: Status,
    suspension: Option<&Suspension>,
) -> Result<(), StoreError> {
    let now = transaction.store().clock().now();
    transaction
        .execute(
            "UPDATE tenancy.tenants SET status = $2, suspension = $3, suspended_at = $4, \
               activated_at = CASE WHEN $2 = 'active' THEN coalesce(activated_at, $5) ELSE activated_at END, \
               updated_at = $5, version = version + 1 \
             WHERE tenant_id = $1",
            &[
                &tenant.0,
                &status.as_str(),
                &suspension.map(Json),
                &suspension.map(|suspension| suspension.at),
                &now,
            ],
        )
        .await?;
    Ok(())
}

/// Puts a tenant on another tier; the caller has locked the row.
pub async fn set_tier(transaction: &Transaction, tenant: TenantId, tier: &str) -> Result<(), StoreError> {
    let now = transaction.store().clock().now();
    let sql =
        "UPDATE tenancy.tenants SET tier = $2, updated_at = $3, version = version + 1 WHERE tenant_id = $1";
    transaction.execute(sql, &[&tenant.0, &tier, &now]).await.map(drop)
}

/// Narrows where a tenant's bytes may rest. The caller has asked what lies outside; the version is raised by the edit that this belongs to.
pub async fn set_residency(
    transaction: &Transaction,
    tenant: TenantId,
    residency: &[String],
) -> Result<(), StoreError> {
    let sql = "UPDATE tenancy.tenants SET residency = $2 WHERE tenant_id = $1";
    transaction.execute(sql, &[&tenant.0, &residency]).await.map(drop)
}

/// What may be edited.
#[derive(Debug, Clone)]
pub struct Edited<'a> {
    /// Its name.
    pub company_name: &'a str,
    /// Whom bills go to.
    pub billing_contact: &'a Value,
    /// The operator's own.
    pub metadata: &'a Value,
    /// Over the tier's quotas.
    pub quota_overrides: &'a BTreeMap<String, String>,
}

/// Stores an edit and raises the version.
pub async fn update(
    transaction: &Transaction,
    tenant: TenantId,
    edited: &Edited<'_>,
) -> Result<(), StoreError> {
    let now = transaction.store().clock().now();
    transaction
        .execute(
            "UPDATE tenancy.tenants SET company_name = $2, billing_contact = $3, metadata = $4, quota_overrides = $5, \
               updated_at = $6, version = version + 1 \
             WHERE tenant_id = $1",
            &[
                &tenant.0,
                &edited.company_name,
                &edited.billing_contact,
                &edited.metadata,
                &Json(edited.quota_overrides),
                &now,
            ],
        )
        .await?;
    Ok(())
}
