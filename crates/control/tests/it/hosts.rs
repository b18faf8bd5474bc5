//! Tenants' own domains: claimed, proven by real DNS servers, lost, kept from strangers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::proto::rr::rdata::{A, SOA, TXT};
use hickory_server::proto::rr::{Name, RData, Record, RecordType, RrKey};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use rowhouse_control::{catalog, tenancy};
use rowhouse_domain::tenancy::hosts::HostState;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};

use crate::house::House;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// An authoritative server of the zone `example.`, over UDP and TCP.
struct Dns {
    zone: Arc<InMemoryZoneHandler>,
    address: SocketAddr,
    _server: Server<Catalog>,
}

/// A port that is free for both.
async fn both() -> (UdpSocket, TcpListener) {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        if let Ok(listener) = TcpListener::bind(socket.local_addr().expect("an address")).await {
            return (socket, listener);
        }
    }
}

impl Dns {
    async fn start() -> Dns {
        let origin = Name::from_ascii("example.").expect("a name");
        let zone: Arc<InMemoryZoneHandler> =
            Arc::new(InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny));
        let soa = SOA::new(origin.clone(), origin.clone(), 1, 60, 60, 60, 0);
        zone.upsert(Record::from_rdata(origin.clone(), 0, RData::SOA(soa)), 1).await;
        let mut catalog = Catalog::new();
        catalog.upsert(origin.into(), vec![zone.clone()]);
        let mut server = Server::new(catalog);
        let (socket, listener) = both().await;
        let address = socket.local_addr().expect("an address");
        server.register_socket(socket);
        server.register_listener(listener, Duration::from_secs(5), 32);
        Dns { zone, address, _server: server }
    }

    async fn add(&self, name: &str, text: &str) {
        let name = Name::from_ascii(format!("{name}.")).expect("a name");
        let txt =
            TXT::new(text.as_bytes().chunks(200).map(|part| String::from_utf8_lossy(part).into()).collect());
        self.zone.upsert(Record::from_rdata(name, 0, RData::TXT(txt)), 2).await;
    }

    async fn lead(&self, name: &str, address: [u8; 4]) {
        let name = Name::from_ascii(format!("{name}.")).expect("a name");
        let [a, b, c, d] = address;
        self.zone.upsert(Record::from_rdata(name, 0, RData::A(A::new(a, b, c, d))), 2).await;
    }

    async fn clear(&self, name: &str) {
        let name = Name::from_ascii(format!("{name}.")).expect("a name");
        self.zone.records_mut().await.remove(&RrKey::new(name.into(), RecordType::TXT));
    }
}

/// A house with two resolvers.
async fn house() -> (House, Dns, Dns) {
    let (one, two) = (Dns::start().await, Dns::start().await);
    let resolvers = vec![one.address, two.address];
    let house = House::set(catalog::shipped(), |settings| {
        settings.hosts.resolvers = resolvers;
        settings.naming.base_domains = vec!["rows.example".to_owned()];
    })
    .await;
    (house, one, two)
}

async fn admin(house: &House, code: &str, tier: &str) -> String {
    house.tenant(code, tier).await;
    house.member(code, "tenant_admin").await.key
}

async fn claim(house: &House, key: &str, name: &str) -> (u16, Value) {
    house.platform.call(key, "POST", "/v1/hosts", Some(json!({ "name": name }))).await
}

async fn claimed(house: &House, key: &str, name: &str) -> Value {
    let (status, host) = claim(house, key, name).await;
    assert_eq!((status, &host["state"]), (201, &json!("pending")), "{host}");
    host
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}"))
}

async fn verify(house: &House, key: &str, host: &Value) -> (u16, Value) {
    house
        .platform
        .call(key, "POST", &format!("/v1/hosts/{}/verify", text(&host["id"])), Some(json!({})))
        .await
}

async fn prove(dns: &[&Dns], host: &Value) {
    for dns in dns {
        dns.add(text(&host["proof"]["name"]), text(&host["proof"]["value"])).await;
    }
}

