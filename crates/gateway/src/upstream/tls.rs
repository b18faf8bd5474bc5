//! TLS towards upstreams: whom the gateway believes, and what it shows of itself. Certificates of its own lie in one folder, `NAME.crt`
//! (the chain, its own first) beside `NAME.key`; what changes there is shown on the next connection, without a restart.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use foldhash::quality::FixedState;
use rowhouse_domain::routes::UpstreamTls;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, SignatureScheme};

/// From one look at the certificates that are shown to the next.
const LOOK: Duration = Duration::from_secs(2);

/// What all cores share: configurations by what was declared, and the certificates that they show.
pub(crate) struct SecureBook {
    folder: PathBuf,
    made: Mutex<Made>,
    shown: Mutex<HashMap<String, Arc<Shown>>>,
}

/// By declaration and protocol; `None` for one that cannot be used.
type Made = HashMap<(UpstreamTls, Spoken), Option<Arc<Secure>>>;

/// What is spoken inside of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Spoken {
    Http1,
    Http2,
    /// Something that needs no name.
    Other,
}

/// How the copies of a service are spoken to in TLS.
pub(crate) struct Secure {
    /// The same for the same declaration, never 0.
    pub(crate) id: u64,
    name: Option<ServerName<'static>>,
    config: Arc<ClientConfig>,
}

/// Why an upstream is not spoken to in TLS.
#[derive(Debug, thiserror::Error)]
enum SecureError {
    #[error("reading the authorities: {0}")]
    Authorities(String),
    #[error("the system believes no authority: name those of the service")]
    NoAuthorities,
    #[error("setting TLS up")]
    Setup(#[from] rustls::Error),
    #[error("the name is none")]
    Name,
}

impl SecureBook {
    pub(crate) fn new(folder: PathBuf) -> Self {
        SecureBook { folder, made: Mutex::default(), shown: Mutex::default() }
    }

    /// The configuration for a declaration; `None`, which was told, if there can be none.
    pub(crate) fn secure(&self, declared: &UpstreamTls, spoken: Spoken) -> Option<Arc<Secure>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || match self.make(declared, spoken) {
            Ok(secure) => Some(Arc::new(secure)),
            Err(error) => {
                tracing::error!(%error, "upstreams cannot be spoken to in TLS, and so not at all");
                None
            }
        };
        made.entry((declared.clone(), spoken)).or_insert_with(make).clone()
    }

    fn make(&self, declared: &UpstreamTls, spoken: Spoken) -> Result<Secure, SecureError> {
        let provider = Arc::new(ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(authorities(declared)?);
        let mut config = match &declared.client {
            None => builder.with_no_client_auth(),
            Some(name) => builder.with_client_cert_resolver(self.shown(name, &provider)),
        };
        config.alpn_protocols = match spoken {
            Spoken::Http1 => vec![b"http/1.1".to_vec()],
            Spoken::Http2 => vec![b"h2".to_vec()],
            Spoken::Other => Vec::new(),
        };
        let name =
            declared.name.clone().map(ServerName::try_from).transpose().map_err(|_| SecureError::Name)?;
        let id = FixedState::with_seed(0).hash_one((declared, spoken)) | 1;
        Ok(Secure { id, name, config: Arc::new(config) })
    }

    fn shown(&self, name: &str, provider: &Arc<CryptoProvider>) -> Arc<Shown> {
        let mut all = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let file = self.folder.join(format!("{name}.crt"));
            let shown = Shown {
                file,
                current: ArcSwapOption::empty(),
                seen: Mutex::default(),
                provider: provider.clone(),
            };
            shown.renew();
            Arc::new(shown)
        };
        all.entry(name.to_owned()).or_insert_with(fresh).clone()
    }

    /// Takes changed certificates in, for ever; ends with the core's runtime.
    pub(crate) async fn tend(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let all: Vec<_> = {
                let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.values().cloned().collect()
            };
            if !all.is_empty() {
                // Files are not read on a core's thread.
                let _ = tokio::task::spawn_blocking(move || all.iter().for_each(|own| own.renew())).await;
            }
        }
    }
}

fn authorities(declared: &UpstreamTls) -> Result<RootCertStore, SecureError> {
    static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    let mut store = RootCertStore::empty();
    if declared.authorities.is_some() {
        let unread = || SecureError::Authorities("no certificates in PEM".to_owned());
        for certificate in declared.believed().ok_or_else(unread)? {
            store.add(certificate).map_err(|error| SecureError::Authorities(error.to_string()))?;
        }
        return Ok(store);
    }
    let all = SYSTEM.get_or_init(|| rustls_native_certs::load_native_certs().certs);
    // One that cannot be read takes none of the others away.
    store.add_parsable_certificates(all.iter().cloned());
    if store.is_empty() { Err(SecureError::NoAuthorities) } else { Ok(store) }
}

impl Secure {
    /// Greets whoever is at the other end of `stream`, who must prove to be `address`, or what was declared instead.
    pub(crate) async fn greet(&self, address: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                ServerName::try_from(host).map_err(io::Error::other)?
            }
        };
        TlsConnector::from(self.config.clone()).connect(name, stream).await
    }
}

/// A certificate that is shown to upstreams.
struct Shown {
    file: PathBuf,
    current: ArcSwapOption<CertifiedKey>,
    seen: Mutex<Option<[Option<SystemTime>; 2]>>,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.file.display())
    }
}

impl Shown {
    /// Reads the files if they changed. What cannot be used changes nothing, and is told once.
    fn renew(&self) {
        let changed = |file: &Path| std::fs::metadata(file).and_then(|found| found.modified()).ok();
        let now = Some([changed(&self.file), changed(&self.file.with_extension("key"))]);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return;
        }
        *seen = now;
        match self.read() {
            Ok(key) => self.current.store(Some(Arc::new(key))),
            Err(error) => {
                tracing::error!(file = %self.file.display(), error, "a certificate for upstreams cannot be used");
            }
        }
    }

    fn read(&self) -> Result<CertifiedKey, String> {
        let chain =
            CertificateDer::pem_file_iter(&self.file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_file(self.file.with_extension("key"))
            .map_err(|error| error.to_string())?;
        CertifiedKey::from_der(chain, key, &self.provider).map_err(|error| error.to_string())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }

    fn has_certs(&self) -> bool {
        self.current.load().is_some()
    }
}
