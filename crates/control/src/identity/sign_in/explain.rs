//! What would come of it if a person signed in now: every way in, with what follows or what is in its way. Nothing is tried and nothing
//! counted; what decides are the functions that decide a sign-in.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::slice::from_ref;

use jiff::Timestamp;
use rowhouse_domain::identity::{
    Closed, EntryReason, Exit, Next, PasswordLock, ProofKind, Provider, SignInPolicy, SingleSignOn, Standing,
    Way, exits, ways,
};
use rowhouse_store::{StoreError, Transaction};
use serde::Serialize;
use utoipa::ToSchema;

use super::locked::{Lock, locks};
use super::policy::{self, InForce};
use super::queries;
use crate::identity::queries::MemberRow;
use crate::identity::{factor, may_enter, sso};
use crate::{Control, access};

/// What would come of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignInExplanation {
    /// Where the best of the open ways leads after its first proof: `done`, `second_factor`, `enrol`; `refused` if none is open.
    result: &'static str,
    /// What shuts every way: `user_disabled`, `membership_suspended`, `tenant_not_active`, `too_many_attempts` (from that address).
    #[schema(value_type = Vec<String>)]
    reasons: Vec<&'static str>,
    /// How strongly the tenant wants people proven: 1, or 2 for two things, or 3 for a key.
    needed: u8,
    /// Whether the tenant is entered by single sign-on alone.
    single_sign_on_only: bool,
    /// Each way in.
    ways: Vec<WayAnswer>,
    /// What can be done about what is closed: `wait`, `mailed_link`, `reset_password`, `unlock`, `connect`, `change_policy`, `resume`,
    /// `operator`.
    #[schema(value_type = Vec<String>)]
    exits: Vec<Exit>,
    /// When the lock on the password opens by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_until: Option<String>,
    /// Until when the person may enter without the second factor that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrol_until: Option<String>,
    /// Seconds until tries from that address are looked at again, in the process that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u32>,
}

/// A way in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignInWay)]
struct WayAnswer {
    /// What is shown first: `password`, `passkey` or `single_sign_on`.
    first: &'static str,
    /// What follows: `done`, `second_factor`, `enrol`, or `closed`.
    leads: &'static str,
    /// One of these is shown then, or enrolled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    one_of: Vec<&'static str>,
    /// Why it is closed: `no_password`, `no_passkey`, `password_locked`, `password_closed`, `single_sign_on_only`, `not_connected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    why: Option<Closed>,
}

impl WayAnswer {
    fn new(way: &Way, policy: &SignInPolicy) -> Self {
        let names = |kinds: &[ProofKind]| kinds.iter().map(|kind| kind.as_str()).collect();
        let (leads, one_of, why) = match &way.leads {
            Ok(Next::Enter { .. }) => ("done", Vec::new(), None),
            Ok(Next::Show(kinds)) => ("second_factor", names(kinds), None),
            Ok(Next::Enrol) => ("enrol", names(&policy.enrollable()), None),
            Err(why) => ("closed", Vec::new(), Some(*why)),
        };
        WayAnswer { first: way.first.as_str(), leads, one_of, why }
    }
}

/// Explains for a member, from `address` if one is named. The transaction must see the platform.
///
/// # Errors
/// If the database fails.
pub async fn explain(
    control: &Control,
    transaction: &Transaction,
    member: &MemberRow,
    address: Option<IpAddr>,
) -> Result<SignInExplanation, StoreError> {
    let in_force = policy::in_force(transaction, member.tenant).await?;
    let found = Found::of(control, transaction, member, &in_force).await?;
    let entry = may_enter(control, transaction, member.tenant, member.user.id).await?;
    let against = entry.map(|entry| entry.reasons).unwrap_or_default();
    let now_us = control.clock().now_us();
    let name = member.user.email.as_deref().unwrap_or_default();
    let retry_after_s = address.and_then(|address| control.sign_in_sources.closed_for(address, name, now_us));
    Ok(answer(&in_force.policy, &found, (&against, retry_after_s)))
}

