//! The nine kinds of definitions, and the words for each.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A kind of definition, in the order in which definitions refer to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something the operator runs behind the gateway.
    Service,
    /// A kind of thing that permissions are about.
    ResourceType,
    /// A set of permissions.
    Role,
    /// What usage is counted as.
    Meter,
    /// A set of prices.
    Plan,
    /// A feature that can be on or off, or have a value, for each tenant.
    Flag,
    /// A bundle of quotas, features and isolation.
    Tier,
    /// How often.
    Limit,
    /// What maps a request to a service.
    Route,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 9] = [
        Kind::Service,
        Kind::ResourceType,
        Kind::Role,
        Kind::Meter,
        Kind::Plan,
        Kind::Flag,
        Kind::Tier,
        Kind::Limit,
        Kind::Route,
    ];

    /// The word for one: the name of its TOML table and the type of its permission.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Service => "service",
            Kind::ResourceType => "resource_type",
            Kind::Role => "role",
            Kind::Meter => "meter",
            Kind::Plan => "plan",
            Kind::Flag => "flag",
            Kind::Tier => "tier",
            Kind::Limit => "limit",
            Kind::Route => "route",
        }
    }

    /// The word for several: the field of a catalogue and the path of the list.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Service => "services",
            Kind::ResourceType => "resource_types",
            Kind::Role => "roles",
            Kind::Meter => "meters",
            Kind::Plan => "plans",
            Kind::Flag => "flags",
            Kind::Tier => "tiers",
            Kind::Limit => "limits",
            Kind::Route => "routes",
        }
    }

    /// The kind with this word for one.
    pub fn parse(word: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The audit event of a change to one.
    pub fn changed_event(self) -> &'static str {
        match self {
            Kind::Service => "routes.service_changed",
            Kind::ResourceType => "access.resource_type_changed",
            Kind::Role => "access.role_changed",
            Kind::Meter => "metering.meter_changed",
            Kind::Plan => "billing.plan_changed",
            Kind::Flag => "tenancy.flag_changed",
            Kind::Tier => "tenancy.tier_changed",
            Kind::Limit => "limits.limit_changed",
            Kind::Route => "routes.route_changed",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.word())
    }
}
