//! A flipped bit is found, what it hit is named, and everything else is read.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rowhouse_journal::{Class, GapCause, Journal, Kind, verify_dir};

use crate::place::{FIRST_SEGMENT, Place, options, payload, read_all, wait_until};

const FRAMES: u64 = 12;

/// A lane as a killed process leaves it: everything synchronised, nothing sealed. Returns where its frames end.
fn killed_journal(name: &str) -> (Place, u64) {
    let place = Place::in_memory(name);
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    for number in 1..=FRAMES {
        // Sequence 1 is the start of the lane.
        lane.append_bytes(Class::R, Kind::Usage, &payload(number + 1, 20 + number as usize)).unwrap();
    }
    journal.synchronise();
    let segment = place.path().join(FIRST_SEGMENT);
    wait_until("the segment to lie in its lane", || segment.exists());
    let copy = Place::copy_of(place.path(), &format!("{name}-copy"));
    let report = verify_dir(copy.path()).unwrap();
    (copy, 256 + report.segments[0].bytes)
}

fn flip(directory: &Path, offset: u64, bit: u8) {
    let path = verify_dir(directory).unwrap().segments[0].path.clone();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << bit)], offset).unwrap();
}

/// How many bytes of the frame with `sequence` are not padding, and where it begins.
fn frame_extent(sequence: u64) -> (u64, u64) {
    let length = |sequence: u64| if sequence == 1 { 18 + 8 } else { 18 + 20 + sequence - 1 };
    let begin = 256 + (1..sequence).map(|before| length(before).next_multiple_of(8)).sum::<u64>();
    (begin, length(sequence))
}

#[test]
fn any_flipped_bit_in_a_frame_costs_that_frame_only_and_is_reported() {
    let (original, end) = killed_journal("flip");
    for sequence in 2..=FRAMES + 1 {
        let (begin, length) = frame_extent(sequence);
        assert!(begin + length <= end);
        for offset in begin..begin + length {
            let place = Place::copy_of(original.path(), "flip-one");
            flip(place.path(), offset, (offset % 8) as u8);
            assert!(!verify_dir(place.path()).unwrap().is_right(), "byte {offset}");
            let (journal, report) = Journal::open(place.path(), options()).unwrap();
            let damage = &report.lanes[0].damage;
            assert_eq!(damage.len(), 1, "byte {offset}: {report:?}");
            assert_eq!((damage[0].offset, damage[0].lost.start), (begin, sequence));
            let read = read_all(&mut journal.reader().tail("core-0", 0));
            let expected: Vec<u64> = (1..=FRAMES + 1).filter(|other| *other != sequence).collect();
            assert_eq!(read.sequences, expected, "byte {offset}");
            // Behind the last frame the gap shows once the lane goes on.
            if sequence <= FRAMES {
                assert_eq!(read.gaps.len(), 1);
                assert_eq!(read.gaps[0].missing, sequence..sequence + 1);
                assert_eq!(read.gaps[0].cause, GapCause::Damaged);
            }
        }
    }
}

#[test]
fn a_damaged_lane_goes_on_behind_every_sequence_that_may_have_been_read() {
    let (place, _) = killed_journal("onward");
    let (begin, _) = frame_extent(FRAMES + 1);
    flip(place.path(), begin + 20, 3);
    let (journal, report) = place.open();
    let next = report.lanes[0].next_sequence;
    assert!(next > FRAMES + 1, "the lost frame's sequence is not given out again");
    let mut lane = journal.lane("core-0").unwrap();
    let sequence = lane.append_bytes(Class::R, Kind::Usage, b"after").unwrap();
    assert_eq!(sequence, next + 1, "the lane's start comes first");
    journal.synchronise();
    let read = read_all(&mut journal.reader().tail("core-0", 0));
    assert_eq!(read.sequences.last(), Some(&sequence));
    assert_eq!(read.gaps.len(), 1);
    assert_eq!((read.gaps[0].missing.start, read.gaps[0].cause), (FRAMES + 1, GapCause::Damaged));
}

#[test]
fn what_was_lost_at_the_end_of_a_lane_stays_lost_at_every_opening() {
    let (place, _) = killed_journal("twice");
    let (begin, _) = frame_extent(FRAMES + 1);
    flip(place.path(), begin + 20, 3);
    let first = place.open().1;
    let second = place.open().1;
    assert_eq!(first.lanes[0].next_sequence, second.lanes[0].next_sequence);
    assert_eq!(first.lanes[0].damage[0].lost, second.lanes[0].damage[0].lost);
    assert_eq!(second.lanes[0].torn, None);
    assert!(!verify_dir(place.path()).unwrap().is_right());
}

