//! Rows of keys and of service accounts.

use jiff::Timestamp;
use rowhouse_domain::access::Principal;
use rowhouse_domain::id::{IssuerId, KeyId, ServiceAccountId, TenantId};
use rowhouse_domain::keys::{Environment, KeyLimitDefinition, KeyStanding, KeyState, PublicId, ThingPattern};
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::account::Account;
use super::certificates::StoredCertificate;
use super::narrow::Narrow;
use super::record::{KeyRecord, LastUse, state_word, stored_environment, stored_state};
use super::trust::StoredTrust;
use super::uses::Use;
use crate::api::stored_kind;

/// Revoked keys stay known for this long, so that answers can say what happened to them.
const REVOKED_KEPT_US: i64 = 30 * 24 * 3_600 * 1_000_000;
const STORED: StoreError = StoreError::Stored { what: "a key" };

/// A key as the directory needs it.
#[derive(Debug, Clone)]
pub struct KeyRow {
    /// Its id.
    pub id: KeyId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What it is looked up by.
    pub public_id: PublicId,
    /// Who owns it.
    pub owner: Principal,
    /// Live or test.
    pub environment: Environment,
    /// State and times.
    pub standing: KeyStanding,
    /// Roles it has.
    pub roles: Vec<String>,
    /// Permissions and patterns it has.
    pub permissions: Vec<String>,
    /// What narrows it further.
    pub narrow: Narrow,
    /// The key and those that replaced it.
    pub family: KeyId,
    /// HMAC of its text.
    pub digest: [u8; 32],
    /// Which pepper made the digest.
    pub pepper: u32,
}

/// The service accounts of these tenants that are not disabled. The transaction must see them.
///
/// # Errors
/// If the database fails.
pub async fn accounts_in(
    transaction: &Transaction,
    tenants: &[Uuid],
) -> Result<Vec<(TenantId, Uuid)>, StoreError> {
    let rows = transaction
        .query(
            "SELECT tenant_id, service_account_id FROM keys.service_accounts \
             WHERE tenant_id = ANY($1) AND NOT disabled",
            &[&tenants],
        )
        .await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), row.get(1))).collect())
}

