//! A process that appends is killed with SIGKILL, again and again; nothing it acknowledged is missing.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rowhouse_journal::{Class, Journal, Kind, Reader};

use crate::place::{Place, options, payload};

const ROUNDS: u64 = 20;
const CHILD: &str = "ROWHOUSE_JOURNAL_TEST_CHILD";
const LANES: [(&str, Class); 2] = [("core-0", Class::R), ("ingest", Class::S)];

#[test]
fn nothing_acknowledged_is_missing_after_kill_9() {
    if let Some(directory) = std::env::var_os(CHILD) {
        append_until_killed(Path::new(&directory));
    }
    let place = Place::new("kill");
    let mut acknowledged = [0; LANES.len()];
    for round in 0..ROUNDS {
        run_and_kill(place.path(), 500 + 400 * round, &mut acknowledged);
        let (journal, report) = place.open();
        assert!(!report.is_damaged(), "{report:?}");
        for (index, (lane, _)) in LANES.iter().enumerate() {
            let last = check_whole(&journal.reader(), lane);
            // Each round adds at most one frame that was appended and not yet acknowledged.
            assert!(last >= acknowledged[index], "{lane} ends at {last}, acknowledged {acknowledged:?}");
            assert!(last <= acknowledged[index] + 1, "{lane} ends at {last}, acknowledged {acknowledged:?}");
        }
    }
}

/// Starts a process that appends, reads its acknowledgements, and kills it after `count` of them.
fn run_and_kill(directory: &Path, count: u64, acknowledged: &mut [u64; LANES.len()]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::nothing_acknowledged_is_missing_after_kill_9", "--nocapture"])
        .env(CHILD, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledgements = child.stderr.take().unwrap();
    let mut message = [0; 16];
    let mut read = 0;
    let mut tail = None;
    while acknowledgements.read_exact(&mut message).is_ok() {
        let lane = u64::from_le_bytes(*message.first_chunk().unwrap()) as usize;
        acknowledged[lane] = u64::from_le_bytes(*message.last_chunk().unwrap());
        read += 1;
        if read == count / 2 {
            // While it is being written, from another process: whole as well.
            let reader = Reader::open_dir(directory).unwrap();
            check_whole(&reader, LANES[0].0);
            tail = Some(reader);
        }
        if read == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(read >= count && tail.is_some(), "the process ended by itself after {read} acknowledgements");
}

/// Every frame of a lane, from the first, in order, with the payload that its sequence says. Returns the last.
fn check_whole(reader: &Reader, lane: &str) -> u64 {
    let mut tail = reader.tail(lane, 0);
    let mut expected = 1;
    loop {
        let batch = tail.next_batch(1_000, 1_000_000).unwrap();
        assert_eq!(batch.gap, None);
        if batch.is_empty() {
            return expected - 1;
        }
        for frame in batch.frames() {
            assert_eq!(frame.sequence, expected);
            if frame.kind == Kind::Usage {
                assert_eq!(frame.payload, payload(expected, (expected % 300) as usize));
            }
            expected += 1;
        }
    }
}

fn append_until_killed(directory: &Path) -> ! {
    let (journal, _) = Journal::open(directory, options()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut writers = LANES.map(|(name, _)| journal.lane(name).unwrap());
    // The start of a lane is a frame too.
    for (index, writer) in writers.iter().enumerate() {
        acknowledge(index, writer.next_sequence() - 1);
    }
    for number in 0u64.. {
        // Class S waits for the disk: one for every hundred of class R.
        let index = usize::from(number % 100 == 99);
        let (writer, class) = (&mut writers[index], LANES[index].1);
        let next = writer.next_sequence();
        let bytes = payload(next, (next % 300) as usize);
        let sequence = writer.append_bytes(class, Kind::Usage, &bytes).unwrap();
        if class == Class::S {
            runtime.block_on(writer.synced(sequence)).unwrap();
        }
        acknowledge(index, sequence);
    }
    unreachable!("appends until it is killed")
}

fn acknowledge(lane: usize, sequence: u64) {
    let mut message = [0; 16];
    message[..8].copy_from_slice(&(lane as u64).to_le_bytes());
    message[8..].copy_from_slice(&sequence.to_le_bytes());
    std::io::stderr().write_all(&message).unwrap();
}
