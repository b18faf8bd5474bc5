//! One tenant's calls to the control API do not hold up those of others, nor do those of who is nobody yet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::house::House;

const PATIENCE: Duration = Duration::from_secs(60);
/// Of the 20 connections a fifth.
const PLACES: usize = 4;
/// Of the 20 connections a tenth, for a network that nobody in particular calls from.
const STRANGERS: usize = 2;
const LINE: usize = 128;
const BEYOND: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_whose_calls_wait_holds_up_nobody_else() {
    let house = House::start().await;
    let platform = &house.platform;
    let acme = house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let (own, other) = (house.member("acme", "admin").await, house.member("bolt", "admin").await);

    // What acme's calls will wait for, each with a connection.
    let (holder, connection) = platform.config.connect(NoTls).await.expect("a connection");
    let driver = tokio::spawn(connection);
    let lock = [&acme.to_string() as &(dyn tokio_postgres::types::ToSql + Sync)];
    holder.execute("SELECT pg_advisory_lock(7247, hashtext($1))", &lock).await.expect("nobody has it");
    let waiting = async || {
        let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 7247 AND NOT granted \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        platform.ask(sql).await.parse::<usize>().expect("a number")
    };

    let refused = AtomicUsize::new(0);
    let calls = join_all((0..PLACES + LINE + BEYOND).map(async |number| {
        let body = json!({ "name": format!("a{number}") });
        let (status, answer) = platform.call(&own.key, "POST", "/v1/service_accounts", Some(body)).await;
        if status == 429 {
            assert_eq!(answer["code"], "limits.exceeded");
            refused.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let story = async {
        let begun = async {
            while waiting().await < PLACES || refused.load(Ordering::SeqCst) < BEYOND {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, begun)
            .await
            .expect("its places are taken, its line is full, and the rest is refused");
        platform.get(&other.key, "/v1/service_accounts").await;
        platform.get(&house.root, "/v1/tenants").await;
        assert!(waiting().await <= PLACES, "it has no more connections than that");
        holder.execute("SELECT pg_advisory_unlock(7247, hashtext($1))", &lock).await.expect("it has it");
    };
    tokio::join!(calls, story);
    house.created(&own.key, "/v1/service_accounts", json!({ "name": "afterwards" })).await;
    drop(holder);
    driver.await.expect("the connection's task").expect("the connection ends well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_nobody_yet_holds_up_nobody_who_is_known() {
    let house = House::start().await;
    let platform = &house.platform;
    house.tenant("acme", "basic").await;
    let own = house.member("acme", "admin").await;

    // What looking up a browser's session will wait for, each with a connection.
    let (mut holder, connection) = platform.config.connect(NoTls).await.expect("a connection");
    let driver = tokio::spawn(connection);
    let lock = holder.transaction().await.expect("a transaction");
    lock.batch_execute("LOCK TABLE identity.sessions IN ACCESS EXCLUSIVE MODE").await.expect("nobody has it");
    let waiting = async || {
        let sql =
            "SELECT count(*) FROM pg_locks WHERE relation = 'identity.sessions'::regclass AND NOT granted";
        platform.ask(sql).await.parse::<usize>().expect("a number")
    };

    let refused = AtomicUsize::new(0);
    let looks = join_all((0..STRANGERS + LINE + BEYOND).map(async |number| {
        let request = http::Request::get("/account")
            .header("host", "control.test")
            .header("cookie", format!("__Host-rowhouse_session={number}"))
            .body(Default::default())
            .expect("a request");
        let (status, ..) = platform.exchange(request).await;
        if status == 429 {
            refused.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let story = async {
        let begun = async {
            while waiting().await < STRANGERS || refused.load(Ordering::SeqCst) < BEYOND {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, begun)
            .await
            .expect("their places are taken, their line is full, the rest is refused");
        platform.get(&own.key, "/v1/service_accounts").await;
        platform.get(&house.root, "/v1/tenants").await;
        assert!(waiting().await <= STRANGERS, "they have no more connections than that");
        lock.rollback().await.expect("it ends");
    };
    tokio::join!(looks, story);
    drop(holder);
    driver.await.expect("the connection's task").expect("the connection ends well");
}
