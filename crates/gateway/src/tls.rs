//! TLS at the gateway's door. Certificates lie in one folder and are chosen by the name that the client asks for (SNI, RFC
//! 6066 §3): `acme.example.com.crt` with `acme.example.com.key` for that name, `_.example.com.crt` for all names one step
//! below, `default.crt` for all others. What changes there is taken in within seconds, without a restart; what cannot be
//! used changes nothing, so that a bad file never takes a good certificate away.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rowhouse_domain::directory::Directory;
use rowhouse_domain::tenancy::resolution::tenant_of_host;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{Acceptor, ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::certificate::{Possession, ShownCertificate};

/// From one look at the folder to the next.
const LOOK: Duration = Duration::from_secs(2);
/// The name of the certificate for clients that ask for no other.
const DEFAULT: &str = "default";

/// Where the gateway speaks TLS, and with which certificates.
#[derive(Debug, Clone)]
pub struct TlsListen {
    /// Where it listens; port 0 chooses a free one.
    pub listen: SocketAddr,
    /// The folder of certificates: PEM, each `NAME.crt` (the chain, its own first) with `NAME.key`.
    pub certificates: PathBuf,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The folder cannot be read.
    #[error("reading the certificates in {folder}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is none.
    #[error("there is no certificate in {0}: each is a file NAME.crt beside NAME.key")]
    None(PathBuf),
    /// A file is no PEM of the kind that it should be.
    #[error("reading {file}")]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// The name of a file is none that a client could ask for.
    #[error("{file} is not called like a host")]
    Name {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: InvalidDnsNameError,
    },
    /// Certificate and key do not belong together, or the certificate is not for the name.
    #[error("using {file}")]
    Unfit {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// The protocol cannot be set up at all.
    #[error("setting up TLS")]
    Setup(#[source] rustls::Error),
}

/// What all cores share.
pub(crate) struct Tls {
    /// For hosts of tenants that believe nobody's certificates, and of none.
    plain: Arc<ServerConfig>,
    /// For the others: asks for a client certificate. A ticket of the one is none for the other, so that who comes back after its
    /// tenant has begun to ask is asked.
    asking: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl Tls {
    /// Reads the certificates.
    pub(crate) fn new(folder: &Path) -> Result<Self, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let seen = look(folder)?;
        let certificates = Arc::new(Certificates {
            folder: folder.to_owned(),
            current: ArcSwap::from_pointee(load(folder, &provider)?),
            seen: Mutex::new(seen),
            provider: provider.clone(),
        });
        let possession = Arc::new(Possession(provider.signature_verification_algorithms));
        let config = |asks: bool| {
            let builder = ServerConfig::builder_with_provider(provider.clone());
            let builder = builder.with_safe_default_protocol_versions()?;
            let builder = match asks {
                true => builder.with_client_cert_verifier(possession.clone()),
                false => builder.with_no_client_auth(),
            };
            let mut config = builder.with_cert_resolver(certificates.clone());
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            // Resumed without state of ours, so that whichever core a client comes back to can do it.
            config.ticketer = ring::Ticketer::new()?;
            Ok(Arc::new(config))
        };
        let plain = config(false).map_err(CertificateError::Setup)?;
        let asking = config(true).map_err(CertificateError::Setup)?;
        Ok(Tls { plain, asking, certificates })
    }

    /// Greets a client, and asks for its certificate if the tenant of the host that it wants has authorities.
    pub(crate) async fn greet(
        &self,
        directory: impl FnOnce() -> Arc<Directory>,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Shown)> {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let server_name = begun.client_hello().server_name().map(str::to_ascii_lowercase);
        let config = match &server_name {
            Some(name) if asks(&directory(), name) => &self.asking,
            _ => &self.plain,
        };
        let stream = begun.into_stream(config.clone()).await?;
        let certificate = ShownCertificate::new(stream.get_ref().1.peer_certificates());
        Ok((stream, Shown { server_name: server_name.map(Into::into), certificate }))
    }

    /// Takes changed certificates in, for ever; ends with the core's runtime.
    pub(crate) async fn tend(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let certificates = self.certificates.clone();
            // Files are not read on a core's thread.
            let looked = tokio::task::spawn_blocking(move || certificates.renew()).await;
            if let Ok(Err(error)) = looked {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause, "certificates could not be taken in; those before stay in use");
            }
        }
    }
}

/// What a client has shown in its handshake.
#[derive(Default)]
pub(crate) struct Shown {
    /// The host that it wants (SNI), in lower case.
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) certificate: Option<ShownCertificate>,
}

fn asks(directory: &Directory, host: &str) -> bool {
    tenant_of_host(directory, host).is_some_and(|tenant| !tenant.authorities.is_empty())
}

type Named = HashMap<Box<str>, Arc<CertifiedKey>>;
/// Files with the time of their last change and their size.
type Seen = Vec<(PathBuf, Option<SystemTime>, u64)>;

struct Certificates {
    folder: PathBuf,
    current: ArcSwap<Named>,
    seen: Mutex<Seen>,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_set().entries(self.current.load().keys()).finish()
    }
}

impl Certificates {
    /// Looks whether files changed. An error is told once for each change.
    fn renew(&self) -> Result<(), CertificateError> {
        let now = look(&self.folder)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Ok(());
        }
        *seen = now;
        self.current.store(Arc::new(load(&self.folder, &self.provider)?));
        tracing::info!(names = ?self, "certificates were taken in");
        Ok(())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = self.current.load();
        let own = hello.server_name().and_then(|name| {
            let name = name.to_ascii_lowercase();
            let above =
                || name.split_once('.').and_then(|(_, above)| named.get(format!("_.{above}").as_str()));
            named.get(name.as_str()).or_else(above)
        });
        own.or_else(|| named.get(DEFAULT)).cloned()
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, CertificateError> {
    let failed = |source| CertificateError::Folder { folder: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
    files.sort();
    Ok(files)
}

fn look(folder: &Path) -> Result<Seen, CertificateError> {
    let seen = files(folder)?.into_iter().map(|file| {
        let found = std::fs::metadata(&file);
        let (changed, length) = found.map_or((None, 0), |found| (found.modified().ok(), found.len()));
        (file, changed, length)
    });
    Ok(seen.collect())
}

fn load(folder: &Path, provider: &CryptoProvider) -> Result<Named, CertificateError> {
    let mut named = Named::new();
    for file in files(folder)?.into_iter().filter(|file| file.extension().is_some_and(|own| own == "crt")) {
        let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
        let key = certified(&file, &name, provider)?;
        named.insert(name.into(), Arc::new(key));
    }
    if named.is_empty() { Err(CertificateError::None(folder.to_owned())) } else { Ok(named) }
}

fn certified(file: &Path, name: &str, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let unread = |file: &Path| {
        let file = file.to_owned();
        |source| CertificateError::Pem { file, source }
    };
    let unfit = |source| CertificateError::Unfit { file: file.to_owned(), source };
    let chain = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(unread(file))?;
    let key_file = file.with_extension("key");
    let key = PrivateKeyDer::from_pem_file(&key_file).map_err(unread(&key_file))?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(unfit)?;
    if name != DEFAULT {
        let asked = name.strip_prefix("_.").map_or_else(|| name.to_owned(), |above| format!("any.{above}"));
        let asked = ServerName::try_from(asked)
            .map_err(|source| CertificateError::Name { file: file.to_owned(), source })?;
        let own = certified.end_entity_cert().and_then(ParsedCertificate::try_from).map_err(unfit)?;
        verify_server_name(&own, &asked).map_err(unfit)?;
    }
    Ok(certified)
}
