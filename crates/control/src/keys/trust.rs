//! Whose word is enough: tokens of other issuers that sign in as a service account, without a key. Who sets this gives away all that
//! the account may do, and so needs to hold all of it.

use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{IssuerId, ServiceAccountId, TenantId};
use rowhouse_domain::identity::issuer::Trust;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::account::Account;
use super::queries;
use crate::access::{Authority, Rules};
use crate::{Control, identity};

/// Entries of one account.
const TRUSTS_MAX: usize = 10;

/// A kind of token that signs in as the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustBody {
    /// A registered issuer of the tenant or of the operator, as its tokens say it.
    pub issuer: String,
    /// The token must be meant for it; one of the issuer's audiences.
    pub audience: String,
    /// The token's subject; `*` at the end stands for whatever follows.
    pub subject: String,
}

/// As it is kept: bound to the issuer that was meant, not to its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredTrust {
    pub issuer_id: Uuid,
    #[serde(flatten)]
    pub said: TrustBody,
}

/// Sets whom the account trusts, in place of all before.
///
/// # Errors
/// 422 `keys.invalid_field` for what is not well-formed or names no issuer; 403 `access.escalation` for who does not hold all that the
/// account may do.
pub(super) async fn set(
    control: &Control,
    transaction: &Transaction,
    mut account: Account,
    (wanted, authority): (Vec<TrustBody>, &Authority),
) -> Result<(Account, Change), Refusal> {
    let tenant = account.tenant;
    let principal = Principal { kind: PrincipalKind::ServiceAccount, id: account.id.0 };
    if !wanted.is_empty() {
        Rules::refuse_standing_in(transaction, authority, (tenant, principal)).await?;
    }
    let stored = resolved(control, tenant, &wanted).await?;
    queries::set_trust(transaction, account.id, &stored).await?;
    let change = Change::new(tenant, "keys.service_account_changed", "update", transaction.principal())
        .on("service_account", account.id)
        .details(json!({ "trust": wanted }))
        .notify(Notice::tenant(tenant));
    account.trust = wanted;
    account.version += 1;
    Ok((account, change))
}

async fn resolved(
    control: &Control,
    tenant: TenantId,
    wanted: &[TrustBody],
) -> Result<Vec<StoredTrust>, Refusal> {
    let refusal = |at: String, what: &str| {
        Refusal::new(&kind::KEY_INVALID_FIELD, "The trust is not well-formed.").field(
            at,
            "invalid",
            what.to_owned(),
        )
    };
    if wanted.len() > TRUSTS_MAX {
        return Err(refusal("/trust".to_owned(), "at most 10"));
    }
    // The operator's issuers are every tenant's to trust.
    let seeing = control.store.read(&Permit::for_system(None, "issuers that a tenant may trust")).await?;
    let mut stored = Vec::new();
    for (at, one) in wanted.iter().enumerate() {
        let beginning = one.subject.strip_suffix('*').unwrap_or(&one.subject);
        let subject_fits = !beginning.is_empty() && one.subject.len() <= 255 && !beginning.contains('*');
        if !subject_fits {
            let what = "1 to 255 characters; `*` only at the end, after at least one";
            return Err(refusal(format!("/trust/{at}/subject"), what));
        }
        let issuer = identity::issuers::visible(&seeing, tenant, &one.issuer).await?;
        let issuer = issuer.ok_or_else(|| {
            refusal(format!("/trust/{at}/issuer"), "an issuer that is registered (`/v1/issuers`)")
        })?;
        if !issuer.audiences.contains(&one.audience) {
            return Err(refusal(format!("/trust/{at}/audience"), "one of the issuer's audiences"));
        }
        stored.push(StoredTrust { issuer_id: issuer.id.0, said: one.clone() });
    }
    seeing.finish().await?;
    Ok(stored)
}

/// Who is trusted by the accounts of one tenant, or of all, that are not disabled.
///
/// # Errors
/// If the database fails.
pub async fn load_trusts(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(TenantId, (IssuerId, Trust))>, StoreError> {
    let rows = queries::trusts(transaction, tenant).await?;
    let each = rows.into_iter().flat_map(|(tenant, account, stored)| {
        stored.into_iter().map(move |own| {
            let trust = Trust {
                audience: own.said.audience.into(),
                subject: own.said.subject.into(),
                account: ServiceAccountId(account),
            };
            (tenant, (IssuerId(own.issuer_id), trust))
        })
    });
    Ok(each.collect())
}
