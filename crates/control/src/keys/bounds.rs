//! The bounds of a key's fields. All that is wrong is told at once.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::PrincipalKind;
use rowhouse_domain::keys::Environment;
use rowhouse_domain::refusal::{Refusal, kind};

use super::NewKey;
use crate::api::Caller;

/// Longest life of a key, and what it gets if nothing is said: 365 days.
pub const LIFE_MAX: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Longest time that a rotated key goes on, in seconds: 90 days.
pub const GRACE_MAX_S: i64 = 7_776_000;
/// And what it gets if nothing is said: a day.
pub const GRACE_DEFAULT_S: i64 = 86_400;
/// Keys of a tenant that are neither revoked nor over; twice as many by rotation, for the time of their grace.
pub const TENANT_KEYS_MAX: i64 = 1_000;
/// The same of a service account.
pub const ACCOUNT_KEYS_MAX: i64 = 50;

/// Checks every field but rights and owner, which need the database.
pub(super) fn check(new: &NewKey) -> Result<(), Refusal> {
    let length = |text: &str| text.chars().count();
    let metadata_fits = new.metadata.is_object() && new.metadata.to_string().len() <= 4_096;
    let services = new.services.as_deref().unwrap_or_default();
    let rows = [
        (
            (1..=100).contains(&length(new.name.trim())) && length(&new.name) <= 100,
            "/name",
            "1 to 100 characters",
        ),
        (length(&new.description) <= 500, "/description", "at most 500 characters"),
        (new.roles.len() <= 16, "/roles", "at most 16"),
        (new.permissions.len() <= 256, "/permissions", "at most 256"),
        (services.len() <= 32, "/services", "at most 32"),
        (services.iter().all(|name| (1..=63).contains(&length(name))), "/services", "names of services"),
        (new.tags.len() <= 20, "/tags", "at most 20"),
        (new.tags.iter().all(|tag| (1..=50).contains(&length(tag))), "/tags", "1 to 50 characters each"),
        (metadata_fits, "/metadata", "an object of at most 4 KiB"),
        (new.owner.kind == PrincipalKind::ServiceAccount, "/owner/kind", "service_account"),
    ];
    let refusal = Refusal::new(&kind::KEY_INVALID_FIELD, "Fields of the key are out of bounds.");
    let wrong = rows.iter().filter(|(fits, ..)| !fits);
    let refusal =
        wrong.fold(refusal, |refusal, (_, at, detail)| refusal.field(*at, "out_of_bounds", *detail));
    if refusal.errors().is_empty() { Ok(()) } else { Err(refusal) }
}

/// No way round a key's own bounds: with a key for some services only, only keys for some of these can be made. And
/// since nothing that is done with a test key is billed or held against a quota, tenants cannot make themselves one:
/// the operator does.
pub(super) fn within_maker(
    maker: &Caller,
    environment: Environment,
    services: Option<&[String]>,
) -> Result<(), Refusal> {
    if environment == Environment::Test && !maker.is_operator() {
        return Err(Refusal::new(
            &kind::ACCESS_DENIED,
            "Test keys, whose usage is not billed, are made by the operator.",
        ));
    }
    let Some(own) = maker.key().and_then(|key| key.services.as_ref()) else { return Ok(()) };
    let held = |name: &String| own.iter().any(|service| **service == **name);
    match services {
        Some(asked) if asked.iter().all(held) => Ok(()),
        _ => Err(Refusal::new(&kind::ACCESS_ESCALATION, format!("Your key is only for {}.", own.join(", ")))),
    }
}

/// When the key ends: as asked, within the longest life and that of the key it is made with, or as late as possible.
pub(super) fn expiry(
    new: &NewKey,
    now: Timestamp,
    maker_ends: Option<Timestamp>,
) -> Result<Timestamp, Refusal> {
    let latest = now + LIFE_MAX;
    let latest = maker_ends.map_or(latest, |ends| ends.min(latest));
    let bad = |detail: String| {
        Refusal::new(&kind::KEY_BAD_EXPIRY, "The expiry is not allowed.").field(
            "/expires_at",
            "out_of_bounds",
            detail,
        )
    };
    let ends = new.expires_at.unwrap_or(latest);
    if ends <= now || ends > latest {
        return Err(bad(format!("after now and not after {latest}")));
    }
    if new.not_before.is_some_and(|begins| begins >= ends) {
        return Err(bad("after `not_before`".to_owned()));
    }
    Ok(ends)
}
