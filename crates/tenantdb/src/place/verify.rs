//! Trying a place out as its tenant: what must work is done (and rolled back), what must not work is tried.

use futures_util::future::{join_all, join3};
use rowhouse_domain::tenancy::Isolation;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Place;
use crate::DatabaseKey;
use crate::cell::{Cell, LOCK_CLUSTER};
use crate::connect::{ConnectError, Connected};
use crate::name::{NameError, quote};
use crate::tables::PROBE_TABLE;
use crate::token::TokenClaims;

/// What was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Names of the probes that were refused as they must be.
    pub refused: Vec<&'static str>,
}

/// Why a place is not fit for use.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The tenant's login gets no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A schema whose name cannot stand in SQL.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What must work does not.
    #[error("the tenant cannot {doing} in its own place")]
    Broken {
        /// What was tried.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A row that was written could not be read back.
    #[error("the tenant does not see the row it has just written")]
    Unseen,
    /// What must be refused was not, or not in the way it must be.
    #[error("probe `{probe}` ended with {found} instead of {expected}")]
    Open {
        /// Which probe.
        probe: &'static str,
        /// The SQLSTATE that was expected.
        expected: String,
        /// What came: a SQLSTATE, or `success`.
        found: String,
    },
}

/// Takes away what the login has set for itself, connects as it, writes, reads and deletes a probe row of `schema` in a transaction that is rolled
/// back, and makes eight attempts that must be refused. The place must have full rights.
///
/// # Errors
/// If something that must work does not, or the reverse.
pub async fn verify(
    cell: &Cell,
    place: &Place,
    schema: &str,
    key: &DatabaseKey,
) -> Result<Verified, VerifyError> {
    let broken = |doing| move |source| VerifyError::Broken { doing, source };
    forget_own_settings(cell, place).await?;
    let client = cell.borrow_as(&place.login, &place.database).await?;
    let table = format!("{}.{PROBE_TABLE}", quote(schema)?);
    let row = client
        .query_typed_one("SELECT pg_backend_pid(), extract(epoch FROM clock_timestamp())::bigint", &[])
        .await
        .map_err(broken("ask its server for the time"))?;
    let claims = TokenClaims {
        tenant: place.tenant.0,
        epoch: place.epoch,
        rights: "rwd",
        backend_pid: row.get(0),
        not_after_s: row.get::<_, i64>(1) + 60,
    };
    let enter = entering(&key.mint(&claims));
    let id = place.tenant.0;
    let use_it = format!(
        "{enter}; INSERT INTO {table} (id, marker) VALUES ('{id}', 'probe');
         UPDATE {table} SET marker = 'probed' WHERE id = '{id}'"
    );
    let look = format!("SELECT FROM {table} WHERE tenant_id = $1 AND marker = 'probed'");
    let remove = format!("DELETE FROM {table} WHERE id = '{id}'; ROLLBACK");
    // In this order on one connection, and the first answer is waited for with the last.
    let (used, seen, removed) = join3(
        client.batch_execute(&use_it),
        client.query_typed(&look, &[(&id, Type::UUID)]),
        client.batch_execute(&remove),
    )
    .await;
    used.map_err(broken("write"))?;
    let seen = seen.map_err(broken("read"))?;
    removed.map_err(broken("delete"))?;
    if seen.is_empty() {
        return Err(VerifyError::Unseen);
    }
    let refused = refuse_all(&client, &probes(place, key, &claims, &table)).await?;
    match place.isolation {
        Isolation::Shared => client.give_back().await,
        // Nobody else has this login.
        _ => client.close().await,
    }
    Ok(Verified { refused })
}

