//! A gateway for `bench/gateway`: a directory of 10,000 keys made by hand, no control plane.
//!
//! `forward`: a public route, no key, no limits: what forwarding alone costs. `whole`: API key, tenant, four
//! limits, permission, quota, metering and the signed context as well. Both write a record per request.
//!
//! `token`: the same with access tokens instead of keys, four users of each tenant. `directory`: nobody is served; prints what
//! 100,000 tenants with 300,000 keys take, and how long it takes from a key's end until it is refused.
//!
//! Usage: bench_gateway --mode forward|whole|token|directory --listen ADDRESS --upstream ADDRESS --keys FILE --journal DIRECTORY
//!     [--tls ADDRESS --certificates FOLDER]
//! Writes one line per key, `host key`, prints `ready`, serves until its standard input ends.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rowhouse_domain::access::{
    GrantDefinition, GrantEffect, GrantTarget, PermissionSet, Permissions, Principal, PrincipalKind,
    RoleCatalogue, compile,
};
use rowhouse_domain::clock::Clock;
use rowhouse_domain::context::ContextSigner;
use rowhouse_domain::directory::{Directory, DirectoryWatch, Key, Naming, Quota, Tenant};
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::id::{KeyId, SessionId, TenantId, UserId};
use rowhouse_domain::identity::token::{
    AUDIENCE_GATEWAY, Subject, TOKEN_LIFETIME_MAX_S, TokenClaims, TokenKeys, TokenRing,
};
use rowhouse_domain::keys::{Environment, KeyStanding, KeyState, Pepper, Peppers, Presented, generate};
use rowhouse_domain::limits::{Algorithm, LimitDefinition, LimitScope};
use rowhouse_domain::metering::quantity::SCALE;
use rowhouse_domain::routes::{MeteringRule, RouteDefinition, RouteTable, ServiceDefinition};
use rowhouse_domain::tenancy::{Isolation, Service, Status};
use rowhouse_gateway::{Collaborators, Gateway, GatewayConfig, TlsListen};
use rowhouse_journal::{Journal, Options};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TENANTS: u128 = 1_000;
const KEYS_PER_TENANT: u128 = 10;
const BASE_DOMAIN: &str = "example.test";
const REGION: &str = "local";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let pairs = arguments.chunks_exact(2);
    let given: HashMap<&str, &str> = pairs.map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let mode = given["--mode"];
    let whole = mode != "forward";
    let folder = Path::new(given["--journal"]);
    let _ = std::fs::remove_dir_all(folder);
    let entropy = Entropy::new(|out| getrandom::fill(out).unwrap());
    let pepper = Pepper::new(1, &entropy.bytes());

    let many = (mode == "directory").then_some((100_000, 3));
    let size = many.unwrap_or((TENANTS, KEYS_PER_TENANT));
    let before_kib = resident_kib();
    let (mut directory, mut keys) = directory(whole, size, given["--upstream"], &pepper, &entropy);
    // The keys' texts are the clients', not the directory's.
    let texts: usize = keys.iter().map(|text| text.capacity() + size_of::<String>()).sum();
    let mib = (resident_kib() - before_kib) as f64 / 1024.0 - texts as f64 / 1_048_576.0;
    if mode == "token" {
        keys = tokens(&mut directory);
    }
    std::fs::write(given["--keys"], keys.join("\n")).unwrap();
    let options = Options { keep: Duration::ZERO, ..Options::new("bench") };
    let (journal, _) = Journal::open(folder, options).unwrap();
    let mut config = GatewayConfig::new(given["--listen"].parse().unwrap());
    if let Some(cores) = given.get("--cores") {
        config.cores = cores.parse().unwrap();
    }
    config.tls = given.get("--tls").map(|listen| TlsListen {
        listen: listen.parse().unwrap(),
        certificates: given["--certificates"].into(),
    });
    let watch = DirectoryWatch::new(directory);
    let collaborators = Collaborators {
        directory: watch.clone(),
        peppers: Peppers::new(vec![pepper]),
        signer: ContextSigner::new("bench", &entropy.bytes()),
        clock: Clock::new(wall_clock_us),
        entropy,
    };
    let gateway = Gateway::start(config, collaborators, &journal).unwrap();
    println!("ready {}", gateway.address());
    match many {
        Some(_) => {
            let ms = in_force_ms(gateway.address(), &watch, &keys);
            println!("{{\"directory_mib_100k\":{mib:.1},\"change_in_force_ms\":{ms:.1}}}");
        }
        None => serve_until_told(&journal),
    }
    println!("{:?}", gateway.metrics());
    drop(gateway);
    drop(journal);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Waits for the end of standard input. Meanwhile says of every record that it has been read, so that the disk
