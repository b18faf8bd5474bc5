//! Measures the journal: what an append costs, how fast a lane fills, how long recovery takes, and beside each what
//! the plain way costs (`write(2)` per record). `bench/journal` builds and runs it.
//!
//! Flags: `--quick` (a tenth of the work), `--json` (last line: the figures as one JSON object), `--dir PATH`.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says so by panicking")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rowhouse_journal::{
    Class, Journal, Kind, LaneWriter, Options, Outcome, PrincipalKind, RequestRecord, UsagePairs,
};

/// Lanes left unsealed by the killed process: 16 segments of 64 MiB are 1 GiB to scan.
const RECOVERY_LANES: usize = 16;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    let value = |name: &str| {
        arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1)).cloned()
    };
    if let Some(directory) = value("--fill-and-die") {
        fill_and_die(Path::new(&directory), value("--lanes").unwrap().parse().unwrap());
    }
    let base = value("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = base.join(format!("rowhouse-bench-journal-{}", std::process::id()));
    let scale = if flag("--quick") { 1 } else { 10 };
    let mut figures = Vec::new();
    measure(&directory, scale, &mut figures);
    let _ = std::fs::remove_dir_all(&directory);
    for (name, figure) in &figures {
        println!("{name:<34} {figure:>14}");
    }
    if flag("--json") {
        let body: Vec<String> = figures.iter().map(|(name, figure)| format!("\"{name}\":{figure}")).collect();
        println!("{{\"bench\":\"journal\",\"figures\":{{{}}}}}", body.join(","));
    }
}

type Figures = Vec<(&'static str, u64)>;

fn measure(directory: &Path, scale: u64, figures: &mut Figures) {
    figures.push(("record_bytes", record(0).encoded_len() as u64));
    std::fs::create_dir_all(directory).unwrap();
    synced_appends(&directory.join("synced"), scale, figures);
    appends(&directory.join("appends"), scale, figures);
    plain_writes(directory, scale, figures);
    recovery(&directory.join("recovery"), scale, figures);
}

/// A request as the demo's service gets it: API key, one metered call.
fn record(number: u64) -> RequestRecord<'static> {
    let mut usage = UsagePairs::default();
    usage.push("api_calls", 1_000_000_000_000).unwrap();
    RequestRecord {
        request_id: 0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number),
        started_at_us: 1_790_000_000_000_000 + number.cast_signed(),
        duration_us: 900 + number % 300,
        upstream_us: 700,
        directory_version: 42,
        tenant: Some(0x0190_0000_0000_7000_8000_0000_0000_00ff),
        principal_kind: PrincipalKind::ApiKey,
        principal: Some(0x0190_0000_0000_7000_8000_0000_0000_0aff),
        api_key: "k3yk3yk3yk",
        service: "stamping",
        route: "stamps.create",
        endpoint: "POST /v1/stamps",
        upstream: "127.0.0.1:9000",
        release: "2026.11.1",
        method: "POST",
        status: 201,
        outcome: Outcome::Served,
        permission: "stamps:create",
        limit_hit: "tenant",
        limit_remaining: 4_711,
        bytes_in: 310,
        bytes_out: 640,
        usage,
        client_ip: "203.0.113.0",
        region: "local",
        ..RequestRecord::default()
    }
}

fn append(lane: &mut LaneWriter, number: u64) {
    lane.append_record(Class::R, &record(number)).unwrap();
}

