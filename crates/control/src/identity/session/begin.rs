//! Beginning a session: the one place where a person becomes signed in.

use jiff::SignedDuration;
use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::id::{RequestId, SessionId, TenantId, UserId};
use rowhouse_domain::identity::{Evidence, SignInPolicy};
use rowhouse_store::{Change, StoreError, Transaction};
use serde_json::json;

use super::queries::{self, ForApplication, SessionRow};
use super::{REFRESH_S, access_token, end_one, ring};
use crate::Control;
use crate::identity::{queries as people, token};

/// Who enters which tenant, with what, from where.
#[derive(Debug)]
pub struct Entrance<'a> {
    pub user: UserId,
    pub tenant: TenantId,
    pub evidence: Evidence,
    pub policy: &'a SignInPolicy,
    pub ip: &'a str,
    pub agent: &'a str,
    /// Whether it lives by a cookie; else by refresh tokens.
    pub by_cookie: bool,
    /// The application that it is begun for.
    pub application: Option<ForApplication>,
    pub request_id: RequestId,
}

/// A session that has begun, and the secrets that are told once.
#[derive(Debug)]
pub struct Begun {
    pub session: SessionRow,
    /// For a browser's cookie, or to refresh with.
    pub secret: String,
    /// For a session that lives by tokens, with its seconds.
    pub access: Option<(String, i64)>,
}

/// Purposes of the secrets.
pub const COOKIE: &str = "session";
pub(super) const REFRESH: &str = "refresh";

/// Begins one; what is to be committed with it. The oldest of a person's sessions beyond the policy's number end for it. None begins if the
/// person was suspended or removed meanwhile: the membership is held from here on, so that a suspension sees the session or prevents it.
pub async fn begin(
    control: &Control,
    transaction: &Transaction,
    entrance: Entrance<'_>,
) -> Result<Option<(Begun, Vec<Change>)>, StoreError> {
    let now = control.clock().now();
    if !people::signed_in(transaction, (entrance.tenant, entrance.user), now).await? {
        return Ok(None);
    }
    let Entrance { user, tenant, evidence, policy, ip, agent, by_cookie, application, request_id } = entrance;
    let absolute_until = now + SignedDuration::from_hours(policy.session.absolute_hours);
    let shown_at = evidence.newest().unwrap_or(now.as_second());
    let session = SessionRow {
        id: SessionId(control.entropy().uuid_v7(now.as_microsecond())),
        tenant,
        user,
        assurance: i16::from(policy.assurance(&evidence)),
        auth_time: jiff::Timestamp::from_second(shown_at).unwrap_or(now),
        evidence,
        created_at: now,
        last_seen_at: now,
        idle_until: absolute_until.min(now + SignedDuration::from_mins(policy.session.idle_min)),
        absolute_until,
        ip: ip.to_owned(),
        agent: agent.to_owned(),
        by_cookie,
        application,
    };
    let mut changes = crowded_out(transaction, &session, policy).await?;
    let purpose = if by_cookie { COOKIE } else { REFRESH };
    let (secret, digest) = token::make(control, purpose);
    queries::insert(transaction, &session, by_cookie.then_some(digest.as_slice())).await?;
    let access = match by_cookie {
        true => None,
        false => {
            let until = absolute_until.min(now + SignedDuration::from_secs(REFRESH_S));
            queries::put_refresh(transaction, &session, &digest, (now, until)).await?;
            Some(access_token(control, &ring(control, transaction).await?, &session))
        }
    };
    let actor = Principal { kind: PrincipalKind::User, id: user.0 };
    let change = Change::new(tenant, "identity.session_started", "create", actor)
        .on("session", session.id)
        .details(json!({ "assurance": session.assurance, "methods": session.evidence.methods() }))
        .request(request_id);
    changes.push(change);
    Ok(Some((Begun { session, secret, access }, changes)))
}

async fn crowded_out(
    transaction: &Transaction,
    new: &SessionRow,
    policy: &SignInPolicy,
) -> Result<Vec<Change>, StoreError> {
    let actor = Principal { kind: PrincipalKind::User, id: new.user.0 };
    let present = queries::of_user(transaction, new.user, Some(new.tenant), new.created_at).await?;
    let room = usize::try_from(policy.session.concurrent_max - 1).unwrap_or(0);
    let mut changes = Vec::new();
    for old in present.iter().skip(room) {
        changes.extend(end_one(transaction, (old.tenant, old.id), "too_many", actor).await?);
    }
    Ok(changes)
}
