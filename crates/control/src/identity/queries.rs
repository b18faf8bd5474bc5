//! Rows of users, memberships and passwords.

use std::collections::HashMap;

use jiff::Timestamp;
use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::messages::Address;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

use super::hashing::Hashed;
use crate::resources;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, $($(#[$variant_doc:meta])* $variant:ident = $word:literal),*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }
        impl $name {
            /// As it is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
            pub(super) fn stored(word: &str) -> Result<Self, StoreError> {
                match word { $($word => Ok($name::$variant),)* _ => Err(StoreError::Stored { what: $what }) }
            }
        }
    };
}

words!(
    /// How a person stands.
    UserStatus, "the status of a user",
    /// As usual.
    Active = "active",
    /// Enters nowhere.
    Disabled = "disabled",
    /// Nothing is known of them any more.
    Erased = "erased"
);
words!(
    /// How a person stands in a tenant.
    MembershipStatus, "the status of a membership",
    /// Belongs to it.
    Active = "active",
    /// Belongs to it and may not enter.
    Suspended = "suspended",
    /// No longer.
    Removed = "removed"
);

/// A person.
#[derive(Debug, Clone)]
pub struct UserRow {
    /// Its id.
    pub id: UserId,
    /// Where mail goes; none once erased.
    pub email: Option<String>,
    /// When it was proven.
    pub email_verified_at: Option<Timestamp>,
    /// At most 200 characters.
    pub full_name: String,
    /// IANA name.
    pub timezone: String,
    /// BCP 47.
    pub language: String,
    /// How it stands.
    pub status: UserStatus,
    /// When it last signed in anywhere.
    pub last_sign_in_at: Option<Timestamp>,
    /// Who caused it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// A person in a tenant.
#[derive(Debug, Clone)]
pub struct MemberRow {
    /// Which tenant.
    pub tenant: TenantId,
    /// Who.
    pub user: UserRow,
    /// How they stand there.
    pub status: MembershipStatus,
    /// How they came: `invitation`, `operator`, …
    pub source: String,
    /// Since when.
    pub since: Timestamp,
    /// Raised with each change of the membership.
    pub version: i64,
}

fn user(row: &Row, at: usize) -> Result<UserRow, StoreError> {
    Ok(UserRow {
        id: UserId(row.get(at)),
        email: row.get(at + 1),
        email_verified_at: row.get(at + 2),
        full_name: row.get(at + 3),
        timezone: row.get(at + 4),
        language: row.get(at + 5),
        status: UserStatus::stored(row.get(at + 6))?,
        last_sign_in_at: row.get(at + 7),
        created_by: row.get(at + 8),
        created_at: row.get(at + 9),
    })
}

fn member(row: &Row) -> Result<MemberRow, StoreError> {
    Ok(MemberRow {
        tenant: TenantId(row.get(0)),
        status: MembershipStatus::stored(row.get(1))?,
        source: row.get(2),
        since: row.get(3),
        version: row.get(4),
        user: user(row, 5)?,
    })
}

macro_rules! select_members {
    ($rest:literal) => {
        concat!(
            "SELECT m.tenant_id, m.status, m.source, m.created_at, m.version, u.user_id, u.email, u.email_verified_at, \
             u.full_name, u.timezone, u.language, u.status, u.last_sign_in_at, u.created_by, u.created_at \
             FROM identity.memberships m JOIN identity.users u ON u.user_id = m.user_id ",
            $rest
        )
    };
}

/// Which members to list.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub tenant: Option<Uuid>,
    /// All but removed ones if not said.
    pub status: Option<Vec<String>>,
    pub text: Option<String>,
    /// The person and tenant of the last one before.
    pub after: (Uuid, Uuid),
}

/// Members, by the age of their users and by tenant. Each way has an index that begins where the page does.
pub(super) async fn list(tx: &Transaction, filter: &Filter, size: i64) -> Result<Vec<MemberRow>, StoreError> {
    let stays = || [MembershipStatus::Active, MembershipStatus::Suspended].map(|own| own.as_str().to_owned());
    let status = filter.status.clone().unwrap_or_else(|| stays().to_vec());
    let (user, tenant) = filter.after;
    let rows = match (&filter.text, filter.tenant) {
        (Some(text), of) => {
            let sql = select_members!(
                "JOIN identity.find_members($1, $2, $3, $4, $5, $6) f ON f.tenant_id = m.tenant_id AND f.user_id = m.user_id \
                 ORDER BY m.user_id, m.tenant_id"
            );
            tx.query(sql, &[text, &of, &status, &user, &tenant, &size]).await?
        }
        (None, Some(of)) => {
            let sql = select_members!(
                "WHERE m.tenant_id = $1 AND m.status = ANY ($2) AND m.user_id > $3 ORDER BY m.user_id LIMIT $4"
            );
            tx.query(sql, &[&of, &status, &user, &size]).await?
        }
        (None, None) => {
            let sql = select_members!(
                "WHERE m.status = ANY ($1) AND m.user_id >= $2 AND (m.user_id > $2 OR m.tenant_id > $3) \
                 ORDER BY m.user_id, m.tenant_id LIMIT $4"
            );
            tx.query(sql, &[&status, &user, &tenant, &size]).await?
        }
    };
    rows.iter().map(member).collect()
}

