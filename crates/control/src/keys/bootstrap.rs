//! The first key: at the first start nobody exists who could make one.

use rowhouse_domain::access::{BY_NAME_ONLY, Permit, Principal, PrincipalKind};
use rowhouse_domain::id::OPERATOR_TENANT;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::{Isolation, Status};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::{Created, NewAccount, NewKey, create, create_account, queries};
use crate::access::{Authority, NewGrant, Rules, grant};
use crate::tenancy::{self, NewTenant};
use crate::{Control, catalog};

/// Code of the reserved tenant.
const OPERATOR_CODE: &str = "operator";
/// The operator's first service account, and the role it has.
const ROOT: &str = "root";
const ROOT_ROLE: &str = "platform_admin";

/// Makes the reserved tenant of the operator's own people with the service account `root`, which has the role
/// `platform_admin`, and one key of it, whose text comes back. `None` if the tenant exists already.
///
/// The catalogue must be stored ([`catalog::prepare`]): the tenant has the tier of the highest rank.
pub async fn bootstrap_operator(control: &Control) -> Result<Option<String>, Refusal> {
    let permit = Permit::for_system(None, "the operator's first key");
    let transaction = control.store.write(&permit).await?;
    if !create_tenant(&transaction, control).await? {
        transaction.rollback().await?;
        return Ok(None);
    }
    let actor = transaction.principal();
    let tenant = Change::new(OPERATOR_TENANT, "tenancy.tenant_changed", "create", actor)
        .on("tenant", OPERATOR_TENANT)
        .details(json!({ "code": OPERATOR_CODE }))
        .notify(Notice::tenant(OPERATOR_TENANT));
    let root =
        NewAccount { name: ROOT.to_owned(), description: "The operator's first principal.".to_owned() };
    let (account, account_made) = create_account(&transaction, OPERATOR_TENANT, root).await?;
    let owner = Principal { kind: PrincipalKind::ServiceAccount, id: account.id.0 };
    let role = NewGrant::role(owner, ROOT_ROLE, "the first start");
    let (_, _, granted) = grant(&transaction, OPERATOR_TENANT, role, &Authority::System).await?;
    let (created, key_made) = root_key(control, &transaction, owner).await?;
    transaction.commit_all(vec![tenant, account_made, granted, key_made]).await?;
    Ok(Some(created.text))
}

/// Makes another key of the operator's `root`, for an operator who has lost all keys and can reach the process itself.
pub async fn recover_operator(control: &Control) -> Result<String, Refusal> {
    let permit = Permit::for_system(None, "a key for an operator who lost all");
    let transaction = control.store.write(&permit).await?;
    let accounts = queries::list_accounts(&transaction, Some(OPERATOR_TENANT), None, 1_000).await?;
    let root = accounts.into_iter().find(|account| account.name == ROOT);
    let root = root.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no operator yet."))?;
    let owner = Principal { kind: PrincipalKind::ServiceAccount, id: root.id.0 };
    let (created, change) = root_key(control, &transaction, owner).await?;
    transaction.commit(change).await?;
    Ok(created.text)
}

async fn root_key(
    control: &Control,
    transaction: &Transaction,
    owner: Principal,
) -> Result<(Created, Change), Refusal> {
    let mut new = NewKey::new(ROOT, owner, &[ROOT_ROLE]);
    let rules = Rules::load(transaction).await?;
    // By name: its role is a pattern, and a pattern makes no keys and grants.
    let exist = BY_NAME_ONLY.iter().filter(|name| rules.permission(name).is_ok());
    new.permissions = exist.map(|name| (*name).to_owned()).collect();
    create(control, transaction, OPERATOR_TENANT, new, &Authority::System).await
}

async fn create_tenant(transaction: &Transaction, control: &Control) -> Result<bool, Refusal> {
    if tenancy::get(transaction, OPERATOR_TENANT).await?.is_some() {
        return Ok(false);
    }
    let tiers = catalog::load(transaction).await.map_err(Refusal::from)?.tiers;
    let highest = tiers.into_iter().max_by_key(|tier| tier.rank);
    let tier = highest.ok_or_else(|| Refusal::new(&kind::UNKNOWN_TIER, "The catalogue has no tiers."))?;
    let new = NewTenant {
        id: OPERATOR_TENANT,
        code: OPERATOR_CODE.to_owned(),
        company_name: "The operator".to_owned(),
        tier: tier.name,
        isolation: Isolation::Shared,
        region: control.settings.region.clone(),
        billing_contact: json!({}),
        metadata: json!({}),
        created_by: transaction.principal().to_string(),
    };
    // Two first starts at once: the second waits for the first's row and then finds it taken.
    if !tenancy::insert(transaction, &new).await? {
        return Ok(false);
    }
    tenancy::set_status(transaction, OPERATOR_TENANT, Status::Active, None).await?;
    Ok(true)
}
