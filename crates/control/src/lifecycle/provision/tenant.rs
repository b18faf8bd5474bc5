//! The steps within the control database: the tenant's row, its owner, its subscription, its start.

use std::time::Duration;

use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::directory::Tenant as Entry;
use rowhouse_domain::id::GrantId;
use rowhouse_domain::messages::template;
use rowhouse_domain::tenancy::Status;
use rowhouse_store::sagas::{Done, Run, StepError, StepResult};
use rowhouse_store::{Change, Notice, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, interval, timeout_at};

use super::place::Placed;
use super::{Params, failure, store, tenant_of};
use crate::access::{self, Authority, NewGrant};
use crate::keys::{self, NewAccount};
use crate::messages::{self, NewMessage, To};
use crate::tenancy::{self, TenantRecord, places, service_tables};
use crate::{Shared, billing, identity};

/// The service account that every tenant begins with.
const OWNER: &str = "owner";
const OWNER_ROLE: &str = "tenant_admin";
/// How long a tenant's start waits for the gateway.
const IN_FORCE_MAX: Duration = Duration::from_secs(5);
const IN_FORCE_LOOK: Duration = Duration::from_millis(2);

async fn locked(run: &Run<'_, Shared>, transaction: &Transaction) -> Result<TenantRecord, StepError> {
    let record = tenancy::lock(transaction, tenant_of(run)).await?;
    record.ok_or_else(|| StepError::never("api.not_found", "the tenant is gone"))
}

/// The row was entered with the saga; here it only must still wait for it.
pub async fn reserve(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let record = locked(run, transaction).await?;
    match record.tenant.status {
        Status::Provisioning => Ok(Done::with(&json!({ "code": record.tenant.code })).repeatable()),
        other => Err(StepError::never("lifecycle.wrong_status", format!("the tenant is {}", other.as_str()))),
    }
}

/// The last thing that is undone: everybody may know now that it has failed.
pub async fn fail(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let tenant = tenant_of(run);
    let record = locked(run, transaction).await?;
    if record.tenant.status != Status::Provisioning {
        return Ok(Done::plainly());
    }
    tenancy::set_status(transaction, tenant, Status::Failed, None).await?;
    let change = Change::new(tenant, "lifecycle.tenant_failed", "update", transaction.principal())
        .on("tenant", tenant)
        .details(json!({ "operation": run.saga.operation() }))
        .notify(Notice::tenant(tenant));
    Ok(Done::plainly().change(change))
}

/// What `people` made.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    service_account: String,
    grant: GrantId,
}

pub async fn people(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let tenant = tenant_of(run);
    let new = NewAccount { name: OWNER.to_owned(), description: "Made with the tenant.".to_owned() };
    let (account, made) = keys::create_account(transaction, tenant, new).await.map_err(failure)?;
    let owner = Principal { kind: PrincipalKind::ServiceAccount, id: account.id.0 };
    let new = NewGrant::role(owner, OWNER_ROLE, "Made with the tenant.");
    let granted = access::grant(transaction, tenant, new, &Authority::System).await;
    let (grant, _, given) = granted.map_err(failure)?;
    let output = Owner { service_account: account.id.to_string(), grant: grant.id };
    Ok(Done::with(&output).change(made).change(given).repeatable())
}

/// The grant is taken back; the account stays with the tenant that failed, without any right.
pub async fn without_people(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    identity::forget_prepared(transaction, tenant_of(run)).await?;
    let Some(owner) = run.output::<Owner>("people")? else { return Ok(Done::plainly()) };
    let removed = access::remove(transaction, owner.grant).await.map_err(failure)?;
    Ok(match removed {
        Some((_, change)) => Done::plainly().change(change),
        None => Done::plainly(),
    })
}

pub async fn subscribe(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let tenant = tenant_of(run);
    let Params { plan } = run.params()?;
    let now = run.context.clock().now();
    let subscribed = billing::subscribe(transaction, tenant, &plan, now).await;
    subscribed.map_err(|error| failure(error.into()))?;
    let change = Change::new(tenant, "billing.subscription_changed", "create", transaction.principal())
        .on("tenant", tenant)
        .details(json!({ "plan": plan }));
    Ok(Done::with(&json!({ "plan": plan })).change(change).repeatable())
}

