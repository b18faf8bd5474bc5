//! All definitions as typed lists, and the same as one map of JSON values, in which they are stored and compared.

use std::collections::BTreeMap;

use rowhouse_domain::access::{ResourceType, RoleDefinition};
use rowhouse_domain::limits::LimitDefinition;
use rowhouse_domain::routes::{RouteDefinition, ServiceDefinition};
use rowhouse_domain::tenancy::Tier;
use rowhouse_domain::tenancy::features::Flag;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Kind;
use super::meters_and_plans::{Meter, Plan};

/// Everything that the operator declares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Definitions {
    /// What runs behind the gateway.
    pub services: Vec<ServiceDefinition>,
    /// What maps requests to services.
    pub routes: Vec<RouteDefinition>,
    /// What permissions are about.
    pub resource_types: Vec<ResourceType>,
    /// Sets of permissions.
    pub roles: Vec<RoleDefinition>,
    /// Features that can be on or off, or have a value, for each tenant.
    pub flags: Vec<Flag>,
    /// Bundles of quotas, features and isolation.
    pub tiers: Vec<Tier>,
    /// Rate limits.
    pub limits: Vec<LimitDefinition>,
    /// What usage is counted as.
    pub meters: Vec<Meter>,
    /// Sets of prices.
    pub plans: Vec<Plan>,
}

/// Definitions by kind and name, each in its normal form: every field is there, defaults included.
pub type Items = BTreeMap<(Kind, String), Value>;

/// A stored definition is not of a form that this binary reads.
#[derive(Debug, thiserror::Error)]
#[error("the stored {kind} `{name}` cannot be read")]
pub struct Unreadable {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    #[source]
    pub cause: serde_json::Error,
}

impl Definitions {
    /// The same as a map; a name that stands twice is told apart by its place in the list of errors.
    pub fn items(&self) -> Result<Items, Vec<(Kind, String)>> {
        let mut items = Items::new();
        let mut twice = Vec::new();
        let mut put = |kind: Kind, name: &str, value: Value| {
            if items.insert((kind, name.to_owned()), value).is_some() {
                twice.push((kind, name.to_owned()));
            }
        };
        self.services.iter().for_each(|own| put(Kind::Service, &own.name, normal(own)));
        self.routes.iter().for_each(|own| put(Kind::Route, &own.name, normal(own)));
        self.resource_types.iter().for_each(|own| put(Kind::ResourceType, &own.name, normal(own)));
        self.roles.iter().for_each(|own| put(Kind::Role, &own.name, normal(own)));
        self.flags.iter().for_each(|own| put(Kind::Flag, &own.name, normal(own)));
        self.tiers.iter().for_each(|own| put(Kind::Tier, &own.name, normal(own)));
        self.limits.iter().for_each(|own| put(Kind::Limit, &own.name, normal(own)));
        self.meters.iter().for_each(|own| put(Kind::Meter, &own.name, normal(own)));
        self.plans.iter().for_each(|own| put(Kind::Plan, &own.name, normal(own)));
        if twice.is_empty() { Ok(items) } else { Err(twice) }
    }

    /// The typed lists of a map, each in the order of names.
    pub fn of_items(items: &Items) -> Result<Self, Unreadable> {
        let mut all = Definitions::default();
        for ((kind, name), value) in items {
            all.put(*kind, value).map_err(|cause| Unreadable { kind: *kind, name: name.clone(), cause })?;
        }
        Ok(all)
    }

    fn put(&mut self, kind: Kind, value: &Value) -> Result<(), serde_json::Error> {
        match kind {
            Kind::Service => self.services.push(typed(value)?),
            Kind::Route => self.routes.push(typed(value)?),
            Kind::ResourceType => self.resource_types.push(typed(value)?),
            Kind::Role => self.roles.push(typed(value)?),
            Kind::Flag => self.flags.push(typed(value)?),
            Kind::Tier => self.tiers.push(typed(value)?),
            Kind::Limit => self.limits.push(typed(value)?),
            Kind::Meter => self.meters.push(typed(value)?),
            Kind::Plan => self.plans.push(typed(value)?),
        }
        Ok(())
    }
}

fn normal<T: Serialize>(definition: &T) -> Value {
    serde_json::to_value(definition).expect("definitions have text, numbers and lists")
}

fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}
