//! The event log: every change of the control plane, every change through the gateway and every refused
//! authorisation is one leaf of the tenant's RFC 6962 log, with signed checkpoints that anybody can verify offline.
//!
//! Two sources feed one sequencer: the outbox, which `commit` writes in the transaction of the change, and the
//! journal's records that carry an audit mark. The tree, the leaves and the verification are `domain::audit`.

mod api;
mod checkpoint;
mod closing;
mod columns;
mod draft;
mod examine;
mod export;
mod files;
pub mod holds;
mod keys;
mod lanes;
mod late;
mod leaves;
mod logs_api;
mod outbox;
mod projector;
mod queries;
mod read;
mod search;
mod sequence;
mod shown;
mod standing;
mod told;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use closing::CLOSING_EVENT;
pub use keys::Keys;
pub(crate) use projector::AuditProjector;
pub use read::LogState;
use rowhouse_domain::id::TenantId;
use rowhouse_journal::Journal;
use rowhouse_store::{StoreError, Topic, Transaction};
pub use standing::{Paused, Standing};
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;

use crate::{Control, Shared, projection};

/// Without news the outbox is looked at this often; logs that have moved are signed this often.
const BEAT: Duration = Duration::from_secs(1);
/// What is committed within this time of a first draft is sequenced with it: a saga commits several, and each turn of the sequencer
/// is a transaction of its own that waits for the disk.
const GATHERED: Duration = Duration::from_millis(20);

/// All paths of the feature.
pub fn routes() -> OpenApiRouter<Shared> {
    api::routes().merge(logs_api::routes()).merge(holds::routes())
}

/// How a tenant's log stands, once it is closed and a checkpoint covers all of it; `None` until then.
///
/// # Errors
/// If the control database failed.
pub async fn ended(transaction: &Transaction, tenant: TenantId) -> Result<Option<LogState>, StoreError> {
    let state = read::log(transaction, tenant).await?;
    Ok(state.filter(|state| state.closed_at.is_some() && state.covered == state.size))
}

/// One event that anybody can check.
#[derive(Debug, Clone)]
pub struct Proven {
    /// Its log's name.
    pub origin: String,
    /// The key that signs the log.
    pub vkey: String,
    /// Verbatim.
    pub leaf: String,
    /// `c2sp.org/tlog-proof@v1`.
    pub proof: String,
}

/// The newest event of this name in a log about this target (`<kind>:<id>`), with its proof; `None` until a checkpoint covers it.
///
/// # Errors
/// If the control database failed.
pub async fn proven(
    control: &Control,
    transaction: &Transaction,
    log: TenantId,
    (event, about): (&str, &str),
) -> Result<Option<Proven>, StoreError> {
    let search = read::Search {
        after: -1,
        before: i64::MAX,
        backwards: true,
        event: Some(event.to_owned()),
        resource: Some(about.to_owned()),
        limit: 1,
        ..Default::default()
    };
    let Some(found) = read::search(transaction, log, &search).await?.pop() else { return Ok(None) };
    let Some(state) = read::log(transaction, log).await? else { return Ok(None) };
    let proof = read::proof(transaction, log, found.index).await?;
    let signer = control.audit.signer(log, &state.origin);
    Ok(proof.zip(signer).map(|((proof, _), signer)| Proven {
        vkey: signer.verifier().to_string(),
        leaf: found.leaf,
        proof: proof.text(),
        origin: state.origin,
    }))
}

/// A log's key and its newest checkpoint.
///
/// # Errors
/// If the control database failed.
pub async fn signed_head(
    control: &Control,
    transaction: &Transaction,
    log: TenantId,
) -> Result<Option<(String, String)>, StoreError> {
    let Some(state) = read::log(transaction, log).await? else { return Ok(None) };
    let checkpoint = read::checkpoint(transaction, log).await?;
    let signer = control.audit.signer(log, &state.origin);
    Ok(signer.zip(checkpoint).map(|(signer, checkpoint)| (signer.verifier().to_string(), checkpoint)))
}

/// Sequences and signs until `shutdown` says true. `checkpoints` is the directory that keeps each log's newest
/// checkpoint outside the database. While a log contradicts what is kept there nothing is sequenced or signed;
/// [`Standing::problems`] says why.
pub async fn run(
    control: Shared,
    journal: Arc<Journal>,
    checkpoints: PathBuf,
    shutdown: watch::Receiver<bool>,
) {
    sign(&control, &checkpoints).await;
    let projector = projector::AuditProjector::new(control.clone());
    tokio::join!(
        projection::run(control.clone(), journal, projector, shutdown.clone()),
        sequence_outbox(&control, shutdown.clone()),
        sign_logs(&control, &checkpoints, shutdown),
    );
}

async fn sequence_outbox(control: &Shared, mut shutdown: watch::Receiver<bool>) {
    let mut committed = control.store.touched(Topic::Outbox);
    let mut beat = tokio::time::interval(BEAT);
    while !*shutdown.borrow() {
        committed.borrow_and_update();
        match outbox::drain(control).await {
            Ok(outbox::Drained::More) => continue,
            Ok(outbox::Drained::Empty) => {}
            Err(error) => tracing::warn!(%error, "the audit outbox waits"),
        }
        tokio::select! {
            _ = committed.changed() => tokio::time::sleep(GATHERED).await,
            _ = beat.tick() => {}
            () = told(&mut shutdown) => {}
        }
    }
}

async fn sign_logs(control: &Shared, checkpoints: &Path, mut shutdown: watch::Receiver<bool>) {
    let mut beat = tokio::time::interval(BEAT);
    while !*shutdown.borrow() {
        tokio::select! {
            _ = beat.tick() => sign(control, checkpoints).await,
            () = told(&mut shutdown) => {}
        }
    }
}

async fn sign(control: &Shared, checkpoints: &Path) {
    if let Err(error) = checkpoint::sign_moved(control, checkpoints).await {
        tracing::warn!(%error, "checkpoints wait");
    }
}

/// Returns when `shutdown` says so, or nobody is left who could.
async fn told(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|wanted| *wanted).await;
}
