//! The control plane is away for so long that the node's journal has all the room that it may have.

use std::time::Duration;

use rowhouse_journal::{Class, Journal, Kind, Options};

use super::{Node, admit, platform};
use crate::platform::Call;

const MIB: u64 = 1024 * 1024;
/// What the node's journal may take.
const MIB_MAX: u64 = 4;

/// Fills the node's journal as requests would, up to its bound; how many records found no place.
fn fill(node: &Node) -> u64 {
    let options = Options {
        segment_bytes: MIB as usize,
        bytes_max: Some(MIB_MAX * MIB),
        keep: Duration::from_secs(3_600),
        ..Options::new(&node.name)
    };
    let (journal, _) = Journal::open(&node.file("journal"), options).expect("nobody else has it");
    let mut lane = journal.lane("gateway-0").expect("it has no writer");
    let mut lost = 0;
    while lost < 7 {
        // A frame that no projection reads: it is sent, and counts as nothing.
        lost += u64::from(lane.append_bytes(Class::R, Kind::LaneStop, &[0; 4_000]).is_err());
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_stops_requests_where_that_is_wanted_and_has_room_once_it_was_sent() {
    let (platform, door) = platform().await;
    let tenant = platform.tenant("brim", "professional", "shared").await;
    let strict = |node: Node| node.with("ROWHOUSE_JOURNAL__WHEN_FULL", "refuse");
    let mut nodes = Vec::new();
    for (name, is_strict) in [("strict", true), ("lenient", false)] {
        let node = Node::new(door, name)
            .with("ROWHOUSE_JOURNAL__SEGMENT_MIB", "1")
            .with("ROWHOUSE_JOURNAL__SIZE_MIB_MAX", &MIB_MAX.to_string())
            .with("ROWHOUSE_SERVER__GATEWAY_THREADS", "1");
        let mut node = if is_strict { strict(node) } else { node };
        node.put_token(&admit(&platform, name).await);
        node.start();
        node.ready().await;
        assert_eq!(node.call(&tenant).await.status, 200);
        nodes.push(node);
    }
    platform.counted(&tenant.code, "transactions", 2).await;
    platform.kill().await;
    for node in &mut nodes {
        node.stop().await;
        assert_eq!(fill(node), 7);
        node.start();
        node.health(|health| health["ready"] == false && health["reasons"].to_string().contains("journal"))
            .await;
    }
    let [strict, lenient] = &nodes[..] else { panic!("two nodes") };
    let look = || Call::get("/v1/notes/1").tenant(&tenant);
    strict.until((503, "journal.unavailable"), look).await;
    // A start takes a segment of its own: what is served here finds a place in it.
    assert_eq!(lenient.call(&tenant).await.status, 200);

    // The control plane is back: all of it arrives, and there is room.
    platform.run().await;
    strict.until((200, ""), look).await;
    assert_eq!(strict.call(&tenant).await.status, 200);
    for node in &nodes {
        node.health(|health| health["ready"] == true).await;
    }
    platform.counted(&tenant.code, "transactions", 4).await;
}
