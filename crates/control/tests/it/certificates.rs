//! Client certificates: authorities of a tenant, whom their certificates mean, and what is taken back. What gateways decide is asked of the
//! directory in force and of `/v1/certificates/match`, which must agree.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rowhouse_control::catalog;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::identity::certificate::{certificates, names};
use serde_json::{Value, json};

use crate::house::{House, outcome};

type Issuer = CertifiedIssuer<'static, KeyPair>;

const ROBOT: &str = "spiffe://acme.test/robot";

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2200, 1, 1));
    params
}

fn issuer(name: &str) -> Issuer {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

/// A machine's certificate in PEM, of this serial number.
fn machine(above: &Issuer, serial: u8) -> String {
    let mut params = params("robot");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(ROBOT.try_into().expect("ASCII"))];
    params.serial_number = Some(SerialNumber::from(vec![serial]));
    params.signed_by(&KeyPair::generate().expect("a key"), above).expect("a certificate").pem()
}

/// A tenant's house with who may do everything in it.
struct Home {
    house: House,
    acme: TenantId,
    admin: String,
    /// The administrator as a principal.
    administrator: String,
    robot: String,
}

impl Home {
    async fn start() -> Home {
        let house = House::with(catalog::shipped()).await;
        let acme = house.tenant("acme", "premium").await;
        let member = house.member("acme", "tenant_admin").await;
        let robot = house.account("acme", "robot").await;
        Home { house, acme, admin: member.key, administrator: member.account, robot }
    }

    async fn register(&self, issuer: &Issuer, name: &str) -> String {
        let body = json!({ "name": name, "certificate": issuer.pem() });
        let made = self.house.created(&self.admin, "/v1/certificate_authorities", body).await;
        made["id"].as_str().expect("an id").to_owned()
    }

    async fn means(&self, account: &str, authority: &str, by: &str, value: &str) -> String {
        let entry = json!([{ "authority": authority, "by": by, "value": value }]);
        self.set(&self.admin, account, entry).await
    }

    async fn set(&self, key: &str, account: &str, entries: Value) -> String {
        let path = format!("/v1/service_accounts/{account}/certificates");
        let body = json!({ "certificates": entries });
        let (status, answer) = self.house.platform.call(key, "PUT", &path, Some(body)).await;
        outcome(status, &answer)
    }

