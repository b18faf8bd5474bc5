//! Who calls the control API, and the permits that follow from it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use rowhouse_domain::access::{
    Facts, PermissionSet, Permit, Principal, PrincipalKind, decide_key_of, decide_of,
};
use rowhouse_domain::directory::{Directory, Key, Tenant};
use rowhouse_domain::id::{OPERATOR_TENANT, RequestId, SessionId, TenantId, UserId};
use rowhouse_domain::identity::token::{AUDIENCE_CONTROL, Subject, TokenClaims, Unverified, is_token};
use rowhouse_domain::keys::{Presented, bearer};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::routes::one_reading;
use rowhouse_domain::tenancy::Service;
use rowhouse_store::turns;

use super::{ApiError, client_address};
use crate::Shared;

/// A caller with a verified API key or access token.
#[derive(Debug, Clone)]
pub struct Caller {
    who: Who,
    /// The running request.
    pub request_id: RequestId,
    /// What its key or its application may do at most; a person who has signed in here has no such bound.
    permits: Option<PermissionSet>,
    directory: Arc<Directory>,
    now_us: i64,
    asked: Arc<Asked>,
}

/// What conditions can ask for.
#[derive(Debug)]
struct Asked {
    client: Option<IpAddr>,
    method: Method,
    /// As it was matched, whatever way it was written; none for one that can be read in two ways.
    path: Option<String>,
}

#[derive(Debug, Clone)]
enum Who {
    Key(Arc<Key>),
    Token(Arc<TokenClaims>),
}

impl Who {
    /// An application may use the permissions that it was given by name, and no other.
    fn permits(&self, directory: &Directory) -> Option<PermissionSet> {
        match self {
            Who::Key(key) => Some(key.permits),
            Who::Token(claims) => claims.application.map(|_| {
                let given = claims.scope.as_deref().unwrap_or_default().split(' ');
                let mut permits = PermissionSet::default();
                given.filter_map(|name| directory.permissions.id(name)).for_each(|bit| permits.insert(bit));
                permits
            }),
        }
    }
}

/// A person who calls, in one tenant and session.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who.
    pub user: UserId,
    /// What their token says.
    pub claims: Arc<TokenClaims>,
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, control: &Shared) -> Result<Self, ApiError> {
        let text = credential(&parts.headers)?;
        let directory = control.directory.current();
        let now_us = control.clock().now_us();
        let who = match is_token(text) {
            true => Who::Token(Arc::new(believed(&directory, text, now_us.div_euclid(1_000_000))?)),
            false => {
                let key = Presented::read(&directory, text).verify(&control.peppers, now_us)?.clone();
                key.refuse_other_service(OWN_SERVICE)?;
                // From nowhere is from no address that it is for.
                key.refuse_other_address(client_address(parts, control).unwrap_or(UNKNOWN))?;
                refuse_for_things(&key)?;
                Who::Key(key)
            }
        };
        let asked = Asked {
            client: client_address(parts, control),
            method: parts.method.clone(),
            path: one_reading(parts.uri.path()),
        };
        let request_id = *parts.extensions.get::<RequestId>().expect("the frame gives every request an id");
        let permits = who.permits(&directory);
        let caller = Caller { who, request_id, permits, directory, now_us, asked: Arc::new(asked) };
        served(&caller.directory, caller.tenant(), &parts.method)?;
        match caller.is_operator() {
            true => turns::is_operators(),
            false => turns::is_of(caller.tenant()),
        }
        if let Who::Token(claims) = &caller.who
            && let Some(application) = claims.application
        {
            turns::is_through(application);
        }
        Ok(caller)
    }
}

/// Nobody's address.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// The name under which Rowhouse itself stands among the services of a key.
const OWN_SERVICE: &str = "rowhouse";

/// What is only for some things of a service is for nothing here.
fn refuse_for_things(key: &Key) -> Result<(), Refusal> {
    match key.is_for_things() {
        true => Err(Refusal::new(
            &kind::ACCESS_DENIED,
            "The key is only for some things, none of which are here.",
        )),
        false => Ok(()),
    }
}

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

