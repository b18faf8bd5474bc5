//! The door for nodes, as one that is not well-behaved meets it: keys, tokens, journals and batches that are not right.

use rowhouse_control::deploy::nodes::NodeKey;
use rowhouse_control::deploy::nodes::link::{Link, LinkError};
use rowhouse_control::deploy::nodes::wire::{Shipment, TokenText};
use rowhouse_domain::id::TenantId;
use rowhouse_journal::{Batch, Class, Gap, GapCause, Kind};

use super::node_client::{asked, code, process, recorded, start_of};
use super::{admit, listed, platform};

/// 2026-11-21T10:00:00Z, µs since 1970.
const AT_US: i64 = 1_795_255_200_000_000;

async fn link(port: u16, key: &NodeKey, token: &str) -> Link {
    let door = TokenText::parse(token).expect("a token").door;
    Link::connect(&format!("127.0.0.1:{port}"), key, door).await.expect("the door is open")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_what_a_node_is() {
    let (platform, port) = platform().await;
    let (east, west) = (NodeKey::new(&[2; 32]).expect("a key"), NodeKey::new(&[3; 32]).expect("a key"));
    // Somebody else in the place of the control plane is not spoken to.
    let token = admit(&platform, "east").await;
    let address = format!("127.0.0.1:{port}");
    let other = Link::connect(&address, &east, west.public()).await.err().expect("another key");
    assert!(matches!(other, LinkError::Away(_)), "{other}");
    // Who is not enrolled is told nothing.
    let nobody = link(port, &west, &token).await;
    assert_eq!(code(nobody.follow(&start_of(1, 1)).await), "deploy.node_refused");
    assert_eq!(code(nobody.positions().await), "deploy.node_refused");
    assert_eq!(code(nobody.ship(process(1), "g0", &Shipment::default()).await), "deploy.node_refused");

    let mut wrong = asked("east", &token);
    wrong.secret = "00".repeat(32);
    let first = link(port, &east, &token).await;
    assert_eq!(code(first.enrol(&wrong).await), "deploy.enrolment_refused");
    assert_eq!(code(first.enrol(&asked("nobody", &token)).await), "deploy.enrolment_refused");
    let welcome = first.enrol(&asked("east", &token)).await.expect("it is good");
    assert_eq!((welcome.node.as_str(), welcome.peppers.len()), ("east", 1));
    // The answer was lost: the same asks again. Anybody else with the same token does not get in.
    assert_eq!(code(first.enrol(&asked("east", &token)).await), "in");
    assert_eq!(code(nobody.enrol(&asked("east", &token)).await), "deploy.enrolment_refused");
    // One key is one node.
    let second = admit(&platform, "second").await;
    assert_eq!(code(first.enrol(&asked("second", &second)).await), "deploy.enrolment_refused");

    // A stranger's connection does not last.
    let link = link(port, &east, &token).await;
    // Of one journal there is one process, and none before it.
    let mut old = start_of(5, 1);
    old.format += 1;
    assert_eq!(code(link.follow(&old).await), "deploy.node_release");
    let table = [
        (5, 1, "in"),
        (5, 1, "in"),
        (5, 2, "deploy.journal_replaced"),
        (4, 1, "deploy.journal_replaced"),
        (6, 2, "in"),
    ];
    for (boot, number, expected) in table {
        assert_eq!(code(link.follow(&start_of(boot, number)).await), expected, "boot {boot} of {number}");
    }
    assert_eq!(code(link.ship(process(1), "g0", &Shipment::default()).await), "deploy.journal_replaced");
    assert_eq!(code(link.ship(process(2), "g0", &Shipment::default()).await), "in");
    assert_eq!(code(link.ship(process(2), "..", &Shipment::default()).await), "deploy.node_malformed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shipped_twice_or_in_pieces_counts_once() {
    let (platform, port) = platform().await;
    let tenant = platform.tenant("sent", "basic", "shared").await;
    let token = admit(&platform, "east").await;
    let key = NodeKey::new(&[2; 32]).expect("a key");
    let first = link(port, &key, &token).await;
    first.enrol(&asked("east", &token)).await.expect("the token is good");
    let link = link(port, &key, &token).await;
    let _stream = link.follow(&start_of(1, 1)).await.expect("it is let in");
    let (_folder, batch) =
        recorded((tenant.id.parse::<TenantId>().expect("an id").as_u128(), 10), "transactions", AT_US);
    let (end, wanted) = (batch.next_sequence, batch.next_sequence);
    let ship = async |from: u64, batch: Batch| {
        let shipment = Shipment { from, batch, end, complete_to_us: Some(AT_US) };
        link.ship(process(1), "gateway-0", &shipment).await.map(|position| position.next)
    };
    // The first half, all of it, all of it again.
    let half = batch.part(0, batch.len() / 2);
    let at = ship(0, half.clone()).await.expect("taken");
    assert_eq!(at, half.next_sequence);
    for _ in 0..2 {
        assert_eq!(ship(0, batch.clone()).await.expect("taken"), wanted);
    }
    // What lies beyond is not taken; where to go on is told.
    let mut beyond = Batch::default();
    beyond.append(wanted + 5, Class::R, Kind::LaneStop, &[0; 8]).expect("in order");
    beyond.next_sequence = wanted + 6;
    assert_eq!(ship(wanted + 5, beyond).await.expect("told"), wanted);
    // A gap is told as one.
    let mut gap = Batch::default();
    gap.gap = Some(Gap { missing: wanted..wanted + 5, cause: GapCause::Damaged });
    gap.append(wanted + 5, Class::R, Kind::LaneStop, &[0; 8]).expect("in order");
    gap.next_sequence = wanted + 6;
    assert_eq!(ship(wanted, gap).await.expect("taken"), wanted + 6);
    platform.counted(&tenant.code, "transactions", 10).await;
    let shown = listed(&platform, "east").await;
    assert_eq!((&shown["behind"]["gateway-0"], &shown["boot"]), (&0.into(), &1.into()), "{shown}");
}
