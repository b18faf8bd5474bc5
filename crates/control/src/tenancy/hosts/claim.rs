//! Claiming a name, vouching for one, and giving one up.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{HostId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::hosts::{HostState, Standing};
use rowhouse_store::{StoreError, Transaction};

use super::name::not_allowed;
use super::queries;
use super::record::HostRow;
use crate::{Control, catalog, tenancy};

/// What is wanted of a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// For whom.
    pub tenant: TenantId,
    /// In canonical form.
    pub name: &'a str,
    /// The operator's principal, if it vouches: then nothing has to be proven and the tier's number does not count.
    pub vouched_by: Option<&'a str>,
}

/// Enters the claim in `transaction`. A claim blocks nobody; a name that is vouched for is served from now on.
///
/// # Errors
/// 409 `tenancy.host_taken` if somebody holds the name or the tenant has claimed it; 422 `tenancy.host_not_allowed` if
/// it is in quarantine or over the tier's number.
pub(super) async fn enter(
    control: &Control,
    transaction: &Transaction,
    wanted: Wanted<'_>,
) -> Result<HostRow, Refusal> {
    refuse_held(control, &wanted).await?;
    let now_us = control.clock().now_us();
    let now = control.clock().now();
    let state = if wanted.vouched_by.is_some() { HostState::Active } else { HostState::Pending };
    let standing = Standing { state, since_us: now_us, failures: 0, failing_since_us: None };
    let vouched_by = wanted.vouched_by.map(str::to_owned);
    let own = queries::lock_own(transaction, wanted.tenant, wanted.name).await?;
    if wanted.vouched_by.is_none() {
        refuse_too_many(transaction, wanted.tenant).await?;
    }
    let host = match own {
        // Back from quarantine, or vouched for after all.
        Some(own) if own.standing.state == HostState::Quarantined || state == HostState::Active => {
            HostRow { standing, vouched_by, last_problem: None, ..own }
        }
        Some(_) => return Err(taken(wanted.name, "It is claimed by this tenant already.")),
        None => HostRow {
            id: HostId(control.entropy().uuid_v7(now_us)),
            tenant: wanted.tenant,
            name: wanted.name.to_owned(),
            standing,
            vouched_by,
            verified_at: None,
            checked_at: None,
            last_problem: None,
            created_at: now,
        },
    };
    queries::put(transaction, &host).await.map_err(|error| held(error, wanted.name))?;
    Ok(host)
}

/// What a name that is given up becomes: nothing is left of a claim; what was served is kept from strangers.
pub(super) async fn give_up(
    control: &Control,
    transaction: &Transaction,
    host: HostRow,
) -> Result<HostState, StoreError> {
    match host.standing.state {
        HostState::Pending => {
            queries::delete(transaction, host.id).await?;
            Ok(HostState::Pending)
        }
        HostState::Quarantined => Ok(HostState::Quarantined),
        HostState::Verified | HostState::Active | HostState::Failing => {
            let standing = Standing {
                state: HostState::Quarantined,
                since_us: control.clock().now_us(),
                failures: 0,
                failing_since_us: None,
            };
            queries::put(transaction, &HostRow { standing, vouched_by: None, ..host }).await?;
            Ok(HostState::Quarantined)
        }
    }
}

/// Whether the name can be had, as far as other tenants go; their rows are not seen in the caller's own transaction.
async fn refuse_held(control: &Control, wanted: &Wanted<'_>) -> Result<(), Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "who holds a name")).await?;
    let holder = queries::holder(&transaction, wanted.name).await?;
    transaction.finish().await?;
    match holder {
        None => Ok(()),
        Some(own) if own.tenant == wanted.tenant => match own.standing.state {
            HostState::Quarantined => Ok(()),
            HostState::Verified | HostState::Failing if wanted.vouched_by.is_some() => Ok(()),
            _ => Err(taken(wanted.name, "It is this tenant's already.")),
        },
        Some(other) if other.standing.state == HostState::Quarantined => Err(in_quarantine(control, &other)),
        Some(_) => Err(taken(wanted.name, "It belongs to a tenant already.")),
    }
}

fn in_quarantine(control: &Control, host: &HostRow) -> Refusal {
    let until = host.standing.since_us.saturating_add(control.settings.hosts.quarantine_us());
    let until = jiff::Timestamp::from_microsecond(until).map(|at| at.to_string()).unwrap_or_default();
    not_allowed(format!("`{}` was another tenant's; it can be claimed from {until} on.", host.name))
}

async fn refuse_too_many(transaction: &Transaction, tenant: TenantId) -> Result<(), Refusal> {
    let number = queries::count(transaction, tenant).await?;
    let record = tenancy::get(transaction, tenant).await?;
    let record = record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    let tier = catalog::load_tier(transaction, &record.tenant.tier).await?;
    let most = tier.map_or(1, |tier| tier.hosts);
    match number < i64::from(most) {
        true => Ok(()),
        false => Err(not_allowed(format!(
            "The tier `{}` gives {most} domains; {number} are claimed.",
            record.tenant.tier
        ))
        .next("Remove a domain, or choose a larger tier.")),
    }
}

/// The answer about a name that somebody has.
pub(super) fn taken(name: &str, why: &str) -> Refusal {
    Refusal::new(&kind::HOST_TAKEN, format!("`{name}` is taken. {why}"))
}

/// Somebody else was first: between the look and the entry, or between the claim and the proof.
pub(super) fn held(error: StoreError, name: &str) -> Refusal {
    match error.constraint() {
        Some("hosts_held_key" | "hosts_claim_key") => {
            taken(name, "Another tenant was first, or had it last.")
        }
        _ => error.into(),
    }
}
