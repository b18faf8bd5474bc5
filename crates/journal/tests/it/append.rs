//! Appending and reading back, across segments and openings.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, PermissionsExt};

use rowhouse_journal::{Class, Journal, Kind, LaneError, OpenError, Reader, Tail};

use crate::place::{FIRST_SEGMENT, Place, options, payload, read_all, wait_until};

#[test]
fn what_was_appended_is_read_in_order_across_segments_and_openings() {
    let place = Place::new("order");
    let mut expected = Vec::new();
    for boot in 1..=3 {
        let (journal, report) = place.open();
        assert_eq!(report.boot, boot);
        assert!(!report.is_damaged());
        let mut lane = journal.lane("core-0").unwrap();
        for number in 0..2_000 {
            let bytes = payload(boot * 10_000 + number, 8 + (number as usize * 7) % 200);
            lane.append_bytes(Class::R, Kind::Usage, &bytes).unwrap();
            expected.push(bytes);
        }
    }
    let (journal, report) = place.open();
    let read = read_all(&mut journal.reader().tail("core-0", 0));
    assert_eq!(read.usage, expected);
    assert_eq!(read.marks, [Kind::LaneStart, Kind::LaneStop].repeat(3));
    assert_eq!(read.sequences, (1..=6_006).collect::<Vec<_>>());
    assert_eq!(report.lanes[0].next_sequence, 6_007);
    assert!(report.lanes[0].segments > 6);
    assert_eq!(report.lanes[0].scanned_frames, 0, "closed in good order: nothing to scan");
}

#[test]
fn a_tail_goes_on_from_any_sequence() {
    let place = Place::new("resume");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    for number in 0..3_000 {
        lane.append_bytes(Class::R, Kind::Usage, &payload(number, 100)).unwrap();
    }
    journal.synchronise();
    for from in [1, 2, 500, 577, 1_500, 3_001] {
        let read = read_all(&mut journal.reader().tail("core-0", from));
        assert_eq!(read.sequences, (from..=3_001).collect::<Vec<_>>());
        assert!(read.gaps.is_empty());
    }
}

#[test]
fn a_tail_gives_only_what_is_durable_and_a_published_one_everything() {
    let place = Place::new("durable");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    lane.append_bytes(Class::R, Kind::Usage, b"one").unwrap();
    wait_until("the segment to lie in its lane", || place.path().join(FIRST_SEGMENT).exists());
    // What a kill leaves if the disk had confirmed the lane's start (18 and 8 bytes, padded) and no more: the words
    // at 144 and 152 of the header say so.
    let killed = Place::copy_of(place.path(), "durable-killed");
    let file = OpenOptions::new().write(true).open(killed.path().join(FIRST_SEGMENT)).unwrap();
    file.write_all_at(&(256 + 32u64).to_le_bytes(), 144).unwrap();
    file.write_all_at(&2u64.to_le_bytes(), 152).unwrap();
    let reader = Reader::open_dir(killed.path()).unwrap();
    let (mut durable, mut published) = (reader.tail("core-0", 0), reader.tail_published("core-0", 0));
    assert_eq!(read_all(&mut durable).sequences, [1]);
    assert_eq!(read_all(&mut published).sequences, [1, 2]);
    // Recovery brings the rest to the disk; the same tail goes on.
    let (_journal, _) = killed.open();
    assert_eq!(read_all(&mut durable).sequences, [2]);
}

#[test]
fn a_second_process_or_opening_is_refused_and_told_who_holds_it() {
    let place = Place::new("held");
    let (_journal, _) = place.open();
    match Journal::open(place.path(), options()) {
        Err(OpenError::Held { holder, .. }) => assert_eq!(holder, std::process::id().to_string()),
        other => panic!("{:?}", other.map(|(_, report)| report)),
    }
}

#[test]
fn a_directory_belongs_to_one_node_and_a_lane_has_one_writer() {
    let place = Place::new("owners");
    let (journal, _) = place.open();
    let lane = journal.lane("core-0").unwrap();
    assert!(matches!(journal.lane("core-0"), Err(LaneError::Taken { .. })));
    assert!(matches!(journal.lane("Core/0"), Err(LaneError::Name { .. })));
    assert!(matches!(journal.lane("spare"), Err(LaneError::Name { .. })));
    drop((lane, journal));
    let mut other = options();
    other.node = "node-b".to_owned();
    assert!(matches!(Journal::open(place.path(), other), Err(OpenError::OtherNode { .. })));
}

#[test]
fn tails_follow_a_running_writer_across_many_segments_without_a_gap() {
    const COUNT: u64 = 60_000;
    let place = Place::in_memory("follow");
    let (journal, _) = place.open();
    let reader = journal.reader();
    let mut lane = journal.lane("core-0").unwrap();
    let last = COUNT + 1;
    let follow = |mut tail: Tail| {
        let mut expected = 1;
        wait_until("the tail to reach the end", || {
            let batch = tail.next_batch(500, 50_000).unwrap();
            assert_eq!(batch.gap, None);
            for frame in batch.frames() {
                assert_eq!(frame.sequence, expected);
                expected += 1;
            }
            expected > last
        });
    };
    std::thread::scope(|threads| {
        threads.spawn(|| follow(reader.tail("core-0", 0)));
        threads.spawn(|| follow(reader.tail_published("core-0", 0)));
        for number in 0..COUNT {
            lane.append_bytes(Class::R, Kind::Usage, &payload(number, 100)).unwrap();
        }
    });
    assert!(journal.status().lanes[0].segments > 100);
}

#[test]
fn only_the_owner_looks_into_a_lane() {
    let place = Place::new("owner");
    let (journal, _) = place.open();
    let _lane = journal.lane("core-0").unwrap();
    for directory in ["core-0", "spare"] {
        let mode = std::fs::metadata(place.path().join(directory)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{directory}: {mode:o}");
    }
}
