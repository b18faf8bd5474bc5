//! What is promised about the disk when a change has been committed.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_store::{Change, Transaction};
use uuid::Uuid;

use crate::platform::Platform;

/// Where the write-ahead log stands while `transaction` is open: its commit lies behind.
async fn before(transaction: &Transaction) -> String {
    let row = transaction.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await;
    row.expect("a place in the log").get(0)
}

async fn is_on_disk(platform: &Platform, place: &str) -> bool {
    platform.ask(&format!("SELECT pg_current_wal_flush_lsn() > '{place}'")).await == "t"
}

#[tokio::test]
async fn a_change_that_is_seen_first_is_on_disk_when_its_caller_goes_on() {
    let platform = Platform::start().await;
    let permit = Permit::for_system(Some(TenantId(Uuid::from_u128(7))), "test");
    for _ in 0..20 {
        let transaction = platform.control.store.write(&permit).await.expect("a transaction");
        let change =
            Change::new(TenantId(Uuid::from_u128(7)), "tenancy.tenant_changed", "update", permit.principal());
        let place = before(&transaction).await;
        transaction.commit_seen_first(change).await.expect("committed");
        assert!(is_on_disk(&platform, &place).await);
    }
    assert_eq!(platform.ask("SELECT count(*) FROM audit.outbox").await, "20");
}

#[tokio::test]
async fn whoever_waits_for_the_disk_waits_for_what_others_committed() {
    let platform = Platform::start().await;
    let permit = Permit::for_system(None, "test");
    for _ in 0..20 {
        let transaction = platform.control.store.write(&permit).await.expect("a transaction");
        let others = before(&transaction).await;
        platform.execute("SET synchronous_commit = off; INSERT INTO api.notices (topic, at) VALUES ('a', '2026-11-01Z')").await;
        transaction.wait_for_disk().await.expect("waited");
        assert!(is_on_disk(&platform, &others).await);
    }
}
