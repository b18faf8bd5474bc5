//! Usage from the journal: counted once, whatever happens between a record and its window.

use std::sync::Arc;

use rowhouse_control::metering::{PROJECTION, UsageProjector};
use rowhouse_control::projection::{self, Projector, Source, Unprojectable};
use rowhouse_domain::billing::plan::default_plans;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::catalogue::default_meters;
use rowhouse_domain::metering::quantity::SCALE;
use rowhouse_journal::{Batch, Class, Kind, LaneWriter, RequestRecord, UsagePairs};
use rowhouse_store::server::PrivateServer;
use rowhouse_store::{Store, StoreError, Transaction};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::platform::{PATIENCE, Platform, START_US, server_spec};

pub const A: u128 = 0xa;
pub const B: u128 = 0xb;
const MINUTE_US: i64 = 60_000_000;

/// A platform with two tenants and three meters.
pub async fn platform() -> Platform {
    let platform = Platform::start().await;
    furnish(&platform).await;
    platform
}

async fn furnish(platform: &Platform) {
    platform.tenant(
        A,
        "acme",
        &["usage:read", "usage:create", "quota:read", "subscription:read", "invoice:read"],
    );
    platform.tenant(B, "bolt", &["usage:read", "quota:read", "subscription:read", "invoice:read"]);
    for meter in default_meters() {
        declare(platform, "metering.meters", &meter.name, &meter).await;
    }
    for plan in default_plans() {
        declare(platform, "billing.plans", &plan.name, &plan).await;
    }
}

/// Puts a definition where the catalogue keeps it.
async fn declare(platform: &Platform, table: &str, name: &str, definition: &impl serde::Serialize) {
    let definition = serde_json::to_string(definition).expect("JSON").replace('\'', "''");
    platform
        .execute(&format!(
            "INSERT INTO {table} (name, definition, updated_at) VALUES ('{name}', '{definition}', now())"
        ))
        .await;
}

/// A served request of `tenant` that counts `usage` (in whole units) at `at_us`.
pub fn record<'a>(tenant: u128, at_us: i64, usage: &[(&'a str, i128)]) -> RequestRecord<'a> {
    let mut pairs = UsagePairs::default();
    for (meter, quantity) in usage {
        pairs.push(meter, quantity * SCALE).expect("few pairs");
    }
    RequestRecord {
        request_id: (at_us as u128) << 16 | tenant,
        started_at_us: at_us,
        tenant: Some(tenant),
        endpoint: "POST /v1/stamps",
        status: 201,
        usage: pairs,
        ..RequestRecord::default()
    }
}

pub struct Running {
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    pub fn start(platform: &Platform) -> Running {
        Running::start_with(platform, UsageProjector::new(&platform.control))
    }

    pub fn start_with(platform: &Platform, projector: impl Projector + 'static) -> Running {
        let (shutdown, wanted) = watch::channel(false);
        let (control, journal) = (platform.control.clone(), platform.journal.clone());
        let task = tokio::spawn(projection::run(control, journal, projector, wanted));
        Running { shutdown, task }
    }

    pub async fn stop(self) {
        self.shutdown.send_replace(true);
        timeout(PATIENCE, self.task).await.expect("it ends soon").expect("it does not panic");
    }
}

/// Returns when everything appended to `lane` so far was projected.
pub async fn projected(platform: &Platform, lane: &LaneWriter) {
    let last = lane.next_sequence() - 1;
    let passed = platform.control.projections.passed(PROJECTION, lane.name(), last);
    timeout(PATIENCE, passed).await.expect("the projection gets there");
}

/// Projects what there is, once, as a worker that has just been started.
async fn project_all(platform: &Platform, lane: &LaneWriter) {
    let running = Running::start(platform);
    // The position in memory may be that of an earlier worker; the one in the database is what counts.
    loop {
        let asked = format!("SELECT max(sequence) FROM journal.positions WHERE projection = '{PROJECTION}'");
        if platform.ask(&asked).await == lane.next_sequence().to_string() {
            break;
        }
        tokio::task::yield_now().await;
    }
    running.stop().await;
}

