//! Who calls the control API, and the permits that follow from it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use rowhouse_domain::access::{Permit, Principal, PrincipalKind, decide_key};
use rowhouse_domain::directory::{Directory, Key, Tenant};
use rowhouse_domain::id::{OPERATOR_TENANT, RequestId, TenantId};
use rowhouse_domain::keys::{self, Presented, bearer};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::Service;

use super::ApiError;
use crate::Shared;

/// A caller with a verified API key.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key that was presented.
    pub key: Arc<Key>,
    /// The running request.
    pub request_id: RequestId,
    directory: Arc<Directory>,
    now_us: i64,
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, control: &Shared) -> Result<Self, ApiError> {
        let text = credential(&parts.headers)?;
        let directory = control.directory.current();
        let now_us = control.clock().now_us();
        let key = Presented::read(&directory, text).verify(&control.peppers, now_us)?.clone();
        keys::refuse_other_service(&key, OWN_SERVICE)?;
        served(&directory, &key, &parts.method)?;
        let request_id = *parts.extensions.get::<RequestId>().expect("the frame gives every request an id");
        Ok(Caller { key, request_id, directory, now_us })
    }
}

/// The name under which Rowhouse itself stands among the services of a key.
const OWN_SERVICE: &str = "rowhouse";

fn credential(headers: &HeaderMap) -> Result<&str, Refusal> {
    let ambiguous = || Refusal::new(&kind::AMBIGUOUS_CREDENTIALS, "More than one credential was sent.");
    let bearers = headers.get_all(header::AUTHORIZATION).iter();
    let plain = headers.get_all("x-api-key").iter();
    let mut all = bearers.map(|value| (true, value)).chain(plain.map(|value| (false, value)));
    let none = || Refusal::new(&kind::NO_CREDENTIALS, "No credential was sent.");
    let (is_bearer, value) = all.next().ok_or_else(none)?;
    if all.next().is_some() {
        return Err(ambiguous());
    }
    let text = if is_bearer { bearer(value.as_bytes()).ok_or_else(none)? } else { value.as_bytes() };
    // What is no text is no key either.
    if text.is_empty() { Err(none()) } else { Ok(std::str::from_utf8(text).unwrap_or_default()) }
}

/// A suspended or leaving tenant's own people may still read: what they owe, and what is theirs to take along.
fn served(directory: &Directory, key: &Key, method: &Method) -> Result<(), Refusal> {
    let Some(home) = directory.tenants.get(&key.tenant) else { return Ok(()) };
    match home.service {
        Service::Suspended | Service::Leaving if method.is_safe() => Ok(()),
        service => service.admit(method.as_str()),
    }
}

impl Caller {
    /// The key as a principal.
    pub fn principal(&self) -> Principal {
        Principal { kind: PrincipalKind::ApiKey, id: self.key.id.0 }
    }

    /// Whether the caller belongs to the operator.
    pub fn is_operator(&self) -> bool {
        self.key.tenant == OPERATOR_TENANT
    }

    /// The scope that a thing addressed by its id alone is looked for in: all for the operator's principals, else the
    /// caller's own tenant.
    pub fn home(&self) -> Option<TenantId> {
        (!self.is_operator()).then_some(self.key.tenant)
    }

    /// The directory version that decides this call.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The tenant that a list is about: `None` spans all the caller may see. A tenant's principal has its
    /// own, always; another one is 404, as if it did not exist.
    pub fn scope(&self, named: Option<&str>) -> Result<Option<TenantId>, Refusal> {
        let named = named.map(|name| self.find_tenant(name)).transpose()?.map(|tenant| tenant.id);
        match (self.is_operator(), named) {
            (true, named) => Ok(named),
            (false, None) => Ok(Some(self.key.tenant)),
            (false, Some(named)) if named == self.key.tenant => Ok(Some(named)),
            (false, Some(_)) => Err(no_such_tenant()),
        }
    }

    /// The tenant that a change is about; an operator's principal must name it.
    pub fn one_tenant(&self, named: Option<&str>) -> Result<TenantId, Refusal> {
        self.scope(named)?
            .ok_or_else(|| Refusal::new(&kind::TENANT_REQUIRED, "Say which tenant this is for."))
    }

    fn find_tenant(&self, name: &str) -> Result<&Arc<Tenant>, Refusal> {
        let by_id = || name.parse::<TenantId>().ok().and_then(|id| self.directory.tenants.get(&id));
        self.directory.tenant_by_code(name).or_else(by_id).ok_or_else(no_such_tenant)
    }

    /// A permit for `permission` (`type:action`) on `tenant`, or on the platform for `None`. Decided by the
    /// operator's grants for the operator's principals, by the tenant's own for everybody else.
    pub fn permit(&self, permission: &str, tenant: Option<TenantId>) -> Result<Permit, Refusal> {
        if !self.is_operator() && tenant != Some(self.key.tenant) {
            return Err(no_such_tenant());
        }
        let denied = |reason: &str| {
            Refusal::new(&kind::ACCESS_DENIED, format!("This needs the permission `{permission}`."))
                .private(reason.to_owned())
        };
        let bit = self.directory.permissions.id(permission).ok_or_else(|| denied("unknown_permission"))?;
        let home = self.directory.tenants.get(&self.key.tenant).ok_or_else(|| denied("no_home"))?;
        decide_key(
            &home.access,
            tenant,
            self.principal(),
            &self.key.permits,
            self.key.owner,
            bit,
            self.now_us,
        )
        .map_err(|reason| denied(reason.as_str()))
    }

    /// [`Self::permit`] for what nobody does to his own tenant, whatever he may in it: his quotas are what he has paid for.
    pub fn operators_permit(&self, permission: &str, tenant: TenantId) -> Result<Permit, Refusal> {
        let permit = self.permit(permission, Some(tenant))?;
        match self.is_operator() {
            true => Ok(permit),
            false => Err(Refusal::new(&kind::ACCESS_DENIED, "Only the operator does this to a tenant.")),
        }
    }
}

fn no_such_tenant() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such tenant.")
}
