//! The bounds of a key's fields. All that is wrong is told at once.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::PrincipalKind;
use rowhouse_domain::keys::Environment;
use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::Value;

use super::narrow::Narrow;
use super::{KeyRecord, NewKey};
use crate::api::Caller;

/// Longest life of a key, and what it gets if nothing is said: 365 days.
pub const LIFE_MAX: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Longest time that a rotated key goes on, in seconds: 90 days.
pub const GRACE_MAX_S: i64 = 7_776_000;
/// And what it gets if nothing is said: a day.
pub const GRACE_DEFAULT_S: i64 = 86_400;
/// Keys of a tenant that are neither revoked nor over; twice as many by rotation, for the time of their grace.
pub const TENANT_KEYS_MAX: i64 = 1_000;
/// Service accounts of a tenant.
pub const TENANT_ACCOUNTS_MAX: i64 = 1_000;
/// Keys of a service account, counted in the same way.
pub const ACCOUNT_KEYS_MAX: i64 = 50;

/// Checks every field but rights and owner, which need the database.
pub(super) fn check(new: &NewKey) -> Result<(), Refusal> {
    let is_account = new.owner.kind == PrincipalKind::ServiceAccount;
    let refusal = Refusal::new(&kind::KEY_INVALID_FIELD, "Fields of the key are out of bounds.");
    let refusal = match is_account {
        true => refusal,
        false => refusal.field("/owner/kind", "out_of_bounds", "service_account"),
    };
    check_fields(
        refusal,
        Fields {
            name: &new.name,
            description: &new.description,
            roles: &new.roles,
            permissions: &new.permissions,
            tags: &new.tags,
            metadata: &new.metadata,
            narrow: &new.narrow,
        },
    )
}

/// The same of a key that is changed.
pub(super) fn check_record(key: &KeyRecord) -> Result<(), Refusal> {
    let refusal = Refusal::new(&kind::KEY_INVALID_FIELD, "Fields of the key are out of bounds.");
    check_fields(
        refusal,
        Fields {
            name: &key.name,
            description: &key.description,
            roles: &key.roles,
            permissions: &key.permissions,
            tags: &key.tags,
            metadata: &key.metadata,
            narrow: &key.narrow,
        },
    )
}

/// What may be said of a key, at first and later.
struct Fields<'a> {
    name: &'a str,
    description: &'a str,
    roles: &'a [String],
    permissions: &'a [String],
    tags: &'a [String],
    metadata: &'a Value,
    narrow: &'a Narrow,
}

fn check_fields(refusal: Refusal, fields: Fields<'_>) -> Result<(), Refusal> {
    let length = |text: &str| text.chars().count();
    let metadata_fits = fields.metadata.is_object() && fields.metadata.to_string().len() <= 4_096;
    let name_fits = (1..=100).contains(&length(fields.name.trim())) && length(fields.name) <= 100;
    let tags_fit = fields.tags.iter().all(|tag| (1..=50).contains(&length(tag)));
    let rows = [
        (name_fits, "/name", "1 to 100 characters"),
        (length(fields.description) <= 500, "/description", "at most 500 characters"),
        (fields.roles.len() <= 16, "/roles", "at most 16"),
        (fields.permissions.len() <= 256, "/permissions", "at most 256"),
        (fields.tags.len() <= 20, "/tags", "at most 20"),
        (tags_fit, "/tags", "1 to 50 characters each"),
        (metadata_fits, "/metadata", "an object of at most 4 KiB"),
    ];
    let wrong = rows.iter().filter(|(fits, ..)| !fits);
    let refusal =
        wrong.fold(refusal, |refusal, (_, at, detail)| refusal.field(*at, "out_of_bounds", *detail));
    let refusal = fields.narrow.check(refusal);
    if refusal.errors().is_empty() { Ok(()) } else { Err(refusal) }
}

/// No way round a key's own bounds: with a key for some services or networks only, only keys for some of these can be
/// made, and none with a key that has limits of its own, which another one would not share. And
/// since nothing that is done with a test key is billed or held against a quota, tenants cannot make themselves one:
/// the operator does.
pub(super) fn within_maker(maker: &Caller, environment: Environment, narrow: &Narrow) -> Result<(), Refusal> {
    if environment == Environment::Test && !maker.is_operator() {
        return Err(Refusal::new(
            &kind::ACCESS_DENIED,
            "Test keys, whose usage is not billed, are made by the operator.",
        ));
    }
    let Some(own) = maker.key().and_then(|key| key.narrowed.as_deref()) else { return Ok(()) };
    narrow.within(own)
}

/// When the key ends: as asked, within the longest life and that of the key it is made with, or as late as possible.
pub(super) fn expiry(
    (not_before, expires_at): (Option<Timestamp>, Option<Timestamp>),
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
    let ends = expires_at.unwrap_or(latest);
    if ends <= now || ends > latest {
        return Err(bad(format!("after now and not after {latest}")));
    }
    if not_before.is_some_and(|begins| begins >= ends) {
        return Err(bad("after `not_before`".to_owned()));
    }
    Ok(ends)
}