/// A person in a tenant, removed or not.
pub(super) async fn find_member(
    tx: &Transaction,
    tenant: TenantId,
    user: UserId,
) -> Result<Option<MemberRow>, StoreError> {
    let sql = select_members!("WHERE m.tenant_id = $1 AND m.user_id = $2");
    let row = tx.query_opt(sql, &[&tenant.0, &user.0]).await?;
    row.as_ref().map(member).transpose()
}

/// Whether a user belongs to a tenant, suspended or not. The transaction must see the tenant.
pub async fn is_member(tx: &Transaction, tenant: TenantId, user: UserId) -> Result<bool, StoreError> {
    let sql =
        "SELECT 1 FROM identity.memberships WHERE tenant_id = $1 AND user_id = $2 AND status <> 'removed'";
    Ok(tx.query_opt(sql, &[&tenant.0, &user.0]).await?.is_some())
}

/// The people of a tenant as its quota `users` counts them: active and suspended ones, without those who are only invited.
/// The transaction must see the tenant.
///
/// # Errors
/// If the database fails.
pub async fn count_members(tx: &Transaction, tenant: TenantId) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM identity.memberships WHERE tenant_id = $1 AND status <> 'removed'";
    Ok(tx.query_one(sql, &[&tenant.0]).await?.get::<_, i64>(0) as u64)
}

/// Who is an active member of these tenants, and active. The transaction must see them.
///
/// # Errors
/// If the database fails.
pub async fn active_people(
    tx: &Transaction,
    tenants: &[Uuid],
) -> Result<Vec<(TenantId, UserId)>, StoreError> {
    let sql = "SELECT m.tenant_id, m.user_id FROM identity.memberships m \
               JOIN identity.users u ON u.user_id = m.user_id \
               WHERE m.tenant_id = ANY($1) AND m.status = 'active' AND u.status = 'active'";
    let rows = tx.query(sql, &[&tenants]).await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), UserId(row.get(1)))).collect())
}

/// The people of a tenant, suspended or not, who have proven these addresses; by the address's key. The transaction must see the tenant.
///
/// # Errors
/// If the database fails.
pub async fn members_by_address(
    tx: &Transaction,
    tenant: TenantId,
    keys: &[&str],
) -> Result<HashMap<String, UserId>, StoreError> {
    let sql = "SELECT u.email_key, u.user_id FROM identity.users u \
               JOIN identity.memberships m ON m.user_id = u.user_id \
               WHERE u.email_key = ANY($2) AND u.email_verified_at IS NOT NULL \
               AND m.tenant_id = $1 AND m.status <> 'removed'";
    let rows = tx.query(sql, &[&tenant.0, &keys]).await?;
    Ok(rows.iter().map(|row| (row.get(0), UserId(row.get(1)))).collect())
}

/// Active members whose users are active.
pub(super) async fn active_members(tx: &Transaction, tenant: TenantId) -> Result<Vec<UserRow>, StoreError> {
    let sql = select_members!(
        "WHERE m.tenant_id = $1 AND m.status = 'active' AND u.status = 'active' ORDER BY m.user_id"
    );
    let rows = tx.query(sql, &[&tenant.0]).await?;
    rows.iter().map(|row| user(row, 5)).collect()
}

/// Makes a person a member, or a member who was removed one again. A suspended one stays suspended.
pub(super) async fn put_member(
    tx: &Transaction,
    (tenant, user): (TenantId, UserId),
    source: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let by = tx.principal().to_string();
    let touched = tx
        .execute(
            "INSERT INTO identity.memberships AS m (tenant_id, user_id, status, source, created_by, created_at, changed_at) \
             VALUES ($1, $2, 'active', $3, $4, $5, $5) \
             ON CONFLICT ON CONSTRAINT memberships_pkey DO UPDATE SET status = 'active', source = excluded.source, \
             created_by = excluded.created_by, created_at = excluded.created_at, changed_at = excluded.changed_at, \
             version = m.version + 1 WHERE m.status = 'removed'",
            &[&tenant.0, &user.0, &source, &by, &now],
        )
        .await?;
    if touched == 1 {
        resources::people_changed(tx, tenant, now).await?;
    }
    Ok(touched == 1)
}

