//! The promises of a private server, on a real one. This file is what the tests stand on; the stories are in the files beside it.

mod elsewhere;
mod kills;
mod refusals;
mod remains;
mod service;
mod start;

use std::{
    fs,
    future::Future,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use super::{process::Seen, *};

/// Longer than anything here takes; what waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The example `guard`, which Cargo builds beside the tests.
fn guard_program() -> PathBuf {
    let tests = std::env::current_exe().expect("the path of the tests");
    let program = tests.parent().and_then(Path::parent).expect("target/debug/deps").join("examples/guard");
    assert!(
        program.exists(),
        "{} is missing; cargo build -p rowhouse-store --example guard",
        program.display()
    );
    program
}

/// Directory of the server programs to test with, for other majors than the installed one.
fn programs() -> Option<PathBuf> {
    std::env::var_os("ROWHOUSE_TEST_POSTGRES").map(PathBuf::from)
}

/// A directory under /tmp, removed at the end. A test that fails leaves it for the person who looks.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = PathBuf::from(format!("/tmp/rowhouse-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Scratch(path)
    }

    fn cluster(&self) -> PathBuf {
        self.0.join("cluster")
    }

    fn spec(&self) -> ServerSpec {
        let mut spec = ServerSpec::new(&self.0);
        (spec.shared_buffers_mb, spec.max_connections, spec.max_locks_per_transaction) = (16, 20, 64);
        spec.guard_program = Some(guard_program());
        spec.binaries = programs();
        spec
    }

    fn postmaster(&self) -> Option<i32> {
        fs::read_to_string(self.cluster().join("postmaster.pid")).ok()?.lines().next()?.parse().ok()
    }

    fn guard(&self) -> Option<i32> {
        let text = fs::read_to_string(self.0.join("rowhouse.lock")).ok()?;
        let holder: serde_json::Value = serde_json::from_str(&text).ok()?;
        i32::try_from(holder["guard"].as_i64()?).ok()
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config.host_path(self.0.join("socket")).dbname("postgres").user(SUPERUSER);
        config
    }

    /// All live processes of PostgreSQL in this cluster, each with its parent.
    fn processes(&self) -> Vec<(i32, i32)> {
        let here = |pid: i32| {
            let seen = Seen::at(pid).filter(|seen| seen.program == "postgres" && !seen.is_dead())?;
            let directory = process::working_directory(pid)?;
            (directory == self.cluster()).then_some((pid, seen.parent))
        };
        process::all().into_iter().filter_map(here).collect()
    }

    /// Those whose parent is none of PostgreSQL's.
    fn postmasters(&self) -> Vec<i32> {
        let all = self.processes();
        let is_here = |parent: i32| all.iter().any(|(pid, _)| *pid == parent);
        all.iter().filter(|(_, parent)| !is_here(*parent)).map(|(pid, _)| *pid).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A main process of its own, to be killed. Dropped, it is, and its guard is waited for.
struct MainProcess {
    child: Child,
    lock: PathBuf,
}

impl MainProcess {
    /// Returns when it says that its server answers.
    fn serve(scratch: &Scratch) -> MainProcess {
        let mut child = Command::new(guard_program())
            .arg("serve")
            .arg(&scratch.0)
            .args(programs())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        let main = MainProcess { child, lock: scratch.0.join("rowhouse.lock") };
        BufReader::new(output).read_line(&mut line).expect("it says something");
        assert_eq!(line, "ready\n");
        main
    }

    fn kill(&mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it is ours");
    }
}

impl Drop for MainProcess {
    fn drop(&mut self) {
        // One that was killed before has a successor by now, who holds the lock.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Ok(lock) = fs::File::open(&self.lock) {
            let _ = rustix::fs::flock(lock, rustix::fs::FlockOperation::LockExclusive);
        }
    }
}

fn kill(pid: i32) {
    // It may be gone already: kills follow each other closely.
    let _ = kill_process(Pid::from_raw(pid).expect("a number of a process"), Signal::KILL);
}

async fn query(config: &Config, sql: &str) -> Result<String, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let messages = tokio::select! {
        messages = client.simple_query(sql) => messages?,
        ended = connection => { ended?; return Ok("the connection ended before the answer".to_owned()) }
    };
    let first = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(first.unwrap_or_default())
}

/// Asks until there is an answer.
async fn answer(config: &Config, sql: &str) -> String {
    let asked = eventually(|| async { query(config, sql).await.ok() });
    asked.await.unwrap_or_else(|| panic!("no answer to {sql}"))
}

/// Looks until it sees, within [`PATIENCE`].
async fn eventually<Found, Look: Future<Output = Option<Found>>>(look: impl Fn() -> Look) -> Option<Found> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Some(found)) = timeout(PATIENCE, look()).await {
            return Some(found);
        }
        sleep(Duration::from_millis(5)).await;
    }
    None
}

/// Everything of a directory: names, sizes, times. To see that nothing was touched.
fn listing(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let found = entry.metadata().expect("its metadata");
        lines.push(format!(
            "{} {} {:?}",
            entry.path().display(),
            found.len(),
            found.modified().expect("a time")
        ));
        if found.is_dir() {
            lines.extend(listing(&entry.path()));
        }
    }
    lines.sort();
    lines
}
