//! Backups, restored copies and exports, on every level.

use std::path::PathBuf;

use rowhouse_control::lifecycle::backup;
use rowhouse_control::lifecycle::{export, restore};
use rowhouse_domain::id::TenantId;
use rowhouse_store::sagas::{Action, Step};

use super::*;

const LEVELS: [(&str, &str, &str); 4] = [
    ("acme", "basic", "shared"),
    ("bolt", "professional", "schema"),
    ("crane", "enterprise", "database"),
    ("dune", "premium", "instance"),
];

impl Stage {
    /// Runs SQL in a tenant's own place as the superuser of its cell; its first column, as one text.
    pub async fn at(&self, tenant: &Value, database: Option<&str>, sql: &str) -> String {
        let placement = &tenant["placement"];
        let host = placement["database_host"].as_str().expect("a host").to_owned();
        let own = placement["database_name"].as_str().expect("a database");
        let mut config = tokio_postgres::Config::new();
        config
            .host(&host)
            .port(u16::try_from(placement["database_port"].as_u64().expect("a port")).expect("a port"))
            .user(SUPERUSER)
            .dbname(database.unwrap_or(own));
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("a connection");
        let driver = tokio::spawn(connection);
        let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        drop(client);
        driver.await.expect("the connection's task").expect("the connection ends well");
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join(" ")
    }

    /// Where a tenant's stamps lie.
    pub fn stamps(tenant: &Value) -> String {
        match tenant["placement"]["schema_name"].as_str() {
            Some(schema) => format!("{schema}.stamps"),
            None => "stamping.stamps".to_owned(),
        }
    }

    /// Puts stamps `from..to` of the tenant into its place.
    pub async fn stamp(&self, tenant: &Value, from: u32, to: u32) {
        let id: TenantId = tenant["id"].as_str().expect("an id").parse().expect("a tenant's id");
        let sql = format!(
            "WITH new AS (INSERT INTO {} (tenant_id, id, hash) \
               SELECT '{}', ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, E'a\\tb\\\\c\\n{{}}' || n \
               FROM generate_series({from}, {}) n RETURNING 1) SELECT count(*)::text FROM new",
            Stage::stamps(tenant),
            id.0,
            to - 1
        );
        assert_eq!(self.at(tenant, None, &sql).await, (to - from).to_string());
    }

    /// Count and sum of the tenant's stamps.
    pub async fn sum(&self, tenant: &Value, database: Option<&str>, table: &str) -> String {
        let id: TenantId = tenant["id"].as_str().expect("an id").parse().expect("a tenant's id");
        let sql = format!(
            "SELECT count(*) || ' ' || coalesce(md5(string_agg(id || hash, ',' ORDER BY id)), '-') FROM {table} \
             WHERE tenant_id = '{}'",
            id.0
        );
        self.at(tenant, database, &sql).await
    }

    /// A backup that is there.
    pub async fn backed_up(&self, code: &str) -> Value {
        let path = format!("/v1/backups?tenant={code}");
        let (status, backup) = self.call("POST", &path, json!({"note": "before the release"})).await;
        assert_eq!((status, &backup["state"]), (202, &json!("running")), "{backup}");
        while backup::take_one(self.control()).await.expect("the control database") {}
        let backup = self.get(&format!("/v1/backups/{}", backup["id"].as_str().expect("an id"))).await;
        assert_eq!(backup["state"], "ok", "{backup:#}");
        backup
    }

    async fn file_of(&self, backup: &Value) -> PathBuf {
        let id: rowhouse_domain::id::BackupId =
            backup["id"].as_str().expect("an id").parse().expect("a backup's id");
        let sql = format!("SELECT file FROM lifecycle.backups WHERE backup_id = '{}'", id.0);
        let name = self.platform.ask(&sql).await;
        self.directory.join("backups/eu1").join(backup["tenant"].as_str().expect("an id")).join(name)
    }

    /// An operation of this call, at its end.
    pub async fn done(&self, path: &str, body: Value) -> Value {
        let (status, operation) = self.call("POST", path, body).await;
        assert_eq!(status, 202, "{operation}");
        self.execute(&lifecycle::engine(self.control()), operation["id"].as_str().expect("an id")).await
    }

