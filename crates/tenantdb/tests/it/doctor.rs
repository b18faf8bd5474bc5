//! The doctor: each fault is made with plain SQL, and exactly its code is found; sound databases have no finding. The holes
//! are tried on whatever server the tests run with, and the watchdog ends who holds others up.

use rowhouse_tenantdb::cell::{SCHEMAS_DATABASE, SHARED_DATABASE};
use rowhouse_tenantdb::doctor::{Watchdog, drifted, examine};
use rowhouse_tenantdb::{Cell, tables};

use crate::cluster::Cluster;
use crate::house::{House, connect, service_tables};

/// Code, database, fault, cure; `{t}` is the login of the schema tenant 3.
const FAULTS: &[(&str, &str, &str, &str)] = &[
    ("D01", SHARED_DATABASE, "CREATE TABLE stamping.loose (id int)", "DROP TABLE stamping.loose"),
    (
        "D02",
        SHARED_DATABASE,
        "ALTER TABLE stamping.notes DROP CONSTRAINT notes_pkey; ALTER TABLE stamping.notes ALTER tenant_id DROP NOT NULL",
        "ALTER TABLE stamping.notes ALTER tenant_id SET NOT NULL, ADD PRIMARY KEY (tenant_id, id)",
    ),
    (
        "D03",
        SHARED_DATABASE,
        "ALTER TABLE stamping.notes DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE stamping.notes ENABLE ROW LEVEL SECURITY",
    ),
    (
        "D04",
        SHARED_DATABASE,
        "ALTER TABLE stamping.notes NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE stamping.notes FORCE ROW LEVEL SECURITY",
    ),
    (
        "D05",
        SHARED_DATABASE,
        "ALTER POLICY rh_tenant ON stamping.notes USING (tenant_id = rh.tenant('r') AND false)",
        "ALTER POLICY rh_tenant ON stamping.notes USING (tenant_id = (SELECT rh.tenant('r')))",
    ),
    (
        "D05",
        SCHEMAS_DATABASE,
        "ALTER TABLE {t}.notes DROP CONSTRAINT rh_tenant",
        "ALTER TABLE {t}.notes ADD CONSTRAINT rh_tenant CHECK (tenant_id = '{id}')",
    ),
    (
        "D06",
        SHARED_DATABASE,
        "CREATE POLICY bound ON stamping.notes AS RESTRICTIVE TO rh_app USING (true)",
        "DROP POLICY bound ON stamping.notes",
    ),
    (
        "D07",
        SHARED_DATABASE,
        "CREATE POLICY open ON stamping.notes USING (true)",
        "DROP POLICY open ON stamping.notes",
    ),
    (
        "D08",
        SHARED_DATABASE,
        "CREATE FUNCTION rh.fixed() RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'; CREATE POLICY fixed ON stamping.notes AS RESTRICTIVE USING ((SELECT rh.fixed()))",
        "DROP POLICY fixed ON stamping.notes; DROP FUNCTION rh.fixed()",
    ),
    (
        "D09",
        SHARED_DATABASE,
        "CREATE UNIQUE INDEX oracle ON stamping.notes (id)",
        "DROP INDEX stamping.oracle",
    ),
    (
        "D10",
        SHARED_DATABASE,
        "CREATE UNIQUE INDEX target ON stamping.rh_probe (tenant_id, id); ALTER TABLE stamping.rh_probe ADD CONSTRAINT by_marker UNIQUE (marker); ALTER TABLE stamping.notes ADD CONSTRAINT foreign_row FOREIGN KEY (body) REFERENCES stamping.rh_probe (marker)",
        "ALTER TABLE stamping.notes DROP CONSTRAINT foreign_row; ALTER TABLE stamping.rh_probe DROP CONSTRAINT by_marker; DROP INDEX stamping.target",
    ),
    (
        "D11",
        SHARED_DATABASE,
        "GRANT SELECT ON stamping.stamps_p1 TO rh_app",
        "REVOKE SELECT ON stamping.stamps_p1 FROM rh_app",
    ),
    (
        "D12",
        SHARED_DATABASE,
        "ALTER VIEW stamping.stamp_notes SET (security_invoker = false)",
        "ALTER VIEW stamping.stamp_notes SET (security_invoker = true)",
    ),
    (
        "D13",
        SHARED_DATABASE,
        "CREATE MATERIALIZED VIEW stamping.copy AS SELECT * FROM stamping.countries; GRANT SELECT ON stamping.copy TO rh_app",
        "DROP MATERIALIZED VIEW stamping.copy",
    ),
    (
        "D13",
        SHARED_DATABASE,
        "ALTER FUNCTION stamping.recall(text) SECURITY DEFINER",
        "ALTER FUNCTION stamping.recall(text) SECURITY INVOKER",
    ),
    (
        "D14",
        SHARED_DATABASE,
        "ALTER POLICY rh_delete ON stamping.notes USING (rh.tenant('d') IS NOT NULL)",
        "ALTER POLICY rh_delete ON stamping.notes USING ((SELECT rh.tenant('d')) IS NOT NULL)",
    ),
    ("D15", SHARED_DATABASE, "ALTER ROLE rh_app BYPASSRLS", "ALTER ROLE rh_app NOBYPASSRLS"),
    ("D15", SHARED_DATABASE, "GRANT rh_guard TO rh_mover_1", "REVOKE rh_guard FROM rh_mover_1"),
    ("D15", SHARED_DATABASE, "GRANT rh_guard TO rh_mover", "REVOKE rh_guard FROM rh_mover"),
    ("D15", SHARED_DATABASE, "GRANT rh_owner TO rh_app", "REVOKE rh_owner FROM rh_app"),
    ("D15", SCHEMAS_DATABASE, "ALTER ROLE {t} CREATEROLE", "ALTER ROLE {t} NOCREATEROLE"),
    (
        "D16",
        SHARED_DATABASE,
        "GRANT TRUNCATE ON stamping.notes TO rh_app",
        "REVOKE TRUNCATE ON stamping.notes FROM rh_app",
    ),
    (
        "D16",
        SHARED_DATABASE,
        "GRANT SELECT ON stamping.outbox TO rh_app",
        "REVOKE SELECT ON stamping.outbox FROM rh_app",
    ),
    (
        "D17",
        SHARED_DATABASE,
        "GRANT TEMPORARY ON DATABASE rh_shared TO rh_app",
        "REVOKE TEMPORARY ON DATABASE rh_shared FROM rh_app",
    ),
    ("D18", SHARED_DATABASE, "ALTER ROLE rh_app SET work_mem = '1GB'", "ALTER ROLE rh_app RESET ALL"),
    (
        "D19",
        SHARED_DATABASE,
        "GRANT USAGE ON SEQUENCE stamping.outbox_id_seq TO rh_app",
        "REVOKE USAGE ON SEQUENCE stamping.outbox_id_seq FROM rh_app",
    ),
    (
        "D19",
        SHARED_DATABASE,
        "GRANT EXECUTE ON FUNCTION pg_catalog.lo_get(oid) TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION pg_catalog.lo_get(oid) FROM PUBLIC",
    ),
    (
        "D19",
        SHARED_DATABASE,
        "GRANT SELECT ON pg_stat_activity TO PUBLIC",
        "REVOKE SELECT ON pg_stat_activity FROM PUBLIC",
    ),
    (
        "D19",
        SHARED_DATABASE,
        "GRANT SELECT (reltuples) ON pg_class TO PUBLIC",
        "REVOKE SELECT (reltuples) ON pg_class FROM PUBLIC",
    ),
    (
        "D20",
        SHARED_DATABASE,
        "GRANT CONNECT ON DATABASE rh_schemas_1 TO PUBLIC",
        "REVOKE CONNECT ON DATABASE rh_schemas_1 FROM PUBLIC",
    ),
    ("D21", SHARED_DATABASE, "CREATE PUBLICATION leaky FOR TABLE stamping.notes", "DROP PUBLICATION leaky"),
    ("D22", SHARED_DATABASE, "ALTER EVENT TRIGGER rh_no_ddl DISABLE", "ALTER EVENT TRIGGER rh_no_ddl ENABLE"),
    (
        "D22",
        SHARED_DATABASE,
        "ALTER EVENT TRIGGER rh_migration_did DISABLE",
        "ALTER EVENT TRIGGER rh_migration_did ENABLE",
    ),
    (
        "D05",
        SHARED_DATABASE,
        "ALTER POLICY rh_tenant ON stamping.notes WITH CHECK (true)",
        "ALTER POLICY rh_tenant ON stamping.notes WITH CHECK (tenant_id = (SELECT rh.tenant('w')))",
    ),
    (
        "D05",
        SHARED_DATABASE,
        "DROP POLICY rh_delete ON stamping.notes",
        "CREATE POLICY rh_delete ON stamping.notes AS RESTRICTIVE FOR DELETE USING ((SELECT rh.tenant('d')) IS NOT NULL)",
    ),
    (
        "D09",
        SHARED_DATABASE,
        "ALTER TABLE stamping.notes ADD CONSTRAINT apart EXCLUDE USING btree (body WITH =)",
        "ALTER TABLE stamping.notes DROP CONSTRAINT apart",
    ),
    (
        "D29",
        SHARED_DATABASE,
        "CREATE RULE copied AS ON INSERT TO stamping.notes DO ALSO INSERT INTO stamping.outbox (body) VALUES (NEW.body)",
        "DROP RULE copied ON stamping.notes",
    ),
    (
        "D30",
        SHARED_DATABASE,
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far; CREATE FOREIGN TABLE stamping.far (id int) SERVER far",
        "DROP FOREIGN DATA WRAPPER far CASCADE",
    ),
    (
        "D31",
        SHARED_DATABASE,
        "ALTER TABLE stamping.countries ADD tenant_id uuid",
        "ALTER TABLE stamping.countries DROP tenant_id",
    ),
    (
        "D32",
        SHARED_DATABASE,
        "CREATE FUNCTION stamping.moved() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER moved BEFORE INSERT ON stamping.notes FOR EACH ROW EXECUTE FUNCTION stamping.moved(); ALTER TABLE stamping.notes ENABLE ALWAYS TRIGGER moved",
        "DROP FUNCTION stamping.moved() CASCADE",
    ),
    ("D34", SHARED_DATABASE, "CREATE EXTENSION tablefunc", "DROP EXTENSION tablefunc"),
    (
        "D33",
        SHARED_DATABASE,
        "ALTER DEFAULT PRIVILEGES FOR ROLE rh_owner GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE rh_owner REVOKE SELECT ON TABLES FROM PUBLIC",
    ),
    (
        "D35",
        SHARED_DATABASE,
        "ALTER TABLE stamping.notes ADD answers uuid, ADD CONSTRAINT whole FOREIGN KEY (tenant_id, answers) REFERENCES stamping.notes (tenant_id, id) ON DELETE SET NULL",
        "ALTER TABLE stamping.notes DROP answers",
    ),
    (
        "D36",
        SHARED_DATABASE,
        "ALTER TABLE stamping.notes SET UNLOGGED",
        "ALTER TABLE stamping.notes SET LOGGED",
    ),
    (
        "D27",
        SHARED_DATABASE,
        "CREATE INDEX by_hand ON stamping.notes (tenant_id, body)",
        "DROP INDEX stamping.by_hand",
    ),
    (
        "D27",
        SCHEMAS_DATABASE,
        "ALTER TABLE {t}.notes ADD COLUMN by_hand text",
        "ALTER TABLE {t}.notes DROP COLUMN by_hand",
    ),
];

