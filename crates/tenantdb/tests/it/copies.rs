//! Copies of a tenant with two services: one instant of both, though each is read and written by a login of its own.

use futures_util::StreamExt;
use rowhouse_tenantdb::copy::{Loading, Snapshot, Table};
use rowhouse_tenantdb::place;
use rowhouse_tenantdb::tables::{Migration, ServiceTables, install};

use crate::house::{House, tenant};

/// A service whose `parts` belong to what `stamping` has.
fn other() -> ServiceTables {
    let sql = "CREATE TABLE parts (tenant_id uuid NOT NULL DEFAULT rh.stamped(), id int GENERATED ALWAYS AS IDENTITY, of text NOT NULL, PRIMARY KEY (tenant_id, id))";
    let first = Migration { number: 1, name: "parts".to_owned(), sql: sql.to_owned() };
    ServiceTables::parse("other", "[table.parts]\nkind = \"tenant\"\n", vec![first]).expect("a manifest")
}

/// One row more in each service, in one transaction.
async fn write(house: &House, number: u128, name: &str) {
    let (place, schema, _) = house.place(number);
    let other = place.schema("other", false);
    let id = tenant(number).0;
    let sql = format!(
        "BEGIN; INSERT INTO {schema}.stamps (tenant_id, id, hash) VALUES ('{id}', gen_random_uuid(), '{name}');
         INSERT INTO {other}.parts (tenant_id, of) VALUES ('{id}', '{name}'); COMMIT"
    );
    house.admin(&place.database).await.batch_execute(&sql).await.expect("written");
}

async fn all(snapshot: &Snapshot) -> Vec<(Table, Vec<bytes::Bytes>)> {
    let mut tables = Vec::new();
    for table in snapshot.tables().cloned().collect::<Vec<_>>() {
        let rows = snapshot.rows(&table).await.expect("rows");
        tables.push((table, rows.map(|piece| piece.expect("a piece")).collect().await));
    }
    tables
}

#[tokio::test]
async fn a_tenants_services_are_read_at_one_instant_and_loaded_by_the_login_of_each() {
    let house = House::full().await;
    for number in [1, 3, 5] {
        let (place, ..) = house.place(number);
        let schema = place.schema("other", false);
        install(&house.cell, &place.target(&schema), &other()).await.expect("a second service");
        write(&house, number, "before").await;
        let snapshot = Snapshot::open(&house.cell, place).await.expect("a snapshot");
        write(&house, number, "after").await;
        let services: Vec<&str> = snapshot.services().iter().map(|shape| shape.service.as_str()).collect();
        assert_eq!(services, ["other", "stamping"]);
        let rows = all(&snapshot).await;
        let mut sums = Vec::new();
        for (table, pieces) in &rows {
            let sum = snapshot.sum(table).await.expect("a sum");
            let words = String::from_utf8(pieces.concat()).expect("text");
            assert_eq!(sum.rows, words.lines().count() as i64);
            assert!(!words.contains("after"), "tenant {number}, {}: {words}", table.name);
            sums.push((table.name.clone(), sum));
        }
        let counted: Vec<(&str, i64)> = sums.iter().map(|(name, sum)| (name.as_str(), sum.rows)).collect();
        assert_eq!(counted, [("parts", 1), ("notes", 0), ("stamps", 1)], "tenant {number}");
        snapshot.close().await;

        // Given up half-way nothing is changed; loaded whole it is as it was.
        let given_up = Loading::begin(&house.cell, place).await.expect("begun");
        for (table, _) in &rows {
            given_up.clear(table).await.expect("cleared");
        }
        drop(given_up);
        let loading = Loading::begin(&house.cell, place).await.expect("begun");
        for ((table, pieces), (_, sum)) in rows.into_iter().zip(&sums) {
            let there = loading.sum(&table).await.expect("a sum");
            assert_eq!(
                there.rows,
                if table.name == "notes" { 0 } else { 2 },
                "tenant {number}, {}",
                table.name
            );
            loading.clear(&table).await.expect("cleared");
            let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
            loading.load(&table, pieces).await.expect("loaded");
            loading.advance_counters(&table).await.expect("advanced");
            assert_eq!(&loading.sum(&table).await.expect("a sum"), sum, "tenant {number}, {}", table.name);
        }
        loading.commit().await.expect("committed");
        write(&house, number, "later").await;
    }
    let admin = house.admin("postgres").await;
    let sql = "SELECT string_agg(m.rolname || ' ' || (SELECT count(*) FROM pg_auth_members a JOIN pg_roles o ON o.oid = a.roleid
                 WHERE a.member = m.oid AND o.rolname LIKE 'rh_s_%'), ', ' ORDER BY 1) FROM pg_roles m WHERE m.rolname ~ '^rh_mover_'";
    let movers: String = admin.query_one(sql, &[]).await.expect("movers").get(0);
    assert_eq!(movers, "rh_mover_1 1, rh_mover_2 1", "one for each service, a member of one owner");
    // The erasure of the one is the work of both.
    let (place, ..) = house.place(1);
    place::drop(&house.cell, place).await.expect("dropped");
    let left = format!(
        "SELECT (SELECT count(*) FROM stamping.stamps WHERE tenant_id = '{0}') + (SELECT count(*) FROM other.parts WHERE tenant_id = '{0}')",
        tenant(1).0
    );
    let left: i64 = house.admin(&place.database).await.query_one(&left, &[]).await.expect("counted").get(0);
    assert_eq!(left, 0);
}
