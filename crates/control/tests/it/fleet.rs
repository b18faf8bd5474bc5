//! Migrations over the fleet: waves, a poisoned tenant, death in the middle, drift; the doctor over all places; and what the
//! firewall says of a statement.

use std::future::Future;
use std::task::Poll;

use rowhouse_control::{doctor, fleet};
use serde_json::{Value, json};

use crate::lifecycle::Stage;

const ROLLOUTS: &str = "/v1/fleet/migrations";
const TABLES: &str = "/v1/services/stamping/tables?install=rollout";

/// Version 1 is the stage's; 2 adds a column, 3 fails where a note is long.
fn tables(version: usize) -> Value {
    let migrations = [
        json!({"number": 1, "name": "stamps", "sql": "CREATE TABLE stamps (tenant_id uuid NOT NULL DEFAULT rh.stamped(), \
            id uuid NOT NULL, hash text NOT NULL, PRIMARY KEY (tenant_id, id))"}),
        json!({"number": 2, "name": "notes", "sql": "ALTER TABLE stamps ADD COLUMN note text"}),
        json!({"number": 3, "name": "short", "sql": "ALTER TABLE stamps ADD CONSTRAINT note_short CHECK (length(note) < 5)"}),
    ];
    json!({"manifest": "[table.stamps]\nkind = \"tenant\"\npartitions = 4\n", "migrations": migrations[..version]})
}

impl Stage {
    async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    async fn refused(&self, path: &str, body: Value) -> String {
        let (status, answer) = self.call("POST", path, body).await;
        format!("{status} {}", answer["code"].as_str().unwrap_or("?"))
    }

    /// Carries rollouts out until nothing is due at this time.
    async fn work(&self) {
        while fleet::round(&self.platform.control).await.expect("a round") {}
    }

    async fn rollout(&self, id: &Value) -> Value {
        self.get(&format!("{ROLLOUTS}/{}", id.as_str().expect("an id"))).await
    }

    async fn status(&self) -> Value {
        self.get("/v1/fleet/status?service=stamping").await
    }

    /// Schema tenants of these names; their schemas, in order.
    async fn schemas(&self, codes: &[&str]) -> Vec<String> {
        let mut schemas = Vec::new();
        for code in codes {
            self.tenant(code, "basic", "schema").await;
            let sql = format!(
                "SELECT i.schema FROM tenancy.installations i JOIN tenancy.tenants t USING (tenant_id) WHERE t.code = '{code}'"
            );
            schemas.push(self.platform.ask(&sql).await);
        }
        schemas
    }

    async fn run(&self, sql: &str) {
        let config = self.server.connect_config("rh_schemas_1", rowhouse_store::server::SUPERUSER);
        crate::platform::execute(&config, sql).await;
    }