/// Changes how a person stands in a tenant; false if they stand so already, or are not there.
pub(super) async fn set_member_status(
    tx: &Transaction,
    (tenant, user): (TenantId, UserId),
    from: &[&str],
    to: MembershipStatus,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let touched = tx
        .execute(
            "UPDATE identity.memberships SET status = $4, changed_at = $5, version = version + 1 \
             WHERE tenant_id = $1 AND user_id = $2 AND status = ANY ($3)",
            &[&tenant.0, &user.0, &from, &to.as_str(), &now],
        )
        .await?;
    if touched == 1 {
        resources::people_changed(tx, tenant, now).await?;
    }
    Ok(touched == 1)
}

macro_rules! select_users {
    ($rest:literal) => {
        concat!(
            "SELECT user_id, email, email_verified_at, full_name, timezone, language, status, last_sign_in_at, \
             created_by, created_at FROM identity.users ",
            $rest
        )
    };
}

/// A person that the transaction sees.
pub(super) async fn find_user(tx: &Transaction, id: UserId) -> Result<Option<UserRow>, StoreError> {
    let row = tx.query_opt(select_users!("WHERE user_id = $1"), &[&id.0]).await?;
    row.as_ref().map(|row| user(row, 0)).transpose()
}

/// Who has this address.
pub(super) async fn find_user_by_email(
    tx: &Transaction,
    email: &Address,
) -> Result<Option<UserRow>, StoreError> {
    let row = tx.query_opt(select_users!("WHERE email_key = $1"), &[&email.key()]).await?;
    row.as_ref().map(|row| user(row, 0)).transpose()
}

/// Stores a person, with the address proven; false if somebody has the address.
pub(super) async fn insert_user(
    tx: &Transaction,
    id: UserId,
    email: &Address,
    full_name: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let by = tx.principal().to_string();
    let stored = tx
        .execute(
            "INSERT INTO identity.users (user_id, email, email_key, email_verified_at, full_name, status, created_by, \
             created_at, updated_at) VALUES ($1, $2, $3, $5, $4, 'active', $6, $5, $5) \
             ON CONFLICT ON CONSTRAINT users_email_key DO NOTHING",
            &[&id.0, &email.as_str(), &email.key(), &full_name, &now, &by],
        )
        .await?;
    Ok(stored == 1)
}

/// A person has signed in to a tenant, and is held there. Whether they may: not who was disabled, suspended or removed meanwhile.
pub(super) async fn signed_in(
    tx: &Transaction,
    (tenant, user): (TenantId, UserId),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE identity.memberships SET last_active_at = $3 \
               WHERE tenant_id = $1 AND user_id = $2 AND status = 'active'";
    if tx.execute(sql, &[&tenant.0, &user.0, &now]).await? == 0 {
        return Ok(false);
    }
    let sql = "UPDATE identity.users SET last_sign_in_at = $2 WHERE user_id = $1 AND status = 'active'";
    Ok(tx.execute(sql, &[&user.0, &now]).await? == 1)
}

/// Holds a membership against who suspends or removes it. It is held before sessions are: whoever takes it away ends them behind it.
pub(super) async fn hold_member(tx: &Transaction, tenant: TenantId, user: UserId) -> Result<(), StoreError> {
    let sql = "SELECT FROM identity.memberships WHERE tenant_id = $1 AND user_id = $2 FOR NO KEY UPDATE";
    tx.query_opt(sql, &[&tenant.0, &user.0]).await.map(drop)
}

/// The password of a person; another one in its place.
pub(super) async fn put_password(
    tx: &Transaction,
    user: UserId,
    hashed: &Hashed,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (memory_kib, passes) = (hashed.memory_kib as i32, hashed.passes as i32);
    tx.execute(
        "INSERT INTO identity.passwords (user_id, salt, digest, memory_kib, passes, lanes, set_at) \
         VALUES ($1, $2, $3, $4, $5, 1, $6) ON CONFLICT ON CONSTRAINT passwords_pkey DO UPDATE SET \
         salt = excluded.salt, digest = excluded.digest, memory_kib = excluded.memory_kib, passes = excluded.passes, \
         lanes = excluded.lanes, set_at = excluded.set_at",
        &[&user.0, &hashed.salt, &hashed.digest, &memory_kib, &passes, &now],
    )
    .await
    .map(drop)
}
