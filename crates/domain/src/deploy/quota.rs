//! The quota must fit the rollout: a namespace's ResourceQuota counts the pods of the old and of the new release together. A
//! quota that the running fleet fills to the last byte lets no update begin and no pod be replaced.

use std::collections::BTreeMap;
use std::fmt;

use super::quantity::{Bytes, Cpu};
use super::refusal::RenderError;
use super::{Fleet, Size};

/// Resources that a quota may name.
pub const RESOURCES: [&str; 8] = [
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
    "requests.storage",
    "pods",
    "persistentvolumeclaims",
    "services",
];

/// How the fleet is brought from one release to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollout {
    /// A quarter more pods of each service for a while; nothing is missing meanwhile.
    Surge,
    /// No pod more: one is missing at a time.
    InPlace,
}

impl Rollout {
    /// Pods beyond its replicas that a service of so many has for a while.
    pub fn surge(self, replicas: u32) -> u32 {
        match self {
            Rollout::Surge => replicas.div_ceil(4).max(1),
            Rollout::InPlace => 0,
        }
    }
}

/// What is too little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// As in `limits.cpu`.
    pub resource: &'static str,
    /// What the quota allows.
    pub allowed: String,
    /// What a rollout without additional pods needs.
    pub in_place: String,
    /// What one with additional pods needs.
    pub surge: String,
}

impl fmt::Display for Shortage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortage { resource, allowed, in_place, surge } = self;
        write!(
            out,
            "{resource}: {allowed} allowed; {in_place} needed with one pod missing at a time, {surge} without"
        )
    }
}

/// What a fleet needs at most at one instant, by the names in [`RESOURCES`]: everything at once, the control plane's PostgreSQL
/// within its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    cpu: Cpu,
    memory: Bytes,
    cpu_max: Cpu,
    memory_max: Bytes,
    storage: Bytes,
    pods: u32,
    volumes: u32,
    services: u32,
}

impl Sum {
    /// Adds a fleet up.
    pub fn of(fleet: &Fleet, rollout: Rollout) -> Sum {
        let gateways = fleet.gateway.replicas;
        let none = Sum {
            cpu: Cpu::millis(0),
            memory: Bytes::new(0),
            cpu_max: Cpu::millis(0),
            memory_max: Bytes::new(0),
            storage: fleet.control.storage.and(fleet.gateway.storage.times(gateways)),
            pods: 0,
            volumes: gateways.saturating_add(1),
            services: u32::try_from(fleet.workloads.len()).unwrap_or(u32::MAX).saturating_add(2),
        };
        let own = none.with(fleet.control.size, 1).with(fleet.gateway.size, gateways);
        fleet.workloads.iter().fold(own, |sum, workload| {
            let most = workload.replicas.saturating_add(rollout.surge(workload.replicas));
            sum.with(workload.size, most)
        })
    }

    fn with(self, size: Size, pods: u32) -> Sum {
        Sum {
            cpu: self.cpu.and(size.cpu.times(pods)),
            memory: self.memory.and(size.memory.times(pods)),
            cpu_max: self.cpu_max.and(size.cpu_max.times(pods)),
            memory_max: self.memory_max.and(size.memory_max.times(pods)),
            pods: self.pods.saturating_add(pods),
            ..self
        }
    }

    /// What is needed of a resource, as its quota is written, and whether `allowed` is enough.
    fn fits(&self, resource: &'static str, allowed: &str) -> Result<(String, bool), RenderError> {
        let wrong = |detail: String| RenderError::QuotaAmount { resource: resource.to_owned(), detail };
        let cpu = |own: Cpu| Cpu::parse(allowed).map(|most| (own.to_string(), own <= most));
        let bytes = |own: Bytes| Bytes::parse(allowed).map(|most| (own.to_string(), own <= most));
        let count = |own: u32| match allowed.parse::<u32>() {
            Ok(most) => Ok((own.to_string(), own <= most)),
            Err(_) => Err(wrong(format!("`{allowed}` is no whole number"))),
        };
        match resource {
            "requests.cpu" => cpu(self.cpu).map_err(|error| wrong(error.to_string())),
            "limits.cpu" => cpu(self.cpu_max).map_err(|error| wrong(error.to_string())),
            "requests.memory" => bytes(self.memory).map_err(|error| wrong(error.to_string())),
            "limits.memory" => bytes(self.memory_max).map_err(|error| wrong(error.to_string())),
            "requests.storage" => bytes(self.storage).map_err(|error| wrong(error.to_string())),
            "pods" => count(self.pods),
            "persistentvolumeclaims" => count(self.volumes),
            _ => count(self.services),
        }
    }
}

/// How the fleet can be rolled out within `quota` (empty: whatever it needs).
///
/// # Errors
/// If it cannot be, with what is needed of each resource that is short; names and amounts that are none.
pub fn plan(fleet: &Fleet, quota: &BTreeMap<String, String>) -> Result<Rollout, RenderError> {
    let mut needs_in_place = false;
    let mut shortages = Vec::new();
    for (name, allowed) in quota {
        let known = RESOURCES.into_iter().find(|resource| resource == name);
        let resource = known.ok_or_else(|| RenderError::QuotaResource(name.clone(), RESOURCES.join(", ")))?;
        let (surge, with_surge) = Sum::of(fleet, Rollout::Surge).fits(resource, allowed)?;
        let (in_place, without) = Sum::of(fleet, Rollout::InPlace).fits(resource, allowed)?;
        needs_in_place |= !with_surge;
        if !without {
            shortages.push(Shortage { resource, allowed: allowed.clone(), in_place, surge });
        }
    }
    match (shortages.is_empty(), needs_in_place) {
        (false, _) => Err(RenderError::Quota(shortages)),
        (true, true) => Ok(Rollout::InPlace),
        (true, false) => Ok(Rollout::Surge),
    }
}
