//! The event log on real PostgreSQL and a real journal: one leaf for each event, proofs that hold elsewhere, and
//! every change behind its back found.

mod attacks;
mod reading;
mod recovering;
mod sequencing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rowhouse_control::audit;
use rowhouse_domain::access::Permit;
use rowhouse_domain::audit::bundle::{Bundle, Trust, TrustFile};
use rowhouse_domain::audit::leaf::Leaf;
use rowhouse_domain::audit::verify::{Report, verify};
use rowhouse_domain::id::TenantId;
use rowhouse_journal::{
    AuditMark, Class, Journal, LaneWriter, Options, Outcome, PrincipalKind, RequestRecord,
};
use rowhouse_store::Change;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::platform::{PATIENCE, Platform, START_US, scratch};

const A: u128 = 0xa;
const B: u128 = 0xb;
const SECOND_US: i64 = 1_000_000;
const PERMISSIONS: &[&str] = &["audit:read", "audit:export"];

fn id(tenant: u128) -> TenantId {
    TenantId::from_u128(tenant)
}

/// A running sequencer.
pub struct Auditor {
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Auditor {
    pub fn start(platform: &Platform, journal: &Arc<Journal>, checkpoints: &Path) -> Auditor {
        let (shutdown, wanted) = watch::channel(false);
        let run = audit::run(platform.control.clone(), journal.clone(), checkpoints.to_owned(), wanted);
        Auditor { shutdown, task: tokio::spawn(run) }
    }

    pub async fn stop(self) {
        self.shutdown.send_replace(true);
        timeout(PATIENCE, self.task).await.expect("it ends soon").expect("it does not panic");
    }

    /// Cuts it off wherever it is.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.expect_err("cut off").is_cancelled());
    }
}

/// Returns when `sql` answers `wanted`. Asked after each commit of this process, and now and then unasked.
async fn until(platform: &Platform, sql: &str, wanted: &str) {
    let mut committed = platform.control.store.committed();
    let reached = async {
        loop {
            committed.borrow_and_update();
            if platform.ask(sql).await == wanted {
                break;
            }
            let _ = timeout(Duration::from_millis(100), committed.changed()).await;
        }
    };
    let reached = timeout(PATIENCE, reached).await.is_ok();
    assert!(reached, "{sql} is {} and not {wanted}", platform.ask(sql).await);
}

/// Returns when everything committed so far is in its log.
pub async fn sequenced(platform: &Platform) {
    until(platform, "SELECT count(*) FROM audit.outbox", "0").await;
}

/// Returns when everything in a log is under a checkpoint.
pub async fn signed(platform: &Platform) {
    sequenced(platform).await;
    until(platform, "SELECT count(*) FROM audit.logs WHERE size > checkpoint_size", "0").await;
}

/// Returns when the records of `lane` so far are in their logs.
async fn projected(platform: &Platform, node: &str, lane: &LaneWriter) {
    let (name, next) = (lane.name(), lane.next_sequence());
    let asked = format!(
        "SELECT sequence >= {next} FROM journal.positions \
         WHERE projection = 'audit' AND node = '{node}' AND lane = '{name}'"
    );
    until(platform, &asked, "t").await;
}

/// A change of `tenant` that is committed.
async fn change(platform: &Platform, tenant: u128, number: i64) {
    let tx =
        platform.control.store.write(&Permit::for_system(Some(id(tenant)), "test")).await.expect("begins");
    let change = Change::new(id(tenant), "tenancy.tenant_changed", "update", tx.principal());
    let change = change.on("tenant", id(tenant)).details(json!({"number": number}));
    tx.commit(change).await.expect("commits");
}

/// A journal of a node of the test's own.
fn journal(directory: &Path, node: &str) -> Arc<Journal> {
    let mut options = Options::new(node);
    options.segment_bytes = 1024 * 1024;
    Arc::new(Journal::open(directory, options).expect("a journal").0)
}

/// Writes records with audit marks as a gateway does: counters from 1 per boot and log.
struct Gateway {
    lane: LaneWriter,
    counters: std::collections::HashMap<u128, u64>,
    requests: u128,
}

impl Gateway {
    fn open(journal: &Journal, lane: &str) -> Gateway {
        Gateway { lane: journal.lane(lane).expect("a lane"), counters: Default::default(), requests: 0 }
    }

    fn count(&mut self, tenant: u128) -> u64 {
        let counter = self.counters.entry(tenant).or_default();
        *counter += 1;
        *counter
    }

    fn write(&mut self, tenant: u128, at_us: i64, record: RequestRecord<'_>, target: (&str, &str)) {
        self.requests += 1;
        let counter = self.count(tenant);
        let mark = AuditMark { counter, target_kind: target.0, target_id: target.1, application: None };
        let record = RequestRecord {
            request_id: (at_us as u128) << 40 | (self.requests << 8) | tenant,
            started_at_us: at_us,
            tenant: Some(tenant),
            principal_kind: PrincipalKind::ApiKey,
            principal: Some(7),
            directory_version: 3,
            audit: Some(mark),
            ..record
        };
        self.lane.append_record(Class::S, &record).expect("room");
    }