/// Codes that a fault may bring along: what is altered by hand is drift as well, and each fault of a table is.
fn expected(code: &str) -> Vec<&str> {
    match code {
        "D05" => vec!["D05", "D07", "D14", "D27"],
        "D10" => vec!["D09", "D10", "D27"],
        "D15" => vec!["D11", "D13", "D15", "D16", "D17", "D19"],
        "D19" => vec!["D19", "D27"],
        "D17" | "D18" | "D20" | "D21" | "D22" | "D30" | "D33" | "D34" => vec![code],
        other => vec![other, "D27"],
    }
}

/// What the test's own server is: without fsync, with few connections and locks, perhaps below the floor.
const OF_THE_TEST: [&str; 3] = ["D23", "D24", "D25"];

async fn codes(cell: &Cell) -> Vec<&'static str> {
    let examination = examine(cell, false).await.expect("examined");
    let codes = examination.findings.iter().map(|(_, finding)| finding.code);
    codes.filter(|code| !OF_THE_TEST.contains(code)).collect()
}

#[tokio::test]
async fn each_fault_is_found_by_its_code_and_nothing_else_is() {
    let house = House::full().await;
    assert_eq!(codes(&house.cell).await, Vec::<&str>::new(), "a sound cell");
    let (place, ..) = house.place(3);
    let written = |sql: &str| sql.replace("{t}", &place.login).replace("{id}", &place.tenant.0.to_string());
    for (code, database, fault, cure) in FAULTS {
        let admin = house.admin(database).await;
        admin.batch_execute(&written(fault)).await.unwrap_or_else(|problem| panic!("{fault}: {problem:?}"));
        let found = codes(&house.cell).await;
        assert!(found.contains(code), "{code} after {fault}: {found:?}");
        let wrong: Vec<_> = found.iter().filter(|found| !expected(code).contains(found)).collect();
        assert!(wrong.is_empty(), "{code} after {fault}: also {wrong:?}");
        admin.batch_execute(&written(cure)).await.unwrap_or_else(|problem| panic!("{cure}: {problem:?}"));
        if *code == "D15" && fault.contains("rh_owner") {
            continue;
        }
        let left = codes(&house.cell).await;
        assert!(left.iter().all(|code| *code == "D27"), "{left:?} after {cure}");
        if !left.is_empty() {
            repair(&house).await;
        }
    }
}

