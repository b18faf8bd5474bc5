//! What a schema is: SHA-256 over its canonical catalog. It is taken when a version is installed, in the same transaction,
//! and taken again to find drift: what somebody changed by hand. Names of schema, login and tenant are replaced, so that
//! all tenants of a level have one fingerprint at one version.

use sha2::{Digest, Sha256};
use tokio_postgres::GenericClient;
use uuid::Uuid;

const CATALOG: &str = include_str!("fingerprint.sql");

/// The fingerprint of `schema`, hexadecimal. Leaves the search path empty for the rest of the transaction.
pub(crate) async fn of(
    client: &impl GenericClient,
    schema: &str,
    login: &str,
    tenant: Option<Uuid>,
) -> Result<String, tokio_postgres::Error> {
    client.batch_execute("SET LOCAL search_path = ''").await?;
    let rows = client.query(CATALOG, &[&schema]).await?;
    let tenant = tenant.map(|tenant| tenant.to_string());
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            // The schema of a tenant's first service is named like its login, and beginnings of longer names: longest first.
            let mut line: String = row.get(0);
            let mut names = [(schema, "$schema"), (login, "$login")];
            names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
            for (name, place) in names {
                line = line.replace(name, place);
            }
            tenant.as_ref().map_or(line.clone(), |tenant| line.replace(tenant, "$tenant"))
        })
        .collect();
    lines.sort_unstable();
    let digest = Sha256::digest(lines.join("\n"));
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
