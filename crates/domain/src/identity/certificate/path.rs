//! From a chain that was shown to the service account that is meant by it, or to what is against it.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use serde::{Deserialize, Serialize};
use webpki::{EndEntityCert, KeyUsage, ring as algorithms};

use super::authority::{Authority, CertificateFacts, spki_sha256};
use super::rule::MatchBy;
use super::{CertificateFault, fingerprint};
use crate::id::{AuthorityId, ServiceAccountId};

/// Certificates that may be shown: the machine's own and two between it and the authority.
pub const CHAIN_MAX: usize = 3;

/// How certificates may be signed: nothing with SHA-1, and no RSA key below 2,048 bits.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// Whom a certificate was found to mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certified {
    /// As whom it signs in.
    pub account: ServiceAccountId,
    /// Which authority vouches for it.
    pub authority: AuthorityId,
    /// What it was known by.
    pub by: MatchBy,
}

/// All authorities that one tenant believes, and what it has taken back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TenantAuthorities {
    authorities: Vec<Authority>,
    /// SHA-256 of certificates, in order.
    revoked: Vec<[u8; 32]>,
}

impl TenantAuthorities {
    /// `revoked`: SHA-256 of certificates that are not believed any more, wherever in a chain they stand.
    pub fn new(authorities: Vec<Authority>, mut revoked: Vec<[u8; 32]>) -> Self {
        revoked.sort_unstable();
        TenantAuthorities { authorities, revoked }
    }

    /// Whether there is none: then nobody is asked for a certificate.
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty()
    }

    /// Whether the certificate with this SHA-256 was taken back.
    pub fn is_revoked(&self, fingerprint: &[u8; 32]) -> bool {
        self.revoked.binary_search(fingerprint).is_ok()
    }

    /// Whom `chain` (its bearer's own certificate first) means at `now_us`. The rules of the authorities that it leads to are
    /// asked in the order of [`MatchBy`]; the first kind that any is met of decides.
    ///
    /// # Errors
    /// What is against it.
    pub fn recognise(
        &self,
        chain: &[CertificateDer<'_>],
        now_us: i64,
    ) -> Result<Certified, CertificateFault> {
        let (own, between) = chain.split_first().ok_or(CertificateFault::Malformed)?;
        if chain.len() > CHAIN_MAX {
            return Err(CertificateFault::TooLong);
        }
        let facts = CertificateFacts::read(own).ok_or(CertificateFault::Malformed)?;
        let own = EndEntityCert::try_from(own).map_err(|_| CertificateFault::Malformed)?;
        let now_s = now_us.div_euclid(1_000_000);
        let mut fault = CertificateFault::UnknownAuthority;
        let mut vouching = Vec::new();
        for authority in &self.authorities {
            match authority.vouches(&own, &facts, between, now_s) {
                Ok(()) => vouching.push(authority),
                // What an authority that knows it says is more to the point.
                Err(CertificateFault::UnknownAuthority) => {}
                Err(own) => fault = own,
            }
        }
        if vouching.is_empty() {
            return Err(fault);
        }
        let is_revoked = chain.iter().any(|one| self.is_revoked(&fingerprint(one)))
            || vouching
                .iter()
                .any(|authority| authority.revoked.iter().any(|serial| **serial == *facts.serial));
        if is_revoked {
            return Err(CertificateFault::Revoked);
        }
        meant(&own, &facts, &vouching)
    }
}

impl Authority {
    /// Whether a path leads from the certificate to this authority.
    fn vouches(
        &self,
        own: &EndEntityCert<'_>,
        facts: &CertificateFacts,
        between: &[CertificateDer<'_>],
        now_s: i64,
    ) -> Result<(), CertificateFault> {
        let seconds = u64::try_from(now_s).map_err(|_| CertificateFault::NotYet)?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let anchors = std::slice::from_ref(&self.anchor);
        let path =
            own.verify_for_usage(ALGORITHMS, anchors, between, now, KeyUsage::client_auth(), None, None);
        let path = path.map_err(|error| fault_of(&error))?;
        // What the path builder leaves to us: the authority's own times, that the use is said at all, and that whoever stands
        // between may sign certificates by its key usage too.
        let (from, until) = self.valid_s;
        let signs = |one: &webpki::Cert<'_>| CertificateFacts::read(&one.der()).is_some_and(|own| own.signs);
        match () {
            () if now_s < from => Err(CertificateFault::NotYet),
            () if now_s > until => Err(CertificateFault::Expired),
            () if !facts.says_use => Err(CertificateFault::WrongUse),
            () if !path.intermediate_certificates().all(signs) => Err(CertificateFault::WrongUse),
            () => Ok(()),
        }
    }
}

/// The one service account that the surest kind of rule means.
fn meant(
    own: &EndEntityCert<'_>,
    facts: &CertificateFacts,
    vouching: &[&Authority],
) -> Result<Certified, CertificateFault> {
    let key = spki_sha256(own);
    for by in MatchBy::ALL {
        let is_met = |value: &str| match by {
            MatchBy::SpkiSha256 => *key == *value,
            MatchBy::Uri => own.valid_uri_names().any(|name| name == value),
            MatchBy::Dns => own.valid_dns_names().any(|name| name.eq_ignore_ascii_case(value)),
            MatchBy::Subject => *facts.subject == *value,
        };
        let mut found: Option<Certified> = None;
        for authority in vouching {
            for rule in authority.rules.iter().filter(|rule| rule.by == by && is_met(&rule.value)) {
                if found.is_some_and(|found| found.account != rule.account) {
                    return Err(CertificateFault::Ambiguous);
                }
                found = Some(Certified { account: rule.account, authority: authority.id, by });
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(CertificateFault::Untrusted)
}

fn fault_of(error: &webpki::Error) -> CertificateFault {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } => CertificateFault::Expired,
        Error::CertNotValidYet { .. } => CertificateFault::NotYet,
        Error::UnknownIssuer => CertificateFault::UnknownAuthority,
        Error::NameConstraintViolation => CertificateFault::WrongName,
        Error::CaUsedAsEndEntity
        | Error::EndEntityUsedAsCa
        | Error::PathLenConstraintViolated
        | Error::RequiredEkuNotFoundContext(_) => CertificateFault::WrongUse,
        Error::InvalidSignatureForPublicKey
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => CertificateFault::BadSignature,
        Error::MaximumPathDepthExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => CertificateFault::TooLong,
        _ => CertificateFault::Malformed,
    }
}
