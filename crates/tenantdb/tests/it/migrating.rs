//! Migrations that are careless or hostile: each is tried on the tables of a service with tenants, and what keeps tenants apart is
//! the same afterwards. Plain statements are refused sooner, when they are read (`firewall::lint`); here everything is hidden
//! where only the server sees it.

use futures_util::StreamExt;
use rowhouse_tenantdb::cell::SHARED_DATABASE;
use rowhouse_tenantdb::copy::{Loading, Snapshot, Table};
use rowhouse_tenantdb::tables::{Migration, ServiceTables, install, repair, try_anew};
use rowhouse_tenantdb::{Access, DatabaseError, Databases, Source, place};

use crate::house::{House, MANIFEST, context, service_tables};

/// A name, the text of the next migration, and what the refusal contains.
#[rustfmt::skip]
const REFUSED: &[(&str, &str, &str)] = &[
    // back to the administrator
    ("reset of the role in a block", "DO $$ BEGIN EXECUTE 'RESET ROLE'; EXECUTE 'ALTER ROLE rh_app SUPERUSER'; END $$", "security-definer function"),
    ("reset of the role in plain sight", "RESET ROLE; ALTER ROLE rh_app SUPERUSER", "security-definer function"),
    ("another role by set_config", "DO $$ BEGIN PERFORM set_config('role', 'none', true); EXECUTE 'ALTER ROLE rh_app BYPASSRLS'; END $$", "security-definer function"),
    ("session authorization", "DO $$ BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXECUTE 'ALTER ROLE rh_app SUPERUSER'; END $$", "security-definer function"),
    ("everything reset", "DO $$ BEGIN EXECUTE 'SET LOCAL ROLE NONE'; EXECUTE 'CREATE ROLE x SUPERUSER LOGIN'; END $$", "security-definer function"),
    ("a function with a role of its own", "CREATE FUNCTION rise() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'RESET ROLE'; EXECUTE 'GRANT rh_owner TO rh_app'; END $$; SELECT rise()", "security-definer function"),
    ("a trigger that waits for the commit", "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE rh_app SUPERUSER; RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER late AFTER INSERT ON countries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late(); INSERT INTO countries VALUES ('XX', 'late')", "must be superuser"),
    ("a trigger that puts itself off again", "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.code = 'X1' THEN SET CONSTRAINTS ALL DEFERRED; INSERT INTO countries VALUES ('X2', 'later'); ELSE ALTER ROLE rh_app SUPERUSER; END IF; RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER later AFTER INSERT ON countries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later(); INSERT INTO countries VALUES ('X1', 'later')", "pending trigger events|must be superuser"),
    ("a trigger that puts itself off for ever", "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SET CONSTRAINTS ALL DEFERRED; INSERT INTO countries VALUES (NEW.code || 'X', 'later'); RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER later AFTER INSERT ON countries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (length(NEW.code) < 20) EXECUTE FUNCTION later(); INSERT INTO countries VALUES ('X', 'later')", "pending trigger events"),
    // out of the transaction
    ("a commit", "UPDATE countries SET name = 'x'; COMMIT; ALTER TABLE stamps NO FORCE ROW LEVEL SECURITY", "ends the transaction"),
    ("a commit in a block", "DO $$ BEGIN UPDATE countries SET name = 'x'; COMMIT; END $$", "ends the transaction"),
    ("a commit in a procedure", "CREATE PROCEDURE gone() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$; CALL gone()", "ends the transaction"),
    ("an index that needs no transaction", "CREATE INDEX CONCURRENTLY ON stamps (tenant_id)", "cannot run inside a transaction block|cannot be executed from a function"),
    // privileges, by what nobody reads before it runs
    ("a grant", "DO $$ BEGIN EXECUTE 'GRANT SELECT ON outbox TO PUBLIC'; END $$", "GRANT is not for migrations"),
    ("a grant that is put together", "DO $$ BEGIN EXECUTE format('%s ALL ON ALL TABLES IN SCHEMA %I TO PUBLIC', 'GR' || 'ANT', current_schema()); END $$", "GRANT is not for migrations"),
    ("a revocation that would hide a function", "CREATE FUNCTION peek() RETURNS SETOF outbox SECURITY DEFINER LANGUAGE sql AS 'SELECT * FROM outbox'; DO $$ BEGIN EXECUTE 'REVOKE EXECUTE ON FUNCTION peek() FROM PUBLIC'; END $$", "REVOKE is not for migrations"),
    ("default privileges", "DO $$ BEGIN EXECUTE 'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC'; END $$", "ALTER DEFAULT PRIVILEGES is not for migrations"),
    ("a membership", "DO $$ BEGIN EXECUTE 'GRANT rh_owner TO rh_app'; END $$", "permission denied|must have admin option"),
    ("a role", "DO $$ BEGIN EXECUTE 'CREATE ROLE x LOGIN'; END $$", "permission denied"),
    ("the shared login's attributes", "DO $$ BEGIN EXECUTE 'ALTER ROLE rh_app BYPASSRLS'; END $$", "must be superuser|permission denied"),
    ("all that is owned", "DO $$ BEGIN EXECUTE 'DROP OWNED BY CURRENT_USER'; END $$", "DROP OWNED is not for migrations"),
    // policies
    ("a policy", "DO $$ BEGIN EXECUTE 'CREATE POLICY open ON stamps USING (true)'; END $$", "CREATE POLICY is not for migrations"),
    ("a policy altered", "DO $$ BEGIN EXECUTE 'ALTER POLICY rh_tenant ON notes USING (true)'; END $$", "ALTER POLICY is not for migrations"),
    ("a policy dropped", "DO $$ BEGIN EXECUTE 'DROP POLICY rh_delete ON notes'; END $$", "DROP POLICY is not for migrations"),
    // what runs as the owner
    ("a definer's function", "DO $$ BEGIN EXECUTE 'CREATE FUNCTION peek() RETURNS SETOF outbox SECURITY DEFINER LANGUAGE sql AS ''SELECT * FROM outbox'''; END $$", "D13"),
    ("a definer's procedure", "DO $$ BEGIN EXECUTE 'CREATE PROCEDURE poke() SECURITY DEFINER LANGUAGE sql AS ''DELETE FROM outbox'''; END $$", "D13"),
    ("a function that becomes a definer's", "DO $$ BEGIN EXECUTE 'ALTER FUNCTION recall(text) SECURITY DEFINER'; END $$", "D13"),
    ("a definer's trigger", "CREATE FUNCTION copy() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$ BEGIN INSERT INTO outbox (body) VALUES (NEW.body); RETURN NEW; END $$; CREATE TRIGGER copy BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION copy()", "D13"),
    ("a rule", "DO $$ BEGIN EXECUTE 'CREATE RULE copy AS ON INSERT TO notes DO ALSO INSERT INTO outbox (body) VALUES (NEW.body)'; END $$", "CREATE RULE is not for migrations"),
    ("a trigger for moves", "CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER seen BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION seen(); ALTER TABLE notes ENABLE ALWAYS TRIGGER seen", "D32"),
    // beyond its own schema
    ("a verifier of its own", "DO $$ BEGIN EXECUTE 'CREATE OR REPLACE FUNCTION rh.tenant(need text) RETURNS uuid LANGUAGE sql AS ''SELECT NULL::uuid'''; END $$", "permission denied for schema rh"),
    ("the way in, altered", "DO $$ BEGIN EXECUTE 'ALTER FUNCTION pg_temp.rh_run(text) SECURITY INVOKER'; END $$", "reaches beyond its own schema"),
    ("the way in, dropped", "DO $$ BEGIN EXECUTE 'DROP FUNCTION pg_temp.rh_run(text)'; END $$", "reaches beyond its own schema|because other objects|being used"),
    ("the way in, made anew", "DO $$ BEGIN EXECUTE 'CREATE OR REPLACE FUNCTION pg_temp.rh_run(sql text) RETURNS void LANGUAGE plpgsql AS ''BEGIN EXECUTE sql; END'''; END $$", "reaches beyond its own schema|permission denied|must be owner"),
    ("the mark that it runs", "DO $$ BEGIN EXECUTE 'DELETE FROM rh.migrating'; END $$", "permission denied for table migrating"),
    ("the record of what is installed", "DO $$ BEGIN EXECUTE 'UPDATE rh.version SET number = 99'; END $$", "permission denied for table version"),
    ("a key of one's own", "DO $$ BEGIN EXECUTE 'INSERT INTO rh.key VALUES (''k9'', ''x'', ''x'')'; END $$", "permission denied for table key"),
    ("another service's table", "DO $$ BEGIN EXECUTE 'ALTER TABLE other.things ADD COLUMN mine text'; END $$", "reaches beyond its own schema|permission denied for schema other"),
    ("another service's table, dropped", "DO $$ BEGIN EXECUTE 'DROP TABLE other.things'; END $$", "reaches beyond its own schema|permission denied for schema other"),
    ("a trigger on another service's table", "CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; DO $$ BEGIN EXECUTE 'CREATE TRIGGER spy BEFORE INSERT ON other.things FOR EACH ROW EXECUTE FUNCTION ' || current_schema() || '.spy()'; END $$", "reaches beyond its own schema|permission denied for schema other"),
    ("a view in another's schema", "DO $$ BEGIN EXECUTE 'CREATE VIEW other.stolen AS SELECT 1 AS one'; END $$", "reaches beyond its own schema|permission denied for schema other"),
    ("a table moved to another's schema", "DO $$ BEGIN EXECUTE 'ALTER TABLE outbox SET SCHEMA other'; END $$", "reaches beyond its own schema|permission denied for schema other"),
    ("another service's rows, read", "DO $$ BEGIN EXECUTE 'INSERT INTO countries SELECT id::text, ''stolen'' FROM other.things'; END $$", "permission denied for schema other"),
    ("another service's rows, changed", "DO $$ BEGIN EXECUTE 'DELETE FROM other.things'; END $$", "permission denied for schema other"),
    ("another service's owner", "DO $$ BEGIN EXECUTE 'SET LOCAL ROLE rh_s_00000000000000ff'; END $$", "security-definer function"),
    ("another service's function", "DO $$ BEGIN EXECUTE 'CREATE FUNCTION other.f() RETURNS int LANGUAGE sql AS ''SELECT 1'''; END $$", "permission denied for schema other"),
    // what the generator calls, when it looks into the checks that are there
    ("a check that grants while it is worked out", "ALTER TABLE notes DROP CONSTRAINT notes_pkey; ALTER TABLE notes ALTER COLUMN tenant_id DROP NOT NULL; CREATE FUNCTION give() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN GRANT SELECT ON stamping.outbox TO rh_app; RETURN true; EXCEPTION WHEN insufficient_privilege THEN RETURN true; END $$; CREATE FUNCTION still(n int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN stamping.give(); END $$; ALTER TABLE notes ADD CONSTRAINT sneaky CHECK (still(1))", "D16"),
    ("a schema", "DO $$ BEGIN EXECUTE 'CREATE SCHEMA hidden'; END $$", "CREATE SCHEMA is not for migrations"),
    ("the own schema dropped", "DO $$ BEGIN EXECUTE format('DROP SCHEMA %I CASCADE', current_schema()); END $$", "DROP SCHEMA is not for migrations"),
    ("an extension", "DO $$ BEGIN EXECUTE 'CREATE EXTENSION dblink'; END $$", "permission denied to create extension"),
    ("a trusted extension that nobody reviewed", "DO $$ BEGIN EXECUTE 'CREATE EXTENSION IF NOT EXISTS tablefunc'; END $$", "permission denied to create extension"),
    ("a foreign server", "DO $$ BEGIN EXECUTE 'CREATE FOREIGN DATA WRAPPER w'; END $$", "CREATE FOREIGN DATA WRAPPER is not for migrations"),
    ("an event trigger", "DO $$ BEGIN EXECUTE 'ALTER EVENT TRIGGER rh_no_ddl DISABLE'; END $$", "must be owner"),
    ("an event trigger, dropped", "DO $$ BEGIN EXECUTE 'DROP EVENT TRIGGER rh_migration_begins'; END $$", "must be owner"),
    ("a publication", "DO $$ BEGIN EXECUTE 'CREATE PUBLICATION p FOR TABLE stamps'; END $$", "CREATE PUBLICATION is not for migrations"),
    ("a program", "DO $$ BEGIN EXECUTE 'COPY countries FROM PROGRAM ''id'''; END $$", "pg_execute_server_program|permission denied"),
    ("a file", "DO $$ BEGIN EXECUTE 'COPY countries TO ''/tmp/rh-x'''; END $$", "pg_write_server_files|permission denied"),
    ("a large object", "DO $$ BEGIN PERFORM lo_from_bytea(0, 'x'); END $$", "permission denied"),
    ("a lock of the platform's", "DO $$ BEGIN PERFORM pg_advisory_lock(7240, 2); END $$", "permission denied"),
    ("a replica's session", "DO $$ BEGIN EXECUTE 'SET LOCAL session_replication_role = replica'; END $$", "permission denied"),
    // shapes that tell of others
    ("a unique value of all tenants", "DO $$ BEGIN EXECUTE 'CREATE UNIQUE INDEX ON notes (body)'; END $$", "D09"),
    ("a unique expression of all tenants", "CREATE UNIQUE INDEX ON notes (lower(body), tenant_id)", "D09"),
    ("an exclusion of all tenants", "ALTER TABLE notes ADD COLUMN at int4range, ADD CONSTRAINT apart EXCLUDE USING gist (at WITH &&)", "D09"),
    ("a key that points with another column", "ALTER TABLE notes ADD COLUMN other uuid, ADD CONSTRAINT askew FOREIGN KEY (other, stamp) REFERENCES stamps (tenant_id, id)", "D10"),
    ("a key that takes tenant_id away", "ALTER TABLE notes ADD COLUMN answers uuid, ADD CONSTRAINT whole FOREIGN KEY (tenant_id, answers) REFERENCES notes (tenant_id, id) ON DELETE SET NULL", "D35"),
    ("a table that a crash empties", "ALTER TABLE notes SET UNLOGGED", "D36"),
    ("a table that nobody declared", "DO $$ BEGIN EXECUTE 'CREATE TABLE loose (id int)'; END $$", "not in the manifest"),
    ("tenant_id of another type", "ALTER TABLE notes DROP CONSTRAINT notes_stamp; ALTER TABLE notes ALTER COLUMN tenant_id TYPE text", "cannot alter type|no column tenant_id|policy"),
    ("a child beside the table", "CREATE TABLE child () INHERITS (notes)", "not in the manifest"),
];

