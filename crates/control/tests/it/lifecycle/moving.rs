//! Moves between levels: every pair, with writers at work; failures at each step; kills everywhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Memory};

use rowhouse_domain::context::ContextClaims;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::Isolation;
use rowhouse_tenantdb::{Access, Databases, Source, TenantContext, Watch};
use uuid::Uuid;

use super::*;

/// A service at work: the real library, told by the real socket.
pub struct Service {
    databases: Databases,
    context: TenantContext,
}

impl Service {
    pub async fn open(stage: &mut Stage, tenant: TenantId) -> Service {
        let socket = stage.serve_plane();
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            tokio::task::yield_now().await;
        }
        let cache = stage.directory.join(format!("plane-{tenant}.json"));
        let watch = Watch { socket, service: "stamping".to_owned(), tenant: Some(tenant), cache };
        let databases = Databases::open(Source::Watch(watch)).await.expect("a plane");
        let claims = ContextClaims {
            audience: "stamping".to_owned(),
            tenant,
            code: "acme".to_owned(),
            tier: "basic".to_owned(),
            isolation: Isolation::Shared,
            region: "eu1".to_owned(),
            principal_kind: "api_key".to_owned(),
            principal: "key_x".to_owned(),
            roles: Vec::new(),
            features: Vec::new(),
            enforcements: Vec::new(),
            issued_at: 1_000,
            expires_at: 1_060,
        };
        let header = stage.control().context_signer.sign(&claims);
        let context = databases.context(&header, 1_000).expect("a good header");
        Service { databases, context }
    }

    /// Whether the row was acknowledged.
    pub async fn write(&self, id: Uuid, hash: &str) -> Result<(), String> {
        let mut transaction =
            self.databases.begin(&self.context, Access::Write).await.map_err(|error| format!("{error:?}"))?;
        let inserted =
            transaction.execute("INSERT INTO stamps (id, hash) VALUES ($1, $2)", &[&id, &hash]).await;
        inserted.map_err(|error| format!("{error:?}"))?;
        transaction.commit().await.map_err(|error| format!("{error:?}"))
    }

    pub async fn read(&self) -> BTreeSet<Uuid> {
        let mut transaction = self.databases.begin(&self.context, Access::Read).await.expect("readers go on");
        let rows = transaction.query("SELECT id FROM stamps", &[]).await.expect("rows");
        transaction.rollback().await.expect("an end");
        rows.iter().map(|row| row.get(0)).collect()
    }
}

fn id_of(tenant: &Value) -> TenantId {
    tenant["id"].as_str().expect("an id").parse().expect("a tenant's id")
}

/// Any tier may lie anywhere: the pairs are what is tested.
async fn allow_all_levels(stage: &Stage) {
    let all = "UPDATE tenancy.tiers SET definition = jsonb_set(definition, '{isolation_allowed}', \
         '[\"shared\", \"schema\", \"database\", \"instance\"]')";
    stage.platform.execute(all).await;
}

async fn ask_to_move(stage: &Stage, code: &str, isolation: &str) -> String {
    let (status, operation) =
        stage.call("POST", &format!("/v1/tenants/{code}/move"), json!({"isolation": isolation})).await;
    assert_eq!(status, 202, "{operation}");
    operation["id"].as_str().expect("an id").to_owned()
}

async fn moved(stage: &Stage, code: &str, isolation: &str) {
    let id = ask_to_move(stage, code, isolation).await;
    let operation = stage.execute(&lifecycle::engine(stage.control()), &id).await;
    assert_eq!(operation["state"], "done", "{operation:#}");
    assert_eq!(stage.get(&format!("/v1/tenants/{code}")).await["isolation"], isolation);
}

/// Writes until told to stop; what was acknowledged.
async fn writing(service: Arc<Service>, stop: Arc<AtomicBool>) -> (BTreeSet<Uuid>, Vec<String>) {
    let (mut acknowledged, mut refused) = (BTreeSet::new(), Vec::new());
    let mut number = u128::from(std::process::id()) << 64;
    while !stop.load(Memory::SeqCst) {
        number += 1;
        let id = Uuid::from_u128(number);
        match service.write(id, "a\tb\\c\nd 'e' \u{1F512}").await {
            Ok(()) => drop(acknowledged.insert(id)),
            Err(error) => refused.push(error),
        }
    }
    (acknowledged, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_twelve_pairs_of_levels_lose_no_acknowledged_write() {
    let mut stage = Stage::start().await;
    allow_all_levels(&stage).await;
    let acme = stage.tenant("acme", "basic", "shared").await;
    let neighbour = stage.tenant("bolt", "basic", "shared").await;
    let service = Arc::new(Service::open(&mut stage, id_of(&acme)).await);
    let bolt = Service::open(&mut stage, id_of(&neighbour)).await;
    bolt.write(Uuid::from_u128(1), "bolt's").await.expect("a write");
    let sum = "SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM stamping.stamps s \
         WHERE hash = 'bolt''s'";
    let before = stage.in_cell("rh_shared", sum).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(writing(service.clone(), stop.clone()));
    let walk = [
        "schema", "shared", "database", "shared", "instance", "shared", "schema", "database", "schema",
        "instance", "schema", "database", "instance", "database",
    ];
    let mut pairs = BTreeSet::new();
    let mut at = "shared";
    for next in walk {
        moved(&stage, "acme", next).await;
        pairs.insert((at, next));
        at = next;
    }
    assert_eq!(pairs.len(), 12, "{pairs:?}");
    stop.store(true, Memory::SeqCst);
    let (acknowledged, refused) = writer.await.expect("the writer's task");
    let there = service.read().await;
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged writes are lost", lost.len(), acknowledged.len());
    assert!(acknowledged.len() > 100, "{} writes only; {refused:?}", acknowledged.len());
    assert_eq!(stage.in_cell("rh_shared", sum).await, before);
    let epoch = stage.get("/v1/tenants/acme").await["placement"]["epoch"].clone();
    assert_eq!(epoch, 15);
    let left = "SELECT string_agg(kind || ' ' || external_id, ', ' ORDER BY kind) FROM lifecycle.inventory i \
         JOIN tenancy.tenants t USING (tenant_id) WHERE i.state <> 'gone' AND t.code = 'acme'";
    let database = stage.get("/v1/tenants/acme").await["placement"]["database_name"].clone();
    let database = database.as_str().expect("a name");
    assert_eq!(stage.platform.ask(left).await, format!("database {database}, role {database}"));
    assert_eq!(stage.in_cell("rh_shared", "SELECT count(*)::text FROM stamping.stamps").await, "1");
    stage.stop().await;
}
