//! Client certificates: who is asked, who is believed, and that what is withdrawn is withdrawn for open connections and resumed
//! sessions too. The client is rustls, once curl (OpenSSL).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rowhouse_domain::id::{AuthorityId, ServiceAccountId, TenantId};
use rowhouse_domain::identity::certificate::{
    Authority, CertificateRule, MatchBy, TenantAuthorities, fingerprint,
};
use rowhouse_domain::identity::issuer::Missed;
use rowhouse_gateway::TlsListen;
use serde_json::{Value, json};
use tokio_rustls::rustls::client::{ClientConnection, ResolvesClientCert};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, SignatureScheme, StreamOwned};

use crate::directory::{ACME, BOLT};
use crate::issuers;
use crate::stage::Stage;
use crate::tls::Folder;

type Issuer = CertifiedIssuer<'static, KeyPair>;

const ACME_HOST: &str = "acme.example.test";
const BOLT_HOST: &str = "bolt.example.test";
const ROBOT: &str = "spiffe://acme.test/robot";

fn issuer() -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "an authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A client's certificate and its key.
struct Machine {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

fn machine(above: &Issuer, name: &str) -> Machine {
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
    let key = KeyPair::generate().unwrap();
    Machine { certificate: params.signed_by(&key, above).unwrap().der().clone(), key }
}

fn signing(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(key.serialize_der()).unwrap()
}

/// What a tenant believes: this authority, whose robot is the account of this number.
fn believed(above: &Issuer, account: u128, revoked: Vec<[u8; 32]>) -> Arc<TenantAuthorities> {
    let mut authority = Authority::new(AuthorityId::from_u128(account), above.der()).unwrap();
    authority.rules = vec![CertificateRule {
        by: MatchBy::Uri,
        value: ROBOT.into(),
        account: ServiceAccountId::from_u128(account),
    }];
    Arc::new(TenantAuthorities::new(vec![authority], revoked))
}

/// A gateway that speaks TLS, with who signed its own certificate.
struct Door {
    stage: Stage,
    folder: Folder,
    roots: Arc<RootCertStore>,
}

impl Door {
    fn new(name: &str, authorities: &[(TenantId, Arc<TenantAuthorities>)]) -> Door {
        let folder = Folder::new(name);
        let above = issuer();
        let hosts = vec![ACME_HOST.to_owned(), BOLT_HOST.to_owned()];
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(hosts).unwrap().signed_by(&key, &above).unwrap();
        std::fs::write(folder.file("default.key"), key.serialize_pem()).unwrap();
        std::fs::write(folder.file("default.crt"), own.pem()).unwrap();
        std::fs::write(folder.file("root.pem"), above.pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(above.der().clone()).unwrap();
        let (listen, certificates) = ("127.0.0.1:0".parse().unwrap(), folder.file(""));
        let stage = Stage::configured(
            |config| config.tls = Some(TlsListen { listen, certificates }),
            |plan| {
                for (tenant, own) in authorities {
                    plan.tenant_mut(*tenant).authorities = own.clone();
                }
            },
        );
        Door { stage, folder, roots: Arc::new(roots) }
    }

    fn client(&self, shown: Option<(&Machine, &KeyPair)>) -> Arc<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(self.roots.clone());
        Arc::new(match shown {
            None => builder.with_no_client_auth(),
            Some((machine, key)) => {
                let key = provider.key_provider.load_private_key(signing(key)).unwrap();
                let own = CertifiedKey::new(vec![machine.certificate.clone()], key);
                builder.with_client_cert_resolver(Arc::new(Shows(Arc::new(own))))
            }
        })
    }

    fn as_machine(&self, machine: &Machine) -> Arc<ClientConfig> {
        self.client(Some((machine, &machine.key)))
    }

    fn open(&self, client: &Arc<ClientConfig>, host: &'static str) -> Line {
        let at = self.stage.gateway.as_ref().unwrap().tls_address().unwrap();
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let name = ServerName::try_from(host).unwrap();
        Line(StreamOwned::new(ClientConnection::new(client.clone(), name).unwrap(), stream))
    }

    /// What a new connection is told about one request.
    fn once(&self, client: &Arc<ClientConfig>, host: &'static str, more: &str) -> (u16, String) {
        self.open(client, host).ask(host, more).unwrap()
    }
}

/// Shows a certificate with whatever key.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
    fn has_certs(&self) -> bool {
        true
    }
}

/// A connection.
struct Line(StreamOwned<ClientConnection, TcpStream>);

