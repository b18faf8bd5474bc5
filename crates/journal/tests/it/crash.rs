//! Any interleaving of appends and crashes at any byte leaves a prefix that contains everything acknowledged.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use proptest::prelude::*;
use rowhouse_journal::{Class, Journal, Kind, verify_dir};

use crate::place::{Place, options, payload, read_all};

/// What one process does before it crashes.
#[derive(Debug, Clone)]
struct Life {
    appends: Vec<Append>,
    crash: Crash,
}

#[derive(Debug, Clone)]
struct Append {
    length: usize,
    /// Wait until it is on the disk, as class S does.
    synced: bool,
}

/// How the process ends. A fraction says where, between what is known to be on the disk and the end of the file.
#[derive(Debug, Clone)]
enum Crash {
    /// `kill -9`: the page cache keeps everything.
    Killed,
    /// Power fails: what was not synchronised is zero from some byte on.
    Zeroed(f64),
    /// The file ends at some byte.
    CutOff(f64),
    /// A sector was torn: noise from some byte on, then zeros.
    Noise(f64, u8),
}

fn life() -> impl Strategy<Value = Life> {
    let append = (0usize..3_000, prop::bool::weighted(0.1));
    let append = append.prop_map(|(length, synced)| Append { length, synced });
    let crash = prop_oneof![
        Just(Crash::Killed),
        (0.0..1.0).prop_map(Crash::Zeroed),
        (0.0..1.0).prop_map(Crash::CutOff),
        (0.0..1.0, 1u8..).prop_map(|(at, byte)| Crash::Noise(at, byte)),
    ];
    (prop::collection::vec(append, 0..120), crash).prop_map(|(appends, crash)| Life { appends, crash })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_leaves_a_prefix_with_everything_acknowledged(lives in prop::collection::vec(life(), 1..4)) {
        let mut place = Place::in_memory("crash-0");
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for (number, life) in lives.iter().enumerate() {
            let (acknowledged, appended, after) = live_and_crash(&place, life, number + 1, kept.len() as u64);
            kept.extend(appended);
            place = after;
            let (journal, report) = Journal::open(place.path(), options()).unwrap();
            prop_assert!(!report.is_damaged(), "a torn end is not damage: {report:?}");
            let read = read_all(&mut journal.reader().tail("core-0", 0));
            prop_assert!(read.gaps.is_empty());
            let count = read.usage.len();
            prop_assert!(count >= acknowledged, "{count} frames left of {acknowledged} acknowledged");
            prop_assert!(kept.starts_with(&read.usage), "what is left is a prefix");
            prop_assert!(read.sequences.iter().copied().eq(1..=read.sequences.len() as u64), "without holes");
            kept = read.usage;
        }
    }
}

/// Returns how many frames in all were acknowledged, what was appended, and what the crash left.
fn live_and_crash(place: &Place, life: &Life, number: usize, before: u64) -> (usize, Vec<Vec<u8>>, Place) {
    let (journal, _) = place.open();
    let mut lane = journal.lane("core-0").unwrap();
    let mut appended = Vec::new();
    let mut acknowledged = before as usize;
    for (index, append) in life.appends.iter().enumerate() {
        let bytes = payload(before + index as u64, append.length);
        lane.append_bytes(Class::R, Kind::Usage, &bytes).unwrap();
        appended.push(bytes);
        if append.synced {
            journal.synchronise();
            acknowledged = before as usize + appended.len();
        }
    }
    let after = Place::copy_of(place.path(), &format!("crash-{number}"));
    match life.crash {
        Crash::Killed => acknowledged = before as usize + appended.len(),
        Crash::Zeroed(at) => damage_tail(&after, at, |file, at, end| {
            file.write_all_at(&vec![0; (end - at) as usize], at).unwrap();
        }),
        Crash::CutOff(at) => damage_tail(&after, at, |file, at, _| file.set_len(at).unwrap()),
        Crash::Noise(at, byte) => damage_tail(&after, at, |file, at, end| {
            file.write_all_at(&vec![0; (end - at) as usize], at).unwrap();
            let noise: Vec<u8> =
                (0..512.min(end - at)).map(|index| byte.wrapping_mul(index as u8 | 1)).collect();
            file.write_all_at(&noise, at).unwrap();
        }),
    }
    (acknowledged, appended, after)
}

/// Changes the segment that was being written, from a byte on that the disk had not confirmed.
fn damage_tail(place: &Place, fraction: f64, change: impl Fn(&std::fs::File, u64, u64)) {
    let path = unsealed_segment(place);
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    // The word at 144 of the header says up to where the disk has confirmed the segment.
    let mut word = [0; 8];
    file.read_exact_at(&mut word, 144).unwrap();
    let confirmed = u64::from_le_bytes(word).max(256);
    let end = file.metadata().unwrap().len();
    let at = confirmed + ((end - confirmed) as f64 * fraction * fraction) as u64;
    change(&file, at, end);
}

fn unsealed_segment(place: &Place) -> PathBuf {
    let report = verify_dir(place.path()).unwrap();
    assert!(report.is_right(), "{report:?}");
    let unsealed = report.segments.iter().filter(|segment| !segment.sealed);
    unsealed.max_by_key(|segment| segment.first_sequence).unwrap().path.clone()
}
