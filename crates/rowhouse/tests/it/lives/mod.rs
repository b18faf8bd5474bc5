//! The lives of tenants with the power pulled: `kill -9` of Rowhouse, of its PostgreSQL, or of both at random moments, while
//! tenants on all levels are made, change tier and level, are backed up, restored, exported, suspended, and leave. After each
//! kill every operation comes to its end, every tenant is in one definite state, and nothing is left that nobody has on
//! record.
//!
//! `LIVES_ROUNDS=100 LIVES_SEED=7 cargo test -p rowhouse --test it lives -- --nocapture` is the long form.

mod acts;
mod whole;

use std::collections::BTreeMap;
use std::time::Duration;

use acts::{Random, begin_something};
use rowhouse_store::server::SUPERUSER;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::{Value, json};
use tokio::time::{Instant, interval, timeout};
use tokio_postgres::NoTls;
use whole::assert_whole;

use crate::platform::{Call, PATIENCE, Platform};
use crate::services::scratch;

/// Kills of the short form.
const ROUNDS: u32 = 4;
/// What an operation may take after a restart; the machine may be busy.
const END_MAX: Duration = Duration::from_secs(180);

/// One column of a query on the private server, as texts.
async fn column(platform: &Platform, database: &str, sql: &str) -> Vec<String> {
    let mut config = tokio_postgres::Config::new();
    let (_, port, socket) = postmaster(platform);
    config.host_path(socket).port(port).user(SUPERUSER).dbname(database);
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    let driver = tokio::spawn(connection);
    let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let texts = rows.iter().map(|row| row.get::<_, String>(0)).collect();
    drop(client);
    driver.await.expect("joins").expect("closes");
    texts
}

/// Process, port and socket's directory of the private server, as it has written them down.
fn postmaster(platform: &Platform) -> (i32, u16, String) {
    let file = platform.data_dir().join("postgres/cluster/postmaster.pid");
    let lines = std::fs::read_to_string(file).expect("it runs");
    let line = |number: usize| lines.lines().nth(number).expect("a line of it").trim().to_owned();
    (line(0).parse().expect("a process"), line(3).parse().expect("a port"), line(4))
}

/// A call that may break off with the process.
async fn attempt(platform: &Platform, call: Call) -> Option<(u16, Value)> {
    let call = call.header("authorization", &format!("Bearer {}", platform.operator()));
    let seen = platform.try_control(call).await?;
    Some((seen.status, seen.body))
}

/// What is killed. Rowhouse starts again where it was among it; its server it starts again itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Rowhouse,
    Both,
    Postmaster,
    Guard,
}

const VICTIMS: [Victim; 10] = [
    Victim::Rowhouse,
    Victim::Rowhouse,
    Victim::Rowhouse,
    Victim::Rowhouse,
    Victim::Rowhouse,
    Victim::Rowhouse,
    Victim::Both,
    Victim::Both,
    Victim::Postmaster,
    Victim::Guard,
];

fn kill_minus_nine(pid: i32) {
    let pid = Pid::from_raw(pid).expect("a process");
    // What has ended meanwhile is dead, too.
    let _ = kill_process(pid, Signal::KILL);
}

/// The process that keeps the server: its parent.
fn parent_of(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let behind_name = stat.rsplit(')').next().expect("a name in brackets");
    behind_name.split_whitespace().nth(1).and_then(|parent| parent.parse().ok()).expect("a parent")
}

async fn kill(platform: &Platform, victim: Victim) {
    let (pid, ..) = postmaster(platform);
    match victim {
        Victim::Rowhouse => platform.kill().await,
        Victim::Both => {
            kill_minus_nine(pid);
            platform.kill().await;
        }
        Victim::Postmaster => kill_minus_nine(pid),
        Victim::Guard => kill_minus_nine(parent_of(pid)),
    }
    match victim {
        Victim::Rowhouse | Victim::Both => platform.run().await,
        // Until the kernel has told it, the server of a guard that is gone still answers.
        Victim::Postmaster | Victim::Guard => another_server(platform, pid).await,
    }
    answers_again(platform).await;
}

/// Waits until another server than that of process `pid` takes connections.
async fn another_server(platform: &Platform, pid: i32) {
    let file = platform.data_dir().join("postgres/cluster/postmaster.pid");
    let begun = Instant::now();
    let mut beat = interval(Duration::from_millis(50));
    loop {
        beat.tick().await;
        // It may be away, or be written just now.
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let is_another =
            lines.first().and_then(|line| line.parse::<i32>().ok()).is_some_and(|other| other != pid);
        if is_another && lines.get(7) == Some(&"ready") {
            return;
        }
        assert!(begun.elapsed() < END_MAX, "no server: {lines:?}");
    }
}

