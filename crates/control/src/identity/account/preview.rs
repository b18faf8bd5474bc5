//! Whom a sign-in policy would touch.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::identity::{SignInPolicy, SingleSignOn};
use rowhouse_domain::refusal::Refusal;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Control;
use crate::api::Caller;
use crate::identity::queries::active_members;
use crate::identity::sign_in::policy;
use crate::identity::{administrators, factor, session, sso};

/// What it would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewAnswer {
    /// Who belongs to the tenant and may enter.
    pub people: usize,
    /// Of them, who would have to do something.
    pub must_enrol: usize,
    /// Ids of those who would have no way in, at most 100: by what they prove, none as long as their addresses are proven; and where the
    /// tenant's provider is the only way in, who has no link to it and gets none by their address, but no administrator with a passkey.
    pub would_lose_entry: Vec<String>,
    /// How many they are in all.
    pub would_lose_entry_count: usize,
    /// Sessions that are proven less strongly than it asks.
    pub sessions_below: i64,
    pub administrators_without_factor: usize,
    /// Why it could not be set as it is.
    pub refused_because: Option<String>,
    /// Until when people have time to enrol, if it were set now.
    pub grace_until: Option<String>,
}

/// So many of those who would have no way in are told by id.
const TOLD_MAX: usize = 100;

/// Looks.
pub async fn preview(
    control: &Control,
    caller: &Caller,
    tenant: TenantId,
    wanted: &SignInPolicy,
) -> Result<PreviewAnswer, Refusal> {
    let now = control.clock().now();
    let transaction = control.store.read(&Permit::for_system(None, "whom a policy would touch")).await?;
    let in_force = policy::floor(tenant).map_or_else(|| wanted.clone(), |floor| wanted.stricter(&floor));
    let people = active_members(&transaction, tenant).await?;
    let chiefs = administrators(&transaction, tenant).await?;
    let needs = in_force.needed() > 1;
    let mut answer = PreviewAnswer {
        people: people.len(),
        must_enrol: 0,
        would_lose_entry: Vec::new(),
        would_lose_entry_count: 0,
        sessions_below: session::queries::count_below(
            &transaction,
            tenant,
            i16::from(in_force.needed()),
            now,
        )
        .await?,
        administrators_without_factor: 0,
        refused_because: None,
        grace_until: needs
            .then(|| (now + SignedDuration::from_hours(24 * in_force.mfa_grace_days)).to_string()),
    };
    let mut lost: Vec<UserId> = Vec::new();
    let ids: Vec<Uuid> = people.iter().map(|own| own.id.0).collect();
    let possessions = factor::owned_by(&transaction, &ids).await?;
    let owned_by = |id: UserId| possessions.get(&id).copied().unwrap_or_default();
    for person in &people {
        let owned = owned_by(person.id);
        let has = owned.meets(&in_force);
        if needs && !has {
            answer.must_enrol += 1;
        }
        if needs && !has && !owned.address && in_force.mfa_grace_days == 0 {
            lost.push(person.id);
        }
        if !owned.any() && chiefs.iter().any(|own| own.id == person.id) {
            answer.administrators_without_factor += 1;
        }
    }
    if in_force.single_sign_on == SingleSignOn::Enforced {
        let recovering: BTreeSet<UserId> =
            chiefs.iter().map(|chief| chief.id).filter(|id| owned_by(*id).passkey).collect();
        lost.extend(sso::shut_out(&transaction, tenant, (&people, &recovering)).await?);
        if !sso::may_enforce(&transaction, tenant).await? {
            answer.refused_because = Some("No active connection was tested as it is now.".to_owned());
        } else if recovering.is_empty() {
            let words = "No administrator has a passkey, to come in by on the day the provider is away.";
            answer.refused_because = Some(words.to_owned());
        }
    }
    transaction.finish().await?;
    lost.sort_unstable();
    lost.dedup();
    answer.would_lose_entry_count = lost.len();
    answer.would_lose_entry = lost.iter().take(TOLD_MAX).map(UserId::to_string).collect();
    if let Ok(person) = caller.bearer() {
        let short = person.claims.assurance.parse().unwrap_or(1u8) < in_force.needed();
        if person.claims.tenant == tenant && short && in_force.mfa_grace_days == 0 {
            answer.refused_because = Some("You do not meet it yourself.".to_owned());
        }
    }
    Ok(answer)
}
