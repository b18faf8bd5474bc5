//! Which release of a service who gets. The releases are declared in the catalogue; who gets which is changed here, in one
//! call that takes effect with the next version of the directory, and so is taken back.

use std::sync::Arc;

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OPERATOR_TENANT, RequestId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::routes::{BadTraffic, CompiledTraffic, ServiceDefinition, Traffic};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde_json::json;

use super::queries;
use crate::api::IfMatch;
use crate::{Control, catalog};

/// The topic of a notice that traffic changed: all else in the directory stays.
pub const TOPIC: &str = "splits";

/// A service's traffic as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// What holds.
    pub traffic: Traffic,
    /// What held before the last change.
    pub before: Traffic,
    /// Raised with each change; 0 before the first.
    pub version: i64,
    /// The principal.
    pub set_by: String,
    /// When.
    pub set_at: Timestamp,
}

/// A change of a service's traffic.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    /// This instead.
    Set(Traffic),
    /// The release becomes the default, and splits that lead to it have done their work.
    Promote(String),
    /// What was before the last change.
    RollBack,
}

/// Services' traffic in their order, compiled.
pub async fn load(
    transaction: &Transaction,
    services: &[ServiceDefinition],
) -> Result<Arc<[Option<CompiledTraffic>]>, StoreError> {
    let rows = queries::all(transaction).await?;
    let of = |service: &ServiceDefinition| {
        let (_, traffic) = rows.iter().find(|(name, _)| *name == service.name)?;
        // What sends everybody to the service's own copies needs no look at every request.
        let splits = *traffic != Traffic::default();
        splits.then(|| CompiledTraffic::new(service, traffic))
    };
    Ok(services.iter().map(of).collect())
}

/// A service and its traffic.
///
/// # Errors
/// 404 if there is no such service.
pub(super) async fn get(
    control: &Control,
    permit: &Permit,
    service: &str,
) -> Result<(ServiceDefinition, Option<Stored>), Refusal> {
    let transaction = control.store.read(permit).await?;
    let definition = definition(&transaction, service).await?;
    let stored = queries::get(&transaction, service).await?;
    transaction.finish().await?;
    Ok((definition, stored))
}

/// Changes a service's traffic within `transaction`. What holds already is no change: then there is nothing to commit.
///
/// # Errors
/// 404 if there is no such service; 412 if it was changed meanwhile; 422 for what its releases do not allow, for a tenant that
/// does not exist, and for going back where nothing was before.
pub(super) async fn change(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    (service, wanted, if_match): (&str, Wanted, &IfMatch),
    request_id: RequestId,
) -> Result<(ServiceDefinition, Option<Stored>, Option<Change>), Refusal> {
    let definition = definition(transaction, service).await?;
    queries::lock(transaction, service).await?;
    let stored = queries::get(transaction, service).await?;
    if_match.check(stored.as_ref().map_or(0, |stored| stored.version))?;
    let now = stored.as_ref().map(|stored| stored.traffic.clone()).unwrap_or_default();
    let (next, word) = match wanted {
        Wanted::Set(traffic) => (traffic, "update"),
        Wanted::Promote(release) => (promoted(&definition, &now, release), "promote"),
        Wanted::RollBack => (before(stored.as_ref())?, "roll_back"),
    };
    next.check(&definition).map_err(|bad| refused(&bad))?;
    refuse_unknown_tenants(control, &next)?;
    if next == now {
        return Ok((definition, stored, None));
    }
    let by = permit.principal().to_string();
    let stored = queries::put(transaction, service, (&next, &now), (&by, control.clock().now())).await?;
    let details =
        json!({ "done": word, "default_release": next.default_release, "splits": next.splits.len() });
    let change = Change::new(OPERATOR_TENANT, "routes.splits_changed", "update", permit.principal())
        .on("service", service)
        .details(details)
        .request(request_id)
        .notify(Notice::other(TOPIC));
    Ok((definition, Some(stored), Some(change)))
}

/// A release of the service's own copies is the default by not being named.
fn promoted(service: &ServiceDefinition, now: &Traffic, release: String) -> Traffic {
    let splits = now.splits.iter().filter(|split| split.release != release).cloned().collect();
    let own = service.release.as_deref() == Some(release.as_str());
    Traffic { default_release: (!own).then_some(release), splits }
}

fn before(stored: Option<&Stored>) -> Result<Traffic, Refusal> {
    let nothing = || Refusal::new(&kind::INVALID, "Nothing was changed yet that could be taken back.");
    Ok(stored.ok_or_else(nothing)?.before.clone())
}

fn refused(bad: &BadTraffic) -> Refusal {
    Refusal::new(&kind::INVALID, "The requests of the service cannot be split like this.").field(
        bad.at.clone(),
        bad.code,
        bad.detail.clone(),
    )
}

fn refuse_unknown_tenants(control: &Control, traffic: &Traffic) -> Result<(), Refusal> {
    let directory = control.directory.current();
    for (place, split) in traffic.splits.iter().enumerate() {
        if let Some(nobody) = split.tenants.iter().find(|code| directory.tenant_by_code(code).is_none()) {
            let detail = format!("there is no tenant `{nobody}`");
            return Err(Refusal::new(&kind::INVALID, "A tenant that is pinned does not exist.").field(
                format!("/splits/{place}/tenants"),
                "unknown",
                detail,
            ));
        }
    }
    Ok(())
}

async fn definition(transaction: &Transaction, service: &str) -> Result<ServiceDefinition, Refusal> {
    let definitions = catalog::load(transaction).await.map_err(|error| {
        tracing::error!(%error, "the catalogue could not be loaded");
        Refusal::new(&kind::INTERNAL, "The catalogue could not be loaded.")
    })?;
    let found = definitions.services.into_iter().find(|own| own.name == service);
    found.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, format!("There is no service `{service}`.")))
}
