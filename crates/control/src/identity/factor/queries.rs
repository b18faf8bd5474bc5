//! Rows of factors and recovery codes.

use std::collections::HashMap;

use jiff::Timestamp;
use rowhouse_domain::id::{FactorId, OPERATOR_TENANT, UserId};
use rowhouse_domain::identity::Owned;
use rowhouse_store::{StoreError, Transaction};
use uuid::Uuid;

/// A factor.
#[derive(Debug, Clone)]
pub struct FactorRow {
    pub id: FactorId,
    pub kind: String,
    pub label: String,
    pub state: String,
    pub sealed: Option<Vec<u8>>,
    pub last_step: i64,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT factor_id, kind, label, state, sealed, last_step, created_at, last_used_at FROM identity.factors ",
            $rest
        )
    };
}

fn factor(row: &tokio_postgres::Row) -> FactorRow {
    FactorRow {
        id: FactorId(row.get(0)),
        kind: row.get(1),
        label: row.get(2),
        state: row.get(3),
        sealed: row.get(4),
        last_step: row.get(5),
        created_at: row.get(6),
        last_used_at: row.get(7),
    }
}

/// A person's factors that are not revoked, oldest first.
pub async fn list(tx: &Transaction, user: UserId) -> Result<Vec<FactorRow>, StoreError> {
    let sql = select!("WHERE user_id = $1 AND state <> 'revoked' ORDER BY factor_id");
    Ok(tx.query(sql, &[&user.0]).await?.iter().map(factor).collect())
}

/// A person's factors that are in use.
pub async fn active(tx: &Transaction, user: UserId) -> Result<Vec<FactorRow>, StoreError> {
    let sql = select!("WHERE user_id = $1 AND state = 'active' ORDER BY factor_id");
    Ok(tx.query(sql, &[&user.0]).await?.iter().map(factor).collect())
}

/// The kinds of the second factors that people have in use, each once. The transaction must see the platform.
pub async fn kinds_of(tx: &Transaction, people: &[Uuid]) -> Result<Vec<(UserId, String)>, StoreError> {
    let sql = "SELECT DISTINCT user_id, kind FROM identity.factors WHERE user_id = ANY ($1) AND state = 'active' ORDER BY kind";
    let rows = tx.query(sql, &[&people]).await?;
    Ok(rows.iter().map(|row| (UserId(row.get(0)), row.get(1))).collect())
}

/// One factor of a person, of a kind and in a state.
pub async fn find(
    tx: &Transaction,
    (user, id): (UserId, FactorId),
    (kind, state): (&str, &str),
) -> Result<Option<FactorRow>, StoreError> {
    let sql = select!("WHERE user_id = $1 AND factor_id = $2 AND kind = $3 AND state = $4");
    Ok(tx.query_opt(sql, &[&user.0, &id.0, &kind, &state]).await?.as_ref().map(factor))
}

/// Stores one that is not confirmed yet, in the place of those that never were.
pub async fn insert(
    tx: &Transaction,
    (user, id): (UserId, FactorId),
    (kind, label, sealed): (&str, &str, &[u8]),
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute("DELETE FROM identity.factors WHERE user_id = $1 AND state = 'pending'", &[&user.0]).await?;
    let sql = "INSERT INTO identity.factors (factor_id, user_id, kind, label, state, sealed, created_at) \
               VALUES ($1, $2, $3, $4, 'pending', $5, $6)";
    tx.execute(sql, &[&id.0, &user.0, &kind, &label, &sealed, &now]).await.map(drop)
}

/// Takes the code of `step`, once for all time; whether it was not taken, nor a newer one.
pub async fn take_step(
    tx: &Transaction,
    (user, id): (UserId, FactorId),
    (from, step): (&str, i64),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE identity.factors SET last_step = $3, last_used_at = $4, state = 'active' \
               WHERE user_id = $1 AND factor_id = $2 AND state = $5 AND last_step < $3";
    Ok(tx.execute(sql, &[&user.0, &id.0, &step, &now, &from]).await? == 1)
}

/// A number that was proven is in use from now on, in the place of the one before; whether it waited for that.
pub async fn use_number(
    tx: &Transaction,
    (user, id): (UserId, FactorId),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE identity.factors SET state = 'revoked', sealed = NULL WHERE user_id = $1 AND kind = 'sms_code' AND state = 'active' \
               AND EXISTS (SELECT FROM identity.factors p WHERE p.user_id = $1 AND p.factor_id = $2 AND p.state = 'pending')";
    tx.execute(sql, &[&user.0, &id.0]).await?;
    let sql = "UPDATE identity.factors SET state = 'active', last_used_at = $3 \
               WHERE user_id = $1 AND factor_id = $2 AND state = 'pending' AND kind = 'sms_code'";
    Ok(tx.execute(sql, &[&user.0, &id.0, &now]).await? == 1)
}