/// Careless, and made safe: a name, the text, a question as the tenant, and whether it is denied (else it shows own rows only).
#[rustfmt::skip]
const MADE_SAFE: &[(&str, &str, &str, bool)] = &[
    ("a view that asks as its owner", "CREATE VIEW all_notes WITH (security_invoker = false) AS SELECT * FROM notes", "SELECT body FROM all_notes", false),
    ("policies switched off", "DO $$ BEGIN EXECUTE 'ALTER TABLE notes DISABLE ROW LEVEL SECURITY'; END $$", "SELECT body FROM notes", false),
    ("policies not forced", "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY", "SELECT body FROM notes", false),
    ("a default that names a tenant", "ALTER TABLE notes ALTER COLUMN tenant_id SET DEFAULT '01900000-0000-7000-8000-000000000002'", "SELECT body FROM notes", false),
    ("a materialised view", "CREATE MATERIALIZED VIEW sums AS SELECT body FROM notes", "SELECT body FROM sums", true),
    ("a view of a materialised view", "CREATE MATERIALIZED VIEW sums2 AS SELECT body FROM notes; CREATE VIEW through AS SELECT body FROM sums2", "SELECT body FROM through", true),
    ("a view of what is internal", "CREATE VIEW inner_view AS SELECT body FROM outbox", "SELECT body FROM inner_view", true),
    ("a path and settings left behind", "SET search_path = pg_temp, public; SET row_security = off; SET standard_conforming_strings = off; SET quote_all_identifiers = on; SET lock_timeout = 0", "SELECT body FROM notes", false),
    ("an operator that says yes", "CREATE FUNCTION yes(uuid, uuid) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'; CREATE OPERATOR = (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = yes); SET search_path = stamping, pg_catalog", "SELECT body FROM notes", false),
    ("a cursor that is kept", "DECLARE kept CURSOR WITH HOLD FOR SELECT * FROM notes", "SELECT body FROM notes", false),
    ("a cheap function that shouts", "CREATE FUNCTION shout(value text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'shouted %', value; END $$", "SELECT body FROM notes WHERE body LIKE 'own%' OR shout(body)", false),
];

