//! TLS 1.3 between a node and the control plane: both prove an Ed25519 key (RFC 8446 §4.4, RFC 8410) that stands for itself
//! (raw public keys, RFC 7250). A client knows beforehand whose key it must meet; a server learns whose it met.

use std::sync::Arc;

use rowhouse_domain::entropy::Entropy;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};

/// What stands before the 32 bytes of an Ed25519 key in PKCS#8 and in a SubjectPublicKeyInfo (RFC 8410 §7, §4).
const PRIVATE_HEAD: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
const PUBLIC_HEAD: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// What is spoken inside (RFC 7301).
const PROTOCOL: &[u8] = b"h2";

/// The public half: who somebody is.
pub type PublicKey = [u8; 32];

/// A key that a node or the control plane proves itself with.
#[derive(Clone)]
pub struct NodeKey(Arc<CertifiedKey>, PublicKey);

impl NodeKey {
    /// From 32 secret bytes.
    ///
    /// # Errors
    /// If the TLS stack does not take it.
    pub fn new(seed: &[u8; 32]) -> Result<Self, Error> {
        let pkcs8 = [&PRIVATE_HEAD[..], seed].concat();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
        let signer = ring::default_provider().key_provider.load_private_key(private)?;
        let spki = signer.public_key().ok_or_else(|| Error::General("a key without a public half".into()))?;
        let public = public_of(&spki).ok_or_else(|| Error::General("a key of another kind".into()))?;
        let certified = CertifiedKey::new(vec![CertificateDer::from(spki.to_vec())], signer);
        Ok(NodeKey(Arc::new(certified), public))
    }

    /// A new one.
    pub fn generate(entropy: &Entropy) -> Result<Self, Error> {
        NodeKey::new(&entropy.bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.1
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("NodeKey(…)")
    }
}

/// How to connect as `own` to whoever has the key `theirs`, and to nobody else.
///
/// # Errors
/// If TLS cannot be set up.
pub fn connect_with(own: &NodeKey, theirs: PublicKey) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(OnlyThis { key: theirs, provider: provider.clone() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own.0.clone())));
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// How to let in whoever proves any key; what the key may do is decided with each call.
pub(super) fn accept_with(own: &NodeKey) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Anybody { provider }))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(own.0.clone())));
    // A resumed session would prove nothing anew.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// The key in a SubjectPublicKeyInfo, if it is one of Ed25519.
pub(super) fn public_of(spki: &[u8]) -> Option<PublicKey> {
    spki.strip_prefix(&PUBLIC_HEAD)?.try_into().ok()
}

#[derive(Debug)]
struct OnlyThis {
    key: PublicKey,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

fn signed(
    provider: &CryptoProvider,
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
    verify_tls13_signature_with_raw_key(
        message,
        &spki,
        signature,
        &provider.signature_verification_algorithms,
    )
}

fn refused() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

impl ServerCertVerifier for OnlyThis {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match public_of(key) {
            Some(theirs) if theirs == self.key => Ok(ServerCertVerified::assertion()),
            _ => Err(refused()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signed(&self.provider, message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        public_of(key).map(|_| ClientCertVerified::assertion()).ok_or_else(refused)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signed(&self.provider, message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
