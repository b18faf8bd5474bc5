//! What a manifest and migrations become, and what is refused.

use rowhouse_domain::tenancy::Isolation;
use rowhouse_tenantdb::cell::{self, SHARED_DATABASE, SHARED_LOGIN};
use rowhouse_tenantdb::tables::{InstallError, Installed, Migration, ServiceTables, Target, install};

use rowhouse_tenantdb::{Access, DatabaseError, Databases, Source};

use crate::cluster::Cluster;
use crate::house::{House, MANIFEST, context, key, service_tables};

fn migration(number: i32, sql: &str) -> Migration {
    Migration { number, name: format!("step_{number}"), sql: sql.to_owned() }
}

fn target(schema: &str) -> Target<'_> {
    Target {
        database: SHARED_DATABASE,
        schema,
        isolation: Isolation::Shared,
        login: SHARED_LOGIN,
        tenant: None,
    }
}

#[tokio::test]
async fn twice_is_once_newer_numbers_run_and_history_is_fixed() {
    let house = House::full().await;
    let places: Vec<_> = [1, 3, 5].map(|number| house.place(number).clone()).into();
    for (place, schema, _) in &places {
        let target = place.target(schema);
        let again = install(&house.cell, &target, &service_tables()).await.expect("again");
        assert_eq!(again, Installed { version: 1, applied: vec![] });
        let mut newer = service_tables();
        newer.migrations.push(migration(
            2,
            "ALTER TABLE stamps ADD COLUMN label text; CREATE INDEX ON notes (tenant_id, stamp)",
        ));
        let second = install(&house.cell, &target, &newer).await.expect("the second");
        assert_eq!(second, Installed { version: 2, applied: vec![2] });
        let admin = house.admin(&place.database).await;
        let may: bool = admin
            .query_one(
                "SELECT has_column_privilege($1, $2, 'label', 'update')",
                &[&place.login, &format!("{schema}.stamps")],
            )
            .await
            .expect("asked")
            .get(0);
        assert!(may, "the new column is granted on level {}", place.isolation.as_str());
        let older = install(&house.cell, &target, &service_tables()).await.expect_err("behind");
        assert!(matches!(older, InstallError::Ahead { installed: 2, given: 1 }), "{older:?}");
        newer.migrations[0].sql.push(' ');
        let changed = install(&house.cell, &target, &newer).await.expect_err("changed");
        assert!(matches!(changed, InstallError::Changed { number: 1, .. }), "{changed:?}");
    }
}

#[tokio::test]
async fn partitions_keep_keys_indexes_and_references() {
    let house = House::shared().await;
    let admin = house.admin(SHARED_DATABASE).await;
    let rows = admin
        .query(
            "SELECT 'partition ' || count(*) FROM pg_inherits WHERE inhparent = 'stamping.stamps'::regclass
             UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
              WHERE conrelid IN ('stamping.stamps'::regclass, 'stamping.notes'::regclass) AND conparentid = 0 AND contype IN ('p', 'u', 'f')
             UNION ALL SELECT indexname::text FROM pg_indexes WHERE schemaname = 'stamping' AND indexname = 'stamps_size'
             UNION ALL SELECT relname || ' belongs to ' || relowner::regrole FROM pg_class
              WHERE relnamespace = 'stamping'::regnamespace AND relkind IN ('r', 'p') AND pg_get_userbyid(relowner) !~ '^rh_s_'
             ORDER BY 1",
            &[],
        )
        .await
        .expect("read");
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        found,
        [
            "notes_pkey PRIMARY KEY (tenant_id, id)",
            "notes_stamp FOREIGN KEY (tenant_id, stamp) REFERENCES stamping.stamps(tenant_id, id) ON DELETE CASCADE",
            "partition 4",
            "stamps_hash UNIQUE (tenant_id, hash)",
            "stamps_pkey PRIMARY KEY (tenant_id, id)",
            "stamps_size",
        ]
    );
}