/// Whom requests for `name` reach.
async fn led_to(house: &House, name: &str) -> Option<String> {
    house.settled().await;
    let directory = house.platform.control.directory.current();
    let tenant = directory.hosts.get(name)?;
    Some(directory.tenants.get(tenant).expect("a known tenant").code.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_proven_when_both_resolvers_show_its_record() {
    let (house, one, two) = house().await;
    let key = admin(&house, "acme", "basic").await;
    let host = claimed(&house, &key, "Portal.Acme.Example.").await;
    assert_eq!(host["name"], "portal.acme.example");
    assert_eq!(host["proof"]["name"], "_rowhouse.portal.acme.example");
    assert_eq!(host["address"], "acme.rows.example");
    assert_eq!(led_to(&house, "portal.acme.example").await, None, "a claim is not served");
    let problem = async |words: &str| {
        let (status, seen) = verify(&house, &key, &host).await;
        assert_eq!((status, &seen["state"]), (200, &json!("pending")), "{seen}");
        assert_eq!(seen["last_problem"], words);
    };
    problem("there is no TXT record").await;
    one.add(text(&host["proof"]["name"]), "v=something else").await;
    two.add(text(&host["proof"]["name"]), "rowhouse-tenant=AAAA").await;
    problem("no TXT record has the expected text").await;
    prove(&[&one], &host).await;
    problem("the resolvers do not agree yet").await;
    let diagnose = format!("/v1/hosts/{}/diagnose", text(&host["id"]));
    let seen = house.platform.get(&key, &diagnose).await;
    assert_eq!(seen["proof"]["found"][0]["found"].as_array().map(Vec::len), Some(2), "{seen}");
    assert!(text(&seen["next"]).contains(text(&host["proof"]["value"])), "{seen}");
    // Too much for one datagram: it is asked for again over TCP.
    for number in 0..20 {
        two.add(text(&host["proof"]["name"]), &format!("{number} {}", "x".repeat(180))).await;
    }
    prove(&[&two], &host).await;
    let (status, proven) = verify(&house, &key, &host).await;
    assert_eq!((status, &proven["state"], &proven["last_problem"]), (200, &json!("verified"), &Value::Null));
    assert_eq!(led_to(&house, "portal.acme.example").await.as_deref(), Some("acme"));
    let (_, again) = verify(&house, &key, &host).await;
    assert_eq!((&again["state"], &again["since"]), (&proven["state"], &proven["since"]), "twice is once");
    one.lead("acme.rows.example", [127, 0, 0, 9]).await;
    assert_eq!(house.platform.get(&key, &diagnose).await["address"]["ok"], false);
    one.lead("portal.acme.example", [127, 0, 0, 9]).await;
    let seen = house.platform.get(&key, &diagnose).await;
    assert_eq!(
        (&seen["address"]["ok"], &seen["next"]),
        (&json!(true), &json!("nothing is to be done")),
        "{seen}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_proof_wins_and_one_tenants_record_proves_nothing_for_another() {
    let (house, one, two) = house().await;
    let (acme, bolt) = (admin(&house, "acme", "basic").await, admin(&house, "bolt", "basic").await);
    let first = claimed(&house, &acme, "shop.example").await;
    let second = claimed(&house, &bolt, "shop.example").await;
    assert_ne!(first["proof"]["value"], second["proof"]["value"]);
    prove(&[&one, &two], &second).await;
    assert_eq!(verify(&house, &acme, &first).await.1["state"], "pending", "the record is another's");
    assert_eq!(verify(&house, &bolt, &second).await.1["state"], "verified");
    prove(&[&one, &two], &first).await;
    let (status, refused) = verify(&house, &acme, &first).await;
    assert_eq!((status, text(&refused["code"])), (409, "tenancy.host_taken"));
    assert_eq!(led_to(&house, "shop.example").await.as_deref(), Some("bolt"));
    let late = admin(&house, "crane", "basic").await;
    let (status, refused) = claim(&house, &late, "shop.example").await;
    assert_eq!((status, text(&refused["code"])), (409, "tenancy.host_taken"));
    // Another tenant's claim is as if it were not there.
    let path = format!("/v1/hosts/{}", text(&second["id"]));
    for (method, path) in [
        ("GET", path.clone()),
        ("GET", format!("{path}/diagnose")),
        ("POST", format!("{path}/verify")),
        ("DELETE", path),
    ] {
        let body = (method == "POST").then(|| json!({}));
        assert_eq!(house.platform.call(&acme, method, &path, body).await.0, 404, "{method} {path}");
    }
    let list = house.platform.get(&acme, "/v1/hosts").await.to_string();
    assert!(!list.contains(text(&second["id"])) && !list.contains(text(&second["proof"]["value"])), "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_tenants_is_refused_and_the_tier_gives_a_number() {
    let (house, ..) = house().await;
    let key = admin(&house, "acme", "basic").await;
    for name in
        ["co.uk", "github.io", "rows.example", "x.rows.example", "localhost", "127.0.0.1", "a..b", "x:80"]
    {
        let (status, refused) = claim(&house, &key, name).await;
        assert_eq!((status, text(&refused["code"])), (422, "tenancy.host_not_allowed"), "{name}: {refused}");
    }
    let vouched = json!({ "name": "own.example", "vouch": true });
    let (status, refused) = house.platform.call(&key, "POST", "/v1/hosts", Some(vouched)).await;
    assert_eq!((status, text(&refused["code"])), (422, "tenancy.host_not_allowed"), "{refused}");
    let host = claimed(&house, &key, "one.example").await;
    let (status, refused) = claim(&house, &key, "one.example").await;
    assert_eq!(
        (status, text(&refused["code"])),
        (422, "tenancy.host_not_allowed"),
        "the one is claimed: {refused}"
    );
    let (status, refused) = claim(&house, &key, "two.example").await;
    assert_eq!(status, 422);
    assert!(text(&refused["detail"]).contains("`basic` gives 1"), "{refused}");
    // The operator vouches past the number, and for what is claimed.
    let vouch = async |name: &str| {
        let path = "/v1/hosts?tenant=acme";
        house.platform.call(&house.root, "POST", path, Some(json!({ "name": name }))).await
    };
    let (status, two) = vouch("two.example").await;
    assert_eq!((status, &two["state"], &two["vouched"]), (201, &json!("active"), &json!(true)));
    let (status, one) = vouch("one.example").await;
    assert_eq!((status, &one["state"], &one["id"]), (201, &json!("active"), &host["id"]));
    assert_eq!(vouch("one.example").await.0, 409);
    assert_eq!(led_to(&house, "one.example").await.as_deref(), Some("acme"));
    let professional = admin(&house, "bolt", "professional").await;
    for number in 0..5 {
        claimed(&house, &professional, &format!("n{number}.example")).await;
    }
    assert_eq!(claim(&house, &professional, "n5.example").await.0, 422);
    let viewer = house.member("bolt", "viewer").await.key;
    assert_eq!(claim(&house, &viewer, "n6.example").await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_proof_is_failing_after_72_hours_and_gone_after_two_weeks() {
    let (house, one, two) = house().await;
    let control = &house.platform.control;
    let key = admin(&house, "acme", "basic").await;
    let host = claimed(&house, &key, "portal.acme.example").await;
    prove(&[&one, &two], &host).await;
    assert_eq!(verify(&house, &key, &host).await.1["state"], "verified");
    let path = format!("/v1/hosts/{}", text(&host["id"]));
    let state = async || house.platform.get(&key, &path).await["state"].clone();
    let days = async |days: i64, looked_at: usize| {
        for _ in 0..days {
            house.platform.hand.advance_us(DAY_US);
            assert_eq!(tenancy::hosts::keep_up(control).await.expect("kept up"), looked_at);
        }
    };
    assert_eq!(tenancy::hosts::keep_up(control).await.expect("kept up"), 0, "nothing is due");
    days(1, 1).await;
    one.clear("_rowhouse.portal.acme.example").await;
    days(3, 1).await;
    assert_eq!(state().await, "verified", "48 h after the first failure");
    days(1, 1).await;
    assert_eq!(state().await, "failing");
    assert_eq!(led_to(&house, "portal.acme.example").await.as_deref(), Some("acme"), "still served");
    prove(&[&one], &host).await;
    days(1, 1).await;
    assert_eq!(state().await, "verified", "it is back");
    two.clear("_rowhouse.portal.acme.example").await;
    days(4, 1).await;
    assert_eq!(state().await, "failing");
    days(14, 1).await;
    assert_eq!(state().await, HostState::Quarantined.as_str());
    assert_eq!(led_to(&house, "portal.acme.example").await, None);
    days(29, 0).await;
    let bolt = admin(&house, "bolt", "basic").await;
    let (status, refused) = claim(&house, &bolt, "portal.acme.example").await;
    assert_eq!((status, text(&refused["code"])), (422, "tenancy.host_not_allowed"), "{refused}");
    days(1, 1).await;
    claimed(&house, &bolt, "portal.acme.example").await;
    let events =
        house.platform.get(&house.root, "/v1/audit/events?tenant=acme&event=tenancy.host_changed").await;
    drop(events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_was_given_up_waits_for_its_last_tenant_only() {
    let (house, one, two) = house().await;
    let (acme, bolt) = (admin(&house, "acme", "basic").await, admin(&house, "bolt", "basic").await);
    let host = claimed(&house, &acme, "portal.acme.example").await;
    // Claimed before it was another's: that is no way around the quarantine either.
    let stranger = claimed(&house, &bolt, "portal.acme.example").await;
    prove(&[&one, &two], &host).await;
    prove(&[&one, &two], &stranger).await;
    assert_eq!(verify(&house, &acme, &host).await.1["state"], "verified");
    let path = format!("/v1/hosts/{}", text(&host["id"]));
    assert_eq!(house.platform.call(&acme, "DELETE", &path, None).await.0, 204);
    assert_eq!(house.platform.call(&acme, "DELETE", &path, None).await.0, 404);
    assert_eq!(led_to(&house, "portal.acme.example").await, None);
    let (status, refused) = verify(&house, &bolt, &stranger).await;
    assert_eq!((status, text(&refused["code"])), (409, "tenancy.host_taken"), "{refused}");
    let back = claimed(&house, &acme, "portal.acme.example").await;
    assert_eq!(back["proof"], host["proof"]);
    assert_eq!(verify(&house, &acme, &back).await.1["state"], "verified");
    assert_eq!(led_to(&house, "portal.acme.example").await.as_deref(), Some("acme"));
    // A claim that was never proven leaves nothing behind.
    let path = format!("/v1/hosts/{}", text(&stranger["id"]));
    assert_eq!(house.platform.call(&bolt, "DELETE", &path, None).await.0, 204);
    assert_eq!(house.platform.call(&bolt, "GET", &path, None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolver_that_does_not_answer_proves_nothing_and_loses_nothing() {
    let one = Dns::start().await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let resolvers = vec![one.address, silent.local_addr().expect("an address")];
    let house = House::set(catalog::shipped(), |settings| settings.hosts.resolvers = resolvers).await;
    let key = admin(&house, "acme", "basic").await;
    let host = claimed(&house, &key, "portal.acme.example").await;
    prove(&[&one], &host).await;
    let (status, seen) = verify(&house, &key, &host).await;
    assert_eq!((status, &seen["state"]), (200, &json!("pending")));
    assert!(text(&seen["last_problem"]).contains("no answer within 2 s"), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_others_are_passed_over() {
    use hickory_server::proto::op::{Message, MessageType};
    let (honest, liar) = (Dns::start().await, UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
    let resolvers = vec![honest.address, liar.local_addr().expect("an address")];
    let house = House::set(catalog::shipped(), |settings| settings.hosts.resolvers = resolvers).await;
    let key = admin(&house, "acme", "basic").await;
    let host = claimed(&house, &key, "portal.acme.example").await;
    prove(&[&honest], &host).await;
    let value = text(&host["proof"]["value"]).to_owned();
    let lies = tokio::spawn(async move {
        let mut buffer = [0; 1_500];
        let (length, from) = liar.recv_from(&mut buffer).await.expect("a question");
        let asked = Message::from_vec(&buffer[..length]).expect("a question");
        let answer = |id: u16, name: &str, text: &str| {
            let mut answer = asked.clone();
            (answer.metadata.id, answer.metadata.message_type) = (id, MessageType::Response);
            let name = Name::from_ascii(name).expect("a name");
            answer.queries[0].set_name(name.clone());
            answer.add_answer(Record::from_rdata(name, 0, RData::TXT(TXT::new(vec![text.to_owned()]))));
            answer.to_vec().expect("an answer")
        };
        let (id, name) = (asked.metadata.id, asked.queries[0].name().to_ascii());
        let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        stranger.send_to(&answer(id, &name, &value), from).await.expect("sent");
        for wrong in [
            answer(id.wrapping_add(1), &name, &value),
            answer(id, "_rowhouse.other.example.", &value),
            b"no DNS at all".to_vec(),
            asked.to_vec().expect("the question itself"),
        ] {
            liar.send_to(&wrong, from).await.expect("sent");
        }
        liar.send_to(&answer(id, &name, "nothing of ours"), from).await.expect("sent");
    });
    let (status, seen) = verify(&house, &key, &host).await;
    lies.await.expect("it lied");
    assert_eq!((status, &seen["state"]), (200, &json!("pending")), "{seen}");
    assert_eq!(seen["last_problem"], "the resolvers do not agree yet");
}
