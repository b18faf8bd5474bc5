//! Where tenants lie: the control database's record of each place, and bringing rights from the record to the place.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::{Isolation, Service, Status, SuspensionMode};
use rowhouse_store::{StoreError, Transaction};
use rowhouse_tenantdb::place::{self, PlaceError};
use rowhouse_tenantdb::{Place, Rights};
use tokio_postgres::Row;

use super::cells;
use crate::Control;

/// A place as the control database knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaceRow {
    /// The cell's name.
    pub cell: String,
    /// Names within the cell.
    pub place: Place,
    /// What the tenant may do there.
    pub rights: Rights,
}

/// Rights could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// The control database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The place's server failed.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// The rights that a status gives (`tenancy.md` §2.3).
pub fn rights_of(status: Status, mode: Option<SuspensionMode>, before: Option<Status>) -> Rights {
    match status.service(mode, before) {
        Service::Full => Rights::Full,
        Service::ReadOnly => Rights::ReadOnly,
        Service::Suspended | Service::Leaving | Service::NotReady | Service::Unknown => Rights::None,
    }
}

pub(super) fn rights_of_letters(letters: &str) -> Result<Rights, StoreError> {
    [Rights::Full, Rights::NoGrowth, Rights::ReadOnly, Rights::None]
        .into_iter()
        .find(|rights| rights.letters() == letters)
        .ok_or(StoreError::Stored { what: "the rights of a place" })
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.tenant_id, t.isolation, p.cell, p.database, p.login, p.epoch, p.rights \
             FROM tenancy.places p JOIN tenancy.tenants t ON t.tenant_id = p.tenant_id ",
            $rest
        )
    };
}

fn parse(row: &Row) -> Result<PlaceRow, StoreError> {
    let stored = |what| StoreError::Stored { what };
    let place = Place {
        tenant: TenantId(row.get(0)),
        isolation: Isolation::parse(row.get(1)).ok_or(stored("a tenant's isolation"))?,
        database: row.get(3),
        login: row.get(4),
        epoch: u64::try_from(row.get::<_, i64>(5)).map_err(|_| stored("the epoch of a place"))?,
    };
    Ok(PlaceRow { cell: row.get(2), place, rights: rights_of_letters(row.get(6))? })
}

/// Records a place that is about to be made. Twice is once.
pub async fn reserve(transaction: &Transaction, cell: &str, place: &Place) -> Result<(), StoreError> {
    let epoch = i64::try_from(place.epoch).expect("an epoch counts moves");
    transaction
        .execute(
            "INSERT INTO tenancy.places (tenant_id, cell, database, login, epoch, state) \
             VALUES ($1, $2, $3, $4, $5, 'importing') ON CONFLICT (tenant_id) DO NOTHING",
            &[&place.tenant.0, &cell, &place.database, &place.login, &epoch],
        )
        .await?;
    Ok(())
}

/// Opens a place to services: from now on they are told of it.
pub async fn settle(transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
    transaction
        .execute("UPDATE tenancy.places SET state = 'settled' WHERE tenant_id = $1", &[&tenant.0])
        .await?;
    super::plane::raise(transaction).await
}

/// Forgets a place that is not there any more, and what was installed in it.
pub async fn forget(transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
    let freed = transaction
        .query_opt("DELETE FROM tenancy.places WHERE tenant_id = $1 RETURNING cell, database", &[&tenant.0])
        .await?;
    transaction.execute("DELETE FROM tenancy.installations WHERE tenant_id = $1", &[&tenant.0]).await?;
    let Some(row) = freed else { return Ok(()) };
    let (cell, database): (String, String) = (row.get(0), row.get(1));
    if rowhouse_tenantdb::name::is_tenant_login(&database) {
        let sql = "DELETE FROM tenancy.context_keys WHERE cell = $1 AND database = $2";
        transaction.execute(sql, &[&cell, &database]).await?;
    }
    super::plane::raise(transaction).await
}

