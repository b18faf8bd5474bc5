//! Documents fetched from places that others name (keys of issuers), and what is asked of tenants' own providers. The name is resolved once, every address that it has is
//! checked, and the connection goes to the address that was checked, so that a name cannot become another address between.
//! HTTPS alone, but for the networks that the operator has opened; no redirects, no proxies, one deadline, one size.

mod address;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use address::{Network, NetworkError, is_public};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// For a whole fetch, from the name to the last byte.
const DEADLINE: Duration = Duration::from_secs(5);
/// The longest that who sends may wait.
pub const DEADLINE_MAX: Duration = Duration::from_secs(30);
/// Longest address of a document.
pub const URL_MAX: usize = 2_048;

/// What the operator allows.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Networks that are called though they are not public; there, plain HTTP is taken too.
    pub allow_networks: Vec<Network>,
    /// More authorities than the system's, PEM.
    pub authorities: Option<PathBuf>,
}

/// Why a document was not fetched; fit to be told to who named it.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No address of a document.
    #[error(
        "`{0}` is no address of a document: https://host[:port]/path, without a name, password or fragment"
    )]
    Url(String),
    /// Unencrypted.
    #[error("`{0}` is not https")]
    Plain(String),
    /// The name leads nowhere.
    #[error("`{0}` has no address")]
    Name(String),
    /// It leads to where we do not call on a stranger's word.
    #[error("`{0}` leads to an address that is not public")]
    Private(String),
    /// It did not answer in time.
    #[error("no answer within {0} s")]
    Late(u64),
    /// The connection failed.
    #[error("the connection failed: {}", told(.0))]
    Connection(#[source] std::io::Error),
    /// Authorities cannot be read.
    #[error("the authorities cannot be read: {0}")]
    Authorities(String),
    /// No HTTP.
    #[error("it does not speak HTTP: {0}")]
    Http(#[source] hyper::Error),
    /// Not 200. Redirects are not followed: they could lead anywhere.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// More bytes than we read.
    #[error("it is longer than {0} bytes, or was cut")]
    Body(usize),
}

/// What went wrong with a connection, without the operating system's numbers.
fn told(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => error.kind().to_string(),
        None => error.to_string(),
    }
}

/// Fetches.
#[derive(Debug, Default)]
pub struct Outbound {
    settings: Settings,
    tls: OnceLock<Arc<ClientConfig>>,
}

/// What is asked.
#[derive(Debug, Default)]
struct Wanted<'w> {
    /// `Authorization`, if any.
    authorization: Option<&'w str>,
    /// What is sent, and its media type; without it something is fetched.
    sent: Option<(&'w str, String)>,
    /// The same whenever the same is sent again.
    idempotency_key: Option<&'w str>,
}

/// What is sent to a place.
#[derive(Debug)]
pub struct Sent<'w> {
    /// `Authorization`, if any.
    pub authorization: Option<&'w str>,
    /// The media type of the body.
    pub content_type: &'w str,
    /// The body.
    pub body: String,
    /// The same whenever the same is sent again (`Idempotency-Key`).
    pub idempotency_key: &'w str,
    /// For all of it, at most [`DEADLINE_MAX`].
    pub deadline: Duration,
}

/// Where a document lies.
struct Place<'u> {
    uri: &'u Uri,
    host: &'u str,
    port: u16,
    is_tls: bool,
}

impl Outbound {
    /// With what the operator allows.
    pub fn new(settings: Settings) -> Self {
        Outbound { settings, tls: OnceLock::new() }
    }

    /// The document at `url`, of at most `bytes_max`.
    ///
    /// # Errors
    /// [`FetchError`], in words for who named the place.
    pub async fn fetch(&self, url: &str, bytes_max: usize) -> Result<Bytes, FetchError> {
        found(self.ask(url, Wanted::default(), bytes_max).await?)
    }

