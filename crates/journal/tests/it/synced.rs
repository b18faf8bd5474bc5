//! Class S waits for the disk, together with whoever else waits; readers are woken by it.

use rowhouse_journal::{Class, Kind, SyncError, TailError};

use crate::place::{Place, read_all};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
fn a_synced_append_resolves_when_it_can_be_read_durably() {
    let place = Place::new("synced");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    let mut tail = journal.reader().tail("core-0", 0);
    for number in 0..50u64 {
        let synced =
            lane.append_synced(Kind::Audit, 8, |buffer| buffer.copy_from_slice(&number.to_le_bytes()));
        let sequence = runtime().block_on(synced.unwrap()).unwrap();
        assert_eq!(read_all(&mut tail).sequences.last(), Some(&sequence));
    }
}

#[test]
fn many_who_wait_share_synchronisations() {
    let place = Place::new("group");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    let before = journal.status().syncs;
    let waiting: Vec<_> =
        (0..5_000).map(|_| lane.append_synced(Kind::Usage, 8, |buffer| buffer.fill(1)).unwrap()).collect();
    runtime().block_on(async {
        for synced in waiting {
            synced.await.unwrap();
        }
    });
    let syncs = journal.status().syncs - before;
    assert!(syncs < 1_000, "{syncs} synchronisations for 5,000 waiting");
}

#[test]
fn readers_are_woken_without_polling() {
    let place = Place::new("wake");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    journal.synchronise();
    let mut appended = journal.appended();
    let mut tail = journal.reader().tail("core-0", 0);
    read_all(&mut tail);
    appended.mark_unchanged();
    let sequence = lane.append_bytes(Class::R, Kind::Usage, b"wake up").unwrap();
    // No one asks for synchronisation: class R gets there by itself.
    runtime().block_on(async {
        while read_all(&mut tail).sequences.last() != Some(&sequence) {
            appended.changed().await.unwrap();
        }
    });
}

#[test]
fn waiting_ends_when_the_journal_closes() {
    let place = Place::new("closed");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    drop(journal);
    let sequence = lane.append_bytes(Class::S, Kind::Usage, b"late").unwrap();
    let answer = runtime().block_on(lane.synced(sequence));
    assert_eq!(answer, Err(SyncError::Closed { lane: "core-0".to_owned() }));
    drop(lane);
    let (journal, _) = place.open();
    assert_eq!(
        read_all(&mut journal.reader().tail("core-0", 0)).usage,
        [b"late"],
        "it was kept all the same"
    );
}

#[test]
fn a_position_from_another_journal_is_noticed() {
    let place = Place::new("ahead");
    let (journal, _) = place.open();
    let _lane = journal.lane("core-0").unwrap();
    journal.synchronise();
    let mut tail = journal.reader().tail("core-0", 5_000);
    match tail.next_batch(10, 1_000) {
        Err(TailError::Ahead { asked: 5_000, end: 2, .. }) => {}
        other => panic!("{other:?}"),
    }
}
