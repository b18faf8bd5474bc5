//! Changing what a tenant may do, and raising the epoch of its place.

use rowhouse_domain::tenancy::Isolation;

use super::{Place, PlaceError};
use crate::Rights;
use crate::cell::{Cell, LOCK_CLUSTER, while_doing};
use crate::name::{NameError, quote};

/// Gives `place` these rights. Transactions that begin afterwards with more are refused (RH002, so that they learn
/// the new rights). From level `schema` up it also binds what a session does without `rh.enter`. A transaction that is
/// under way keeps what it has on tables it has touched: the server looks for news when it takes a lock.
///
/// # Errors
/// If there is no such place, or the server is away.
pub async fn set_rights(cell: &Cell, place: &Place, rights: Rights) -> Result<(), PlaceError> {
    place.check()?;
    let mut admin = cell.connect(&place.database).await?;
    let transaction = admin.transaction().await.map_err(while_doing("beginning a change of rights"))?;
    let changed = transaction
        .execute("UPDATE rh.place SET rights = $2 WHERE tenant = $1", &[&place.tenant.0, &rights.letters()])
        .await
        .map_err(while_doing("changing rights"))?;
    if changed == 0 {
        return Err(missing(place));
    }
    let sql = memberships(place, rights)?;
    transaction.batch_execute(&sql).await.map_err(while_doing("changing memberships"))?;
    transaction.commit().await.map_err(while_doing("changing rights"))?;
    admin.close().await;
    Ok(())
}

/// Raises the epoch of `place` to `epoch`: transactions that begin with an older one are refused with RH002. A lower
/// or equal epoch changes nothing, so that a repeated step cannot turn time back.
///
/// # Errors
/// If there is no such place, or the server is away.
pub async fn set_epoch(cell: &Cell, place: &Place, epoch: u64) -> Result<(), PlaceError> {
    place.check()?;
    let admin = cell.connect(&place.database).await?;
    let epoch = i64::try_from(epoch).expect("an epoch counts moves");
    let changed = admin
        .execute(
            "UPDATE rh.place SET epoch = greatest(epoch, $2) WHERE tenant = $1",
            &[&place.tenant.0, &epoch],
        )
        .await
        .map_err(while_doing("raising an epoch"))?;
    admin.close().await;
    if changed == 0 { Err(missing(place)) } else { Ok(()) }
}

/// Gives the login of `place` a password; on `shared` there is none to give. It is put into the statement as hexadecimal
/// digits only.
///
/// # Errors
/// If the password is anything else, the names do not fit the level, or the server is away.
pub async fn set_password(cell: &Cell, place: &Place, password: &str) -> Result<(), PlaceError> {
    place.check()?;
    let is_digits = password.len() >= 32 && password.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_digits || place.isolation == Isolation::Shared {
        return Err(PlaceError::Malformed(place.clone()));
    }
    let server = cell.connect("postgres").await?;
    let login = quote(&place.login)?;
    server
        .batch_execute(&format!(
            "BEGIN; {LOCK_CLUSTER}; SET LOCAL password_encryption = 'scram-sha-256'; SET LOCAL log_statement = 'none'; \
             ALTER ROLE {login} PASSWORD '{password}'; GRANT rh_password TO {login}; COMMIT"
        ))
        .await
        .map_err(while_doing("giving a login a password"))?;
    server.close().await;
    Ok(())
}

/// The statements that make the login's memberships those of `rights`; nothing on `shared`, where the token and
/// `rh.place` carry them.
pub(super) fn memberships(place: &Place, rights: Rights) -> Result<String, NameError> {
    if place.isolation == Isolation::Shared {
        return Ok(String::new());
    }
    let login = quote(&place.login)?;
    let mut sql = String::new();
    for (letter, group) in place.groups() {
        let group = quote(&group)?;
        sql.push_str(&if rights.letters().contains(letter) {
            format!("GRANT {group} TO {login};\n")
        } else {
            format!("REVOKE {group} FROM {login};\n")
        });
    }
    Ok(sql)
}

fn missing(place: &Place) -> PlaceError {
    PlaceError::Missing { tenant: place.tenant, database: place.database.clone() }
}