/// A token that is ours, for us, valid now, and whose session has not ended.
fn believed(directory: &Directory, text: &str, now_s: i64) -> Result<TokenClaims, Refusal> {
    let claims =
        Unverified::read(text).and_then(|token| token.verify(&directory.tokens, AUDIENCE_CONTROL, now_s));
    let claims = claims.map_err(|fault| fault.refusal())?;
    match directory.tenants.get(&claims.tenant) {
        None => {
            Err(Refusal::new(&kind::TOKEN_INVALID, "The access token is not valid here.")
                .private("no_tenant"))
        }
        Some(tenant) if tenant.has_ended(claims.session) => {
            Err(Refusal::new(&kind::SESSION_ENDED, "The session has ended."))
        }
        Some(_) => Ok(claims),
    }
}

/// A suspended or leaving tenant's own people may still read: what they owe, and what is theirs to take along.
fn served(directory: &Directory, home: TenantId, method: &Method) -> Result<(), Refusal> {
    let Some(home) = directory.tenants.get(&home) else { return Ok(()) };
    match home.service {
        Service::Suspended | Service::Leaving if method.is_safe() => Ok(()),
        service => service.admit(method.as_str()),
    }
}

impl Caller {
    /// Who acts: the key, or who has signed in.
    pub fn principal(&self) -> Principal {
        match &self.who {
            Who::Key(key) => Principal { kind: PrincipalKind::ApiKey, id: key.id.0 },
            Who::Token(claims) => claims.subject.principal(),
        }
    }

    /// In whose right: the key's owner, or who has signed in.
    pub fn owner(&self) -> Principal {
        match &self.who {
            Who::Key(key) => key.owner,
            Who::Token(claims) => claims.subject.principal(),
        }
    }

    /// The session that it calls in; a key has none.
    pub fn session(&self) -> Option<SessionId> {
        match &self.who {
            Who::Key(_) => None,
            Who::Token(claims) => Some(claims.session),
        }
    }

    /// The tenant that the credential is of.
    pub fn tenant(&self) -> TenantId {
        match &self.who {
            Who::Key(key) => key.tenant,
            Who::Token(claims) => claims.tenant,
        }
    }

    /// The key, if it is one.
    pub fn key(&self) -> Option<&Key> {
        match &self.who {
            Who::Key(key) => Some(key),
            Who::Token(_) => None,
        }
    }

    /// What its key or its application may do at most, where there is one.
    pub fn permits(&self) -> Option<PermissionSet> {
        self.permits
    }

    /// Whether it is a key that is narrowed, or an application: what either gives or lets in would not be bounded as it is.
    pub fn is_narrowed(&self) -> bool {
        match &self.who {
            Who::Key(key) => key.narrowed.is_some(),
            Who::Token(claims) => claims.application.is_some(),
        }
    }

    /// 403 for a key that is narrowed, and for an application: what it would let in, a token or a certificate, is not.
    pub fn refuse_narrowed(&self) -> Result<(), Refusal> {
        match self.is_narrowed() {
            false => Ok(()),
            true => Err(Refusal::new(
                &kind::ACCESS_ESCALATION,
                "A key that is narrowed, or an application, does not decide who signs in: sign in as a person.",
            )),
        }
    }

    /// 401 `identity.step_up_required` unless the person who calls has shown who they are within `minutes`. A machine has shown its key or
    /// its secret with this very request. 403 `access.denied` for an application: what it was let in with was shown to us, not to it.
    pub fn fresh(&self, now_s: i64, minutes: i64) -> Result<(), Refusal> {
        match self.bearer() {
            Ok(_) => self.person()?.fresh(now_s, minutes),
            Err(_) => Ok(()),
        }
    }

    /// The person who calls, with their own hands: the one way to what is theirs alone, as their account.
    ///
    /// # Errors
    /// 403 `access.denied` for a machine and for an application that the person has let in: what is a person's own no role, no key and no
    /// consent opens.
    pub fn person(&self) -> Result<Person, Refusal> {
        let person = self.bearer()?;
        match person.claims.application {
            None => Ok(person),
            Some(_) => Err(not_for_applications()),
        }
    }

