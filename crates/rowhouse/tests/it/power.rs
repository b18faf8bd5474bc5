//! With the power pulled: `kill -9` of the whole of Rowhouse under load. What the client saw complete, the journal
//! recorded and the metering counted are one number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rowhouse_journal::{Kind, Reader};
use rustix::process::{Pid, Signal, kill_process};

use crate::platform::{Call, Platform, Tenant};

/// Clients at once.
const CLIENTS: usize = 4;
/// Times the power is pulled.
const ROUNDS: u64 = 3;
/// Complete answers in each round before it is.
const ENOUGH: u64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_recorded_and_counted_once() {
    let platform = Arc::new(Platform::start().await);
    let tenant = Arc::new(platform.tenant("power", "professional", "shared").await);
    let (complete, broken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for round in 1..=ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                tokio::spawn(client(
                    platform.clone(),
                    tenant.clone(),
                    complete.clone(),
                    broken.clone(),
                    stop.clone(),
                ))
            })
            .collect();
        let mut beat = tokio::time::interval(Duration::from_millis(5));
        while complete.load(Ordering::SeqCst) < round * ENOUGH {
            beat.tick().await;
        }
        platform.kill().await;
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.expect("a client of the load");
        }
        platform.run().await;
    }
    let (complete, broken) = (complete.load(Ordering::SeqCst), broken.load(Ordering::SeqCst));
    let recorded = recorded(&platform);
    assert!(
        (complete..=complete + broken).contains(&recorded),
        "{complete} complete, {broken} broken off, {recorded} recorded"
    );
    platform.counted(&tenant.code, "transactions", recorded).await;
}

async fn client(
    platform: Arc<Platform>,
    tenant: Arc<Tenant>,
    complete: Arc<AtomicU64>,
    broken: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::SeqCst) {
        let call = Call::get("/v1/notes/1").tenant(&tenant).header("x-usage", "transactions=1");
        match platform.try_gateway(call).await {
            Some(seen) if seen.status == 200 => complete.fetch_add(1, Ordering::SeqCst),
            Some(_) => 0,
            None => {
                broken.fetch_add(1, Ordering::SeqCst);
                return;
            }
        };
    }
}

/// Served requests that reported a transaction, in the journal's own files.
fn recorded(platform: &Platform) -> u64 {
    let reader = Reader::open_dir(&platform.data_dir().join("journal")).expect("the journal");
    let mut count = 0;
    for lane in reader.lanes().expect("lanes") {
        let mut tail = reader.tail_published(&lane, 0);
        loop {
            let batch = tail.next_batch(10_000, 8 << 20).expect("readable");
            if batch.is_empty() {
                break;
            }
            let requests = batch.frames().filter(|frame| frame.kind == Kind::Request);
            count += requests
                .filter(|frame| {
                    frame.record().expect("a record").usage.iter().any(|(meter, _)| meter == "transactions")
                })
                .count() as u64;
        }
    }
    count
}

#[tokio::test]
async fn requests_go_on_while_postgresql_stands_still_and_nothing_is_lost() {
    let platform = Platform::start().await;
    let tenant = platform.tenant("still", "basic", "shared").await;
    let server = Server::stopped(&platform);
    for n in 0..200 {
        let seen = platform
            .gateway(Call::get("/v1/notes/1").tenant(&tenant).header("x-usage", "transactions=1"))
            .await;
        assert_eq!(seen.status, 200, "call {n}: {}", seen.body);
    }
    server.go_on();
    platform.counted(&tenant.code, "transactions", 200).await;
}

/// The private server's processes.
struct Server {
    postmaster: String,
    /// What it had made when it stood still.
    others: Vec<String>,
}

impl Server {
    /// Stands still: its first process before the others, so that no more are made meanwhile.
    fn stopped(platform: &Platform) -> Server {
        let file = platform.data_dir().join("postgres/cluster/postmaster.pid");
        let text = std::fs::read_to_string(file).expect("it runs");
        let postmaster = text.lines().next().expect("a pid").to_owned();
        send(&postmaster, Signal::STOP).expect("it runs");
        let others = children_of(&postmaster);
        for pid in &others {
            send_or_gone(pid, Signal::STOP);
        }
        Server { postmaster, others }
    }

    fn go_on(self) {
        for pid in &self.others {
            send_or_gone(pid, Signal::CONT);
        }
        send(&self.postmaster, Signal::CONT).expect("it waits");
    }
}

fn children_of(parent: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)) == Some(parent)
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// A session's process may have ended by itself since it was seen.
fn send_or_gone(pid: &str, signal: Signal) {
    if let Err(why) = send(pid, signal) {
        assert_eq!(why, rustix::io::Errno::SRCH, "process {pid}");
    }
}

fn send(pid: &str, signal: Signal) -> rustix::io::Result<()> {
    kill_process(Pid::from_raw(pid.parse().expect("a number")).expect("not zero"), signal)
}