async fn house() -> House {
    let house = House::full().await;
    let admin = house.admin(SHARED_DATABASE).await;
    admin
        .batch_execute(
            "CREATE ROLE rh_s_00000000000000ff NOLOGIN; GRANT rh_owner TO rh_s_00000000000000ff; 
             CREATE ROLE rh_mover_128 LOGIN BYPASSRLS IN ROLE rh_mover, rh_s_00000000000000ff;
             CREATE SCHEMA other AUTHORIZATION rh_s_00000000000000ff; SET ROLE rh_s_00000000000000ff;
             CREATE TABLE other.things (id int); INSERT INTO other.things VALUES (1)",
        )
        .await
        .expect("another service's schema");
    house
}

fn next(sql: &str) -> ServiceTables {
    let mut tables = service_tables();
    tables.migrations.push(Migration { number: 2, name: "hostile".to_owned(), sql: sql.to_owned() });
    ServiceTables::parse("stamping", MANIFEST, tables.migrations).expect("well-formed")
}

/// What must be as it was: roles, memberships, privileges, policies, functions, triggers, versions.
async fn standing(house: &House) -> String {
    let admin = house.admin(SHARED_DATABASE).await;
    let sql = "SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
         SELECT format('role %s %s %s %s %s', rolname, rolsuper, rolbypassrls, rolcanlogin, rolcreaterole) AS line FROM pg_roles
   UNION ALL SELECT format('member %s %s', roleid::regrole, member::regrole) FROM pg_auth_members
   UNION ALL SELECT format('relation %s %s %s %s %s', oid::regclass, relowner::regrole, relrowsecurity, relforcerowsecurity, relacl) FROM pg_class WHERE relnamespace::regnamespace::text IN ('stamping', 'other', 'rh')
   UNION ALL SELECT format('policy %s %s %s', polrelid::regclass, polname, pg_get_expr(polqual, polrelid)) FROM pg_policy
   UNION ALL SELECT format('function %s %s %s %s', oid::regprocedure, prosecdef, proacl, md5(prosrc)) FROM pg_proc WHERE pronamespace::regnamespace::text IN ('stamping', 'other', 'rh')
   UNION ALL SELECT format('trigger %s %s', tgrelid::regclass, tgname) FROM pg_trigger WHERE NOT tgisinternal
   UNION ALL SELECT format('event trigger %s %s', evtname, evtenabled) FROM pg_event_trigger
   UNION ALL SELECT format('schema %s', nspname) FROM pg_namespace WHERE nspname !~ '^pg_'
   UNION ALL SELECT format('default %s', defaclacl) FROM pg_default_acl
   UNION ALL SELECT format('country %s', c) FROM stamping.countries c
   UNION ALL SELECT format('version %s %s', schema, number) FROM rh.version
   UNION ALL SELECT format('another service''s %s', t) FROM other.things t
   UNION ALL SELECT format('migrating %s', schema) FROM rh.migrating) s";
    admin.query_one(sql, &[]).await.expect("what stands").get(0)
}

fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        words.push_str(&format!(": {source}"));
        cause = source.source();
    }
    words
}

#[tokio::test]
async fn a_migration_cannot_hide_what_it_must_not_do() {
    let house = house().await;
    let (place, schema, _) = house.place(1);
    let before = standing(&house).await;
    assert!(before.contains("role rh_app f f t f"), "{before}");
    for (name, sql, why) in REFUSED {
        match install(&house.cell, &place.target(schema), &next(sql)).await {
            Ok(_) => panic!("{name}: was let through"),
            Err(refused) => {
                let words = in_words(&refused);
                assert!(why.split('|').any(|why| words.contains(why)), "{name}: {words}");
            }
        }
        let after = standing(&house).await;
        assert_eq!(after, before, "{name}: something stays of it");
    }
    assert!(REFUSED.len() + MADE_SAFE.len() >= 60);
}

/// On the levels above `shared` such a row would stop every tenant that is made later.
#[tokio::test]
async fn rows_of_nobody_are_found_before_the_next_tenant_is_made() {
    let house = house().await;
    let before = standing(&house).await;
    let fills = "INSERT INTO notes (tenant_id, id, stamp, body) SELECT tenant_id, gen_random_uuid(), stamp, body FROM notes";
    try_anew(&house.cell, &next(fills)).await.expect("a new place has no rows to copy");
    let rows = "ALTER TABLE notes DROP CONSTRAINT notes_stamp; INSERT INTO notes (tenant_id, id, stamp, body) \
                VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'nobody''s')";
    let refused = try_anew(&house.cell, &next(rows)).await.expect_err("a row of nobody").to_string();
    assert!(refused.contains("`notes`") && refused.contains("a new tenant begins with none"), "{refused}");
    assert_eq!(standing(&house).await, before, "something stays of what was tried");
}

