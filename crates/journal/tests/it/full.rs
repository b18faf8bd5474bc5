//! When there is no room: a clear error, and an exact count as soon as there is room again.

use std::time::Duration;

use rowhouse_journal::{AppendError, Class, DropReason, Journal, Kind, LaneWriter, Options};

use crate::place::{Place, Read, SEGMENT_BYTES, options, payload, read_all, wait_until};

/// Takes away the place where new segments are made and appends until nothing fits any more.
fn fill(place: &Place, lane: &mut LaneWriter) -> u64 {
    let spares = place.path().join("spare");
    std::fs::rename(&spares, place.path().join("spare-elsewhere")).unwrap();
    let mut appended = 0;
    while lane.append_bytes(Class::R, Kind::Usage, &[7; 1_000]).is_ok() {
        appended += 1;
    }
    appended
}

fn give_room(place: &Place) {
    std::fs::rename(place.path().join("spare-elsewhere"), place.path().join("spare")).unwrap();
}

#[test]
fn what_could_not_be_recorded_is_counted_exactly() {
    let place = Place::new("full");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    let appended = fill(&place, &mut lane);
    let mut failed = 1;
    for _ in 0..99 {
        let error = lane.append_bytes(Class::R, Kind::Usage, &[7; 1_000]).unwrap_err();
        assert_eq!(error, AppendError::Full { reason: DropReason::NoSegment });
        failed += 1;
    }
    let status = journal.status();
    assert!(status.full.is_some());
    assert_eq!(status.lanes[0].dropped, failed);
    give_room(&place);
    wait_until("room", || match lane.append_bytes(Class::R, Kind::Usage, b"again") {
        Ok(_) => true,
        Err(_) => {
            failed += 1;
            false
        }
    });
    journal.synchronise();
    let read = read_all(&mut journal.reader().tail("core-0", 0));
    assert_eq!(read.usage.len() as u64, appended + 1);
    assert_eq!(read.dropped, failed);
    assert_eq!(read.marks, [Kind::LaneStart, Kind::Dropped]);
    wait_until("status to know", || journal.status().full.is_none());
}

#[test]
fn the_count_survives_a_kill_and_is_written_once() {
    let place = Place::new("full-killed");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    let appended = fill(&place, &mut lane);
    for _ in 0..4 {
        lane.append_bytes(Class::R, Kind::Usage, &[7; 1_000]).unwrap_err();
    }
    give_room(&place);
    let killed = Place::copy_of(place.path(), "full-killed-copy");
    for boot in 0..3 {
        let (journal, report) = killed.open();
        assert_eq!(report.lanes[0].dropped.map(|dropped| dropped.count), (boot == 0).then_some(5));
        drop(journal.lane("core-0").unwrap());
    }
    let (journal, _) = killed.open();
    let read = read_all(&mut journal.reader().tail("core-0", 0));
    assert_eq!((read.usage.len() as u64, read.dropped), (appended, 5));
}

#[test]
fn a_payload_that_no_segment_can_hold_is_refused_and_not_counted_as_dropped() {
    let place = Place::new("large");
    let (journal, _) = Journal::open(place.path(), options()).unwrap();
    let mut lane = journal.lane("core-0").unwrap();
    let error = lane.append_bytes(Class::R, Kind::Usage, &vec![0; SEGMENT_BYTES]).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { .. }));
    assert_eq!(journal.status().lanes[0].dropped, 0);
    lane.append_bytes(Class::R, Kind::Usage, &vec![0; SEGMENT_BYTES / 2 - 1_000]).unwrap();
}

#[test]
fn a_writer_that_panics_while_it_fills_a_frame_has_appended_nothing() {
    let place = Place::new("panic");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        lane.append(Class::R, Kind::Usage, 500, |buffer| {
            buffer.fill(0xFF);
            panic!("halfway");
        })
    }));
    assert!(panicked.is_err());
    // Shorter than what was left behind: the remains must not look like a frame.
    lane.append_bytes(Class::R, Kind::Usage, b"short").unwrap();
    let mut published = journal.reader().tail_published("core-0", 0);
    assert_eq!(read_all(&mut published).usage, [b"short"]);
    let (_journal, report) = Place::copy_of(place.path(), "panic-killed").open();
    assert_eq!(report.lanes[0].torn, None);
    assert!(!report.is_damaged());
}

/// So many bytes at most, and what was read is kept for long.
fn bounded(bytes_max: u64) -> Options {
    Options { bytes_max: Some(bytes_max), keep: Duration::from_secs(3_600), ..options() }
}

#[test]
fn what_everyone_has_read_makes_room_before_its_time_and_nothing_else_does() {
    let place = Place::new("bound-read");
    let most = 8 * SEGMENT_BYTES as u64;
    let (journal, _) = Journal::open(place.path(), bounded(most)).unwrap();
    let mut lane = journal.lane("core-0").unwrap();
    let mut tail = journal.reader().tail("core-0", 0);
    // Far more than it may take, read as it comes: nothing is lost.
    let mut read = Read::default();
    for number in 0..3_000 {
        wait_until("room", || journal.status().full.is_none());
        lane.append_bytes(Class::R, Kind::Usage, &payload(number, 1_000)).unwrap();
        if number % 30 == 0 {
            journal.synchronise();
            read.add(read_all(&mut tail));
            journal.release("core-0", read.sequences.last().map_or(0, |last| last + 1));
        }
    }
    journal.synchronise();
    read.add(read_all(&mut tail));
    assert_eq!((read.usage.len(), read.dropped, read.gaps.len()), (3_000, 0, 0));
    assert_eq!(journal.status().lanes[0].dropped, 0);
    // A writer that finds no segment ready makes one itself.
    wait_until("its bound", || place.bytes() <= most + SEGMENT_BYTES as u64);
}

#[test]
fn what_nobody_has_read_is_never_removed_and_the_rest_is_counted() {
    let place = Place::new("bound-unread");
    let most = 6 * SEGMENT_BYTES as u64;
    let (journal, _) = Journal::open(place.path(), bounded(most)).unwrap();
    let mut lane = journal.lane("core-0").unwrap();
    let (mut taken, mut lost) = (0, 0);
    while lost < 100 {
        wait_until("segments", || journal.status().full.is_some() || journal.status().spares >= 2);
        match lane.append_bytes(Class::R, Kind::Usage, &payload(taken, 1_000)) {
            Ok(_) => taken += 1,
            Err(_) => lost += 1,
        }
    }
    assert!(journal.status().full.is_some_and(|(_, why)| why.contains("size_mib_max")));
    assert!(
        taken >= 200 && place.bytes() <= most + SEGMENT_BYTES as u64,
        "{taken} in {} bytes",
        place.bytes()
    );
    drop(lane);
    drop(journal);
    // Started anew again and again it takes a segment of its own each time, which is given back but for what is in it.
    for _ in 0..5 {
        let (journal, _) = Journal::open(place.path(), bounded(most)).unwrap();
        let mut lane = journal.lane("core-0").unwrap();
        lane.append_bytes(Class::R, Kind::Usage, b"after a start").unwrap();
        taken += 1;
    }
    let (journal, _) = Journal::open(place.path(), bounded(most)).unwrap();
    let mut lane = journal.lane("core-0").unwrap();
    let read = read_all(&mut journal.reader().tail("core-0", 0));
    assert_eq!((read.usage.len() as u64, read.dropped), (taken, lost));
    // It is read at last: there is room again.
    journal.release("core-0", u64::MAX);
    wait_until("room", || journal.status().full.is_none());
    lane.append_bytes(Class::R, Kind::Usage, b"again").unwrap();
}