impl Line {
    /// Status and code of the answer.
    fn ask(&mut self, host: &str, more: &str) -> std::io::Result<(u16, String)> {
        let request = format!("GET /v1/stamps HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
        self.0.write_all(request.as_bytes())?;
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte)?;
            seen.push(byte[0]);
        }
        let head = String::from_utf8(seen).unwrap().to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        self.0.read_exact(&mut body)?;
        let told: Value = serde_json::from_slice(&body).unwrap();
        let code = told["code"].as_str().unwrap_or_default().to_owned();
        Ok((head.split(' ').nth(1).unwrap().parse().unwrap(), code))
    }

    fn was_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

fn told(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_machine_is_who_its_authority_says() {
    let acme = issuer();
    let door = Door::new("certified", &[(ACME, believed(&acme, 9, vec![]))]);
    let robot = machine(&acme, ROBOT);
    let shown = door.as_machine(&robot);
    // Nobody has granted the account anything: it is known, and may do nothing.
    assert_eq!(door.once(&shown, ACME_HOST, ""), told(403, "access.denied"));
    let records = door.stage.records(1);
    assert_eq!(records[0].record().principal, Some(9));
    assert_eq!(records[0].record().principal_kind, rowhouse_journal::PrincipalKind::ServiceAccount);
    assert_eq!(
        door.once(&door.client(None), ACME_HOST, ""),
        told(401, "identity.no_credentials"),
        "it is not insisted"
    );
    let key = format!("Authorization: Bearer {}\r\n", door.stage.acme);
    assert_eq!(door.once(&shown, ACME_HOST, &key), told(401, "identity.ambiguous_credentials"));
    let key = format!("X-API-Key: {}\r\n", door.stage.acme);
    assert_eq!(door.once(&shown, ACME_HOST, &key), told(401, "identity.ambiguous_credentials"));
    let stranger = door.as_machine(&machine(&acme, "spiffe://acme.test/stranger"));
    assert_eq!(door.once(&stranger, ACME_HOST, ""), told(401, "identity.certificate_untrusted"));
    let other = door.as_machine(&machine(&issuer(), ROBOT));
    assert_eq!(door.once(&other, ACME_HOST, ""), told(401, "identity.certificate_invalid"));
}

#[test]
fn who_does_not_hold_the_key_does_not_come_in() {
    let acme = issuer();
    let door = Door::new("possession", &[(ACME, believed(&acme, 9, vec![]))]);
    let (robot, thief) = (machine(&acme, ROBOT), KeyPair::generate().unwrap());
    let shown = door.client(Some((&robot, &thief)));
    assert!(door.open(&shown, ACME_HOST).ask(ACME_HOST, "").is_err(), "the handshake fails");
    assert_eq!(door.once(&door.as_machine(&robot), ACME_HOST, ""), told(403, "access.denied"));
    assert_eq!(door.stage.records(1).len(), 1, "the thief's request was none");
}

#[test]
fn one_tenants_authority_is_nothing_to_another() {
    let (acme, bolt) = (issuer(), issuer());
    let door =
        Door::new("tenants", &[(ACME, believed(&acme, 9, vec![])), (BOLT, believed(&bolt, 10, vec![]))]);
    let (acmes, bolts) = (machine(&acme, ROBOT), machine(&bolt, ROBOT));
    for (machine, host, expected) in [
        (&acmes, ACME_HOST, told(403, "access.denied")),
        (&acmes, BOLT_HOST, told(401, "identity.certificate_invalid")),
        (&bolts, BOLT_HOST, told(403, "access.denied")),
        (&bolts, ACME_HOST, told(401, "identity.certificate_invalid")),
    ] {
        assert_eq!(door.once(&door.as_machine(machine), host, ""), expected, "{host}");
    }
    // A connection that was opened for one is not used for the other, whatever it shows and whichever way the tenant is named.
    let shown = door.as_machine(&acmes);
    let mut line = door.open(&shown, ACME_HOST);
    assert_eq!(line.ask(BOLT_HOST, "").unwrap(), told(421, "routes.misdirected"));
    assert_eq!(line.ask(ACME_HOST, "").unwrap(), told(403, "access.denied"), "and goes on");
    assert_eq!(
        line.ask(ACME_HOST, "X-Tenant-Code: bolt\r\n").unwrap(),
        told(400, "tenancy.conflicting_signals")
    );
    let key = format!("X-API-Key: {}\r\n", door.stage.bolt);
    let mut bare = door.open(&door.client(None), ACME_HOST);
    assert_eq!(
        bare.ask(BOLT_HOST, &key).unwrap(),
        told(421, "routes.misdirected"),
        "without a certificate too"
    );
}

#[test]
fn what_is_withdrawn_is_withdrawn_for_what_is_open_and_what_is_resumed() {
    let acme = issuer();
    let mut door = Door::new("withdrawn", &[(ACME, believed(&acme, 9, vec![]))]);
    let robot = machine(&acme, ROBOT);
    let shown = door.as_machine(&robot);
    let mut line = door.open(&shown, ACME_HOST);
    assert_eq!(line.ask(ACME_HOST, "").unwrap(), told(403, "access.denied"));
    assert!(!line.was_resumed());
    let mut again = door.open(&shown, ACME_HOST);
    assert_eq!(again.ask(ACME_HOST, "").unwrap(), told(403, "access.denied"), "who resumes is still known");
    assert!(again.was_resumed());

    let revoked = believed(&acme, 9, vec![fingerprint(&robot.certificate)]);
    for (authorities, expected) in [
        (revoked, told(401, "identity.certificate_revoked")),
        (believed(&issuer(), 9, vec![]), told(401, "identity.certificate_invalid")),
        (Arc::default(), told(401, "identity.certificate_invalid")),
        (believed(&acme, 9, vec![]), told(403, "access.denied")),
    ] {
        door.stage.publish(|plan| plan.tenant_mut(ACME).authorities = authorities);
        assert_eq!(line.ask(ACME_HOST, "").unwrap(), expected);
        assert_eq!(again.ask(ACME_HOST, "").unwrap(), expected);
    }
    // Years later, on the same connection: the certificate's own end is the end.
    door.stage.hand.advance_us(3_000 * 365 * crate::stage::DAY_US);
    assert_eq!(line.ask(ACME_HOST, "").unwrap(), told(401, "identity.certificate_invalid"));
}

#[test]
fn who_comes_back_after_the_tenant_began_to_ask_is_asked() {
    let acme = issuer();
    let mut door = Door::new("later", &[]);
    let robot = machine(&acme, ROBOT);
    let shown = door.as_machine(&robot);
    assert_eq!(door.once(&shown, ACME_HOST, ""), told(401, "identity.no_credentials"), "nobody is asked");
    door.stage.publish(|plan| plan.tenant_mut(ACME).authorities = believed(&acme, 9, vec![]));
    let mut line = door.open(&shown, ACME_HOST);
    assert_eq!(line.ask(ACME_HOST, "").unwrap(), told(403, "access.denied"));
    assert!(!line.was_resumed(), "a ticket from before is none");
}

#[test]
fn a_token_is_good_with_the_certificate_that_it_is_bound_to() {
    let acme = issuer();
    let mut door = Door::new("bound", &[(ACME, believed(&acme, 9, vec![]))]);
    door.stage.publish(|plan| plan.tenant_mut(ACME).issuers = issuers::issuers(1, 11, &Missed::default()));
    let (robot, other) = (machine(&acme, ROBOT), machine(&acme, ROBOT));
    let hash = URL_SAFE_NO_PAD.encode(fingerprint(&robot.certificate));
    let bearer = |token: String| format!("Authorization: Bearer {token}\r\n");
    let bound = bearer(issuers::token(1, |all| all["cnf"] = json!({ "x5t#S256": hash })));
    let loose = bearer(issuers::token(1, |_| ()));
    for (client, token, expected) in [
        (door.as_machine(&robot), &bound, told(403, "access.denied")),
        (door.as_machine(&other), &bound, told(401, "identity.token_invalid")),
        (door.client(None), &bound, told(401, "identity.token_invalid")),
        (door.client(None), &loose, told(403, "access.denied")),
        (door.as_machine(&robot), &loose, told(401, "identity.ambiguous_credentials")),
    ] {
        for _ in 0..2 {
            assert_eq!(door.once(&client, ACME_HOST, token), expected);
        }
    }
    assert!(
        door.stage.records(10).iter().any(|one| one.record().principal == Some(11)),
        "the token says who"
    );
    let revoked = believed(&acme, 9, vec![fingerprint(&robot.certificate)]);
    door.stage.publish(|plan| plan.tenant_mut(ACME).authorities = revoked);
    assert_eq!(door.once(&door.as_machine(&robot), ACME_HOST, &bound), told(401, "identity.token_invalid"));
}

#[test]
fn curl_is_known_over_every_protocol() {
    let acme = issuer();
    let door = Door::new("curl", &[(ACME, believed(&acme, 9, vec![]))]);
    let robot = machine(&acme, ROBOT);
    std::fs::write(door.folder.file("robot.pem"), pem(&robot)).unwrap();
    let at = door.stage.gateway.as_ref().unwrap().tls_address().unwrap();
    for protocol in [&["--http2"][..], &["--http1.1"], &["--tls-max", "1.2"], &["--tlsv1.3"]] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
            .arg(door.folder.file("root.pem"))
            .arg("--cert")
            .arg(door.folder.file("robot.pem"))
            .args(["--resolve", &format!("{ACME_HOST}:{}:127.0.0.1", at.port())])
            .args(protocol)
            .arg(format!("https://{ACME_HOST}:{}/v1/stamps", at.port()))
            .output()
            .unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert_eq!(
            told["code"],
            "access.denied",
            "{protocol:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Certificate and key in one file, as curl takes them.
fn pem(machine: &Machine) -> String {
    use base64::engine::general_purpose::STANDARD;
    let body = STANDARD.encode(&machine.certificate);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n{}", machine.key.serialize_pem())
}

/// As RFC 9440 §2 writes it.
fn field(certificate: &CertificateDer<'_>) -> String {
    format!(":{}:", STANDARD.encode(certificate))
}

#[test]
fn a_proxy_that_is_believed_says_whom_it_was_shown_and_nobody_else_does() {
    let (acme, bolt) = (issuer(), issuer());
    let (robot, stranger) = (machine(&acme, ROBOT), machine(&bolt, ROBOT));
    let behind = |trusted: bool, says: bool| {
        Stage::configured(
            |config| {
                config.trusted_proxies = if trusted { vec!["127.0.0.1".parse().unwrap()] } else { vec![] };
                config.proxied_certificates = says;
            },
            |plan| plan.tenant_mut(ACME).authorities = believed(&acme, 9, vec![]),
        )
    };
    let own = field(&robot.certificate);
    let ask = |stage: &Stage, value: &str| {
        let ask = stage.bare("GET", "/v1/stamps").host(ACME_HOST).header("Client-Cert", value);
        ask.send().refusal()
    };
    let stage = behind(true, true);
    assert_eq!(ask(&stage, &own), told(403, "access.denied"), "known, and may do nothing");
    assert_eq!(stage.records(1)[0].record().principal, Some(9));
    assert_eq!(ask(&stage, &field(&stranger.certificate)), told(401, "identity.certificate_invalid"));
    for bad in ["", "::", ":e30", "e30=", ":?:", ":e30=: ;a", &format!("{own}, {own}")] {
        assert_eq!(ask(&stage, bad), told(400, "routes.malformed_request"), "{bad}");
    }
    let with_chain = |chain: &str| {
        let ask = stage.bare("GET", "/v1/stamps").host(ACME_HOST).header("Client-Cert", &own);
        ask.header("Client-Cert-Chain", chain).send().refusal()
    };
    assert_eq!(with_chain(&format!("{0}, {0}", field(acme.der()))), told(403, "access.denied"));
    assert_eq!(with_chain(":nonsense"), told(400, "routes.malformed_request"));
    assert_eq!(
        with_chain(&format!(":{}:", STANDARD.encode([7; 20_000]))),
        told(400, "routes.malformed_request")
    );
    let twice = stage.bare("GET", "/v1/stamps").host(ACME_HOST).header("Client-Cert", &own);
    assert_eq!(twice.header("Client-Cert", &own).send().refusal(), told(400, "routes.malformed_request"));
    let key = stage.ask("GET", "/v1/stamps").header("Client-Cert", &own).send();
    assert_eq!(key.refusal(), told(401, "identity.ambiguous_credentials"));
    // From who is not believed, or where it is not declared, it is nothing, and goes nowhere.
    for (trusted, says) in [(false, true), (true, false)] {
        let stage = behind(trusted, says);
        assert_eq!(ask(&stage, &own), told(401, "identity.no_credentials"));
        let seen =
            stage.ask("GET", "/v1/stamps").header("Client-Cert", &own).header("client_cert", &own).send();
        assert_eq!(seen.status, 200);
        let headers = seen.json()["headers"].to_string();
        assert!(!headers.contains("client-cert") && !headers.contains("client_cert"), "{headers}");
    }
}

#[test]
fn a_service_is_told_which_certificate_was_shown() {
    let acme = issuer();
    let door = Door::new("told", &[(ACME, believed(&acme, 9, vec![]))]);
    let robot = machine(&acme, ROBOT);
    let mut line = door.open(&door.as_machine(&robot), ACME_HOST).0;
    let request = format!(
        "GET /open/x HTTP/1.1\r\nHost: {ACME_HOST}\r\nClient-Cert: :e30=:\r\nConnection: close\r\n\r\n"
    );
    line.write_all(request.as_bytes()).unwrap();
    let mut seen = Vec::new();
    // The end of a connection may be told in no good order.
    let _ = line.read_to_end(&mut seen);
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
    let wanted = format!("[\"client-cert\",\"{}\"]", field(&robot.certificate));
    assert!(seen.contains(&wanted) && !seen.contains("e30="), "{seen}");
}