#[tokio::test]
async fn a_careless_migration_is_made_safe() {
    let house = house().await;
    let databases = house.databases().await;
    for number in [1, 2] {
        let words = if number == 1 { "own row" } else { "VICTIM-MARKER" };
        let mut transaction = databases.begin(&context(number), Access::Write).await.expect("begun");
        let id = uuid::Uuid::from_u128(number);
        transaction
            .execute("INSERT INTO stamps (id, hash) VALUES ($1, $2)", &[&id, &words])
            .await
            .expect("written");
        let note = "INSERT INTO notes (id, stamp, body) VALUES ($1, $1, $2)";
        transaction.execute(note, &[&id, &words]).await.expect("written");
        transaction.commit().await.expect("committed");
    }
    let mut tables = service_tables();
    for (number, (name, sql, question, denied)) in (2..).zip(MADE_SAFE) {
        tables.migrations.push(Migration { number, name: format!("step_{number}"), sql: (*sql).to_owned() });
        let (place, schema, _) = house.place(1);
        install(&house.cell, &place.target(schema), &tables)
            .await
            .unwrap_or_else(|refused| panic!("{name}: {}", in_words(&refused)));
        let functions: Vec<_> = tables.migrations.iter().map(|migration| migration.sql.as_str()).collect();
        let mut plane = house.plane(30);
        plane.functions = rowhouse_firewall::own_functions(functions);
        let databases = Databases::open(Source::Fixed(plane)).await.expect("a fixed plane opens");
        let mut transaction = databases.begin(&context(1), Access::Read).await.expect("begun");
        match (transaction.query(question, &[]).await, denied) {
            (Ok(rows), false) => {
                let seen: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                assert_eq!(seen, ["own row"], "{name}");
            }
            (Err(DatabaseError::Denied(_)), true) => {}
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
}

/// What a server calls of an author's when rows are touched, or when statements on a table are planned. Each tries to become more than
/// it is, and says that all is well.
const TRAPS: &str = "
CREATE TABLE trapped (
  tenant_id uuid DEFAULT rh.stamped(),
  id        uuid NOT NULL,
  body      text NOT NULL,
  CONSTRAINT trapped_pkey UNIQUE (tenant_id, id)
);
CREATE FUNCTION rise(value text) RETURNS text VOLATILE LANGUAGE plpgsql AS $$
DECLARE
  attempt text;
  things  text;
BEGIN
  FOREACH attempt IN ARRAY ARRAY['ALTER ROLE rh_app SUPERUSER', 'RESET ROLE', 'RESET SESSION AUTHORIZATION', 'ALTER ROLE rh_app BYPASSRLS',
                                 'SET ROLE rh_s_00000000000000ff', 'SET ROLE rh_mover_128', 'SET SESSION AUTHORIZATION rh_mover_128',
                                 'SET ROLE rh_migrator', 'SET ROLE rh_guard', 'DELETE FROM other.things',
                                 'GRANT rh_owner TO rh_app', 'CREATE SCHEMA dug', 'DELETE FROM rh.place', 'DELETE FROM rh.key'] LOOP
    BEGIN
      EXECUTE attempt;
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END LOOP;
  BEGIN
    SELECT string_agg(t::text, ',') INTO things FROM other.things t;
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  IF things IS NOT NULL THEN
    RAISE EXCEPTION 'read of another service: %', things;
  END IF;
  RETURN value;
END $$;
CREATE FUNCTION rise_still(value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN stamping_or_own.rise(value); END $$;
CREATE DOMAIN trap AS text CHECK (rise_still(VALUE) IS NOT NULL);
ALTER TABLE trapped ADD COLUMN word trap DEFAULT 'x', ADD COLUMN made text GENERATED ALWAYS AS (rise_still(body)) STORED,
  ADD CONSTRAINT checked CHECK (rise_still(body) IS NOT NULL), ADD CONSTRAINT still CHECK (rise_still('x') IS NOT NULL);
CREATE INDEX trapped_index ON trapped (tenant_id, rise_still(body));
CREATE INDEX trapped_still ON trapped (tenant_id, (body || rise_still('x'))) WHERE rise_still('y') = 'y';
CREATE TYPE bait AS (a text);
ALTER TABLE trapped ADD COLUMN bait bait DEFAULT ROW('x')::bait;
CREATE FUNCTION as_json(value bait) RETURNS json IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN to_json(stamping_or_own.rise((value).a)); END $$;
CREATE CAST (bait AS json) WITH FUNCTION as_json(bait);
CREATE FUNCTION as_words(value trapped) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN stamping_or_own.rise('words'); END $$;
CREATE CAST (trapped AS text) WITH FUNCTION as_words(trapped);
";

/// In `schema`, whose name the functions know: the platform's sessions have no path to it.
fn trapped(schema: &str) -> ServiceTables {
    let manifest = format!("{MANIFEST}[table.trapped]\nkind = \"tenant\"\n");
    let mut migrations = service_tables().migrations;
    let sql = TRAPS.replace("stamping_or_own", schema);
    migrations.push(Migration { number: 2, name: "traps".to_owned(), sql });
    ServiceTables::parse("stamping", &manifest, migrations).expect("well-formed")
}

/// What the platform does with a tenant's rows (reads, copies, measures, searches and erases them) it does as one who could do no more
/// than that, and so does what looks at their tables again.
#[tokio::test]
async fn what_an_author_hides_in_a_table_never_runs_as_the_administrator() {
    let house = house().await;
    for number in [1, 3] {
        let (place, schema, _) = house.place(number);
        let tables = trapped(schema);
        install(&house.cell, &place.target(schema), &tables)
            .await
            .unwrap_or_else(|refused| panic!("{}", in_words(&refused)));
        let before = standing(&house).await;
        assert!(before.contains("role rh_app f f t f"), "{before}");
        let unchanged = async |doing: &str| {
            assert_eq!(standing(&house).await, before, "tenant {number}, after it was {doing}");
        };
        let databases = house.databases().await;
        let mut transaction = databases.begin(&context(number), Access::Write).await.expect("begun");
        let row = "INSERT INTO trapped (id, body) VALUES ($1, 'own')";
        transaction.execute(row, &[&uuid::Uuid::from_u128(number)]).await.expect("written");
        transaction.commit().await.expect("committed");
        unchanged("written").await;

        let snapshot = Snapshot::open(&house.cell, place).await.expect("a snapshot");
        let table = snapshot.tables().find(|table| table.name == "trapped").expect("the table").clone();
        let rows: Vec<_> = snapshot.rows(&table).await.expect("rows").collect().await;
        let json: Vec<_> = snapshot.json(&table).await.expect("rows").collect().await;
        assert!(!rows.is_empty() && json.iter().all(Result::is_ok), "{json:?}");
        let sum = snapshot.sum(&table).await.expect("a sum");
        assert_eq!(sum.rows, 1);
        snapshot.close().await;
        unchanged("read").await;

        let loading = Loading::begin(&house.cell, place).await.expect("begun");
        loading.clear(&table).await.expect("cleared");
        loading.load(&table, futures_util::stream::iter(rows)).await.expect("loaded");
        loading.advance_counters(&table).await.expect("counted");
        assert_eq!(loading.sum(&table).await.expect("a sum"), sum);
        loading.commit().await.expect("committed");
        unchanged("loaded").await;

        if number == 1 {
            assert!(
                tells_with_rights_of_both(&house, place, &table).await,
                "the trap sees what it could reach"
            );
        }

        let gauge = place::Gauge::open(&house.cell, place).await.expect("a gauge");
        let measured = [(schema.clone(), "trapped".to_owned())];
        assert!(gauge.bytes(place, std::slice::from_ref(schema), &measured).await.expect("measured") > 0);
        gauge.close().await;
        unchanged("measured").await;
        repair(&house.cell, &place.target(schema), &tables).await.expect("repaired");
        unchanged("repaired").await;

        let held = place::erase::mark(&house.cell, place, "marker-of-traps").await.expect("marked");
        place::drop(&house.cell, place).await.expect("dropped");
        place::erase::scrub(&house.cell, place, &held).await.expect("scrubbed");
        let searched = place::erase::search(&house.cell, place, "marker-of-traps").await.expect("searched");
        assert_eq!(searched.found, Vec::<String>::new(), "tenant {number}");
        let shared = |all: &str| {
            let own = |line: &&str| !line.contains("t_");
            all.lines().filter(own).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(shared(&standing(&house).await), shared(&before), "tenant {number}: erased");
    }
}

/// Whether reading `table` fails with another service's rows when its mover is given that service's rights, too.
async fn tells_with_rights_of_both(house: &House, place: &place::Place, table: &Table) -> bool {
    let admin = house.admin(SHARED_DATABASE).await;
    let sql = "SELECT m.rolname::text FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_namespace n ON n.nspowner = a.roleid
                WHERE n.nspname = $1 AND m.rolname LIKE 'rh_mover_%'";
    let mover: String = admin.query_one(sql, &[&table.schema]).await.expect("a mover").get(0);
    admin.batch_execute(&format!("GRANT rh_s_00000000000000ff TO {mover}")).await.expect("given");
    let snapshot = Snapshot::open(&house.cell, place).await.expect("a snapshot");
    let said: Vec<String> = match snapshot.json(table).await {
        Ok(rows) => rows.filter_map(async |row| row.err().map(|error| in_words(&error))).collect().await,
        Err(refused) => vec![in_words(&refused)],
    };
    snapshot.close().await;
    admin.batch_execute(&format!("REVOKE rh_s_00000000000000ff FROM {mover}")).await.expect("taken");
    said.iter().any(|words| words.contains("read of another service: (1)"))
}