    /// Whom a chain signs in by the directory in force, or why nobody; the API says the same.
    async fn found(&self, tenant: TenantId, pem: &str) -> String {
        self.house.settled().await;
        let control = &self.house.platform.control;
        let directory = control.directory.current();
        let believed = &directory.tenants.get(&tenant).expect("a known tenant").authorities;
        let chain = certificates(pem).expect("certificates");
        let verdict = believed.recognise(&chain, control.clock().now_us());
        let said = match verdict {
            Ok(found) => format!("{} {}", found.account, found.by.as_str()),
            Err(fault) => fault.as_str().to_owned(),
        };
        let path = format!("/v1/certificates/match?tenant={tenant}");
        let told = self.house.posted(&self.house.root, &path, json!({ "certificates": pem })).await;
        let told = match told["reason"].as_str() {
            Some(reason) => reason.to_owned(),
            None => format!(
                "{} {}",
                told["service_account"].as_str().unwrap_or("-"),
                told["by"].as_str().unwrap_or("-")
            ),
        };
        assert_eq!(said, told, "both say the same");
        said
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_signs_in_with_a_certificate_of_its_tenants_own_authority() {
    let home = Home::start().await;
    let (house, acme) = (&home.house, home.acme);
    let bolt = house.tenant("bolt", "premium").await;
    let (first, second) = (issuer("first"), issuer("second"));
    let shown = machine(&first, 7);
    assert_eq!(home.found(acme, &shown).await, "unknown_authority");
    let authority = home.register(&first, "First").await;
    assert_eq!(home.found(acme, &shown).await, "untrusted", "an authority by itself lets nobody in");
    assert_eq!(home.means(&home.robot, &authority, "uri", ROBOT).await, "200 -");
    assert_eq!(home.found(acme, &shown).await, format!("{} uri", home.robot));
    assert_eq!(home.found(bolt, &shown).await, "unknown_authority", "it is acme's alone");
    // Another authority of acme's vouches for the same name: it is not meant.
    let other = home.register(&second, "Second").await;
    assert_eq!(home.found(acme, &machine(&second, 7)).await, "untrusted");
    let stranger = house.account("acme", "stranger").await;
    assert_eq!(home.means(&stranger, &other, "uri", ROBOT).await, "200 -");
    assert_eq!(home.found(acme, &machine(&second, 7)).await, format!("{stranger} uri"));
    assert_eq!(home.found(acme, &shown).await, format!("{} uri", home.robot));
    // A closer rule of the same account.
    let key = names(&certificates(&shown).expect("one")[0]).expect("names").spki_sha256.to_uppercase();
    assert_eq!(home.means(&home.robot, &authority, "spki_sha256", &key).await, "200 -");
    assert_eq!(home.found(acme, &shown).await, format!("{} spki_sha256", home.robot));
    assert_eq!(home.found(acme, &machine(&first, 7)).await, "untrusted", "another key of the same name");
    assert_eq!(home.means(&home.robot, &authority, "subject", "CN=robot").await, "200 -");
    assert_eq!(home.found(acme, &shown).await, format!("{} subject", home.robot));
    // The authority goes, and comes back under another id.
    let path = format!("/v1/certificate_authorities/{authority}");
    assert_eq!(house.platform.call(&home.admin, "DELETE", &path, None).await.0, 204);
    assert_eq!(house.platform.call(&home.admin, "DELETE", &path, None).await.0, 404, "once");
    assert_eq!(home.found(acme, &shown).await, "unknown_authority");
    home.register(&first, "First again").await;
    assert_eq!(
        home.found(acme, &shown).await,
        "untrusted",
        "what was said of the one is not said of the other"
    );
    let events = house.events(acme).await;
    for name in ["identity.authority_created", "identity.authority_deleted", "keys.service_account_changed"] {
        assert!(events.iter().any(|own| own == name), "{name} in {events:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_is_not_believed_and_can_be_given_back() {
    let home = Home::start().await;
    let (house, acme) = (&home.house, home.acme);
    let issuer = issuer("one");
    let authority = home.register(&issuer, "One").await;
    assert_eq!(home.means(&home.robot, &authority, "uri", ROBOT).await, "200 -");
    let (shown, other) = (machine(&issuer, 0x0a), machine(&issuer, 0x0b));
    let robot = format!("{} uri", home.robot);
    let revoked = "/v1/revoked_certificates";
    let whole = json!({ "certificate": shown, "reason": "lost" });
    let made = house.created(&home.admin, revoked, whole.clone()).await;
    assert_eq!(home.found(acme, &shown).await, "revoked");
    assert_eq!(home.found(acme, &other).await, robot);
    let again = house.refused(&home.admin, revoked, json!({ "sha256": made["sha256"] })).await;
    assert_eq!(again, "409 identity.revocation_taken", "twice is once");
    let path = format!("{revoked}/{}", made["id"].as_str().expect("an id"));
    assert_eq!(house.platform.call(&home.admin, "DELETE", &path, None).await.0, 204);
    assert_eq!(home.found(acme, &shown).await, robot);
    let by_serial = json!({ "authority": authority, "serial": "00:0B" });
    let first = house.repeatable(&home.admin, revoked, &by_serial, "once").await;
    let second = house.repeatable(&home.admin, revoked, &by_serial, "once").await;
    assert_eq!((first.0, &first.1), (201, &second.1), "{}", first.1);
    assert_eq!(first.1["serial"], "b");
    assert_eq!(home.found(acme, &other).await, "revoked");
    assert_eq!(home.found(acme, &shown).await, robot);
    // What the authority's going takes along.
    let path = format!("/v1/certificate_authorities/{authority}");
    assert_eq!(house.platform.call(&home.admin, "DELETE", &path, None).await.0, 204);
    let (_, left) = house.platform.call(&home.admin, "GET", revoked, None).await;
    assert_eq!(left["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_well_formed_or_anothers_is_refused() {
    let home = Home::start().await;
    let house = &home.house;
    house.tenant("bolt", "premium").await;
    let stranger = house.member("bolt", "tenant_admin").await.key;
    let issuer = issuer("one");
    let authority = home.register(&issuer, "One").await;
    let at = "/v1/certificate_authorities";
    let mut over = params("over");
    over.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    over.not_after = date_time_ymd(2021, 1, 1);
    let over = CertifiedIssuer::self_signed(over, KeyPair::generate().expect("a key")).expect("one").pem();
    let pem = issuer.pem();
    for (name, certificate, expected) in [
        ("Again", pem.clone(), "409 identity.authority_taken"),
        ("Both", format!("{pem}\n{over}"), "422 identity.authority_invalid /certificate"),
        ("Leaf", machine(&issuer, 1), "422 identity.authority_invalid /certificate"),
        ("Over", over, "422 identity.authority_invalid /certificate"),
        ("None", "nonsense".to_owned(), "422 identity.authority_invalid /certificate"),
        (" spaces ", pem.clone(), "422 identity.authority_invalid /name"),
    ] {
        let body = json!({ "name": name, "certificate": certificate });
        assert_eq!(house.refused(&home.admin, at, body).await, expected, "{name}");
    }
    let other = house.account("acme", "other").await;
    assert_eq!(home.means(&home.robot, &authority, "dns", "Robot.acme.test").await, "200 -");
    for (account, authority, by, value, expected) in [
        (&other, &authority, "dns", "robot.ACME.test", "422 keys.invalid_field /certificates/0/value"),
        (&other, &authority, "dns", "*.acme.test", "422 keys.invalid_field /certificates/0/value"),
        (&other, &authority, "cn", "robot", "422 keys.invalid_field /certificates/0/by"),
        (&other, &other, "dns", "other.acme.test", "422 keys.invalid_field /certificates/0/authority"),
        (&other, &authority, "dns", "other.acme.test", "200 -"),
        (&home.robot, &authority, "dns", "robot.acme.test", "200 -"),
    ] {
        assert_eq!(home.means(account, authority, by, value).await, expected, "{by} {value}");
    }
    for body in [
        json!({}),
        json!({ "sha256": "ab" }),
        json!({ "sha256": "ab".repeat(32), "serial": "1" }),
        json!({ "serial": "1" }),
        json!({ "authority": authority, "serial": "xyz" }),
        json!({ "authority": other, "serial": "1" }),
        json!({ "certificate": "nonsense" }),
    ] {
        let refused = house.refused(&home.admin, "/v1/revoked_certificates", body.clone()).await;
        assert!(refused.starts_with("422 identity.authority_invalid"), "{body}: {refused}");
    }
    // Another tenant's administrator sees none of it, and has no use of it.
    let path = format!("{at}/{authority}");
    for method in ["GET", "DELETE"] {
        assert_eq!(house.platform.call(&stranger, method, &path, None).await.0, 404, "{method}");
    }
    let (_, seen) = house.platform.call(&stranger, "GET", at, None).await;
    assert_eq!(seen["items"], json!([]));
    let body = json!({ "authority": authority, "serial": "1" });
    let taken = house.refused(&stranger, "/v1/revoked_certificates", body).await;
    assert_eq!(taken, "422 identity.authority_invalid /authority");
    let bolts = house.account("bolt", "robot").await;
    let entry = json!([{ "authority": authority, "by": "dns", "value": "robot.bolt.test" }]);
    assert_eq!(home.set(&stranger, &bolts, entry).await, "422 keys.invalid_field /certificates/0/authority");
    // Who may not do what the account may do does not say how one becomes it.
    let viewer = house.member("acme", "viewer").await;
    let entry = json!([{ "authority": authority, "by": "dns", "value": "admin.acme.test" }]);
    let refused = home.set(&viewer.key, &home.administrator, entry).await;
    assert!(refused.starts_with("403 "), "{refused}");
}
