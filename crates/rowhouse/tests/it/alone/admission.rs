//! Who is let in, and how somebody is cut off.

use serde_json::{Value, json};

use super::{Node, admit, is_private, listed, platform, revoke};
use crate::platform::{Call, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_once_for_one_name_and_a_revoked_node_is_cut_off() {
    let (platform, door) = platform().await;
    let tenant = platform.tenant("near", "professional", "shared").await;
    let bad = async |name: &str| {
        platform.control(platform.operator(), Call::post("/v1/nodes", json!({ "name": name }))).await
    };
    assert_eq!(bad("East 1").await.code(), (422, "deploy.node_malformed"));
    assert_eq!(bad("node1").await.code(), (409, "deploy.node_taken"), "the control plane's own name");
    let stranger = platform.control(&tenant.key, Call::get("/v1/nodes")).await;
    assert!([403, 404].contains(&stranger.status), "{}", stranger.body);

    // Another node's token, a token that a newer one took the place of, and no token at all.
    let west = admit(&platform, "west-1").await;
    let first = admit(&platform, "east-1").await;
    let token = admit(&platform, "east-1").await;
    for wrong in [west.as_str(), first.as_str(), "rhn_1234"] {
        let mut node = Node::new(door, "east-1");
        node.put_token(wrong);
        node.start();
        assert!(!node.ends().await, "{wrong} is refused; {}", node.log());
        assert!(!node.file("directory.copy").exists());
    }

    let mut node = Node::new(door, "east-1");
    node.put_token(&token);
    node.start();
    node.ready().await;
    assert_eq!(node.call(&tenant).await.status, 200);
    for file in ["directory.copy", "secrets/node.json"] {
        assert!(is_private(&node.file(file)), "{file}");
    }
    let copy = std::fs::read(node.file("directory.copy")).expect("it is there");
    let shows = |text: &str| copy.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!shows(&tenant.code) && !shows("peppers"), "what is kept is sealed");
    assert_eq!(bad("east-1").await.code(), (409, "deploy.node_taken"));

    // The token was used: whoever found it is nobody.
    let mut thief = Node::new(door, "east-1");
    thief.put_token(&token);
    thief.start();
    assert!(!thief.ends().await, "{}", thief.log());

    // A revoked key is refused there, too.
    let key = platform.make_key(&tenant.code, &tenant.owner, "viewer").await;
    let look = || {
        Call::get("/v1/notes/1")
            .header("host", "near.localhost")
            .header("x-api-key", key["key"].as_str().expect("text"))
    };
    node.until((200, ""), look).await;
    let begun = std::time::Instant::now();
    platform
        .operate(Call::post(&format!("/v1/keys/{}/revoke", text(&key["id"])), json!({ "reason": "lost" })))
        .await;
    node.until((401, "keys.revoked"), look).await;
    println!("a revoked key was refused after {} ms", begun.elapsed().as_millis());

    // Its own key is believed until it is revoked.
    assert!(jwks(&platform).await.contains(&"node-east-1".to_owned()));
    let shown = listed(&platform, "east-1").await;
    assert_eq!((&shown["state"], &shown["token_expires_at"]), (&json!("connected"), &Value::Null), "{shown}");
    revoke(&platform, "east-1").await;
    node.until((503, "routes.directory_stale"), || Call::get("/v1/notes/1").tenant(&tenant)).await;
    node.health(|health| health["ready"] == false && health["reasons"].to_string().contains("revoked")).await;
    assert!(!node.file("directory.copy").exists(), "it has forgotten what it was told");
    assert!(!jwks(&platform).await.contains(&"node-east-1".to_owned()));
    revoke(&platform, "east-1").await;
    assert_eq!(listed(&platform, "east-1").await["state"], "revoked");
    assert_eq!(bad("east-1").await.code(), (409, "deploy.node_taken"), "a name is used once");

    // Started anew it is nobody still.
    node.kill().await;
    node.start();
    node.health(|health| health["reasons"].to_string().contains("revoked")).await;
    let gone =
        platform.control(platform.operator(), Call::get("/v1/nodes/nobody").method(http::Method::DELETE));
    assert_eq!(gone.await.status, 404);
}

/// The names of the keys that services believe.
async fn jwks(platform: &crate::platform::Platform) -> Vec<String> {
    let answer = platform.operate(Call::get("/.well-known/jwks.json")).await;
    answer["keys"].as_array().expect("a list").iter().map(|key| text(&key["kid"])).collect()
}
