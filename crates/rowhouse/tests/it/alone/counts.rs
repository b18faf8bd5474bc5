//! What a gateway of its own served is counted once, in the usage and in the log, whatever dies in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::json;

use super::{Node, listed, platform};
use crate::platform::{Call, PATIENCE, Tenant};

/// Complete answers before something is killed.
const ENOUGH: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_served_is_counted_once_whatever_dies() {
    let (platform, door) = platform().await;
    let tenant = platform.tenant("far", "professional", "shared").await;
    let mut node = Node::enrolled(&platform, door, "east-1").await;
    let seen = node.call(&tenant).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    assert!(seen.body["headers"]["rowhouse-context"].is_string(), "the service is told who calls");
    platform.counted(&tenant.code, "transactions", 1).await;
    let mut complete = 1;
    // What it sees of the service's copies is told with its name.
    let mut beat = tokio::time::interval(Duration::from_millis(250));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let copies = platform.operate(Call::get("/v1/upstreams?gateway=east-1&service=echo")).await;
        if copies["items"][0]["state"] == "healthy" {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{copies}");
        beat.tick().await;
    }

    // The control plane dies under load; nobody notices.
    complete += load(&node, &tenant, || platform.kill()).await;
    // The gateway dies, too, and starts with what it knows.
    node.kill().await;
    node.start();
    node.ready().await;
    complete += load(&node, &tenant, async || ()).await;
    // Both are back, and the gateway dies once more while it sends.
    platform.run().await;
    node.health(|health| health["connected"] == true).await;
    complete += load(&node, &tenant, async || ()).await;
    node.kill().await;
    node.start();
    node.ready().await;
    platform.counted(&tenant.code, "transactions", complete).await;

    // A change through it is an event of the tenant's log, told by this node; stopped in good order it leaves nothing behind.
    let change = Call::post("/v1/notes/2", json!({})).tenant(&tenant).header("x-usage", "transactions=1");
    assert_eq!(change.try_send(node.gateway).await.expect("an answer").status, 200);
    node.health(|health| health["connected"] == true).await;
    node.stop().await;
    platform.counted(&tenant.code, "transactions", complete + 1).await;
    let path = format!("/v1/audit/events?tenant={}", tenant.code);
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    let deadline = tokio::time::Instant::now() + crate::platform::PATIENCE;
    loop {
        beat.tick().await;
        let events = platform.operate(Call::get(&path)).await.to_string();
        if events.contains("east-1/gateway-") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "no event of the node in {events}");
    }
    let shown = listed(&platform, "east-1").await;
    assert_eq!(shown["boot"], 3, "{shown}");
    // Twice is once: what it sends again after a restart is known.
    node.start();
    node.ready().await;
    assert_eq!(node.call(&tenant).await.status, 200);
    platform.counted(&tenant.code, "transactions", complete + 2).await;
}

/// Calls until there are enough answers, does something, calls on, and gives the number of complete answers. None may fail.
async fn load<F: Future<Output = ()>>(node: &Node, tenant: &Tenant, meanwhile: impl FnOnce() -> F) -> u64 {
    let (complete, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (port, count, end) = (node.gateway, complete.clone(), stop.clone());
    let own = tenant.clone();
    let client = tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_millis(10));
        while !end.load(Ordering::SeqCst) {
            beat.tick().await;
            let call = Call::get("/v1/notes/1").tenant(&own).header("x-usage", "transactions=1");
            let seen = call.method(Method::GET).try_send(port).await.expect("the gateway lives");
            assert_eq!(seen.status, 200, "{}", seen.body);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let reach = async |most: u64| {
        let mut beat = tokio::time::interval(Duration::from_millis(5));
        while complete.load(Ordering::SeqCst) < most && !client.is_finished() {
            beat.tick().await;
        }
    };
    reach(ENOUGH / 2).await;
    meanwhile().await;
    let before = complete.load(Ordering::SeqCst);
    reach(before + ENOUGH / 2).await;
    stop.store(true, Ordering::SeqCst);
    client.await.expect("no call fails");
    complete.load(Ordering::SeqCst)
}
