//! Yes, no, and never mind.

use rowhouse_domain::access::Holder;
use rowhouse_domain::id::{ApprovalId, UserId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde_json::{Value, json};

use super::operation::{self, Outcome};
use super::queries::{self, ApprovalRow};
use super::{change, person};
use crate::Control;
use crate::access::{Authority, Rules, stored};

/// An approval as it was decided, and what to commit that with. A yes to what does not fit any more is committed, too, and answered
/// with the refusal.
pub(super) struct Decided {
    pub row: ApprovalRow,
    pub changes: Vec<Change>,
    pub stale: Option<Refusal>,
}

/// One that waits. Nobody else decides it until the end of the transaction.
///
/// # Errors
/// 404; 409 `access.approval_stale` if it was decided before; 410 `access.approval_expired`.
pub(super) async fn waiting(transaction: &Transaction, id: ApprovalId) -> Result<ApprovalRow, Refusal> {
    let row = queries::take(transaction, id).await?.ok_or_else(no_such_approval)?;
    let expired = || Refusal::new(&kind::APPROVAL_EXPIRED, "Nobody has decided it within 72 hours.");
    let now = transaction.store().clock().now();
    match row.state.as_str() {
        "pending" if row.expires_at > now => Ok(row),
        "pending" | "expired" => Err(expired()),
        state => Err(Refusal::new(&kind::APPROVAL_STALE, format!("It is decided already: {state}."))),
    }
}

pub(super) fn no_such_approval() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no approval with this id.")
}

/// Says yes, and does it.
///
/// # Errors
/// 409 `access.self_approval`; 403 `access.escalation` for who could not do it himself.
pub(super) async fn approve(
    control: &Control,
    transaction: &Transaction,
    (row, by, reason): (ApprovalRow, UserId, String),
    approver: &Authority,
) -> Result<Decided, Refusal> {
    refuse_own(transaction, &row, by).await?;
    let (state, result, mut changes, stale) =
        match operation::run(control, transaction, &row, approver).await? {
            Outcome::Done(result, changes) => ("done", result, changes, None),
            Outcome::Stale(cause) => {
                let result = json!({ "code": cause.code(), "detail": cause.detail() });
                let words = format!("It does not fit any more: {}", cause.detail());
                let refusal = Refusal::new(&kind::APPROVAL_STALE, words).member("cause", cause.code());
                ("failed", result, Vec::new(), Some(refusal))
            }
        };
    for one in &mut changes {
        one.details["requested_by"] = row.requester.to_string().into();
        one.details["approved_by"] = by.to_string().into();
        one.details["approval"] = row.id.to_string().into();
    }
    let row = end(transaction, row, (state, by), (reason, Some(result))).await?;
    changes.insert(0, change(&row, "access.approval_given", "update", person(by)));
    Ok(Decided { row, changes, stale })
}

/// Says no. Whoever could say yes can, but not who asked: they withdraw.
pub(super) async fn refuse(
    transaction: &Transaction,
    (row, by, reason): (ApprovalRow, UserId, String),
) -> Result<Decided, Refusal> {
    refuse_own(transaction, &row, by).await?;
    let row = end(transaction, row, ("refused", by), (reason, None)).await?;
    let changes = vec![change(&row, "access.approval_refused", "update", person(by))];
    Ok(Decided { row, changes, stale: None })
}

/// Never mind, by who asked.
///
/// # Errors
/// 404 for anybody else.
pub(super) async fn withdraw(
    transaction: &Transaction,
    (row, by, reason): (ApprovalRow, UserId, String),
) -> Result<Decided, Refusal> {
    if row.requester != by {
        return Err(no_such_approval());
    }
    let row = end(transaction, row, ("withdrawn", by), (reason, None)).await?;
    let changes = vec![change(&row, "access.approval_withdrawn", "update", person(by))];
    Ok(Decided { row, changes, stale: None })
}

async fn end(
    transaction: &Transaction,
    row: ApprovalRow,
    (state, by): (&str, UserId),
    (reason, result): (String, Option<Value>),
) -> Result<ApprovalRow, Refusal> {
    let row = ApprovalRow {
        state: state.to_owned(),
        decided_by: Some(by),
        decided_at: Some(transaction.store().clock().now()),
        decision_reason: Some(reason),
        result,
        ..row
    };
    queries::decide(transaction, &row).await?;
    Ok(row)
}

/// Not who asked, and not whom it is for, alone or in a group. What is for everyone is for nobody more than for others.
async fn refuse_own(transaction: &Transaction, row: &ApprovalRow, by: UserId) -> Result<(), Refusal> {
    let own = |words: &str| Err(Refusal::new(&kind::SELF_APPROVAL, words));
    if row.requester == by {
        return own("You have asked for it yourself.");
    }
    match operation::beneficiary(row)? {
        Some(Holder::Principal(principal)) if principal == person(by) => own("It is for yourself."),
        Some(holder @ Holder::Group(_)) => {
            let rules = Rules::load_for(transaction, row.tenant).await?;
            let stored = stored::of_one(transaction, row.tenant, &rules).await?;
            let now_us = transaction.store().clock().now_us();
            match stored.model(&rules).is_among(person(by), holder, now_us) {
                true => own("It is for a group that you are in."),
                false => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
