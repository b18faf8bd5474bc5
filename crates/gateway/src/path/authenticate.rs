//! Step 3: who. An API key, checked without a database: grammar, region, look-up, digest in constant time, state. Or an access
//! token: form, signature, times, session. Until digest or signature is known to be right, every failure looks the same from outside.

use std::rc::Rc;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use rowhouse_domain::access::{Principal, PrincipalKind, PrincipalRights};
use rowhouse_domain::directory::{Key, Tenant};
use rowhouse_domain::id::{ApplicationId, ServiceAccountId, TenantId};
use rowhouse_domain::identity::issuer::ForeignClaims;
use rowhouse_domain::identity::token::{TokenClaims, is_token};
use rowhouse_domain::keys::{Environment, Presented, SentKey, bearer};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::routes::{Circumstances, Match, Matched};

use super::headers::only;
use super::resolve::Resolved;
use super::{Recording, Stop};
use crate::certificate::ShownCertificate;
use crate::core::Core;
use crate::tokens::{Bearer, ShownToken};
use crate::view::View;

/// `X-API-Key`.
pub(crate) static API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A credential as it was sent: **not yet verified**.
pub(crate) enum Credential<'r, 'v> {
    /// An API key.
    Key(Presented<'r, 'v>),
    /// An access token.
    Token(ShownToken<'r>),
}

/// Who acts, proven.
pub(crate) enum Who<'v> {
    /// Nobody is named.
    Nobody,
    /// A key, for its owner.
    Key(&'v Arc<Key>),
    /// A person or a machine that has signed in.
    Token(Rc<TokenClaims>),
    /// A service account that an issuer of the tenant's vouches for.
    Vouched(Rc<ForeignClaims>),
    /// A service account that an authority of the tenant's vouches for.
    Certified(ServiceAccountId),
}

impl From<Bearer> for Who<'_> {
    fn from(bearer: Bearer) -> Self {
        match bearer {
            Bearer::Own(claims) => Who::Token(claims),
            Bearer::Foreign(claims) => Who::Vouched(claims),
        }
    }
}

impl Who<'_> {
    /// Whether it is a program, which the tenant's tier may not let in.
    fn is_machine(&self) -> bool {
        matches!(self, Who::Key(_) | Who::Vouched(_) | Who::Certified(_))
    }

    /// Who acts, if anybody is named.
    pub(crate) fn principal(&self) -> Option<Principal> {
        match self {
            Who::Nobody => None,
            Who::Key(key) => Some(acting(key)),
            Who::Token(claims) => Some(claims.subject.principal()),
            Who::Vouched(claims) => {
                Some(Principal { kind: PrincipalKind::ServiceAccount, id: claims.account.0 })
            }
            Who::Certified(account) => Some(Principal { kind: PrincipalKind::ServiceAccount, id: account.0 }),
        }
    }
}

impl Who<'_> {
    /// The application that a person has let in, if it is one that acts.
    pub(crate) fn application(&self) -> Option<ApplicationId> {
        match self {
            Who::Token(claims) => claims.application,
            _ => None,
        }
    }
}

impl<'v> Credential<'_, 'v> {
    /// The tenant it claims to be of.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        match self {
            Credential::Key(presented) => presented.claims().map(|key| key.tenant),
            Credential::Token(shown) => shown.claims().map(|claims| claims.tenant),
        }
    }

    /// The key that it would be.
    pub(crate) fn claimed_key(&self) -> Option<&'v Key> {
        match self {
            Credential::Key(presented) => presented.claims().map(Arc::as_ref),
            Credential::Token(_) => None,
        }
    }

    /// Verifies it, but for the session, which its tenant knows.
    pub(crate) fn verify(
        &self,
        core: &Core,
        view: &'v View,
        tenant: Option<&Tenant>,
        certificate: Option<&ShownCertificate>,
        now_us: i64,
    ) -> Result<Who<'v>, Refusal> {
        match self {
            Credential::Key(presented) => presented.verify(&core.shared.peppers, now_us).map(Who::Key),
            Credential::Token(shown) => {
                let keys = &view.directory.tokens;
                let bearer = core.tokens.verify(keys, tenant, (shown, certificate), now_us);
                bearer.map(Who::from).map_err(|fault| fault.refusal())
            }
        }
    }
}

/// A credential as it stands in the request, nothing of it looked up.
pub(crate) enum Sent<'r> {
    Key(SentKey<'r>),
    Token(&'r str),
}

impl<'r> Sent<'r> {
    /// What is known of it.
    pub(crate) fn look_up<'v>(self, core: &Core, view: &'v View) -> Credential<'r, 'v> {
        match self {
            Sent::Key(key) => Credential::Key(key.look_up(&view.directory)),
            Sent::Token(token) => Credential::Token(core.tokens.read(&view.directory.tokens, token)),
        }
    }
}

