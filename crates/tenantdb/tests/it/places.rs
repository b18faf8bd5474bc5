//! Making, closing and dropping places: twice is once, and nothing remains.

use std::path::Path;
use std::time::Duration;

use rowhouse_domain::tenancy::Isolation;
use rowhouse_tenantdb::cell::stock::{self, Filled};
use rowhouse_tenantdb::cell::{self, SHARED_DATABASE};
use rowhouse_tenantdb::place::{self, PlaceError};
use rowhouse_tenantdb::{Access, DatabaseError, Databases, Place, Rights, Source, TokenClaims, tables};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::house::{House, SERVICE, context, key, service_tables, tenant};

/// Everything of a cluster that places leave behind: roles, databases, schemas, rows.
async fn inventory(house: &House) -> Vec<String> {
    let mut found = Vec::new();
    for (database, sql) in [
        (
            "postgres",
            "SELECT 'role ' || rolname FROM pg_roles UNION ALL SELECT 'database ' || datname FROM pg_database",
        ),
        (
            "rh_schemas_1",
            "SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_' UNION ALL SELECT 'place ' || tenant FROM rh.place UNION ALL SELECT 'installed ' || schema FROM rh.installed",
        ),
        (
            "rh_shared",
            "SELECT 'shared place ' || tenant FROM rh.place UNION ALL SELECT 'stamp of ' || tenant_id FROM stamping.stamps UNION ALL SELECT 'note of ' || tenant_id FROM stamping.notes",
        ),
    ] {
        let admin = house.admin(database).await;
        let rows =
            admin.query(&format!("SELECT * FROM ({sql}) x ORDER BY 1"), &[]).await.expect("an inventory");
        found.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    found
}

#[tokio::test]
async fn create_install_and_drop_twice_are_once_and_leave_nothing() {
    let mut house = House::full().await;
    let before = inventory(&house).await;
    let new = [
        Place::new(tenant(11), Isolation::Shared, [11; 8]),
        Place::new(tenant(12), Isolation::Schema, [12; 8]),
        Place::new(tenant(13), Isolation::Database, [13; 8]),
    ];
    let keys = [key(1), key(2), key(13)];
    for (place, key) in new.iter().zip(&keys) {
        for _ in 0..2 {
            place::create(&house.cell, place, key).await.expect("a place");
            let schema = place.schema(SERVICE, true);
            tables::install(&house.cell, &place.target(&schema), &service_tables()).await.expect("tables");
        }
        house.places.push((place.clone(), place.schema(SERVICE, true), key.clone()));
    }
    let databases = house.databases().await;
    for number in [1, 11, 12, 13] {
        write(&databases, number).await.expect("written");
    }
    assert_ne!(inventory(&house).await, before);
    for place in new.iter().chain(&new) {
        place::drop(&house.cell, place).await.expect("dropped");
    }
    let one = tenant(1).0;
    let mut expected = before;
    expected.extend([format!("note of {one}"), format!("stamp of {one}")]);
    let mut after = inventory(&house).await;
    after.sort();
    expected.sort();
    assert_eq!(after, expected, "tenant 1 keeps its rows, nothing else remains");
    for number in [11, 12, 13] {
        let refused = write(&databases, number).await.expect_err("no place");
        assert!(
            matches!(refused, DatabaseError::Moved | DatabaseError::Unavailable(_)),
            "{number}: {refused:?}"
        );
    }
    write(&databases, 2).await.expect("others are served");
}

#[tokio::test]
async fn each_step_can_be_cut_short_and_done_again() {
    let house = House::full().await;
    let place = Place::new(tenant(20), Isolation::Database, [20; 8]);
    let admin = house.admin("postgres").await;
    // What a crash leaves: a login alone; a database that was born closed; a schema without tables.
    let login = place.login.clone();
    admin
        .batch_execute(&format!("CREATE DATABASE {login} CONNECTION LIMIT 0 TEMPLATE template0"))
        .await
        .expect("made");
    place::create(&house.cell, &place, &key(20)).await.expect("finished");
    let schema = place.schema(SERVICE, true);
    tables::install(&house.cell, &place.target(&schema), &service_tables()).await.expect("tables");
    place::verify(&house.cell, &place, &schema, &key(20)).await.expect("fit for use");
    let dropped = admin.batch_execute(&format!("DROP DATABASE {login} WITH (FORCE)")).await;
    dropped.expect("half of an undo, which ends the connections that are kept, too");
    place::drop(&house.cell, &place).await.expect("the other half");
    let left =
        admin.query("SELECT FROM pg_roles WHERE starts_with(rolname, $1)", &[&login]).await.expect("asked");
    assert!(left.is_empty());
}

/// Whether everybody may call what nobody may, in each of these databases.
async fn may_sleep(house: &House, databases: &[&str]) -> Vec<bool> {
    let sql = "SELECT has_function_privilege('public', 'pg_sleep(double precision)', 'execute')";
    let mut all = Vec::new();
    for database in databases {
        let row = house.admin(database).await.query_one(sql, &[]).await.expect("asked");
        all.push(row.get(0));
    }
    all
}

#[tokio::test]
async fn a_template_is_nobodys_to_enter_and_one_that_was_changed_is_not_used() {
    let house = House::full().await;
    let admin = house.admin("postgres").await;
    let templates = "SELECT datname::text, datallowconn, has_database_privilege('public', oid, 'connect')
                       FROM pg_database WHERE starts_with(datname::text, 'rh_template_')";
    let own = |number: u8| Place::new(tenant(u128::from(number)), Isolation::Database, [number; 8]);
    let places = [own(40), own(41), own(42)];
    place::create(&house.cell, &places[0], &key(40)).await.expect("made from the template");
    let rows = admin.query(templates, &[]).await.expect("asked");
    assert_eq!(rows.len(), 1);
    let template: String = rows[0].get(0);
    assert!(!rows[0].get::<_, bool>(1) && !rows[0].get::<_, bool>(2), "nobody connects to it");
    let opened = format!("ALTER DATABASE {template} ALLOW_CONNECTIONS true");
    admin.batch_execute(&opened).await.expect("the operator may do anything");
    let inside = house.admin(&template).await;
    let change = "GRANT EXECUTE ON FUNCTION pg_sleep(double precision) TO PUBLIC";
    inside.batch_execute(change).await.expect("changed");
    drop(inside);
    let closed = format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false");
    admin.batch_execute(&closed).await.expect("as if nothing had been");
    place::create(&house.cell, &places[1], &key(41)).await.expect("made, but not from that one");
    place::create(&house.cell, &places[2], &key(42)).await.expect("made from a new one");
    let databases: Vec<&str> = places.iter().map(|place| place.database.as_str()).collect();
    assert_eq!(may_sleep(&house, &databases).await, [false; 3]);
    assert_eq!(admin.query(templates, &[]).await.expect("asked").len(), 1);
    for (place, key) in places.iter().zip([key(40), key(41), key(42)]) {
        let schema = place.schema(SERVICE, true);
        tables::install(&house.cell, &place.target(&schema), &service_tables()).await.expect("tables");
        place::verify(&house.cell, place, &schema, &key).await.expect("fit for use");
        place::create(&house.cell, place, &key).await.expect("twice is once");
        let findings = rowhouse_tenantdb::doctor::check(&house.cell, &place.database, &[]).await;
        let of_place = |code: &str| !matches!(code, "D23" | "D24" | "D25");
        let found = findings.expect("examined").into_iter().filter(|finding| of_place(finding.code));
        assert_eq!(found.collect::<Vec<_>>(), []);
    }
}

/// Number, whether anybody can connect, and whether everybody may, of what lies in stock.
async fn in_stock(house: &House) -> Vec<(u32, bool, bool)> {
    let sql = "SELECT oid, datallowconn, has_database_privilege('public', oid, 'connect')
                 FROM pg_database WHERE starts_with(datname::text, 'rh_stock_')";
    let rows = house.admin("postgres").await.query(sql, &[]).await.expect("asked");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

async fn number_of(house: &House, database: &str) -> u32 {
    let sql = "SELECT oid FROM pg_database WHERE datname = $1";
    house.admin("postgres").await.query_one(sql, &[&database]).await.expect("there").get(0)
}

async fn make_whole(house: &House, place: &Place, number: u8) {
    place::create(&house.cell, place, &key(number)).await.expect("made");
    let schema = place.schema(SERVICE, true);
    tables::install(&house.cell, &place.target(&schema), &service_tables()).await.expect("tables");
    place::verify(&house.cell, place, &schema, &key(number)).await.expect("fit for use");
}

#[tokio::test]
async fn a_database_in_stock_is_given_to_one_and_entered_by_nobody_before() {
    let house = House::shared().await;
    let own = |number: u8| Place::new(tenant(u128::from(number)), Isolation::Database, [number; 8]);
    let places = [own(60), own(61), own(62), own(63)];
    // Without a database there is no template to copy; what a crash left of another one is not taken.
    let left = "CREATE DATABASE rh_stock_0123456789abcdef CONNECTION LIMIT 0";
    house.admin("postgres").await.batch_execute(left).await.expect("left");
    assert_eq!(stock::fill(&house.cell).await.expect("looked"), Filled::Whole);
    make_whole(&house, &places[0], 60).await;
    assert_eq!(in_stock(&house).await, [], "it has gone with the template that it was of");
    assert_eq!(stock::fill(&house.cell).await.expect("filled"), Filled::Made);
    assert_eq!(stock::fill(&house.cell).await.expect("twice is once"), Filled::Whole);
    let found = in_stock(&house).await;
    let [(number, false, false)] = found[..] else { panic!("one, that nobody enters: {found:?}") };
    make_whole(&house, &places[1], 61).await;
    assert_eq!(number_of(&house, &places[1].database).await, number, "it was given away");
    assert_eq!(in_stock(&house).await, []);
    assert_eq!(stock::fill(&house.cell).await.expect("filled"), Filled::Made);
    let number = in_stock(&house).await[0].0;
    tokio::join!(make_whole(&house, &places[2], 62), make_whole(&house, &places[3], 63));
    let mut taken = Vec::new();
    for place in &places[2..] {
        taken.push(number_of(&house, &place.database).await == number);
    }
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "of two at once one has it");
    let findings = rowhouse_tenantdb::doctor::check(&house.cell, &places[1].database, &[]).await;
    let of_place = |code: &str| !matches!(code, "D23" | "D24" | "D25");
    let found = findings.expect("examined").into_iter().filter(|finding| of_place(finding.code));
    assert_eq!(found.collect::<Vec<_>>(), []);
}

#[tokio::test]
async fn a_database_in_stock_that_was_changed_or_left_half_done_is_given_to_nobody() {
    let house = House::full().await;
    let own = |number: u8| Place::new(tenant(u128::from(number)), Isolation::Database, [number; 8]);
    let places = [own(70), own(71), own(72), own(73)];
    make_whole(&house, &places[0], 70).await;
    assert_eq!(stock::fill(&house.cell).await.expect("filled"), Filled::Made);
    let admin = house.admin("postgres").await;
    let sql = "SELECT datname::text FROM pg_database WHERE starts_with(datname::text, 'rh_stock_')";
    let name: String = admin.query_one(sql, &[]).await.expect("one").get(0);
    let open = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
    admin.batch_execute(&open).await.expect("the operator may do anything");
    // As a crash leaves it: copied, and not closed yet.
    make_whole(&house, &places[1], 71).await;
    assert_eq!(in_stock(&house).await.len(), 1, "it was not taken");
    assert_eq!(stock::fill(&house.cell).await.expect("filled"), Filled::Made);
    admin.batch_execute(&open).await.expect("opened");
    let inside = house.admin(&name).await;
    let change = "GRANT EXECUTE ON FUNCTION pg_sleep(double precision) TO PUBLIC";
    inside.batch_execute(change).await.expect("changed");
    drop(inside);
    let close = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
    admin.batch_execute(&close).await.expect("as if nothing had been");
    make_whole(&house, &places[2], 72).await;
    // A crash after it was given its name, and before anything else.
    assert_ne!(stock::fill(&house.cell).await.expect("filled"), Filled::Busy);
    make_whole(&house, &places[3], 73).await;
    let databases: Vec<&str> = places.iter().map(|place| place.database.as_str()).collect();
    assert_eq!(may_sleep(&house, &databases).await, [false; 4]);
}

#[tokio::test]
async fn a_crash_while_one_is_given_away_leaves_nothing_that_is_used() {
    let house = House::full().await;
    let own = |number: u8| Place::new(tenant(u128::from(number)), Isolation::Database, [number; 8]);
    make_whole(&house, &own(80), 80).await;
    assert_eq!(stock::fill(&house.cell).await.expect("filled"), Filled::Made);
    let admin = house.admin("postgres").await;
    let place = own(81);
    let sql = "SELECT format('ALTER DATABASE %1$I RENAME TO %2$I; ALTER DATABASE %2$I ALLOW_CONNECTIONS true', datname, $1::text)
                 FROM pg_database WHERE starts_with(datname::text, 'rh_stock_')";
    let given: String = admin.query_one(sql, &[&place.database]).await.expect("one").get(0);
    admin.batch_execute(&given).await.expect("as it is given away");
    let number = number_of(&house, &place.database).await;
    make_whole(&house, &place, 81).await;
    assert_ne!(number_of(&house, &place.database).await, number, "made anew: nobody knows what it was");
}

#[tokio::test]
async fn a_copy_that_was_cut_short_is_made_anew() {
    let house = House::full().await;
    let place = Place::new(tenant(43), Isolation::Database, [43; 8]);
    let admin = house.admin("postgres").await;
    // As after a crash between the copy and its first look, of a template that had been changed.
    let made = format!("CREATE DATABASE {} CONNECTION LIMIT 0 TEMPLATE template0", place.database);
    admin.batch_execute(&made).await.expect("made");
    let inside = house.admin(&place.database).await;
    inside.batch_execute("CREATE TABLE public.planted ()").await.expect("planted");
    drop(inside);
    place::create(&house.cell, &place, &key(43)).await.expect("made anew");
    let sql = "SELECT to_regclass('public.planted') IS NULL";
    let row = house.admin(&place.database).await.query_one(sql, &[]).await.expect("asked");
    assert!(row.get::<_, bool>(0), "nothing of it is left");
}

#[tokio::test]
async fn many_places_are_made_and_dropped_at_once() {
    let house = House::full().await;
    let before = inventory(&house).await;
    let levels = [Isolation::Shared, Isolation::Schema, Isolation::Database];
    for _ in 0..2 {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..9u8 {
            let cell = house.cell.clone();
            let place = Place::new(
                tenant(100 + u128::from(number)),
                levels[usize::from(number % 3)],
                [number + 100; 8],
            );
            let key = [key(1), key(2), key(number + 100)][usize::from(number % 3)].clone();
            tasks.spawn(async move {
                cell::prepare(&cell).await.expect("prepared");
                place::create(&cell, &place, &key).await.expect("a place");
                cell::prepare_database(&cell, &place.database, &key).await.expect("prepared again");
                let schema = place.schema(SERVICE, true);
                tables::install(&cell, &place.target(&schema), &service_tables()).await.expect("tables");
                place::verify(&cell, &place, &schema, &key).await.expect("fit for use");
                place::set_rights(&cell, &place, Rights::ReadOnly).await.expect("set");
                place::drop(&cell, &place).await.expect("dropped");
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no step got in another's way");
        }
        assert_eq!(inventory(&house).await, before);
    }
}

#[tokio::test]
async fn rights_bind_on_every_level() {
    let house = House::full().await;
    let databases = house.databases().await;
    for number in [1, 3, 5] {
        let (place, ..) = house.place(number);
        write(&databases, number).await.expect("full rights");
        for (rights, may_read, may_write, may_delete) in [
            (Rights::NoGrowth, true, false, true),
            (Rights::ReadOnly, true, false, false),
            (Rights::None, false, false, false),
            (Rights::Full, true, true, true),
        ] {
            place::set_rights(&house.cell, place, rights).await.expect("set");
            place::set_rights(&house.cell, place, rights).await.expect("set twice");
            let mut plane = house.plane(20);
            plane.places.get_mut(&tenant(number)).expect("placed").rights = rights;
            let knowing = Databases::open(Source::Fixed(plane)).await.expect("opens");
            let what = format!("tenant {number}, {rights:?}");
            assert_eq!(read(&knowing, number).await.is_ok(), may_read, "{what}: read");
            for (did, may) in
                [(write(&knowing, number).await, may_write), (delete(&knowing, number).await, may_delete)]
            {
                let as_it_must =
                    if may { did.is_ok() } else { matches!(did, Err(DatabaseError::NotPermitted)) };
                assert!(as_it_must, "{what}: {did:?}");
            }
            if rights != Rights::Full {
                // A process that has not heard of it yet is refused by the database.
                let stale =
                    databases.begin(&context(number), Access::Write).await.expect_err("too many rights");
                assert!(matches!(stale, DatabaseError::Moved), "{what}: {stale:?}");
            }
        }
    }
}

#[tokio::test]
async fn from_schema_up_rights_bind_an_open_session_that_never_enters() {
    let house = House::full().await;
    for number in [3, 5] {
        let (place, schema, _) = house.place(number);
        let session = house.connect(&place.login, &place.database).await;
        let insert = format!(
            "INSERT INTO {schema}.stamps (tenant_id, id, hash) VALUES ('{}', gen_random_uuid(), gen_random_uuid())",
            place.tenant.0
        );
        session.batch_execute(&insert).await.expect("may write");
        place::set_rights(&house.cell, place, Rights::NoGrowth).await.expect("set");
        let denied = session.batch_execute(&insert).await.expect_err("may not any more");
        assert_eq!(denied.code().map(|code| code.code()), Some("42501"));
        session.batch_execute(&format!("DELETE FROM {schema}.stamps")).await.expect("may tidy up");
        place::set_rights(&house.cell, place, Rights::None).await.expect("set");
        session.batch_execute(&format!("SELECT FROM {schema}.stamps")).await.expect_err("nothing any more");
    }
}

#[tokio::test]
async fn a_raised_epoch_turns_old_tokens_away_and_is_never_lowered() {
    let house = House::full().await;
    let databases = house.databases().await;
    for number in [1, 3, 5] {
        let (place, ..) = house.place(number);
        place::set_epoch(&house.cell, place, 2).await.expect("raised");
        place::set_epoch(&house.cell, place, 1).await.expect("changes nothing");
        let refused = databases.begin(&context(number), Access::Read).await.expect_err("stale");
        assert!(matches!(refused, DatabaseError::Moved), "{refused:?}");
        let mut plane = house.plane(20);
        plane.places.get_mut(&tenant(number)).expect("placed").epoch = 2;
        let knowing = Databases::open(Source::Fixed(plane)).await.expect("opens");
        write(&knowing, number).await.expect("at the new epoch");
    }
    let second = Place::new(tenant(3), Isolation::Schema, [0x77; 8]);
    let refused = place::create(&house.cell, &second, &key(2)).await.expect_err("it has a place there");
    assert!(matches!(refused, PlaceError::Occupied { .. }), "{refused:?}");
    let missing = Place::new(tenant(99), Isolation::Shared, [0; 8]);
    let refused = place::set_epoch(&house.cell, &missing, 2).await.expect_err("no such place");
    assert!(matches!(refused, PlaceError::Missing { .. }));
}

/// Whoever has the login and the key could enter with a snapshot from before a move, or with a context but without entering.
#[tokio::test]
async fn a_snapshot_from_before_a_move_enters_no_place_and_writes_nowhere() {
    let house = House::shared().await;
    let (place, _, key) = house.place(1).clone();
    let token = async |client: &Client, epoch| {
        let backend_pid = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("asked").get(0);
        let not_after_s = 4_000_000_000;
        key.mint(&TokenClaims { tenant: place.tenant.0, epoch, rights: "rwd", backend_pid, not_after_s })
    };
    let code = |refused: tokio_postgres::Error| refused.code().map(|code| code.code().to_owned());
    let insert = "INSERT INTO stamping.stamps (id, hash) VALUES (gen_random_uuid(), 'late')";
    let mut old = Vec::new();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let client = house.connect("rh_app", SHARED_DATABASE).await;
        let token = token(&client, 1).await;
        let (enter, own) =
            (format!("SELECT rh.enter('{token}', true)"), format!("SET LOCAL rh.ctx = '{token}'"));
        client
            .batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1; SAVEPOINT s"))
            .await
            .expect("a snapshot");
        let refused = client.batch_execute(&enter).await.expect_err(level);
        assert_eq!(code(refused).as_deref(), Some("RH004"), "{level}: whether it has moved or not");
        client.batch_execute("ROLLBACK TO s").await.expect("goes on");
        old.push((client, enter, own));
    }
    // This one never enters, so that nobody waits for it.
    let aside = house.connect("rh_app", SHARED_DATABASE).await;
    let context =
        format!("BEGIN; SET LOCAL rh.ctx = '{}'; SELECT * FROM stamping.stamps", token(&aside, 1).await);
    aside.batch_execute(&context).await.expect("a context of one's own");

    assert!(place::fence(&house.cell, &place, true, Duration::from_secs(20)).await.expect("fenced"));
    place::set_epoch(&house.cell, &place, 2).await.expect("decided");
    let refused = aside.batch_execute(insert).await.expect_err("it lies elsewhere");
    assert_eq!(code(refused).as_deref(), Some("RH002"));
    for (client, enter, own) in old {
        assert_eq!(code(client.batch_execute(&enter).await.expect_err("old")).as_deref(), Some("RH004"));
        client.batch_execute("ROLLBACK TO s").await.expect("goes on");
        let refused = client.batch_execute(&format!("{own}; {insert}")).await.expect_err("old");
        assert_eq!(code(refused).as_deref(), Some("RH002"));
    }
    let admin = house.admin(SHARED_DATABASE).await;
    let written = "SELECT count(*) FROM stamping.stamps WHERE hash = 'late'";
    assert_eq!(admin.query_one(written, &[]).await.expect("counted").get::<_, i64>(0), 0);
}

/// What was the tenant's place is removed though somebody there has a transaction without end; who began later goes on.
#[tokio::test]
async fn readers_that_do_not_end_are_ended() {
    let house = House::shared().await;
    let place = &house.place(1).0;
    let old = house.connect("rh_app", SHARED_DATABASE).await;
    old.batch_execute("BEGIN; SELECT 1").await.expect("begun");
    let idle = house.connect("rh_app", SHARED_DATABASE).await;
    let ended = place::wait_for_readers(&house.cell, place, Duration::from_millis(50)).await.expect("waited");
    assert!(ended >= 1, "told to end");
    assert!(old.batch_execute("SELECT 1").await.is_err(), "its session has ended");
    idle.batch_execute("BEGIN; SELECT 1; COMMIT").await.expect("who is in no transaction is left alone");
    let ended = place::wait_for_readers(&house.cell, place, Duration::ZERO).await.expect("waited");
    assert_eq!(ended, 0);
}

#[tokio::test]
async fn a_cell_in_which_an_erasure_was_proven_is_prepared_again() {
    let house = House::shared().await;
    let place = Place::new(tenant(1), Isolation::Shared, [0; 8]);
    let held = place::erase::mark(&house.cell, &place, "a marker").await.expect("written");
    assert!(held.marker_seen, "the search can see");
    cell::prepare_database(&house.cell, SHARED_DATABASE, &key(1)).await.expect("as at the next start");
}

#[tokio::test]
async fn files_that_a_crash_has_left_go_with_an_erasure_and_those_of_who_is_at_work_stay() {
    let house = House::shared().await;
    let place = Place::new(tenant(1), Isolation::Shared, [0; 8]);
    let held = place::erase::mark(&house.cell, &place, "a marker of a crash").await.expect("written");
    let admin = house.admin(SHARED_DATABASE).await;
    let sql = "SELECT current_setting('data_directory') || '/base/' || oid FROM pg_database WHERE datname = current_database()";
    let folder: String = admin.query_one(sql, &[]).await.expect("asked").get(0);
    // As a killed VACUUM FULL leaves it: a number that the catalog does not know, old, with the tenant's bytes.
    let orphan = std::path::Path::new(&folder).join("4000000000");
    std::fs::write(&orphan, "a marker of a crash").expect("room");
    let before = std::fs::metadata(&orphan).expect("there").created().expect("known");
    while before.elapsed().expect("later") < std::time::Duration::from_millis(1_200) {
        tokio::task::yield_now().await;
    }
    let table = house.admin(SHARED_DATABASE).await;
    table.batch_execute("BEGIN; CREATE TABLE rh.at_work AS SELECT 1 AS one").await.expect("begun");
    let waits = place::erase::scrub(&house.cell, &place, &held).await.expect_err("somebody is at work");
    assert!(waits.to_string().contains("may be at work"), "{waits}");
    assert!(!orphan.exists(), "what is older than who is at work goes");
    table.batch_execute("COMMIT").await.expect("his table is whole");
    place::erase::scrub(&house.cell, &place, &held).await.expect("nobody is at work");
    let rows: i64 = admin.query_one("SELECT count(*) FROM rh.at_work", &[]).await.expect("there").get(0);
    assert_eq!(rows, 1);
    admin.batch_execute("DROP TABLE rh.at_work").await.expect("dropped");
    let searched = place::erase::search(&house.cell, &place, "a marker of a crash").await.expect("searched");
    assert_eq!(searched.found, ["1 rows of rh.place"], "its place is there, and no file");
}

#[tokio::test]
async fn the_folder_of_a_database_that_was_never_finished_goes_with_the_next_one_that_is_made() {
    let house = House::shared().await;
    let server = house.admin("postgres").await;
    let sql = "SELECT current_setting('data_directory') || '/base'";
    let base: String = server.query_one(sql, &[]).await.expect("asked").get(0);
    // As a killed CREATE DATABASE leaves it.
    let folder = std::path::Path::new(&base).join("4000000001");
    std::fs::create_dir(&folder).expect("room");
    std::fs::write(folder.join("PG_VERSION"), "15").expect("room");
    let made_at = std::fs::metadata(&folder).expect("there").created().expect("known");
    while made_at.elapsed().expect("later") < std::time::Duration::from_millis(1_200) {
        tokio::task::yield_now().await;
    }
    let place = Place::new(tenant(77), Isolation::Database, [0x66; 8]);
    place::create(&house.cell, &place, &key(7)).await.expect("made");
    assert!(!folder.exists());
    let known = "SELECT oid::text FROM pg_database";
    for row in server.query(known, &[]).await.expect("asked") {
        assert!(std::path::Path::new(&base).join(row.get::<_, String>(0)).is_dir(), "what is known stays");
    }
    place::drop(&house.cell, &place).await.expect("dropped");
}

#[tokio::test]
async fn a_rotated_key_overlaps_and_a_retired_one_is_refused() {
    let house = House::shared().await;
    let new = rowhouse_tenantdb::DatabaseKey::new("k2", [42; 32]).expect("a plain kid");
    cell::prepare_database(&house.cell, SHARED_DATABASE, &new).await.expect("added");
    let old_databases = house.databases().await;
    let mut plane = house.plane(20);
    plane.databases[0].key = new;
    let new_databases = Databases::open(Source::Fixed(plane)).await.expect("opens");
    write(&old_databases, 1).await.expect("the old key");
    write(&new_databases, 1).await.expect("the new key");
    cell::retire_key(&house.cell, SHARED_DATABASE, "k1").await.expect("retired");
    let refused = old_databases.begin(&context(1), Access::Read).await.expect_err("retired");
    assert!(matches!(refused, DatabaseError::NoContext), "{refused:?}");
    write(&new_databases, 1).await.expect("the new key");
}

async fn insert(transaction: &mut rowhouse_tenantdb::TenantTransaction) -> Result<u64, DatabaseError> {
    // Ids only have to differ; the server's own generator will do in a test.
    transaction
        .execute(
            "WITH made AS (INSERT INTO stamps (id, hash) SELECT id, id::text FROM (SELECT gen_random_uuid() AS id) x RETURNING id)
             SELECT FROM made",
            &[],
        )
        .await
}

async fn write(databases: &Databases, number: u128) -> Result<(), DatabaseError> {
    let mut transaction = databases.begin(&context(number), Access::Write).await?;
    insert(&mut transaction).await?;
    transaction
        .execute("INSERT INTO notes (id, stamp, body) SELECT id, id, 'x' FROM stamps ORDER BY id LIMIT 1 ON CONFLICT DO NOTHING", &[])
        .await?;
    transaction.commit().await
}

async fn read(databases: &Databases, number: u128) -> Result<i64, DatabaseError> {
    let mut transaction = databases.begin(&context(number), Access::Read).await?;
    let count = transaction.query_one("SELECT count(*) FROM stamps", &[]).await?.get(0);
    transaction.commit().await?;
    Ok(count)
}

async fn delete(databases: &Databases, number: u128) -> Result<(), DatabaseError> {
    let mut transaction = databases.begin(&context(number), Access::Write).await?;
    transaction.execute("DELETE FROM stamps WHERE id = $1", &[&Uuid::nil()]).await?;
    transaction.commit().await
}

/// Whether a file of the cell holds `text`.
fn stands_in_a_file(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).any(|path| {
        match path.is_dir() {
            true => stands_in_a_file(&path, text),
            // A file may be removed meanwhile.
            false => std::fs::read(&path)
                .is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes())),
        }
    })
}

