//! By which client certificates a service account signs in, without a key. Who sets this gives away all that the account may do, and so
//! needs to hold all of it.

use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::id::{AuthorityId, ServiceAccountId, TenantId};
use rowhouse_domain::identity::certificate::{CertificateRule, MatchBy, canonical};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::account::Account;
use super::queries;
use crate::access::{Authority, Rules};
use crate::identity::authorities;

/// Entries of one account.
const CERTIFICATES_MAX: usize = 10;

/// What certificates are known by that sign in as the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateBody {
    /// The id of an authority of the tenant (`/v1/certificate_authorities`), which must vouch for them.
    pub authority: String,
    /// `spki_sha256`, `uri`, `dns` or `subject`.
    pub by: String,
    /// The public key's SHA-256 in hexadecimal, an alternative name, or the subject as in `CN=robot,O=Acme`; nothing stands for
    /// anything else.
    pub value: String,
}

/// As it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredCertificate {
    pub authority_id: Uuid,
    pub by: String,
    pub value: String,
}

impl From<StoredCertificate> for CertificateBody {
    fn from(own: StoredCertificate) -> Self {
        let authority = AuthorityId(own.authority_id).to_string();
        CertificateBody { authority, by: own.by, value: own.value }
    }
}

/// Sets by which certificates the account signs in, in place of all before.
///
/// # Errors
/// 422 `keys.invalid_field` for what is not well-formed, names no authority or means another account already; 403 `access.escalation`
/// for who does not hold all that the account may do.
pub(super) async fn set(
    transaction: &Transaction,
    mut account: Account,
    (wanted, authority): (Vec<CertificateBody>, &Authority),
) -> Result<(Account, Change), Refusal> {
    let tenant = account.tenant;
    let principal = Principal { kind: PrincipalKind::ServiceAccount, id: account.id.0 };
    if !wanted.is_empty() {
        Rules::refuse_standing_in(transaction, authority, (tenant, principal)).await?;
    }
    let stored = resolved(transaction, tenant, account.id, &wanted).await?;
    queries::set_certificates(transaction, account.id, &stored).await?;
    account.certificates = stored.into_iter().map(CertificateBody::from).collect();
    account.version += 1;
    let change = Change::new(tenant, "keys.service_account_changed", "update", transaction.principal())
        .on("service_account", account.id)
        .details(json!({ "certificates": account.certificates }))
        .notify(Notice::tenant(tenant));
    Ok((account, change))
}

async fn resolved(
    transaction: &Transaction,
    tenant: TenantId,
    account: ServiceAccountId,
    wanted: &[CertificateBody],
) -> Result<Vec<StoredCertificate>, Refusal> {
    let refusal = |at: String, what: &str| {
        let refusal = Refusal::new(&kind::KEY_INVALID_FIELD, "The certificates are not well described.");
        refusal.field(at, "invalid", what.to_owned())
    };
    if wanted.len() > CERTIFICATES_MAX {
        return Err(refusal("/certificates".to_owned(), "at most 10"));
    }
    let mut stored = Vec::new();
    for (at, one) in wanted.iter().enumerate() {
        let place = |field: &str| format!("/certificates/{at}/{field}");
        let by = MatchBy::parse(&one.by);
        let by = by.ok_or_else(|| refusal(place("by"), "`spki_sha256`, `uri`, `dns` or `subject`"))?;
        let value = canonical(by, &one.value);
        let value = value.ok_or_else(|| refusal(place("value"), "what a certificate can have, in full"))?;
        let unknown = || refusal(place("authority"), "an authority of the tenant");
        let own = one.authority.parse::<AuthorityId>().map_err(|_| unknown())?;
        if !authorities::is_of(transaction, tenant, own).await? {
            return Err(unknown());
        }
        let entry = StoredCertificate { authority_id: own.0, by: by.as_str().to_owned(), value };
        if queries::certificate_means_another(transaction, tenant, account, &entry).await? {
            return Err(refusal(place("value"), "what means no other service account"));
        }
        stored.push(entry);
    }
    Ok(stored)
}

/// By which certificates accounts sign in that are not disabled, of one tenant or of all.
///
/// # Errors
/// If the database fails.
pub async fn load_certificates(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(AuthorityId, CertificateRule)>, StoreError> {
    let rows = queries::certificates(transaction, tenant).await?;
    let each = rows.into_iter().flat_map(|(account, stored)| {
        stored.into_iter().filter_map(move |own| {
            let by = MatchBy::parse(&own.by)?;
            let rule = CertificateRule { by, value: own.value.into(), account: ServiceAccountId(account) };
            Some((AuthorityId(own.authority_id), rule))
        })
    });
    Ok(each.collect())
}
