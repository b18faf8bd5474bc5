//! TLS with curl: certificates by name, HTTP/2 by ALPN, and certificates that change while it runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rowhouse_domain::entropy::Entropy;
use rowhouse_gateway::{CertificateError, StartError, TlsListen};

use crate::stage::Stage;

/// A folder of certificates that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rowhouse-tls-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// A certificate that signs itself, for `host`, under a file name.
    fn put(&self, file: &str, host: &str) -> &Self {
        let (key, certificate) = (self.file(&format!("{file}.key")), self.file(&format!("{file}.new")));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=test", "-addext", &format!("subjectAltName=DNS:{host}")])
            .args([Path::new("-keyout"), &key, Path::new("-out"), &certificate])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::rename(certificate, self.file(&format!("{file}.crt"))).unwrap();
        self
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn stage(folder: &Folder) -> Stage {
    let certificates = folder.0.clone();
    let listen = "127.0.0.1:0".parse().unwrap();
    Stage::configured(|config| config.tls = Some(TlsListen { listen, certificates }), |_| {})
}

/// Asks a host over TLS, believing `trusted` alone.
fn curl(stage: &Stage, host: &str, trusted: &Path, arguments: &[&str]) -> Output {
    let at = stage.gateway.as_ref().unwrap().tls_address().unwrap();
    Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
        .arg(trusted)
        .args(["--resolve", &format!("{host}:{}:127.0.0.1", at.port())])
        .args(["-H", &format!("Authorization: Bearer {}", stage.acme)])
        .args(arguments)
        .arg(format!("https://{host}:{}/v1/stamps", at.port()))
        .output()
        .unwrap()
}

fn told(output: &Output) -> serde_json::Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn certificates_are_chosen_by_name_and_the_service_learns_that_it_was_tls() {
    let folder = Folder::new("names");
    folder.put("acme.example.test", "acme.example.test").put("_.example.test", "*.example.test");
    folder.put("default", "else.test");
    let stage = stage(&folder);
    let own = folder.file("acme.example.test.crt");
    for (version, expected) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/1.1")] {
        let output = curl(&stage, "acme.example.test", &own, &[version, "-w", "%{stderr}%{http_version}"]);
        let told = told(&output);
        let header = |name: &str| {
            let headers = told["headers"].as_array().unwrap().iter();
            headers.clone().find(|own| own[0] == name).map(|own| own[1].as_str().unwrap().to_owned())
        };
        assert_eq!(told["version"], expected, "towards the service");
        assert_eq!(header("x-forwarded-proto").as_deref(), Some("https"));
        assert!(header("forwarded").unwrap().ends_with("proto=https"), "{told}");
        let spoken = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(spoken, if version == "--http2" { "2" } else { "1.1" });
    }
    let tls12 = curl(&stage, "acme.example.test", &own, &["--tls-max", "1.2"]);
    assert_eq!(told(&tls12)["method"], "GET");
    let tls11 = curl(&stage, "acme.example.test", &own, &["--tls-max", "1.1"]);
    assert!(!tls11.status.success(), "older versions are not spoken");
    let other = curl(&stage, "bolt.example.test", &folder.file("_.example.test.crt"), &[]);
    assert_eq!(told(&other)["status"], 401, "another tenant's door, with the certificate for all: {other:?}");
    let wrong = curl(&stage, "bolt.example.test", &own, &[]);
    assert!(!wrong.status.success(), "acme's certificate is not shown to others");
    // Plain HTTP still stands beside it, and says so.
    let plain = stage.ask("GET", "/v1/stamps").send().json();
    assert!(plain.to_string().contains("proto=http\""), "{plain}");
}

#[test]
fn a_large_body_passes_both_ways() {
    let folder = Folder::new("bodies");
    folder.put("acme.example.test", "acme.example.test");
    let mut stage = stage(&folder);
    stage.publish(|plan| plan.route_mut("stamps.create").body_max_bytes = 10_000_000);
    let body = folder.file("body");
    std::fs::write(&body, vec![b'x'; 3_000_000]).unwrap();
    let data = format!("@{}", body.display());
    for version in ["--http1.1", "--http2"] {
        let arguments = [version, "--data-binary", data.as_str()];
        let output = curl(&stage, "acme.example.test", &folder.file("acme.example.test.crt"), &arguments);
        assert_eq!(told(&output)["body_bytes"], 3_000_000);
    }
}

