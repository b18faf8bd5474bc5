//! The login of a restored copy: it can read, and nothing else. Its password is known to nobody until it is revealed.

use rowhouse_domain::id::RestoreId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_tenantdb::place;
use rowhouse_tenantdb::{Cell, Place};

use super::queries::RestoreRow;
use crate::Control;
use crate::tenancy::{Seal, TenantKeyError, tenant_key};

const KEY_LABEL: &str = "restore/v1";

/// Gives the login of `place` a fresh password; it comes back sealed.
///
/// # Errors
/// If the tenant's key cannot be used, or the server is away.
pub async fn give(
    control: &Control,
    cell: &Cell,
    place: &Place,
    restore: RestoreId,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let password = super::super::backup::hexadecimal(&control.entropy().bytes::<24>());
    place::set_password(cell, place, &password).await?;
    let seal = seal_of(control, place.tenant).await?;
    Ok(seal.seal(control.entropy(), &[&restore.to_string()], password.as_bytes()))
}

/// The password of an open copy.
///
/// # Errors
/// 410 if the tenant's key was destroyed.
pub async fn reveal(control: &Control, row: &RestoreRow) -> Result<String, Refusal> {
    let unusable =
        |words: String| Refusal::new(&kind::SEALED_UNAVAILABLE, "It cannot be opened.").private(words);
    let sealed = row.secret.as_deref().ok_or_else(|| unusable("there is none".to_owned()))?;
    let seal = seal_of(control, row.tenant).await.map_err(|error| match error {
        TenantKeyError::Destroyed => Refusal::new(&kind::SHREDDED, "The tenant's key was destroyed."),
        other => unusable(other.to_string()),
    })?;
    let opened = seal.open(&[&row.id.to_string()], sealed).map_err(|error| unusable(error.to_string()))?;
    String::from_utf8(opened).map_err(|error| unusable(error.to_string()))
}

async fn seal_of(control: &Control, tenant: rowhouse_domain::id::TenantId) -> Result<Seal, TenantKeyError> {
    Ok(Seal::new(&tenant_key(control, tenant).await?.derive(KEY_LABEL), KEY_LABEL))
}
