//! Asking for a tenant: the code is taken, the tenant entered as `provisioning` and the saga started in one transaction.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OperationId, RequestId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::{CodeError, Isolation, Tier, check_code};
use rowhouse_store::sagas::{self, Start, StartError};
use rowhouse_store::{Change, Notice, Transaction};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{KIND, Params, VERSION};
use crate::identity::{self, FirstAdministrator};
use crate::tenancy::{self, BillingContact, NewTenant, check_company_name, check_metadata};
use crate::{Control, catalog};

/// A tenant that is wanted.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenantBody {
    /// `^[a-z][a-z0-9]*(-[a-z0-9]+)*$`, 2 to 50 characters; unique for ever.
    pub code: String,
    /// 1 to 200 characters.
    pub company_name: String,
    /// A tier of the catalogue.
    pub tier: String,
    /// `shared`, `schema`, `database` or `instance`; the tier's, if not said.
    #[serde(default)]
    pub isolation: Option<String>,
    /// The home region; this one, if not said.
    #[serde(default)]
    pub region: Option<String>,
    /// At most 16 regions or zones, its home among them; the tenant's bytes rest nowhere else.
    #[serde(default)]
    pub residency: Vec<String>,
    /// Whom bills go to.
    #[serde(default)]
    pub billing: BillingContact,
    /// The first person who administers it, who is invited once it is served; one can be invited later too.
    #[serde(default)]
    pub admin: Option<FirstAdministrator>,
    /// The operator's own: an object of at most 64 keys and 16 KiB.
    #[serde(default = "nothing")]
    #[schema(value_type = Object)]
    pub metadata: Value,
}

fn nothing() -> Value {
    json!({})
}

/// Enters the tenant and starts its provisioning in `transaction`, which is to be committed with the change that comes back.
///
/// # Errors
/// 409 `tenancy.code_taken`; 422 for an unknown tier, an isolation that it does not allow, and wrong fields.
pub async fn begin(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    wanted: NewTenantBody,
    request_id: RequestId,
) -> Result<(OperationId, TenantId, Change), Refusal> {
    check(control, &wanted)?;
    let unknown = || Refusal::new(&kind::UNKNOWN_TIER, format!("There is no tier `{}`.", wanted.tier));
    let tier = catalog::load_tier(transaction, &wanted.tier).await?.ok_or_else(unknown)?;
    let isolation = isolation(&tier, wanted.isolation.as_deref())?;
    let now_us = control.clock().now_us();
    let tenant = TenantId(control.entropy().uuid_v7(now_us));
    let operation = OperationId(control.entropy().uuid_v7(now_us));
    let by = permit.principal().to_string();
    let region = wanted.region.clone().unwrap_or_else(|| control.settings.region.clone());
    let new = NewTenant {
        id: tenant,
        code: wanted.code.clone(),
        company_name: wanted.company_name,
        tier: wanted.tier.clone(),
        isolation,
        region,
        billing_contact: serde_json::to_value(&wanted.billing).expect("text fields"),
        metadata: wanted.metadata,
        created_by: by.clone(),
    };
    tenancy::residency::check_new(control, &new.region, &wanted.residency)?;
    if !tenancy::insert(transaction, &new).await? {
        return Err(code_taken(&wanted.code));
    }
    if !wanted.residency.is_empty() {
        tenancy::set_residency(transaction, tenant, &wanted.residency).await?;
    }
    if let Some(first) = &wanted.admin {
        identity::prepare_administrator(control, transaction, tenant, first).await?;
    }
    let params = serde_json::to_value(Params { plan: tier.plan }).expect("text fields");
    let start = Start {
        id: operation.0,
        kind: KIND,
        kind_version: VERSION,
        tenant: Some(tenant),
        params,
        created_by: by,
    };
    sagas::start(transaction, &start).await.map_err(|error| match error {
        StartError::Store(error) => error.into(),
        StartError::Busy { other } => Refusal::new(&kind::LIFECYCLE_BUSY, format!("`{other}` is not over.")),
    })?;
    let change = Change::new(tenant, "lifecycle.tenant_provisioned", "create", permit.principal())
        .on("tenant", tenant)
        .details(json!({ "tier": wanted.tier, "isolation": isolation.as_str(), "operation": operation }))
        .request(request_id)
        .notify(Notice::tenant(tenant));
    Ok((operation, tenant, change))
}

fn check(control: &Control, wanted: &NewTenantBody) -> Result<(), Refusal> {
    check_code(&wanted.code).map_err(|error| match error {
        CodeError::Reserved => code_taken(&wanted.code),
        CodeError::Malformed => Refusal::new(&kind::INVALID, "The code is not well-formed.").field(
            "/code",
            "malformed",
            error.to_string(),
        ),
    })?;
    check_company_name(&wanted.company_name)?;
    check_metadata(&wanted.metadata)?;
    wanted.billing.check("/billing")?;
    match &wanted.region {
        Some(region) if *region != control.settings.region => {
            let detail = format!("tenants of this installation live in `{}`", control.settings.region);
            Err(Refusal::new(&kind::INVALID, "There is no such region.").field("/region", "unknown", detail))
        }
        _ => Ok(()),
    }
}

fn code_taken(code: &str) -> Refusal {
    Refusal::new(&kind::TENANT_CODE_TAKEN, format!("The code `{code}` is not free.")).field(
        "/code",
        "taken",
        "choose another code",
    )
}

fn isolation(tier: &Tier, asked: Option<&str>) -> Result<Isolation, Refusal> {
    let Some(word) = asked else { return Ok(tier.isolation) };
    let levels: Vec<&str> =
        Isolation::ALL.into_iter().filter(|level| tier.allows(*level)).map(Isolation::as_str).collect();
    let refused = || {
        let words = format!("The tier `{}` does not allow the isolation `{word}`.", tier.name);
        let detail = format!("one of: {}", levels.join(", "));
        Refusal::new(&kind::ISOLATION_NOT_ALLOWED, words).field("/isolation", "not_allowed", detail)
    };
    Isolation::parse(word).filter(|level| tier.allows(*level)).ok_or_else(refused)
}
