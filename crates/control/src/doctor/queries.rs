//! What the doctor knows of cells, and what it found.

use jiff::Timestamp;
use rowhouse_store::{StoreError, Transaction};
use rowhouse_tenantdb::doctor::Finding;
use rowhouse_tenantdb::probes::Outcome;
use uuid::Uuid;

/// Cells whose address is known, of these names or all.
pub async fn cells(transaction: &Transaction, names: Option<&[String]>) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT name FROM tenancy.cells WHERE host <> '' AND ($1::text[] IS NULL OR name = ANY ($1)) ORDER BY name";
    Ok(transaction.query(sql, &[&names]).await?.iter().map(|row| row.get(0)).collect())
}

/// Cells that nobody has examined since they are there.
pub async fn unexamined(transaction: &Transaction) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT name FROM tenancy.cells WHERE host <> '' AND examined_at IS NULL ORDER BY name";
    Ok(transaction.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Records an examination; whether the cell's strictness is another now.
pub async fn record(
    transaction: &Transaction,
    cell: &str,
    (version, strict): (&str, bool),
    findings: &[(String, Finding)],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let before = transaction
        .query_opt("SELECT strict FROM tenancy.cells WHERE name = $1 FOR UPDATE", &[&cell])
        .await?;
    // A cell that went away meanwhile keeps no findings.
    let Some(before) = before else { return Ok(false) };
    transaction
        .execute(
            "UPDATE tenancy.cells SET strict = $2, server_version = $3, examined_at = $4 WHERE name = $1",
            &[&cell, &strict, &version, &now],
        )
        .await?;
    transaction.execute("DELETE FROM tenancy.findings WHERE cell = $1", &[&cell]).await?;
    for (database, finding) in findings {
        let severity = finding.severity.as_str();
        transaction
            .execute(
                "INSERT INTO tenancy.findings (cell, database, code, object, severity, found_at) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                &[&cell, &database, &finding.code, &finding.object, &severity, &now],
            )
            .await?;
    }
    Ok(before.get::<_, bool>(0) != strict)
}

/// Whether the cell was found strict with this very version of its server.
pub async fn was_strict(transaction: &Transaction, cell: &str, version: &str) -> Result<bool, StoreError> {
    let sql = "SELECT FROM tenancy.cells WHERE name = $1 AND strict AND server_version = $2";
    Ok(transaction.query_opt(sql, &[&cell, &version]).await?.is_some())
}

/// Cells whose address is known and that nobody has probed since `before`.
pub async fn unprobed(transaction: &Transaction, before: Timestamp) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT c.name FROM tenancy.cells c WHERE c.host <> '' AND c.kind <> 'instance' \
         AND NOT EXISTS (SELECT FROM tenancy.probes p WHERE p.cell = c.name AND p.tried_at > $1) ORDER BY c.name";
    Ok(transaction.query(sql, &[&before]).await?.iter().map(|row| row.get(0)).collect())
}

/// Keeps what became of a probe.
pub async fn record_probe(
    transaction: &Transaction,
    (run, number): (Uuid, i32),
    (cell, database): (&str, &str),
    outcome: &Outcome,
    at: Timestamp,
) -> Result<(), StoreError> {
    let probe = outcome.probe;
    let expected = probe.expected.join(" ");
    transaction
        .execute(
            "INSERT INTO tenancy.probes (run_id, number, cell, database, kind, name, on_table, expected, found, held, tried_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            &[
                &run,
                &number,
                &cell,
                &database,
                &probe.kind.as_str(),
                &probe.name,
                &outcome.table,
                &expected,
                &outcome.found,
                &outcome.held,
                &at,
            ],
        )
        .await
        .map(drop)
}

/// Removes evidence from before a time.
pub async fn forget_probes(transaction: &Transaction, before: Timestamp) -> Result<u64, StoreError> {
    transaction.execute("DELETE FROM tenancy.probes WHERE tried_at < $1", &[&before]).await
}

/// A probe, as it is kept.
#[derive(Debug, Clone)]
pub struct ProbeRow {
    pub run: Uuid,
    pub number: i32,
    pub cell: String,
    pub database: String,
    pub kind: String,
    pub name: String,
    pub table: String,
    pub expected: String,
    pub found: String,
    pub held: bool,
    pub at: Timestamp,
}

/// Probes after `after` (round and number), newest round first; of one cell or all, all or those that got through.
pub async fn probes(
    transaction: &Transaction,
    (cell, only_through): (Option<&str>, bool),
    after: Option<(Uuid, i32)>,
    limit: i64,
) -> Result<Vec<ProbeRow>, StoreError> {
    let sql = "SELECT run_id, number, cell, database, kind, name, on_table, expected, found, held, tried_at \
           FROM tenancy.evidence_probes \
          WHERE ($1::text IS NULL OR cell = $1) AND (NOT $2 OR NOT held) \
            AND ($3::uuid IS NULL OR run_id < $3 OR run_id = $3 AND number > $4) \
          ORDER BY run_id DESC, number LIMIT $5";
    let (run, number) = after.unzip();
    let rows = transaction.query(sql, &[&cell, &only_through, &run, &number, &limit]).await?;
    let parse = |row: &tokio_postgres::Row| ProbeRow {
        run: row.get(0),
        number: row.get(1),
        cell: row.get(2),
        database: row.get(3),
        kind: row.get(4),
        name: row.get(5),
        table: row.get(6),
        expected: row.get(7),
        found: row.get(8),
        held: row.get(9),
        at: row.get(10),
    };
    Ok(rows.iter().map(parse).collect())
}
