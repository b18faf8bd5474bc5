//! One copy of the template that lies ready in a cell for the next tenant with a database of its own: giving it the tenant's name
//! takes milliseconds, copying takes many times that.
//!
//! - It bears nobody's name, holds no key, no place and no table, and takes no connections until it is given away, the
//!   administrator's neither.
//! - It is a copy like every other one: whoever takes it looks whether it is like its template.
//! - It goes with its template. What another process, another release or a crash has left is dropped where a template is made anew.
//! - It is made after one was given away, never while somebody else makes a database.

use tokio_postgres::error::SqlState;

use super::template::{self, Template};
use super::{Cell, CellError, LOCK_CLASS, LOCK_CLUSTER, while_doing};
use crate::connect::Connected;
use crate::name::quote;

/// What names of copies in stock begin with.
pub(super) const PREFIX: &str = "rh_stock_";
const DOING: &str = "laying a database in stock";
const TAKING: &str = "taking a database from stock";

/// What [`fill`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// A copy was laid in stock.
    Made,
    /// One lies there, or this process has no template to copy.
    Whole,
    /// Somebody makes or takes a database just now, or has ended while he did. It is to be looked at again a little later.
    Busy,
}

/// Lays a copy in stock where this process has made a template, and none lies there. What a crash has left of a copy is removed.
///
/// # Errors
/// If the server is away. What is half made then is dropped by the next one.
pub async fn fill(cell: &Cell) -> Result<Filled, CellError> {
    let server = cell.borrow("postgres").await?;
    let lock = format!("SELECT pg_try_advisory_lock({LOCK_CLASS}, 3)");
    // It ends with the connection, or below.
    if !server.query_one(&lock, &[]).await.map_err(while_doing(DOING))?.get::<_, bool>(0) {
        server.give_back().await;
        return Ok(Filled::Busy);
    }
    let filled = match crate::place::orphans::remove_databases(&server).await? {
        0 => fill_alone(cell, &server).await?,
        _ => Filled::Busy,
    };
    let unlock = format!("SELECT pg_advisory_unlock({LOCK_CLASS}, 3)");
    server.batch_execute(&unlock).await.map_err(while_doing(DOING))?;
    server.give_back().await;
    Ok(filled)
}

/// The caller holds the lock under which databases are made.
async fn fill_alone(cell: &Cell, server: &Connected) -> Result<Filled, CellError> {
    match template::known(cell, server).await? {
        Some(template) if !is_there(server, &name_of(&template)).await? => {
            make(cell, server, &template).await
        }
        _ => Ok(Filled::Whole),
    }
}

/// Gives the copy in stock the name `database`, if there is one; whether there was. The caller holds the lock under which databases are
/// made. In one transaction, so that a crash leaves the copy where it was, or a database that nobody was let into yet.
pub(super) async fn take(server: &Connected, template: &Template, database: &str) -> Result<bool, CellError> {
    let name = name_of(template);
    if !is_there(server, &name).await? {
        return Ok(false);
    }
    let (name, database) = (quote(&name)?, quote(database)?);
    let given = server
        .batch_execute(&format!(
            "BEGIN; {LOCK_CLUSTER}; ALTER DATABASE {name} RENAME TO {database}; \
             ALTER DATABASE {database} ALLOW_CONNECTIONS true; COMMIT"
        ))
        .await;
    match given {
        Ok(()) => Ok(true),
        // Who was let into it while it was open has not left: the administrator, or nobody.
        Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {
            server.batch_execute("ROLLBACK").await.map_err(while_doing(TAKING))?;
            Ok(false)
        }
        Err(error) => Err(while_doing(TAKING)(error)),
    }
}

fn name_of(template: &Template) -> String {
    format!("{PREFIX}{}", template.digest())
}

/// Whether it is there and whole: connections are taken from it last.
async fn is_there(server: &Connected, name: &str) -> Result<bool, CellError> {
    let sql = "SELECT FROM pg_database WHERE datname = $1 AND NOT datallowconn";
    Ok(server.query_opt(sql, &[&name]).await.map_err(while_doing(DOING))?.is_some())
}

/// Copies the template. The copy is looked at once, which also makes PostgreSQL write what every later connection reads first.
async fn make(cell: &Cell, server: &Connected, template: &Template) -> Result<Filled, CellError> {
    let failed = || while_doing(DOING);
    let name = name_of(template);
    let (quoted, source) = (quote(&name)?, quote(&template.name)?);
    let drop = format!("DROP DATABASE IF EXISTS {quoted} WITH (FORCE)");
    server.batch_execute(&drop).await.map_err(failed())?;
    let create = format!("CREATE DATABASE {quoted} CONNECTION LIMIT 0 ENCODING 'UTF8' TEMPLATE {source}");
    server.batch_execute(&create).await.map_err(failed())?;
    let admin = cell.connect(&name).await?;
    let likeness = template::likeness(&*admin).await?;
    admin.close().await;
    if likeness != template.likeness {
        template::distrust(cell, template);
        server.batch_execute(&drop).await.map_err(failed())?;
        return Ok(Filled::Whole);
    }
    server
        .batch_execute(&format!(
            "BEGIN; {LOCK_CLUSTER}; REVOKE CONNECT, TEMPORARY ON DATABASE {quoted} FROM PUBLIC; \
             ALTER DATABASE {quoted} ALLOW_CONNECTIONS false; COMMIT"
        ))
        .await
        .map_err(failed())?;
    Ok(Filled::Made)
}