fn appends(directory: &Path, scale: u64, figures: &mut Figures) {
    let (journal, _) = Journal::open(directory, Options::new("bench")).unwrap();
    let mut lane = journal.lane("core-0").unwrap();
    (0..100_000).for_each(|number| append(&mut lane, number));

    // One by one, with a little other work between, as in a gateway; the clock's own cost is taken off.
    let clock = percentile(&mut timed(100_000, |_| {}), 50);
    let mut times = Vec::with_capacity(100_000 * scale as usize);
    for number in 0..100_000 * scale {
        let began = Instant::now();
        append(&mut lane, number);
        times.push((began.elapsed().as_nanos() as u64).saturating_sub(clock));
        (0..50).for_each(|_| std::hint::spin_loop());
    }
    figures.push(("append_p50_ns", percentile(&mut times, 50)));
    figures.push(("append_p99_ns", percentile(&mut times, 99)));
    figures.push(("append_p999_ns", per_mille(&mut times, 999)));
    figures.push(("append_max_us", times.last().unwrap() / 1_000));

    // As fast as one core can: medians of bursts of a million, each beginning on a clean disk queue; once by the
    // clock on the wall, and once by the time this thread was on a core (other work on the machine taken out).
    let burst = 1_000_000;
    let mut by_clock = Vec::new();
    let mut by_core = Vec::new();
    for _ in 0..7 {
        journal.synchronise();
        let (began, on_core) = (Instant::now(), time_on_core());
        (0..burst).for_each(|number| append(&mut lane, number));
        by_clock.push(per_second(burst, began.elapsed()));
        by_core.push(per_second(burst, time_on_core() - on_core));
    }
    figures.push(("records_per_s", percentile(&mut by_clock, 50)));
    figures.push(("records_per_s_best", *by_clock.last().unwrap()));
    figures.push(("records_per_core_s", percentile(&mut by_core, 50)));

    // Without a pause: what the disk can take, once the page cache has no more room for what is not yet written.
    let count = 1_000_000 * scale;
    let began = Instant::now();
    (0..count).for_each(|number| append(&mut lane, number));
    figures.push(("records_sustained_per_s", per_second(count, began.elapsed())));

    let began = Instant::now();
    journal.synchronise();
    figures.push(("last_sync_us", began.elapsed().as_micros() as u64));
    let mut tail = journal.reader().tail("core-0", 0);
    let began = Instant::now();
    let mut read = 0;
    let mut bytes_out = 0;
    loop {
        let batch = tail.next_batch(4_096, 4 * 1024 * 1024).unwrap();
        if batch.is_empty() {
            break;
        }
        read += batch.len() as u64;
        let records = batch.frames().filter(|frame| frame.kind == Kind::Request);
        bytes_out += records.map(|frame| frame.record().unwrap().bytes_out).sum::<u64>();
    }
    assert_eq!(bytes_out % 640, 0);
    figures.push(("tail_records_per_s", per_second(read, began.elapsed())));
    let status = journal.status();
    figures.push(("syncs", status.syncs));
    figures.push(("sync_mean_us", status.sync_us_total / status.syncs.max(1)));
    drop(lane);
    drop(journal);
    std::fs::remove_dir_all(directory).unwrap();
}

/// Class S: one appender that waits for each, then 64 that wait at the same time.
fn synced_appends(directory: &Path, scale: u64, figures: &mut Figures) {
    let (journal, _) = Journal::open(directory, Options::new("bench")).unwrap();
    let mut lane = journal.lane("core-0").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut times = timed(50 * scale, |number| {
        let sequence = lane.append_record(Class::S, &record(number)).unwrap();
        runtime.block_on(lane.synced(sequence)).unwrap();
    });
    figures.push(("append_synced_p50_us", percentile(&mut times, 50) / 1_000));
    figures.push(("append_synced_p99_us", percentile(&mut times, 99) / 1_000));
    let began = Instant::now();
    for round in 0..10 * scale {
        let waiting: Vec<_> = (0..64)
            .map(|number| {
                let sequence = lane.append_record(Class::S, &record(round * 64 + number)).unwrap();
                lane.synced(sequence)
            })
            .collect();
        for synced in waiting {
            runtime.block_on(synced).unwrap();
        }
    }
    figures.push(("append_synced_64_per_s", per_second(640 * scale, began.elapsed())));
    drop(lane);
    drop(journal);
    std::fs::remove_dir_all(directory).unwrap();
}

