//! What each tenant believes of client certificates, compiled.

use std::collections::HashMap;
use std::sync::Arc;

use rowhouse_domain::id::{AuthorityId, TenantId};
use rowhouse_domain::identity::certificate::{Authority, CertificateRule, TenantAuthorities};

use crate::identity::authorities::{AuthorityRow, RevokedRow};

/// Of every tenant that has authorities.
pub(super) fn believed(
    authorities: Vec<AuthorityRow>,
    revoked: Vec<RevokedRow>,
    rules: Vec<(AuthorityId, CertificateRule)>,
) -> HashMap<TenantId, Arc<TenantAuthorities>> {
    let mut rules_of: HashMap<AuthorityId, Vec<CertificateRule>> = HashMap::new();
    for (authority, rule) in rules {
        rules_of.entry(authority).or_default().push(rule);
    }
    let mut serials_of: HashMap<AuthorityId, Vec<Box<str>>> = HashMap::new();
    let mut bytes_of: HashMap<TenantId, Vec<[u8; 32]>> = HashMap::new();
    for row in revoked {
        if let Some((authority, serial)) = row.serial {
            serials_of.entry(authority).or_default().push(serial.into());
        }
        if let Some(bytes) = row.sha256.as_deref().and_then(bytes_in) {
            bytes_of.entry(row.tenant).or_default().push(bytes);
        }
    }
    let mut own: HashMap<TenantId, Vec<Authority>> = HashMap::new();
    for row in authorities {
        match Authority::new(row.id, &row.certificate) {
            Ok(mut authority) => {
                authority.rules = rules_of.remove(&row.id).unwrap_or_default();
                authority.revoked = serials_of.remove(&row.id).unwrap_or_default();
                own.entry(row.tenant).or_default().push(authority);
            }
            // It was read when it was registered.
            Err(fault) => {
                tracing::error!(authority = %row.id, %fault, "an authority cannot be read any more and vouches for nobody");
            }
        }
    }
    let compiled = own.into_iter().map(|(tenant, authorities)| {
        let revoked = bytes_of.remove(&tenant).unwrap_or_default();
        (tenant, Arc::new(TenantAuthorities::new(authorities, revoked)))
    });
    compiled.collect()
}

/// What is written in hexadecimal.
fn bytes_in(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
