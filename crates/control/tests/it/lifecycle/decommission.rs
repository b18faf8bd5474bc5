//! Leaving for good: refusals, retention and coming back, erasure on every level, the certificate, and crashes everywhere.

use std::sync::Arc;

use rowhouse_control::audit;
use rowhouse_domain::audit::note::VerifierKey;
use rowhouse_domain::lifecycle::certificate::{Certificate, Outcome, code_digest};
use rowhouse_domain::lifecycle::envelope::Envelope;
use rowhouse_store::sagas::LEASE_S;

use super::crash::killed_after;
use super::*;

const LEVELS: [(&str, &str); 4] =
    [("basic", "shared"), ("basic", "schema"), ("enterprise", "database"), ("premium", "instance")];

/// A text that stands in the tenant's rows and must be found nowhere afterwards.
const CANARY: &str = "canary-3f9d1c7a5b2e";

impl Stage {
    /// Sequences and signs the audit logs, as the platform does.
    fn run_audit(&mut self) {
        let (control, journal) = (self.control().clone(), Arc::clone(&self.platform.journal));
        let (checkpoints, stop) = (self.directory.join("audit"), self.shutdown.subscribe());
        self.tasks.spawn(audit::run(control, journal, checkpoints, stop));
    }

    async fn leave(&self, code: &str, days: Option<u16>) -> (u16, Value) {
        let body = json!({"retention_days": days, "reason": "the contract ended"});
        self.call("POST", &format!("/v1/tenants/{code}/decommission"), body).await
    }

    async fn certificate(&self, code: &str) -> Certificate {
        let signed = self.get(&format!("/v1/tenants/{code}/certificate")).await;
        let keys = self.get("/v1/certificate_keys").await;
        let key = keys["items"][0]["key"].as_str().expect("a key");
        assert_eq!(signed["verifier_key"], key);
        let envelope = Envelope::parse(&signed.to_string()).expect("an envelope");
        Certificate::open(&envelope, &[VerifierKey::parse(key).expect("a key")]).expect("signed")
    }

    /// Two rows of the tenant in its table of stamps, written past all policies.
    async fn write_rows(&self, tenant: &Value) {
        let id: rowhouse_domain::id::TenantId = tenant["id"].as_str().expect("an id").parse().expect("an id");
        let place = &tenant["placement"];
        let schema = place["schema_name"].as_str().unwrap_or("stamping");
        let mut config =
            self.server.connect_config(place["database_name"].as_str().expect("a name"), SUPERUSER);
        if place["cell"] != tenancy::LOCAL_CELL {
            config = tokio_postgres::Config::new();
            config.host(place["database_host"].as_str().expect("a host")).user(SUPERUSER);
            config.port(place["database_port"].as_u64().expect("a port") as u16);
            config.dbname(place["database_name"].as_str().expect("a name"));
        }
        let sql = format!(
            "INSERT INTO {schema}.stamps (tenant_id, id, hash) SELECT '{}', gen_random_uuid(), '{CANARY}' || n \
             FROM generate_series(1, 200) n; ANALYZE {schema}.stamps; CHECKPOINT",
            id.0
        );
        crate::platform::execute(&config, &sql).await;
    }
}

