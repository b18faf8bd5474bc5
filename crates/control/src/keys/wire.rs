//! Keys as they are written on the wire.

use jiff::Timestamp;
use rowhouse_domain::keys::{Environment, KeyLimitDefinition, ThingPattern};
use rowhouse_domain::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::explain::RequestBody;
use super::narrow::Narrow;
use super::record::LastUse;
use super::{KeyRecord, NewKey};
use crate::api::PrincipalBody;

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyBody {
    /// 1 to 100 characters.
    pub(super) name: String,
    /// At most 500 characters.
    #[serde(default)]
    pub(super) description: String,
    /// A service account of the tenant.
    pub(super) owner: PrincipalBody,
    /// `live` (the default) or `test`.
    #[schema(value_type = Option<String>)]
    pub(super) environment: Option<Environment>,
    /// At most 16 roles.
    #[serde(default)]
    pub(super) roles: Vec<String>,
    /// At most 256 permissions and patterns.
    #[serde(default)]
    pub(super) permissions: Vec<String>,
    /// Only for these services; all if not said.
    pub(super) services: Option<Vec<String>>,
    /// Only from these addresses and networks (CIDR), at most 64; from anywhere if none is said.
    #[serde(default)]
    pub(super) allowed_ips: Vec<String>,
    /// Only for these things, at most 64, `{"type", "id"}`; a `*` at the end of an id stands for anything.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub(super) resources: Vec<ThingPattern>,
    /// At most 8 limits of its own: `{"name", "algorithm", "quota", "window_ms", "burst"}`.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub(super) limits: Vec<KeyLimitDefinition>,
    /// At most 20 words for finding it.
    #[serde(default)]
    pub(super) tags: Vec<String>,
    /// The tenant's own, at most 4 KiB.
    #[serde(default = "empty")]
    #[schema(value_type = Object)]
    pub(super) metadata: Value,
    /// Not before, RFC 3339.
    #[schema(value_type = Option<String>)]
    pub(super) not_before: Option<Timestamp>,
    /// Not at or after, RFC 3339; at most and by default 365 days from now.
    #[schema(value_type = Option<String>)]
    pub(super) expires_at: Option<Timestamp>,
}

fn empty() -> Value {
    json!({})
}

impl KeyBody {
    pub(super) fn parse(self) -> Result<NewKey, Refusal> {
        Ok(NewKey {
            owner: self.owner.parse("/owner")?,
            name: self.name,
            description: self.description,
            environment: self.environment.unwrap_or(Environment::Live),
            roles: self.roles,
            permissions: self.permissions,
            narrow: Narrow {
                services: self.services,
                allowed_ips: self.allowed_ips,
                resources: self.resources,
                limits: self.limits,
            },
            tags: self.tags,
            metadata: self.metadata,
            not_before: self.not_before,
            expires_at: self.expires_at,
            maker_ends: None,
        })
    }
}

/// A key, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyAnswer {
    pub(super) id: String,
    pub(super) tenant: String,
    pub(super) public_id: String,
    pub(super) hint: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) owner: PrincipalBody,
    pub(super) environment: &'static str,
    pub(super) roles: Vec<String>,
    pub(super) permissions: Vec<String>,
    pub(super) services: Option<Vec<String>>,
    pub(super) allowed_ips: Vec<String>,
    #[schema(value_type = Vec<Object>)]
    pub(super) resources: Vec<ThingPattern>,
    #[schema(value_type = Vec<Object>)]
    pub(super) limits: Vec<KeyLimitDefinition>,
    pub(super) tags: Vec<String>,
    #[schema(value_type = Object)]
    pub(super) metadata: Value,
    /// `scheduled`, `active`, `grace`, `expired`, `disabled` or `revoked`.
    pub(super) state: &'static str,
    pub(super) not_before: Option<String>,
    pub(super) expires_at: Option<String>,
    pub(super) family: String,
    pub(super) replaces: Option<String>,
    pub(super) replaced_by: Option<String>,
    pub(super) revoked_reason: Option<String>,
    /// True to a minute.
    pub(super) last_used: Option<LastUseAnswer>,
    pub(super) created_at: String,
    pub(super) created_by: String,
    pub(super) version: i64,
}