    /// The same for who shows `authorization`.
    ///
    /// # Errors
    /// As [`Outbound::fetch`].
    pub async fn fetch_as(
        &self,
        url: &str,
        authorization: &str,
        bytes_max: usize,
    ) -> Result<Bytes, FetchError> {
        let wanted = Wanted { authorization: Some(authorization), ..Wanted::default() };
        found(self.ask(url, wanted, bytes_max).await?)
    }

    /// What a place answers to a form, whatever its status.
    ///
    /// # Errors
    /// As [`Outbound::fetch`], but for the status.
    pub async fn send_form(
        &self,
        url: &str,
        authorization: Option<&str>,
        form: String,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let sent = Some(("application/x-www-form-urlencoded", form));
        self.ask(url, Wanted { authorization, sent, idempotency_key: None }, bytes_max).await
    }

    /// What a place answers to what is sent, whatever its status.
    ///
    /// # Errors
    /// As [`Outbound::fetch`], but for the status.
    pub async fn send(
        &self,
        url: &str,
        sent: Sent<'_>,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let deadline = sent.deadline.min(DEADLINE_MAX);
        let wanted = Wanted {
            authorization: sent.authorization,
            sent: Some((sent.content_type, sent.body)),
            idempotency_key: Some(sent.idempotency_key),
        };
        self.ask_within(url, wanted, bytes_max, deadline).await
    }

    async fn ask(
        &self,
        url: &str,
        wanted: Wanted<'_>,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        self.ask_within(url, wanted, bytes_max, DEADLINE).await
    }

    async fn ask_within(
        &self,
        url: &str,
        wanted: Wanted<'_>,
        bytes_max: usize,
        deadline: Duration,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let uri = read(url)?;
        let place = Place::of(&uri, url)?;
        tokio::time::timeout(deadline, self.ask_at(&place, wanted, bytes_max))
            .await
            .unwrap_or(Err(FetchError::Late(deadline.as_secs())))
    }

    async fn ask_at(
        &self,
        place: &Place<'_>,
        wanted: Wanted<'_>,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let address = self.address(place).await?;
        let stream = TcpStream::connect(address).await.map_err(FetchError::Connection)?;
        if !place.is_tls {
            return exchange(stream, place, wanted, bytes_max).await;
        }
        let name = ServerName::try_from(place.host.to_owned())
            .map_err(|_| FetchError::Name(place.host.to_owned()))?;
        let tls = TlsConnector::from(self.tls()?);
        let stream = tls.connect(name, stream).await.map_err(FetchError::Connection)?;
        exchange(stream, place, wanted, bytes_max).await
    }

    /// The first of its addresses, if all of them may be called.
    async fn address(&self, place: &Place<'_>) -> Result<SocketAddr, FetchError> {
        let no_name = || FetchError::Name(place.host.to_owned());
        let found = tokio::net::lookup_host((place.host, place.port)).await.map_err(|_| no_name())?;
        let found: Vec<SocketAddr> = found.collect();
        let is_open = |ip: IpAddr| self.settings.allow_networks.iter().any(|network| network.contains(ip));
        match found.first() {
            None => Err(no_name()),
            Some(_) if !found.iter().all(|own| is_open(own.ip()) || is_public(own.ip())) => {
                Err(FetchError::Private(place.host.to_owned()))
            }
            Some(own) if !place.is_tls && !is_open(own.ip()) => Err(FetchError::Plain(place.uri.to_string())),
            Some(own) => Ok(*own),
        }
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, FetchError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = &self.settings.authorities {
            let own = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            roots.add_parsable_certificates(own.map_err(|error| FetchError::Authorities(error.to_string()))?);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| FetchError::Authorities(error.to_string()))?;
        Ok(self
            .tls
            .get_or_init(|| Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
            .clone())
    }
}

/// Whether `url` is one that could be fetched, without asking anybody.
///
/// # Errors
/// [`FetchError::Url`].
pub fn check_url(url: &str) -> Result<(), FetchError> {
    Place::of(&read(url)?, url).map(drop)
}

fn read(url: &str) -> Result<Uri, FetchError> {
    let wrong = || FetchError::Url(url.chars().take(200).collect());
    let sound = url.len() <= URL_MAX && !url.contains('#') && url.bytes().all(|byte| byte.is_ascii_graphic());
    url.parse().ok().filter(|_| sound).ok_or_else(wrong)
}

impl<'u> Place<'u> {
    fn of(uri: &'u Uri, url: &str) -> Result<Self, FetchError> {
        let wrong = || FetchError::Url(url.chars().take(200).collect());
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|own| !own.as_str().contains('@')).ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        // A port beyond 65,535 is none to the library.
        let says_port = authority.as_str().len() > authority.host().len();
        let port = match uri.port_u16() {
            Some(port) => port,
            None if says_port => return Err(wrong()),
            None => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
        };
        if host.is_empty() { Err(wrong()) } else { Ok(Place { uri, host, port, is_tls }) }
    }
}

