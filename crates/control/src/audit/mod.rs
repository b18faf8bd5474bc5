//! The event log: every change of the control plane and every refused authorisation at the gateway is one leaf of
//! the tenant's RFC 6962 log, with signed checkpoints that anybody can verify offline.
//!
//! Two sources feed one sequencer: the outbox, which `commit` writes in the transaction of the change, and the
//! journal's records that carry an audit mark. The tree, the leaves and the verification are `domain::audit`.

mod api;
mod checkpoint;
mod draft;
mod keys;
mod outbox;
mod projector;
mod queries;
mod read;
mod sequence;
mod shown;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use api::routes;
pub use keys::Keys;
use rowhouse_journal::Journal;
use tokio::sync::watch;

use crate::{Shared, projection};

/// Without news, the outbox and the logs are looked at this often.
const BACKSTOP: Duration = Duration::from_secs(1);

/// Sequences and signs until `shutdown` says true. `checkpoints` is the directory that keeps each log's newest
/// checkpoint outside the database, so that a database set back is found.
pub async fn run(
    control: Shared,
    journal: Arc<Journal>,
    checkpoints: PathBuf,
    shutdown: watch::Receiver<bool>,
) {
    if let Err(problem) = checkpoint::compare_with_files(&control, &checkpoints).await {
        tracing::error!(problem, "the audit logs contradict their checkpoints; nothing is sequenced or signed");
        return;
    }
    let records = projection::run(
        control.clone(),
        journal,
        projector::AuditProjector::new(control.clone()),
        shutdown.clone(),
    );
    tokio::join!(records, outbox_and_checkpoints(control, checkpoints, shutdown));
}

async fn outbox_and_checkpoints(control: Shared, checkpoints: PathBuf, mut shutdown: watch::Receiver<bool>) {
    let mut committed = control.store.committed();
    let mut beat = tokio::time::interval(BACKSTOP);
    while !*shutdown.borrow() {
        committed.borrow_and_update();
        match outbox::drain(&control).await {
            Ok(outbox::Drained::More) => continue,
            Ok(outbox::Drained::Empty) => {}
            Err(error) => tracing::warn!(%error, "the audit outbox waits"),
        }
        tokio::select! {
            _ = committed.changed() => {}
            _ = beat.tick() => sign(&control, &checkpoints).await,
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