/// The plain way: encode into a buffer, `write(2)` per record. As safe from `kill -9`, no checksum, no sequence.
fn plain_writes(directory: &Path, scale: u64, figures: &mut Figures) {
    let mut file = File::create(directory.join("plain")).unwrap();
    let mut buffer = vec![0; 4_096];
    let mut write = |number| {
        let record = record(number);
        let length = record.encoded_len();
        record.encode(&mut buffer[..length]);
        file.write_all(&buffer[..length]).unwrap();
    };
    let clock = percentile(&mut timed(100_000, |_| {}), 50);
    let mut times = timed(50_000 * scale, &mut write);
    figures.push(("write2_p50_ns", percentile(&mut times, 50).saturating_sub(clock)));
    figures.push(("write2_p99_ns", percentile(&mut times, 99).saturating_sub(clock)));
    let count = 200_000 * scale;
    let began = Instant::now();
    (0..count).for_each(write);
    figures.push(("write2_records_per_s", per_second(count, began.elapsed())));
    std::fs::remove_file(directory.join("plain")).unwrap();
}

/// A process fills lanes and is killed; opening the directory scans what it left. The page cache is warm.
fn recovery(directory: &Path, scale: u64, figures: &mut Figures) {
    let lanes = if scale == 1 { RECOVERY_LANES / 4 } else { RECOVERY_LANES };
    let program = std::env::current_exe().unwrap();
    let status = Command::new(program)
        .arg("--fill-and-die")
        .arg(directory)
        .args(["--lanes", &lanes.to_string()])
        .status()
        .unwrap();
    assert!(!status.success(), "the child is killed");
    let began = Instant::now();
    let (journal, report) = Journal::open(directory, Options::new("bench")).unwrap();
    let took = began.elapsed();
    let bytes: u64 = report.lanes.iter().map(|lane| lane.scanned_bytes).sum();
    let frames: u64 = report.lanes.iter().map(|lane| lane.scanned_frames).sum();
    assert!(!report.is_damaged() && bytes > lanes as u64 * 60 * 1024 * 1024);
    figures.push(("recovery_bytes", bytes));
    figures.push(("recovery_records", frames));
    figures.push(("recovery_ms", took.as_millis() as u64));
    let per_gib = took.as_millis() as u64 * 1024 * 1024 * 1024 / bytes;
    figures.push(("recovery_ms_per_gib", per_gib));
    drop(journal);
}

fn fill_and_die(directory: &Path, lanes: usize) -> ! {
    let options = Options::new("bench");
    let segment_bytes = options.segment_bytes as u64;
    let (journal, _) = Journal::open(directory, options).unwrap();
    let frame_bytes = (18 + record(0).encoded_len() as u64).next_multiple_of(8);
    let mut writers: Vec<_> = (0..lanes).map(|lane| journal.lane(&format!("core-{lane}")).unwrap()).collect();
    for writer in &mut writers {
        (0..segment_bytes / frame_bytes - 4).for_each(|number| append(writer, number));
    }
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    unreachable!("the process was killed")
}

fn timed(count: u64, mut work: impl FnMut(u64)) -> Vec<u64> {
    let mut times = Vec::with_capacity(count as usize);
    for number in 0..count {
        let began = Instant::now();
        work(number);
        times.push(began.elapsed().as_nanos() as u64);
    }
    times
}

fn percentile(times: &mut [u64], percent: usize) -> u64 {
    per_mille(times, percent * 10)
}

fn per_mille(times: &mut [u64], rank: usize) -> u64 {
    times.sort_unstable();
    times[(times.len() * rank / 1_000).min(times.len() - 1)]
}

/// How long this thread has run, in user and kernel mode (proc(5), schedstat).
fn time_on_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn per_second(count: u64, took: Duration) -> u64 {
    (count as f64 / took.as_secs_f64()) as u64
}
