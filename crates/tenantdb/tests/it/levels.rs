//! The same service code on all four levels: it works, and each tenant sees its own rows.

use rowhouse_domain::tenancy::Isolation;
use rowhouse_tenantdb::cell::{self, SHARED_DATABASE};
use rowhouse_tenantdb::plane::PlaneCell;
use rowhouse_tenantdb::tables;
use rowhouse_tenantdb::{Access, DatabaseError, Databases, Place, Source, TenantTransaction, doctor, place};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::house::{House, SERVICE, context, key, service_tables, tenant};

async fn stamp(databases: &Databases, number: u128, hash: &str) -> Result<Uuid, DatabaseError> {
    let mut transaction = databases.begin(&context(number), Access::Write).await?;
    let id = Uuid::from_u128(number << 64 | u128::from(hash.len() as u64));
    transaction.execute("INSERT INTO stamps (id, hash) VALUES ($1, $2)", &[&id, &hash]).await?;
    transaction
        .execute(
            "INSERT INTO notes (id, stamp, body) VALUES ($1, $1, $2)",
            &[&id, &format!("note on {hash}")],
        )
        .await?;
    transaction.commit().await?;
    Ok(id)
}

async fn hashes(transaction: &mut TenantTransaction) -> Vec<String> {
    let rows = transaction.query("SELECT hash FROM stamps ORDER BY hash", &[]).await.expect("a query");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn all_four_levels_serve_the_same_code_and_keep_tenants_apart() {
    let house = House::full().await;
    let own = Cluster::start(20);
    let instance = own.cell("t-6");
    let six = Place::new(tenant(6), Isolation::Instance, [6; 8]);
    cell::prepare(&instance).await.expect("a cell of its own");
    place::create(&instance, &six, &key(6)).await.expect("a place");
    let schema = six.schema(SERVICE, true);
    tables::install(&instance, &six.target(&schema), &service_tables()).await.expect("tables");
    let mut plane = house.plane(30);
    let (host, port) = (instance.host.clone(), instance.port);
    plane.cells.insert("t-6".to_owned(), PlaneCell { host, port, connections: 5, strict: false });
    let mut databases_of_plane = plane.databases[0].clone();
    databases_of_plane.cell = "t-6".to_owned();
    databases_of_plane.database = six.database.clone();
    databases_of_plane.key = key(6);
    plane.databases.push(databases_of_plane);
    let mut entry = plane.places[&tenant(5)].clone();
    (entry.cell, entry.database, entry.login) = ("t-6".to_owned(), six.database.clone(), six.login.clone());
    entry.isolation = Isolation::Instance;
    plane.places.insert(tenant(6), entry);
    let databases = Databases::open(Source::Fixed(plane)).await.expect("opens");

    for number in 1..=6 {
        stamp(&databases, number, &format!("hash of {number}")).await.expect("written");
    }
    for number in 1..=6 {
        let mut reading = databases.begin(&context(number), Access::Read).await.expect("begins");
        assert_eq!(hashes(&mut reading).await, [format!("hash of {number}")]);
        let note = reading.query_one("SELECT body FROM stamp_notes", &[]).await.expect("through the view");
        assert_eq!(note.get::<_, String>(0), format!("note on hash of {number}"));
        let country = reading.query_one("SELECT name FROM countries", &[]).await.expect("reference");
        assert_eq!(country.get::<_, String>(0), "Netherlands");
        assert!(matches!(reading.query("SELECT * FROM outbox", &[]).await, Err(DatabaseError::Denied(_))));
        reading.rollback().await.expect("ends");
    }
    for (place, schema, key) in &house.places {
        let verified = place::verify(&house.cell, place, schema, key).await.expect("fit for use");
        assert_eq!(verified.refused.len(), 8);
    }
    place::verify(&instance, &six, &schema, &key(6)).await.expect("fit for use");
}

#[tokio::test]
async fn the_doctor_is_silent_on_what_was_generated() {
    let house = House::full().await;
    let expected = known(&house.admin("postgres").await).await;
    for (place, ..) in &house.places {
        let findings = doctor::check(&house.cell, &place.database, &[]).await.expect("examined");
        let mut codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
        codes.dedup();
        assert_eq!(codes, expected, "{}: {findings:?}", place.database);
    }
}

/// What is wrong with the tests' server itself: it does without fsync, is small, and may be an old one.
async fn known(admin: &tokio_postgres::Client) -> Vec<&'static str> {
    let number: String = admin.query_one("SHOW server_version_num", &[]).await.expect("a version").get(0);
    let number: u32 = number.parse().expect("a number");
    let floors = [150_020, 160_016, 170_012, 180_007];
    let below = floors.iter().any(|floor| floor / 10_000 == number / 10_000 && number < *floor);
    if below { vec!["D23", "D24", "D25"] } else { vec!["D24", "D25"] }
}

