//! Counting tries, before anything is looked at. The statement that counts is the one that decides, so tries that come at once
//! are counted one after the other.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::identity::LockoutPolicy;
use rowhouse_store::{StoreError, Transaction};

/// After so many wrong passwords without a right one the password is closed until it is set anew (SP 800-63B-4 §3.2.2), or an administrator
/// vouches for its owner.
pub const CONSECUTIVE_MAX: i32 = 100;

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// It counts, and may be looked at. `locks`: it was the last one for a while, or for good.
    Counted { locks: bool },
    /// It is not looked at.
    Locked,
}

/// Counts a try of a password.
pub async fn attempt(
    tx: &Transaction,
    key: &[u8],
    limits: LockoutPolicy,
    now: Timestamp,
) -> Result<Try, StoreError> {
    let until = now + SignedDuration::from_mins(limits.minutes);
    let sql = "INSERT INTO identity.throttles AS t (key, attempts, consecutive, locked_until, changed_at) \
               VALUES ($1, 1, 1, CASE WHEN $2::integer <= 1 THEN $3::timestamptz END, $4) \
               ON CONFLICT ON CONSTRAINT throttles_pkey DO UPDATE SET \
               attempts = CASE WHEN t.locked_until IS NULL THEN t.attempts + 1 ELSE 1 END, \
               consecutive = t.consecutive + 1, changed_at = $4, \
               locked_until = CASE WHEN (CASE WHEN t.locked_until IS NULL THEN t.attempts + 1 ELSE 1 END) >= $2::integer \
               THEN $3::timestamptz END \
               WHERE (t.locked_until IS NULL OR t.locked_until <= $4) AND t.consecutive < $5 \
               RETURNING locked_until IS NOT NULL OR consecutive >= $5";
    let row = tx.query_opt(sql, &[&key, &limits.attempts, &until, &now, &CONSECUTIVE_MAX]).await?;
    Ok(row.map_or(Try::Locked, |row| Try::Counted { locks: row.get(0) }))
}

/// Forgets all tries: one was right, or the password is another.
pub async fn clear(tx: &Transaction, key: &[u8]) -> Result<(), StoreError> {
    tx.execute("DELETE FROM identity.throttles WHERE key = $1", &[&key]).await.map(drop)
}

/// Opens the lock, and counts on towards closing the password.
pub async fn unlock(tx: &Transaction, key: &[u8]) -> Result<bool, StoreError> {
    let sql = "UPDATE identity.throttles SET attempts = 0, locked_until = NULL WHERE key = $1 AND locked_until IS NOT NULL";
    Ok(tx.execute(sql, &[&key]).await? == 1)
}

/// Opens the lock for who an administrator vouches for, and gives half of the tries back: a password that was closed is open too.
pub async fn reopen(tx: &Transaction, key: &[u8]) -> Result<(), StoreError> {
    let sql = "UPDATE identity.throttles SET attempts = 0, locked_until = NULL, consecutive = LEAST(consecutive, $2) WHERE key = $1";
    tx.execute(sql, &[&key, &(CONSECUTIVE_MAX / 2)]).await.map(drop)
}

/// Tries that failed since one was right, and until when none is looked at.
pub async fn standing(tx: &Transaction, key: &[u8]) -> Result<(i32, Option<Timestamp>), StoreError> {
    let row = tx
        .query_opt("SELECT consecutive, locked_until FROM identity.throttles WHERE key = $1", &[&key])
        .await?;
    Ok(row.map_or((0, None), |row| (row.get(0), row.get(1))))
}

/// [`standing`] of many, by key; what nobody has tried is not there.
pub async fn standings(
    tx: &Transaction,
    keys: &[Vec<u8>],
) -> Result<HashMap<Vec<u8>, (i32, Option<Timestamp>)>, StoreError> {
    let sql = "SELECT key, consecutive, locked_until FROM identity.throttles WHERE key = ANY ($1)";
    let rows = tx.query(sql, &[&keys]).await?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

/// Closes something until then. Unlike a window it is not spent: see [`standing`].
pub async fn close(tx: &Transaction, key: &[u8], until: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO identity.throttles (key, attempts, consecutive, locked_until, changed_at) VALUES ($1, 1, 0, $2, $3) \
               ON CONFLICT ON CONSTRAINT throttles_pkey DO UPDATE SET locked_until = excluded.locked_until, \
               changed_at = excluded.changed_at";
    tx.execute(sql, &[&key, &until, &now]).await.map(drop)
}

/// So many in so long, and with so much between two.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub most: i32,
    pub within: SignedDuration,
    pub apart: SignedDuration,
}

/// Spends one of a window's; the seconds to wait if there is none. A window begins with its first.
pub async fn spend(
    tx: &Transaction,
    key: &[u8],
    window: Window,
    now: Timestamp,
) -> Result<Result<(), i64>, StoreError> {
    let (ends, before) = (now + window.within, now - window.apart);
    let sql = "INSERT INTO identity.throttles AS t (key, attempts, consecutive, locked_until, changed_at) \
               VALUES ($1, 1, 0, $2, $3) ON CONFLICT ON CONSTRAINT throttles_pkey DO UPDATE SET \
               attempts = CASE WHEN t.locked_until <= $3 THEN 1 ELSE t.attempts + 1 END, \
               locked_until = CASE WHEN t.locked_until <= $3 THEN $2 ELSE t.locked_until END, changed_at = $3 \
               WHERE (t.locked_until <= $3 OR t.attempts < $4) AND t.changed_at <= $5 RETURNING 1";
    if tx.query_opt(sql, &[&key, &ends, &now, &window.most, &before]).await?.is_some() {
        return Ok(Ok(()));
    }
    let row = tx
        .query_opt(
            "SELECT attempts, locked_until, changed_at FROM identity.throttles WHERE key = $1",
            &[&key],
        )
        .await?;
    let wait = row.map_or(1, |row| {
        let (spent, ends): (i32, Option<Timestamp>) = (row.get(0), row.get(1));
        let apart = row.get::<_, Timestamp>(2) + window.apart;
        let free = if spent >= window.most { ends.unwrap_or(now).max(apart) } else { apart };
        free.duration_since(now).as_secs() + 1
    });
    Ok(Err(wait.max(1)))
}

/// What was spent of a window, and when it ends.
pub async fn spent(tx: &Transaction, key: &[u8]) -> Result<(i32, Option<Timestamp>), StoreError> {
    let row =
        tx.query_opt("SELECT attempts, locked_until FROM identity.throttles WHERE key = $1", &[&key]).await?;
    Ok(row.map_or((0, None), |row| (row.get(0), row.get(1))))
}
