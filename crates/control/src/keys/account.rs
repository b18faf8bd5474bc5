//! Service accounts: principals of machines. They hold grants and own keys.

use jiff::Timestamp;
use rowhouse_domain::id::{ServiceAccountId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;
use uuid::Uuid;

use super::bounds::TENANT_ACCOUNTS_MAX;
use super::certificates::CertificateBody;
use super::queries;
use super::trust::TrustBody;

/// A service account.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Its id.
    pub id: ServiceAccountId,
    /// Its tenant.
    pub tenant: TenantId,
    /// 1 to 100 characters, once in its tenant.
    pub name: String,
    /// At most 500 characters.
    pub description: String,
    /// Whether its keys are refused.
    pub disabled: bool,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Whose tokens sign in as it.
    pub trust: Vec<TrustBody>,
    /// By which client certificates it signs in.
    pub certificates: Vec<CertificateBody>,
    /// Raised with each change.
    pub version: i64,
}

/// A service account to be made.
#[derive(Debug, Clone, Default)]
pub struct NewAccount {
    /// 1 to 100 characters.
    pub name: String,
    /// At most 500 characters.
    pub description: String,
}

/// Makes a service account in `tenant` within `transaction`; what to commit it with comes back beside it.
///
/// # Errors
/// 422 `keys.invalid_field` for a name out of bounds, 409 `keys.name_taken` for one that another account has,
/// 422 `keys.too_many_accounts`.
pub async fn create_account(
    transaction: &Transaction,
    tenant: TenantId,
    new: NewAccount,
) -> Result<(Account, Change), Refusal> {
    check(&new)?;
    refuse_too_many(transaction, tenant).await?;
    let store = transaction.store();
    let now = store.clock().now();
    let account = Account {
        id: ServiceAccountId(store.entropy().uuid_v7(now.as_microsecond())),
        tenant,
        name: new.name,
        description: new.description,
        disabled: false,
        created_by: transaction.principal().to_string(),
        created_at: now,
        trust: Vec::new(),
        certificates: Vec::new(),
        version: 1,
    };
    queries::insert_account(transaction, &account).await.map_err(|error| match error.constraint() {
        Some("service_accounts_name_key") => Refusal::new(
            &kind::ACCOUNT_NAME_TAKEN,
            format!("A service account is already named `{}`.", account.name),
        ),
        _ => error.into(),
    })?;
    let change = Change::new(tenant, "keys.service_account_created", "create", transaction.principal())
        .on("service_account", account.id)
        .details(json!({}))
        .notify(Notice::tenant(tenant));
    Ok((account, change))
}

async fn refuse_too_many(transaction: &Transaction, tenant: TenantId) -> Result<(), Refusal> {
    queries::one_at_a_time(transaction, tenant).await?;
    if queries::count_accounts(transaction, tenant).await? < TENANT_ACCOUNTS_MAX {
        return Ok(());
    }
    let words = format!("At most {TENANT_ACCOUNTS_MAX} service accounts in a tenant.");
    Err(Refusal::new(&kind::ACCOUNT_TOO_MANY, words))
}

fn check(new: &NewAccount) -> Result<(), Refusal> {
    let name_fits = (1..=100).contains(&new.name.trim().chars().count()) && new.name.chars().count() <= 100;
    let description_fits = new.description.chars().count() <= 500;
    let mut refusal = Refusal::new(&kind::KEY_INVALID_FIELD, "The service account is not well-formed.");
    if !name_fits {
        refusal = refusal.field("/name", "out_of_bounds", "1 to 100 characters");
    }
    if !description_fits {
        refusal = refusal.field("/description", "too_long", "at most 500 characters");
    }
    if name_fits && description_fits { Ok(()) } else { Err(refusal) }
}

/// The service account `id`, if it is one of `tenant`; another tenant's does not exist.
pub async fn service_account_of(
    transaction: &Transaction,
    tenant: TenantId,
    id: Uuid,
) -> Result<Account, Refusal> {
    let account = queries::one_account(transaction, ServiceAccountId(id)).await?;
    let own = account.filter(|account| account.tenant == tenant);
    own.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such service account."))
}
