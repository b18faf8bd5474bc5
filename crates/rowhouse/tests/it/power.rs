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
    let server = Server::of(&platform);
    server.signal(Signal::STOP);
    for n in 0..200 {
        let seen = platform
            .gateway(Call::get("/v1/notes/1").tenant(&tenant).header("x-usage", "transactions=1"))
            .await;
        assert_eq!(seen.status, 200, "call {n}: {}", seen.body);
    }
    server.signal(Signal::CONT);
    platform.counted(&tenant.code, "transactions", 200).await;
}

/// The private server's processes.
struct Server(Vec<String>);

impl Server {
    fn of(platform: &Platform) -> Server {
        let file = platform.data_dir().join("postgres/cluster/postmaster.pid");
        let text = std::fs::read_to_string(file).expect("it runs");
        let postmaster = text.lines().next().expect("a pid").to_owned();
        let mut all = vec![postmaster.clone()];
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
            if parent == Some(postmaster.as_str()) {
                all.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Server(all)
    }

    fn signal(&self, signal: Signal) {
        for pid in &self.0 {
            let pid = Pid::from_raw(pid.parse().expect("a number")).expect("not zero");
            kill_process(pid, signal).expect("it is there");
        }
    }
}
