//! What the doctor knows of cells, and what it found.

use jiff::Timestamp;
use rowhouse_store::{StoreError, Transaction};
use rowhouse_tenantdb::doctor::Finding;

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
