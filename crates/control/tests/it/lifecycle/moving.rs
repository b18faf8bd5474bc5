//! Moves between levels: every pair, with writers at work; failures at each step; kills everywhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Memory};

use rowhouse_control::lifecycle::relocate;
use rowhouse_domain::context::ContextClaims;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::Isolation;
use rowhouse_store::sagas::LEASE_S;
use rowhouse_tenantdb::{Access, Databases, Source, TenantContext, Watch};
use uuid::Uuid;

use super::crash::killed_after;
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

/// Count and sum of all of a tenant's stamps, in its place; and the level it lies on.
async fn standing(stage: &Stage, code: &str) -> String {
    let tenant = stage.get(&format!("/v1/tenants/{code}")).await;
    stage.sum(&tenant, None, &Stage::stamps(&tenant)).await
}

fn failing_after(index: usize) -> Kind<Shared> {
    let mut kind = relocate::kind();
    kind.steps.insert(index + 1, fault());
    kind
}

/// What fails before the decision goes back: the tenant lies where it lay, may write, and nothing of the target is left.
async fn fails_at_each_step(from: (&str, &str), to: &str) {
    let mut stage = Stage::start().await;
    allow_all_levels(&stage).await;
    let acme = stage.tenant("acme", from.0, from.1).await;
    stage.stamp(&acme, 0, 200).await;
    let service = Service::open(&mut stage, id_of(&acme)).await;
    let before = stage.traces().await;
    let sum = standing(&stage, "acme").await;
    for index in 0..5 {
        let id = ask_to_move(&stage, "acme", to).await;
        let operation = stage.execute(&engine_of(stage.control(), failing_after(index)), &id).await;
        let step = relocate::STEPS[index];
        assert_eq!(operation["state"], "undone", "{step}: {operation:#}");
        assert_eq!(standing(&stage, "acme").await, sum, "{step}");
        assert_eq!(stage.traces().await, before, "{step}");
        let id = Uuid::from_u128(u128::MAX - index as u128);
        service.write(id, "after").await.unwrap_or_else(|error| panic!("{step}: {error}"));
        let unwrite = format!(
            "WITH x AS (DELETE FROM {} WHERE id = '{id}' RETURNING 1) SELECT count(*)::text FROM x",
            Stage::stamps(&acme)
        );
        assert_eq!(stage.at(&acme, None, &unwrite).await, "1");
    }
    // After the decision it goes forward, whatever fails.
    let id = ask_to_move(&stage, "acme", to).await;
    let operation = stage.execute(&engine_of(stage.control(), failing_after(5)), &id).await;
    assert_eq!(operation["state"], "undone", "{operation:#}");
    assert_eq!(stage.get("/v1/tenants/acme").await["isolation"], to);
    assert_eq!(standing(&stage, "acme").await, sum);
    service.write(Uuid::from_u128(u128::MAX - 77), "after").await.expect("the target takes writers");
    let places = "SELECT count(*)::text FROM tenancy.places WHERE state <> 'settled'";
    assert_eq!(stage.platform.ask(places).await, "0");
    moved(&stage, "acme", from.1).await;
    assert_eq!(stage.traces().await.len(), before.len());
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_each_step_from_shared_to_schema_goes_back_and_after_the_decision_forward() {
    fails_at_each_step(("basic", "shared"), "schema").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_each_step_from_schema_to_instance_goes_back_and_after_the_decision_forward() {
    fails_at_each_step(("basic", "schema"), "instance").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_each_step_from_database_to_shared_goes_back_and_after_the_decision_forward() {
    fails_at_each_step(("enterprise", "database"), "shared").await;
}

/// Kills an executor at every `stride`-th place where it waits; another one finishes the move. Back and forth.
async fn killed_everywhere(from: (&str, &str), to: &str, stride: usize) {
    let stage = Stage::start().await;
    allow_all_levels(&stage).await;
    let neighbour = stage.tenant("bolt", "basic", "shared").await;
    let acme = stage.tenant("acme", from.0, from.1).await;
    stage.stamp(&neighbour, 0, 20).await;
    stage.stamp(&acme, 0, 200).await;
    let (sum, others) = (standing(&stage, "acme").await, standing(&stage, "bolt").await);
    for kill in 0.. {
        let next = if kill % 2 == 0 { to } else { from.1 };
        let id = ask_to_move(&stage, "acme", next).await;
        let engine = lifecycle::engine(stage.control());
        let ended = killed_after(kill * stride, engine.run_one()).await;
        stage.platform.hand.advance_us((LEASE_S + 1) * 1_000_000);
        let operation = stage.execute(&lifecycle::engine(stage.control()), &id).await;
        assert_eq!(operation["state"], "done", "killed at wait {}: {operation:#}", kill * stride);
        assert_eq!(standing(&stage, "acme").await, sum, "killed at wait {}", kill * stride);
        if ended.is_some() {
            assert!(kill > 5, "only {kill} places were tried");
            break;
        }
    }
    assert_eq!(standing(&stage, "bolt").await, others);
    let doubles = "SELECT count(*)::text FROM tenancy.places p JOIN tenancy.tenants t USING (tenant_id) \
        WHERE t.code = 'acme' AND p.state = 'settled' AND p.rights = p.rights_applied";
    assert_eq!(stage.platform.ask(doubles).await, "1");
    let left = "SELECT count(*)::text FROM lifecycle.inventory i JOIN tenancy.tenants t USING (tenant_id) \
        WHERE t.code = 'acme' AND i.state = 'intent'";
    assert_eq!(stage.platform.ask(left).await, "0");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_moving_between_shared_and_schema_another_finishes_it() {
    killed_everywhere(("basic", "shared"), "schema", 17).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_moving_between_schema_and_database_another_finishes_it() {
    killed_everywhere(("basic", "schema"), "database", 17).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_does_not_end_holds_a_move_up_or_is_ended_or_ends_the_move() {
    let stage = Stage::start().await;
    let acme = stage.tenant("acme", "basic", "shared").await;
    stage.stamp(&acme, 0, 10).await;
    let id = id_of(&acme);
    let hold = |config: tokio_postgres::Config| async move {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("a connection");
        tokio::spawn(connection);
        let lock = format!("BEGIN; SELECT pg_advisory_xact_lock_shared(hashtextextended('{}', 7240))", id.0);
        client.batch_execute(&lock).await.expect("the writer's lock");
        client
    };
    let writer = hold(stage.server.connect_config("rh_shared", SUPERUSER)).await;
    let path = "/v1/tenants/acme/move";
    let abort = json!({"isolation": "schema", "on_long_transactions": "abort"});
    let operation = stage.done(path, abort).await;
    assert_eq!(
        (&operation["state"], &operation["problem"]["code"]),
        (&json!("undone"), &json!("lifecycle.long_transaction")),
        "{operation:#}"
    );
    assert_eq!(
        stage.in_cell("rh_shared", "SELECT rights FROM rh.place").await,
        "rwd",
        "writers are let in again"
    );
    writer.batch_execute("COMMIT").await.expect("it was left alone");
    let writer = hold(stage.server.connect_config("rh_shared", SUPERUSER)).await;
    let cancel = json!({"isolation": "schema", "on_long_transactions": "cancel"});
    let operation = stage.done(path, cancel).await;
    assert_eq!(operation["state"], "done", "{operation:#}");
    assert!(writer.batch_execute("COMMIT").await.is_err(), "it was ended");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_during_a_move_holds_at_the_target() {
    let stage = Stage::start().await;
    let acme = stage.tenant("acme", "basic", "shared").await;
    stage.stamp(&acme, 0, 10).await;
    let (status, _) =
        stage.call("POST", "/v1/tenants/acme/suspend", json!({"mode": "read_only", "reason": "x"})).await;
    assert_eq!(status, 200);
    moved(&stage, "acme", "schema").await;
    assert_eq!(stage.in_cell("rh_schemas_1", "SELECT rights FROM rh.place").await, "r");
    let (status, _) = stage.call("POST", "/v1/tenants/acme/resume", json!({"reason": "paid"})).await;
    assert_eq!(status, 200);
    assert_eq!(stage.in_cell("rh_schemas_1", "SELECT rights FROM rh.place").await, "rwd");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_move_is_refused_with_its_reason() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    let path = "/v1/tenants/acme/move";
    for (body, status, code) in [
        (json!({"isolation": "shared"}), 422, "lifecycle.nothing_to_do"),
        (json!({"isolation": "database"}), 422, "tenancy.isolation_not_allowed"),
        (json!({"isolation": "cloud"}), 422, "api.invalid"),
        (json!({"isolation": "schema", "cell": "nowhere"}), 422, "api.invalid"),
        (json!({"isolation": "schema", "region": "mars-1"}), 422, "tenancy.residency"),
        (json!({"isolation": "schema", "colour": "red"}), 422, "api.invalid"),
    ] {
        let (got, refused) = stage.call("POST", path, body.clone()).await;
        assert_eq!((got, refused["code"].as_str()), (status, Some(code)), "{body}: {refused}");
    }
    stage.platform.execute("UPDATE tenancy.tenants SET residency = '{mars-1}' WHERE code = 'acme'").await;
    for path in [path, "/v1/tenants/acme/export", "/v1/backups?tenant=acme"] {
        let body = if path.ends_with("move") { json!({"isolation": "schema"}) } else { json!({}) };
        let (status, refused) = stage.call("POST", path, body).await;
        assert_eq!((status, &refused["code"]), (422, &json!("tenancy.residency")), "{path}");
    }
    stage.platform.execute("UPDATE tenancy.tenants SET residency = '{}'").await;
    let (_, operation) = stage.call("POST", path, json!({"isolation": "schema"})).await;
    let (status, refused) = stage.call("POST", path, json!({"isolation": "schema"})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("lifecycle.busy")), "{refused}");
    assert!(
        refused["detail"]
            .as_str()
            .is_some_and(|words| words.contains(operation["id"].as_str().expect("an id")))
    );
    stage.stop().await;
}