/// Waits until the control API answers from its database.
async fn answers_again(platform: &Platform) {
    let begun = Instant::now();
    let mut beat = interval(Duration::from_millis(50));
    let mut good = 0;
    // Connections that do not know yet that they are broken answer once each.
    while good < 5 {
        beat.tick().await;
        let answer = attempt(platform, Call::get("/v1/operations?state=stuck")).await;
        good = if answer.as_ref().is_some_and(|(status, _)| *status == 200) { good + 1 } else { 0 };
        assert!(begun.elapsed() < PATIENCE, "no answer: {answer:?}");
    }
}

/// Waits until no operation and no backup is under way; none may be stuck.
async fn all_end(platform: &Platform) {
    let begun = Instant::now();
    let mut beat = interval(Duration::from_millis(50));
    loop {
        beat.tick().await;
        let open = platform.operate(Call::get("/v1/operations?state=running,stuck&limit=200")).await;
        let open = open["items"].as_array().cloned().unwrap_or_default();
        let stuck: Vec<&Value> = open.iter().filter(|operation| operation["state"] == "stuck").collect();
        assert!(stuck.is_empty(), "stuck: {stuck:#?}");
        let backups = column(
            platform,
            "rowhouse",
            "SELECT coalesce(problem, '-') FROM lifecycle.backups WHERE state = 'running'",
        )
        .await;
        // A call that was under way at the kill may begin something a moment later.
        let begun_late = "SELECT code FROM tenancy.tenants WHERE status = 'provisioning'";
        let coming = column(platform, "rowhouse", begun_late).await;
        if open.is_empty() && backups.is_empty() && coming.is_empty() {
            return;
        }
        assert!(
            begun.elapsed() < END_MAX,
            "still under way: {open:#?}, coming: {coming:?}, {} backups: {backups:?}",
            backups.len()
        );
    }
}

/// How many operations of each kind came to which end.
async fn figures(platform: &Platform) -> BTreeMap<String, usize> {
    let ends = "SELECT kind || ' ' || state FROM lifecycle.sagas UNION ALL SELECT 'backup ' || state FROM lifecycle.backups \
         UNION ALL SELECT 'tenant ' || isolation || ' ' || status FROM tenancy.tenants WHERE code <> 'operator'";
    let mut figures = BTreeMap::new();
    for end in column(platform, "rowhouse", ends).await {
        *figures.entry(end).or_insert(0) += 1;
    }
    figures
}

/// A platform whose dedicated tenants have a process of their own, and a service with a table.
async fn platform() -> Platform {
    let script = scratch("lives").join("idle.pl");
    let listens = "use IO::Socket::INET; $l = IO::Socket::INET->new(LocalAddr => $ENV{LISTEN}, Listen => 9, ReuseAddr => 1) \
         or die; while ($c = $l->accept) { close $c; }";
    std::fs::write(&script, listens).expect("a script");
    let applications = format!(
        "{{ echo = {{ program = \"/usr/bin/perl\", args = [{:?}] }} }}",
        script.display().to_string()
    );
    let platform = Platform::start_with(&[("ROWHOUSE_DEPLOY__APPLICATIONS", &applications)]).await;
    let tables = json!({"manifest": "[table.stamps]\nkind = \"tenant\"\n", "migrations": [{"number": 1, "name": "stamps",
        "sql": "CREATE TABLE stamps (tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL, hash text, PRIMARY KEY (tenant_id, id))"}]});
    platform.operate(Call::post("/v1/services/echo/tables", tables).method(http::Method::PUT)).await;
    platform
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_kills_leave_every_tenant_whole_and_nothing_behind() {
    let rounds = setting("LIVES_ROUNDS").map_or(ROUNDS, |rounds| rounds as u32);
    let seed = setting("LIVES_SEED").unwrap_or(0x5eed_1e55);
    let mut random = Random(seed);
    let platform = platform().await;
    let mut number = 0;
    let mut longest = Duration::ZERO;
    for round in 1..=rounds {
        let alive = Duration::from_millis(50 + random.below(2_500));
        let victim = VICTIMS[random.below(VICTIMS.len() as u64) as usize];
        let busy = async {
            loop {
                number += 1;
                if begin_something(&platform, &mut random, number).await.is_none() {
                    return;
                }
            }
        };
        // The moment of the kill is what is random here; nothing waits for it.
        let _ = timeout(alive, busy).await;
        let begun = Instant::now();
        kill(&platform, victim).await;
        all_end(&platform).await;
        longest = longest.max(begun.elapsed());
        if rounds > ROUNDS {
            println!(
                "round {round}: {victim:?} after {alive:?}, whole {} ms later",
                begun.elapsed().as_millis()
            );
        }
        assert_whole(&platform, round).await;
    }
    println!(
        "{rounds} kills, seed {seed}, as root: {}, longest recovery {} ms: {:#?}",
        geteuid().is_root(),
        longest.as_millis(),
        figures(&platform).await
    );
}