#[tokio::test]
async fn the_doctor_sees_what_is_planted() {
    let house = House::shared().await;
    let admin = house.admin(SHARED_DATABASE).await;
    let planted = [
        ("CREATE TABLE stamping.d01 (id int)", "D01"),
        (
            "ALTER TABLE stamping.notes DROP CONSTRAINT notes_pkey; ALTER TABLE stamping.notes ALTER COLUMN tenant_id DROP NOT NULL",
            "D02",
        ),
        ("ALTER TABLE stamping.notes DISABLE ROW LEVEL SECURITY", "D03"),
        ("ALTER TABLE stamping.notes NO FORCE ROW LEVEL SECURITY", "D04"),
        ("DROP POLICY rh_tenant ON stamping.notes", "D05"),
        ("CREATE POLICY p ON stamping.notes AS RESTRICTIVE TO rh_app USING (true)", "D06"),
        ("CREATE POLICY p ON stamping.notes USING (true)", "D07"),
        (
            "CREATE FUNCTION stamping.i() RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'; CREATE POLICY p ON stamping.notes AS RESTRICTIVE USING (stamping.i())",
            "D08",
        ),
        ("ALTER TABLE stamping.notes ADD UNIQUE (body)", "D09"),
        ("CREATE UNIQUE INDEX u ON stamping.notes (body)", "D09"),
        ("GRANT SELECT ON stamping.stamps_p0 TO rh_app", "D11"),
        ("ALTER TABLE stamping.stamps_p0 NO FORCE ROW LEVEL SECURITY", "D11"),
        ("ALTER VIEW stamping.stamp_notes SET (security_invoker = false)", "D12"),
        ("CREATE MATERIALIZED VIEW stamping.m AS SELECT 1; GRANT SELECT ON stamping.m TO rh_app", "D13"),
        ("CREATE FUNCTION stamping.f() RETURNS int SECURITY DEFINER LANGUAGE sql AS 'SELECT 1'", "D13"),
        ("CREATE POLICY p ON stamping.notes AS RESTRICTIVE USING (tenant_id = rh.tenant('r'))", "D14"),
        ("ALTER ROLE rh_app BYPASSRLS", "D15"),
        ("GRANT rh_owner TO rh_app", "D15"),
        ("GRANT TRUNCATE ON stamping.notes TO rh_app", "D16"),
        ("GRANT UPDATE (tenant_id) ON stamping.notes TO rh_app", "D16"),
        ("GRANT INSERT ON stamping.countries TO rh_app", "D16"),
        ("GRANT TEMP ON DATABASE rh_shared TO rh_app", "D17"),
        ("ALTER ROLE rh_app SET default_transaction_read_only = on", "D18"),
        ("GRANT USAGE ON SEQUENCE stamping.outbox_id_seq TO rh_app", "D19"),
        ("GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO rh_app", "D19"),
        ("GRANT CONNECT ON DATABASE postgres TO PUBLIC", "D20"),
        ("CREATE PUBLICATION p FOR TABLE stamping.notes", "D21"),
        ("DROP EVENT TRIGGER rh_no_ddl", "D22"),
    ];
    for (sql, code) in planted {
        // The catalog is read in the same transaction, which is rolled back: plants do not add up.
        let seen = doctor_within(&admin, sql).await;
        assert!(seen.contains(&code.to_owned()), "{sql}: expected {code}, seen {seen:?}");
    }
    assert_eq!(doctor_within(&admin, "SELECT 1").await, known(&admin).await);
    // While it is being dropped, a database lets nobody in, whatever its rights say.
    let dropping = "SET LOCAL allow_system_table_mods = on; GRANT CONNECT ON DATABASE postgres TO PUBLIC; \
                    UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'postgres'";
    assert_eq!(doctor_within(&admin, dropping).await, known(&admin).await);
}

/// The doctor's own queries inside a transaction of ours.
async fn doctor_within(admin: &tokio_postgres::Client, sql: &str) -> Vec<String> {
    admin
        .batch_execute(&format!("BEGIN; SET LOCAL client_min_messages = error; {sql}"))
        .await
        .expect("planted");
    let mut codes = Vec::new();
    let tables = include_str!("../../src/doctor/tables.sql");
    let login = include_str!("../../src/doctor/login.sql");
    let database = include_str!("../../src/doctor/database.sql");
    let server = include_str!("../../src/doctor/server.sql");
    let nobody: Option<Uuid> = None;
    for rows in [
        admin.query(tables, &[&"stamping", &"rh_app", &true, &nobody]).await.expect("tables"),
        admin.query(login, &[&"rh_app"]).await.expect("login"),
        admin.query(database, &[&200_000i64, &Vec::<String>::new()]).await.expect("database"),
        admin.query(server, &[&100i32]).await.expect("server"),
    ] {
        codes.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    admin.batch_execute("ROLLBACK").await.expect("uprooted");
    codes.dedup();
    codes
}