/// A backup of another tenant that takes long sees rows that are erased meanwhile: they stay in the files as long as it goes on. The
/// marker, by which that is known, is looked at before the rows: it must not be gone while rows are not.
#[tokio::test]
async fn rows_that_somebody_still_sees_are_found_until_nobody_does() {
    const CANARY: &str = "canary-of-who-is-erased";
    let house = House::shared().await;
    let (place, ..) = house.place(1);
    let admin = house.admin(SHARED_DATABASE).await;
    let rows = format!(
        "INSERT INTO stamping.stamps (tenant_id, id, hash) SELECT '{}', gen_random_uuid(), '{CANARY}' || n FROM generate_series(1, 50) n; CHECKPOINT",
        place.tenant.0
    );
    admin.batch_execute(&rows).await.expect("rows");
    let files = house.cluster.directory().join("data/base");
    let held = place::erase::mark(&house.cell, place, "marker-of-who-is-erased").await.expect("marked");
    assert!(held.marker_seen && stands_in_a_file(&files, CANARY), "the search sees");

    let sees = house.connect("postgres", SHARED_DATABASE).await;
    let look = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM rh.relation";
    sees.batch_execute(look).await.expect("an old snapshot");
    place::drop(&house.cell, place).await.expect("dropped");
    place::erase::scrub(&house.cell, place, &held).await.expect("scrubbed");
    let searched =
        place::erase::search(&house.cell, place, "marker-of-who-is-erased").await.expect("searched");
    assert!(stands_in_a_file(&files, CANARY), "who sees the rows keeps them");
    assert!(searched.found.iter().any(|found| found.starts_with("file ")), "{searched:?}");

    // The snapshot ends in the midst of the next try, while the marker's table is waited for.
    let holds = house.connect("postgres", SHARED_DATABASE).await;
    holds.batch_execute("BEGIN; LOCK TABLE rh.marker IN ACCESS SHARE MODE").await.expect("held");
    let scrubbing = {
        let (cell, place, held) = (house.cell.clone(), place.clone(), held.clone());
        tokio::spawn(async move { place::erase::scrub(&cell, &place, &held).await })
    };
    let waits = "SELECT FROM pg_locks WHERE relation = 'rh.marker'::regclass AND NOT granted";
    while admin.query_opt(waits, &[]).await.expect("locks").is_none() {
        tokio::task::yield_now().await;
    }
    sees.batch_execute("COMMIT").await.expect("ended");
    holds.batch_execute("COMMIT").await.expect("let go");
    scrubbing.await.expect("joins").expect("scrubbed");
    let searched =
        place::erase::search(&house.cell, place, "marker-of-who-is-erased").await.expect("searched");
    assert_eq!(searched.found, Vec::<String>::new());
    assert!(!stands_in_a_file(&files, CANARY), "the marker was gone before the rows");
}