/// Columns that were there and are gone leave a trace in the order of things; installing anew takes the fingerprint anew.
async fn repair(house: &House) {
    for number in [1, 3] {
        let (place, schema, _) = house.place(number);
        tables::repair(&house.cell, &place.target(schema), &service_tables()).await.expect("repaired");
    }
    assert_eq!(codes(&house.cell).await, Vec::<&str>::new(), "after a repair");
}

#[tokio::test]
async fn a_finding_names_its_object_and_the_statement_that_cures_it() {
    let house = House::full().await;
    let admin = house.admin(SHARED_DATABASE).await;
    admin.batch_execute("ALTER TABLE stamping.notes NO FORCE ROW LEVEL SECURITY").await.expect("a fault");
    let examination = examine(&house.cell, false).await.expect("examined");
    let (database, finding) =
        examination.findings.iter().find(|(_, finding)| finding.code == "D04").expect("found").clone();
    assert_eq!((database.as_str(), finding.object.as_str()), (SHARED_DATABASE, "stamping.notes"));
    assert!(examination.checked >= 8, "server, 3 databases, schemas, logins: {}", examination.checked);
    let cure = finding.sql.expect("a statement");
    admin.batch_execute(&cure).await.expect("the cure runs");
    assert_eq!(codes(&house.cell).await, Vec::<&str>::new());
    admin.batch_execute("ALTER TABLE stamping.notes ADD by_hand text").await.expect("a change by hand");
    let of_service = drifted(&house.cell, SHARED_DATABASE, Some("stamping")).await.expect("compared");
    assert_eq!(of_service, ["stamping"]);
    assert!(drifted(&house.cell, SHARED_DATABASE, Some("other")).await.expect("compared").is_empty());
}