/// A code of the person's number was right.
pub async fn number_used(tx: &Transaction, user: UserId, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE identity.factors SET last_used_at = $2 WHERE user_id = $1 AND kind = 'sms_code' AND state = 'active'";
    tx.execute(sql, &[&user.0, &now]).await.map(drop)
}

/// Takes a factor away; whether it was there.
pub async fn revoke(tx: &Transaction, user: UserId, id: FactorId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM identity.credentials WHERE factor_id IN (SELECT factor_id FROM identity.factors WHERE user_id = $1 AND factor_id = $2)";
    tx.execute(sql, &[&user.0, &id.0]).await?;
    let sql = "UPDATE identity.factors SET state = 'revoked', sealed = NULL WHERE user_id = $1 AND factor_id = $2 AND state <> 'revoked'";
    Ok(tx.execute(sql, &[&user.0, &id.0]).await? == 1)
}

/// Puts recovery codes in the place of those before.
pub async fn put_codes(
    tx: &Transaction,
    user: UserId,
    digests: &[Vec<u8>],
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute("DELETE FROM identity.recovery_codes WHERE user_id = $1", &[&user.0]).await?;
    let sql = "INSERT INTO identity.recovery_codes (user_id, digest, created_at) SELECT $1, unnest($2::bytea[]), $3";
    tx.execute(sql, &[&user.0, &digests, &now]).await.map(drop)
}

/// Uses a recovery code up; whether it was one.
pub async fn use_code(tx: &Transaction, user: UserId, digest: &[u8]) -> Result<bool, StoreError> {
    let sql = "DELETE FROM identity.recovery_codes WHERE user_id = $1 AND digest = $2";
    Ok(tx.execute(sql, &[&user.0, &digest]).await? == 1)
}

/// Recovery codes that are left.
pub async fn codes_left(tx: &Transaction, user: UserId) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM identity.recovery_codes WHERE user_id = $1";
    Ok(tx.query_one(sql, &[&user.0]).await?.get(0))
}

/// What people have, of those who exist. A number counts while a tenant of the person takes codes of it; the operator never does.
/// The transaction must see the platform.
pub async fn owned_by(tx: &Transaction, people: &[Uuid]) -> Result<HashMap<UserId, Owned>, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM identity.factors f WHERE f.user_id = u.user_id AND f.kind = 'totp' AND f.state = 'active'), \
               EXISTS (SELECT FROM identity.recovery_codes c WHERE c.user_id = u.user_id), u.email_verified_at IS NOT NULL, \
               EXISTS (SELECT FROM identity.factors f WHERE f.user_id = u.user_id AND f.kind = 'security_key' AND f.state = 'active'), \
               EXISTS (SELECT FROM identity.factors f WHERE f.user_id = u.user_id AND f.kind = 'passkey' AND f.state = 'active'), \
               EXISTS (SELECT FROM identity.factors f JOIN identity.memberships m ON m.user_id = f.user_id \
               JOIN identity.sign_in_policies p ON p.tenant_id = m.tenant_id WHERE f.user_id = u.user_id AND f.kind = 'sms_code' \
               AND f.state = 'active' AND m.status <> 'removed' AND m.tenant_id <> $2 AND p.policy->'factors' ? 'sms_code'), \
               u.user_id FROM identity.users u WHERE u.user_id = ANY ($1)";
    let rows = tx.query(sql, &[&people, &OPERATOR_TENANT.0]).await?;
    let owned = rows.iter().map(|row| {
        let owned = Owned {
            totp: row.get(0),
            recovery_codes: row.get(1),
            address: row.get(2),
            security_key: row.get(3),
            passkey: row.get(4),
            phone: row.get(5),
        };
        (UserId(row.get(6)), owned)
    });
    Ok(owned.collect())
}

/// [`owned_by`] one.
pub async fn owned(tx: &Transaction, user: UserId) -> Result<Owned, StoreError> {
    Ok(owned_by(tx, &[user.0]).await?.remove(&user).unwrap_or_default())
}

/// A person has no recovery codes any more.
pub async fn drop_codes(tx: &Transaction, user: UserId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM identity.recovery_codes WHERE user_id = $1", &[&user.0]).await.map(drop)
}
