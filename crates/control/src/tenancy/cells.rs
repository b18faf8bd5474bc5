//! Cells, and the keys that sign contexts for their databases.
//!
//! The private server is the cell `local-1`, registered and prepared at each start. A tenant of level `instance` has a
//! cell of its own, named after its server.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::OPERATOR_TENANT;
use rowhouse_domain::tenancy::residency::Resident;
use rowhouse_store::server::SUPERUSER;
use rowhouse_store::{Change, StoreError, Transaction};
use rowhouse_tenantdb::cell::{self, SCHEMAS_DATABASE, SHARED_DATABASE};
use rowhouse_tenantdb::{Cell, DatabaseKey};
use serde_json::json;

use super::seal::{Seal, SealBroken};
use crate::Control;
use crate::doctor::BelowFloor;

/// The cell that the private server is.
pub const LOCAL_CELL: &str = "local-1";
const PURPOSE: &str = "tenancy/context_key/v1";
/// The first key of a database. Rotation adds further ones.
const FIRST_KEY: &str = "k1";

/// A cell could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum CellsError {
    /// The control database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cell's server failed.
    #[error(transparent)]
    Cell(#[from] cell::CellError),
    /// A context key does not open.
    #[error("the context key of database {database} in cell {cell} cannot be used")]
    Key {
        /// The cell.
        cell: String,
        /// The database.
        database: String,
        /// Why.
        #[source]
        source: SealBroken,
    },
}

/// A cell that is new, or has another address.
#[derive(Debug, Clone)]
pub struct CellAddress<'a> {
    /// Its name.
    pub name: &'a str,
    /// Directory of its socket, or a loopback address; empty while it is not known.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
}

/// Makes the private server the cell `local-1`: registers it, makes its roles, and prepares the databases of shared and
/// schema tenants. To be called at each start, before anything is placed.
///
/// # Errors
/// If either server is away.
pub async fn register_local_cell(control: &Control, host: &str, port: u16) -> Result<(), CellsError> {
    let permit = Permit::for_system(None, "the local cell");
    let transaction = control.store.write(&permit).await?;
    let address = CellAddress { name: LOCAL_CELL, host, port };
    if put(&transaction, &address, "private", "open", &control.settings.region).await? {
        super::plane::raise(&transaction).await?;
        let change = Change::new(OPERATOR_TENANT, "tenancy.cell_changed", "update", permit.principal());
        transaction.commit(change.on("cell", LOCAL_CELL).details(json!({ "kind": "private" }))).await?;
    } else {
        transaction.finish().await?;
    }
    let cell = reachable(&address);
    cell::prepare(&cell).await?;
    for database in [SHARED_DATABASE, SCHEMAS_DATABASE] {
        let key = context_key(control, LOCAL_CELL, database).await?;
        cell::prepare_database(&cell, database, &key).await?;
    }
    super::service_tables::install_shared(control, &cell).await
}

fn reachable(address: &CellAddress<'_>) -> Cell {
    Cell {
        name: address.name.to_owned(),
        host: address.host.to_owned(),
        port: address.port,
        admin_role: SUPERUSER.to_owned(),
        commits_later: false,
    }
}

/// Enters a cell; whether anything about it is new.
pub async fn put(
    transaction: &Transaction,
    address: &CellAddress<'_>,
    kind: &'static str,
    state: &'static str,
    region: &str,
) -> Result<bool, StoreError> {
    let now = transaction.store().clock().now();
    let changed = transaction
        .execute(
            "INSERT INTO tenancy.cells (name, region, kind, host, port, state, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (name) DO UPDATE SET host = excluded.host, port = excluded.port \
               WHERE (cells.host, cells.port) IS DISTINCT FROM (excluded.host, excluded.port)",
            &[&address.name, &region, &kind, &address.host, &i32::from(address.port), &state, &now],
        )
        .await?;
    Ok(changed == 1)
}

/// Whether shared tenants may be placed in a cell: not where the operator refuses servers with known holes.
pub async fn takes_shared(
    control: &Control,
    transaction: &Transaction,
    name: &str,
) -> Result<bool, StoreError> {
    if control.settings.below_floor == BelowFloor::Strict {
        return Ok(true);
    }
    let sql = "SELECT strict FROM tenancy.cells WHERE name = $1";
    Ok(transaction.query_opt(sql, &[&name]).await?.is_some_and(|row| !row.get::<_, bool>(0)))
}

/// Forgets a cell that holds nobody, and its keys.
pub async fn remove(transaction: &Transaction, name: &str) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM tenancy.context_keys WHERE cell = $1", &[&name]).await?;
    transaction.execute("DELETE FROM tenancy.cells WHERE name = $1", &[&name]).await?;
    Ok(())
}

/// The cell with this name, if its address is known.
pub async fn get(transaction: &Transaction, name: &str) -> Result<Option<Cell>, StoreError> {
    let sql = "SELECT host, port FROM tenancy.cells WHERE name = $1 AND host <> ''";
    let row = transaction.query_opt(sql, &[&name]).await?;
    row.map(|row| {
        let port =
            u16::try_from(row.get::<_, i32>(1)).map_err(|_| StoreError::Stored { what: "a cell's port" })?;
        Ok(reachable(&CellAddress { name, host: row.get(0), port }))
    })
    .transpose()
}