/// The same answer twice, nothing left behind, and what the release notes say of this version.
#[tokio::test]
async fn the_holes_are_tried_out_and_agree_with_the_version() {
    let cluster = Cluster::start(20);
    let cell = cluster.cell("eu-1");
    rowhouse_tenantdb::cell::prepare(&cell).await.expect("a cell");
    let admin = connect(&cell, "postgres", "postgres").await.expect("connects");
    for _ in 0..2 {
        let examination = examine(&cell, true).await.expect("examined");
        let holes = examination.holes.expect("probes were made");
        let version: i32 = admin
            .query_one("SELECT current_setting('server_version_num')::int", &[])
            .await
            .expect("a version")
            .get(0);
        let floor = match version / 10_000 {
            15 => 150_020,
            16 => 160_016,
            17 => 170_012,
            18 => 180_007,
            _ => 0,
        };
        assert_eq!((holes.drop_owned, holes.upsert), (version < floor, version < floor), "{version}");
        assert_eq!(examination.below_floor(), version < floor, "{:?}", examination.findings);
        let left = admin
            .query_one("SELECT (SELECT count(*) FROM pg_database WHERE datname = 'rh_probe') + (SELECT count(*) FROM pg_roles WHERE rolname = 'rh_probe')", &[])
            .await
            .expect("counted");
        assert_eq!(left.get::<_, i64>(0), 0, "nothing is left");
    }
}

