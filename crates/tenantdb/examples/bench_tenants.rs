//! The two figures of `bench/tenants` that are taken inside one process: how long it takes to resolve a request to its
//! tenant, and what a transaction of a tenant costs beside the same one without Rowhouse.
//!
//! ```text
//! bench_tenants resolve <tenants> <hosts>
//! bench_tenants transactions <plane socket> <service> <seconds>      reads the context header from stdin
//! ```
//! Each prints one JSON object.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rowhouse_domain::access::AccessTable;
use rowhouse_domain::directory::{Directory, Naming, Tenant};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::resolution::{Signals, resolve};
use rowhouse_domain::tenancy::{Isolation, Status};
use rowhouse_tenantdb::plane::Plane;
use rowhouse_tenantdb::{Access, Databases, Source, TenantContext};
use tokio_postgres::{Client, NoTls};

/// Resolutions that are timed one by one.
const RESOLUTIONS: usize = 1_000_000;
/// One statement, as in a handler that reads.
const STATEMENT: &str = "SELECT count(*) FROM stamps WHERE id = $1";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["resolve", tenants, hosts] => resolutions(number(tenants), number(hosts)),
        ["transactions", socket, service, seconds] => {
            transactions(socket, service, Duration::from_secs(number(seconds) as u64)).await;
        }
        _ => panic!("resolve <tenants> <hosts>, or transactions <plane socket> <service> <seconds>"),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn tenant(number: usize) -> Tenant {
    Tenant {
        id: TenantId::from_u128(number as u128 + 1),
        code: format!("tenant-{number}").into(),
        tier: "basic".into(),
        isolation: Isolation::Shared,
        region: "local".into(),
        status: Status::Active,
        service: Status::Active.service(None, None),
        api_access: true,
        features: Vec::new(),
        enforcements: Vec::new(),
        imposed: Vec::new(),
        ended_sessions: Default::default(),
        issuers: Default::default(),
        authorities: Default::default(),
        access: Arc::new(AccessTable::default()),
        limits: Vec::new(),
        quotas: Vec::new(),
        upstreams: Vec::new(),
        version: 1,
    }
}

/// Subdomains, own domains, headers and paths in turn, of tenants all over the directory.
fn resolutions(tenants: usize, hosts: usize) {
    let mut directory = Directory::empty();
    directory.naming = Arc::new(Naming { base_domains: vec!["example.com".to_owned()], ..Naming::default() });
    for number in 0..tenants {
        directory.put_tenant(tenant(number));
    }
    for number in 0..hosts {
        directory.hosts.insert(
            format!("portal-{number}.acme.test").into(),
            TenantId::from_u128((number % tenants) as u128 + 1),
        );
    }
    let asked: Vec<[String; 3]> = (0..4_096)
        .map(|n| (n * 7_919) % tenants)
        .map(|n| {
            [
                format!("tenant-{n}.example.com"),
                format!("portal-{}.acme.test", n % hosts.max(1)),
                format!("/t/tenant-{n}/v1/x"),
            ]
        })
        .collect();
    let mut nanoseconds = Vec::with_capacity(RESOLUTIONS);
    for turn in 0..RESOLUTIONS {
        let [subdomain, own, path] = &asked[turn % asked.len()];
        let (authority, path) = match turn % 3 {
            0 => (Some(subdomain.as_str()), "/v1/x"),
            1 => (Some(own.as_str()), "/v1/x"),
            _ => (None, path.as_str()),
        };
        let signals = Signals { authority, header_id: None, header_code: None, path, token_tenant: None };
        let begun = Instant::now();
        let resolved = black_box(resolve(&directory, black_box(&signals)));
        nanoseconds.push(begun.elapsed().as_nanos() as u64);
        assert!(resolved.is_ok(), "{signals:?}");
    }
    nanoseconds.sort_unstable();
    let at = |share: f64| nanoseconds[((nanoseconds.len() - 1) as f64 * share) as usize] as f64 / 1_000.0;
    println!(
        r#"{{"resolve_p50_us":{},"resolve_p99_us":{},"resolve_p999_us":{}}}"#,
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

/// In rounds, one after the other, so that a machine that drifts drifts for both.
async fn transactions(socket: &str, service: &str, length: Duration) {
    let mut header = String::new();
    std::io::stdin().read_line(&mut header).expect("the context header on stdin");
    let plane = fetch(socket, service).await;
    let databases = Databases::open(Source::Fixed(plane.clone())).await.expect("a plane");
    let now_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as i64;
    let context = databases.context(header.trim(), now_s).expect("the gateway's own context");
    let place = &plane.places[&context.tenant()];
    let cell = &plane.cells[&place.cell];
    let mut config = tokio_postgres::Config::new();
    config.host(&cell.host).port(cell.port).user("rowhouse_super").dbname(&place.database);
    let (mut plain, connection) = config.connect(NoTls).await.expect("the administrator's connection");
    tokio::spawn(connection);
    plain.batch_execute("CREATE TEMP TABLE stamps (id uuid PRIMARY KEY, hash bytea)").await.expect("a table");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        ours.push(of_tenant(&databases, &context, length / 20).await);
        theirs.push(without(&mut plain, length / 20).await);
    }
    let (ours, theirs) = (middle(&mut ours), middle(&mut theirs));
    println!(
        r#"{{"tenant_transaction_us":{ours:.1},"plain_transaction_us":{theirs:.1},"tenant_transaction_vs_plain":{:.2}}}"#,
        ours / theirs
    );
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// µs of one transaction with one statement.
async fn of_tenant(databases: &Databases, context: &TenantContext, length: Duration) -> f64 {
    let (begun, mut count) = (Instant::now(), 0u32);
    while begun.elapsed() < length {
        let mut transaction = databases.begin(context, Access::Read).await.expect("begun");
        transaction.query(STATEMENT, &[&uuid::Uuid::nil()]).await.expect("answered");
        transaction.commit().await.expect("committed");
        count += 1;
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(count)
}

/// The same as an application without Rowhouse has it.
async fn without(client: &mut Client, length: Duration) -> f64 {
    let statement = client.prepare(STATEMENT).await.expect("prepared");
    let (begun, mut count) = (Instant::now(), 0u32);
    while begun.elapsed() < length {
        let transaction = client.build_transaction().read_only(true).start().await.expect("begun");
        transaction.query(&statement, &[&uuid::Uuid::nil()]).await.expect("answered");
        transaction.commit().await.expect("committed");
        count += 1;
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(count)
}

/// The plane as the control plane tells it.
async fn fetch(socket: &str, service: &str) -> Plane {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::UnixStream::connect(socket).await.expect("the plane's socket");
    let request = format!(
        "GET /internal/v1/tenantdb/watch?service={service}&after=0 HTTP/1.1\r\nhost: rowhouse\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("asked");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("answered");
    let begin = answer.iter().position(|byte| *byte == b'{').expect("a plane");
    let end = answer.iter().rposition(|byte| *byte == b'}').expect("a plane");
    serde_json::from_slice(&answer[begin..=end]).expect("a plane")
}
