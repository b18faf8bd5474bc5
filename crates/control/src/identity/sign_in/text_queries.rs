//! Rows of texts that were sent. None holds a number: they tell what becomes of texts to a country.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};
use uuid::Uuid;

/// How long somebody may take to show a code before it is thought that nobody reads it.
const READING: SignedDuration = SignedDuration::from_mins(2);
/// Older texts say nothing about today.
const RECENT: SignedDuration = SignedDuration::from_hours(24);

/// The last texts of a tenant, or of all, to a country.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub sent: i64,
    pub proven: i64,
}

impl Standing {
    /// Whether of `most` texts fewer than one in five were shown.
    pub fn is_pumped(self, most: i64) -> bool {
        self.sent >= most && self.proven * 5 < self.sent
    }
}

/// A text is found by the hash of its code.
fn id(digest: &[u8]) -> Uuid {
    Uuid::from_slice(&digest[..16]).unwrap_or(Uuid::nil())
}

/// Stores one.
pub async fn put(
    tx: &Transaction,
    (tenant, beginning): (TenantId, &str),
    digest: &[u8],
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO identity.texts (text_id, tenant_id, beginning, sent_at) VALUES ($1, $2, $3, $4) \
               ON CONFLICT ON CONSTRAINT texts_pkey DO UPDATE SET sent_at = excluded.sent_at";
    tx.execute(sql, &[&id(digest), &tenant.0, &beginning, &now]).await.map(drop)
}

/// Its code was shown.
pub async fn prove(tx: &Transaction, digest: &[u8], now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE identity.texts SET proven_at = $2 WHERE text_id = $1";
    tx.execute(sql, &[&id(digest), &now]).await.map(drop)
}

/// What became of the last texts to a country: those that were shown, or could have been by now. `tenant`'s own, or those of all, of whom
/// each counts for `each` at most. None that was sent before `since` is looked at: it is what the country was closed for then.
pub async fn standing(
    tx: &Transaction,
    (tenant, beginning): (Option<TenantId>, &str),
    (most, each): (i64, i64),
    (since, now): (Option<Timestamp>, Timestamp),
) -> Result<Standing, StoreError> {
    let since = since.map_or(now - RECENT, |since| since.max(now - RECENT));
    let sql = "SELECT count(*), count(proven_at) FROM (SELECT proven_at FROM (SELECT sent_at, proven_at, \
               row_number() OVER (PARTITION BY tenant_id ORDER BY sent_at DESC) AS place FROM identity.texts \
               WHERE beginning = $1 AND sent_at > $2 AND (proven_at IS NOT NULL OR sent_at <= $3) \
               AND ($4::uuid IS NULL OR tenant_id = $4)) AS own WHERE place <= $5 ORDER BY sent_at DESC LIMIT $6) AS t";
    let tenant = tenant.map(|tenant| tenant.0);
    let row = tx.query_one(sql, &[&beginning, &since, &(now - READING), &tenant, &each, &most]).await?;
    Ok(Standing { sent: row.get(0), proven: row.get(1) })
}