    /// A served request.
    fn served(&mut self, tenant: u128, at_us: i64, method: &str, endpoint: &str) {
        let record =
            RequestRecord { method, endpoint, status: 200, permission: "stamp:update", ..Default::default() };
        self.write(tenant, at_us, record, ("stamp", "42"));
    }

    /// A request that was refused.
    fn refused(&mut self, tenant: u128, at_us: i64, refusal: &str, target: (&str, &str)) {
        let record = RequestRecord {
            method: "DELETE",
            endpoint: "DELETE /v1/stamps/{id}",
            outcome: Outcome::Refused,
            status: 403,
            refusal,
            permission: "stamp:delete",
            ..Default::default()
        };
        self.write(tenant, at_us, record, target);
    }
}

/// The leaves of a log, in order.
async fn leaves(platform: &Platform, tenant: u128) -> Vec<Leaf> {
    let sql = format!(
        "SELECT coalesce(json_agg(leaf ORDER BY idx), '[]') FROM audit.events WHERE tenant_id = '{}'",
        id(tenant).0
    );
    let texts: Vec<String> = serde_json::from_str(&platform.ask(&sql).await).expect("texts");
    texts.iter().map(|text| Leaf::read(text.as_bytes()).expect("a leaf")).collect()
}

/// The names of a log's events.
async fn names(platform: &Platform, tenant: u128) -> Vec<String> {
    leaves(platform, tenant).await.into_iter().map(|leaf| leaf.draft.event).collect()
}

/// The signing keys of a log, as its owner notes them down.
async fn keys(platform: &Platform, key: &str, log: &str) -> Vec<String> {
    let log = platform.get(key, &format!("/v1/audit/logs/{log}")).await;
    serde_json::from_value(log["vkeys"].clone()).expect("keys")
}

async fn bundle(platform: &Platform, key: &str, log: &str) -> Bundle {
    let bundle = platform.get(key, &format!("/v1/audit/logs/{log}/bundle")).await;
    serde_json::from_value(bundle).expect("a bundle")
}

/// Verifies a bundle as somebody who noted down keys, and perhaps a checkpoint.
fn judge(bundle: &Bundle, keys: &[String], pinned: Option<&str>) -> Report {
    let file =
        TrustFile { log_vkeys: keys.to_vec(), pinned: pinned.map(str::to_owned), ..TrustFile::default() };
    verify(bundle, &Trust::read(&file).expect("keys and a pin"), None)
}

fn labels(report: &Report) -> Vec<String> {
    report.findings.iter().map(|finding| finding.label()).collect()
}

/// A signed history of A (and a short one of B), from both sources.
struct History {
    platform: Platform,
    checkpoints: PathBuf,
    /// A's checkpoint after the first half.
    pin: String,
    /// A's checkpoint at the end.
    newest: String,
}

/// Of each source, events of A.
const EACH: i64 = 110;

impl History {
    async fn write() -> History {
        let platform = Platform::start().await;
        let (directory, checkpoints) = (scratch("audit-journal"), scratch("checkpoints"));
        let journal = journal(&directory, "n2");
        let mut gateway = Gateway::open(&journal, "g0");
        let auditor = Auditor::start(&platform, &journal, &checkpoints);
        let mut notes = Vec::new();
        for half in 0..2 {
            for number in half * EACH / 2..(half + 1) * EACH / 2 {
                platform.hand.advance_us(SECOND_US);
                let now_us = START_US + (number + 1) * SECOND_US;
                change(&platform, A, number).await;
                gateway.served(A, now_us, "POST", "POST /v1/stamps");
                if number % 10 == 0 {
                    change(&platform, B, number).await;
                    gateway.refused(B, now_us, "access.denied", ("stamp", "7"));
                }
            }
            projected(&platform, "n2", &gateway.lane).await;
            signed(&platform).await;
            notes.push(note(&platform, A).await);
        }
        auditor.stop().await;
        let newest = notes.pop().expect("two notes");
        History { platform, checkpoints, pin: notes.pop().expect("two notes"), newest }
    }
}

/// The newest checkpoint of a log.
async fn note(platform: &Platform, tenant: u128) -> String {
    let sql = "SELECT note FROM audit.checkpoints WHERE tenant_id = ";
    platform.ask(&format!("{sql}'{}' ORDER BY size DESC LIMIT 1", id(tenant).0)).await
}

/// Who reads A's log in these tests.
fn reader(platform: &Platform) -> String {
    platform.tenant(A, "acme", PERMISSIONS).1
}
