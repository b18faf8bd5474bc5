//! Segments that everyone has read are removed; nothing else is.

use std::fs::OpenOptions;
use std::time::Duration;

use rowhouse_journal::{Class, GapCause, Journal, Kind, Options};

use crate::place::{Place, options, payload, read_all, wait_until};

#[test]
fn released_segments_are_removed_and_a_late_reader_is_told() {
    let place = Place::new("release");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    for number in 0..3_000 {
        lane.append_bytes(Class::R, Kind::Usage, &payload(number, 100)).unwrap();
    }
    journal.synchronise();
    let segments = journal.status().lanes[0].segments;
    assert!(segments >= 6);
    let mut early = journal.reader().tail("core-0", 0);
    early.next_batch(1, 1).unwrap();
    journal.release("core-0", 1_500);
    wait_until("the removal", || journal.status().lanes[0].first_sequence > 1);
    wait_until("all of it", || {
        journal.status().lanes[0].first_sequence > 1_500 - 600
            && journal.status().lanes[0].segments < segments - 1
    });
    let first = journal.status().lanes[0].first_sequence;
    assert!(first <= 1_500, "what was not released stays");
    let late = read_all(&mut journal.reader().tail("core-0", 5));
    assert_eq!(late.gaps.len(), 1);
    assert_eq!((late.gaps[0].missing.clone(), late.gaps[0].cause), (5..first, GapCause::Removed));
    assert_eq!(late.sequences, (first..=3_001).collect::<Vec<_>>());
    let oldest = read_all(&mut journal.reader().tail("core-0", 0));
    assert!(oldest.gaps.is_empty(), "from the oldest there is, nothing is missing");
    assert_eq!(oldest.sequences[0], first);
}

#[test]
fn a_lane_remembers_its_sequence_when_everything_has_been_released() {
    let place = Place::new("release-all");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    for number in 0..1_500 {
        lane.append_bytes(Class::R, Kind::Usage, &payload(number, 100)).unwrap();
    }
    drop(lane);
    journal.synchronise();
    journal.release("core-0", u64::MAX);
    wait_until("the removal of all but the newest", || journal.status().lanes[0].segments == 1);
    drop(journal);
    let (_journal, report) = place.open();
    assert_eq!(report.lanes[0].next_sequence, 1_503);
}

#[test]
fn nothing_is_removed_before_its_time_or_without_release() {
    let place = Place::new("keep");
    let hour = Duration::from_secs(3_600);
    let (journal, _) = Journal::open(place.path(), Options { keep: hour, ..options() }).unwrap();
    // Looked at in this order by the thread that removes: when the last one's is gone, the others were looked at.
    let lanes = ["fresh", "unreleased", "old"];
    for name in lanes {
        let mut lane = journal.lane(name).unwrap();
        for number in 0..1_500 {
            lane.append_bytes(Class::R, Kind::Usage, &payload(number, 100)).unwrap();
        }
    }
    let first = |lane: &str| place.path().join(lane).join("00000000000000000001.segment");
    for name in ["unreleased", "old"] {
        wait_until("the lane to be closed", || {
            journal.synchronise();
            first(name).exists() && journal.status().lanes.iter().all(|lane| lane.synced_sequence == 1_503)
        });
        let file = OpenOptions::new().write(true).open(first(name)).unwrap();
        file.set_modified(file.metadata().unwrap().modified().unwrap() - 2 * hour).unwrap();
    }
    journal.release("fresh", u64::MAX);
    journal.release("old", u64::MAX);
    wait_until("the removal of the old", || !first("old").exists());
    assert!(first("fresh").exists() && first("unreleased").exists());
}