#[tokio::test]
async fn what_would_not_keep_tenants_apart_is_refused_and_rolled_back() {
    let cluster = Cluster::start(20);
    let cell = cluster.cell("eu-1");
    cell::prepare(&cell).await.expect("a cell");
    cell::prepare_database(&cell, SHARED_DATABASE, &key(1)).await.expect("shared");
    const ONE: &str = "[table.a]\nkind = \"tenant\"";
    const TWO: &str = "[table.a]\nkind = \"tenant\"\n[table.b]\nkind = \"tenant\"";
    let good = "tenant_id uuid NOT NULL, id uuid, PRIMARY KEY (tenant_id, id)";
    let cases: [(&str, String, &str); 9] = [
        (ONE, format!("CREATE TABLE a ({good}); CREATE TABLE b (id int)"), "Undeclared"),
        (TWO, format!("CREATE TABLE a ({good})"), "Missing"),
        (ONE, "CREATE TABLE a (id uuid PRIMARY KEY)".to_owned(), "NoTenantId"),
        (ONE, "CREATE TABLE a (tenant_id uuid, id uuid PRIMARY KEY)".to_owned(), "D09"),
        (ONE, format!("CREATE TABLE a ({good}, email text UNIQUE)"), "D09"),
        (
            TWO,
            format!(
                "CREATE TABLE a ({good}, UNIQUE (tenant_id, id)); CREATE UNIQUE INDEX a_id ON a (id); CREATE TABLE b ({good}, a uuid REFERENCES a (id))"
            ),
            "D10",
        ),
        (
            ONE,
            format!(
                "CREATE TABLE a ({good}); CREATE FUNCTION f() RETURNS int SECURITY DEFINER LANGUAGE sql AS 'SELECT 1'"
            ),
            "D13",
        ),
        (
            ONE,
            format!("CREATE TABLE a ({good}); CREATE POLICY open ON a USING (true)"),
            "CREATE POLICY is not for migrations",
        ),
        (ONE, "CREATE TABLE a (nonsense".to_owned(), "Migration"),
    ];
    for (number, (manifest, sql, why)) in cases.iter().enumerate() {
        let schema = format!("s{number}");
        let tables = ServiceTables::parse(&schema, manifest, vec![migration(1, sql)]).expect("well-formed");
        let refused = install(&cell, &target(&schema), &tables).await.expect_err(sql);
        assert!(format!("{refused:?}").contains(why), "{sql}: {refused:?}");
        let admin = crate::house::connect(&cell, "postgres", SHARED_DATABASE).await.expect("a connection");
        let left: i64 = admin
            .query_one("SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = $1) + (SELECT count(*) FROM rh.installed)", &[&schema])
            .await
            .expect("counted")
            .get(0);
        assert_eq!(left, 0, "{sql}");
    }
}

#[tokio::test]
async fn a_schema_belongs_to_one_service_and_a_level_to_its_kind_of_tenant() {
    let house = House::full().await;
    let other = ServiceTables::parse("other", MANIFEST, service_tables().migrations).expect("well-formed");
    let taken = install(&house.cell, &target("stamping"), &other).await.expect_err("taken");
    assert!(matches!(taken, InstallError::Taken(_)), "{taken:?}");
    let (place, schema, _) = house.place(3);
    let mut mixed = place.target(schema);
    mixed.tenant = None;
    assert!(matches!(install(&house.cell, &mixed, &other).await, Err(InstallError::Level("schema"))));
    let leaving = ServiceTables::parse("s", "", vec![migration(1, "COMMIT; BEGIN")]).expect("well-formed");
    let ended = install(&house.cell, &target("s"), &leaving).await.expect_err("left the transaction");
    assert!(matches!(ended, InstallError::EndedTransaction { number: 1 }), "{ended:?}");
}

#[tokio::test]
async fn a_backfill_reaches_all_tenants_and_they_are_apart_again_afterwards() {
    let house = House::full().await;
    let databases = house.databases().await;
    for number in [1, 2, 3, 5] {
        let mut transaction = databases.begin(&context(number), Access::Write).await.expect("begun");
        let sql = "INSERT INTO stamps (id, hash) VALUES ($1, $2)";
        let id = uuid::Uuid::from_u128(number);
        transaction.execute(sql, &[&id, &format!("hash of {number}")]).await.expect("inserted");
        transaction.commit().await.expect("committed");
    }
    let mut newer = service_tables();
    newer.migrations.push(migration(2, "ALTER TABLE stamps ADD COLUMN label text"));
    newer.migrations.push(migration(
        3,
        "UPDATE stamps SET label = 'label of ' || hash; ALTER TABLE stamps ALTER COLUMN label SET NOT NULL;
         INSERT INTO notes (tenant_id, id, stamp, body) SELECT tenant_id, id, id, label FROM stamps",
    ));
    for number in [1, 3, 4, 5] {
        let (place, schema, _) = house.place(number);
        let done = install(&house.cell, &place.target(schema), &newer).await.expect("installed");
        assert_eq!(done, Installed { version: 3, applied: vec![2, 3] });
    }
    for number in [1, 2, 3, 5] {
        let mut transaction = databases.begin(&context(number), Access::Read).await.expect("begun");
        for sql in ["SELECT label FROM stamps", "SELECT body FROM notes"] {
            let rows = transaction.query(sql, &[]).await.expect("read");
            let labels: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            assert_eq!(labels, [format!("label of hash of {number}")], "{sql}");
        }
        transaction.commit().await.expect("committed");
    }
    let findings =
        rowhouse_tenantdb::doctor::check(&house.cell, SHARED_DATABASE, &[]).await.expect("examined");
    assert!(findings.iter().all(|finding| finding.code > "D19"), "{findings:?}");
}

