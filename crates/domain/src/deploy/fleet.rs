//! What is to be rendered: values that are read already, and the names that follow from them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::quantity::{Bytes, Cpu};

/// The shared fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// What is sold; the first part of the names of our own objects.
    pub product: String,
    /// As `production`; the second part of the namespace's name.
    pub environment: String,
    /// Version of the Pod Security Standards, as `v1.37`.
    pub pod_security_version: String,
    /// Rowhouse's own image.
    pub image: String,
    /// Secrets that images are fetched with.
    pub pull_secrets: Vec<String>,
    /// The class of volumes; the cluster's own choice if none.
    pub storage_class: Option<String>,
    /// The control plane.
    pub control: ControlPlane,
    /// The gateways.
    pub gateway: Gateways,
    /// Services, one for each release of each.
    pub workloads: Vec<Workload>,
    /// Who reaches what.
    pub networks: Networks,
    /// The namespace's quota, by resource; none if empty.
    pub quota: BTreeMap<String, String>,
}

/// The control plane: one pod, with its PostgreSQL or an outside one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// What it gets.
    pub size: Size,
    /// Its volume.
    pub storage: Bytes,
    /// Its settings, TOML.
    pub settings: String,
    /// The catalogue, JSON.
    pub catalog: String,
    /// Whether the database is an outside one, whose URL is a secret.
    pub outside_database: bool,
    /// Whether the mail server wants a password.
    pub messages_password: bool,
    /// How long it may take to end, in seconds.
    pub grace_s: u64,
}

/// The gateways, each a node of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateways {
    /// How many, 2 to 100.
    pub replicas: u32,
    /// Number of the first: names of nodes are used once, so what was lost is left behind by counting on.
    pub first: u32,
    /// What each gets.
    pub size: Size,
    /// Each one's volume: its keys, the directory's copy, its journal.
    pub storage: Bytes,
    /// Their settings, TOML.
    pub settings: String,
    /// Whether they take TLS.
    pub tls: bool,
    /// Whether they count limits together in a Redis, whose URL is a secret.
    pub store: bool,
    /// How they are reached.
    pub door: Door,
    /// How long one may take to end, in seconds.
    pub grace_s: u64,
}

/// How the gateways are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Within the cluster only.
    ClusterIp,
    /// By the cloud's load balancer.
    LoadBalancer,
}

/// One release of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Of its objects.
    pub name: String,
    /// The service.
    pub service: String,
    /// Its image.
    pub image: String,
    /// How many, 1 to 1,000.
    pub replicas: u32,
    /// What each gets.
    pub size: Size,
    /// Where it listens.
    pub port: u16,
    /// How it is asked whether it is well.
    pub probing: Probing,
    /// Further variables.
    pub env: BTreeMap<String, String>,
    /// A Secret whose keys become variables.
    pub env_secret: Option<String>,
}

/// How a service is asked whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probing {
    /// `GET`, 200 to 399 is well.
    Http {
        /// Whether it lives.
        live: String,
        /// Whether it can serve.
        ready: String,
        /// Whether it has started; long delays instead where there is no such path.
        startup: Option<String>,
    },
    /// `grpc.health.v1.Health`.
    Grpc,
    /// Whether it takes connections: what remains of a service that speaks HTTP/2 only.
    Tcp,
}

/// Requests and limits of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Set aside.
    pub cpu: Cpu,
    /// Set aside.
    pub memory: Bytes,
    /// At most.
    pub cpu_max: Cpu,
    /// At most.
    pub memory_max: Bytes,
}

/// Who reaches what beyond the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// Who reaches the gateways; everybody if empty.
    pub clients: Vec<String>,
    /// Where pods may go on port 443, or `anywhere`.
    pub egress: Vec<String>,
    /// The outside PostgreSQL.
    pub database: Peer,
    /// The Redis that limits are counted in.
    pub store: Peer,
    /// The mail server.
    pub mail: Peer,
    /// Resolvers that are asked for proofs of domains.
    pub resolvers: Vec<SocketAddr>,
    /// Namespace that reads metrics.
    pub monitoring_namespace: Option<String>,
    /// Namespace of the proxy in front of the control API.
    pub proxy_namespace: Option<String>,
}

/// Networks and a port; nobody if there are no networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// As `10.20.0.0/16`.
    pub networks: Vec<String>,
    /// The port.
    pub port: u16,
}

/// A Secret that an object names and the operator makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: Vec<String>,
    /// What for.
    pub what: &'static str,
}

impl Fleet {
    /// The namespace.
    pub fn namespace(&self) -> String {
        format!("{}-{}", self.product, self.environment)
    }

    /// Name of the control plane's objects; how others in the namespace reach it.
    pub fn control_name(&self) -> String {
        format!("{}-control", self.product)
    }

    /// Name of the gateways' objects.
    pub fn gateway_name(&self) -> String {
        format!("{}-gateway", self.product)
    }

    /// The gateways' names as nodes: those of their pods.
    pub fn nodes(&self) -> Vec<String> {
        let numbers = self.gateway.first..self.gateway.first.saturating_add(self.gateway.replicas);
        numbers.map(|number| format!("{}-{number}", self.gateway_name())).collect()
    }

    pub(super) fn secret(&self, what: &str) -> String {
        format!("{}-{what}", self.product)
    }

    /// What the operator has to make, and what for.
    pub fn secrets(&self) -> Vec<Secret> {
        let one = |what: &str, key: &str| (self.secret(what), vec![key.to_owned()]);
        let mut all = Vec::new();
        let mut put = |(name, keys): (String, Vec<String>), what| all.push(Secret { name, keys, what });
        if self.control.outside_database {
            put(one("database", "url"), "the outside PostgreSQL");
        }
        if self.control.messages_password {
            put(one("messages", "password"), "the mail server's password");
        }
        if self.gateway.store {
            put(one("limits-store", "url"), "the Redis that limits are counted in");
        }
        if self.gateway.tls {
            let keys = vec!["default.crt".to_owned(), "default.key".to_owned()];
            put((self.secret("gateway-tls"), keys), "the gateways' certificates");
        }
        put((self.secret("gateway-enrolment"), self.nodes()), "tokens of `rowhouse node enrol`, by node");
        for workload in &self.workloads {
            if let Some(name) = &workload.env_secret {
                put((name.clone(), Vec::new()), "variables of a service");
            }
        }
        for name in &self.pull_secrets {
            put((name.clone(), vec![".dockerconfigjson".to_owned()]), "what images are fetched with");
        }
        all
    }
}

/// The name of a service's objects; of a further release of it, with that one's name behind, in letters that a name may have.
pub fn workload_name(service: &str, release: Option<&str>) -> String {
    let plain = |text: &str| text.replace(['.', '_'], "-");
    match release {
        Some(release) => format!("{}-{}", plain(service), plain(release)),
        None => plain(service),
    }
}
