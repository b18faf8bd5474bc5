//! What people are told about a tenant's life, queued with the change that it is about: each thing once.

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OPERATOR_TENANT, OperationId, TenantId};
use rowhouse_domain::messages::{Address, template};
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{Change, StoreError, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::decommission::Params;
use super::queries;
use crate::messages::{self, NewMessage, To};
use crate::tenancy::{self, Seal};
use crate::{Control, Shared};

const PURPOSE: &str = "lifecycle/leaver/v1";
/// Seconds before the erasure at which a leaving tenant is told again: a week, a day.
const REMINDERS: [i64; 2] = [7 * 86_400, 86_400];

/// A tenant was suspended at `at`.
pub async fn suspended(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
    (reason, at): (&str, Timestamp),
) -> Result<(), Refusal> {
    let new = NewMessage::new(&template::TENANT_SUSPENDED, tenant, To::Administrators, at.to_string());
    messages::queue(control, transaction, new.value("reason", reason)).await.map(drop)
}

/// A suspended tenant goes on.
pub async fn resumed(control: &Control, transaction: &Transaction, tenant: TenantId) -> Result<(), Refusal> {
    let key = control.clock().now().to_string();
    let new = NewMessage::new(&template::TENANT_RESUMED, tenant, To::Administrators, key);
    messages::queue(control, transaction, new).await.map(drop)
}

/// A tenant is on another tier.
pub async fn tier_changed(
    control: &Control,
    transaction: &Transaction,
    (tenant, operation): (TenantId, OperationId),
    (from, to): (&str, &str),
) -> Result<(), Refusal> {
    let new = NewMessage::new(&template::TIER_CHANGED, tenant, To::Administrators, operation.to_string());
    messages::queue(control, transaction, new.value("from", from).value("to", to)).await.map(drop)
}

/// A tenant leaves; `key` makes the first time and each reminder one message.
pub async fn leaving(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
    (key, erased_at): (String, Timestamp),
) -> Result<(), Refusal> {
    let new = NewMessage::new(&template::TENANT_LEAVING, tenant, To::Administrators, key);
    messages::queue(control, transaction, new.value("erased_at", erased_at)).await.map(drop)
}

/// Tells leaving tenants again, a week and a day before they are erased.
pub async fn remind_leaving(control: &Shared) -> Result<(), Refusal> {
    let permit = Permit::for_system(None, "reminders of leaving");
    let now = control.clock().now();
    let transaction = control.store.write(&permit).await?;
    for saga in
        queries::leaving_before(&transaction, now + jiff::SignedDuration::from_secs(REMINDERS[0])).await?
    {
        let Some(tenant) = saga.tenant else { continue };
        let ends = serde_json::from_value::<Params>(saga.params).map(|params| params.retention_ends_at);
        let left = saga.run_at.duration_since(now).as_secs();
        let due = REMINDERS.iter().filter(|before| left <= **before).min();
        if let (Ok(ends), Some(before)) = (ends, due) {
            leaving(control, &transaction, tenant, (format!("{} {before}", saga.id), ends)).await?;
        }
    }
    Ok(transaction.commit_telemetry().await?)
}

/// Who is to get the certificate, and the name that it is about: all else that knows it will be erased.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Leaver {
    company_name: String,
    addresses: Vec<String>,
}

/// Keeps, sealed, who is to get the certificate.
pub async fn remember_leaver(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<(), StoreError> {
    let record = tenancy::get(transaction, tenant).await?;
    let found = messages::addresses(control, transaction, tenant, &To::Administrators).await?;
    let leaver = Leaver {
        company_name: record.map(|record| record.tenant.company_name).unwrap_or_default(),
        addresses: found.iter().map(|address| address.as_str().to_owned()).collect(),
    };
    let plain = serde_json::to_vec(&leaver).expect("text");
    let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
    let sealed = seal.seal(control.entropy(), &[&tenant.to_string()], &plain);
    queries::keep_leaver(transaction, tenant, &sealed).await
}

/// Sends the certificate to whom it was kept for, and forgets them.
pub async fn left(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
    operation: OperationId,
) -> Result<(), Refusal> {
    let Some(sealed) = queries::take_leaver(transaction, tenant).await? else { return Ok(()) };
    let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
    let plain = seal.open(&[&tenant.to_string()], &sealed).unwrap_or_default();
    let leaver: Leaver = serde_json::from_slice(&plain).unwrap_or_default();
    let link = format!("{}/v1/tenants/{tenant}/certificate", control.settings.public_url);
    let known = leaver.addresses.iter().filter_map(|text| Address::parse(text).ok());
    for (index, address) in known.enumerate() {
        let key = format!("{operation} {index}");
        let new = NewMessage::new(&template::TENANT_LEFT, tenant, To::Address(address), key);
        let new = new.value("link", &link).value("tenant_name", &leaver.company_name);
        messages::queue(control, transaction, new).await?;
    }
    Ok(())
}

/// Tells the operator of every operation that came to stand still, once each time.
pub async fn stuck(control: &Shared) -> Result<usize, Refusal> {
    let permit = Permit::for_system(None, "operations that are stuck");
    let transaction = control.store.read(&permit).await?;
    let sagas = queries::untold_stuck(&transaction).await?;
    transaction.finish().await?;
    let count = sagas.len();
    for saga in sagas {
        let transaction = control.store.write(&permit).await?;
        let problem = saga.problem.unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
        let at = &problem["stuck"];
        let key = format!("{} {}", saga.id, control.clock().now());
        let new = NewMessage::new(&template::OPERATION_STUCK, OPERATOR_TENANT, To::Operators, key)
            .value("operation", saga.id)
            .value("kind", &saga.kind)
            .value("step", text(&at["step"]))
            .value("problem", text(&at["cause"]));
        messages::queue(control, &transaction, new).await?;
        queries::stuck_was_told(&transaction, saga.id).await?;
        let log = saga.tenant.unwrap_or(OPERATOR_TENANT);
        let change = Change::new(log, "lifecycle.operation_stuck", "update", permit.principal())
            .on("operation", saga.id)
            .details(json!({ "step": at["step"], "code": at["code"] }));
        transaction.commit(change).await?;
    }
    Ok(count)
}