/// The same for who ends his work with a commit in the control database that waits for the disk, and lets nobody depend on it before:
/// where the cell is on the control database's own server, its commits wait for that one.
pub async fn get_for_provisioning(transaction: &Transaction, name: &str) -> Result<Option<Cell>, StoreError> {
    let cell = get(transaction, name).await?;
    Ok(cell.map(|cell| {
        let shares_server = transaction.store().is_at(&cell.host, cell.port);
        cell.committing_later(shares_server)
    }))
}

/// Whether a cell is on the control database's own server.
pub async fn shares_server(transaction: &Transaction, name: &str) -> Result<bool, StoreError> {
    Ok(get_for_provisioning(transaction, name).await?.is_some_and(|cell| cell.commits_later))
}

/// Every cell that holds shared tables.
pub async fn with_shared_tables(transaction: &Transaction) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT name FROM tenancy.cells WHERE kind <> 'instance' AND host <> '' ORDER BY name";
    Ok(transaction.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Servers of tenants' own.
pub async fn of_instances(transaction: &Transaction) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT name FROM tenancy.cells WHERE kind = 'instance' AND host <> '' ORDER BY name";
    Ok(transaction.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// The open cell with the fewest tenants where this one may lie, for a tenant that needs no server of its own.
pub async fn choose(transaction: &Transaction, resident: &Resident) -> Result<Option<String>, StoreError> {
    // Counting takes a while with many tenants, and one cell needs none.
    let sql = "WITH c AS MATERIALIZED (SELECT name FROM tenancy.cells \
           WHERE region = $1 AND state = 'open' AND kind <> 'instance') \
         SELECT c.name FROM c ORDER BY CASE WHEN (SELECT count(*) FROM c) > 1 \
           THEN (SELECT count(*) FROM tenancy.places p WHERE p.cell = c.name) END, c.name LIMIT 1";
    Ok(transaction.query_opt(sql, &[&resident.region()]).await?.map(|row| row.get(0)))
}

/// The region of a cell.
pub async fn region_of(transaction: &Transaction, name: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT region FROM tenancy.cells WHERE name = $1";
    Ok(transaction.query_opt(sql, &[&name]).await?.map(|row| row.get(0)))
}

/// The open cell of this name, if the tenant may lie there.
pub async fn named(
    transaction: &Transaction,
    name: &str,
    resident: &Resident,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT name FROM tenancy.cells \
         WHERE name = $1 AND region = $2 AND state = 'open' AND kind <> 'instance'";
    let row = transaction.query_opt(sql, &[&name, &resident.region()]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// The key that signs contexts for `database`; made when it is first asked for.
///
/// # Errors
/// If the control database is away, or the key was sealed with another master key.
pub async fn context_key(control: &Control, cell: &str, database: &str) -> Result<DatabaseKey, CellsError> {
    let permit = Permit::for_system(None, "a context key");
    let transaction = control.store.read(&permit).await?;
    let there = newest_key(&transaction, control, cell, database).await;
    transaction.finish().await?;
    if let Some(key) = there? {
        return Ok(key);
    }
    let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
    let secret = control.entropy().bytes::<32>();
    let sealed = seal.seal(control.entropy(), &[cell, database, FIRST_KEY], &secret);
    let transaction = control.store.write(&permit).await?;
    transaction
        .execute(
            "INSERT INTO tenancy.context_keys (cell, database, key_id, sealed, created_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT DO NOTHING",
            &[&cell, &database, &FIRST_KEY, &sealed, &control.clock().now()],
        )
        .await?;
    let key = newest_key(&transaction, control, cell, database).await;
    transaction.commit_telemetry().await?;
    key?.ok_or(CellsError::Store(StoreError::Stored { what: "a context key" }))
}

/// The newest key of a database.
pub async fn newest_key(
    transaction: &Transaction,
    control: &Control,
    cell: &str,
    database: &str,
) -> Result<Option<DatabaseKey>, CellsError> {
    let sql = "SELECT key_id, sealed FROM tenancy.context_keys WHERE cell = $1 AND database = $2 \
         ORDER BY created_at DESC, key_id DESC LIMIT 1";
    let Some(row) = transaction.query_opt(sql, &[&cell, &database]).await? else { return Ok(None) };
    let (key_id, sealed): (String, Vec<u8>) = (row.get(0), row.get(1));
    let broken = |source| CellsError::Key { cell: cell.to_owned(), database: database.to_owned(), source };
    let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
    let secret = seal.open(&[cell, database, &key_id], &sealed).map_err(broken)?;
    let secret: [u8; 32] = secret.try_into().map_err(|_| broken(SealBroken))?;
    DatabaseKey::new(key_id, secret).map(Some).map_err(|_| broken(SealBroken))
}
