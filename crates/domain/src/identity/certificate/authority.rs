//! An authority of a tenant, and what a certificate says of itself.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use serde::{Deserialize, Serialize};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use super::rule::CertificateRule;
use crate::id::AuthorityId;

/// Bytes of one certificate at most.
const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;

/// An authority that a tenant believes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Authority {
    /// Its id.
    pub id: AuthorityId,
    /// First and last second in which it is believed; the path builder does not ask that of an authority.
    pub valid_s: (i64, i64),
    /// Whom its certificates sign in.
    pub rules: Vec<CertificateRule>,
    /// Serial numbers under it that were taken back, as [`CertificateFacts::serial`] writes them.
    pub revoked: Vec<Box<str>>,
    pub(super) anchor: TrustAnchor<'static>,
    pub(super) certificate: Box<[u8]>,
}

/// An authority as another process learns of it: by its certificate, which is read anew there.
#[derive(Serialize, Deserialize)]
struct Written {
    id: AuthorityId,
    certificate: Box<[u8]>,
    rules: Vec<CertificateRule>,
    revoked: Vec<Box<str>>,
}

impl From<Authority> for Written {
    fn from(own: Authority) -> Self {
        let Authority { id, certificate, rules, revoked, .. } = own;
        Written { id, certificate, rules, revoked }
    }
}

impl TryFrom<Written> for Authority {
    type Error = AuthorityFault;

    fn try_from(written: Written) -> Result<Self, AuthorityFault> {
        let Written { id, certificate, rules, revoked } = written;
        Ok(Authority { rules, revoked, ..Authority::new(id, &certificate)? })
    }
}

/// Why a certificate cannot be an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityFault {
    /// Not one certificate in PEM or DER.
    #[error("it is not one certificate")]
    Malformed,
    /// It says that it is no authority (RFC 5280 §4.2.1.9), or may not sign certificates (§4.2.1.3).
    #[error("it may not sign certificates")]
    NoAuthority,
    /// It is over.
    #[error("it has expired")]
    Expired,
}

impl Authority {
    /// Believes `der` as an authority, with no rules yet.
    ///
    /// # Errors
    /// [`AuthorityFault`]; that it is over is for the caller to ask.
    pub fn new(id: AuthorityId, der: &[u8]) -> Result<Self, AuthorityFault> {
        let facts = CertificateFacts::read(der).ok_or(AuthorityFault::Malformed)?;
        if !facts.signs {
            return Err(AuthorityFault::NoAuthority);
        }
        let certificate = der.into();
        let der = CertificateDer::from(der);
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| AuthorityFault::Malformed)?;
        let anchor = anchor.to_owned();
        Ok(Authority {
            id,
            valid_s: facts.valid_s,
            rules: Vec::new(),
            revoked: Vec::new(),
            anchor,
            certificate,
        })
    }
}

/// What a certificate says of itself; nothing of it is believed by this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// RFC 4514, the most special part first: `CN=robot,O=Acme`.
    pub subject: String,
    /// Hexadecimal, lower case, without zeros in front.
    pub serial: String,
    /// First and last second of its life, since 1970.
    pub valid_s: (i64, i64),
    /// Whether it may sign others.
    pub signs: bool,
    /// Whether it says what it is for, at all.
    pub says_use: bool,
}

impl CertificateFacts {
    /// Reads them; `None` if they cannot be read.
    pub fn read(der: &[u8]) -> Option<Self> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return None;
        }
        let certificate = Certificate::from_der(der).ok()?;
        let own = certificate.tbs_certificate();
        let constraints = own.get_extension::<BasicConstraints>().ok()?;
        let usage = own.get_extension::<KeyUsage>().ok()?;
        let purposes = own.get_extension::<ExtendedKeyUsage>().ok()?;
        let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
        let validity = own.validity();
        Some(CertificateFacts {
            subject: own.subject().to_string(),
            serial: serial(own.serial_number().as_bytes()),
            valid_s: (seconds(validity.not_before)?, seconds(validity.not_after)?),
            signs: constraints.is_some_and(|(_, own)| own.ca)
                && usage.is_none_or(|(_, own)| own.key_cert_sign()),
            says_use: purposes.is_some(),
        })
    }
}

fn serial(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let short = text.trim_start_matches('0');
    if short.is_empty() { "0".to_owned() } else { short.to_owned() }
}

/// What a certificate can be known by, besides its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateNames {
    /// SHA-256 of its public key, in hexadecimal.
    pub spki_sha256: String,
    /// URIs among its alternative names.
    pub uris: Vec<String>,
    /// DNS names among them.
    pub dns: Vec<String>,
}

/// What a certificate can be known by; `None` if it cannot be read.
pub fn names(der: &CertificateDer<'_>) -> Option<CertificateNames> {
    let own = webpki::EndEntityCert::try_from(der).ok()?;
    Some(CertificateNames {
        spki_sha256: spki_sha256(&own),
        uris: own.valid_uri_names().map(str::to_owned).collect(),
        dns: own.valid_dns_names().map(str::to_ascii_lowercase).collect(),
    })
}

pub(super) fn spki_sha256(own: &webpki::EndEntityCert<'_>) -> String {
    super::fingerprint(&own.subject_public_key_info()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All certificates in a PEM text of at most 64 KiB; `None` if it cannot be read.
pub fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    (pem.len() <= 64 * 1024)
        .then(|| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().ok())?
}

/// The one certificate in a PEM text.
pub fn one_certificate(pem: &str) -> Option<Vec<u8>> {
    let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
    let first = all.next()?.ok()?;
    all.next().is_none().then(|| first.to_vec())
}