impl KeyAnswer {
    pub(super) fn new(key: &KeyRecord, now_us: i64) -> Self {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        KeyAnswer {
            id: key.id.to_string(),
            tenant: key.tenant.to_string(),
            public_id: key.public_id.clone(),
            hint: key.hint.clone(),
            name: key.name.clone(),
            description: key.description.clone(),
            owner: key.owner.into(),
            environment: key.environment.as_str(),
            roles: key.roles.clone(),
            permissions: key.permissions.clone(),
            services: key.narrow.services.clone(),
            allowed_ips: key.narrow.allowed_ips.clone(),
            resources: key.narrow.resources.clone(),
            limits: key.narrow.limits.clone(),
            tags: key.tags.clone(),
            metadata: key.metadata.clone(),
            state: key.shown_state(now_us),
            not_before: time(key.not_before),
            expires_at: time(key.expires_at),
            family: key.family.to_string(),
            replaces: key.replaces.map(|id| id.to_string()),
            replaced_by: key.replaced_by.map(|id| id.to_string()),
            revoked_reason: key.revoked_reason.clone(),
            last_used: key.last_use.as_ref().map(LastUseAnswer::new),
            created_at: key.created_at.to_string(),
            created_by: key.created_by.clone(),
            version: key.version,
        }
    }
}

/// When, from where and for what a key was used last.
#[derive(Debug, Serialize, ToSchema)]
pub struct LastUseAnswer {
    at: String,
    ip: String,
    endpoint: Option<String>,
}

impl LastUseAnswer {
    fn new(last: &LastUse) -> Self {
        let endpoint = Some(last.endpoint.clone()).filter(|endpoint| !endpoint.is_empty());
        LastUseAnswer { at: last.at.to_string(), ip: last.ip.clone(), endpoint }
    }
}

/// The same with what is shown once. `key` is `null` when the answer is repeated.
pub(super) fn with_secret(answer: &KeyAnswer, more: &[(&str, Value)]) -> Value {
    let mut value = serde_json::to_value(answer).expect("wire types are JSON");
    value["key"] = Value::Null;
    for (name, what) in more {
        value[*name] = what.clone();
    }
    value
}

/// `?tenant=&owner=&limit=&cursor=`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KeyParameters {
    /// Which tenant.
    pub(super) tenant: Option<String>,
    /// Only keys of this service account.
    pub(super) owner: Option<String>,
    /// 1 to 200, default 50.
    pub(super) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// Why a key is revoked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeBody {
    /// 1 to 500 characters.
    pub(super) reason: String,
}

/// Nothing to say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoBody {}

/// How long a key is to live.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewBody {
    /// Not at or after, RFC 3339; at most 365 days from now.
    #[schema(value_type = String)]
    pub(super) expires_at: Timestamp,
}

/// How a key is rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// How long the old key goes on: 0 to 7,776,000 s, default 86,400.
    pub(super) grace_seconds: Option<i64>,
}

/// Which key, and the request that it might be sent with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyExplainBody)]
pub struct ExplainBody {
    /// The key's id.
    pub(super) key_id: String,
    /// The request.
    pub(super) request: RequestBody,
    /// As of when, RFC 3339; now if not said.
    #[schema(value_type = Option<String>)]
    pub(super) at: Option<Timestamp>,
}

/// A key that a service has met.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyBody {
    /// Its text.
    pub(super) key: String,
    /// What it is to be used for: `type:action`.
    pub(super) permission: Option<String>,
    /// The one thing that it is to be used for.
    #[schema(value_type = Option<Object>)]
    pub(super) resource: Option<ThingPattern>,
    /// The address that it was shown from.
    #[schema(value_type = Option<String>)]
    pub(super) ip: Option<std::net::IpAddr>,
}
