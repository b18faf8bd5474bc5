//! A client certificate that was shown in a connection's handshake. The handshake proves that the client holds its key, and
//! nothing else: whom it means is asked with each request, from the directory of that moment, so that whatever is withdrawn is
//! withdrawn for open connections and resumed sessions too. What was found is remembered for a second.

use std::cell::RefCell;
use std::sync::Arc;

use rowhouse_domain::directory::Tenant;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::identity::certificate::{CertificateFault, Certified, TenantAuthorities, fingerprint};
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
};

/// All certificates of one chain may have this many bytes: what is shown is kept with the connection, and in its tickets.
const CHAIN_BYTES_MAX: usize = 16 * 1024;
/// How long what was found is believed without looking at the times again.
const BELIEVED_US: i64 = 1_000_000;

/// What a client has shown, and holds the key of.
pub(crate) struct ShownCertificate {
    chain: Vec<CertificateDer<'static>>,
    fingerprint: [u8; 32],
    found: RefCell<Option<Found>>,
}

struct Found {
    tenant: TenantId,
    authorities: Arc<TenantAuthorities>,
    at_us: i64,
    verdict: Result<Certified, CertificateFault>,
}

impl Found {
    /// Whether the tenant still believes all that this was found by, and no time has passed to speak of.
    fn holds(&mut self, tenant: &Tenant, now_us: i64) -> bool {
        if self.tenant != tenant.id || !(0..BELIEVED_US).contains(&(now_us - self.at_us)) {
            return false;
        }
        let same = Arc::ptr_eq(&self.authorities, &tenant.authorities);
        if !same && *self.authorities == *tenant.authorities {
            self.authorities = tenant.authorities.clone();
            return true;
        }
        same
    }
}

impl ShownCertificate {
    /// The chain as it was shown, its bearer's own certificate first; `None` if none was.
    pub(crate) fn new(chain: Option<&[CertificateDer<'static>]>) -> Option<Self> {
        let chain = chain.filter(|chain| !chain.is_empty())?.to_vec();
        Some(ShownCertificate { fingerprint: fingerprint(&chain[0]), chain, found: RefCell::default() })
    }

    /// SHA-256 of its bearer's own certificate.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// As whom it signs in to the tenant.
    pub(crate) fn of(&self, tenant: &Tenant, now_us: i64) -> Result<Certified, CertificateFault> {
        let mut found = self.found.borrow_mut();
        if let Some(found) = found.as_mut()
            && found.holds(tenant, now_us)
        {
            return found.verdict;
        }
        let authorities = tenant.authorities.clone();
        let verdict = authorities.recognise(&self.chain, now_us);
        *found = Some(Found { tenant: tenant.id, authorities, at_us: now_us, verdict });
        verdict
    }
}

/// Asks for a certificate without insisting, and has its bearer prove that it holds the key. Which authorities a tenant believes
/// is told to nobody.
#[derive(Debug)]
pub(crate) struct Possession(pub(crate) WebPkiSupportedAlgorithms);

impl ClientCertVerifier for Possession {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bytes = others.iter().map(|one| one.len()).sum::<usize>() + own.len();
        match bytes <= CHAIN_BYTES_MAX {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