/// does not fill up.
fn serve_until_told(journal: &Journal) {
    let (told, end) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        drop(told);
    });
    while end.recv_timeout(Duration::from_millis(500)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        for lane in journal.status().lanes {
            journal.release(&lane.lane, lane.next_sequence);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the program that reads the system's clock")]
fn wall_clock_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

/// What this process has in memory.
fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The median time from when a key is ended until the gateway refuses it: the next version made and published, and asked for.
fn in_force_ms(gateway: SocketAddr, watch: &DirectoryWatch, keys: &[String]) -> f64 {
    let mut client = TcpStream::connect(gateway).unwrap();
    let mut took: Vec<f64> = (0..21)
        .map(|number| {
            let (host, text) = keys[number * 5_003].split_once(' ').unwrap();
            // The service is not there, and who is let in is told so.
            assert!(status(&mut client, host, text) >= 500);
            let begun = Instant::now();
            let mut next = Directory::clone(&watch.current());
            let public_id = Presented::read(&next, text).public_id().unwrap();
            let mut key = Key::clone(next.keys.get(&public_id).unwrap());
            key.standing.state = KeyState::Revoked;
            next.keys.insert(public_id, Arc::new(key));
            next.version += 1;
            watch.publish(next);
            assert_eq!(status(&mut client, host, text), 401);
            begun.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

fn status(client: &mut TcpStream, host: &str, key: &str) -> u16 {
    write!(client, "GET /v1/stamps/42 HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    loop {
        let mut some = [0; 4096];
        let count = client.read(&mut some).unwrap();
        assert_ne!(count, 0, "the gateway has closed");
        seen.extend_from_slice(&some[..count]);
        let text = String::from_utf8_lossy(&seen).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
            return head[9..12].parse().unwrap();
        }
    }
}

/// A token for each of the first four owners of keys of each tenant.
fn tokens(directory: &mut Directory) -> Vec<String> {
    const ISSUER: &str = "https://console.example.test";
    let ring = TokenRing::new([7; 32], 1);
    let now_s = wall_clock_us() / 1_000_000;
    directory.tokens = Arc::new(TokenKeys { issuer: ISSUER.to_owned(), keys: ring.keys(now_s) });
    let signer = ring.signer(now_s);
    let each = (1..=TENANTS).flat_map(|tenant| (0..4).map(move |owner| (tenant, owner)));
    let token = |(tenant, owner): (u128, u128)| {
        let claims = TokenClaims {
            issuer: ISSUER.to_owned(),
            subject: Subject::User(UserId::from_u128(tenant * 1000 + owner)),
            audience: vec![AUDIENCE_GATEWAY.to_owned()],
            tenant: TenantId::from_u128(tenant),
            session: SessionId::from_u128(tenant * 1000 + owner),
            id: String::new(),
            issued_at: now_s,
            not_before: now_s,
            expires_at: now_s + TOKEN_LIFETIME_MAX_S,
            auth_time: now_s,
            assurance: "2".to_owned(),
            methods: vec!["pwd".to_owned(), "otp".to_owned()],
            application: None,
            scope: None,
        };
        format!("tenant-{tenant}.{BASE_DOMAIN} {}", signer.sign(&claims))
    };
    each.map(token).collect()
}

fn directory(
    whole: bool,
    (tenants, keys_each): (u128, u128),
    upstream: &str,
    pepper: &Pepper,
    entropy: &Entropy,
) -> (Directory, Vec<String>) {
    let actions = ["read", "create", "update", "delete"].map(str::to_owned).to_vec();
    let permissions = Permissions::new(&BTreeMap::from([("stamp".to_owned(), actions)])).unwrap();
    let mut directory = Directory::empty();
    directory.version = 1;
    directory.naming = Arc::new(Naming {
        base_domains: vec![BASE_DOMAIN.to_owned()],
        platform_hosts: vec!["127.0.0.1".to_owned()],
        region: REGION.to_owned(),
    });
    let services = vec![service(upstream)];
    directory.routes = Arc::new(RouteTable::new(&routes(whole), &services, &permissions).unwrap());
    directory.services = services.into();
    if whole {
        directory.limits = limits().into();
    }
    let mut keys = Vec::new();
    for number in 1..=tenants {
        let tenant = tenant(number, keys_each, &directory.limits, &permissions);
        for key in 0..keys_each {
            let text = put_key(&mut directory, tenant.id, number * 1000 + key, pepper, entropy, &permissions);
            keys.push(format!("{}.{BASE_DOMAIN} {text}", tenant.code));
        }
        directory.put_tenant(tenant);
    }
    directory.permissions = Arc::new(permissions);
    (directory, keys)
}

fn service(upstream: &str) -> ServiceDefinition {
    ServiceDefinition { reports_usage: true, ..ServiceDefinition::new("stamping", &[upstream]) }
}

/// A hundred routes, of which one is asked.
fn routes(whole: bool) -> Vec<RouteDefinition> {
    let route = |name: String, path: String| RouteDefinition {
        methods: vec!["GET".to_owned()],
        permission: whole.then(|| "stamp:read".to_owned()),
        public: !whole,
        resource: None,
        resource_from: Some("id".to_owned()),
        metering: match whole {
            true => vec![MeteringRule {
                meter: "api_calls".to_owned(),
                quantity: "1".to_owned(),
                count_when: Default::default(),
            }],
            false => vec![],
        },
        ..RouteDefinition::new(&name, "stamping", &path)
    };
    let others = (0..99).map(|n| route(format!("other-{n}"), format!("/v1/other-{n}/{{id}}")));
    others.chain([route("stamps".to_owned(), "/v1/stamps/{id}".to_owned())]).collect()
}

/// Address, tenant, user and key. None is reached while all keys take turns; a flood with one key meets the last.
fn limits() -> Vec<LimitDefinition> {
    let limit = |name: &str, quota: i64, scope: LimitScope| LimitDefinition {
        name: name.to_owned(),
        algorithm: Algorithm::TokenBucket,
        quota,
        window_ms: 1_000,
        burst: None,
        scope: scope.into(),
        matches: Default::default(),
        tiers: BTreeMap::new(),
        services: vec![],
        enforcement: Default::default(),
        visible: true,
        mode: None,
        on_store_failure: Default::default(),
    };
    vec![
        limit("ip-arrival", 10_000_000, LimitScope::Ip),
        limit("tenant-default", 5_000, LimitScope::Tenant),
        limit("user-default", 1_000, LimitScope::User),
        limit("api-key-default", 200, LimitScope::ApiKey),
    ]
}

fn tenant(number: u128, owners: u128, limits: &[LimitDefinition], permissions: &Permissions) -> Tenant {
    let owners = (0..owners).map(|key| GrantDefinition {
        principal: owner(number * 1000 + key),
        effect: GrantEffect::Allow,
        target: GrantTarget::Permission("stamp:*".to_owned()),
        valid_from_us: None,
        valid_until_us: None,
    });
    let grants: Vec<_> = owners.collect();
    Tenant {
        id: TenantId(Uuid::from_u128(number)),
        code: format!("tenant-{number}").into(),
        tier: "professional".into(),
        isolation: Isolation::Shared,
        region: REGION.into(),
        status: Status::Active,
        service: Service::Full,
        api_access: true,
        features: vec!["core".into(), "api_access".into()],
        enforcements: vec![],
        imposed: vec![],
        ended_sessions: Default::default(),
        issuers: Default::default(),
        authorities: Default::default(),
        access: Arc::new(compile(1, &grants, &RoleCatalogue::default(), permissions)),
        limits: limits.iter().map(|limit| limit.rule(None).unwrap()).collect(),
        quotas: vec![Quota::of_meter("api_calls", Some(1_000_000_000_000 * SCALE))],
        upstreams: vec![],
        version: 1,
    }
}

fn owner(number: u128) -> Principal {
    Principal { kind: PrincipalKind::User, id: Uuid::from_u128(number) }
}

fn put_key(
    directory: &mut Directory,
    tenant: TenantId,
    number: u128,
    pepper: &Pepper,
    entropy: &Entropy,
    permissions: &Permissions,
) -> String {
    let (text, public_id) = generate(Environment::Live, REGION, entropy);
    let id = KeyId(Uuid::from_u128(number));
    let mut permits = PermissionSet::default();
    permits.extend(&permissions.matching("stamp:*").unwrap());
    let standing = KeyStanding {
        state: KeyState::Active,
        not_before_us: None,
        expires_at_us: None,
        owner_enabled: true,
    };
    let key = Key {
        id,
        tenant,
        owner: owner(number),
        environment: Environment::Live,
        standing,
        digest: pepper.digest(&text),
        pepper: pepper.version(),
        permits,
        narrowed: None,
        family: id,
    };
    directory.keys.insert(public_id, Arc::new(key));
    text
}
