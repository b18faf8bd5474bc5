//! What a tenant must put into DNS. The text depends on the tenant, so that one tenant's record proves nothing for
//! another; and it is computed, so that there is nothing to keep and nothing to leak but the key.

use hmac::{Hmac, KeyInit, Mac};
use rowhouse_domain::id::TenantId;
use serde::Serialize;
use sha2::Sha256;
use utoipa::ToSchema;

/// What the key of proofs is derived for.
const PURPOSE: &[u8] = b"tenancy/host_proof/v1";

/// A record that proves a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Record {
    /// `TXT`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Where it stands, as in `_rowhouse.portal.acme.com`.
    pub name: String,
    /// What it says, as in `rowhouse-tenant=…`.
    pub value: String,
}

/// The record by which `tenant` proves `name`: base32 (RFC 4648 §6) of the first 20 bytes of HMAC-SHA256 under a key
/// derived from the master key, of the tenant's 16 bytes, a zero byte and the name.
pub(super) fn record(master: &[u8; 32], tenant: TenantId, name: &str) -> Record {
    let key = mac(master).chain_update(PURPOSE).finalize().into_bytes();
    let digest = mac(&key).chain_update(tenant.0.as_bytes()).chain_update([0]).chain_update(name).finalize();
    let value = format!("rowhouse-tenant={}", base32(&digest.into_bytes()[..20]));
    Record { kind: "TXT", name: format!("_rowhouse.{name}"), value }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// RFC 4648 §6 of whole groups of five bytes, which need no padding.
fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5);
    for group in bytes.chunks(5) {
        let bits = group.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            text.push(char::from(LETTERS[(bits >> (place * 5) & 31) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_that_of_the_standard() {
        for (plain, text) in
            [(&b"fooba"[..], "MZXW6YTB"), (b"\0\0\0\0\0", "AAAAAAAA"), (b"\xff\xff\xff\xff\xff", "77777777")]
        {
            assert_eq!(base32(plain), text); // RFC 4648 §10
        }
    }

    #[test]
    fn a_record_is_one_tenants_for_one_name_under_one_key() {
        let (a, b) = (TenantId::from_u128(1), TenantId::from_u128(2));
        let own = record(&[1; 32], a, "portal.acme.com");
        assert_eq!(own.name, "_rowhouse.portal.acme.com");
        assert_eq!(own.value.len(), "rowhouse-tenant=".len() + 32);
        assert_eq!(own, record(&[1; 32], a, "portal.acme.com"));
        for other in [
            record(&[1; 32], b, "portal.acme.com"),
            record(&[2; 32], a, "portal.acme.com"),
            record(&[1; 32], a, "x.acme.com"),
        ] {
            assert_ne!(own.value, other.value);
        }
    }
}