    /// The person whom the token is of, be it an application that has it.
    ///
    /// # Errors
    /// 403 `access.denied` for a machine.
    pub fn bearer(&self) -> Result<Person, Refusal> {
        match &self.who {
            Who::Token(claims) => match claims.subject {
                Subject::User(user) => Ok(Person { user, claims: claims.clone() }),
                Subject::ServiceAccount(_) => Err(not_a_person()),
            },
            Who::Key(_) => Err(not_a_person()),
        }
    }

    /// Whether the caller belongs to the operator.
    pub fn is_operator(&self) -> bool {
        self.tenant() == OPERATOR_TENANT
    }

    /// The scope that a thing addressed by its id alone is looked for in: all for the operator's principals, else the
    /// caller's own tenant.
    pub fn home(&self) -> Option<TenantId> {
        (!self.is_operator()).then(|| self.tenant())
    }

    /// When the call came, in µs since 1970.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    /// What is known of the call when conditions are asked.
    fn facts(&self) -> Facts<'_> {
        let Asked { client, method, path } = &*self.asked;
        let claims = match &self.who {
            Who::Key(_) => None,
            Who::Token(claims) => Some(claims),
        };
        Facts {
            ip: *client,
            method: Some(method.as_str()),
            path: path.as_deref(),
            auth_method: Some(if claims.is_some() { "token" } else { "api_key" }),
            mfa: Some(claims.is_some_and(|claims| claims.is_of_two_factors())),
            mfa_age_s: claims.map(|claims| self.now_us.div_euclid(1_000_000) - claims.auth_time),
            ..Facts::NONE
        }
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
            (false, None) => Ok(Some(self.tenant())),
            (false, Some(named)) if named == self.tenant() => Ok(Some(named)),
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
        if !self.is_operator() && tenant != Some(self.tenant()) {
            return Err(no_such_tenant());
        }
        let denied = |reason: &str| {
            Refusal::new(&kind::ACCESS_DENIED, format!("This needs the permission `{permission}`."))
                .private(reason.to_owned())
        };
        let bit = self.directory.permissions.id(permission).ok_or_else(|| denied("unknown_permission"))?;
        let home = self.directory.tenants.get(&self.tenant()).ok_or_else(|| denied("no_home"))?;
        let principal = self.principal();
        let facts = self.facts();
        let at = (self.now_us, &facts);
        let rights = home.access.rights_in(&self.owner(), self.session());
        let decision = match &self.permits {
            Some(permits) => decide_key_of(rights, tenant, principal, permits, bit, at),
            None => decide_of(rights, tenant, principal, bit, at),
        };
        decision.map_err(|reason| denied(reason.as_str()))
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

impl Person {
    /// The only tenant that the session shows anything of: its own where a provider's word alone began it. `None` is all of the person's.
    pub fn reach(&self) -> Option<TenantId> {
        (!self.claims.has_own()).then_some(self.claims.tenant)
    }

    /// Whether the session shows what the person has in a tenant.
    pub fn reaches(&self, tenant: TenantId) -> bool {
        self.reach().is_none_or(|only| only == tenant)
    }

    fn fresh(&self, now_s: i64, minutes: i64) -> Result<(), Refusal> {
        match now_s - self.claims.auth_time <= minutes * 60 {
            true => Ok(()),
            false => Err(Refusal::new(
                &kind::STEP_UP_REQUIRED,
                format!("A proof of the last {minutes} minutes is needed."),
            )),
        }
    }
}

/// 403 `access.denied` for what a person does with their own hands.
pub fn not_for_applications() -> Refusal {
    Refusal::new(&kind::ACCESS_DENIED, "An application does not do this for a person: sign in here yourself.")
}

fn not_a_person() -> Refusal {
    Refusal::new(&kind::ACCESS_DENIED, "Only a person who has signed in does this.")
}

fn no_such_tenant() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such tenant.")
}