#[tokio::test]
async fn a_session_that_locks_others_out_is_ended_and_an_ordinary_one_is_not() {
    let house = House::shared().await;
    let mut watchdog = Watchdog::new(house.cell.clone());
    assert_eq!(watchdog.look().await.expect("looked"), []);
    let databases = house.databases().await;
    let mut honest =
        databases.begin(&crate::house::context(1), rowhouse_tenantdb::Access::Write).await.expect("begins");
    honest
        .execute("INSERT INTO stamps (id, hash) VALUES (gen_random_uuid(), 'x')", &[])
        .await
        .expect("written");
    honest.query("SELECT * FROM stamps FOR UPDATE", &[]).await.expect("locked");
    let attacker = house.connect("rh_app", SHARED_DATABASE).await;
    attacker
        .batch_execute("SET lock_timeout = 0; BEGIN; LOCK TABLE stamping.notes IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("nothing stops it");
    let ended = watchdog.look().await.expect("looked");
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!(
        (ended[0].login.as_str(), ended[0].reason.as_str()),
        ("rh_app", "holds or wants a strong lock")
    );
    assert!(attacker.batch_execute("SELECT 1").await.is_err(), "its session has ended");
    honest.query("SELECT * FROM notes", &[]).await.expect("nobody is in the way");
    honest.commit().await.expect("committed");
    // One that waits for such a lock stops those behind it as well.
    let mut reader =
        databases.begin(&crate::house::context(1), rowhouse_tenantdb::Access::Read).await.expect("begins");
    reader.query("SELECT * FROM notes", &[]).await.expect("read");
    let waiting = house.connect("rh_app", SHARED_DATABASE).await;
    let lock = tokio::spawn(async move {
        waiting.batch_execute("SET lock_timeout = 0; BEGIN; LOCK TABLE stamping.notes IN EXCLUSIVE MODE; LOCK TABLE stamping.notes").await
    });
    let begun = std::time::Instant::now();
    while watchdog.look().await.expect("looked").is_empty() {
        assert!(begun.elapsed().as_secs() < 20, "it is found");
        tokio::task::yield_now().await;
    }
    assert!(lock.await.expect("no panic").is_err());
}

/// What a session sees keeps erased rows in the files, of all tenants: saying something now and then does not make it eternal.
#[tokio::test]
async fn a_transaction_that_goes_on_and_on_is_ended_though_it_is_never_idle() {
    let house = House::shared().await;
    let talker = house.connect("rh_app", SHARED_DATABASE).await;
    talker.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.expect("a snapshot");
    let mut usual = Watchdog::new(house.cell.clone());
    assert_eq!(usual.look().await.expect("looked"), [], "it is young");
    let mut watchdog = Watchdog::new(house.cell.clone()).with_transactions_of(1);
    let begun = std::time::Instant::now();
    let ended = loop {
        let alive = talker.batch_execute("SELECT 1").await.is_ok();
        let ended = watchdog.look().await.expect("looked");
        if !ended.is_empty() {
            break ended;
        }
        assert!(alive && begun.elapsed().as_secs() < 60, "it is found");
    };
    assert_eq!((ended[0].login.as_str(), ended[0].reason.as_str()), ("rh_app", "a transaction without end"));
    assert!(talker.batch_execute("SELECT 1").await.is_err(), "its session has ended");
}

/// What an attacker with the application's login could learn of other tenants' volumes.
#[tokio::test]
async fn the_catalog_tells_no_volumes() {
    let house = House::full().await;
    let (place, ..) = house.place(3);
    for (login, database) in [("rh_app", SHARED_DATABASE), (place.login.as_str(), SCHEMAS_DATABASE)] {
        let client = house.connect(login, database).await;
        for sql in [
            "SELECT reltuples FROM pg_class",
            "SELECT relpages FROM pg_class",
            "SELECT * FROM pg_class",
            "SELECT pg_current_wal_lsn()",
            "SELECT pg_current_wal_insert_lsn()",
            "SELECT txid_current()",
            "SELECT pg_current_xact_id()",
            "SELECT pg_current_snapshot()",
            "SELECT pg_postmaster_start_time()",
            "SELECT * FROM pg_database",
            "SELECT * FROM pg_roles",
            "SELECT * FROM pg_auth_members",
            "SELECT * FROM pg_stats",
            "SELECT * FROM pg_statistic_ext_data",
            "SELECT pg_identify_object(1260, 10, 0)",
            "SELECT pg_identify_object_as_address(1262, 1, 0)",
            "SELECT pg_describe_object(1260, 10, 0)",
        ] {
            let refused = client.batch_execute(sql).await.expect_err(sql);
            assert_eq!(refused.code().expect("the server's").code(), "42501", "{login}: {sql}");
        }
        client
            .batch_execute("SELECT oid, relname, relkind FROM pg_class; SELECT typname FROM pg_type")
            .await
            .expect("what drivers ask");
    }
}

#[tokio::test]
async fn a_slot_that_nobody_reads_is_found_and_its_cure_cures() {
    let cluster = Cluster::start(20);
    let cell = cluster.cell("eu-1");
    rowhouse_tenantdb::cell::prepare(&cell).await.expect("a cell");
    let admin = connect(&cell, "postgres", "postgres").await.expect("connects");
    let make = "SELECT pg_create_physical_replication_slot('left_behind', true)";
    admin.query_one(make, &[]).await.expect("a slot");
    assert!(!codes(&cell).await.contains(&"D28"), "a new slot holds nothing back yet");
    admin.batch_execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'").await.expect("a bound");
    admin.batch_execute("SELECT pg_reload_conf()").await.expect("read");
    for number in 0..4 {
        let write = format!("CREATE TABLE written_{number} (id int)");
        admin.batch_execute(&write).await.expect("something in the log");
        admin.batch_execute("SELECT pg_switch_wal()").await.expect("the next segment");
    }
    admin.batch_execute("CHECKPOINT").await.expect("a checkpoint");
    let examination = examine(&cell, false).await.expect("examined");
    let found = examination.findings.iter().find(|(_, finding)| finding.code == "D28");
    let (_, finding) = found.expect("the slot is past the bound");
    assert_eq!(finding.object, "left_behind");
    admin.batch_execute(finding.sql.as_deref().expect("a statement")).await.expect("the cure runs");
    assert!(!codes(&cell).await.contains(&"D28"));
}

#[tokio::test]
async fn too_many_relations_of_one_database_are_counted() {
    let house = House::shared().await;
    let admin = house.admin(SHARED_DATABASE).await;
    let sql = include_str!("../../src/doctor/database.sql");
    let none: Vec<String> = Vec::new();
    for (most, found) in [(10i64, true), (200_000, false)] {
        let rows = admin.query(sql, &[&most, &none]).await.expect("examined");
        let objects: Vec<String> =
            rows.iter().filter(|row| row.get::<_, String>(0) == "D26").map(|row| row.get(1)).collect();
        assert_eq!(objects.iter().any(|object| object.starts_with("rh_shared: ")), found, "{objects:?}");
    }
}
