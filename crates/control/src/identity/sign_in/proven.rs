//! A sign-in whose first proof was given elsewhere: at the tenant's own provider.

use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::identity::Evidence;
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{Change, Transaction};

use super::advance::{Left, advance};
use super::attempt::Told;
use super::flow;
use super::progress::Progress;
use super::queries::{self, FlowRow};
use crate::Control;
use crate::identity::token;

/// Who comes, where to, with what. The tenant cannot be chosen afterwards: a provider's word counts in its own alone.
#[derive(Debug)]
pub struct Begun {
    pub user: UserId,
    pub tenant: TenantId,
    pub evidence: Evidence,
}

/// Goes on with it, and commits `changes` with what follows; the text that its client goes on with comes back.
///
/// # Errors
/// 403 `identity.entry_refused`.
pub async fn begin_proven(
    control: &Control,
    transaction: Transaction,
    Begun { user, tenant, evidence }: Begun,
    told: &Told<'_>,
    changes: Vec<Change>,
) -> Result<(String, Progress), Refusal> {
    let started = flow::start(control, "", Some(&tenant.to_string()))?;
    let now = control.clock().now();
    let flow = FlowRow {
        digest: flow::digest(control, &started.flow),
        user,
        wanted: Some(tenant),
        evidence,
        guesses: 0,
        code_digest: None,
        code_until: None,
        // Nobody's: a provider opens no lock of a password.
        throttle: token::digest(control, "throttle/sso", &started.flow),
        expires_at: started.until,
    };
    queries::put(&transaction, &flow, (&told.source.ip(), &told.source.agent), now).await?;
    let told = Told { flow: &started.flow, ..*told };
    let left = Left { changes, ..Left::default() };
    let progress = advance(control, transaction, flow, &told, left).await?;
    Ok((started.flow, progress))
}
