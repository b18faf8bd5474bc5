//! The tenant key: 32 random bytes under which everything of a tenant that leaves its databases is sealed. It lies sealed
//! with the master key. Uses are kept apart by labels (HKDF, RFC 5869). Destroying it erases everything under it, wherever
//! copies of that may lie.

use hmac::{Hmac, KeyInit, Mac};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::seal::{Seal, SealBroken};
use crate::Control;

const PURPOSE: &str = "tenancy/tenant_key/v1";

/// A tenant's key.
pub struct TenantKey(Zeroizing<[u8; 32]>);

/// A tenant's key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TenantKeyError {
    /// The control database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was destroyed: what it sealed is erased.
    #[error("the tenant's key was destroyed")]
    Destroyed,
    /// It was sealed with another master key.
    #[error("the tenant's key cannot be opened")]
    Broken(#[from] SealBroken),
}

impl TenantKey {
    /// The key for one use, as in `snapshot/v1`: HKDF-SHA256 without salt, one block.
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let extracted = Zeroizing::new(mac(&[0; 32], &[self.0.as_slice()]));
        Zeroizing::new(mac(&extracted, &[label.as_bytes(), &[1]]))
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The key of a tenant; made when it is first asked for.
///
/// # Errors
/// If it was destroyed, cannot be opened, or the control database is away.
pub async fn tenant_key(control: &Control, tenant: TenantId) -> Result<TenantKey, TenantKeyError> {
    let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
    let name = tenant.to_string();
    let secret = Zeroizing::new(control.entropy().bytes::<32>());
    let sealed = seal.seal(control.entropy(), &[&name], secret.as_slice());
    let permit = Permit::for_system(Some(tenant), "a tenant's key");
    let transaction = control.store.write(&permit).await?;
    transaction
        .execute(
            "INSERT INTO tenancy.tenant_keys (tenant_id, sealed, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING",
            &[&tenant.0, &sealed, &control.clock().now()],
        )
        .await?;
    let row = transaction
        .query_one("SELECT sealed FROM tenancy.tenant_keys WHERE tenant_id = $1", &[&tenant.0])
        .await?;
    transaction.commit_telemetry().await?;
    let sealed: Vec<u8> = row.get::<_, Option<Vec<u8>>>(0).ok_or(TenantKeyError::Destroyed)?;
    let secret = Zeroizing::new(seal.open(&[&name], &sealed)?);
    let secret: [u8; 32] = secret.as_slice().try_into().map_err(|_| SealBroken)?;
    Ok(TenantKey(Zeroizing::new(secret)))
}

/// Destroys the key of a tenant, within `transaction`: nothing under it can be opened again. Twice is once; when it was.
///
/// # Errors
/// If the control database is away.
pub async fn destroy_tenant_key(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<jiff::Timestamp, StoreError> {
    let now = transaction.store().clock().now();
    let row = transaction
        .query_one(
            "INSERT INTO tenancy.tenant_keys (tenant_id, sealed, created_at, destroyed_at) VALUES ($1, NULL, $2, $2) \
             ON CONFLICT (tenant_id) DO UPDATE SET sealed = NULL, \
               destroyed_at = coalesce(tenant_keys.destroyed_at, excluded.destroyed_at) \
             RETURNING destroyed_at",
            &[&tenant.0, &now],
        )
        .await?;
    Ok(row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_have_unrelated_keys_by_rfc_5869() {
        // RFC 5869, test case 3: no salt, no label; its first 32 bytes.
        let mut secret = [0; 32];
        secret[..22].fill(0x0b);
        let extracted = mac(&[0; 32], &[&[0x0b; 22]]);
        let expanded = mac(&extracted, &[&[], &[1]]);
        let hexadecimal: String = expanded.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hexadecimal, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
        let key = TenantKey(Zeroizing::new(secret));
        assert_ne!(*key.derive("snapshot/v1"), *key.derive("export/v1"));
    }
}