/// The service accounts of a tenant with these names, disabled or not. The transaction must see the tenant.
///
/// # Errors
/// If the database fails.
pub async fn accounts_by_name(
    transaction: &Transaction,
    tenant: TenantId,
    names: &[&str],
) -> Result<Vec<(String, Uuid)>, StoreError> {
    let sql =
        "SELECT name, service_account_id FROM keys.service_accounts WHERE tenant_id = $1 AND name = ANY($2)";
    let rows = transaction.query(sql, &[&tenant.0, &names]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Keys of one tenant or of all, without those that were revoked more than 30 days ago.
pub async fn load_keys(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<KeyRow>, StoreError> {
    let now_us = transaction.store().clock().now_us();
    let since = Timestamp::from_microsecond(now_us - REVOKED_KEPT_US).unwrap_or(Timestamp::UNIX_EPOCH);
    let rows = match tenant {
        Some(tenant) => {
            transaction
                .query(
                    "SELECT key_id, k.tenant_id, public_id, owner_kind, owner_id, environment, state, not_before, \
                     expires_at, roles, permissions, services, family, digest, pepper, coalesce(disabled, false), \
                     allowed_ips, resources, limits \
                     FROM keys.keys k LEFT JOIN keys.service_accounts ON service_account_id = owner_id \
                     WHERE k.tenant_id = $2 AND (state <> 'revoked' OR revoked_at > $1) ORDER BY key_id",
                    &[&since, &tenant.0],
                )
                .await?
        }
        None => {
            transaction
                .query(
                    "SELECT key_id, k.tenant_id, public_id, owner_kind, owner_id, environment, state, not_before, \
                     expires_at, roles, permissions, services, family, digest, pepper, coalesce(disabled, false), \
                     allowed_ips, resources, limits \
                     FROM keys.keys k LEFT JOIN keys.service_accounts ON service_account_id = owner_id \
                     WHERE state <> 'revoked' OR revoked_at > $1",
                    &[&since],
                )
                .await?
        }
    };
    rows.iter().map(key_row).collect()
}

fn key_row(row: &Row) -> Result<KeyRow, StoreError> {
    let time = |at: usize| row.get::<_, Option<Timestamp>>(at).map(|time| time.as_microsecond());
    Ok(KeyRow {
        id: KeyId(row.get(0)),
        tenant: TenantId(row.get(1)),
        public_id: PublicId::parse(row.get(2)).ok_or(STORED)?,
        owner: Principal { kind: stored_kind(row.get(3)).ok_or(STORED)?, id: row.get(4) },
        environment: stored_environment(row.get(5)).ok_or(STORED)?,
        standing: KeyStanding {
            state: stored_state(row.get(6)).ok_or(STORED)?,
            not_before_us: time(7),
            expires_at_us: time(8),
            owner_enabled: !row.get::<_, bool>(15),
        },
        roles: row.get(9),
        permissions: row.get(10),
        narrow: narrow(row, [11, 16, 17, 18]),
        family: KeyId(row.get(12)),
        digest: row.get::<_, &[u8]>(13).try_into().map_err(|_| STORED)?,
        pepper: row.get::<_, i32>(14) as u32,
    })
}

fn record(row: &Row) -> Result<KeyRecord, StoreError> {
    Ok(KeyRecord {
        id: KeyId(row.get(0)),
        tenant: TenantId(row.get(1)),
        public_id: row.get(2),
        hint: row.get(3),
        name: row.get(4),
        description: row.get(5),
        owner: Principal { kind: stored_kind(row.get(6)).ok_or(STORED)?, id: row.get(7) },
        environment: stored_environment(row.get(8)).ok_or(STORED)?,
        roles: row.get(9),
        permissions: row.get(10),
        narrow: narrow(row, [11, 24, 25, 26]),
        tags: row.get(12),
        metadata: row.get::<_, Json<Value>>(13).0,
        state: stored_state(row.get(14)).ok_or(STORED)?,
        not_before: row.get(15),
        expires_at: row.get(16),
        family: KeyId(row.get(17)),
        replaces: row.get::<_, Option<Uuid>>(18).map(KeyId),
        replaced_by: row.get::<_, Option<Uuid>>(19).map(KeyId),
        created_by: row.get(20),
        created_at: row.get(21),
        revoked_reason: row.get(22),
        last_use: row.get::<_, Option<Timestamp>>(27).map(|at| LastUse {
            at,
            ip: row.get(28),
            endpoint: row.get(29),
        }),
        version: row.get(23),
    })
}

/// Services, networks, things and limits from these columns.
fn narrow(row: &Row, [services, allowed_ips, resources, limits]: [usize; 4]) -> Narrow {
    Narrow {
        services: row.get(services),
        allowed_ips: row.get(allowed_ips),
        resources: row.get::<_, Json<Vec<ThingPattern>>>(resources).0,
        limits: row.get::<_, Json<Vec<KeyLimitDefinition>>>(limits).0,
    }
}

/// Which keys a list is about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Filter {
    pub tenant: Option<Uuid>,
    pub owner: Option<Uuid>,
    pub after: Option<Uuid>,
}

/// At most `limit` keys in the order of their ids.
pub(super) async fn list(tx: &Transaction, filter: Filter, limit: i64) -> Result<Vec<KeyRecord>, StoreError> {
    let rows = tx
        .query(
            "SELECT k.key_id, k.tenant_id, public_id, hint, name, description, owner_kind, owner_id, environment, \
             roles, permissions, services, tags, metadata, state, not_before, expires_at, family, replaces, \
             replaced_by, created_by, created_at, revoked_reason, version, allowed_ips, resources, limits, \
             at, ip, endpoint FROM keys.keys k LEFT JOIN keys.last_uses u ON u.key_id = k.key_id \
             WHERE ($1::uuid IS NULL OR k.tenant_id = $1) \
               AND ($2::uuid IS NULL OR owner_id = $2) \
               AND ($3::uuid IS NULL OR k.key_id > $3) \
             ORDER BY k.key_id LIMIT $4",
            &[&filter.tenant, &filter.owner, &filter.after, &limit],
        )
        .await?;
    rows.iter().map(record).collect()
}

/// One key; held until the transaction ends if it is to be changed.
pub(super) async fn one(tx: &Transaction, id: KeyId, hold: bool) -> Result<Option<KeyRecord>, StoreError> {
    let row = match hold {
        true => {
            tx.query_opt(
                "SELECT k.key_id, k.tenant_id, public_id, hint, name, description, owner_kind, owner_id, environment, \
                 roles, permissions, services, tags, metadata, state, not_before, expires_at, family, replaces, \
                 replaced_by, created_by, created_at, revoked_reason, version, allowed_ips, resources, limits, \
                 at, ip, endpoint FROM keys.keys k LEFT JOIN keys.last_uses u ON u.key_id = k.key_id \
                 WHERE k.key_id = $1 FOR UPDATE OF k",
                &[&id.0],
            )
            .await?
        }
        false => {
            tx.query_opt(
                "SELECT k.key_id, k.tenant_id, public_id, hint, name, description, owner_kind, owner_id, environment, \
                 roles, permissions, services, tags, metadata, state, not_before, expires_at, family, replaces, \
                 replaced_by, created_by, created_at, revoked_reason, version, allowed_ips, resources, limits, \
                 at, ip, endpoint FROM keys.keys k LEFT JOIN keys.last_uses u ON u.key_id = k.key_id \
                 WHERE k.key_id = $1",
                &[&id.0],
            )
            .await?
        }
    };
    row.as_ref().map(record).transpose()
}

/// How many keys the tenant and the owner have that are neither revoked nor over.
pub(super) async fn count(
    transaction: &Transaction,
    tenant: TenantId,
    owner: Principal,
) -> Result<(i64, i64), StoreError> {
    let now = transaction.store().clock().now();
    let row = transaction
        .query_one(
            "SELECT count(*), count(*) FILTER (WHERE owner_id = $2) FROM keys.keys \
             WHERE tenant_id = $1 AND state <> 'revoked' AND (expires_at IS NULL OR expires_at > $3)",
            &[&tenant.0, &owner.id, &now],
        )
        .await?;
    Ok((row.get(0), row.get(1)))
}

/// Stores a key with its digest.
pub(super) async fn insert(
    transaction: &Transaction,
    key: &KeyRecord,
    digest: &[u8; 32],
    pepper: u32,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO keys.keys (key_id, tenant_id, public_id, hint, name, description, owner_kind, owner_id, \
             environment, roles, permissions, services, tags, metadata, state, not_before, expires_at, family, \
             replaces, digest, pepper, created_by, created_at, allowed_ips, resources, limits) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
             $21, $22, $23, $24, $25, $26)",
            &[
                &key.id.0,
                &key.tenant.0,
                &key.public_id,
                &key.hint,
                &key.name,
                &key.description,
                &key.owner.kind.as_str(),
                &key.owner.id,
                &key.environment.as_str(),
                &key.roles,
                &key.permissions,
                &key.narrow.services,
                &key.tags,
                &Json(&key.metadata),
                &state_word(key.state),
                &key.not_before,
                &key.expires_at,
                &key.family.0,
                &key.replaces.map(|id| id.0),
                &&digest[..],
                &(pepper as i32),
                &key.created_by,
                &key.created_at,
                &key.narrow.allowed_ips,
                &Json(&key.narrow.resources),
                &Json(&key.narrow.limits),
            ],
        )
        .await
        .map(drop)
}