#[tokio::test]
async fn triggers_and_names_of_constraints_are_the_same_on_all_levels() {
    let house = House::full().await;
    let mut newer = service_tables();
    newer.migrations[0].sql.push_str(
        "CREATE TABLE orders (tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL, parent uuid, touched int NOT NULL DEFAULT 0,
           code text NOT NULL, CONSTRAINT orders_pkey PRIMARY KEY (tenant_id, id),
           CONSTRAINT orders_parent_fkey FOREIGN KEY (tenant_id, parent) REFERENCES orders (tenant_id, id),
           CONSTRAINT orders_code_key UNIQUE (tenant_id, code));
         CREATE UNIQUE INDEX orders_parentless_key ON orders (tenant_id, touched) WHERE parent IS NULL AND touched > 1;
         CREATE TABLE lines (tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL, order_id uuid NOT NULL,
           PRIMARY KEY (tenant_id, id),
           CONSTRAINT lines_order_fkey FOREIGN KEY (tenant_id, order_id) REFERENCES orders (tenant_id, id));
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := NEW.touched + 1; RETURN NEW; END $$;
         CREATE EXTENSION IF NOT EXISTS btree_gist; CREATE EXTENSION IF NOT EXISTS citext;
         CREATE FUNCTION coded(text) RETURNS SETOF orders LANGUAGE sql AS 'SELECT * FROM orders WHERE code::citext = $1::citext';
         CREATE VIEW coded_a AS SELECT id FROM coded('A');
         ALTER TABLE lines ADD COLUMN at int4range, ADD CONSTRAINT apart EXCLUDE USING gist (tenant_id WITH =, order_id WITH =, at WITH &&);
         CREATE TRIGGER orders_touch BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();",
    );
    let manifest = format!(
        "{MANIFEST}[table.orders]\nkind = \"tenant\"\npartitions = 4\n[table.lines]\nkind = \"tenant\"\n"
    );
    let tables = ServiceTables::parse("shop", &manifest, newer.migrations).expect("well-formed");
    let mut plane = house.plane(30);
    plane.service = "shop".to_owned();
    plane.functions = rowhouse_firewall::own_functions(tables.migrations.iter().map(|own| own.sql.as_str()));
    for number in [1, 3, 5] {
        let (place, ..) = house.place(number);
        let schema = place.schema("shop", false);
        install(&house.cell, &place.target(&schema), &tables).await.expect("installed");
        plane.places.get_mut(&place.tenant).expect("a place").schema = schema;
    }
    let databases = Databases::open(Source::Fixed(plane)).await.expect("a fixed plane opens");
    for number in [1, 3, 5] {
        let insert = async |id: u128, code: &str, parent: Option<u128>, touched: i32| {
            let mut transaction = databases.begin(&context(number), Access::Write).await.expect("begun");
            let sql =
                "INSERT INTO orders (id, code, parent, touched) VALUES ($1, $2, $3, $4) RETURNING touched";
            let (id, parent) = (uuid::Uuid::from_u128(id), parent.map(uuid::Uuid::from_u128));
            let row = transaction.query_one(sql, &[&id, &code, &parent, &touched]).await?;
            transaction.commit().await.expect("committed");
            Ok::<i32, DatabaseError>(row.get(0))
        };
        assert_eq!(insert(1, "a", None, 0).await.expect("inserted"), 1, "the trigger ran");
        assert_eq!(insert(2, "b", Some(1), 0).await.expect("inserted"), 1);
        assert_eq!(insert(3, "c", None, 4).await.expect("inserted"), 5);
        let mut transaction = databases.begin(&context(number), Access::Read).await.expect("begun");
        let sql = "SELECT c.id FROM coded('A') c JOIN coded_a USING (id)";
        assert_eq!(transaction.query(sql, &[]).await.expect("a function of rows").len(), 1);
        transaction.commit().await.expect("committed");
        for (id, code, parent, touched, name) in [
            (1, "x", None, 0, "orders_pkey"),
            (9, "a", None, 0, "orders_code_key"),
            (9, "x", Some(77), 0, "orders_parent_fkey"),
            (9, "x", None, 4, "orders_parentless_key"),
        ] {
            match insert(id, code, parent, touched).await {
                Err(DatabaseError::Constraint { constraint: Some(found), .. }) => {
                    assert_eq!(found, name, "tenant {number}");
                }
                other => panic!("{name}, tenant {number}: {other:?}"),
            }
        }
    }
}