pub async fn unsubscribe(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let tenant = tenant_of(run);
    if !billing::cancel(transaction, tenant).await? {
        return Ok(Done::plainly());
    }
    let change = Change::new(tenant, "billing.subscription_changed", "delete", transaction.principal())
        .on("tenant", tenant)
        .details(json!({}));
    Ok(Done::plainly().change(change))
}

/// Opens the tenant, once its tables are the ones on record now, and waits until the gateway knows it.
pub async fn activate(run: &Run<'_, Shared>) -> StepResult {
    let tenant = tenant_of(run);
    let (transaction, record) = match open(run).await? {
        Some(opened) => opened,
        None => {
            store::install_tables(run).await?;
            let again = || StepError::Again("the tables of a service changed meanwhile".to_owned());
            open(run).await?.ok_or_else(again)?
        }
    };
    match record.tenant.status {
        Status::Provisioning => {
            tenancy::set_status(&transaction, tenant, Status::Active, None).await?;
            places::settle(&transaction, tenant).await?;
            identity::invite_prepared(run.context, &transaction, tenant).await.map_err(failure)?;
            welcome(run, &transaction).await?;
            let change = Change::new(tenant, "lifecycle.tenant_activated", "update", transaction.principal())
                .on("tenant", tenant)
                .details(json!({ "operation": run.saga.operation() }))
                .notify(Notice::tenant(tenant));
            transaction.commit(change).await?;
        }
        // Done before a crash.
        _ => transaction.rollback().await?,
    }
    let in_force = wait_until_in_force(run).await;
    Ok(Done::with(&json!({ "tenant": tenant, "code": record.tenant.code, "in_force": in_force })))
}

/// The tenant's own people are told that it is ready; while there are none, its billing contact.
async fn welcome(run: &Run<'_, Shared>, transaction: &Transaction) -> Result<(), StepError> {
    let tenant = tenant_of(run);
    let message =
        NewMessage::new(&template::WELCOME, tenant, To::BillingContact, run.saga.operation().to_string())
            .value("link", &run.context.settings.public_url);
    messages::queue(run.context, transaction, message).await.map(drop).map_err(failure)
}

/// A transaction in which the tenant can be opened, and no service's tables change; `None` if they have changed since they
/// were installed here.
async fn open(run: &Run<'_, Shared>) -> Result<Option<(Transaction, TenantRecord)>, StepError> {
    let placed: Placed = run.expect_output("place")?;
    let transaction = run.write().await?;
    let record = locked(run, &transaction).await?;
    if record.tenant.status == Status::Provisioning {
        let wanted = service_tables::hold_versions(&transaction).await?;
        let installed = service_tables::installed(&transaction, &placed.cell, &placed.place).await?;
        if !service_tables::are_current(&wanted, &installed) {
            transaction.rollback().await?;
            return Ok(None);
        }
    }
    Ok(Some((transaction, record)))
}

/// The gateway of this process reads the directory it is published in; whether it has the tenant by now. The tenant is
/// active either way: a gateway that is late learns of it with its next version.
async fn wait_until_in_force(run: &Run<'_, Shared>) -> bool {
    wait_until_entry(run, |entry| entry.status == Status::Active).await
}

/// Waits a little until the directory of this process has the tenant as `wanted` says; whether it has.
pub async fn wait_until_entry(run: &Run<'_, Shared>, wanted: impl Fn(&Entry) -> bool + Send + Sync) -> bool {
    let tenant = tenant_of(run);
    let mut look = interval(IN_FORCE_LOOK);
    let known = async {
        loop {
            let directory = run.context.directory.current();
            if directory.tenants.get(&tenant).is_some_and(|entry| wanted(entry)) {
                return;
            }
            look.tick().await;
        }
    };
    timeout_at(Instant::now() + IN_FORCE_MAX, known).await.is_ok()
}

/// A tenant that is served is not unmade by a failure after that; a person must look.
pub async fn refuse_if_active(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let record = locked(run, transaction).await?;
    match record.tenant.status {
        Status::Provisioning => Ok(Done::plainly()),
        _ => Err(StepError::never("lifecycle.wrong_status", "the tenant is already served")),
    }
}