/// Writes what may be changed of a key.
pub(super) async fn update(transaction: &Transaction, key: &KeyRecord) -> Result<(), StoreError> {
    transaction
        .execute(
            "UPDATE keys.keys SET name = $2, description = $3, roles = $4, permissions = $5, services = $6, \
             allowed_ips = $7, resources = $8, limits = $9, tags = $10, metadata = $11, version = version + 1 \
             WHERE key_id = $1",
            &[
                &key.id.0,
                &key.name,
                &key.description,
                &key.roles,
                &key.permissions,
                &key.narrow.services,
                &key.narrow.allowed_ips,
                &Json(&key.narrow.resources),
                &Json(&key.narrow.limits),
                &key.tags,
                &Json(&key.metadata),
            ],
        )
        .await
        .map(drop)
}

/// Says when a key ends.
pub(super) async fn set_end(transaction: &Transaction, id: KeyId, ends: Timestamp) -> Result<(), StoreError> {
    transaction
        .execute(
            "UPDATE keys.keys SET expires_at = $2, version = version + 1 WHERE key_id = $1",
            &[&id.0, &ends],
        )
        .await
        .map(drop)
}

/// Keeps the last uses of keys, each of them once.
pub(super) async fn keep_uses(transaction: &Transaction, uses: &[Use]) -> Result<(), StoreError> {
    let keys: Vec<Uuid> = uses.iter().map(|own| own.key).collect();
    let tenants: Vec<Uuid> = uses.iter().map(|own| own.tenant).collect();
    let instants: Vec<Timestamp> = uses.iter().map(|own| own.last.at).collect();
    let addresses: Vec<&str> = uses.iter().map(|own| own.last.ip.as_str()).collect();
    let endpoints: Vec<&str> = uses.iter().map(|own| own.last.endpoint.as_str()).collect();
    // A key whose tenant has been erased meanwhile leaves nothing behind.
    transaction
        .execute(
            "INSERT INTO keys.last_uses (key_id, tenant_id, at, ip, endpoint) \
             SELECT used.* FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[]) \
                 AS used (key_id, tenant_id, at, ip, endpoint) \
             JOIN keys.keys k ON k.key_id = used.key_id AND k.tenant_id = used.tenant_id \
             ORDER BY used.key_id \
             ON CONFLICT (key_id) DO UPDATE SET at = EXCLUDED.at, ip = EXCLUDED.ip, endpoint = EXCLUDED.endpoint \
             WHERE last_uses.at < EXCLUDED.at",
            &[&keys, &tenants, &instants, &addresses, &endpoints],
        )
        .await
        .map(drop)
}

