//! TLS towards services: who is believed, what is shown, and that nobody is spoken to in the clear instead.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rowhouse_domain::routes::{SeenBoard, Trouble, UpstreamTls};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

use crate::stage::Stage;
use crate::tls::Folder;

/// An authority that signs whatever it is asked to.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        // Named otherwise than what it signs, which would look self-signed.
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a name, and its key.
    pub fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// A service that says whether it was shown a certificate; its address.
fn service(authority: &Authority, name: &str, asks: bool) -> String {
    let (certificate, key) = authority.sign(name);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match asks {
        false => builder.with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            serve(listener, TlsAcceptor::from(Arc::new(config))).await;
        });
    });
    address
}

async fn serve(listener: tokio::net::TcpListener, acceptor: TlsAcceptor) {
    let connections = Arc::new(std::sync::atomic::AtomicU32::new(0));
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, connections) = (acceptor.clone(), connections.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let number = connections.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let shown = stream.get_ref().1.peer_certificates().is_some();
            let answer = hyper::service::service_fn(
                move |request: http::Request<hyper::body::Incoming>| async move {
                    use http_body_util::BodyExt;
                    let version = format!("{:?}", request.version());
                    let bytes =
                        request.into_body().collect().await.map(|body| body.to_bytes().len()).unwrap_or(0);
                    let told = serde_json::json!({"shown": shown, "version": version, "bytes": bytes, "connection": number});
                    Ok::<_, std::convert::Infallible>(http::Response::new(told.to_string()))
                },
            );
            let builder = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), answer).await;
        });
    }
}

fn believing(authority: &Authority, name: &str) -> UpstreamTls {
    UpstreamTls { name: Some(name.to_owned()), authorities: Some(authority.pem()), client: None }
}

#[test]
fn a_service_is_spoken_to_in_tls_and_its_connections_are_used_again() {
    let authority = Authority::new();
    let address = service(&authority, "stamping.internal", false);
    for (protocol, version) in [("http1", "HTTP/1.1"), ("http2", "HTTP/2.0")] {
        let stage = Stage::configured(
            |config| config.cores = 1,
            |plan| {
                plan.routes.iter_mut().for_each(|route| route.body_max_bytes = 1 << 22);
                let own = &mut plan.services[0];
                own.upstreams = vec![address.clone()];
                own.protocol = protocol.to_owned();
                own.tls = Some(believing(&authority, "stamping.internal"));
            },
        );
        let first = stage.ask("GET", "/v1/stamps").send().json();
        assert_eq!((&first["version"], &first["shown"]), (&version.into(), &false.into()), "{first}");
        for _ in 0..5 {
            assert_eq!(stage.ask("GET", "/v1/stamps").send().json()["connection"], first["connection"]);
        }
        // More than fits into what waits inside of TLS.
        let large = stage.ask("POST", "/v1/stamps").body(vec![b'x'; 300_000]).send();
        assert_eq!((large.status, &large.json()["bytes"]), (200, &(300_000).into()));
    }
}

#[test]
fn who_is_not_believed_is_not_spoken_to_and_it_is_told_why() {
    let (authority, other) = (Authority::new(), Authority::new());
    let address = service(&authority, "stamping.internal", false);
    let plain = rowhouse_domain::routes::UpstreamTls::default();
    for tls in [believing(&authority, "else.internal"), believing(&other, "stamping.internal"), plain] {
        let board = SeenBoard::default();
        let (told, own) = (board.clone(), address.clone());
        let stage = Stage::configured(
            |config| (config.cores, config.board) = (1, told),
            |plan| (plan.services[0].upstreams, plan.services[0].tls) = (vec![own], Some(tls)),
        );
        assert_eq!(stage.ask("GET", "/v1/stamps").send().refusal(), (503, "routes.no_upstream".to_owned()));
        let deadline = Instant::now() + Duration::from_secs(60);
        while board.all().first().and_then(|own| own.last_trouble).map(|(_, why)| why) != Some(Trouble::Tls) {
            assert!(Instant::now() < deadline, "{:?}", board.all());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
    // A service that speaks no TLS gets nothing in the clear.
    let stage = Stage::with(|plan| plan.services[0].tls = Some(believing(&authority, "stamping.internal")));
    assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 503);
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn the_gateway_shows_a_certificate_that_may_come_later() {
    let authority = Authority::new();
    let address = service(&authority, "stamping.internal", true);
    let folder = Folder::new("shown");
    let certificates = folder.file("");
    let tls =
        UpstreamTls { client: Some("gateway".to_owned()), ..believing(&authority, "stamping.internal") };
    let stage = Stage::configured(
        |config| (config.cores, config.upstream_certificates) = (1, certificates),
        |plan| (plan.services[0].upstreams, plan.services[0].tls) = (vec![address], Some(tls)),
    );
    assert!(stage.ask("GET", "/v1/stamps").send().status >= 502, "it has nothing to show");
    let (certificate, key) = authority.sign("gateway.internal");
    std::fs::write(folder.file("gateway.key"), key.serialize_pem()).unwrap();
    std::fs::write(folder.file("gateway.crt"), certificate.pem()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        // What failed meanwhile is forgotten: circuits and ejections end by the clock.
        stage.hand.advance_us(400_000_000);
        let answer = stage.ask("GET", "/v1/stamps").send();
        if answer.status == 200 {
            assert_eq!(answer.json()["shown"], true);
            return;
        }
        assert!(Instant::now() < deadline, "{}", answer.text());
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