fn found((status, body): (StatusCode, Bytes)) -> Result<Bytes, FetchError> {
    if status == StatusCode::OK { Ok(body) } else { Err(FetchError::Status(status)) }
}

async fn exchange<S>(
    stream: S,
    place: &Place<'_>,
    wanted: Wanted<'_>,
    bytes_max: usize,
) -> Result<(StatusCode, Bytes), FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::Http)?;
    let path = place.uri.path_and_query().map_or("/", |own| own.as_str());
    let authority = place.uri.authority().map_or("", |own| own.as_str());
    let request = match &wanted.sent {
        Some((kind, _)) => Request::post(path).header(header::CONTENT_TYPE, *kind),
        None => Request::get(path),
    };
    let request = match wanted.idempotency_key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    };
    let request = match wanted.authorization {
        Some(shown) => request.header(header::AUTHORIZATION, shown),
        None => request,
    };
    let request = request
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "rowhouse")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(wanted.sent.map(|(_, body)| body).unwrap_or_default())));
    let request = request.map_err(|_| FetchError::Url(place.uri.to_string()))?;
    let asked = async move {
        let answer = sender.send_request(request).await.map_err(FetchError::Http)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), bytes_max).collect().await;
        body.map(|body| (status, body.to_bytes())).map_err(|_| FetchError::Body(bytes_max))
    };
    // The connection is driven for as long as the answer takes; what becomes of it afterwards is nobody's concern.
    let mut connection = std::pin::pin!(connection);
    let mut asked = std::pin::pin!(asked);
    let mut over = false;
    std::future::poll_fn(|cx| {
        if !over {
            over = connection.as_mut().poll(cx).is_ready();
        }
        asked.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_documents() {
        for good in ["https://a.example/x?y=1", "http://127.0.0.1:8080/", "https://[2606:4700::1]/k"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "ftp://a/",
            "file:///etc/passwd",
            "https://user:word@a.example/",
            "https://a.example/#x",
            "https://",
            "https://a b/",
            "gopher://a",
            "https://a.example:99999/",
            "https://[2606:4700::1]:65536/",
            "https://a.example:/",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn nobody_is_called_who_is_not_public() {
        let closed = Outbound::default();
        for url in [
            "http://127.0.0.1:1/",
            "https://127.0.0.1:1/",
            "https://localhost:1/",
            "https://[::1]:1/",
            "https://169.254.169.254/latest",
            "https://[::ffff:127.0.0.1]:1/",
            "https://2130706433:1/",
            "https://0x7f.1:1/",
        ] {
            let refused = closed.fetch(url, 10).await;
            assert!(
                matches!(refused, Err(FetchError::Private(_) | FetchError::Name(_) | FetchError::Url(_))),
                "{url}: {refused:?}"
            );
        }
        let open = Outbound::new(Settings {
            allow_networks: vec!["127.0.0.0/8".parse().expect("a block")],
            ..Default::default()
        });
        assert!(matches!(open.fetch("http://127.0.0.1:1/", 10).await, Err(FetchError::Connection(_))));
    }
}
