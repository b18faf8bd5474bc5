//! Authorities whose client certificates a tenant believes, and certificates that it has taken back. Whom a certificate signs in say the
//! `certificates` of a service account (`keys`), each bound to the authority that it means; an authority by itself lets nobody in.
//! The gateway decides from the directory, where all of it is a moment after it was committed.

mod api;
mod matching;
mod queries;
mod revocation_api;

pub use api::routes;
use jiff::Timestamp;
pub use queries::{is_of, load_authorities, load_revoked};
use rowhouse_domain::id::{AuthorityId, RevocationId, TenantId};

/// Authorities of one tenant.
const AUTHORITIES_MAX: i64 = 10;
/// Certificates that one tenant has taken back: more are a sign that an authority should go.
const REVOKED_MAX: i64 = 1_000;

/// An authority as it is kept.
#[derive(Debug, Clone)]
pub struct AuthorityRow {
    /// Its id.
    pub id: AuthorityId,
    /// Whose it is.
    pub tenant: TenantId,
    /// 1 to 100 characters.
    pub name: String,
    /// DER.
    pub certificate: Vec<u8>,
    /// As RFC 4514 writes it.
    pub subject: String,
    /// From when on it is believed.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// Who registered it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// A certificate that was taken back, named in one of two ways.
#[derive(Debug, Clone)]
pub struct RevokedRow {
    /// The entry's id.
    pub id: RevocationId,
    /// Whose.
    pub tenant: TenantId,
    /// SHA-256 in hexadecimal.
    pub sha256: Option<String>,
    /// Below which authority, with which serial number.
    pub serial: Option<(AuthorityId, String)>,
    /// Why; at most 200 characters.
    pub reason: String,
    /// Who took it back.
    pub revoked_by: String,
    /// When.
    pub revoked_at: Timestamp,
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
