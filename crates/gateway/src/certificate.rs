//! A client certificate that was shown in a connection's handshake. The handshake proves that the client holds its key, and
//! nothing else: whom it means is asked with each request, from the directory of that moment, so that whatever is withdrawn is
//! withdrawn for open connections and resumed sessions too. What was found is remembered for a second.

use std::cell::RefCell;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};

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
pub(crate) static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
static CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
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

    /// What a proxy says that it was shown (RFC 9440 §2): the bearer's own certificate, then the rest of the chain. `None` if it says
    /// nothing.
    ///
    /// # Errors
    /// If what it says is not of the form, or larger than a chain may be.
    pub(crate) fn of_proxy(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        let (own, rest) = (headers.get_all(&CLIENT_CERT), headers.get_all(&CLIENT_CERT_CHAIN));
        let mut values = own.iter();
        let (own, more) = (values.next(), values.next());
        let mut rest = rest.iter().peekable();
        let Some(own) = own.filter(|_| more.is_none()) else {
            // Twice, or a chain of nobody's.
            return if own.is_none() && rest.peek().is_none() { Ok(None) } else { Err(Malformed) };
        };
        let mut chain = vec![binary(own.to_str().map_err(|_| Malformed)?)?];
        for value in rest {
            for item in value.to_str().map_err(|_| Malformed)?.split(',') {
                chain.push(binary(item)?);
            }
        }
        if chain.iter().map(|one| one.len()).sum::<usize>() > CHAIN_BYTES_MAX {
            return Err(Malformed);
        }
        Ok(ShownCertificate::new(Some(&chain)))
    }

    /// How a service is told of it (RFC 9440 §2): header and value.
    pub(crate) fn each(&self, tell: &mut impl FnMut(&HeaderName, &[u8])) {
        let text = |one: &CertificateDer<'_>| format!(":{}:", STANDARD.encode(one));
        let Some((own, rest)) = self.chain.split_first() else { return };
        tell(&CLIENT_CERT, text(own).as_bytes());
        if !rest.is_empty() {
            let rest: Vec<String> = rest.iter().map(text).collect();
            tell(&CLIENT_CERT_CHAIN, rest.join(", ").as_bytes());
        }
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

/// What a proxy says of a certificate is not of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A byte sequence of structured fields (RFC 9651 §3.3.5), without parameters: none are defined here.
fn binary(text: &str) -> Result<CertificateDer<'static>, Malformed> {
    let inner = text.trim().strip_prefix(':').and_then(|text| text.strip_suffix(':')).ok_or(Malformed)?;
    let bytes = STANDARD.decode(inner).map_err(|_| Malformed)?;
    if bytes.is_empty() { Err(Malformed) } else { Ok(bytes.into()) }
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