/// A login may give itself settings, and nobody can take that right from it. The one that all shared tenants have in
/// common would otherwise let one of them keep new ones from being proven.
async fn forget_own_settings(cell: &Cell, place: &Place) -> Result<(), VerifyError> {
    let (login, database) = (quote(&place.login)?, quote(&place.database)?);
    let failed = |source| VerifyError::Broken { doing: "be freed of its own settings", source };
    let admin = cell.borrow("postgres").await?;
    let own =
        "SELECT FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole WHERE r.rolname = $1 LIMIT 1";
    // Nearly never: and all shared tenants would wait here for each other.
    if !admin.query_typed(own, &[(&place.login, Type::TEXT)]).await.map_err(failed)?.is_empty() {
        admin
            .batch_execute(&format!(
                "BEGIN; {LOCK_CLUSTER};
                 ALTER ROLE {login} RESET ALL; ALTER ROLE {login} IN DATABASE {database} RESET ALL; COMMIT"
            ))
            .await
            .map_err(failed)?;
    }
    admin.give_back().await;
    Ok(())
}

/// `BEGIN` and the context. The token holds hexadecimal digits, letters, digits, dots, hyphens and underscores only.
fn entering(token: &str) -> String {
    format!("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT rh.enter('{token}', true)")
}

struct Probe {
    name: &'static str,
    sql: String,
    /// Any of these SQLSTATEs is the right answer.
    expected: &'static [&'static str],
}

fn probes(place: &Place, key: &DatabaseKey, claims: &TokenClaims<'_>, table: &str) -> Vec<Probe> {
    let good = entering(&key.mint(claims));
    let forged = DatabaseKey::new(key.kid(), [0; 32]).expect("the kid of a key is well-formed").mint(claims);
    let elsewhere = key.mint(&TokenClaims { backend_pid: claims.backend_pid + 1, ..*claims });
    let expired = key.mint(&TokenClaims { not_after_s: 1, ..*claims });
    let stale = key.mint(&TokenClaims { epoch: place.epoch + 1_000_000, ..*claims });
    let other = Uuid::from_u128(!place.tenant.0.as_u128());
    let probe = |name, sql, expected| Probe { name, sql, expected };
    vec![
        probe("no context", "BEGIN; SELECT rh.tenant('r')".to_owned(), &["RH001"]),
        probe("forged signature", entering(&forged), &["RH001"]),
        probe("another backend's context", entering(&elsewhere), &["RH001"]),
        probe("expired context", entering(&expired), &["RH001"]),
        probe("stale epoch", entering(&stale), &["RH002"]),
        probe(
            "a row for another tenant",
            format!("{good}; INSERT INTO {table} (tenant_id, id, marker) VALUES ('{other}', '{other}', 'x')"),
            &["42501", "23514"],
        ),
        probe("the key", format!("{good}; SELECT * FROM rh.key"), &["42501"]),
        probe("DDL", format!("{good}; CREATE TEMP TABLE x ()"), &["42501"]),
    ]
}

async fn refuse_all(client: &Connected, probes: &[Probe]) -> Result<Vec<&'static str>, VerifyError> {
    // Each ends the transaction of the one before it; all are sent without waiting for the answers.
    let asked: Vec<String> = probes.iter().map(|probe| format!("ROLLBACK; {}", probe.sql)).collect();
    let answers = join_all(asked.iter().map(|sql| client.batch_execute(sql))).await;
    for (probe, answer) in probes.iter().zip(answers) {
        let found = match answer {
            Ok(()) => "success".to_owned(),
            Err(problem) => match problem.code() {
                Some(code) => code.code().to_owned(),
                None => return Err(VerifyError::Broken { doing: "keep its connection", source: problem }),
            },
        };
        if !probe.expected.contains(&found.as_str()) {
            return Err(VerifyError::Open {
                probe: probe.name,
                expected: probe.expected.join(" or "),
                found,
            });
        }
    }
    let ended = client.batch_execute("ROLLBACK").await;
    ended.map_err(|source| VerifyError::Broken { doing: "end a transaction", source })?;
    Ok(probes.iter().map(|probe| probe.name).collect())
}