/// The credential, of which there may be one.
pub(crate) fn sent(headers: &HeaderMap) -> Result<Option<Sent<'_>>, Refusal> {
    let mut bearers = headers.get_all(AUTHORIZATION).iter();
    let mut keys = headers.get_all(&API_KEY).iter();
    let bytes = match (bearers.next(), keys.next(), bearers.next().is_some() || keys.next().is_some()) {
        (None, None, _) => return Ok(None),
        (Some(header), None, false) => {
            // Another scheme is not a credential of ours.
            let Some(token) = bearer(header.as_bytes()) else { return Ok(None) };
            if let Some(token) = std::str::from_utf8(token).ok().filter(|token| is_token(token)) {
                return Ok(Some(Sent::Token(token)));
            }
            token
        }
        (None, Some(key), false) => key.as_bytes(),
        _ => return Err(Refusal::new(&kind::AMBIGUOUS_CREDENTIALS, "Send one credential, once.")),
    };
    // What is no text is no key either.
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    Ok(Some(Sent::Key(SentKey::read(text))))
}

/// Whether a header is a credential of ours, which no service gets to see.
pub(crate) fn is_bearer(value: &http::HeaderValue) -> bool {
    bearer(value.as_bytes()).is_some()
}

/// Proof that the caller is known, or that the route asks nobody's name.
pub(crate) struct Known<'r, 'v> {
    pub(crate) resolved: Resolved<'r, 'v>,
    pub(crate) who: Who<'v>,
    /// What the key's owner may do.
    pub(crate) owner: Option<PrincipalRights<'v>>,
    pub(crate) destination: Destination<'r, 'v>,
}

/// Where a request would go. Whether there is such a place is told only to those who are let in.
pub(crate) enum Destination<'r, 'v> {
    /// To this route.
    Route(Matched<'v, 'r>),
    /// Nowhere with this method.
    OtherMethods(Vec<&'v str>),
    /// Nowhere.
    Nothing,
}

impl Known<'_, '_> {
    /// Who acts.
    pub(crate) fn principal(&self) -> Principal {
        let nobody = Principal { kind: PrincipalKind::Anonymous, id: uuid::Uuid::nil() };
        self.who.principal().unwrap_or(nobody)
    }

    /// For whom: the owner of a key, or who has signed in.
    pub(crate) fn user(&self) -> Option<Principal> {
        match &self.who {
            Who::Key(key) => Some(key.owner),
            who => who.principal(),
        }
    }

    /// The key, if it is one.
    pub(crate) fn key(&self) -> Option<&Key> {
        match &self.who {
            Who::Key(key) => Some(key),
            _ => None,
        }
    }

