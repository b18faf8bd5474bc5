//! An attacker with arbitrary SQL as the application's role, or as a tenant's own login. A marker stands in every row of
//! the victim. An attack has failed when the marker reaches no byte that the attacker can read, the victim's rows are
//! what they were, and the victim is still served.
//!
//! The last test switches the defences off one at a time: then an attack must succeed, or the suite could not see.

use rowhouse_domain::tenancy::Isolation;
use rowhouse_tenantdb::cell::{self, SHARED_DATABASE};
use rowhouse_tenantdb::{Access, DatabaseKey, Databases, Place, TokenClaims, place, tables};
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

use crate::house::{House, SERVICE, context, key, service_tables};

const MARKER: &str = "VICTIM-MARKER";

/// How an attack must end: with this SQLSTATE, or harmlessly.
const DENIED: &str = "42501";
const NO_CONTEXT: &str = "RH001";
const HARMLESS: &str = "ok";

/// Inside a transaction of the attacker's own tenant. `{victim}` and `{own}` are tenants; `{stolen}` is a context of
/// the victim's backend, `{expired}` one of the victim for this backend whose time is up, `{altered}` the attacker's own
/// with the victim's id, `{guessed}` one of the victim signed with another key, `{weak}` the attacker's own with the
/// right to read only, `{raised}` that with its rights altered.
#[rustfmt::skip]
const SHARED: &[(&str, &str, &str)] = &[
    // contexts
    ("altered context", "SELECT set_config('rh.ctx', '{altered}', true); SELECT * FROM stamping.stamps", NO_CONTEXT),
    ("stolen context", "SELECT set_config('rh.ctx', '{stolen}', true); SELECT * FROM stamping.stamps", NO_CONTEXT),
    ("stolen context for the session", "SET rh.ctx = '{stolen}'; SELECT * FROM stamping.stamps", NO_CONTEXT),
    ("stolen context through enter", "SELECT rh.enter('{stolen}', true)", NO_CONTEXT),
    ("expired context", "SELECT set_config('rh.ctx', '{expired}', true); SELECT * FROM stamping.stamps", NO_CONTEXT),
    ("guessed key", "SELECT set_config('rh.ctx', '{guessed}', true); SELECT * FROM stamping.stamps", NO_CONTEXT),
    ("empty context", "SELECT set_config('rh.ctx', '', true); SELECT * FROM stamping.stamps", NO_CONTEXT),
    ("no context", "RESET rh.ctx; SELECT * FROM stamping.stamps", NO_CONTEXT),
    ("malformed context", "SELECT set_config('rh.ctx', 'r1.k1.ä''\\.' || chr(10) || '.rwd.-1.x', true); SELECT * FROM stamping.stamps", NO_CONTEXT),
    ("huge context", "SELECT set_config('rh.ctx', 'r1.k1.' || repeat('a', 1000000), true); SELECT * FROM stamping.stamps", NO_CONTEXT),
    ("unknown key id", "SELECT set_config('rh.ctx', replace('{altered}', '.k1.', '.k2.'), true); SELECT * FROM stamping.stamps", NO_CONTEXT),
    ("context restored by a savepoint", "SAVEPOINT s; SELECT set_config('rh.ctx', '{stolen}', true); ROLLBACK TO s; SELECT * FROM stamping.stamps", HARMLESS),
    ("read right only: delete", "SELECT set_config('rh.ctx', '{weak}', true); DELETE FROM stamping.stamps", "RH003"),
    ("read right only: insert", "SELECT set_config('rh.ctx', '{weak}', true); INSERT INTO stamping.stamps (id, hash) VALUES (gen_random_uuid(), 'x')", "RH003"),
    ("rights raised by hand", "SELECT set_config('rh.ctx', '{raised}', true); DELETE FROM stamping.stamps", NO_CONTEXT),
    // identity and settings
    ("become the owner", "SET ROLE rh_owner", DENIED),
    ("become the guard", "SELECT set_config('role', 'rh_guard', false)", DENIED),
    ("become the mover", "SET SESSION AUTHORIZATION rh_mover_1", DENIED),
    ("switch policies off", "SET LOCAL row_security = off; SELECT * FROM stamping.stamps", DENIED),
    ("act as a replica", "SET LOCAL session_replication_role = replica", DENIED),
    ("forced parallel plan", "SELECT set_config(name, 'on', true) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query'); SELECT * FROM stamping.stamps", HARMLESS),
    ("more temporary files", "SET temp_file_limit = -1", DENIED),
    ("more connections", "ALTER ROLE rh_app CONNECTION LIMIT -1", DENIED),
    ("new login attribute", "ALTER ROLE rh_app BYPASSRLS", DENIED),
    ("shut the shared login out", "ALTER ROLE rh_app NOLOGIN", DENIED),
    // rows
    ("read all", "SELECT * FROM stamping.stamps; SELECT * FROM stamping.notes; SELECT * FROM stamping.rh_probe", HARMLESS),
    ("read through the view", "SELECT * FROM stamping.stamp_notes", HARMLESS),
    ("read by id", "SELECT * FROM stamping.stamps WHERE tenant_id = '{victim}'", HARMLESS),
    ("lock the victim's rows", "SELECT * FROM stamping.stamps FOR UPDATE", HARMLESS),
    ("change all", "UPDATE stamping.stamps SET hash = 'changed ' || id", HARMLESS),
    ("delete all", "DELETE FROM stamping.notes; DELETE FROM stamping.stamps", HARMLESS),
    ("insert for the victim", "INSERT INTO stamping.stamps (tenant_id, id, hash) VALUES ('{victim}', gen_random_uuid(), 'x')", DENIED),
    ("give rows to the victim", "UPDATE stamping.stamps SET tenant_id = '{victim}'", DENIED),
    ("upsert on the victim's key", "INSERT INTO stamping.stamps (tenant_id, id, hash) SELECT '{victim}', '{row}', 'x' ON CONFLICT (tenant_id, id) DO UPDATE SET hash = 'y'", DENIED),
    ("upsert that looks", "INSERT INTO stamping.stamps (tenant_id, id, hash) SELECT '{victim}', '{row}', 'x' ON CONFLICT (tenant_id, id) DO UPDATE SET hash = stamps.hash WHERE stamps.hash::int = 0", DENIED),
    ("merge", "MERGE INTO stamping.notes n USING (VALUES ('{victim}'::uuid)) v(t) ON n.tenant_id = v.t WHEN MATCHED THEN UPDATE SET body = 'x' WHEN NOT MATCHED THEN INSERT (tenant_id, id, stamp, body) VALUES (v.t, gen_random_uuid(), '{row}', 'x')", DENIED),
    ("point at the victim's row", "INSERT INTO stamping.notes (id, stamp, body) VALUES (gen_random_uuid(), '{row}', 'x')", "23503"),
    ("the victim's unique value", "INSERT INTO stamping.stamps (id, hash) VALUES (gen_random_uuid(), 'VICTIM-' || 'MARKER hash'); ROLLBACK", HARMLESS),
    ("leak by division", "SELECT * FROM stamping.stamps WHERE 1 / (CASE WHEN hash LIKE 'VICTIM%' THEN 0 ELSE 1 END) = 1", HARMLESS),
    ("leak by cast", "SELECT * FROM stamping.notes WHERE CASE WHEN body LIKE 'own%' THEN true ELSE body::int > 0 END", HARMLESS),
    ("read a partition", "SELECT * FROM stamping.stamps_p0 UNION ALL SELECT * FROM stamping.stamps_p1 UNION ALL SELECT * FROM stamping.stamps_p2 UNION ALL SELECT * FROM stamping.stamps_p3", DENIED),
    ("write a partition", "DELETE FROM stamping.stamps_p1", DENIED),
    ("empty the table", "TRUNCATE stamping.stamps CASCADE", DENIED),
    ("an internal table", "SELECT * FROM stamping.outbox", DENIED),
    ("an internal sequence", "SELECT nextval('stamping.outbox_id_seq')", DENIED),
    ("change reference data", "UPDATE stamping.countries SET name = 'x'", DENIED),
    ("dump as XML", "SELECT query_to_xml('SELECT * FROM stamping.stamps', true, true, ''), table_to_xml('stamping.notes', true, true, '')", HARMLESS),
    ("dump as statistics", "SELECT * FROM ts_stat('SELECT to_tsvector(hash) FROM stamping.stamps')", HARMLESS),
    ("held cursor", "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM stamping.stamps; COMMIT; FETCH ALL FROM c; CLOSE c", HARMLESS),
    ("held cursor without context", "COMMIT; BEGIN; DECLARE c CURSOR FOR SELECT * FROM stamping.stamps; FETCH ALL FROM c", NO_CONTEXT),
    ("prepared plan without context", "PREPARE p AS SELECT * FROM stamping.stamps; EXECUTE p; COMMIT; BEGIN; EXECUTE p", NO_CONTEXT),
    ("two-phase commit", "PREPARE TRANSACTION 'x'", "55000"),
    // what belongs to rh
    ("the key", "SELECT * FROM rh.key", DENIED),
    ("the places", "SELECT * FROM rh.place", DENIED),
    ("a place of one's own", "INSERT INTO rh.place VALUES ('{victim}', 'rh_app', 1, 'rwd')", DENIED),
    ("what is installed", "SELECT * FROM rh.installed, rh.version, rh.relation", DENIED),
    ("another verifier", "CREATE OR REPLACE FUNCTION rh.tenant(need text) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'", DENIED),
    // definitions
    ("a view", "CREATE VIEW stamping.v AS SELECT * FROM stamping.stamps", DENIED),
    ("a temporary table", "CREATE TEMP TABLE t AS SELECT * FROM stamping.stamps", DENIED),
    ("select into", "SELECT * INTO TEMP t FROM stamping.stamps", DENIED),
    ("a function", "CREATE FUNCTION pg_temp.f(text) RETURNS boolean COST 0.01 LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%'', $1; RETURN true; END'", DENIED),
    ("a block", "DO $$ BEGIN EXECUTE 'DROP OWNED BY CURRENT_USER'; END $$", DENIED),
    ("drop what is owned", "DROP OWNED BY CURRENT_USER", DENIED),
    ("reassign what is owned", "REASSIGN OWNED BY rh_owner TO rh_app", DENIED),
    ("a grant", "GRANT SELECT ON stamping.stamps TO PUBLIC", DENIED),
    ("a revocation", "REVOKE SELECT ON stamping.stamps FROM rh_app", DENIED),
    ("a membership", "GRANT rh_owner TO rh_app", DENIED),
    ("a role", "CREATE ROLE x", DENIED),
    ("no more policies", "ALTER TABLE stamping.stamps DISABLE ROW LEVEL SECURITY", DENIED),
    ("one policy less", "DROP POLICY rh_tenant ON stamping.stamps", DENIED),
    ("one policy more", "CREATE POLICY p ON stamping.stamps USING (true)", DENIED),
    ("a trigger", "CREATE TRIGGER t BEFORE UPDATE ON stamping.stamps EXECUTE FUNCTION suppress_redundant_updates_trigger()", DENIED),
    ("no event trigger", "DROP EVENT TRIGGER rh_no_ddl", DENIED),
    ("an extension", "CREATE EXTENSION dblink", DENIED),
    ("a publication", "CREATE PUBLICATION p FOR ALL TABLES", DENIED),
    ("default privileges", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO rh_app", DENIED),
    ("a comment", "COMMENT ON TABLE stamping.stamps IS 'mine'", DENIED),
    // catalog, files, other sessions
    ("other sessions' texts", "SELECT * FROM pg_stat_activity", DENIED),
    ("other sessions by function", "SELECT pg_stat_get_backend_activity(1), pg_stat_get_activity(NULL)", DENIED),
    ("statistics of values", "SELECT * FROM pg_stats", DENIED),
    ("raw statistics", "SELECT * FROM pg_statistic", DENIED),
    ("statistics of tables", "SELECT * FROM pg_stat_all_tables", DENIED),
    ("volumes", "SELECT pg_total_relation_size('stamping.stamps')", DENIED),
    ("locks", "SELECT * FROM pg_locks", DENIED),
    ("passwords", "SELECT * FROM pg_authid", DENIED),
    ("large object: make", "SELECT lo_from_bytea(0, 'x')", DENIED),
    ("large object: read", "SELECT lo_get(1)", DENIED),
    ("large object: data", "SELECT * FROM pg_largeobject", DENIED),
    ("file", "SELECT pg_read_file('/etc/passwd')", DENIED),
    ("directory", "SELECT pg_ls_dir('.')", DENIED),
    ("copy to a program", "COPY stamping.stamps TO PROGRAM 'cat'", DENIED),
    ("copy to a file", "COPY stamping.stamps TO '/tmp/rh-attack'", DENIED),
    ("a slot", "SELECT pg_create_logical_replication_slot('s', 'test_decoding')", DENIED),
    ("a message in the log", "SELECT pg_logical_emit_message(false, 'a', 'b')", DENIED),
    ("a lock of one's own", "SELECT pg_advisory_lock(hashtextextended('{victim}', 7240))", DENIED),
    ("a lock tried", "SELECT pg_try_advisory_xact_lock(hashtextextended('{victim}', 7240))", DENIED),
    ("a lock shared", "SELECT pg_advisory_xact_lock_shared(1)", DENIED),
    ("a notification", "SELECT pg_notify('a', 'b')", DENIED),
    ("a snapshot", "SELECT pg_export_snapshot()", DENIED),
    ("end others", "SELECT pg_terminate_backend({pid})", DENIED),
    ("cancel others", "SELECT pg_cancel_backend({pid})", DENIED),
    ("sleep", "SELECT pg_sleep(60)", DENIED),
    ("stop", "SELECT pg_reload_conf()", DENIED),
];

/// Settings that a login may give itself; sessions of the library must not mind.
const OWN_SETTINGS: &[&str] = &[
    "default_transaction_read_only = on",
    "search_path = pg_catalog",
    "statement_timeout = 1",
    "row_security = off",
    "standard_conforming_strings = off",
    "local_preload_libraries = 'nothing'",
    "default_transaction_isolation = 'serializable'",
    "synchronous_commit = off",
    "idle_session_timeout = 1",
    "exit_on_error = on",
    "transform_null_equals = on",
    "work_mem = '64kB'",
    "TimeZone = 'Pacific/Kiritimati'",
];

struct Siege {
    house: House,
    databases: Databases,
    attacker: Client,
    /// The victim's own backend, alive.
    victim: Client,
    names: Vec<(&'static str, String)>,
}

impl Siege {
    /// `attacking` and `victim` are two tenants of one database.
    async fn lay(house: House, attacking: u128, victim: u128) -> Siege {
        let databases = house.databases().await;
        for (number, words) in [(attacking, "own row"), (victim, MARKER)] {
            fill(&databases, number, words).await;
        }
        let (place, schema, key) = house.place(attacking).clone();
        let (target, target_schema, _) = house.place(victim).clone();
        let attacker = house.connect(&place.login, &place.database).await;
        let other = house.connect(&target.login, &target.database).await;
        let (pid, victim_pid) = (pid(&attacker).await, pid(&other).await);
        let mint = |tenant: &Place, rights, backend_pid, not_after_s| {
            let tenant = tenant.tenant.0;
            key.mint(&TokenClaims { tenant, epoch: 1, rights, backend_pid, not_after_s })
        };
        let late = 4_000_000_000;
        let own = mint(&place, "rwd", pid, late);
        let guess = DatabaseKey::new("k1", [0; 32]).expect("a plain kid");
        let guessed = guess.mint(&TokenClaims {
            tenant: target.tenant.0,
            epoch: 1,
            rights: "rwd",
            backend_pid: pid,
            not_after_s: late,
        });
        let weak = mint(&place, "r", pid, late);
        let names = vec![
            ("{victim}", target.tenant.0.to_string()),
            ("{own}", place.tenant.0.to_string()),
            ("{row}", row_id(victim).to_string()),
            ("{pid}", victim_pid.to_string()),
            ("{altered}", own.replace(&place.tenant.0.to_string(), &target.tenant.0.to_string())),
            ("{stolen}", mint(&target, "rwd", victim_pid, late)),
            ("{expired}", mint(&target, "rwd", pid, 1_000_000_000)),
            ("{guessed}", guessed),
            ("{raised}", weak.replace(".r.", ".rwd.")),
            ("{weak}", weak),
            ("{token}", own),
            ("{schema}", schema),
            ("{target}", target_schema),
            ("{target_login}", target.login),
            ("{login}", place.login),
        ];
        Siege { house, databases, attacker, victim: other, names }
    }

    /// Runs `sql` in the attacker's transaction; how it ended, and every byte that came back.
    async fn attack(&self, sql: &str) -> (String, String) {
        let mut text = format!("BEGIN; SELECT rh.enter('{{token}}', true); {sql}");
        for (name, value) in &self.names {
            text = text.replace(name, value);
        }
        let (ended, seen) = run(&self.attacker, &text).await;
        // What succeeded is made to stay.
        self.attacker.batch_execute("COMMIT").await.expect("the attacker keeps its connection");
        self.attacker.batch_execute("RESET ALL; DEALLOCATE ALL").await.expect("clean for the next attack");
        (ended, seen)
    }
}

fn row_id(number: u128) -> Uuid {
    Uuid::from_u128(number << 32 | 1)
}

async fn pid(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0)
}

async fn fill(databases: &Databases, number: u128, words: &str) {
    let mut transaction = databases.begin(&context(number), Access::Write).await.expect("begins");
    let id = row_id(number);
    let (hash, body) = (format!("{words} hash"), format!("{words} note"));
    transaction
        .execute("INSERT INTO stamps (id, hash) VALUES ($1, $2)", &[&id, &hash])
        .await
        .expect("a stamp");
    transaction
        .execute("INSERT INTO notes (id, stamp, body) VALUES ($1, $1, $2)", &[&id, &body])
        .await
        .expect("a note");
    transaction.commit().await.expect("committed");
}

/// `ok` or the SQLSTATE, and all rows, errors, details and hints as text.
async fn run(client: &Client, sql: &str) -> (String, String) {
    let mut seen = String::new();
    match client.simple_query(sql).await {
        Ok(messages) => {
            for message in messages {
                if let SimpleQueryMessage::Row(row) = message {
                    for column in 0..row.len() {
                        seen.push_str(row.get(column).unwrap_or_default());
                        seen.push('\n');
                    }
                }
            }
            (HARMLESS.to_owned(), seen)
        }
        Err(problem) => {
            let server = problem.as_db_error().expect("the server keeps the connection");
            (server.code().code().to_owned(), format!("{server:?}"))
        }
    }
}

/// A checksum over the victim's rows, as the superuser sees them.
async fn checksum(admin: &Client, schema: &str, tenant: Uuid) -> String {
    let sql = format!(
        "SELECT (SELECT md5(string_agg(s::text, '|' ORDER BY id)) FROM {schema}.stamps s WHERE tenant_id = $1)
             || (SELECT md5(string_agg(n::text, '|' ORDER BY id)) FROM {schema}.notes n WHERE tenant_id = $1)
             || (SELECT count(*) FROM {schema}.rh_probe WHERE tenant_id = $1)"
    );
    admin.query_one(&sql, &[&tenant]).await.expect("a checksum").get(0)
}

#[tokio::test]
async fn no_sql_of_the_shared_role_reaches_another_tenant() {
    let siege = Siege::lay(House::shared().await, 1, 2).await;
    let admin = siege.house.admin(SHARED_DATABASE).await;
    let victim = siege.house.place(2).0.tenant.0;
    let before = checksum(&admin, "stamping", victim).await;
    for (name, sql, expected) in SHARED {
        let (ended, seen) = siege.attack(sql).await;
        assert!(!seen.contains(MARKER), "{name}: the marker was seen: {seen}");
        // A server that was built without a feature cannot be attacked through it.
        let not_built = seen.contains("built with libxml");
        assert!(ended == *expected || not_built, "{name}: {ended} instead of {expected}: {seen}");
        assert_eq!(
            checksum(&admin, "stamping", victim).await,
            before,
            "{name}: the victim's rows were changed"
        );
    }
    // Without having entered, on a connection that never did.
    let fresh = siege.house.connect("rh_app", SHARED_DATABASE).await;
    for sql in
        ["SELECT * FROM stamping.stamps", "SELECT * FROM stamping.stamp_notes", "DELETE FROM stamping.notes"]
    {
        assert_eq!(run(&fresh, sql).await.0, NO_CONTEXT, "{sql}");
    }
    for database in ["postgres", "template1"] {
        let refused = crate::house::connect(&siege.house.cell, "rh_app", database).await;
        assert!(refused.is_err(), "rh_app has no business in {database}");
    }
    copies(&siege).await;
    still_served(&siege, 2).await;
}

/// COPY has its own protocol; it shows the attacker's rows.
async fn copies(siege: &Siege) {
    let (ended, _) =
        siege.attack("INSERT INTO stamping.stamps (id, hash) VALUES (gen_random_uuid(), 'own copy')").await;
    assert_eq!(ended, HARMLESS);
    let attacker = &siege.attacker;
    let token = &siege.names.iter().find(|(name, _)| *name == "{token}").expect("minted").1;
    attacker.batch_execute(&format!("BEGIN; SELECT rh.enter('{token}', true)")).await.expect("entered");
    let copied = attacker.copy_out("COPY (SELECT * FROM stamping.stamps) TO STDOUT").await.map(Box::pin);
    let mut copied = copied.expect("one's own rows may be copied");
    let mut bytes = Vec::new();
    while let Some(chunk) = next(&mut copied).await {
        bytes.extend_from_slice(&chunk.expect("copied"));
    }
    let text = String::from_utf8(bytes).expect("text");
    assert!(text.contains("own copy") && !text.contains(MARKER), "{text}");
    attacker.batch_execute("ROLLBACK").await.expect("ended");
}

async fn next(
    stream: &mut std::pin::Pin<Box<tokio_postgres::CopyOutStream>>,
) -> Option<Result<bytes::Bytes, tokio_postgres::Error>> {
    std::future::poll_fn(|context| futures_core::Stream::poll_next(stream.as_mut(), context)).await
}

/// The victim reads, writes and gets new connections, whatever the shared login did to itself.
async fn still_served(siege: &Siege, victim: u128) {
    let login = &siege.house.place(victim).0.login;
    if siege.house.place(victim).0.isolation == Isolation::Shared {
        for setting in OWN_SETTINGS {
            let (ended, seen) = run(&siege.attacker, &format!("ALTER ROLE {login} SET {setting}")).await;
            assert_eq!(ended, HARMLESS, "{setting}: {seen}");
        }
    }
    for databases in [siege.databases.clone(), siege.house.databases().await] {
        let mut transaction = databases.begin(&context(victim), Access::Write).await.expect("begins");
        let row = transaction
            .query_one("SELECT body FROM stamp_notes WHERE id = $1", &[&row_id(victim)])
            .await
            .expect("reads");
        assert_eq!(row.get::<_, String>(0), format!("{MARKER} note"));
        let durable = "SELECT recall('synchronous_commit')";
        let durable = transaction.query_one(durable, &[]).await.expect("asked");
        assert_eq!(durable.get::<_, String>(0), "on");
        transaction
            .execute("UPDATE notes SET body = body WHERE id = $1", &[&row_id(victim)])
            .await
            .expect("writes");
        transaction.commit().await.expect("commits");
    }
    siege.victim.batch_execute("SELECT 1").await.expect("the victim's own session lives");
    let (place, schema, key) = siege.house.place(victim);
    place::verify(&siege.house.cell, place, schema, key).await.expect("a place of the level is still proven");
}

/// As a tenant's own login in a database of many: privileges, not policies, are what stands in the way.
#[rustfmt::skip]
const SCHEMA: &[(&str, &str, &str)] = &[
    ("read one's own", "SELECT * FROM {schema}.stamps", HARMLESS),
    ("read the other schema", "SELECT * FROM {target}.stamps", DENIED),
    ("read its view", "SELECT * FROM {target}.stamp_notes", DENIED),
    ("write the other schema", "DELETE FROM {target}.stamps", DENIED),
    ("probe table", "SELECT * FROM {target}.rh_probe", DENIED),
    ("stolen context", "SELECT set_config('rh.ctx', '{stolen}', true); SELECT * FROM {schema}.stamps", HARMLESS),
    ("stolen context through enter", "SELECT rh.enter('{stolen}', true)", NO_CONTEXT),
    ("a row for the other", "INSERT INTO {schema}.stamps (tenant_id, id, hash) VALUES ('{victim}', gen_random_uuid(), 'x')", "23514"),
    ("give rows away", "UPDATE {schema}.stamps SET tenant_id = '{victim}'", DENIED),
    ("become the other", "SET ROLE {target_login}", DENIED),
    ("become its readers", "SET ROLE {target_login}_r", DENIED),
    ("become one's own writers", "SET ROLE {login}_w; SELECT * FROM {target}.stamps", DENIED),
    ("lend one's group", "GRANT {login}_r TO {target_login}", DENIED),
    ("borrow the other's", "GRANT {target_login}_r TO {login}", DENIED),
    ("the other's attributes", "ALTER ROLE {target_login} NOLOGIN", DENIED),
    ("drop what is owned", "DROP OWNED BY CURRENT_USER", DENIED),
    ("the key", "SELECT * FROM rh.key", DENIED),
    ("the places", "SELECT * FROM rh.place", DENIED),
    ("no check", "ALTER TABLE {schema}.stamps DROP CONSTRAINT rh_tenant", DENIED),
    ("a table", "CREATE TABLE {schema}.mine ()", DENIED),
    ("a temporary table", "CREATE TEMP TABLE mine ()", DENIED),
    ("a block", "DO 'BEGIN END'", DENIED),
    ("truncate", "TRUNCATE {schema}.stamps", DENIED),
    ("an internal table", "SELECT * FROM {schema}.outbox", DENIED),
    ("other sessions' texts", "SELECT * FROM pg_stat_activity", DENIED),
    ("statistics of values", "SELECT * FROM pg_stats", DENIED),
    ("large object", "SELECT lo_from_bytea(0, 'x')", DENIED),
    ("the other's lock", "SELECT pg_advisory_lock(hashtextextended('{victim}', 7240))", DENIED),
    ("end others", "SELECT pg_terminate_backend({pid})", DENIED),
    ("dump as XML", "SELECT schema_to_xml('{target}', true, true, '')", DENIED),
];

#[tokio::test]
async fn no_sql_of_a_tenants_login_reaches_another_tenant() {
    let siege = Siege::lay(House::full().await, 3, 4).await;
    let admin = siege.house.admin("rh_schemas_1").await;
    let (target, schema, _) = siege.house.place(4).clone();
    let before = checksum(&admin, &schema, target.tenant.0).await;
    for (name, sql, expected) in SCHEMA {
        let (ended, seen) = siege.attack(sql).await;
        assert!(!seen.contains(MARKER), "{name}: the marker was seen: {seen}");
        assert_eq!(ended, *expected, "{name}: {seen}");
        assert_eq!(
            checksum(&admin, &schema, target.tenant.0).await,
            before,
            "{name}: the victim's rows were changed"
        );
    }
    let login = siege.house.place(3).0.login.clone();
    for database in ["postgres", SHARED_DATABASE, &siege.house.place(5).0.database] {
        let refused = crate::house::connect(&siege.house.cell, &login, database).await;
        assert!(refused.is_err(), "a schema tenant has no business in {database}");
    }
    still_served(&siege, 4).await;
}

#[tokio::test]
async fn with_a_defence_switched_off_an_attack_succeeds() {
    let siege = Siege::lay(House::shared().await, 1, 2).await;
    let admin = siege.house.admin(SHARED_DATABASE).await;
    let verifier = include_str!("../../src/cell/guard.sql");
    let start = verifier.find("CREATE OR REPLACE FUNCTION rh.tenant").expect("the verifier");
    let verifier = &verifier[start..start + verifier[start..].find("END $$;").expect("its end") + 7];
    let without = |what: &str, instead: &str| {
        assert!(verifier.contains(what), "the verifier says {what}");
        verifier.replace(what, instead)
    };
    let whole_signature = "right(token, 64) = encode(sha256(k.opad || sha256(k.ipad || convert_to(left(token, -65), 'UTF8'))), 'hex')";
    let read = "SELECT * FROM stamping.stamps";
    let with = |name: &str| format!("SELECT set_config('rh.ctx', '{name}', true); {read}");
    let switched = [
        ("signature", without(whole_signature, "true"), with("{altered}")),
        ("backend", without("p[6]::int = pg_backend_pid()", "true"), with("{stolen}")),
        ("expiry", without("p[7]::bigint >= extract(epoch FROM transaction_timestamp())", "true"), with("{expired}")),
        ("policies", "ALTER TABLE stamping.stamps DISABLE ROW LEVEL SECURITY".to_owned(), read.to_owned()),
        (
            "leaves",
            "DO $$ BEGIN FOR i IN 0..3 LOOP EXECUTE format('ALTER TABLE stamping.stamps_p%s DISABLE ROW LEVEL SECURITY', i);
               EXECUTE format('GRANT SELECT ON stamping.stamps_p%s TO rh_app', i); END LOOP; END $$".to_owned(),
            "SELECT * FROM stamping.stamps_p0 UNION ALL SELECT * FROM stamping.stamps_p1 UNION ALL SELECT * FROM stamping.stamps_p2 UNION ALL SELECT * FROM stamping.stamps_p3".to_owned(),
        ),
        (
            "invoker's views under a forced owner",
            "ALTER VIEW stamping.stamp_notes SET (security_invoker = false); ALTER VIEW stamping.stamp_notes OWNER TO postgres".to_owned(),
            "SELECT * FROM stamping.stamp_notes".to_owned(),
        ),
        ("internal tables", "GRANT SELECT ON stamping.outbox TO rh_app".to_owned(), "SELECT * FROM stamping.outbox".to_owned()),
    ];
    for (defence, off, attack) in switched {
        let (_, seen) = siege.attack(&attack).await;
        assert!(!seen.contains(MARKER), "{defence} holds");
        admin.batch_execute(&off).await.expect("switched off");
        let (_, seen) = siege.attack(&attack).await;
        assert!(seen.contains(MARKER), "without {defence}, the suite must see the marker");
        restore(&siege, &admin).await;
        let (_, seen) = siege.attack(&attack).await;
        assert!(!seen.contains(MARKER), "{defence} holds again");
    }
    // The event trigger is a second layer: on a server at the floor DROP OWNED finds nothing that it may revoke.
    admin.batch_execute("DROP EVENT TRIGGER rh_no_ddl").await.expect("switched off");
    assert_eq!(siege.attack("DROP OWNED BY CURRENT_USER").await.0, HARMLESS);
    restore(&siege, &admin).await;
    assert_eq!(siege.attack("DROP OWNED BY CURRENT_USER").await.0, DENIED);
    still_served(&siege, 2).await;
}

/// What an operator would do: prepare and repair.
async fn restore(siege: &Siege, admin: &Client) {
    admin.batch_execute("DO $$ BEGIN EXECUTE format('ALTER VIEW stamping.stamp_notes OWNER TO %I', (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'stamping.stamps'::regclass)); END $$").await.expect("given back");
    cell::prepare(&siege.house.cell).await.expect("prepared");
    cell::prepare_database(&siege.house.cell, SHARED_DATABASE, &key(1)).await.expect("prepared");
    let place = siege.house.place(1).0.clone();
    let schema = place.schema(SERVICE, true);
    tables::repair(&siege.house.cell, &place.target(&schema), &service_tables()).await.expect("repaired");
}
