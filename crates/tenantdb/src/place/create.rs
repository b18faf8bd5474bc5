//! Making a place: login and groups, database or schema database, the right to connect, and the row in `rh.place`
//! that lets transactions begin. The tables come after (`tables::install`).

use rowhouse_domain::tenancy::Isolation;
use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::rights::memberships;
use super::{Place, PlaceError};
use crate::cell::{
    Cell, CellError, LOCK_CLUSTER, Made, Origin, create_database, holds_key, is_prepared, make_fit,
    open_database, put_key, template, while_doing,
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
        let admin = cell.borrow(&place.database).await?;
        record(&**admin, place).await?;
        admin.give_back().await;
        return Ok(());
    }
    make_database(cell, place, key).await?;
    Ok(open_database(cell, &place.database, own_login(place)).await?)
}

/// Makes the place's database and records the place in it. Nobody gets in before the database is opened.
///
/// One that is still closed and holds no place was never open to anybody, and may be the copy of a template that was changed: it
/// is made anew. So is a copy that is not like its template, and that one is made of nothing.
async fn make_database(cell: &Cell, place: &Place, key: &DatabaseKey) -> Result<(), PlaceError> {
    // On a server of its own there will be no second one.
    let mut origin = if place.isolation == Isolation::Database { Origin::Template } else { Origin::Nothing };
    loop {
        let made = create_database(cell, &place.database, origin).await?;
        let mut admin = cell.borrow(&place.database).await?;
        if matches!(made, Made::Nothing) && is_unused(&admin).await? {
            admin.close().await;
            drop_closed(cell, place).await?;
            continue;
        }
        let transaction = admin.transaction().await.map_err(while_doing("beginning a place"))?;
        match &made {
            Made::Nothing | Made::Empty => make_fit(&transaction, Some(key)).await?,
            Made::Copy(template) if template::likeness(&transaction).await? == template.likeness => {
                put_key(&transaction, key).await?;
            }
            Made::Copy(template) => {
                tracing::error!(
                    cell = cell.name,
                    template = template.name,
                    "somebody has changed the template of tenants' databases; it is not used and will be made anew"
                );
                template::distrust(cell, template);
                transaction.rollback().await.map_err(while_doing("leaving a database"))?;
                admin.close().await;
                drop_closed(cell, place).await?;
                origin = Origin::Nothing;
                continue;
            }
        }
        record(&transaction, place).await?;
        transaction.commit().await.map_err(while_doing("making a place"))?;
        admin.give_back().await;
        return Ok(());
    }
}

/// Whether the database that `admin` is connected to is closed as it was born, and holds no place.
async fn is_unused(admin: &Connected) -> Result<bool, CellError> {
    let failed = || while_doing("looking for a place");
    let closed = "SELECT to_regclass('rh.place') IS NOT NULL
                    FROM pg_database WHERE datname = current_database() AND datconnlimit = 0";
    let Some(row) = admin.query_opt(closed, &[]).await.map_err(failed())? else { return Ok(false) };
    if !row.get::<_, bool>(0) {
        return Ok(true);
    }
    let places = admin.query_one("SELECT EXISTS (SELECT FROM rh.place)", &[]).await.map_err(failed())?;
    Ok(!places.get::<_, bool>(0))
}

/// Drops the place's database, which nobody was ever let into.
async fn drop_closed(cell: &Cell, place: &Place) -> Result<(), PlaceError> {
    let server = cell.borrow("postgres").await?;
    server
        .batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(&place.database)?))
        .await
        .map_err(while_doing("dropping a database that nobody was in"))?;
    server.give_back().await;
    Ok(())
}

/// The login that a place brings with it.
fn own_login(place: &Place) -> Option<&str> {
    (place.isolation != Isolation::Shared).then_some(place.login.as_str())
}

/// A database of many tenants is there but for a cell's first one, and then a place is one row (and the login's right to
/// connect): one connection does it. Whether it was there.
async fn enter(cell: &Cell, place: &Place, key: &DatabaseKey) -> Result<bool, PlaceError> {
    let Ok(admin) = cell.borrow(&place.database).await else { return Ok(false) };
    let prepared = holds_key(&admin, key).await?;
    if prepared {
        let_in(cell, place).await?;
        record(&**admin, place).await?;
    }
    admin.give_back().await;
    Ok(prepared)
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
async fn record(admin: &impl GenericClient, place: &Place) -> Result<(), PlaceError> {
    let epoch = i64::try_from(place.epoch).expect("an epoch counts moves");
    let made = admin
        .query_typed(
            "INSERT INTO rh.place (tenant, login, epoch, rights) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant) DO NOTHING RETURNING login",
            &[
                (&place.tenant.0, Type::UUID),
                (&place.login, Type::TEXT),
                (&epoch, Type::INT8),
                (&Rights::Full.letters(), Type::TEXT),
            ],
        )
        .await
        .map_err(while_doing("recording a place"))?;
    if !made.is_empty() {
        return Ok(());
    }
    let ours = admin
        .query_typed(
            "SELECT FROM rh.place WHERE tenant = $1 AND login = $2",
            &[(&place.tenant.0, Type::UUID), (&place.login, Type::TEXT)],
        )
        .await
        .map_err(while_doing("reading a place"))?;
    match ours.is_empty() {
        false => Ok(()),
        true => Err(PlaceError::Occupied { tenant: place.tenant, database: place.database.clone() }),
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
