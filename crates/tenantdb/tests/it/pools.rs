//! Connections: what a transaction leaves behind, how many there are, and who waits.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rowhouse_tenantdb::cell::SHARED_DATABASE;
use rowhouse_tenantdb::{Access, DatabaseError, Databases, Source, TenantTransaction, place};
use uuid::Uuid;

use crate::house::{House, context, tenant};

async fn count(transaction: &mut TenantTransaction) -> i64 {
    transaction.query_one("SELECT count(*) FROM stamps", &[]).await.expect("a count").get(0)
}

async fn pid(transaction: &mut TenantTransaction) -> i32 {
    transaction.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0)
}

async fn insert(transaction: &mut TenantTransaction, hash: &str) -> Result<u64, DatabaseError> {
    let id = Uuid::from_u128(hash.bytes().fold(1, |sum, byte| sum * 257 + u128::from(byte)));
    transaction.execute("INSERT INTO stamps (id, hash) VALUES ($1, $2)", &[&id, &hash]).await
}

#[tokio::test]
async fn a_backend_is_used_again_by_another_tenant_without_a_trace() {
    let house = House::shared().await;
    let databases = Databases::open(Source::Fixed(house.plane(1))).await.expect("opens");
    let mut first = databases.begin(&context(1), Access::Write).await.expect("begins");
    let backend = pid(&mut first).await;
    let refused =
        first.query("SELECT set_config('work_mem', '123kB', false)", &[]).await.expect_err("not on the list");
    assert!(refused.to_string().contains("the function set_config is not allowed for tenants"), "{refused}");
    first.query("SELECT remember('123kB')", &[]).await.expect("the service's own function");
    insert(&mut first, "one").await.expect("written");
    first.commit().await.expect("committed");
    let mut second = databases.begin(&context(2), Access::Read).await.expect("begins");
    assert_eq!(pid(&mut second).await, backend, "the budget is one connection");
    let setting = second.query_one("SELECT recall('work_mem')", &[]).await.expect("a setting");
    assert_ne!(setting.get::<_, String>(0), "123kB");
    assert_eq!(count(&mut second).await, 0);
    let written = insert(&mut second, "two").await.expect_err("read only");
    assert!(matches!(written, DatabaseError::NotPermitted), "{written:?}");
}

#[tokio::test]
async fn a_dropped_transaction_leaves_no_row_and_a_cancelled_one_no_connection() {
    let house = House::shared().await;
    let databases = Databases::open(Source::Fixed(house.plane(1))).await.expect("opens");

    let mut dropped = databases.begin(&context(2), Access::Write).await.expect("begins");
    let first = pid(&mut dropped).await;
    insert(&mut dropped, "dropped").await.expect("written");
    drop(dropped);

    let mut cancelled = databases.begin(&context(1), Access::Write).await.expect("begins");
    let second = pid(&mut cancelled).await;
    assert_eq!(second, first, "rolled back, and fit for another tenant");
    assert_eq!(count(&mut cancelled).await, 0);
    insert(&mut cancelled, "cancelled").await.expect("written");
    // Polled once, the query is on its way; then its future goes, and the transaction can only end.
    abandon(cancelled.query("SELECT pg_catalog.count(*) FROM generate_series(1, 100000000)", &[]));
    assert!(matches!(insert(&mut cancelled, "late").await, Err(DatabaseError::Aborted)));
    assert!(matches!(cancelled.commit().await, Err(DatabaseError::Aborted)));

    let mut committing = databases.begin(&context(1), Access::Write).await.expect("begins");
    let third = pid(&mut committing).await;
    assert_ne!(third, second, "the cancelled transaction's connection was closed");
    abandon(committing.commit());

    let mut next = databases.begin(&context(2), Access::Read).await.expect("begins");
    assert_ne!(pid(&mut next).await, third, "a commit without an answer closes its connection");
    assert_eq!(count(&mut next).await, 0);
    next.commit().await.expect("committed");
    let mut own = databases.begin(&context(1), Access::Read).await.expect("begins");
    assert_eq!(count(&mut own).await, 0, "no row was committed");
}

/// Polls a future once, then drops it.
fn abandon<F: Future>(future: F) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(pin!(future).poll(&mut context), Poll::Pending), "it takes a round trip");
}

