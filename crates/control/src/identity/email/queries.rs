//! Rows of changes of addresses. The newest of a person is the only one.

use jiff::Timestamp;
use rowhouse_domain::id::{SessionId, UserId};
use rowhouse_domain::messages::Address;
use rowhouse_store::{StoreError, Transaction};

/// A change.
#[derive(Debug, Clone)]
pub struct ChangeRow {
    pub user: UserId,
    /// Where it was asked for.
    pub session: SessionId,
    pub old: Address,
    pub new: Address,
    /// Whether the new address was proven.
    pub confirmed: bool,
}

fn change(row: &tokio_postgres::Row) -> Result<ChangeRow, StoreError> {
    let address = |at: usize| {
        Address::parse(row.get(at)).map_err(|_| StoreError::Stored { what: "an address of a change" })
    };
    Ok(ChangeRow {
        user: UserId(row.get(0)),
        session: SessionId(row.get(1)),
        old: address(2)?,
        new: address(3)?,
        confirmed: row.get(4),
    })
}

/// Stores one in the place of the one before. The way back of one that was confirmed stays: else whoever took an account would close it
/// by asking again.
pub async fn put(
    tx: &Transaction,
    row: &ChangeRow,
    (to_new, to_old): (&[u8], &[u8]),
    (proven_until, kept_until): (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM identity.email_changes WHERE user_id = $1 AND confirmed_at IS NULL",
        &[&row.user.0],
    )
    .await?;
    let sql = "INSERT INTO identity.email_changes (to_old, to_new, user_id, session_id, old_email, new_email, created_at, \
               proven_until, kept_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &to_old,
        &to_new,
        &row.user.0,
        &row.session.0,
        &row.old.as_str(),
        &row.new.as_str(),
        &now,
        &proven_until,
        &kept_until,
    ];
    tx.execute(sql, values).await.map(drop)
}

/// Whose change it is and in which session it was asked for, by the hash of either link. The person is held against others, so that of
/// two who prove it, take it back or set a password one comes after the other.
pub async fn whose(tx: &Transaction, digest: &[u8]) -> Result<Option<(UserId, SessionId)>, StoreError> {
    let sql = "SELECT c.user_id, c.session_id FROM identity.email_changes c JOIN identity.users u ON u.user_id = c.user_id \
               WHERE c.to_new = $1 OR c.to_old = $1 FOR NO KEY UPDATE OF u";
    let row = tx.query_opt(sql, &[&digest]).await?;
    Ok(row.map(|row| (UserId(row.get(0)), SessionId(row.get(1)))))
}

/// The new address is proven; once.
pub async fn confirm(
    tx: &Transaction,
    digest: &[u8],
    now: Timestamp,
) -> Result<Option<ChangeRow>, StoreError> {
    let sql = "UPDATE identity.email_changes SET confirmed_at = $2 WHERE to_new = $1 AND confirmed_at IS NULL AND proven_until > $2 \
               RETURNING user_id, session_id, old_email, new_email, true";
    tx.query_opt(sql, &[&digest, &now]).await?.as_ref().map(change).transpose()
}

/// The old address takes it back; once, with all that came after it. What came before keeps its own way back.
pub async fn keep(tx: &Transaction, digest: &[u8], now: Timestamp) -> Result<Option<ChangeRow>, StoreError> {
    let sql = "DELETE FROM identity.email_changes WHERE to_old = $1 AND kept_until > $2 \
               RETURNING user_id, session_id, old_email, new_email, confirmed_at IS NOT NULL, created_at";
    let Some(found) = tx.query_opt(sql, &[&digest, &now]).await? else { return Ok(None) };
    let row = change(&found)?;
    let later = "DELETE FROM identity.email_changes WHERE user_id = $1 AND created_at >= $2";
    tx.execute(later, &[&row.user.0, &found.get::<_, Timestamp>(5)]).await?;
    Ok(Some(row))
}

/// Sets a person's address, proven, if it still is what it was (whatever it is by now, for `None`); whether it was.
pub async fn set_address(
    tx: &Transaction,
    user: UserId,
    (from, to): (Option<&Address>, &Address),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE identity.users SET email = $3, email_key = $4, email_verified_at = $5, updated_at = $5, version = version + 1 \
               WHERE user_id = $1 AND ($2::text IS NULL OR email_key = $2) AND status <> 'erased'";
    Ok(tx.execute(sql, &[&user.0, &from.map(Address::key), &to.as_str(), &to.key(), &now]).await? == 1)
}