/// Puts a key into `state`; a revocation has a time and a reason.
pub(super) async fn set_state(
    transaction: &Transaction,
    id: KeyId,
    state: KeyState,
    revoked: Option<(Timestamp, &str)>,
) -> Result<(), StoreError> {
    let (at, reason) = revoked.unzip();
    transaction
        .execute(
            "UPDATE keys.keys SET state = $2, revoked_at = $3, revoked_reason = $4, version = version + 1 \
             WHERE key_id = $1",
            &[&id.0, &state_word(state), &at, &reason],
        )
        .await
        .map(drop)
}

/// Says which key replaces `id`, and when `id` ends.
pub(super) async fn set_replaced(
    transaction: &Transaction,
    id: KeyId,
    by: KeyId,
    ends: Timestamp,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "UPDATE keys.keys SET replaced_by = $2, expires_at = $3, version = version + 1 WHERE key_id = $1",
            &[&id.0, &by.0, &ends],
        )
        .await
        .map(drop)
}

fn account(row: &Row) -> Account {
    Account {
        id: ServiceAccountId(row.get(0)),
        tenant: TenantId(row.get(1)),
        name: row.get(2),
        description: row.get(3),
        disabled: row.get(4),
        created_by: row.get(5),
        created_at: row.get(6),
        version: row.get(7),
        trust: row.get::<_, Json<Vec<StoredTrust>>>(8).0.into_iter().map(|own| own.said).collect(),
        certificates: row.get::<_, Json<Vec<StoredCertificate>>>(9).0.into_iter().map(Into::into).collect(),
    }
}

/// At most `limit` service accounts in the order of their ids.
pub(super) async fn list_accounts(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    after: Option<ServiceAccountId>,
    limit: i64,
) -> Result<Vec<Account>, StoreError> {
    let rows = transaction
        .query(
            "SELECT service_account_id, tenant_id, name, description, disabled, created_by, created_at, version, trust, \
             certificates \
             FROM keys.service_accounts \
             WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::uuid IS NULL OR service_account_id > $2) \
             ORDER BY service_account_id LIMIT $3",
            &[&tenant.map(|id| id.0), &after.map(|id| id.0), &limit],
        )
        .await?;
    Ok(rows.iter().map(account).collect())
}