#[tokio::test]
async fn a_connection_that_the_server_ended_is_replaced() {
    let house = House::shared().await;
    let databases = Databases::open(Source::Fixed(house.plane(1))).await.expect("opens");
    let admin = house.admin(SHARED_DATABASE).await;
    for _ in 0..3 {
        let mut transaction = databases.begin(&context(1), Access::Read).await.expect("begins");
        let backend = pid(&mut transaction).await;
        transaction.commit().await.expect("idle now");
        admin.execute("SELECT pg_terminate_backend($1)", &[&backend]).await.expect("ended");
    }
    let mut broken = databases.begin(&context(1), Access::Write).await.expect("begins");
    let backend = pid(&mut broken).await;
    admin.execute("SELECT pg_terminate_backend($1, 5000)", &[&backend]).await.expect("ended");
    let lost = insert(&mut broken, "x").await.expect_err("the connection is gone");
    assert!(matches!(lost, DatabaseError::Unavailable(_)), "{lost:?}");
    assert!(broken.commit().await.is_err());
    databases.begin(&context(1), Access::Read).await.expect("a new connection");
}

#[tokio::test]
async fn a_failed_statement_ends_the_transaction_but_not_the_connection() {
    let house = House::shared().await;
    let databases = Databases::open(Source::Fixed(house.plane(1))).await.expect("opens");
    let mut first = databases.begin(&context(1), Access::Write).await.expect("begins");
    let backend = pid(&mut first).await;
    insert(&mut first, "one").await.expect("written");
    let twice = first
        .execute("INSERT INTO stamps (id, hash) VALUES ($1, 'one')", &[&Uuid::from_u128(77)])
        .await
        .expect_err("the same hash");
    assert!(matches!(&twice, DatabaseError::Constraint { sqlstate, .. } if sqlstate == "23505"), "{twice:?}");
    assert!(matches!(first.commit().await, Err(DatabaseError::Aborted)));
    let mut second = databases.begin(&context(1), Access::Read).await.expect("begins");
    assert_eq!(pid(&mut second).await, backend);
    assert_eq!(count(&mut second).await, 0);
    assert!(matches!(
        second.query("SET search_path = pg_catalog", &[]).await,
        Err(DatabaseError::StatementRefused(_))
    ));
    second.commit().await.expect("a refused text never reached the server");
}

#[tokio::test]
async fn all_pools_share_one_budget_and_waiting_ends() {
    let mut house = House::full().await;
    house.add(7, rowhouse_domain::tenancy::Isolation::Schema, &crate::house::key(2)).await;
    let databases = Databases::open(Source::Fixed(house.plane(2))).await.expect("opens");
    // Five pools one after another: each takes the place of an idle one.
    for number in [1, 3, 4, 5, 7] {
        let mut transaction = databases.begin(&context(number), Access::Read).await.expect("begins");
        count(&mut transaction).await;
        transaction.commit().await.expect("ends");
        assert!(databases.open_connections(&house.cell.host, house.cell.port) <= 2);
    }
    let held = (
        databases.begin(&context(1), Access::Read).await.expect("begins"),
        databases.begin(&context(3), Access::Read).await.expect("begins"),
    );
    let busy = databases.begin(&context(4), Access::Read).await.expect_err("the budget is used up");
    assert!(matches!(busy, DatabaseError::Busy), "{busy:?}");
    assert_eq!(busy.refusal().code(), "tenancy.database_busy");
    let waiting = tokio::spawn({
        let databases = databases.clone();
        async move { databases.begin(&context(5), Access::Read).await.map(drop) }
    });
    held.0.commit().await.expect("ends");
    waiting.await.expect("no panic").expect("the one who waits gets the place");
    drop(held.1);
    let admin = house.admin("postgres").await;
    let seen: i64 = admin
        .query_one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'rh_app' OR usename ~ '^t_'", &[])
        .await
        .expect("counted")
        .get(0);
    assert!(seen <= 2, "the server sees {seen}");
}

