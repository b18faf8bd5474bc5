//! Whom a sign-in policy would touch.

use jiff::SignedDuration;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::identity::{SignInPolicy, SingleSignOn};
use rowhouse_domain::refusal::Refusal;
use serde::Serialize;
use utoipa::ToSchema;

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
    /// Ids of those who would have no way in: none, as long as their addresses are proven.
    pub would_lose_entry: Vec<String>,
    /// Sessions that are proven less strongly than it asks.
    pub sessions_below: i64,
    pub administrators_without_factor: usize,
    /// Why it could not be set as it is.
    pub refused_because: Option<String>,
    /// Until when people have time to enrol, if it were set now.
    pub grace_until: Option<String>,
}

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
    for person in &people {
        let owned = factor::owned(&transaction, person.id).await?;
        let has = owned.meets(&in_force);
        if needs && !has {
            answer.must_enrol += 1;
        }
        if needs && !has && !owned.address && in_force.mfa_grace_days == 0 {
            answer.would_lose_entry.push(person.id.to_string());
        }
        if !owned.any() && chiefs.iter().any(|own| own.id == person.id) {
            answer.administrators_without_factor += 1;
        }
    }
    if in_force.single_sign_on == SingleSignOn::Enforced {
        let mut recovers = false;
        for chief in &chiefs {
            recovers |= factor::owned(&transaction, chief.id).await?.passkey;
        }
        if !sso::may_enforce(&transaction, tenant).await? {
            answer.refused_because = Some("No active connection was tested as it is now.".to_owned());
        } else if !recovers {
            let words = "No administrator has a passkey, to come in by on the day the provider is away.";
            answer.refused_because = Some(words.to_owned());
        }
    }
    transaction.finish().await?;
    if let Ok(person) = caller.bearer() {
        let short = person.claims.assurance.parse().unwrap_or(1u8) < in_force.needed();
        if person.claims.tenant == tenant && short && in_force.mfa_grace_days == 0 {
            answer.refused_because = Some("You do not meet it yourself.".to_owned());
        }
    }
    Ok(answer)
}