#[test]
fn a_segment_cut_short_of_what_the_disk_had_confirmed_is_damage() {
    let (original, end) = killed_journal("cut");
    for length in [end - 8, 600, 300, 256, 200, 0] {
        let place = Place::copy_of(original.path(), "cut-one");
        let path = place.path().join(FIRST_SEGMENT);
        OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
        let (journal, report) = place.open();
        assert!(report.is_damaged(), "cut to {length}");
        assert!(report.lanes[0].next_sequence > FRAMES + 1, "cut to {length}");
        let read = read_all(&mut journal.reader().tail("core-0", 0));
        assert!((1..=FRAMES).collect::<Vec<_>>().starts_with(&read.sequences), "cut to {length}: {read:?}");
    }
}

#[test]
fn a_flipped_bit_in_the_words_of_a_header_loses_no_frame_and_gives_no_sequence_twice() {
    let (original, _) = killed_journal("words");
    // Killed: the words say how far the disk is. And closed in good order: they say where the segment ends.
    let closed = Place::copy_of(original.path(), "words-closed");
    drop(closed.open());
    for (place, name) in [(&original, "words-one"), (&closed, "words-two")] {
        for bit in 128 * 8..256 * 8 {
            let place = Place::copy_of(place.path(), name);
            flip(place.path(), bit / 8, (bit % 8) as u8);
            let (journal, report) = place.open();
            let read = read_all(&mut journal.reader().tail("core-0", 0));
            assert_eq!(read.sequences, (1..=FRAMES + 1).collect::<Vec<_>>(), "{name} bit {bit}");
            assert!(report.lanes[0].next_sequence > FRAMES + 1, "{name} bit {bit}");
        }
    }
}

#[test]
fn a_quarantined_segment_is_remembered_and_never_removed() {
    let (place, _) = killed_journal("quarantine");
    let (begin, _) = frame_extent(5);
    flip(place.path(), begin + 18, 0);
    drop(place.open());
    let (journal, report) = place.open();
    assert_eq!(report.lanes[0].damage[0].lost, 5..6, "still known at the next opening");
    let next_segment = format!("core-0/{:020}.segment", report.lanes[0].next_sequence);
    let mut lane = journal.lane("core-0").unwrap();
    for number in 0..1_000 {
        lane.append_bytes(Class::R, Kind::Usage, &payload(number, 100)).unwrap();
    }
    journal.synchronise();
    wait_until("the next segment to lie in its lane", || place.path().join(&next_segment).exists());
    journal.release("core-0", u64::MAX);
    wait_until("its removal", || !place.path().join(&next_segment).exists());
    assert_eq!(verify_dir(place.path()).unwrap().segments[0].first_sequence, 1);
}

#[test]
fn a_damaged_header_does_not_hide_the_frames() {
    for offset in [0, 9, 13, 17, 30, 60, 100] {
        let (place, _) = killed_journal("header");
        flip(place.path(), offset, 1);
        // A version from the future is refused: it may mean anything.
        if offset == 9 {
            assert!(Journal::open(place.path(), options()).is_err());
            continue;
        }
        let (journal, report) = place.open();
        assert!(report.is_damaged(), "byte {offset}");
        let read = read_all(&mut journal.reader().tail("core-0", 0));
        assert_eq!(read.sequences, (1..=FRAMES + 1).collect::<Vec<_>>(), "byte {offset}");
    }
}

#[test]
fn damage_in_a_sealed_segment_is_found_when_it_is_read() {
    let place = Place::in_memory("sealed");
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    for number in 1..=FRAMES {
        lane.append_bytes(Class::R, Kind::Usage, &payload(number + 1, 20 + number as usize)).unwrap();
    }
    drop(lane);
    drop(journal);
    let (begin, _) = frame_extent(7);
    flip(place.path(), begin + 25, 5);
    let (journal, _) = place.open();
    let read = read_all(&mut journal.reader().tail("core-0", 0));
    assert_eq!(read.gaps.len(), 1);
    assert_eq!(read.gaps[0].missing, 7..8);
    assert!(!read.sequences.contains(&7) && read.sequences.contains(&(FRAMES + 2)));
    assert_eq!(verify_dir(place.path()).unwrap().segments[0].damage[0].lost, 7..8);
}