/// Files below `folder` that hold `text`.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(text.len()).any(|window| window == text.as_bytes())
        {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_leaves_every_store_on_every_level_and_a_certificate_says_so() {
    let mut stage = Stage::start().await;
    stage.run_audit();
    let before = stage.traces().await;
    let data = stage.directory.join("server/cluster/base");
    for (tier, isolation) in LEVELS {
        let code = format!("acme-{isolation}");
        let tenant = stage.tenant(&code, tier, isolation).await;
        stage.write_rows(&tenant).await;
        if isolation != "instance" {
            assert!(!holding(&data, CANARY).is_empty(), "{isolation}: the search sees");
        }
        let (status, operation) = stage.leave(&code, Some(0)).await;
        assert_eq!((status, &operation["kind"]), (202, &json!("decommission")), "{operation}");
        let id = operation["id"].as_str().expect("an id");
        let operation = stage.execute(&lifecycle::engine(stage.control()), id).await;
        assert_eq!(operation["state"], "done", "{isolation}: {operation:#}");
        assert_eq!(stage.traces().await, before, "{isolation}");
        assert_eq!(holding(&data, CANARY), Vec::<PathBuf>::new(), "{isolation}: bytes are left");
        let certificate = stage.certificate(&code).await;
        assert_eq!((&*certificate.isolation, certificate.sweep.found), (isolation, 0));
        assert_eq!(certificate.code_sha256, code_digest(&code));
        let database = certificate.stores.iter().find(|store| store.store == "database").expect("a store");
        assert_eq!((database.result, database.items), (Outcome::Erased, Some(200)), "{isolation}");
        assert!(certificate.sweep.marker_seen_before, "{isolation}: {certificate:#?}");
        assert!(certificate.audit.size > 5, "{certificate:#?}");
        let id: rowhouse_domain::id::TenantId = certificate.tenant.parse().expect("an id");
        let end = "SELECT encode(root, 'base64') || ' ' || size FROM audit.logs WHERE tenant_id = ";
        let end = stage.platform.ask(&format!("{end} '{}'", id.0)).await;
        assert_eq!(end, format!("{} {}", certificate.audit.root, certificate.audit.size), "its log ended");
        // A tombstone: known to the operator, nobody's code again, nothing personal.
        let gone = stage.get(&format!("/v1/tenants/{code}")).await;
        assert_eq!((&gone["status"], &gone["company_name"]), (&json!("terminated"), &json!("")), "{gone}");
        let again = json!({"code": code, "company_name": "Acme GmbH", "tier": "basic"});
        let (status, refused) = stage.call("POST", "/v1/tenants", again).await;
        assert_eq!((status, &refused["code"]), (409, &json!("tenancy.code_taken")));
        assert_eq!(stage.leave(&code, None).await.0, 409, "it has left");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaving_tenant_is_kept_for_its_retention_and_may_come_back() {
    let mut stage = Stage::start().await;
    stage.run_audit();
    let tenant = stage.tenant("acme", "basic", "schema").await;
    stage.write_rows(&tenant).await;
    let suspend = json!({"mode": "read_only", "reason": "an unpaid bill", "cause": "billing"});
    stage.call("POST", "/v1/tenants/acme/suspend", suspend).await;
    assert_eq!(stage.leave("acme", Some(3_651)).await.0, 422);
    assert_eq!(stage.leave("nobody", None).await.0, 404);
    let (status, operation) = stage.leave("acme", None).await;
    assert_eq!((status, &operation["state"]), (202, &json!("scheduled")), "{operation}");
    assert_eq!(operation["starts_at"], "2026-12-21T10:00:00Z", "30 days, if nothing is said");
    assert_eq!(stage.get("/v1/tenants/acme").await["status"], "leaving");
    assert_eq!(stage.in_cell("rh_schemas_1", "SELECT rights FROM rh.place").await, "");
    assert_eq!(stage.leave("acme", None).await.0, 409, "it leaves already");
    let id = operation["id"].as_str().expect("an id").to_owned();
    let (status, refused) =
        stage.call("POST", &format!("/v1/operations/{id}/cancel"), json!({"reason": "no"})).await;
    assert_eq!(
        (status, &refused["code"]),
        (409, &json!("lifecycle.wrong_status")),
        "reinstating is the word"
    );
    assert_eq!(lifecycle::begin_due(stage.control()).await.expect("answered"), 0, "it is kept");

    let (status, back) = stage.call("POST", "/v1/tenants/acme/reinstate", json!({"reason": "stays"})).await;
    assert_eq!((status, &back["status"]), (200, &json!("suspended")), "what it was before: {back}");
    assert_eq!(back["suspension"]["mode"], "read_only");
    assert_eq!(stage.in_cell("rh_schemas_1", "SELECT rights FROM rh.place").await, "r");
    let plans = "SELECT string_agg(plan || CASE WHEN ended_at IS NULL THEN '' ELSE ' ended' END, ', ' ORDER BY started_at, ended_at) \
         FROM billing.subscriptions WHERE plan = 'basic'";
    assert_eq!(stage.platform.ask(plans).await, "basic ended, basic");
    assert_eq!(stage.operation(&id).await["state"], "undone");
    assert_eq!(stage.call("POST", "/v1/tenants/acme/reinstate", json!({"reason": "x"})).await.0, 409);
    assert_eq!(stage.call("GET", "/v1/tenants/acme/certificate", Value::Null).await.0, 404);

    let (_, operation) = stage.leave("acme", Some(1)).await;
    let id = operation["id"].as_str().expect("an id").to_owned();
    stage.platform.hand.advance_us(86_400_000_000);
    assert_eq!(lifecycle::begin_due(stage.control()).await.expect("answered"), 1);
    assert_eq!(lifecycle::begin_due(stage.control()).await.expect("answered"), 0, "twice is once");
    let late = stage.call("POST", "/v1/tenants/acme/reinstate", json!({"reason": "too late"})).await;
    assert_eq!((late.0, &late.1["code"]), (409, &json!("lifecycle.wrong_status")));
    let operation = stage.execute(&lifecycle::engine(stage.control()), &id).await;
    assert_eq!(operation["state"], "done", "{operation:#}");
    let certificate = stage.certificate("acme").await;
    assert_eq!(certificate.retention_ended_at.to_string(), "2026-11-22T10:00:00Z");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_cannot_make_itself_or_another_leave_and_sees_no_other_certificate() {
    let stage = Stage::start().await;
    let tenant = stage.tenant("acme", "basic", "shared").await;
    stage.tenant("bolt", "basic", "shared").await;
    let accounts = stage.get("/v1/service_accounts?tenant=acme").await;
    let owner = json!({"kind": "service_account", "id": accounts["items"][0]["id"]});
    let body = json!({"name": "k", "owner": owner, "roles": ["tenant_admin"]});
    let (_, key) = stage.call("POST", "/v1/keys?tenant=acme", body).await;
    let key = key["key"].as_str().expect("a key").to_owned();
    while stage.platform.call(&key, "GET", "/v1/tenants/acme", None).await.0 != 200 {
        tokio::task::yield_now().await;
    }
    let leave = json!({"reason": "mine"});
    let own = stage.platform.call(&key, "POST", "/v1/tenants/acme/decommission", Some(leave.clone())).await;
    assert_eq!(own.0, 403, "{}", own.1);
    let other = stage.platform.call(&key, "POST", "/v1/tenants/bolt/decommission", Some(leave)).await;
    assert_eq!(other.0, 404, "{}", other.1);
    assert_eq!(stage.platform.call(&key, "GET", "/v1/tenants/bolt/certificate", None).await.0, 404);
    assert_eq!(
        stage.get(&format!("/v1/tenants/{}", tenant["id"].as_str().expect("an id"))).await["status"],
        "active"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sweep_finds_stops_the_erasure_until_a_person_has_removed_it() {
    let mut stage = Stage::start().await;
    stage.run_audit();
    let tenant = stage.tenant("acme", "basic", "shared").await;
    let id: rowhouse_domain::id::TenantId = tenant["id"].as_str().expect("an id").parse().expect("an id");
    let plant = format!("CREATE TABLE rh.forgotten AS SELECT '{}'::text AS whose", id.0);
    crate::platform::execute(&stage.server.connect_config("rh_shared", SUPERUSER), &plant).await;
    let (_, operation) = stage.leave("acme", Some(0)).await;
    let id = operation["id"].as_str().expect("an id").to_owned();
    let engine = lifecycle::engine(stage.control());
    let operation = stage.execute(&engine, &id).await;
    assert_eq!(
        (&operation["state"], &operation["problem"]["code"]),
        (&json!("stuck"), &json!("lifecycle.not_erased"))
    );
    let why = stage.get(&format!("/v1/operations/{id}/explain")).await;
    assert_eq!((&why["step"], &why["to_undo"]), (&json!("sweep"), &json!([])), "{why}");
    assert!(why["last_problem"].as_str().expect("words").contains("rh.forgotten"), "{why}");
    crate::platform::execute(&stage.server.connect_config("rh_shared", SUPERUSER), "DROP TABLE rh.forgotten")
        .await;
    let (status, resumed) =
        stage.call("POST", &format!("/v1/operations/{id}/resume"), json!({"reason": "removed"})).await;
    assert_eq!((status, &resumed["state"]), (200, &json!("running")), "{resumed}");
    let operation = stage.execute(&engine, &id).await;
    assert_eq!(operation["state"], "done", "{operation:#}");
    assert_eq!(stage.certificate("acme").await.sweep.found, 0);
    stage.stop().await;
}

async fn killed_everywhere(tier: &str, isolation: &str, stride: usize) {
    let mut stage = Stage::start().await;
    stage.run_audit();
    let before = stage.traces().await;
    for kill in 0.. {
        let code = format!("acme{kill}");
        stage.tenant(&code, tier, isolation).await;
        let (_, operation) = stage.leave(&code, Some(0)).await;
        let id = operation["id"].as_str().expect("an id").to_owned();
        let engine = lifecycle::engine(stage.control());
        let ended = killed_after(kill * stride, engine.run_one()).await;
        stage.platform.hand.advance_us((LEASE_S + 1) * 1_000_000);
        let operation = stage.execute(&lifecycle::engine(stage.control()), &id).await;
        assert_eq!(operation["state"], "done", "killed at wait {}: {operation:#}", kill * stride);
        assert_eq!(stage.traces().await, before, "killed at wait {}", kill * stride);
        stage.certificate(&code).await;
        if ended.is_some() {
            assert!(kill > 3, "only {kill} places were tried");
            break;
        }
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_erasing_on_shared_another_finishes_it() {
    killed_everywhere("basic", "shared", 31).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_erasing_on_database_another_finishes_it() {
    killed_everywhere("enterprise", "database", 31).await;
}
