//! The template that tenants' own databases are copied from: a database made fit once, without keys, places or tables. Making one
//! fit takes several times as long as copying it.
//!
//! - Its name tells what makes it fit and the server's release, so that another release of either makes another one.
//! - Nobody connects to it: it takes connections only while it is made, and then only the administrator's.
//! - It is made anew by each process that needs it, which keeps the [`Likeness`] of what it made. A copy that is not like it
//!   comes from a template that somebody changed: it is dropped, the template made anew, and that is logged.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio_postgres::GenericClient;

use super::{Cell, CellError, GUARD, MIGRATING, REVOKES, make_fit, stock, while_doing};
use crate::connect::Connected;
use crate::name::quote;

const LIKENESS: &str = include_str!("likeness.sql");
const PREFIX: &str = "rh_template_";
const DOING: &str = "making a template";

/// What a database is, as a digest over its catalog: what was added to what the server brings, and what was changed of that.
pub(crate) type Likeness = String;

/// Templates by host, port and name.
type Templates = HashMap<(String, u16, String), Likeness>;

/// Those that this process made.
static MADE: LazyLock<Mutex<Templates>> = LazyLock::new(Mutex::default);

/// A template that may be copied now.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub name: String,
    pub likeness: Likeness,
}

impl Template {
    /// What tells it apart from templates of other releases.
    pub(super) fn digest(&self) -> &str {
        self.name.strip_prefix(PREFIX).unwrap_or(&self.name)
    }
}

/// The template of `cell`, made if this process has not made it. The caller holds the lock under which databases are made;
/// `server` is connected to the database `postgres`.
pub(crate) async fn ready(cell: &Cell, server: &Connected) -> Result<Template, CellError> {
    if let Some(template) = known(cell, server).await? {
        return Ok(template);
    }
    let name = name_of(&release(server).await?);
    let likeness = make(cell, server, &name).await?;
    let key = (cell.host.clone(), cell.port, name.clone());
    MADE.lock().unwrap_or_else(PoisonError::into_inner).insert(key, likeness.clone());
    Ok(Template { name, likeness })
}

async fn release(server: &Connected) -> Result<String, CellError> {
    let sql = "SELECT current_setting('server_version_num')";
    Ok(server.query_one(sql, &[]).await.map_err(while_doing(DOING))?.get(0))
}

/// The template of `cell` if this process has made it and it may be copied. The caller holds the lock under which databases are made.
pub(super) async fn known(cell: &Cell, server: &Connected) -> Result<Option<Template>, CellError> {
    let name = name_of(&release(server).await?);
    let key = (cell.host.clone(), cell.port, name.clone());
    let made = MADE.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    match made {
        Some(likeness) if is_closed(server, &name).await? => Ok(Some(Template { name, likeness })),
        _ => Ok(None),
    }
}

/// Forgets what this process made: the next one is made anew.
pub(crate) fn distrust(cell: &Cell, template: &Template) {
    let key = (cell.host.clone(), cell.port, template.name.clone());
    MADE.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
}

fn name_of(release: &str) -> String {
    let mut digest = Sha256::new();
    for part in [release, REVOKES, GUARD, MIGRATING] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.finalize()[..8].iter().fold(PREFIX.to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// Whether it is there and whole: connections are taken from it last.
async fn is_closed(server: &Connected, name: &str) -> Result<bool, CellError> {
    let sql = "SELECT FROM pg_database WHERE datname = $1 AND NOT datallowconn";
    Ok(server.query_opt(sql, &[&name]).await.map_err(while_doing(DOING))?.is_some())
}

/// Drops it and those of other releases, and what was copied from them to lie in stock, and makes it.
async fn make(cell: &Cell, server: &Connected, name: &str) -> Result<Likeness, CellError> {
    let failed = || while_doing(DOING);
    let all = "SELECT datname::text FROM pg_database
                WHERE starts_with(datname::text, $1) OR starts_with(datname::text, $2)";
    for row in server.query(all, &[&PREFIX, &stock::PREFIX]).await.map_err(failed())? {
        let old = quote(row.get(0))?;
        server.batch_execute(&format!("DROP DATABASE {old} WITH (FORCE)")).await.map_err(failed())?;
    }
    let quoted = quote(name)?;
    server
        .batch_execute(&format!(
            "CREATE DATABASE {quoted} CONNECTION LIMIT 0 ENCODING 'UTF8' TEMPLATE template0"
        ))
        .await
        .map_err(failed())?;
    let mut admin = cell.connect(name).await?;
    let transaction = admin.transaction().await.map_err(failed())?;
    make_fit(&transaction, None).await?;
    transaction.commit().await.map_err(failed())?;
    let likeness = likeness(&*admin).await?;
    admin.close().await;
    server
        .batch_execute(&format!(
            "BEGIN; {}; REVOKE CONNECT, TEMPORARY ON DATABASE {quoted} FROM PUBLIC; \
             ALTER DATABASE {quoted} ALLOW_CONNECTIONS false; COMMIT",
            super::LOCK_CLUSTER
        ))
        .await
        .map_err(failed())?;
    Ok(likeness)
}

/// What the database is that `client` is connected to.
pub(crate) async fn likeness(client: &impl GenericClient) -> Result<Likeness, CellError> {
    let row = client.query_one(LIKENESS, &[]).await.map_err(while_doing("looking at a new database"))?;
    Ok(row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_release_has_another_name() {
        let name = name_of("150020");
        assert!(crate::name::is_plain(&name) && name.len() == PREFIX.len() + 16);
        assert_eq!(name, name_of("150020"));
        assert_ne!(name, name_of("150021"));
    }
}
