//! A node is taken out of service and asked back: what runs ends, what was recorded arrives, and a new process does not forget it.

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Node, admit, listed, platform, revoke};
use crate::platform::{Call, PATIENCE, Platform, Tenant};

async fn asked(platform: &Platform, name: &str, what: &str) -> Value {
    platform.operate(Call::post(&format!("/v1/nodes/{name}/{what}"), json!({}))).await
}

/// Waits until the control plane knows that the node is drained.
async fn drained(platform: &Platform, node: &Node) -> Value {
    let begun = Instant::now();
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(100));
    loop {
        beat.tick().await;
        let shown = listed(platform, &node.name).await;
        if shown["drain"]["state"] == "drained" {
            return shown;
        }
        assert!(begun.elapsed() < PATIENCE, "{shown}; {}", node.log());
    }
}

/// Waits until nobody is let in.
async fn closed(node: &Node) {
    let begun = Instant::now();
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(20));
    while TcpStream::connect(("127.0.0.1", node.gateway)).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "{}", node.log());
        beat.tick().await;
    }
}

/// A request whose body has not ended.
async fn half_asked(node: &Node, tenant: &Tenant) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", node.gateway)).await.expect("the door is open");
    let (code, key) = (&tenant.code, &tenant.key);
    let head = format!(
        "POST /v1/notes/1 HTTP/1.1\r\nhost: {code}.localhost\r\nx-api-key: {key}\r\n\
         x-usage: transactions=1\r\ncontent-length: 10\r\n\r\nhello"
    );
    stream.write_all(head.as_bytes()).await.expect("it is taken");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_finishes_tells_and_stays_so_until_it_is_asked_back() {
    let (platform, door) = platform().await;
    let tenant = platform.tenant("tide", "professional", "shared").await;
    let mut node = Node::new(door, "east-1").with("ROWHOUSE_SERVER__DRAIN", "300s");
    node.put_token(&admit(&platform, "east-1").await);
    node.start();
    node.ready().await;
    assert_eq!(node.call(&tenant).await.status, 200);
    let mut open = half_asked(&node, &tenant).await;
    // It is in the gateway's hands once the gateway has counted its connection.
    let begun = Instant::now();
    loop {
        let page = Call::get("/metrics").try_send(node.admin).await.expect("metrics").body.to_string();
        if page.contains("rowhouse_routes_connections_open 1") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{page}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    let first = asked(&platform, "east-1", "drain").await;
    assert_eq!(first["drain"]["state"], "asked", "{first}");
    let second = asked(&platform, "east-1", "drain").await;
    assert_eq!(second["drain"]["asked_at"], first["drain"]["asked_at"], "twice is once");
    node.health(|health| health["ready"] == false && health["drain"] == "finishing").await;
    closed(&node).await;
    assert_eq!(listed(&platform, "east-1").await["drain"]["state"], "asked", "something runs still");
    open.write_all(b"world").await.expect("it is open");
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.expect("it is answered and closed");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let shown = drained(&platform, &node).await;
    assert_eq!(shown["state"], "connected", "{shown}");
    node.health(|health| health["drain"] == "drained").await;
    // What it served is there: nothing is on its disk alone.
    platform.counted(&tenant.code, "transactions", 2).await;

    // Neither a new process nor the control plane's absence brings it back.
    node.kill().await;
    platform.kill().await;
    node.start();
    node.health(|health| health["drain"] == "sending").await;
    closed(&node).await;
    platform.run().await;
    node.health(|health| health["drain"] == "drained").await;
    let again = drained(&platform, &node).await;
    assert_eq!(again["drain"]["drained_at"], shown["drain"]["drained_at"], "told twice, it is one drain");
    node.upgrade_closed().await;
    node.health(|health| health["drain"] == "drained").await;

    for _ in 0..2 {
        assert_eq!(asked(&platform, "east-1", "resume").await["drain"], Value::Null);
    }
    node.ready().await;
    assert_eq!(node.call(&tenant).await.status, 200);
    platform.counted(&tenant.code, "transactions", 3).await;
    // Another drain is another one: in and out again without a new process.
    asked(&platform, "east-1", "drain").await;
    drained(&platform, &node).await;
    asked(&platform, "east-1", "resume").await;
    node.ready().await;
    assert_eq!(node.call(&tenant).await.status, 200);
    platform.counted(&tenant.code, "transactions", 4).await;
    for name in ["deploy.node_drain_asked", "deploy.node_drained", "deploy.node_resumed"] {
        told_twice(&platform, name).await;
    }
}

/// Waits until the operator's log tells two such events; more are a failure at once.
async fn told_twice(platform: &Platform, name: &str) {
    let begun = Instant::now();
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(100));
    loop {
        beat.tick().await;
        let events = platform.operate(Call::get(&format!("/v1/audit/events?event={name}"))).await;
        let count = events["items"].as_array().expect("a list").len();
        assert!(count <= 2, "{events}");
        if count == 2 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{name}: {events}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_drains_nothing_and_a_new_node_can_begin_drained() {
    let (platform, door) = platform().await;
    let tenant = platform.tenant("ebb", "basic", "shared").await;
    let token = admit(&platform, "west-1").await;
    for what in ["drain", "resume"] {
        let call =
            |name: &str| Call::post(&format!("/v1/nodes/{name}/{what}"), json!({})).method(Method::POST);
        let stranger = platform.control(&tenant.key, call("west-1")).await;
        assert!([403, 404].contains(&stranger.status), "{}", stranger.body);
        assert_eq!(platform.control(platform.operator(), call("nobody")).await.status, 404);
    }
    asked(&platform, "west-1", "drain").await;
    let mut node = Node::new(door, "west-1");
    node.put_token(&token);
    node.start();
    drained(&platform, &node).await;
    closed(&node).await;
    revoke(&platform, "west-1").await;
    let call = Call::post("/v1/nodes/west-1/resume", json!({}));
    let refused = platform.control(platform.operator(), call).await;
    assert_eq!(refused.code(), (403, "deploy.node_revoked"));
}