    async fn restored(&self, code: &str, body: Value) -> Value {
        let operation = self.done(&format!("/v1/restores?tenant={code}"), body).await;
        assert_eq!(operation["state"], "done", "{operation:#}");
        self.get(&format!("/v1/restores/{}", operation["result"]["restore"].as_str().expect("an id"))).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_every_level_yesterday_is_restored_beside_the_living_and_nobody_else_notices() {
    let stage = Stage::start().await;
    let neighbour = stage.tenant("neighbour", "basic", "shared").await;
    stage.stamp(&neighbour, 0, 50).await;
    for (code, tier, isolation) in LEVELS {
        let tenant = stage.tenant(code, tier, isolation).await;
        let table = Stage::stamps(&tenant);
        // Nothing of a copy may be left at the end.
        let before = stage.traces().await;
        stage.stamp(&tenant, 0, 1_000).await;
        let then = stage.sum(&tenant, None, &table).await;
        let others = stage.sum(&neighbour, None, "stamping.stamps").await;
        let backup = stage.backed_up(code).await;
        assert_eq!((&backup["rows"], &backup["schema_versions"]), (&json!(1_000), &json!({"stamping": 1})));
        stage.stamp(&tenant, 1_000, 1_500).await;
        stage
            .at(
                &tenant,
                None,
                &format!(
                    "WITH gone AS (DELETE FROM {table} WHERE id < '00000000-0000-0000-0000-000000000500' \
            AND tenant_id = '{}' RETURNING 1) SELECT count(*)::text FROM gone",
                    {
                        let id: TenantId = tenant["id"].as_str().expect("an id").parse().expect("an id");
                        id.0
                    }
                ),
            )
            .await;
        let now = stage.sum(&tenant, None, &table).await;
        let mut copies = Vec::new();
        for body in [json!({"backup": backup["id"]}), json!({"at": "2030-01-01T00:00:00Z", "mode": "beside"})]
        {
            let copy = stage.restored(code, body).await;
            assert_eq!((&copy["state"], &copy["rows"]), (&json!("open"), &json!(1_000)), "{copy:#}");
            let database = copy["access"]["database"].as_str().expect("a database").to_owned();
            assert_eq!(stage.sum(&tenant, Some(&database), "stamping.stamps").await, then, "{isolation}");
            let login = copy["access"]["login"].as_str().expect("a login");
            let rights = format!(
                "SELECT concat_ws(' ', has_table_privilege('{login}', 'stamping.stamps', 'SELECT'), \
                has_any_column_privilege('{login}', 'stamping.stamps', 'INSERT, UPDATE'), \
                has_table_privilege('{login}', 'stamping.stamps', 'DELETE'))"
            );
            assert_eq!(stage.at(&tenant, Some(&database), &rights).await, "t f f");
            copies.push(copy);
        }
        assert_eq!(stage.sum(&tenant, None, &table).await, now, "{isolation}: the living is not touched");
        assert_eq!(stage.sum(&neighbour, None, "stamping.stamps").await, others);
        let path = format!("/v1/restores/{}/reveal", copies[0]["id"].as_str().expect("an id"));
        let (status, revealed) = stage.call("POST", &path, json!({})).await;
        assert_eq!((status, revealed["password"].as_str().map(str::len)), (200, Some(48)), "{revealed}");
        let (access, host) =
            (&copies[0]["access"], tenant["placement"]["database_host"].as_str().expect("a host"));
        for (password, lets_in) in
            [(None, false), (Some("guessed"), false), (revealed["password"].as_str(), true)]
        {
            let mut config = tokio_postgres::Config::new();
            config.host(host).user(access["login"].as_str().expect("a login"));
            config.dbname(access["database"].as_str().expect("a database"));
            config.password(password.unwrap_or_default());
            let connected = config.connect(tokio_postgres::NoTls).await.is_ok();
            assert_eq!(connected, lets_in, "{isolation}: a copy opens with its password only: {password:?}");
        }
        let path = format!("/v1/restores/{}", copies[0]["id"].as_str().expect("an id"));
        assert_eq!(stage.call("DELETE", &path, json!({})).await.0, 204);
        assert_eq!(stage.call("DELETE", &path, json!({})).await.1["code"], "lifecycle.expired");
        // The other one goes by itself after seven days; the backups of basic tenants then, too.
        stage.platform.hand.advance_us(7 * 86_400_000_000 + 1);
        backup::expire(stage.control()).await.expect("the cells are there");
        let path = format!("/v1/restores/{}", copies[1]["id"].as_str().expect("an id"));
        assert_eq!(stage.get(&path).await["state"], "expired");
        assert_eq!(stage.traces().await, before, "{isolation}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_come_back_at_the_version_of_then_and_are_migrated_forward() {
    let stage = Stage::start().await;
    let acme = stage.tenant("acme", "basic", "shared").await;
    stage.stamp(&acme, 0, 10).await;
    let backup = stage.backed_up("acme").await;
    stage.put_tables(2).await;
    let copy = stage.restored("acme", json!({"backup": backup["id"]})).await;
    assert_eq!(copy["schema_versions"], json!({"stamping": 1}));
    let database = copy["access"]["database"].as_str().expect("a database");
    let sql = "SELECT count(*) || ' ' || count(note) FROM stamping.stamps";
    assert_eq!(stage.at(&acme, Some(database), sql).await, "10 0");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_was_altered_or_is_anothers_is_refused_and_named_and_leaves_nothing() {
    let stage = Stage::start().await;
    let acme = stage.tenant("acme", "basic", "shared").await;
    let bolt = stage.tenant("bolt", "basic", "schema").await;
    for tenant in [&acme, &bolt] {
        stage.stamp(tenant, 0, 100).await;
    }
    let (own, other) = (stage.backed_up("acme").await, stage.backed_up("bolt").await);
    let file = stage.file_of(&own).await;
    let whole = std::fs::read(&file).expect("the file");
    let text = String::from_utf8_lossy(&whole).into_owned();
    assert!(!text.contains("000000000042") && !text.contains("a\tb"), "rows lie sealed");
    let before = stage.traces().await;
    let verify = format!("/v1/backups/{}/verify", own["id"].as_str().expect("an id"));
    let mut altered = whole.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    let foreign = std::fs::read(stage.file_of(&other).await).expect("the file");
    for (bytes, words) in [
        (altered, "was altered"),
        (whole[..whole.len() - 1].to_vec(), "is missing"),
        (foreign, "belongs to another tenant"),
    ] {
        std::fs::write(&file, bytes).expect("room");
        let operation = stage.done(&verify, json!({})).await;
        assert_eq!(operation["state"], "undone", "{operation:#}");
        assert_eq!(operation["problem"]["code"], "lifecycle.backup_unusable", "{operation:#}");
        let detail = operation["problem"]["detail"].as_str().expect("words for the operator");
        assert!(detail.contains(words), "{detail}");
        assert_eq!(stage.traces().await, before);
    }
    std::fs::write(&file, whole).expect("room");
    let operation = stage.done(&verify, json!({})).await;
    assert_eq!(operation["state"], "done", "{operation:#}");
    let verified = stage.get(&format!("/v1/backups/{}", own["id"].as_str().expect("an id"))).await;
    assert_eq!(
        (&verified["verified"]["rows"], verified["last_verified_at"].is_string()),
        (&json!(100), true)
    );
    assert_eq!(verified["verified"]["manifest_sha256"], verified["manifest_sha256"]);
    assert_eq!(stage.traces().await, before, "nothing is left of a verification");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tenant_is_backed_up_once_a_day_and_backups_expire_by_tier() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    stage.tenant("bolt", "professional", "schema").await;
    let day_us = 86_400_000_000;
    let due_us = crate::platform::START_US + 16 * 3_600_000_000;
    stage.platform.hand.advance_us(16 * 3_600_000_000);
    let (first, second) =
        tokio::join!(backup::schedule(stage.control(), due_us), backup::schedule(stage.control(), due_us));
    assert_eq!(first.expect("entered") + second.expect("entered"), 2, "once a day, whoever asks");
    stage.platform.hand.advance_us(1);
    stage.tenant("late", "basic", "shared").await;
    assert_eq!(backup::schedule(stage.control(), due_us).await.expect("entered"), 0, "it came later");
    while backup::take_one(stage.control()).await.expect("the control database") {}
    let states = "SELECT string_agg(state || ' ' || cause, ', ') FROM lifecycle.backups";
    assert_eq!(stage.platform.ask(states).await, "ok schedule, ok schedule");
    stage.platform.hand.advance_us(7 * day_us + 1);
    assert_eq!(backup::expire(stage.control()).await.expect("removed"), 1);
    assert_eq!(backup::expire(stage.control()).await.expect("removed"), 0);
    let listed = stage.get("/v1/backups?tenant=acme").await;
    assert_eq!(listed["items"][0]["state"], "expired");
    let (status, refused) =
        stage.call("POST", "/v1/restores?tenant=acme", json!({"backup": listed["items"][0]["id"]})).await;
    assert_eq!((status, &refused["code"]), (410, &json!("lifecycle.expired")));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_a_tar_of_json_lines_that_others_cannot_fetch_and_that_ends() {
    let stage = Stage::start().await;
    for (code, tier, isolation) in [LEVELS[0], LEVELS[2]] {
        let tenant = stage.tenant(code, tier, isolation).await;
        stage.stamp(&tenant, 0, 1_000).await;
        let operation = stage.done(&format!("/v1/tenants/{code}/export"), json!({"format": "jsonl"})).await;
        assert_eq!(operation["state"], "done", "{operation:#}");
        let path = operation["result"]["download"].as_str().expect("a path").to_owned();
        let (status, archive) = stage.fetch(&stage.operator, &path).await;
        assert_eq!(status, 200);
        let files = untar(&archive);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["schema.json", "stamping/stamps.jsonl", "manifest.json"]);
        let rows: Vec<Value> =
            files[1].1.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(rows.len(), 1_000);
        assert!(
            rows.iter().all(|row| row["hash"].as_str().is_some_and(|hash| hash.starts_with("a\tb\\c\n{}")))
        );
        let manifest: Value = serde_json::from_str(&files[2].1).expect("JSON");
        assert_eq!((&manifest["code"], &manifest["tables"][0]["rows"]), (&json!(code), &json!(1_000)));
        let other = stage.key_of("late", code != "acme").await;
        for path in [path.clone(), path.trim_end_matches("/download").to_owned()] {
            assert_eq!(stage.fetch(&other, &path).await.0, 404, "{path}");
        }
        stage.platform.hand.advance_us(7 * 86_400_000_000 + 1);
        assert_eq!(stage.fetch(&stage.operator, &path).await.0, 410, "its time is over, removed or not");
        backup::expire(stage.control()).await.expect("removed");
        assert_eq!(stage.fetch(&stage.operator, &path).await.0, 410);
    }
    let left = std::fs::read_dir(stage.directory.join("backups/eu1")).expect("the region");
    let files: usize =
        left.flatten().map(|folder| std::fs::read_dir(folder.path()).expect("a folder").count()).sum();
    assert_eq!(files, 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_was_copied_of_a_tenant_can_be_erased() {
    let stage = Stage::start().await;
    let acme = stage.tenant("acme", "basic", "shared").await;
    let bolt = stage.tenant("bolt", "basic", "shared").await;
    let before = stage.traces().await;
    for (tenant, code) in [(&acme, "acme"), (&bolt, "bolt")] {
        stage.stamp(tenant, 0, 100).await;
        stage.backed_up(code).await;
    }
    let backup = stage.backed_up("acme").await;
    stage.restored("acme", json!({})).await;
    stage.done("/v1/tenants/acme/export", json!({})).await;
    let id: TenantId = acme["id"].as_str().expect("an id").parse().expect("a tenant's id");
    let erased = backup::erase_all(stage.control(), id).await.expect("the cell is there");
    assert_eq!((erased.backups, erased.exports, erased.restored_places), (2, 1, 1));
    assert!(erased.bytes > 1_000, "{erased:?}");
    let again = backup::erase_all(stage.control(), id).await.expect("again");
    assert_eq!(again, backup::Erased { backups: 2, ..Default::default() });
    assert_eq!(stage.traces().await, before);
    assert!(!stage.directory.join("backups/eu1").join(id.to_string()).exists());
    let path = "/v1/restores?tenant=acme";
    let (status, refused) = stage.call("POST", path, json!({"backup": backup["id"]})).await;
    assert_eq!((status, &refused["code"]), (410, &json!("lifecycle.shredded")));
    assert_eq!(
        stage.get("/v1/backups?tenant=bolt").await["items"][0]["state"],
        "ok",
        "the neighbour keeps its own"
    );
    // Without the key nothing new is sealed either.
    let permit = rowhouse_domain::access::Permit::for_system(Some(id), "a test");
    let transaction = stage.control().store.write(&permit).await.expect("a transaction");
    tenancy::destroy_tenant_key(&transaction, id).await.expect("destroyed");
    transaction.commit_telemetry().await.expect("committed");
    stage.platform.hand.advance_us(1_000_000);
    stage.call("POST", "/v1/backups?tenant=acme", json!({})).await;
    while backup::take_one(stage.control()).await.expect("the control database") {}
    assert_eq!(stage.get("/v1/backups?tenant=acme").await["items"][0]["state"], "failed");
    stage.stop().await;
}

fn failing_after(kind: Kind<Shared>, index: usize) -> Kind<Shared> {
    let mut kind = kind;
    kind.steps.insert(index + 1, fault());
    kind
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_each_step_of_a_restore_and_an_export_leaves_nothing() {
    let stage = Stage::start().await;
    let acme = stage.tenant("acme", "basic", "shared").await;
    stage.stamp(&acme, 0, 100).await;
    stage.backed_up("acme").await;
    let before = stage.traces().await;
    for index in 0..2 {
        let (_, operation) = stage.call("POST", "/v1/restores?tenant=acme", json!({})).await;
        let engine = engine_of(stage.control(), failing_after(restore::kind(), index));
        let operation = stage.execute(&engine, operation["id"].as_str().expect("an id")).await;
        assert_eq!(operation["state"], "undone", "{operation:#}");
        assert_eq!(stage.traces().await, before, "step {index}");
    }
    let (_, operation) = stage.call("POST", "/v1/tenants/acme/export", json!({})).await;
    let engine = engine_of(stage.control(), failing_after(export::kind(), 0));
    let operation = stage.execute(&engine, operation["id"].as_str().expect("an id")).await;
    assert_eq!(operation["state"], "undone", "{operation:#}");
    let states = "SELECT string_agg(DISTINCT state, ' ') FROM (SELECT state FROM lifecycle.restores UNION ALL SELECT state FROM lifecycle.exports) s";
    assert_eq!(stage.platform.ask(states).await, "failed");
    // Each step outside is done twice.
    let mut kind = restore::kind();
    let Step { deadline, action, undo, .. } = kind.steps[1];
    kind.steps.insert(2, Step { name: "restore_load again", deadline, action, undo });
    assert!(matches!(kind.steps[2].action, Action::Outside(_)));
    let (_, operation) = stage.call("POST", "/v1/restores?tenant=acme", json!({})).await;
    let operation =
        stage.execute(&engine_of(stage.control(), kind), operation["id"].as_str().expect("an id")).await;
    assert_eq!(operation["state"], "done", "{operation:#}");
    stage.stop().await;
}

/// Kills an executor at every `stride`-th place where it waits, for each of these orders; another one ends each well.
async fn killed_everywhere(orders: &[(&str, Value)], stride: usize) {
    // One more copy for each place where it is killed.
    let many = lifecycle::Copies { restores: 1_000, backups: 1_000, exports: 1_000 };
    let stage = Stage::start_set(|settings| settings.backups.copies = many).await;
    let acme = stage.tenant("acme", "enterprise", "schema").await;
    stage.stamp(&acme, 0, 200).await;
    let backup = stage.backed_up("acme").await;
    let before = stage.traces().await;
    for (path, body) in orders {
        let path = path.replace("{backup}", backup["id"].as_str().expect("an id"));
        for kill in 0.. {
            let (status, operation) = stage.call("POST", &path, body.clone()).await;
            assert_eq!(status, 202, "{operation}");
            let id = operation["id"].as_str().expect("an id").to_owned();
            let engine = lifecycle::engine(stage.control());
            let ended = crash::killed_after(kill * stride, engine.run_one()).await;
            stage.platform.hand.advance_us((rowhouse_store::sagas::LEASE_S + 1) * 1_000_000);
            let operation = stage.execute(&lifecycle::engine(stage.control()), &id).await;
            assert_eq!(operation["state"], "done", "{path} killed at wait {}: {operation:#}", kill * stride);
            if ended.is_some() {
                assert!(kill > 3, "{path}: only {kill} places were tried");
                break;
            }
        }
    }
    let open = "SELECT count(*) FROM lifecycle.restores WHERE state = 'running'";
    assert_eq!(stage.platform.ask(open).await, "0");
    // Each copy is there once, and when their time is over nothing of any try is left.
    let copies = "SELECT count(*) FROM lifecycle.restores WHERE state = 'open'";
    let databases = "SELECT count(*)::text FROM pg_database WHERE datname ~ '^t_'";
    assert_eq!(stage.in_cell("postgres", databases).await, stage.platform.ask(copies).await);
    let fetchable = stage.platform.ask("SELECT count(*) FROM lifecycle.exports WHERE state = 'ok'").await;
    let folder = stage.directory.join("backups/eu1").join(acme["id"].as_str().expect("an id"));
    let files = std::fs::read_dir(&folder).expect("a folder").count();
    assert_eq!(files.to_string(), (1 + fetchable.parse::<usize>().expect("a number")).to_string());
    stage.platform.hand.advance_us(40 * 86_400_000_000);
    while backup::expire(stage.control()).await.expect("removed") > 0 {}
    assert_eq!(stage.traces().await, before);
    assert_eq!(std::fs::read_dir(&folder).map_or(0, Iterator::count), 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_restoring_another_finishes_it_and_leaves_one_copy() {
    killed_everywhere(&[("/v1/restores?tenant=acme", json!({}))], 13).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_verifying_or_exporting_another_finishes_it() {
    let verify = ("/v1/backups/{backup}/verify", json!({}));
    let export = ("/v1/tenants/acme/export", json!({"format": "jsonl"}));
    killed_everywhere(&[verify, export], 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_was_being_taken_is_taken_again_when_its_node_is_back() {
    let stage = Stage::start().await;
    let acme = stage.tenant("acme", "basic", "shared").await;
    stage.stamp(&acme, 0, 100).await;
    for waits in [0, 5, 15, 30] {
        let (_, backup) = stage.call("POST", "/v1/backups?tenant=acme", json!({})).await;
        let ended = crash::killed_after(waits, backup::take_one(stage.control())).await;
        if ended.is_none() && waits > 5 {
            assert!(!backup::take_one(stage.control()).await.expect("asked"), "its claim has not run out");
        }
        backup::take_over(stage.control()).await.expect("freed");
        while backup::take_one(stage.control()).await.expect("the control database") {}
        let backup = stage.get(&format!("/v1/backups/{}", backup["id"].as_str().expect("an id"))).await;
        let row = "SELECT row_to_json(b)::text FROM lifecycle.backups b ORDER BY created_at DESC, backup_id DESC LIMIT 1";
        assert_eq!(backup["state"], "ok", "killed at wait {waits}: {}", stage.platform.ask(row).await);
    }
    let folder = stage.directory.join("backups/eu1").join(acme["id"].as_str().expect("an id"));
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 4, "one file each");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_not_wanted_any_more_leaves_no_file() {
    let stage = Stage::start().await;
    let acme = stage.tenant("acme", "basic", "shared").await;
    stage.stamp(&acme, 0, 5_000).await;
    let id: TenantId = acme["id"].as_str().expect("an id").parse().expect("a tenant's id");
    stage.call("POST", "/v1/backups?tenant=acme", json!({})).await;
    let folder = stage.directory.join("backups/eu1").join(id.to_string());
    // Both at once: the erasure finds the folder in whatever state the backup has it.
    let erase = async {
        while !folder.exists() {
            tokio::task::yield_now().await;
        }
        backup::erase_all(stage.control(), id).await
    };
    let (taken, erased) = tokio::join!(backup::take_one(stage.control()), erase);
    taken.expect("the control database");
    erased.expect("removed");
    assert!(
        !folder.exists(),
        "{:?}",
        std::fs::read_dir(&folder).map(|files| files.flatten().collect::<Vec<_>>())
    );
    stage.stop().await;
}

impl Stage {
    /// A GET whose body is not JSON.
    async fn fetch(&self, key: &str, path: &str) -> (u16, Vec<u8>) {
        self.platform.fetch(key, path).await
    }

    /// The administrator's key of a tenant, which is made if `anew`.
    pub async fn key_of(&self, code: &str, is_there: bool) -> String {
        if !is_there {
            self.tenant(code, "basic", "shared").await;
        }
        let owner = format!(
            "SELECT service_account_id FROM keys.service_accounts JOIN tenancy.tenants USING (tenant_id) WHERE code = '{code}'"
        );
        let owner =
            rowhouse_domain::id::ServiceAccountId(self.platform.ask(&owner).await.parse().expect("a UUID"));
        let wanted = json!({"name": "own", "owner": {"kind": "service_account", "id": owner}, "roles": ["tenant_admin"]});
        let (status, key) = self.call("POST", &format!("/v1/keys?tenant={code}"), wanted).await;
        assert_eq!(status, 201, "{key}");
        let key = key["key"].as_str().expect("the key's text").to_owned();
        // The directory follows the new key within a moment.
        while self.platform.call(&key, "GET", &format!("/v1/tenants/{code}"), None).await.0 == 401 {}
        key
    }
}

/// Names and texts of the files in a tar.
fn untar(archive: &[u8]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut at = 0;
    while archive[at] != 0 {
        let field = |from: usize, to: usize| {
            String::from_utf8_lossy(&archive[at + from..at + to]).trim_matches('\0').to_owned()
        };
        let length = usize::from_str_radix(&field(124, 135), 8).expect("octal digits");
        let text = &archive[at + 512..at + 512 + length];
        files.push((field(0, 100), String::from_utf8_lossy(text).into_owned()));
        at += 512 + length.div_ceil(512) * 512;
    }
    assert_eq!(archive.len(), at + 1024, "two empty blocks end it");
    files
}

/// Copies that a tenant may have, and what each takes is not counted elsewhere: its own administrator is refused where the room
/// ends, also when two ask at once, and told what to do; the operator can still help, and a copy that is removed makes room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_has_so_many_copies_of_its_rows_and_no_more() {
    let few = lifecycle::Copies { restores: 1, backups: 2, exports: 1 };
    let stage = Stage::start_set(|settings| settings.backups.copies = few).await;
    stage.tenant("acme", "basic", "shared").await;
    stage.tenant("bolt", "basic", "shared").await;
    let own = stage.key_of("acme", true).await;
    let other = stage.key_of("bolt", true).await;
    let engine = lifecycle::engine(stage.control());
    let ask = async |key: &str, path: &str| stage.platform.call(key, "POST", path, Some(json!({}))).await;
    let refused = |(status, refused): (u16, Value), words: &str| {
        assert_eq!((status, &refused["code"]), (409, &json!("lifecycle.too_many_copies")), "{refused}");
        let detail = refused["detail"].as_str().expect("words");
        assert!(detail.contains(words) && detail.contains("the first goes at 2026-"), "{detail}");
    };

    assert_eq!(ask(&own, "/v1/backups").await.0, 202);
    let (first, second) = tokio::join!(ask(&own, "/v1/backups"), ask(&own, "/v1/backups"));
    assert_eq!(
        [first.0, second.0].iter().filter(|status| **status == 202).count(),
        1,
        "{first:?} {second:?}"
    );
    refused(
        if first.0 == 202 { second } else { first },
        "has 2 backups that were asked for, and may have 2;",
    );
    while backup::take_one(stage.control()).await.expect("the control database") {}
    refused(ask(&own, "/v1/backups").await, "may have 2;");
    assert_eq!(ask(&other, "/v1/backups").await.0, 202, "another tenant has room of its own");

    for (path, words) in [
        ("/v1/restores", "has 1 restored copies, and may have 1;"),
        ("/v1/tenants/acme/export", "has 1 exports, and may have 1;"),
    ] {
        let (status, operation) = ask(&own, path).await;
        assert_eq!(status, 202, "{operation}");
        let operation = stage.execute(&engine, operation["id"].as_str().expect("an id")).await;
        assert_eq!(operation["state"], "done", "{operation:#}");
        refused(ask(&own, path).await, words);
    }
    let verify = stage.get("/v1/backups?tenant=acme").await["items"][0]["id"].clone();
    let verified =
        stage.done(&format!("/v1/backups/{}/verify", verify.as_str().expect("an id")), json!({})).await;
    assert_eq!(verified["state"], "done", "a copy that goes at once is none: {verified:#}");
    stage.backed_up("acme").await;
    let copy = stage.restored("acme", json!({})).await;
    let room = "SELECT count(*) FROM lifecycle.restores WHERE state = 'open'";
    assert_eq!(stage.platform.ask(room).await, "2", "the operator helps");

    for copy in stage.get("/v1/restores?tenant=acme").await["items"].as_array().expect("a list") {
        let path = format!("/v1/restores/{}", copy["id"].as_str().expect("an id"));
        assert_eq!(stage.platform.call(&own, "DELETE", &path, None).await.0, 204);
    }
    assert_eq!(ask(&own, "/v1/restores").await.0, 202, "there is room again after {}", copy["id"]);
    stage.stop().await;
}
