//! A gateway for `bench/gateway`: a directory of 10,000 keys made by hand, no control plane.
//!
//! `forward`: a public route, no key, no limits: what forwarding alone costs. `whole`: API key, tenant, four
//! limits, permission, quota, metering and the signed context as well. Both write a record per request.
//!
//! Usage: bench_gateway --mode forward|whole --listen ADDRESS --upstream ADDRESS --keys FILE --journal DIRECTORY
//! Writes one line per key, `host key`, prints `ready`, serves until its standard input ends.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rowhouse_domain::access::{
    GrantDefinition, GrantEffect, GrantTarget, PermissionSet, Permissions, Principal, PrincipalKind,
    RoleCatalogue, compile,
};
use rowhouse_domain::clock::Clock;
use rowhouse_domain::context::ContextSigner;
use rowhouse_domain::directory::{Directory, DirectoryWatch, Key, Naming, Quota, Tenant};
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::id::{KeyId, TenantId};
use rowhouse_domain::keys::{Environment, KeyStanding, KeyState, Pepper, Peppers, generate};
use rowhouse_domain::limits::{Algorithm, LimitDefinition, LimitScope};
use rowhouse_domain::metering::quantity::SCALE;
use rowhouse_domain::routes::{MeteringRule, RouteDefinition, RouteTable, ServiceDefinition};
use rowhouse_domain::tenancy::{Isolation, Service, Status};
use rowhouse_gateway::{Collaborators, Gateway, GatewayConfig};
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
    let whole = given["--mode"] == "whole";
    let folder = Path::new(given["--journal"]);
    let _ = std::fs::remove_dir_all(folder);
    let entropy = Entropy::new(|out| getrandom::fill(out).unwrap());
    let pepper = Pepper::new(1, &entropy.bytes());

    let (directory, keys) = directory(whole, given["--upstream"], &pepper, &entropy);
    std::fs::write(given["--keys"], keys.join("\n")).unwrap();
    let options = Options { keep: Duration::ZERO, ..Options::new("bench") };
    let (journal, _) = Journal::open(folder, options).unwrap();
    let mut config = GatewayConfig::new(given["--listen"].parse().unwrap());
    if let Some(cores) = given.get("--cores") {
        config.cores = cores.parse().unwrap();
    }
    let collaborators = Collaborators {
        directory: DirectoryWatch::new(directory),
        peppers: Peppers::new(vec![pepper]),
        signer: ContextSigner::new("bench", &entropy.bytes()),
        clock: Clock::new(wall_clock_us),
        entropy,
    };
    let gateway = Gateway::start(config, collaborators, &journal).unwrap();
    println!("ready {}", gateway.address());
    serve_until_told(&journal);
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

fn directory(whole: bool, upstream: &str, pepper: &Pepper, entropy: &Entropy) -> (Directory, Vec<String>) {
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
    for number in 1..=TENANTS {
        let tenant = tenant(number, &directory.limits, &permissions);
        for key in 0..KEYS_PER_TENANT {
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

fn tenant(number: u128, limits: &[LimitDefinition], permissions: &Permissions) -> Tenant {
    let owners = (0..KEYS_PER_TENANT).map(|key| GrantDefinition {
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
        services: None,
        family: id,
    };
    directory.keys.insert(public_id, Arc::new(key));
    text
}