/// Σ of the windows of a tenant's meter.
async fn windows(platform: &Platform, tenant: u128, meter: &str) -> String {
    sum(platform, "windows", "sum(events)", tenant, meter).await
}

/// Σ of the rows behind them.
async fn rows(platform: &Platform, tenant: u128, meter: &str) -> String {
    sum(platform, "usage", "count(*)", tenant, meter).await
}

async fn sum(platform: &Platform, table: &str, events: &str, tenant: u128, meter: &str) -> String {
    let tenant = TenantId::from_u128(tenant).0;
    platform
        .ask(&format!(
            "SELECT coalesce({events}, 0) || ' of ' || coalesce(trim_scale(sum(quantity)), 0) \
             FROM metering.{table} WHERE tenant_id = '{tenant}' AND meter = '{meter}'"
        ))
        .await
}

async fn quarantined(platform: &Platform) -> String {
    platform
        .ask("SELECT coalesce(string_agg(problem, ' | ' ORDER BY sequence), '') FROM journal.quarantine")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_become_rows_and_windows_of_their_tenant() {
    let platform = platform().await;
    let mut lane = platform.journal.lane("g0").expect("a lane");
    for minute in 0..3 {
        let usage = [("api_calls", 1), ("stamps_created", 3)];
        for second in 0..4 {
            let at_us = START_US + minute * MINUTE_US + second * 1_000_000;
            lane.append_record(Class::R, &record(A, at_us, &usage)).expect("room");
        }
    }
    lane.append_record(Class::R, &record(B, START_US, &[("api_calls", 1)])).expect("room");
    // One record that names a meter twice counts once, with the sum.
    lane.append_record(Class::R, &record(B, START_US, &[("stamps_created", 2), ("stamps_created", 5)]))
        .expect("room");
    // And one that counts nothing.
    lane.append_record(Class::R, &record(B, START_US, &[])).expect("room");

    let running = Running::start(&platform);
    projected(&platform, &lane).await;
    running.stop().await;

    assert_eq!(windows(&platform, A, "api_calls").await, "12 of 12");
    assert_eq!(rows(&platform, A, "api_calls").await, "12 of 12");
    assert_eq!(windows(&platform, A, "stamps_created").await, "12 of 36");
    assert_eq!(rows(&platform, A, "stamps_created").await, "12 of 36");
    assert_eq!(windows(&platform, B, "api_calls").await, "1 of 1");
    assert_eq!(windows(&platform, B, "stamps_created").await, "1 of 7");
    let tenant = TenantId::from_u128(A).0;
    let minutes = format!(
        "SELECT count(*) FROM metering.windows WHERE tenant_id = '{tenant}' AND meter = 'api_calls' AND events = 4"
    );
    assert_eq!(platform.ask(&minutes).await, "3");
    assert_eq!(quarantined(&platform).await, "");
    assert_eq!(platform.control.usage_changes.take().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_to_be_complete_is_counted_while_records_go_on_arriving() {
    let platform = platform().await;
    let mut lane = platform.journal.lane("g0").expect("a lane");
    let running = Running::start(&platform);
    let mut complete = 0;
    for n in 1..=300 {
        // The n-th record is appended n - 1 µs after the start.
        lane.append_record(Class::R, &record(A, START_US, &[("api_calls", 1)])).expect("room");
        platform.hand.advance_us(1);
        let complete_to = platform.control.projections.completeness_us(PROJECTION);
        complete = complete_to.map_or(0, |at_us| at_us - START_US);
        let counted: i64 =
            platform.ask("SELECT count(*) FROM metering.usage").await.parse().expect("a number");
        assert!(counted >= complete, "{counted} counted, {complete} said, {n} there");
    }
    assert!(complete > 0, "it moves on while records arrive");
    running.stop().await;
}

/// Stops for ever after the effect of a batch was written and before it is committed.
struct Hangs {
    inner: UsageProjector,
    reached: Arc<Notify>,
}

impl Projector for Hangs {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    async fn begin(&self, store: &Store) -> Result<Transaction, StoreError> {
        self.inner.begin(store).await
    }
    async fn project(
        &mut self,
        transaction: &Transaction,
        source: &Source,
        batch: &Batch,
    ) -> Result<Vec<Unprojectable>, StoreError> {
        self.inner.project(transaction, source, batch).await?;
        self.reached.notify_one();
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_effect_and_commit_it_counts_once() {
    let platform = platform().await;
    let mut lane = platform.journal.lane("g0").expect("a lane");
    for n in 0..100 {
        lane.append_record(Class::R, &record(A, START_US + n, &[("api_calls", 1)])).expect("room");
    }
    let reached = Arc::new(Notify::new());
    let inner = UsageProjector::new(&platform.control);
    let killed = Running::start_with(&platform, Hangs { inner, reached: reached.clone() });
    timeout(PATIENCE, reached.notified()).await.expect("the effect is written");
    killed.task.abort();
    killed.task.await.expect_err("it was killed");
    assert_eq!(windows(&platform, A, "api_calls").await, "0 of 0");

    project_all(&platform, &lane).await;
    assert_eq!(windows(&platform, A, "api_calls").await, "100 of 100");
    assert_eq!(rows(&platform, A, "api_calls").await, "100 of 100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_an_old_position_nothing_is_added_twice() {
    let platform = platform().await;
    let mut lane = platform.journal.lane("g0").expect("a lane");
    for n in 0..50 {
        lane.append_record(Class::R, &record(A, START_US + n, &[("stamps_created", 2)])).expect("room");
    }
    project_all(&platform, &lane).await;
    for old in [1, 7, 20] {
        platform.execute(&format!("UPDATE journal.positions SET sequence = {old}")).await;
        lane.append_record(Class::R, &record(A, START_US + 100 + old, &[("stamps_created", 2)]))
            .expect("room");
        project_all(&platform, &lane).await;
    }
    platform.execute("DELETE FROM journal.positions").await;
    project_all(&platform, &lane).await;
    assert_eq!(windows(&platform, A, "stamps_created").await, "53 of 106");
    assert_eq!(rows(&platform, A, "stamps_created").await, "53 of 106");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_workers_on_the_same_lanes_count_once() {
    let platform = platform().await;
    let mut lanes = ["g0", "g1"].map(|name| platform.journal.lane(name).expect("a lane"));
    let workers = [(); 3].map(|()| Running::start(&platform));
    for n in 0..2_000 {
        let tenant = if n % 3 == 0 { B } else { A };
        let lane = &mut lanes[n % 2];
        lane.append_record(Class::R, &record(tenant, START_US + n as i64, &[("api_calls", 1)]))
            .expect("room");
    }
    for lane in &lanes {
        projected(&platform, lane).await;
    }
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(windows(&platform, A, "api_calls").await, "1333 of 1333");
    assert_eq!(windows(&platform, B, "api_calls").await, "667 of 667");
    assert_eq!(rows(&platform, A, "api_calls").await, "1333 of 1333");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_counted_is_kept_with_its_reason_and_the_rest_goes_on() {
    let platform = platform().await;
    let mut lane = platform.journal.lane("g0").expect("a lane");
    let good = record(A, START_US, &[("api_calls", 1)]);
    let stranger = record(0xdead, START_US, &[("api_calls", 1)]);
    let nobody = RequestRecord { tenant: None, ..good.clone() };
    let half = record(A, START_US, &[("api_calls", 1), ("unheard_of", 1)]);
    let negative = record(A, START_US, &[("api_calls", -1)]);
    // PostgreSQL has no NUL in text: it refuses the statement, not just the row.
    let refused = RequestRecord { endpoint: "GET /\0", ..good.clone() };
    for record in [&good, &stranger, &good, &nobody, &half, &negative, &refused, &good] {
        lane.append_record(Class::R, record).expect("room");
    }
    lane.append_bytes(Class::R, Kind::Request, b"not a record").expect("room");
    lane.append_record(Class::R, &good).expect("room");

    let running = Running::start(&platform);
    projected(&platform, &lane).await;
    running.stop().await;

    assert_eq!(windows(&platform, A, "api_calls").await, "5 of 5");
    let problems = quarantined(&platform).await;
    let problems: Vec<&str> = problems.split(" | ").collect();
    let expected = ["does not exist", "without a tenant", "unheard_of", "negative", "0x00", ""];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{problem:?} says {expected:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_cannot_be_read_holds_nothing_up() {
    let platform = platform().await;
    platform
        .execute(
            "UPDATE metering.meters SET definition = '{\"of\": \"another release\"}' WHERE name = 'users'",
        )
        .await;
    let mut lane = platform.journal.lane("g0").expect("a lane");
    lane.append_record(Class::R, &record(A, START_US, &[("api_calls", 1), ("users", 4)])).expect("room");
    let running = Running::start(&platform);
    projected(&platform, &lane).await;
    running.stop().await;
    assert_eq!(windows(&platform, A, "api_calls").await, "1 of 1");
    assert_eq!(rows(&platform, A, "users").await, "1 of 4");
    assert_eq!(quarantined(&platform).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgresql_is_away_nothing_is_lost() {
    let data_dir = std::path::PathBuf::from(format!("/tmp/rowhouse-control-test-{}/own", std::process::id()));
    let server = PrivateServer::start(server_spec(data_dir.clone())).await.expect("a server");
    let platform = Platform::on_own_server(&server).await;
    furnish(&platform).await;
    let mut lane = platform.journal.lane("g0").expect("a lane");
    let running = Running::start(&platform);
    lane.append_record(Class::R, &record(A, START_US, &[("api_calls", 1)])).expect("room");
    projected(&platform, &lane).await;

    server.stop().await;
    for n in 1..=200 {
        lane.append_record(Class::R, &record(A, START_US + n, &[("api_calls", 1)])).expect("room");
    }
    let last = lane.synced(lane.next_sequence() - 1);
    timeout(PATIENCE, last).await.expect("soon").expect("the disk takes it");
    let lags = platform.control.projections.lags(&platform.journal, START_US);
    let behind = lags.iter().find(|lag| lag.projection == PROJECTION && lag.lane == "g0").expect("the lane");
    assert_eq!(behind.records, 200);

    let server = PrivateServer::start(server_spec(data_dir)).await.expect("the server again");
    projected(&platform, &lane).await;
    running.stop().await;
    assert_eq!(windows(&platform, A, "api_calls").await, "201 of 201");
    let lags = platform.control.projections.lags(&platform.journal, START_US);
    assert!(lags.iter().all(|lag| lag.projection != PROJECTION || lag.records == 0), "{lags:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_counts_once() {
    let platform = platform().await;
    let mut lane = platform.journal.lane("g0").expect("a lane");
    let mut total = 0;
    for round in 0..25 {
        let running = Running::start(&platform);
        for n in 0..40 {
            let at_us = START_US + i64::from(round * 1000 + n);
            lane.append_record(Class::R, &record(A, at_us, &[("api_calls", 1)])).expect("room");
            total += 1;
        }
        let sequence = lane.next_sequence() - 1;
        lane.synced(sequence).await.expect("the disk takes it");
        // Somewhere between the batch's begin and its end, another place in each round.
        for _ in 0..round * 7 {
            tokio::task::yield_now().await;
        }
        running.task.abort();
        let _ = running.task.await;
    }
    project_all(&platform, &lane).await;
    assert_eq!(windows(&platform, A, "api_calls").await, format!("{total} of {total}"));
    assert_eq!(rows(&platform, A, "api_calls").await, format!("{total} of {total}"));
}