/// Marks a place whose writers are about to be kept out for a move: nobody else may give it rights or tables meanwhile.
pub async fn mark_fenced(transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
    let sql = "UPDATE tenancy.places SET state = 'fenced' WHERE tenant_id = $1 AND state = 'settled'";
    transaction.execute(sql, &[&tenant.0]).await.map(drop)
}

/// The place of a tenant, if it is fenced.
pub async fn fenced(transaction: &Transaction, tenant: TenantId) -> Result<Option<PlaceRow>, StoreError> {
    let row =
        transaction.query_opt(select!("WHERE p.tenant_id = $1 AND p.state = 'fenced'"), &[&tenant.0]).await?;
    row.as_ref().map(parse).transpose()
}

/// Ends a fence without a move: the place has been given `rights`, at `epoch`. Services are told.
pub async fn unfence(
    transaction: &Transaction,
    tenant: TenantId,
    rights: Rights,
    epoch: u64,
) -> Result<(), StoreError> {
    let epoch = i64::try_from(epoch).expect("an epoch counts moves");
    transaction
        .execute(
            "UPDATE tenancy.places SET state = 'settled', rights_applied = $2, epoch = $3 \
             WHERE tenant_id = $1 AND state = 'fenced'",
            &[&tenant.0, &rights.letters(), &epoch],
        )
        .await?;
    super::plane::raise(transaction).await
}

/// The decision of a move: from this transaction on the tenant lies at `place`, which was given `rights`. Services are
/// told.
pub async fn decide(
    transaction: &Transaction,
    cell: &str,
    place: &Place,
    rights: Rights,
) -> Result<(), StoreError> {
    let epoch = i64::try_from(place.epoch).expect("an epoch counts moves");
    transaction
        .execute(
            "UPDATE tenancy.places SET cell = $2, database = $3, login = $4, epoch = $5, rights_applied = $6, \
               state = 'settled' WHERE tenant_id = $1",
            &[&place.tenant.0, &cell, &place.database, &place.login, &epoch, &rights.letters()],
        )
        .await?;
    transaction
        .execute(
            "UPDATE tenancy.tenants SET isolation = $2, updated_at = $3, version = version + 1 WHERE tenant_id = $1",
            &[&place.tenant.0, &place.isolation.as_str(), &transaction.store().clock().now()],
        )
        .await?;
    super::plane::raise(transaction).await
}

/// Forgets what was installed in a place that is not the tenant's (any more), and the key of its database if that was
/// made for it.
pub async fn forget_other(transaction: &Transaction, cell: &str, place: &Place) -> Result<(), StoreError> {
    transaction
        .execute(
            "DELETE FROM tenancy.installations WHERE tenant_id = $1 AND cell = $2 AND database = $3",
            &[&place.tenant.0, &cell, &place.database],
        )
        .await?;
    if rowhouse_tenantdb::name::is_tenant_login(&place.database) {
        let sql = "DELETE FROM tenancy.context_keys WHERE cell = $1 AND database = $2";
        transaction.execute(sql, &[&cell, &place.database]).await?;
    }
    Ok(())
}

/// The place of a tenant, in whatever state.
pub async fn get(transaction: &Transaction, tenant: TenantId) -> Result<Option<PlaceRow>, StoreError> {
    let row = transaction.query_opt(select!("WHERE p.tenant_id = $1"), &[&tenant.0]).await?;
    row.as_ref().map(parse).transpose()
}

/// All places that are open to services and have tables of their own.
pub async fn with_own_tables(transaction: &Transaction) -> Result<Vec<PlaceRow>, StoreError> {
    let sql = select!("WHERE p.state = 'settled' AND t.isolation <> 'shared' ORDER BY p.tenant_id");
    transaction.query(sql, &[]).await?.iter().map(parse).collect()
}