#[test]
fn a_new_certificate_is_taken_in_and_a_bad_one_changes_nothing() {
    let folder = Folder::new("renewed");
    folder.put("acme.example.test", "acme.example.test");
    let stage = stage(&folder);
    let trusted = folder.file("acme.example.test.crt");
    let old = folder.file("old.pem");
    std::fs::copy(&trusted, &old).unwrap();
    assert!(curl(&stage, "acme.example.test", &old, &[]).status.success());
    folder.put("acme.example.test", "acme.example.test");
    let until = Instant::now() + Duration::from_secs(20);
    while !curl(&stage, "acme.example.test", &trusted, &[]).status.success() {
        assert!(Instant::now() < until, "the new certificate is shown");
    }
    assert!(!curl(&stage, "acme.example.test", &old, &[]).status.success());
    // A key that belongs to another certificate; then a further name, which shows that the folder was looked at.
    std::fs::write(folder.file("zzz.example.test.crt"), "nonsense").unwrap();
    assert!(curl(&stage, "acme.example.test", &trusted, &[]).status.success());
    std::fs::remove_file(folder.file("zzz.example.test.crt")).unwrap();
    folder.put("bolt.example.test", "bolt.example.test");
    let bolt = folder.file("bolt.example.test.crt");
    while !curl(&stage, "bolt.example.test", &bolt, &[]).status.success() {
        assert!(Instant::now() < until, "a further name is taken in");
    }
    assert!(curl(&stage, "acme.example.test", &trusted, &[]).status.success());
}

#[test]
fn what_cannot_be_used_is_said_at_the_start() {
    let start = |folder: &Folder| {
        let listen = "127.0.0.1:0".parse().unwrap();
        let mut config = rowhouse_gateway::GatewayConfig::new(listen);
        config.tls = Some(TlsListen { listen, certificates: folder.0.clone() });
        let home = folder.file("journal");
        let (journal, _) =
            rowhouse_journal::Journal::open(&home, rowhouse_journal::Options::new("n")).unwrap();
        let collaborators = rowhouse_gateway::Collaborators {
            directory: Default::default(),
            peppers: rowhouse_domain::keys::Peppers::new(vec![rowhouse_domain::keys::Pepper::new(
                1, &[7; 32],
            )]),
            signer: rowhouse_domain::context::ContextSigner::new("k1", &[3; 32]),
            clock: rowhouse_domain::clock::Clock::by_hand(0).0,
            entropy: Entropy::new(|out| out.fill(7)),
        };
        match rowhouse_gateway::Gateway::start(config, collaborators, &journal).map(drop) {
            Err(StartError::Certificates(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let folder = Folder::new("bad");
    assert!(matches!(start(&folder), CertificateError::None(_)));
    std::fs::write(folder.file("a.test.crt"), "nonsense").unwrap();
    let error = start(&folder);
    assert!(matches!(error, CertificateError::Pem { .. } | CertificateError::Unfit { .. }), "{error:?}");
    folder.put("a.test", "b.test");
    assert!(matches!(start(&folder), CertificateError::Unfit { .. }), "it is for another name");
    folder.put("a.test", "a.test").put("c.test", "c.test");
    std::fs::copy(folder.file("c.test.key"), folder.file("a.test.key")).unwrap();
    assert!(matches!(start(&folder), CertificateError::Unfit { .. }), "the key is another's");
}

#[test]
fn who_speaks_no_tls_at_that_door_is_let_go() {
    let folder = Folder::new("plain");
    folder.put("acme.example.test", "acme.example.test");
    let stage = stage(&folder);
    let at = stage.gateway.as_ref().unwrap().tls_address().unwrap();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\n",
        &[0x16, 3, 1, 0xff, 0xff],
    ] {
        let mut wire = crate::client::Wire::open(at);
        wire.write(bytes);
        if bytes[0] != 0x16 {
            assert!(!wire.rest().starts_with(b"HTTP/"), "nothing is answered in the clear");
        }
    }
    assert_eq!(stage.upstream.count(), 0);
    assert!(curl(&stage, "acme.example.test", &folder.file("acme.example.test.crt"), &[]).status.success());
}
