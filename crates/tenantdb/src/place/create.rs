//! Making a place: login and groups, database or schema database, the right to connect, and the row in `rh.place`
//! that lets transactions begin. The tables come after (`tables::install`).

use rowhouse_domain::tenancy::Isolation;
use tokio_postgres::Transaction;

use super::rights::memberships;
use super::{Place, PlaceError};
use crate::cell::{
    Cell, LOCK_CLUSTER, create_database, holds_key, is_prepared, make_fit, open_database, while_doing,
};
use crate::connect::Connected;
use crate::name::quote;
use crate::{DatabaseKey, Rights};

/// Makes `place` in `cell` with full rights. The cell must be prepared; `key` is the context key of the place's
/// database, which is prepared with it if it is not yet. A place that exists keeps its rights and its epoch.
///
/// # Errors
/// If the names do not fit the level, the server is away or the administrator may not.
pub async fn create(cell: &Cell, place: &Place, key: &DatabaseKey) -> Result<(), PlaceError> {
    place.check()?;
    if place.isolation != Isolation::Shared {
        make_login(cell, place).await?;
    }
    if place.database != place.login && enter(cell, place, key).await? {
        return Ok(());
    }
    if is_prepared(cell, &place.database, key).await? {
        let_in(cell, place).await?;
        let mut admin = cell.borrow(&place.database).await?;
        record_committed(&mut admin, place).await?;
        admin.give_back().await;
        return Ok(());
    }
    create_database(cell, &place.database).await?;
    let mut admin = cell.borrow(&place.database).await?;
    let transaction = admin.transaction().await.map_err(while_doing("beginning a place"))?;
    make_fit(&transaction, key).await?;
    // Nobody gets in before the database is opened.
    record(&transaction, place).await?;
    transaction.commit().await.map_err(while_doing("making a place"))?;
    admin.give_back().await;
    Ok(open_database(cell, &place.database, own_login(place)).await?)
}

/// The login that a place brings with it.
fn own_login(place: &Place) -> Option<&str> {
    (place.isolation != Isolation::Shared).then_some(place.login.as_str())
}

/// A database of many tenants is there but for a cell's first one, and then a place is one row (and the login's right to
/// connect): one connection does it. Whether it was there.
async fn enter(cell: &Cell, place: &Place, key: &DatabaseKey) -> Result<bool, PlaceError> {
    let Ok(mut admin) = cell.borrow(&place.database).await else { return Ok(false) };
    let prepared = holds_key(&admin, key).await?;
    if prepared {
        let_in(cell, place).await?;
        record_committed(&mut admin, place).await?;
    }
    admin.give_back().await;
    Ok(prepared)
}

async fn record_committed(admin: &mut Connected, place: &Place) -> Result<(), PlaceError> {
    let transaction = admin.transaction().await.map_err(while_doing("beginning a place"))?;
    record(&transaction, place).await?;
    transaction.commit().await.map_err(while_doing("making a place"))?;
    Ok(())
}

/// The login of a place of its own may connect; the shared one may since the database was opened.
async fn let_in(cell: &Cell, place: &Place) -> Result<(), PlaceError> {
    let Some(login) = own_login(place) else { return Ok(()) };
    let (login, database) = (quote(login)?, quote(&place.database)?);
    let server = cell.borrow("postgres").await?;
    server
        .batch_execute(&format!(
            "BEGIN; {LOCK_CLUSTER}; GRANT CONNECT ON DATABASE {database} TO {login}; COMMIT"
        ))
        .await
        .map_err(while_doing("letting a tenant's login in"))?;
    server.give_back().await;
    Ok(())
}

/// A tenant has at most one place in a database: another login there is a mistake of whoever chose the names.
async fn record(transaction: &Transaction<'_>, place: &Place) -> Result<(), PlaceError> {
    let epoch = i64::try_from(place.epoch).expect("an epoch counts moves");
    transaction
        .execute(
            "INSERT INTO rh.place (tenant, login, epoch, rights) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant) DO NOTHING",
            &[&place.tenant.0, &place.login, &epoch, &Rights::Full.letters()],
        )
        .await
        .map_err(while_doing("recording a place"))?;
    let ours = transaction
        .query_opt("SELECT FROM rh.place WHERE tenant = $1 AND login = $2", &[&place.tenant.0, &place.login])
        .await
        .map_err(while_doing("reading a place"))?;
    match ours {
        Some(_) => Ok(()),
        None => Err(PlaceError::Occupied { tenant: place.tenant, database: place.database.clone() }),
    }
}

/// As for the shared login: three in ten of the server's connections stay for others. The name is plain.
fn limit_connections(login: &str) -> String {
    format!(
        "DO $$ BEGIN EXECUTE format('ALTER ROLE %I CONNECTION LIMIT %s', '{login}',
         current_setting('max_connections')::int * 7 / 10); END $$;\n"
    )
}

/// A login without any attribute, and its three groups, which alone hold privileges on tables. A login that exists
/// (the step is repeated) keeps the memberships it has, because rights may have changed meanwhile.
async fn make_login(cell: &Cell, place: &Place) -> Result<(), PlaceError> {
    let mut admin = cell.borrow("postgres").await?;
    let transaction = admin.transaction().await.map_err(while_doing("beginning a login"))?;
    let login = quote(&place.login)?;
    transaction.batch_execute(LOCK_CLUSTER).await.map_err(while_doing("locking the roles"))?;
    let exists = transaction
        .query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&place.login])
        .await
        .map_err(while_doing("looking for a login"))?;
    if exists.is_none() {
        let mut sql = format!("CREATE ROLE {login} LOGIN INHERIT;\n{}", limit_connections(&place.login));
        for (_, group) in place.groups() {
            sql.push_str(&format!("CREATE ROLE {} NOLOGIN;\n", quote(&group)?));
        }
        sql.push_str(&memberships(place, Rights::Full)?);
        transaction.batch_execute(&sql).await.map_err(while_doing("making a login"))?;
    }
    transaction.commit().await.map_err(while_doing("making a login"))?;
    admin.give_back().await;
    Ok(())
}
