//! Refreshing: each refresh token is used once and followed by another. One that comes again has been copied, and ends its session;
//! but who did not get the answer may ask once more within ten seconds, if what followed was not used.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{ApplicationId, RequestId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde_json::json;

use super::begin::REFRESH;
use super::queries::{self, RefreshRow, SessionRow};
use super::{Begun, REFRESH_S, access_token, end_one, ring};
use crate::Control;
use crate::identity::sign_in::{self, policy};
use crate::identity::{may_enter, token};

/// How long the answer to a refresh may be asked for again, in seconds.
const REPLAY_S: i64 = 10;

/// New tokens for a refresh token.
///
/// # Errors
/// 401 `identity.token_invalid` for one that is unknown, over or used before, which ends the session; 401 `identity.session_ended`
/// if the session is over or the person may not enter any more.
pub async fn refresh(control: &Control, text: &str, request_id: RequestId) -> Result<Begun, Refusal> {
    let permit = Permit::for_system(None, "a session that is refreshed");
    let transaction = control.store.write(&permit).await?;
    let now = control.clock().now();
    let digest = token::digest(control, REFRESH, text);
    let session = queries::refresh_session(&transaction, &digest).await?.ok_or_else(invalid)?;
    let session = queries::lock(&transaction, session).await?.ok_or_else(session_ended)?;
    let row = queries::lock_refresh(&transaction, &digest).await?.ok_or_else(invalid)?;
    if row.expires_at <= now || session.is_over(now) {
        return Err(session_ended());
    }
    if row.used_at.is_some() && !may_ask_again(&transaction, &row, now).await? {
        return Err(copied(transaction, &session, request_id).await?);
    }
    if let Some(because) = unwelcome(control, &transaction, &session).await? {
        let change = end_one(&transaction, (session.tenant, session.id), because, actor(&session)).await?;
        commit(transaction, change.into_iter().collect()).await?;
        return Err(session_ended());
    }
    let policy = policy::in_force(&transaction, session.tenant).await?.policy;
    let idle_until = session.absolute_until.min(now + SignedDuration::from_mins(policy.session.idle_min));
    let (secret, successor) = token::make(control, REFRESH);
    let until = session.absolute_until.min(now + SignedDuration::from_secs(REFRESH_S));
    queries::put_refresh(&transaction, &session, &successor, (now, until)).await?;
    queries::use_refresh(&transaction, &digest, &successor, now).await?;
    queries::seen(&transaction, session.id, now, idle_until).await?;
    let access = access_token(control, &ring(control, &transaction).await?, &session);
    transaction.commit_telemetry().await?;
    Ok(Begun { session, secret, access: Some(access) })
}

/// The session that a refresh token is of, and its application, if there is one.
pub async fn application_of(
    control: &Control,
    transaction: &Transaction,
    text: &str,
) -> Result<Option<ApplicationId>, Refusal> {
    let digest = token::digest(control, REFRESH, text);
    match queries::refresh_session(transaction, &digest).await? {
        Some(session) => Ok(queries::application_of(transaction, session).await?),
        None => Ok(None),
    }
}

/// Ends the session of a refresh token (RFC 7009): unknown ones are no error.
pub async fn revoke(control: &Control, text: &str) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a session that is revoked")).await?;
    let digest = token::digest(control, REFRESH, text);
    let found = match queries::refresh_session(&transaction, &digest).await? {
        Some(id) => queries::lock(&transaction, id).await?,
        None => None,
    };
    let change = match &found {
        Some(session) => {
            end_one(&transaction, (session.tenant, session.id), "signed_out", actor(session)).await?
        }
        None => None,
    };
    commit(transaction, change.into_iter().collect()).await
}

async fn commit(transaction: Transaction, changes: Vec<Change>) -> Result<(), Refusal> {
    match changes.is_empty() {
        true => transaction.rollback().await?,
        false => transaction.commit_all(changes).await?,
    }
    Ok(())
}

async fn may_ask_again(transaction: &Transaction, row: &RefreshRow, now: Timestamp) -> Result<bool, Refusal> {
    let (Some(used_at), Some(successor)) = (row.used_at, &row.successor) else { return Ok(false) };
    let in_time = now.duration_since(used_at) <= SignedDuration::from_secs(REPLAY_S);
    Ok(in_time && queries::void_unused_refresh(transaction, successor, now).await?)
}

async fn copied(
    transaction: Transaction,
    session: &SessionRow,
    request_id: RequestId,
) -> Result<Refusal, Refusal> {
    let mut changes: Vec<Change> =
        end_one(&transaction, (session.tenant, session.id), "refresh_token_reused", actor(session))
            .await?
            .into_iter()
            .collect();
    let told = Change::new(session.tenant, "identity.refresh_token_reused", "update", actor(session))
        .on("session", session.id)
        .details(json!({}))
        .request(request_id);
    changes.push(told);
    transaction.commit_all(changes).await?;
    Ok(invalid())
}

/// Why the person may not go on, if so.
pub async fn unwelcome(
    control: &Control,
    transaction: &Transaction,
    session: &SessionRow,
) -> Result<Option<&'static str>, Refusal> {
    let entry = may_enter(control, transaction, session.tenant, session.user).await?;
    if !entry.is_some_and(|entry| entry.may_go_on()) {
        return Ok(Some("entry_refused"));
    }
    let policy = policy::in_force(transaction, session.tenant).await?;
    let strong = policy.policy.assurance(&session.evidence) >= policy.policy.needed();
    if !sign_in::admitted(transaction, (session.tenant, session.user), &policy.policy, &session.evidence)
        .await?
    {
        return Ok(Some("policy"));
    }
    let in_grace = policy.in_grace(transaction, session.tenant, session.user, control.clock().now()).await?;
    Ok((!strong && !in_grace).then_some("policy"))
}

fn actor(session: &SessionRow) -> Principal {
    Principal { kind: PrincipalKind::User, id: session.user.0 }
}

fn invalid() -> Refusal {
    Refusal::new(&kind::TOKEN_INVALID, "The refresh token is not valid.")
}

fn session_ended() -> Refusal {
    Refusal::new(&kind::SESSION_ENDED, "The session has ended.")
}
