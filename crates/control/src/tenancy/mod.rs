//! Tenants: who they are and where they lie. This feature keeps tenants, cells, places, services' tables and the keys of
//! tenants' databases, and tells services' processes about them ([`plane`]). Tenants' configuration and feature flags
//! are here too.
//!
//! What changes a tenant's status or place is `lifecycle`; it calls the functions here, which write this schema.

mod api;
mod branding;
pub mod cells;
mod configuration;
mod configuration_api;
mod configuration_queries;
mod edit;
pub(crate) mod explain;
pub mod features;
mod features_api;
pub mod hosts;
mod overrides;
pub mod places;
pub mod plane;
mod queries;
pub mod residency;
mod seal;
pub mod service_tables;
pub mod stock;
mod tenant_keys;
pub mod tombstones;
mod view;

pub use api::{named, routes};
pub use branding::brand;
pub use cells::{LOCAL_CELL, register_local_cell};
pub use edit::{BillingContact, check_company_name, check_metadata};
pub use hosts::{load_hosts, quarantine_all as quarantine_hosts, tenant_of as tenant_of_host};
pub use overrides::{change_override, end_override};
pub use queries::{
    NewTenant, ResumeAsked, Suspension, TenantRecord, TenantRow, get, insert, load_tenants, lock,
    set_residency, set_status, set_tier,
};
pub use seal::{Seal, SealBroken};
pub use tenant_keys::{TenantKey, TenantKeyError, destroy_tenant_key, tenant_key};
pub use view::{Tenant, view};
