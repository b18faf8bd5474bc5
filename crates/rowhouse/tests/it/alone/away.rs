//! Without the control plane: how long what is known is believed.

use super::{Node, admit, platform};
use crate::platform::Call;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_not_believed_until_the_control_plane_is_back() {
    let (platform, door) = platform().await;
    let tenant = platform.tenant("late", "professional", "shared").await;
    let mut strict = Node::new(door, "strict").with("ROWHOUSE_GATEWAY__STALE_AFTER", "3s");
    strict.put_token(&admit(&platform, "strict").await);
    let mut lenient = Node::new(door, "lenient")
        .with("ROWHOUSE_GATEWAY__STALE_AFTER", "3s")
        .with("ROWHOUSE_GATEWAY__WHEN_STALE", "serve");
    lenient.put_token(&admit(&platform, "lenient").await);
    strict.start();
    lenient.start();
    strict.ready().await;
    lenient.ready().await;
    let look = || Call::get("/v1/notes/1").tenant(&tenant);
    strict.until((200, ""), look).await;
    platform.kill().await;
    strict.until((503, "routes.directory_stale"), look).await;
    let health = strict.health(|health| health["ready"] == false).await;
    assert!(health["directory"]["age_seconds"].as_i64().is_some_and(|age_s| age_s >= 3), "{health}");
    lenient.health(|health| health["ready"] == true && health["reasons"].to_string().contains("stale")).await;
    lenient.until((200, ""), look).await;
    // Its age is not forgotten with the process.
    strict.kill().await;
    strict.start();
    strict.until((503, "routes.directory_stale"), look).await;
    platform.run().await;
    strict.until((200, ""), look).await;
    lenient.health(|health| health["reasons"] == serde_json::json!([])).await;
    // A damaged copy is not believed; everything comes anew.
    strict.stop().await;
    let mut copy = std::fs::read(strict.file("directory.copy")).expect("it is there");
    let middle = copy.len() / 2;
    copy[middle] ^= 1;
    copy[40] ^= 1;
    std::fs::write(strict.file("directory.copy"), copy).expect("it is ours");
    strict.start();
    strict.ready().await;
    strict.until((200, ""), look).await;
    assert!(strict.log().contains("cannot be used"), "{}", strict.log());
    let page = Call::get("/metrics").try_send(strict.admin).await.expect("metrics").body;
    let page = page.as_str().expect("text").to_owned();
    assert!(page.contains("rowhouse_deploy_directory_age_seconds "), "{page}");
}
