//! Leaving for good: refusals, retention and coming back, erasure on every level, the certificate, and crashes everywhere.

use std::sync::Arc;

use rowhouse_control::audit;
use rowhouse_domain::audit::note::{SignerKey, VerifierKey};
use rowhouse_domain::lifecycle::certificate::{Certificate, Outcome, code_digest};
use rowhouse_domain::lifecycle::envelope::Envelope;
use rowhouse_domain::lifecycle::evidence::{Evidence, EvidenceError};
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

impl Stage {
    /// The certificate with what came along, once the operator's log is signed behind it.
    async fn certificate_with_evidence(&self, code: &str) -> Value {
        loop {
            let signed = self.get(&format!("/v1/tenants/{code}/certificate")).await;
            if signed["evidence"]["inclusion"].is_object() {
                return signed;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_tenant_that_left_is_closed_and_its_certificate_is_proven_offline() {
    let mut stage = Stage::start().await;
    stage.run_audit();
    for code in ["acme", "bolt"] {
        stage.tenant(code, "basic", "shared").await;
        let export = stage.done(&format!("/v1/tenants/{code}/export"), json!({"format": "jsonl"})).await;
        assert_eq!(export["state"], "done", "{export:#}");
        let (_, operation) = stage.leave(code, Some(0)).await;
        let id = operation["id"].as_str().expect("an id");
        assert_eq!(stage.execute(&lifecycle::engine(stage.control()), id).await["state"], "done");
    }
    let signed = stage.certificate_with_evidence("acme").await;
    let certificate = stage.certificate("acme").await;
    assert_eq!(certificate.exported_at.map(|at| at.to_string().len()), Some(20), "{certificate:#?}");
    let envelope = Envelope::parse(&signed.to_string()).expect("an envelope");
    let evidence: Evidence = serde_json::from_value(signed["evidence"].clone()).expect("evidence");
    evidence.verify(&envelope, &certificate, &[]).expect("what came along suffices");
    // With the keys that the operator has published, and with none of its keys.
    let inclusion = evidence.inclusion.clone().expect("on record");
    let key = VerifierKey::parse(&inclusion.vkey).expect("a key");
    evidence.verify(&envelope, &certificate, &[key]).expect("that key signed");
    let stranger = SignerKey::from_seed(&inclusion.origin, &[9; 32]).expect("a name").verifier().clone();
    evidence.verify(&envelope, &certificate, &[stranger]).expect_err("a stranger's key");
    // Another tenant's evidence, and evidence that was altered.
    let other = stage.certificate_with_evidence("bolt").await;
    let other: Evidence = serde_json::from_value(other["evidence"].clone()).expect("evidence");
    for (wrong, why) in [
        (Evidence { inclusion: other.inclusion.clone(), ..evidence.clone() }, EvidenceError::OtherLeaf),
        (Evidence { tree_head: other.tree_head.clone(), ..evidence.clone() }, EvidenceError::OtherHead),
    ] {
        assert_eq!(wrong.verify(&envelope, &certificate, &[]), Err(why));
    }
    let mut altered = evidence.clone();
    let leaf = &mut altered.inclusion.as_mut().expect("on record").leaf;
    *leaf = leaf.replacen("lifecycle.certificate_issued\"", "lifecycle.certificate_issued\" ", 1);
    altered.verify(&envelope, &certificate, &[]).expect_err("not a byte is changed");

    // Its log is closed: who reads it leaves an event in the operator's log, and nothing is added.
    let path = format!("/v1/audit/logs/{}", certificate.tenant);
    let before = stage.get(&path).await;
    assert_eq!((&before["state"], &before["size"]), (&json!("closed"), &json!(certificate.audit.size)));
    let read = stage.get(&format!("/v1/audit/events?tenant={}", certificate.tenant)).await;
    let last = read["items"].as_array().and_then(|items| items.last()).expect("events");
    assert_eq!(last["event"], audit::CLOSING_EVENT, "{last}");
    let reads = "SELECT count(*) FROM audit.events WHERE tenant_id = '00000000-0000-0000-0000-000000000001' \
         AND ev = 'audit.events_read' AND tgt @> ARRAY['tenant:";
    while stage.platform.ask(&format!("{reads}{}']", certificate.tenant)).await == "0" {
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.get(&path).await, before, "a head that was signed once is its head for ever");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_has_begun_is_not_cancelled_and_one_that_was_given_up_is_asked_for_again() {
    let mut stage = Stage::start().await;
    stage.run_audit();
    stage.tenant("acme", "basic", "shared").await;
    let (_, operation) = stage.leave("acme", Some(0)).await;
    let id = operation["id"].as_str().expect("an id").to_owned();
    let why = stage.get(&format!("/v1/operations/{id}/explain")).await;
    assert_eq!((&why["state"], &why["choices"]), (&json!("running"), &json!([])), "{why}");
    let cancel = format!("/v1/operations/{id}/cancel");
    let (status, refused) = stage.call("POST", &cancel, json!({"reason": "a mistake"})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("lifecycle.wrong_status")), "{refused}");
    assert_eq!(stage.leave("acme", Some(0)).await.0, 409, "it is being erased");
    // The cell is lost to it: it stands still, and does not turn back to a tenant that nobody erases.
    let mut kind = lifecycle::decommission::kind();
    kind.steps.insert(1, fault());
    let stuck = stage.execute(&engine_of(stage.control(), kind), &id).await;
    assert_eq!((&stuck["state"], &stuck["problem"]["code"]), (&json!("stuck"), &json!("test.planted")));
    let abandon = json!({"reason": "to be done again"});
    assert_eq!(stage.call("POST", &format!("/v1/operations/{id}/abandon"), abandon).await.0, 200);
    assert_eq!(stage.get("/v1/tenants/acme").await["status"], "leaving");
    let (status, again) = stage.leave("acme", Some(0)).await;
    assert_eq!(status, 202, "{again}");
    let ended =
        stage.execute(&lifecycle::engine(stage.control()), again["id"].as_str().expect("an id")).await;
    assert_eq!(ended["state"], "done", "{ended:#}");
    assert_eq!(stage.certificate("acme").await.sweep.found, 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_about_a_tenant_after_its_erasure_is_dropped() {
    let mut stage = Stage::start().await;
    let tenant = stage.tenant("acme", "basic", "shared").await;
    let id: rowhouse_domain::id::TenantId = tenant["id"].as_str().expect("an id").parse().expect("an id");
    let measured = |meter: &str| {
        format!(
            "INSERT INTO resources.measurements (tenant_id, meter, collector, due_at) \
             VALUES ('{}', '{meter}', 'storage', now())",
            id.0
        )
    };
    stage.platform.execute(&measured("before")).await;
    let (_, operation) = stage.leave("acme", Some(0)).await;
    // As far as the certificate: nothing signs the log here.
    stage.run_lifecycle();
    let path = format!("/v1/operations/{}", operation["id"].as_str().expect("an id"));
    while stage.get(&path).await["steps"][4]["state"] != "done" {
        tokio::task::yield_now().await;
    }
    stage.platform.execute(&measured("after")).await;
    let left = format!("SELECT count(*) FROM resources.measurements WHERE tenant_id = '{}'", id.0);
    assert_eq!(stage.platform.ask(&left).await, "0");
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

/// Somebody's snapshot that began before (a backup of another tenant) keeps erased rows in the files: the erasure waits until it has
/// ended, says so meanwhile, and certifies what is true then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_waits_for_whoever_still_sees_the_rows() {
    let mut stage = Stage::start().await;
    stage.run_audit();
    let tenant = stage.tenant("acme", "basic", "shared").await;
    stage.tenant("bolt", "basic", "shared").await;
    stage.write_rows(&tenant).await;
    let config = stage.server.connect_config("rh_shared", SUPERUSER);
    let (sees, connection) = config.connect(tokio_postgres::NoTls).await.expect("a connection");
    let driver = tokio::spawn(connection);
    let look = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM rh.relation";
    sees.batch_execute(look).await.expect("an old snapshot");

    let (_, operation) = stage.leave("acme", Some(0)).await;
    let id = operation["id"].as_str().expect("an id");
    let engine = lifecycle::engine(stage.control());
    let tries = "SELECT count(*)::text FROM lifecycle.saga_steps WHERE step = 'sweep' AND event = 'failed' \
         AND problem LIKE '%may still see the rows%'";
    while stage.platform.ask(tries).await != "2" {
        engine.run_one().await.expect("the control database is there");
        assert_eq!(stage.operation(id).await["state"], "running");
        stage.platform.hand.advance_us(5_000_000);
    }
    let data = stage.directory.join("server/cluster/base");
    assert!(!holding(&data, CANARY).is_empty(), "who sees the rows keeps them");
    assert_eq!(stage.call("GET", "/v1/tenants/acme/certificate", json!(null)).await.0, 404, "not yet");

    sees.batch_execute("COMMIT").await.expect("ended");
    drop(sees);
    driver.await.expect("joins").expect("closes");
    let operation = stage.execute(&engine, id).await;
    assert_eq!(operation["state"], "done", "{operation:#}");
    assert_eq!(holding(&data, CANARY), Vec::<PathBuf>::new(), "bytes are left");
    let certificate = stage.certificate("acme").await;
    assert_eq!((certificate.sweep.found, certificate.sweep.marker_seen_before), (0, true));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_two_must_ask_nobody_erases_a_tenant_at_once_alone() {
    let mut stage = Stage::start_set(|settings| settings.erase_now_by_two = true).await;
    stage.run_audit();
    for code in ["acme", "bolt", "crane"] {
        stage.tenant(code, "basic", "shared").await;
    }
    let (status, operation) = stage.leave("acme", Some(0)).await;
    assert_eq!((status, &operation["state"]), (202, &json!("scheduled")), "{operation}");
    assert_eq!(operation["starts_at"], "2026-12-21T10:00:00Z", "kept for as long as usual");
    assert_eq!(stage.get("/v1/tenants/acme").await["status"], "leaving", "and refused from now on");
    let (status, refused) = stage.leave("acme", Some(0)).await;
    assert_eq!((status, &refused["code"]), (409, &json!("lifecycle.wrong_status")), "one person is not two");
    assert_eq!(lifecycle::begin_due(stage.control()).await.expect("answered"), 0);
    // Who asked for days of retention has not asked for this.
    let second = stage.second_operator().await;
    let erase = json!({"retention_days": 0, "reason": "the regulator wants it"});
    let order = async |code: &str| {
        let path = format!("/v1/tenants/{code}/decommission");
        stage.platform.call(&second, "POST", &path, Some(erase.clone())).await
    };
    stage.leave("bolt", Some(1)).await;
    assert_eq!(order("bolt").await.0, 409);
    let (status, confirmed) = order("acme").await;
    assert_eq!((status, &confirmed["id"], &confirmed["state"]), (202, &operation["id"], &json!("running")));
    assert_eq!(order("acme").await.0, 409, "twice is once");
    let ended =
        stage.execute(&lifecycle::engine(stage.control()), operation["id"].as_str().expect("an id")).await;
    assert_eq!(ended["state"], "done", "{ended:#}");
    assert_eq!(stage.certificate("acme").await.retention_ended_at.to_string(), "2026-11-21T10:00:00Z");
    // The first person's word does not hold for ever; the tenant can still come back.
    stage.leave("crane", Some(0)).await;
    stage.platform.hand.advance_us(72 * 3_600_000_000 + 1);
    assert_eq!(order("crane").await.0, 409);
    assert_eq!(stage.call("POST", "/v1/tenants/crane/reinstate", json!({"reason": "it stays"})).await.0, 200);
    stage.stop().await;
}
