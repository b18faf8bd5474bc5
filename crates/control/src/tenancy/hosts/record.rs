//! A host as it is kept and as it is answered.

use jiff::Timestamp;
use rowhouse_domain::id::{HostId, TenantId};
use rowhouse_domain::tenancy::hosts::{HostState, Standing};
use serde::Serialize;
use utoipa::ToSchema;

use super::proof;
use crate::Control;

/// One name of one tenant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HostRow {
    pub id: HostId,
    pub tenant: TenantId,
    pub name: String,
    pub standing: Standing,
    /// The operator's principal that vouched for it.
    pub vouched_by: Option<String>,
    pub verified_at: Option<Timestamp>,
    pub checked_at: Option<Timestamp>,
    pub last_problem: Option<String>,
    pub created_at: Timestamp,
}

/// A domain of a tenant's own.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Host {
    /// `host_…`
    #[schema(value_type = String)]
    pub id: HostId,
    /// Whose.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// In canonical form.
    name: String,
    /// `custom`.
    kind: &'static str,
    /// `pending`, `verified` (proven), `active` (vouched for), `failing` or `quarantined`.
    #[schema(value_type = String)]
    state: HostState,
    /// When it came into this state.
    #[schema(value_type = String)]
    since: Timestamp,
    /// The record that proves it.
    proof: proof::Record,
    /// Where the name must lead to, by CNAME or with its addresses.
    address: Option<String>,
    /// Whether the operator vouches for it.
    vouched: bool,
    /// When it was proven last.
    #[schema(value_type = Option<String>)]
    verified_at: Option<Timestamp>,
    /// When DNS was asked last.
    #[schema(value_type = Option<String>)]
    checked_at: Option<Timestamp>,
    /// What was wrong then.
    last_problem: Option<String>,
    /// When it was claimed.
    #[schema(value_type = String)]
    created_at: Timestamp,
}

impl HostRow {
    /// The record that proves it.
    pub fn proof(&self, control: &Control) -> proof::Record {
        proof::record(&control.settings.sealing_key, self.tenant, &self.name)
    }

    /// The tenant's own subdomain: where its name must lead to.
    pub fn address(&self, control: &Control) -> Option<String> {
        let base = control.settings.naming.base_domains.first()?;
        let directory = control.directory.current();
        Some(format!("{}.{base}", directory.tenants.get(&self.tenant)?.code))
    }

    pub fn answer(self, control: &Control) -> Host {
        let since = Timestamp::from_microsecond(self.standing.since_us);
        Host {
            proof: self.proof(control),
            address: self.address(control),
            id: self.id,
            tenant: self.tenant,
            name: self.name,
            kind: "custom",
            state: self.standing.state,
            since: since.expect("clocks stay within years 0 to 9999"),
            vouched: self.vouched_by.is_some(),
            verified_at: self.verified_at,
            checked_at: self.checked_at,
            last_problem: self.last_problem,
            created_at: self.created_at,
        }
    }
}