/// Records what a tenant may do; services are told, and [`apply_rights`] tells the place.
pub async fn set_rights(
    transaction: &Transaction,
    tenant: TenantId,
    rights: Rights,
) -> Result<(), StoreError> {
    // A place that may not grow keeps to that whatever else happens to the tenant.
    let sql = "UPDATE tenancy.places SET rights = CASE WHEN may_grow THEN $2 ELSE replace($2, 'w', '') END \
         WHERE tenant_id = $1";
    transaction.execute(sql, &[&tenant.0, &rights.letters()]).await?;
    super::plane::raise(transaction).await
}

/// Says whether a tenant's place may grow: without that it may read and delete, and write nothing. Twice is once.
pub async fn set_growth(
    transaction: &Transaction,
    tenant: TenantId,
    may_grow: bool,
) -> Result<(), StoreError> {
    let sql = "UPDATE tenancy.places SET may_grow = $2, rights = CASE \
             WHEN $2 AND rights = 'rd' THEN 'rwd' WHEN NOT $2 THEN replace(rights, 'w', '') ELSE rights END \
         WHERE tenant_id = $1 AND may_grow <> $2";
    match transaction.execute(sql, &[&tenant.0, &may_grow]).await? {
        0 => Ok(()),
        _ => super::plane::raise(transaction).await,
    }
}

/// Says of all places whether they may grow, where that was otherwise: all but those of `full`. How many were.
pub async fn settle_growth(transaction: &Transaction, full: &[uuid::Uuid]) -> Result<u64, StoreError> {
    let sql = "UPDATE tenancy.places SET may_grow = NOT may_grow, rights = CASE \
             WHEN may_grow THEN replace(rights, 'w', '') WHEN rights = 'rd' THEN 'rwd' ELSE rights END \
         WHERE may_grow = (tenant_id = ANY ($1))";
    let settled = transaction.execute(sql, &[&full]).await?;
    if settled > 0 {
        super::plane::raise(transaction).await?;
    }
    Ok(settled)
}

/// Brings the rights of places to what is recorded, the oldest tenants first; of one tenant, or of all. How many differed.
///
/// # Errors
/// With the first that could not be brought; the others wait for the next call.
pub async fn apply_rights(control: &Control, tenant: Option<TenantId>) -> Result<usize, RightsError> {
    let permit = Permit::for_system(None, "rights of places");
    let transaction = control.store.read(&permit).await?;
    let sql = select!(
        "WHERE p.rights <> p.rights_applied AND p.state = 'settled' AND ($1::uuid IS NULL OR p.tenant_id = $1) \
         ORDER BY p.tenant_id"
    );
    let rows = transaction.query(sql, &[&tenant.map(|tenant| tenant.0)]).await?;
    let differing = rows.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let mut brought = Vec::new();
    for row in differing {
        if let Some(cell) = cells::get(&transaction, &row.cell).await? {
            brought.push((cell, row));
        }
    }
    transaction.finish().await?;
    for (cell, row) in &brought {
        place::set_rights(cell, &row.place, row.rights).await?;
        let transaction = control.store.write(&permit).await?;
        let sql = "UPDATE tenancy.places SET rights_applied = $2 WHERE tenant_id = $1";
        transaction.execute(sql, &[&row.place.tenant.0, &row.rights.letters()]).await?;
        transaction.commit_telemetry().await?;
    }
    Ok(brought.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_follow_the_status() {
        let of = |status, mode| rights_of(status, mode, None).letters();
        assert_eq!(of(Status::Active, None), "rwd");
        assert_eq!(of(Status::Suspended, Some(SuspensionMode::ReadOnly)), "r");
        assert_eq!(of(Status::Suspended, Some(SuspensionMode::Blocked)), "");
        for status in [Status::Leaving, Status::Provisioning, Status::Failed, Status::Terminated] {
            assert_eq!(of(status, None), "", "{status:?}");
        }
        assert_eq!(rights_of(Status::Migrating, None, Some(Status::Active)), Rights::Full);
    }
}
