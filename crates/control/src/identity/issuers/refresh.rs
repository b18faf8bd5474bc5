//! Keeping up with issuers' keys.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{IssuerId, OPERATOR_TENANT};
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{Change, Notice};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::interval;

use super::register::{fetch_keys, stored_keys};
use super::{IssuerRow, queries};
use crate::{Control, Shared};

/// How often it is looked whether a key was missed or a set is due.
const LOOK: Duration = Duration::from_secs(1);
/// From one fetch to the next when nothing is asked for.
const EVERY: SignedDuration = SignedDuration::from_mins(10);
/// An issuer is asked at most this often, whatever tokens name.
const AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// How long the last good keys of an issuer that is away are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Keeps up until `shutdown`. More processes than one do no harm: each try is claimed first.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        tokio::select! {
            done = look(&control) => if let Err(refusal) = done {
                tracing::warn!(%refusal, cause = refusal.private_detail().unwrap_or(""), "issuers' keys were not looked at");
            },
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
    }
}

/// Fetches what is due or was asked for; how many issuers were asked.
///
/// # Errors
/// If the control database is away. An issuer that is away is no error: it is noted.
pub async fn look(control: &Control) -> Result<usize, Refusal> {
    let now = control.clock().now();
    let permit = Permit::for_system(None, "issuers whose keys are due");
    let transaction = control.store.read(&permit).await?;
    let mut due: Vec<(IssuerId, Timestamp)> =
        queries::due(&transaction, now - EVERY).await?.into_iter().map(|id| (id, now - EVERY)).collect();
    transaction.finish().await?;
    let missed = control.missed_keys.take().into_iter();
    due.extend(missed.map(|id| (id, now - AT_MOST_EVERY)));
    let mut asked = 0;
    for (id, before) in due {
        asked += usize::from(refresh(control, id, before, None).await?.is_some());
    }
    Ok(asked)
}

/// Asks an issuer for its keys, unless it was asked after `before`; the issuer as it is then.
pub(super) async fn refresh(
    control: &Control,
    id: IssuerId,
    before: Timestamp,
    by: Option<&Permit>,
) -> Result<Option<IssuerRow>, Refusal> {
    let now = control.clock().now();
    let own = Permit::for_system(None, "the keys of an issuer");
    let permit = by.unwrap_or(&own);
    let transaction = control.store.write(permit).await?;
    let claimed = queries::claim(&transaction, id, (before, now)).await?;
    let Some(row) = queries::find(&transaction, id).await?.filter(|_| claimed) else {
        transaction.rollback().await?;
        return Ok(None);
    };
    // That somebody has begun to ask is no change of anything.
    transaction.commit_telemetry().await?;
    let found = fetch_keys(control, &row.issuer, row.jwks_uri.as_deref(), &row.algorithms).await;
    let transaction = control.store.write(permit).await?;
    let Some(mut row) = queries::lock(&transaction, id).await? else {
        transaction.rollback().await?;
        return Ok(None);
    };
    let keys_before = stored_keys(row.key_set.as_deref(), &row.algorithms);
    match found {
        Ok(keys) => {
            (row.key_set, row.fetched_at, row.last_problem) = (Some(keys), Some(now), None);
        }
        Err(error) => {
            tracing::warn!(issuer = row.issuer, tenant = %row.tenant, %error, "the keys of an issuer were not fetched");
            row.last_problem = Some(error.to_string());
            if row.fetched_at.is_none_or(|at| now.duration_since(at) > KEPT) {
                row.key_set = None;
            }
        }
    }
    queries::fetched(&transaction, &row).await?;
    let keys = stored_keys(row.key_set.as_deref(), &row.algorithms);
    if keys == keys_before {
        transaction.commit_telemetry().await?;
        return Ok(Some(row));
    }
    let names: Vec<&str> = keys.iter().map(|key| &*key.key_id).collect();
    let change = Change::new(row.tenant, "identity.issuer_keys_changed", "update", transaction.principal())
        .on("issuer", row.id)
        .details(json!({ "keys": names, "problem": row.last_problem }))
        .notify(notice(&row));
    transaction.commit(change).await?;
    Ok(Some(row))
}

/// Whom a change of an issuer touches: its tenant, or everybody.
pub(super) fn notice(row: &IssuerRow) -> Notice {
    match row.tenant {
        OPERATOR_TENANT => Notice::catalog(),
        tenant => Notice::tenant(tenant),
    }
}
