//! A second person's yes, without which an operation does not happen.
//!
//! What is asked for is kept as it was sent, with what it would do. Within 72 hours another person says yes, who could do it
//! himself, and is neither who asked nor whom it is for; then it is judged anew, with the rights that who asked has at that moment,
//! and happens once, in the transaction of the yes. Both are asked for and decided by people with their own hands: a key, a
//! service account or an application speaks for somebody who may be one of the two.

mod api;
mod decide;
mod operation;
mod queries;
mod settings;

use std::time::Duration;

pub(super) use api::{routes, wait};
use jiff::{SignedDuration, Timestamp};
use operation::Asked;
pub(super) use operation::wanted;
pub use operation::{refuse_alone, refuse_sensitive};
use queries::ApprovalRow;
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{ApprovalId, TenantId, UserId};
use rowhouse_domain::messages::template;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, StoreError, Transaction};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::messages::{self, NewMessage, To};
use crate::{Control, Shared, identity};

/// How long an approval waits for somebody: 72 h.
const WAITS: SignedDuration = SignedDuration::from_hours(72);
/// At most so many that one person waits for in a tenant.
const PENDING_MAX: i64 = 20;
/// How often those that nobody decided are ended.
const LOOK: Duration = Duration::from_secs(30);
/// At most so many in one transaction.
const BATCH: i64 = 200;

/// Who asks, with their own hands: the person and the tenant that they belong to.
type Requester = (UserId, TenantId);

/// Asks for a second person's yes; the approval, and what to commit it with.
///
/// # Errors
/// 422 `access.too_many` for who waits for too many; and if the database fails.
async fn request(
    control: &Control,
    transaction: &Transaction,
    (user, home): Requester,
    asked: Asked,
) -> Result<(ApprovalRow, Change), Refusal> {
    if queries::pending(transaction, asked.tenant, user).await? >= PENDING_MAX {
        let detail = format!("You wait for {PENDING_MAX} approvals already.");
        return Err(Refusal::new(&kind::ACCESS_TOO_MANY, detail).next("Withdraw one, or let it be decided."));
    }
    let now = control.clock().now();
    let row = ApprovalRow {
        id: ApprovalId(control.entropy().uuid_v7(now.as_microsecond())),
        tenant: asked.tenant,
        operation: asked.operation.to_owned(),
        request: asked.request,
        would: asked.would,
        reason: asked.reason,
        requester: user,
        requester_home: home,
        requested_at: now,
        expires_at: now + WAITS,
        state: "pending".to_owned(),
        decided_by: None,
        decided_at: None,
        decision_reason: None,
        result: None,
    };
    queries::insert(transaction, &row).await?;
    tell(control, transaction, &row, &asked.words).await?;
    let change = change(&row, "access.approval_requested", "create", person(user));
    Ok((row, change))
}

/// Who administers the tenant is told by e-mail.
async fn tell(
    control: &Control,
    transaction: &Transaction,
    row: &ApprovalRow,
    words: &str,
) -> Result<(), Refusal> {
    let address = identity::address_of(transaction, row.requester).await?;
    let who = address.map_or_else(|| row.requester.to_string(), |address| address.as_str().to_owned());
    let new =
        NewMessage::new(&template::APPROVAL_REQUESTED, row.tenant, To::Administrators, row.id.to_string())
            .value("who", who)
            .value("what", words)
            .value("approval", row.id)
            .value("expires", row.expires_at)
            .useless_after(row.expires_at);
    messages::queue(control, transaction, new).await.map(drop)
}

fn person(user: UserId) -> Principal {
    Principal { kind: PrincipalKind::User, id: user.0 }
}

fn change(row: &ApprovalRow, event: &str, action: &str, actor: Principal) -> Change {
    Change::new(row.tenant, event, action, actor)
        .on("approval", row.id)
        .on("user", row.requester)
        .details(json!({ "operation": row.operation, "state": row.state }))
}

/// Ends what nobody decides in time, until `shutdown`. Who decides looks at the clock besides.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        if let Err(error) = expire(&control).await {
            tracing::warn!(%error, "approvals that nobody decided could not be ended");
        }
    }
}

/// Ends them; how many.
///
/// # Errors
/// If the database fails.
pub async fn expire(control: &Control) -> Result<usize, StoreError> {
    let permit = Permit::for_system(None, "approvals that nobody decided");
    let transaction = control.store.write(&permit).await?;
    let now: Timestamp = control.clock().now();
    let ended = queries::expire(&transaction, now, BATCH).await?;
    if ended.is_empty() {
        transaction.rollback().await?;
        return Ok(0);
    }
    let told = |row: &ApprovalRow| change(row, "access.approval_expired", "update", transaction.principal());
    let changes: Vec<Change> = ended.iter().map(told).collect();
    transaction.commit_all(changes).await?;
    Ok(ended.len())
}

/// The answer of 202 to who asks for what needs another one's yes.
fn waiting(row: &ApprovalRow) -> Value {
    json!({ "approval_id": row.id.to_string(), "expires_at": row.expires_at.to_string() })
}