    /// The version that a schema itself says it has, and whether it has the column of version 2.
    async fn truth(&self, schema: &str) -> String {
        let sql = format!(
            "SELECT max(v.number) || ' ' || (SELECT count(*) FROM information_schema.columns c \
               WHERE c.table_schema = '{schema}' AND c.table_name = 'stamps' AND c.column_name = 'note') \
             FROM rh.version v WHERE v.schema = '{schema}'"
        );
        self.in_cell("rh_schemas_1", &sql).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_reaches_all_in_waves_and_says_before_what_it_would_do() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    let schemas = stage.schemas(&["bolt", "crane", "dune", "elm"]).await;
    assert_eq!(stage.ok("PUT", TABLES, tables(2)).await["installed"], 0);
    let status = stage.status().await;
    assert_eq!((&status["versions"], &status["recorded"]), (&json!({"1": 5}), &json!(2)));
    assert_eq!(status["behind"].as_array().map(Vec::len), Some(5));

    let wanted = json!({"service": "stamping", "to": 2, "waves": ["canary", "50%", "100%"]});
    let would = stage.ok("POST", &format!("{ROLLOUTS}?dry_run=true"), wanted.clone()).await;
    let would = &would["would"];
    assert_eq!(would["statements"], json!([{"migration": 2, "statement": "ALTER TABLE"}]));
    let lock = json!({"relation": "stamps", "mode": "AccessExclusiveLock"});
    assert!(would["locks"].as_array().expect("a list").contains(&lock), "{would}");
    let sizes = json!([{"name": "canary", "schemas": 1}, {"name": "50%", "schemas": 2}, {"name": "100%", "schemas": 2}]);
    assert_eq!(would["waves"], sizes, "{would}");
    assert_eq!(would["tried"].as_array().map(Vec::len), Some(2), "a shared schema and the canary: {would}");
    assert_eq!(stage.status().await, status, "nothing of it stays");
    assert_eq!(stage.truth(&schemas[0]).await, "1 0");

    for (body, expected) in [
        (json!({"service": "nothing"}), "404 api.not_found"),
        (json!({"service": "stamping", "to": 9}), "422 api.invalid"),
        (json!({"service": "stamping", "waves": ["10%"]}), "422 api.invalid"),
        (json!({"service": "stamping", "waves": ["100%"], "speed": 1}), "422 api.invalid"),
    ] {
        let refused = stage.refused(ROLLOUTS, body.clone()).await;
        assert_eq!(refused.split(' ').next(), expected.split(' ').next(), "{body}: {refused}");
    }
    let begun = stage.ok("POST", ROLLOUTS, wanted.clone()).await;
    assert_eq!(begun["state"], "running");
    assert_eq!(stage.refused(ROLLOUTS, wanted.clone()).await, "409 tenancy.rollout_running");
    stage.work().await;
    let done = stage.rollout(&begun["id"]).await;
    assert_eq!((&done["state"], &done["failed"]), (&json!("done"), &json!([])), "{done:#}");
    let counts: Vec<_> = done["waves"].as_array().expect("waves").iter().map(|wave| &wave["done"]).collect();
    assert_eq!(counts, [&json!(1), &json!(2), &json!(2)]);
    let status = stage.status().await;
    assert_eq!((&status["versions"], &status["behind"]), (&json!({"2": 5}), &json!([])));
    for schema in &schemas {
        assert_eq!(stage.truth(schema).await, "2 1");
    }
    // Twice is once.
    let again = stage.ok("POST", ROLLOUTS, wanted).await;
    stage.work().await;
    let again = stage.rollout(&again["id"]).await;
    assert_eq!((&again["state"], &again["waves"][2]["done"]), (&json!("done"), &json!(0)));
    let path = format!("{ROLLOUTS}/{}/stop", again["id"].as_str().expect("an id"));
    assert_eq!(stage.refused(&path, json!({})).await, "409 tenancy.rollout_state");
    assert_eq!(stage.get(ROLLOUTS).await["items"].as_array().map(Vec::len), Some(2));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_tenant_stays_behind_and_is_served_while_all_others_finish() {
    let stage = Stage::start().await;
    let schemas = stage.schemas(&["bolt", "crane", "dune", "elm", "fern"]).await;
    stage.ok("PUT", "/v1/services/stamping/tables", tables(2)).await;
    let poison = format!(
        "INSERT INTO {0}.stamps (tenant_id, id, hash, note) SELECT tenant, tenant, 'h', 'far too long' FROM rh.installed WHERE schema = '{0}'",
        schemas[0]
    );
    stage.run(&poison).await;
    stage
        .platform
        .execute("UPDATE tenancy.tenants SET metadata = '{\"canary\": true}' WHERE code = 'bolt'")
        .await;
    stage.ok("PUT", TABLES, tables(3)).await;
    let begun = stage.ok("POST", ROLLOUTS, json!({"service": "stamping"})).await;
    stage.work().await;
    let stopped = stage.rollout(&begun["id"]).await;
    assert_eq!(stopped["state"], "stopped", "the canary fails: {stopped:#}");
    assert_eq!(stopped["reason"], "1 of 1 failed in wave canary");
    let problem = stopped["failed"][0]["problem"].as_str().expect("a problem");
    assert!(problem.contains("note_short"), "{problem}");
    assert_eq!(stage.status().await["versions"], json!({"2": 5}), "nobody else was touched");

    let order = |word: &str| format!("{ROLLOUTS}/{}/{word}", begun["id"].as_str().expect("an id"));
    assert_eq!(stage.ok("POST", &order("continue"), json!({})).await["state"], "running");
    stage.work().await;
    let rest = stage.rollout(&begun["id"]).await;
    assert_eq!((&rest["state"], rest["failed"].as_array().map(Vec::len)), (&json!("incomplete"), Some(1)));
    let status = stage.status().await;
    assert_eq!(status["versions"], json!({"2": 1, "3": 4}));
    assert_eq!(status["behind"][0]["schema"], json!(schemas[0]));
    assert!(status["behind"][0]["problem"].as_str().expect("a problem").contains("note_short"));
    assert_eq!(stage.truth(&schemas[0]).await, "2 1", "as it was");
    assert_eq!(
        stage.in_cell("rh_schemas_1", &format!("SELECT note FROM {}.stamps", schemas[0])).await,
        "far too long"
    );
    assert_eq!(stage.get("/v1/tenants/bolt").await["status"], "active");

    stage.run(&format!("UPDATE {}.stamps SET note = 'ok'", schemas[0])).await;
    stage.ok("POST", &order("retry"), json!({})).await;
    stage.work().await;
    assert_eq!(stage.rollout(&begun["id"]).await["state"], "done");
    assert_eq!(stage.status().await["versions"], json!({"3": 5}));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_not_free_is_waited_for_and_a_stopped_rollout_begins_nothing() {
    let stage = Stage::start().await;
    let schemas = stage.schemas(&["bolt", "crane"]).await;
    stage.ok("PUT", TABLES, tables(2)).await;
    let config = stage.server.connect_config("rh_schemas_1", rowhouse_store::server::SUPERUSER);
    let (holder, connection) = config.connect(tokio_postgres::NoTls).await.expect("connects");
    let driver = tokio::spawn(connection);
    holder
        .batch_execute(&format!("BEGIN; LOCK TABLE {}.stamps IN SHARE MODE", schemas[0]))
        .await
        .expect("locked");
    let begun = stage.ok("POST", ROLLOUTS, json!({"service": "stamping", "waves": ["100%"]})).await;
    stage.work().await;
    let waiting = stage.rollout(&begun["id"]).await;
    assert_eq!(
        (&waiting["state"], &waiting["waves"][0]["waiting"]),
        (&json!("running"), &json!(1)),
        "{waiting:#}"
    );
    let stop = format!("{ROLLOUTS}/{}/stop", begun["id"].as_str().expect("an id"));
    assert_eq!(stage.ok("POST", &stop, json!({})).await["state"], "stopped");
    holder.batch_execute("ROLLBACK").await.expect("let go");
    stage.platform.hand.advance_us(2_000_000);
    stage.work().await;
    assert_eq!(stage.truth(&schemas[0]).await, "1 0", "nothing begins after a stop");
    stage.ok("POST", &stop.replace("/stop", "/continue"), json!({})).await;
    stage.work().await;
    assert_eq!(stage.rollout(&begun["id"]).await["state"], "done");
    assert_eq!(stage.truth(&schemas[0]).await, "2 1");
    drop(holder);
    driver.await.expect("the connection's task").expect("it ends well");
    stage.stop().await;
}

/// Lets `work` be polled so many times, then drops it where it stands, as a dying process would. Whether it ended.
async fn cut_after(work: impl Future, polls: usize) -> bool {
    let mut work = Box::pin(work);
    let mut count = 0;
    std::future::poll_fn(move |context| {
        if work.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        count += 1;
        if count >= polls { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_anywhere_a_rollout_goes_on_and_versions_are_true() {
    let stage = Stage::start().await;
    let schemas = stage.schemas(&["bolt", "crane", "dune", "elm"]).await;
    stage.ok("PUT", TABLES, tables(2)).await;
    let begun = stage.ok("POST", ROLLOUTS, json!({"service": "stamping"})).await;
    let mut polls = 1;
    while stage.rollout(&begun["id"]).await["state"] == "running" {
        cut_after(fleet::round(&stage.platform.control), polls).await;
        for schema in &schemas {
            let truth = stage.truth(schema).await;
            assert!(
                ["1 0", "2 1"].contains(&truth.as_str()),
                "a version without its change, or the reverse: {truth}"
            );
        }
        // What was left behind is taken again when its lease has ended.
        stage.platform.hand.advance_us(61_000_000);
        polls += 3;
        assert!(polls < 1_000, "it ends");
    }
    let done = stage.rollout(&begun["id"]).await;
    assert_eq!((&done["state"], &done["failed"]), (&json!("done"), &json!([])), "{done:#}");
    assert!(polls > 10, "it was cut: {polls}");
    assert_eq!(stage.status().await["versions"], json!({"2": 4}));
    for schema in &schemas {
        assert_eq!(stage.truth(schema).await, "2 1");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_looks_at_every_place_and_finds_what_drifted() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    let schemas = stage.schemas(&["bolt", "crane"]).await;
    stage.tenant("dune", "enterprise", "database").await;
    let strict = "SELECT bool_and(strict)::text FROM tenancy.cells";
    assert_eq!(stage.platform.ask(strict).await, "true", "until a cell has been examined");
    let sound = stage.ok("POST", "/v1/doctor", json!({"probe": true})).await;
    let grave = |answer: &Value| -> Vec<String> {
        let findings = answer["findings"].as_array().expect("a list").iter();
        let grave = findings.filter(|finding| finding["severity"] != "low");
        grave
            .map(|finding| {
                format!(
                    "{} {}",
                    finding["code"].as_str().unwrap_or("?"),
                    finding["object"].as_str().unwrap_or("?")
                )
            })
            .collect()
    };
    assert_eq!(grave(&sound), Vec::<String>::new(), "{sound:#}");
    assert!(sound["checked"].as_u64() >= Some(10), "{}", sound["checked"]);
    assert_eq!(stage.platform.ask(strict).await, "false", "this server has no known hole");

    stage.run(&format!("ALTER TABLE {}.stamps ADD COLUMN by_hand text", schemas[1])).await;
    stage.run(&format!("GRANT TRUNCATE ON {0}.stamps TO {0}", schemas[0])).await;
    let found = stage.ok("POST", "/v1/doctor", json!({"cells": ["local-1"]})).await;
    let mut expected = vec![
        format!("D16 {}.stamps", schemas[0]),
        format!("D27 {}", schemas[0]),
        format!("D27 {}", schemas[1]),
    ];
    expected.sort();
    let mut codes = grave(&found);
    codes.sort();
    assert_eq!(codes, expected);
    let drift = stage.ok("POST", "/v1/fleet/drift", json!({"service": "stamping"})).await;
    assert_eq!(drift["drifted"].as_array().map(Vec::len), Some(2), "{drift}");
    assert_eq!(stage.status().await["drifted"].as_array().map(Vec::len), Some(2));
    stage.ok("PUT", "/v1/services/stamping/tables", tables(2)).await;
    assert_eq!(stage.refused("/v1/doctor", json!({"cells": ["nowhere"]})).await, "404 api.not_found");
    assert_eq!(doctor::look(&stage.platform.control, None, false).await.expect("looked").unreachable, []);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_firewall_explains_itself_and_migrations_are_read_before_they_run() {
    let stage = Stage::start().await;
    let explain = async |sql: &str, isolation: &str| {
        let body = json!({"service": "stamping", "isolation": isolation, "sql": sql});
        stage.ok("POST", "/v1/firewall/explain", body).await
    };
    let allowed = explain("SELECT lower(hash) FROM stamps", "shared").await;
    assert_eq!((&allowed["verdict"], &allowed["access"]), (&json!("allowed"), &json!("read")));
    assert_eq!((&allowed["relations"], &allowed["functions"]), (&json!(["stamps"]), &json!(["lower"])));
    let refused = explain("DROP OWNED BY CURRENT_USER", "schema").await;
    assert_eq!((&refused["verdict"], &refused["statement"]), (&json!("refused"), &json!("DROP OWNED")));
    assert_eq!((&refused["rule"], &refused["access"]), (&json!("utility"), &Value::Null));
    assert_eq!(refused["message"], "rowhouse: DROP OWNED is not allowed for tenants");
    assert_eq!(refused["fingerprint"].as_str().map(str::len), Some(64));
    assert_eq!(explain("SELECT 1 FROM pg_class", "shared").await["rule"], "relation");
    assert_eq!(explain("SELECT 1 FROM pg_class", "instance").await["verdict"], "allowed");
    let unknown = json!({"service": "stamping", "isolation": "own", "sql": "SELECT 1"});
    assert_eq!(stage.refused("/v1/firewall/explain", unknown).await, "422 api.invalid");

    for (sql, concern) in [
        ("RESET ROLE", "privilege"),
        ("COMMIT", "transaction"),
        ("CREATE TABLE notes (id uuid PRIMARY KEY)", "tenant_id"),
        ("CREATE POLICY p ON stamps USING (true)", "privilege"),
    ] {
        let mut body = tables(1);
        body["manifest"] =
            json!("[table.stamps]\nkind = \"tenant\"\npartitions = 4\n[table.notes]\nkind = \"tenant\"\n");
        body["migrations"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"number": 2, "name": "wrong", "sql": sql}));
        let (status, answer) = stage.call("PUT", "/v1/services/stamping/tables", body).await;
        assert_eq!(status, 422, "{sql}: {answer}");
        assert_eq!(answer["errors"][0]["code"], concern, "{sql}: {answer}");
    }
    let mut body = tables(2);
    body["migrations"][1]["sql"] = json!(
        "CREATE INDEX ON stamps (lower(hash)); ALTER TABLE stamps RENAME COLUMN hash TO digest; CREATE FUNCTION price(n int) RETURNS int LANGUAGE sql AS 'SELECT n'"
    );
    let advice = stage.ok("PUT", "/v1/services/stamping/tables", body).await;
    let about: Vec<_> =
        advice["advice"].as_array().expect("a list").iter().map(|one| &one["concern"]).collect();
    assert_eq!(about, ["leakproof", "index_lock", "contract"], "{advice}");
    assert_eq!(
        explain("SELECT price(1)", "shared").await["verdict"],
        "allowed",
        "the service's own function"
    );
    stage.stop().await;
}