#[tokio::test]
async fn many_tasks_of_two_tenants_on_few_connections_never_mix() {
    let house = House::shared().await;
    let databases = Databases::open(Source::Fixed(house.plane(3))).await.expect("opens");
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..40u128 {
        let databases = databases.clone();
        tasks.spawn(async move {
            let number = task % 2 + 1;
            let mut transaction = databases.begin(&context(number), Access::Write).await.expect("begins");
            let id = Uuid::from_u128(task + 1);
            transaction
                .execute("INSERT INTO stamps (id, hash) VALUES ($1, $2)", &[&id, &format!("{number}-{task}")])
                .await
                .expect("written");
            if task % 5 == 0 {
                return; // dropped: rolled back
            }
            let foreign = transaction
                .query_one("SELECT count(*) FROM stamps WHERE hash NOT LIKE $1", &[&format!("{number}-%")])
                .await
                .expect("counted");
            assert_eq!(foreign.get::<_, i64>(0), 0);
            transaction.commit().await.expect("committed");
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no task panicked");
    }
    let admin = house.admin(SHARED_DATABASE).await;
    let rows: i64 =
        admin.query_one("SELECT count(*) FROM stamping.stamps", &[]).await.expect("counted").get(0);
    assert_eq!(rows, 32);
}

#[tokio::test]
async fn many_rows_go_in_at_once() {
    let house = House::full().await;
    let databases = house.databases().await;
    for number in [1, 3] {
        let mut transaction = databases.begin(&context(number), Access::Write).await.expect("begins");
        let ids: Vec<Uuid> = (1..=5_000u128).map(Uuid::from_u128).collect();
        let hashes: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let sizes: Vec<i64> = (0..5_000).collect();
        let inserted = transaction
            .bulk_insert("stamps", &[("id", &ids), ("hash", &hashes), ("size", &sizes)])
            .await
            .expect("inserted");
        assert_eq!((inserted, count(&mut transaction).await), (5_000, 5_000));
        let crooked = transaction.bulk_insert("stamps; DROP", &[("id", &ids)]).await.expect_err("not a name");
        assert!(matches!(crooked, DatabaseError::Name(_)));
        transaction.commit().await.expect("committed");
    }
    let (place, ..) = house.place(2);
    place::drop(&house.cell, place).await.expect("dropped");
    let refused = databases.begin(&context(2), Access::Read).await.expect_err("gone");
    assert!(matches!(refused, DatabaseError::Moved));
    let unknown = databases.begin(&context(50), Access::Read).await.expect_err("never was");
    assert!(matches!(unknown, DatabaseError::UnknownTenant), "{:?}", tenant(50));
}

/// Lets `work` run until it was polled `polls` times without an end; then it is dropped where it stands. Whether it ended.
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

/// All that a borrower does: a setting of the session, a row, a query, a failure, and the end.
async fn borrow(databases: &Databases, hash: &str) -> Result<(), DatabaseError> {
    let mut transaction = databases.begin(&context(1), Access::Write).await?;
    transaction.query("SELECT remember('123kB')", &[]).await?;
    insert(&mut transaction, hash).await?;
    let ids = [Uuid::from_u128(hash.len() as u128 * 1_000_003 + hash.bytes().map(u128::from).sum::<u128>())];
    transaction
        .bulk_insert("stamps", &[("id", &ids.as_slice()), ("hash", &[hash.repeat(2)].as_slice())])
        .await?;
    transaction.query("SELECT count(*) FROM stamps, generate_series(1, 1000)", &[]).await?;
    transaction.commit().await
}

#[tokio::test]
async fn cut_at_every_await_a_borrower_leaves_nothing_to_the_next() {
    let house = House::shared().await;
    let mut ended = false;
    let mut cuts = 0;
    // One connection for all, so that the next borrower would get what the last one left.
    let databases = Databases::open(Source::Fixed(house.plane(1))).await.expect("opens");
    while !ended {
        cuts += 1;
        // Every other time with a connection that is not open yet.
        let fresh = Databases::open(Source::Fixed(house.plane(1))).await.expect("opens");
        let databases = if cuts % 2 == 0 { &databases } else { &fresh };
        ended = cut_after(borrow(databases, &format!("cut {cuts}")), cuts).await;
        let mut next = databases.begin(&context(2), Access::Write).await.expect("the next one begins");
        let setting: String =
            next.query_one("SELECT recall('work_mem')", &[]).await.expect("a setting").get(0);
        assert_ne!(setting, "123kB", "cut after {cuts} polls");
        assert_eq!(count(&mut next).await, 0, "cut after {cuts} polls");
        next.commit().await.expect("committed");
        assert!(cuts < 200, "a borrower ends");
    }
    assert!(cuts > 8, "there are that many places to be cut at: {cuts}");
    let admin = house.admin(SHARED_DATABASE).await;
    let rows: i64 =
        admin.query_one("SELECT count(*) FROM stamping.stamps", &[]).await.expect("counted").get(0);
    assert!(rows % 2 == 0, "a row came without its companion of the same transaction");
}
