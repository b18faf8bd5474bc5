//! Rows of credentials and challenges.

use jiff::Timestamp;
use rowhouse_domain::id::{FactorId, UserId};
use rowhouse_domain::identity::webauthn::Registered;
use rowhouse_store::{StoreError, Transaction};

/// A credential that is in use.
#[derive(Debug, Clone)]
pub struct CredentialRow {
    pub factor: FactorId,
    pub user: UserId,
    /// `security_key` or `passkey`.
    pub kind: String,
    pub id: Vec<u8>,
    pub public_key: Vec<u8>,
    pub sign_count: i64,
    pub backup_eligible: bool,
    pub transports: Vec<String>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT f.factor_id, f.user_id, f.kind, c.credential_id, c.public_key, c.sign_count, c.backup_eligible, c.transports \
             FROM identity.credentials c JOIN identity.factors f ON f.factor_id = c.factor_id WHERE f.state = 'active' ",
            $rest
        )
    };
}

fn credential(row: &tokio_postgres::Row) -> CredentialRow {
    CredentialRow {
        factor: FactorId(row.get(0)),
        user: UserId(row.get(1)),
        kind: row.get(2),
        id: row.get(3),
        public_key: row.get(4),
        sign_count: row.get(5),
        backup_eligible: row.get(6),
        transports: row.get(7),
    }
}

/// A person's credentials, oldest first.
pub async fn of_user(tx: &Transaction, user: UserId) -> Result<Vec<CredentialRow>, StoreError> {
    let sql = select!("AND f.user_id = $1 ORDER BY f.factor_id");
    Ok(tx.query(sql, &[&user.0]).await?.iter().map(credential).collect())
}

/// One by its id, whoever's it is, held against others.
pub async fn lock(tx: &Transaction, id: &[u8]) -> Result<Option<CredentialRow>, StoreError> {
    let sql = select!("AND c.credential_id = $1 FOR UPDATE OF c");
    Ok(tx.query_opt(sql, &[&id]).await?.as_ref().map(credential))
}

/// Stores one with its factor; false if somebody has enrolled it before.
pub async fn insert(
    tx: &Transaction,
    (user, factor): (UserId, FactorId),
    (kind, label): (&str, &str),
    (new, transports): (&Registered, &[String]),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM identity.credentials WHERE credential_id = $1";
    if tx.query_opt(sql, &[&new.id]).await?.is_some() {
        return Ok(false);
    }
    let sql = "INSERT INTO identity.factors (factor_id, user_id, kind, label, state, created_at) VALUES ($1, $2, $3, $4, 'active', $5)";
    tx.execute(sql, &[&factor.0, &user.0, &kind, &label, &now]).await?;
    let sql = "INSERT INTO identity.credentials (factor_id, credential_id, public_key, sign_count, aaguid, backup_eligible, backed_up, \
               transports) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT ON CONSTRAINT credentials_id_key DO NOTHING";
    let (count, aaguid) = (i64::from(new.sign_count), uuid::Uuid::from_bytes(new.aaguid));
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&factor.0, &new.id, &new.key, &count, &aaguid, &new.backup_eligible, &new.backed_up, &transports];
    Ok(tx.execute(sql, values).await? == 1)
}

/// It was used.
pub async fn used(
    tx: &Transaction,
    factor: FactorId,
    (sign_count, backed_up): (u32, bool),
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE identity.credentials SET sign_count = $2, backed_up = $3 WHERE factor_id = $1";
    tx.execute(sql, &[&factor.0, &i64::from(sign_count), &backed_up]).await?;
    let sql = "UPDATE identity.factors SET last_used_at = $2 WHERE factor_id = $1";
    tx.execute(sql, &[&factor.0, &now]).await.map(drop)
}

/// Keeps a challenge in the place of the one before.
pub async fn put_challenge(
    tx: &Transaction,
    (bound, purpose): (&[u8], &str),
    challenge: &[u8],
    until: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO identity.challenges (bound, purpose, challenge, expires_at) VALUES ($1, $2, $3, $4) \
               ON CONFLICT ON CONSTRAINT challenges_pkey DO UPDATE SET challenge = excluded.challenge, expires_at = excluded.expires_at";
    tx.execute(sql, &[&bound, &purpose, &challenge, &until]).await.map(drop)
}

/// Takes one: nobody else has it after this.
pub async fn take_challenge(
    tx: &Transaction,
    (bound, purpose): (&[u8], &str),
    now: Timestamp,
) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "DELETE FROM identity.challenges WHERE bound = $1 AND purpose = $2 RETURNING challenge, expires_at > $3";
    let row = tx.query_opt(sql, &[&bound, &purpose, &now]).await?;
    Ok(row.filter(|row| row.get(1)).map(|row| row.get(0)))
}