/// What is found of a person.
struct Found {
    standing: Standing,
    locked_until: Option<Timestamp>,
    grace_until: Option<Timestamp>,
}

impl Found {
    async fn of(
        control: &Control,
        transaction: &Transaction,
        member: &MemberRow,
        in_force: &InForce,
    ) -> Result<Found, StoreError> {
        let (tenant, user) = (member.tenant, member.user.id);
        let emails: Vec<&str> = member.user.email.iter().map(String::as_str).collect();
        let lock = locks(control, transaction, &emails).await?.into_iter().flatten().next();
        let grace_until = in_force.grace_until(transaction, (tenant, user)).await?;
        let standing = Standing {
            owned: factor::owned(transaction, user).await?,
            has_password: queries::password(transaction, user).await?.is_some(),
            lock: match lock {
                None => PasswordLock::Open,
                Some(Lock::Until(_)) => PasswordLock::Locked,
                Some(Lock::ForGood) => PasswordLock::Closed,
            },
            provider: provider(transaction, member).await?,
            is_administrator: access::administrators(transaction, tenant).await?.contains(&user),
            in_grace: grace_until.is_some_and(|until| control.clock().now() < until),
        };
        let locked_until = match lock {
            Some(Lock::Until(time)) => Some(time),
            Some(Lock::ForGood) | None => None,
        };
        Ok(Found { standing, locked_until, grace_until })
    }
}

/// How the tenant's providers know the member.
async fn provider(transaction: &Transaction, member: &MemberRow) -> Result<Provider, StoreError> {
    if sso::active_of(transaction, member.tenant).await?.is_empty() {
        return Ok(Provider::Nowhere);
    }
    let shut_out =
        sso::shut_out(transaction, member.tenant, (from_ref(&member.user), &BTreeSet::new())).await?;
    Ok(if shut_out.is_empty() { Provider::Knows } else { Provider::Stranger })
}

fn answer(
    policy: &SignInPolicy,
    found: &Found,
    (against, retry_after_s): (&[EntryReason], Option<u32>),
) -> SignInExplanation {
    let ways = ways(policy, &found.standing);
    let mut reasons: Vec<&'static str> = Vec::new();
    let mut out = exits(policy, &found.standing, &ways);
    for reason in against {
        let (word, exit) = match reason {
            EntryReason::UserDisabled => ("user_disabled", Exit::Operator),
            EntryReason::MembershipSuspended => ("membership_suspended", Exit::Resume),
            EntryReason::TenantNotActive => ("tenant_not_active", Exit::Operator),
            // These are of a way each, and told there; who is no member is not explained.
            EntryReason::Locked | EntryReason::PolicyNotMet | EntryReason::NotAMember => continue,
        };
        reasons.push(word);
        out.push(exit);
    }
    if retry_after_s.is_some() {
        reasons.push("too_many_attempts");
        out.push(Exit::Wait);
    }
    out.sort_unstable();
    out.dedup();
    let may_enrol_later = ways.iter().any(|way| matches!(way.leads, Ok(Next::Enter { enrol: true })));
    SignInExplanation {
        result: if reasons.is_empty() { best(&ways) } else { "refused" },
        reasons,
        needed: policy.needed(),
        single_sign_on_only: policy.single_sign_on == SingleSignOn::Enforced,
        ways: ways.iter().map(|way| WayAnswer::new(way, policy)).collect(),
        exits: out,
        locked_until: found.locked_until.map(|time| time.to_string()),
        enrol_until: found.grace_until.filter(|_| may_enrol_later).map(|time| time.to_string()),
        retry_after_s,
    }
}

/// Where the way leads that asks least.
fn best(ways: &[Way]) -> &'static str {
    let leads = |wanted: fn(&Next) -> bool| ways.iter().any(|way| way.leads.as_ref().is_ok_and(wanted));
    if leads(|next| matches!(next, Next::Enter { .. })) {
        "done"
    } else if leads(|next| matches!(next, Next::Show(_))) {
        "second_factor"
    } else if leads(|next| matches!(next, Next::Enrol)) {
        "enrol"
    } else {
        "refused"
    }
}
