//! Step 5: whether at all. One decision, the same as in the control plane.

use http::HeaderValue;
use rowhouse_domain::access::{
    Decision, Facts, PermissionId, Permit, Reason, ResourceKey, decide_key_of, decide_of, decide_on,
};
use rowhouse_domain::directory::Tenant;
use rowhouse_domain::id::SessionId;
use rowhouse_domain::refusal::kind;
use rowhouse_domain::routes::Matched;

use super::authenticate::{Destination, Known, Who};
use super::limit::Admitted;
use super::{Recording, Stop};
use crate::view::View;

/// Proof that the caller may do what it asks.
pub(crate) struct Permitted<'r, 'v> {
    pub(crate) known: Known<'r, 'v>,
    /// None on a public route, which needs no right.
    pub(crate) permit: Option<Permit>,
}

impl<'r, 'v> Permitted<'r, 'v> {
    /// The route; a request without one was refused here.
    pub(crate) fn matched(&self) -> &Matched<'v, 'r> {
        match &self.known.destination {
            Destination::Route(matched) => matched,
            _ => unreachable!("authorise lets only requests with a route through"),
        }
    }
}

/// Decides.
pub(crate) fn authorise<'r, 'v>(
    view: &View,
    admitted: Admitted<'r, 'v>,
    recording: &mut Recording,
) -> Result<Permitted<'r, 'v>, Stop> {
    let Admitted { known } = admitted;
    let matched = match &known.destination {
        Destination::Route(matched) => matched,
        Destination::OtherMethods(methods) => return Err(other_methods(methods)),
        Destination::Nothing => return Err(Stop::new(&kind::NO_MATCH, "No route leads there.")),
    };
    let parts = known.resolved.sound.parts;
    let method = parts.method.as_str();
    if matched.route.definition.audit.records(method) {
        recording.becomes_event(matched, &parts.headers);
    }
    if matched.route.definition.public {
        return Ok(Permitted { known, permit: None });
    }
    let needed = matched.route.permission(method);
    recording.permission = needed;
    let (Some(tenant), Some(needed), true) = (known.resolved.tenant, needed, known.user().is_some()) else {
        recording.denied(matched, &parts.headers);
        return Err(Stop::new(&kind::ACCESS_DENIED, "This method is not open to anybody here."));
    };
    let facts = Facts { method: Some(method), path: Some(known.resolved.path), ..facts(&known, recording) };
    let at = (recording.started_at_us, &facts);
    let decision = match matched.route.is_about_a_thing() {
        false => decided(&known, tenant, needed, at),
        true => decided_on(&known, tenant, (needed, matched), at),
    };
    let decision = within_application(&known.who, || view.directory.permissions.name(needed), decision);
    match decision {
        Ok(permit) => {
            let chance = || recording.chance();
            if view.directory.permissions.records_allow(needed, chance) {
                recording.becomes_event(matched, &parts.headers);
            }
            Ok(Permitted { known, permit: Some(permit) })
        }
        Err(reason) => {
            match view.directory.permissions.records_denial(needed) {
                true => recording.denied(matched, &parts.headers),
                false => recording.no_event(),
            }
            Err(denied(view.directory.permissions.name(needed), reason))
        }
    }
}

type At<'a> = (i64, &'a Facts<'a>);

/// What conditions can ask for: facts, which a request cannot set.
fn facts<'a>(known: &Known<'_, '_>, recording: &Recording) -> Facts<'a> {
    let claims = match &known.who {
        Who::Token(claims) => Some(claims),
        _ => None,
    };
    let auth_method = match &known.who {
        Who::Nobody => None,
        Who::Key(_) => Some("api_key"),
        Who::Token(_) => Some("token"),
        Who::Vouched(_) => Some("issuer"),
        Who::Certified(_) => Some("certificate"),
    };
    Facts {
        ip: Some(recording.client),
        mfa: Some(claims.is_some_and(|claims| claims.is_of_two_factors())),
        mfa_age_s: claims.map(|claims| recording.started_at_us.div_euclid(1_000_000) - claims.auth_time),
        auth_method,
        ..Facts::NONE
    }
}

/// A key needs its own right and its owner's; who has signed in has the own ones.
fn decided(known: &Known<'_, '_>, tenant: &Tenant, needed: PermissionId, at: At<'_>) -> Decision {
    let (id, principal) = (Some(tenant.id), known.principal());
    match &known.who {
        // It is only for some things, and this is about none.
        Who::Key(key) if key.is_for_things() => Err(Reason::KeyScope),
        Who::Key(key) => decide_key_of(known.owner, id, principal, &key.permits, needed, at),
        who => decide_of(tenant.access.rights_in(&principal, session(who)), id, principal, needed, at),
    }
}

/// The session in which roles may have been chosen.
pub(super) fn session(who: &Who<'_>) -> Option<SessionId> {
    match who {
        Who::Token(claims) => Some(claims.session),
        _ => None,
    }
}

/// An application may use of the person's rights those that it was given by name, and no other.
fn within_application<'n>(
    who: &Who<'_>,
    permission: impl FnOnce() -> &'n str,
    decision: Decision,
) -> Decision {
    match who {
        Who::Token(claims) if claims.application.is_some() && !claims.has_scope(permission()) => {
            decision.and(Err(Reason::KeyScope))
        }
        _ => decision,
    }
}

/// The same about the one thing that the path names. What it names in no clear way is nobody's.
fn decided_on(
    known: &Known<'_, '_>,
    tenant: &Tenant,
    (needed, matched): (PermissionId, &Matched<'_, '_>),
    (now_us, facts): At<'_>,
) -> Decision {
    let (kind, id) = matched.thing().ok_or(Reason::NoGrant)?;
    let principal = known.principal();
    let (in_scope, rights) = match &known.who {
        Who::Key(key) => (Some(key.permits.contains(needed) && key.reaches(kind, &id)), known.owner),
        who => (None, tenant.access.rights_in(&principal, session(who))),
    };
    let facts = facts.on(kind, &id);
    decide_on(
        (&tenant.access, tenant.id),
        (principal, in_scope),
        rights,
        (needed, || ResourceKey::new(kind, &id)),
        (now_us, &facts),
    )
}

#[cold]
fn denied(permission: &str, reason: Reason) -> Stop {
    let because = match reason {
        Reason::KeyScope => "its owner holds it, the key or application does not",
        Reason::OwnerLacks => "the key holds it, its owner does not",
        Reason::Denied => "it is forbidden by a grant",
        Reason::ContextMissing => "a grant's condition asks for what is not known",
        Reason::ConditionFalse => "a grant's condition does not hold",
        Reason::InactiveRole => "its role is not active in this session",
        Reason::Expired => "the grant is over",
        Reason::Pending => "the grant has not begun",
        Reason::NoGrant | Reason::Granted => "nobody granted it",
    };
    Stop::new(&kind::ACCESS_DENIED, format!("`{permission}` is missing: {because}."))
}

#[cold]
fn other_methods(methods: &[&str]) -> Stop {
    let allow = methods.join(", ");
    let refusal = Stop::new(&kind::ROUTE_METHOD, format!("Here one can only {allow}."));
    Stop { allow: HeaderValue::try_from(allow).ok(), ..refusal }
}