    /// Whether its usage counts: a test key's does not.
    pub(crate) fn counts(&self) -> bool {
        self.key().is_none_or(|key| key.environment == Environment::Live)
    }
}

/// Who acts with a key.
pub(super) fn acting(key: &Key) -> Principal {
    Principal { kind: PrincipalKind::ApiKey, id: key.id.0 }
}

/// What the owner of the key that is claimed may do, looked up before the key is verified: verifying takes about as
/// long as fetching from memory what is known of one caller among many, so both are done at once. Nothing is believed
/// by it, and it is the tenant's own table that is looked into.
fn owner_ahead<'v>(resolved: &Resolved<'_, 'v>) -> Option<PrincipalRights<'v>> {
    let (key, tenant) = (resolved.presented.as_ref()?.claimed_key()?, resolved.tenant?);
    let rights = tenant.access.rights(&key.owner)?;
    rights.touch();
    Some(rights)
}

/// The same for what the route will count.
fn touch_quotas(core: &Core, tenant: Option<&Arc<Tenant>>, destination: &Destination<'_, '_>) {
    let (Some(tenant), Destination::Route(matched)) = (tenant, destination) else { return };
    for (meter, _, _) in &matched.route.usage {
        if let Some(place) = tenant.quotas.iter().position(|quota| quota.meter == *meter) {
            core.quotas.touch(tenant, place);
        }
    }
}

/// The route, by all that the request says.
pub(super) fn find<'r, 'v>(view: &'v View, resolved: &Resolved<'r, 'v>, method: &str) -> Match<'v, 'r> {
    let parts = resolved.sound.parts;
    let given = Circumstances {
        authority: resolved.sound.authority,
        header: &|name| only(&parts.headers, name),
        query: parts.uri.query(),
        tenant: resolved.tenant.map(|tenant| &**tenant),
    };
    view.directory.routes.find(method, resolved.path, &given)
}

/// Verifies the credential and finds the route.
pub(crate) fn authenticate<'r, 'v>(
    core: &Core,
    view: &'v View,
    resolved: Resolved<'r, 'v>,
    recording: &mut Recording,
) -> Result<Known<'r, 'v>, Stop> {
    let method = resolved.sound.parts.method.as_str();
    let destination = match find(view, &resolved, method) {
        Match::Found(matched) => Destination::Route(matched),
        Match::OtherMethods(methods) => Destination::OtherMethods(methods),
        Match::Nothing => Destination::Nothing,
    };
    let owner = owner_ahead(&resolved);
    touch_quotas(core, resolved.tenant, &destination);
    let who = identify(core, view, &resolved, recording)?;
    if let Who::Token(claims) = &who {
        refuse_ended(resolved.tenant.map(Arc::as_ref), claims)?;
    }
    recording.is_by(&who);
    let mut public = false;
    if let Destination::Route(matched) = &destination {
        recording.route = Some(matched.index);
        public = matched.route.definition.public;
    }
    // Also where no route leads: whether one does, and whether the tenant is there, is told only to those who are let in.
    if matches!(who, Who::Nobody) && !public && (resolved.tenant.is_some() || resolved.names_nobody) {
        return Err(Stop::new(&kind::NO_CREDENTIALS, "This needs a credential."));
    }
    match resolved.tenant {
        Some(tenant) => may_be_served(tenant, method, who.is_machine())?,
        None if resolved.names_nobody => {
            return Err(Stop::new(&kind::TENANT_UNKNOWN, "No tenant has this name."));
        }
        None if public => {}
        None => return Err(Stop::new(&kind::TENANT_UNRESOLVED, "Nothing in the request names a tenant.")),
    }
    if let Who::Key(key) = &who {
        if let Destination::Route(matched) = &destination {
            key.refuse_other_service(&matched.route.definition.service)?;
        }
        key.refuse_other_address(recording.client)?;
    }
    Ok(Known { resolved, who, owner, destination })
}

/// Who it is, by the one credential: what the request carries, or the certificate that its connection, or that of the proxy before us, has shown. Both at once only
/// where the one is bound to the other.
fn identify<'v>(
    core: &Core,
    view: &'v View,
    resolved: &Resolved<'_, 'v>,
    recording: &Recording,
) -> Result<Who<'v>, Refusal> {
    let (tenant, now_us) = (resolved.tenant.map(Arc::as_ref), recording.started_at_us);
    let proxied = match recording.peer.tells_certificates {
        true => of_proxy(resolved)?,
        false => None,
    };
    let certificate = proxied.as_ref().or(recording.peer.shown.certificate.as_ref());
    let Some(credential) = &resolved.presented else {
        return match (certificate, tenant) {
            (Some(certificate), Some(tenant)) => {
                let found = certificate.of(tenant, now_us).map_err(|fault| fault.refusal())?;
                Ok(Who::Certified(found.account))
            }
            _ => Ok(Who::Nobody),
        };
    };
    let who = credential.verify(core, view, tenant, certificate, now_us)?;
    let is_bound = matches!(&who, Who::Vouched(claims) if claims.certificate.is_some());
    match certificate {
        Some(_) if !is_bound => Err(Refusal::new(
            &kind::AMBIGUOUS_CREDENTIALS,
            "The connection has shown a client certificate, to which the request's credential is not bound.",
        )),
        _ => Ok(who),
    }
}

/// The certificate that a proxy before us was shown.
fn of_proxy(resolved: &Resolved<'_, '_>) -> Result<Option<ShownCertificate>, Refusal> {
    ShownCertificate::of_proxy(&resolved.sound.parts.headers)
        .map_err(|_| Refusal::new(&kind::MALFORMED_REQUEST, "`Client-Cert` is malformed."))
}

/// A token is good while its session is: in the one tenant that it is for.
fn refuse_ended(tenant: Option<&Tenant>, claims: &TokenClaims) -> Result<(), Refusal> {
    match tenant.filter(|tenant| tenant.id == claims.tenant) {
        None => {
            Err(Refusal::new(&kind::TOKEN_INVALID, "The access token is not valid here.")
                .private("no_tenant"))
        }
        Some(tenant) if tenant.has_ended(claims.session) => {
            Err(Refusal::new(&kind::SESSION_ENDED, "The session has ended."))
        }
        Some(_) => Ok(()),
    }
}

fn may_be_served(tenant: &Tenant, method: &str, by_machine: bool) -> Result<(), Refusal> {
    tenant.service.admit(method)?;
    if by_machine && !tenant.api_access {
        return Err(Refusal::new(&kind::KEY_NOT_IN_TIER, "The tenant's tier has no API access."));
    }
    Ok(())
}