/// One service account.
pub(super) async fn one_account(
    transaction: &Transaction,
    id: ServiceAccountId,
) -> Result<Option<Account>, StoreError> {
    let row = transaction
        .query_opt(
            "SELECT service_account_id, tenant_id, name, description, disabled, created_by, created_at, version, trust, \
             certificates \
             FROM keys.service_accounts WHERE service_account_id = $1",
            &[&id.0],
        )
        .await?;
    Ok(row.as_ref().map(account))
}

/// Who counts what a tenant has, to make one more, does it one after the other.
pub(super) async fn one_at_a_time(transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
    let lock = "SELECT pg_advisory_xact_lock(7247, hashtext($1))";
    transaction.execute(lock, &[&tenant.to_string()]).await.map(drop)
}

/// How many service accounts a tenant has, disabled ones too.
pub(super) async fn count_accounts(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    let count = "SELECT count(*) FROM keys.service_accounts WHERE tenant_id = $1";
    Ok(transaction.query_one(count, &[&tenant.0]).await?.get(0))
}

/// Stores a service account.
pub(super) async fn insert_account(transaction: &Transaction, account: &Account) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO keys.service_accounts (service_account_id, tenant_id, name, description, disabled, \
             created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                &account.id.0,
                &account.tenant.0,
                &account.name,
                &account.description,
                &account.disabled,
                &account.created_by,
                &account.created_at,
            ],
        )
        .await
        .map(drop)
}

/// Sets whom an account trusts.
pub(super) async fn set_trust(
    transaction: &Transaction,
    account: ServiceAccountId,
    trust: &[StoredTrust],
) -> Result<(), StoreError> {
    let sql =
        "UPDATE keys.service_accounts SET trust = $2, version = version + 1 WHERE service_account_id = $1";
    transaction.execute(sql, &[&account.0, &Json(trust)]).await.map(drop)
}

/// What accounts that are not disabled trust, of one tenant or of all.
pub(super) async fn trusts(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(TenantId, Uuid, Vec<StoredTrust>)>, StoreError> {
    let sql = "SELECT tenant_id, service_account_id, trust FROM keys.service_accounts \
         WHERE ($1::uuid IS NULL OR tenant_id = $1) AND NOT disabled AND trust <> '[]'";
    let rows = transaction.query(sql, &[&tenant.map(|tenant| tenant.0)]).await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), row.get(1), row.get::<_, Json<_>>(2).0)).collect())
}

/// Whether any account that the transaction sees trusts an issuer.
///
/// # Errors
/// If the database fails.
pub async fn trusts_issuer(transaction: &Transaction, issuer: IssuerId) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM keys.service_accounts WHERE trust @> $1)";
    let pattern = Json(serde_json::json!([{ "issuer_id": issuer.0 }]));
    Ok(transaction.query_one(sql, &[&pattern]).await?.get(0))
}

/// Sets by which client certificates an account signs in.
pub(super) async fn set_certificates(
    transaction: &Transaction,
    account: ServiceAccountId,
    certificates: &[StoredCertificate],
) -> Result<(), StoreError> {
    let sql = "UPDATE keys.service_accounts SET certificates = $2, version = version + 1 WHERE service_account_id = $1";
    transaction.execute(sql, &[&account.0, &Json(certificates)]).await.map(drop)
}

/// Whether another account of the tenant is known by the same.
pub(super) async fn certificate_means_another(
    transaction: &Transaction,
    tenant: TenantId,
    account: ServiceAccountId,
    entry: &StoredCertificate,
) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM keys.service_accounts \
         WHERE tenant_id = $1 AND service_account_id <> $2 AND certificates @> $3)";
    Ok(transaction.query_one(sql, &[&tenant.0, &account.0, &Json([entry])]).await?.get(0))
}

/// By which certificates accounts sign in that are not disabled, of one tenant or of all.
pub(super) async fn certificates(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(Uuid, Vec<StoredCertificate>)>, StoreError> {
    let sql = "SELECT service_account_id, certificates FROM keys.service_accounts \
         WHERE ($1::uuid IS NULL OR tenant_id = $1) AND NOT disabled AND certificates <> '[]'";
    let rows = transaction.query(sql, &[&tenant.map(|tenant| tenant.0)]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, Json<_>>(1).0)).collect())
}
