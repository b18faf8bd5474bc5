//! `[deploy.kubernetes]`: what `rowhouse deploy render` writes. No running process reads it.

use std::collections::BTreeMap;

use rowhouse_domain::deploy::Size;
use rowhouse_domain::deploy::quantity::{Bytes, Cpu};
use serde::{Deserialize, Serialize};

/// `[deploy.kubernetes]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// First part of names.
    pub product: String,
    /// Second part of the namespace's name.
    pub environment: String,
    /// Where images are that name no registry.
    pub registry: Option<String>,
    /// Rowhouse's own image.
    pub image: Option<String>,
    /// Secrets that images are fetched with.
    pub pull_secrets: Vec<String>,
    /// Version of the Pod Security Standards.
    pub pod_security_version: String,
    /// Class of volumes.
    pub storage_class: Option<String>,
    /// How many gateways.
    pub gateways: u32,
    /// Number of the first.
    pub gateways_from: u32,
    /// What each gets.
    pub gateway_size: KubernetesSize,
    /// Each one's volume.
    pub gateway_storage: Bytes,
    /// How they are reached.
    pub gateway_service: GatewayDoor,
    /// What the control plane gets.
    pub control_size: KubernetesSize,
    /// Its volume.
    pub control_storage: Bytes,
    /// By service of the catalogue.
    pub services: BTreeMap<String, KubernetesService>,
    /// Who reaches the gateways.
    pub clients: Vec<String>,
    /// Where pods may go on port 443.
    pub egress: Vec<String>,
    /// An outside PostgreSQL.
    pub database_networks: Vec<String>,
    /// Its port.
    pub database_port: u16,
    /// The Redis of limits.
    pub store_networks: Vec<String>,
    /// Its port.
    pub store_port: u16,
    /// The mail server.
    pub mail_networks: Vec<String>,
    /// Who reads metrics.
    pub monitoring_namespace: Option<String>,
    /// Who is in front of the control API.
    pub proxy_namespace: Option<String>,
    /// The namespace's quota, by resource.
    pub quota: BTreeMap<String, String>,
}

/// How gateways are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayDoor {
    /// From within the cluster.
    #[default]
    ClusterIp,
    /// By the cloud's load balancer.
    LoadBalancer,
}

/// Requests and limits of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesSize {
    /// Set aside.
    pub cpu: Cpu,
    /// Set aside.
    pub memory: Bytes,
    /// At most.
    pub cpu_max: Cpu,
    /// At most.
    pub memory_max: Bytes,
}

/// A service of the catalogue.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesService {
    /// Its image, with its tag or digest.
    pub image: Option<String>,
    /// Images of releases, by name.
    pub releases: BTreeMap<String, String>,
    /// How many copies, of each release.
    pub replicas: u32,
    /// What each gets.
    pub size: KubernetesSize,
    /// Where it listens.
    pub port: u16,
    /// The path that says that it lives.
    pub live: String,
    /// The path that says that it can serve.
    pub ready: String,
    /// The path that says that it has started.
    pub startup: Option<String>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// A Secret whose keys become variables.
    pub env_secret: Option<String>,
}

impl From<KubernetesSize> for Size {
    fn from(own: KubernetesSize) -> Size {
        let KubernetesSize { cpu, memory, cpu_max, memory_max } = own;
        Size { cpu, memory, cpu_max, memory_max }
    }
}

impl Default for KubernetesSize {
    fn default() -> Self {
        KubernetesSize {
            cpu: Cpu::millis(500),
            memory: Bytes::gib(1),
            cpu_max: Cpu::millis(2_000),
            memory_max: Bytes::gib(4),
        }
    }
}

impl Default for KubernetesService {
    fn default() -> Self {
        KubernetesService {
            image: None,
            releases: BTreeMap::new(),
            replicas: 10,
            size: KubernetesSize::default(),
            port: 8080,
            live: "/health/live".to_owned(),
            ready: "/health/ready".to_owned(),
            startup: None,
            env: BTreeMap::new(),
            env_secret: None,
        }
    }
}

impl Default for Kubernetes {
    fn default() -> Self {
        Kubernetes {
            product: "rowhouse".to_owned(),
            environment: "production".to_owned(),
            registry: None,
            image: None,
            pull_secrets: Vec::new(),
            pod_security_version: "v1.37".to_owned(),
            storage_class: None,
            gateways: 2,
            gateways_from: 0,
            gateway_size: KubernetesSize::default(),
            gateway_storage: Bytes::gib(20),
            gateway_service: GatewayDoor::default(),
            control_size: KubernetesSize::default(),
            control_storage: Bytes::gib(50),
            services: BTreeMap::new(),
            clients: Vec::new(),
            egress: Vec::new(),
            database_networks: Vec::new(),
            database_port: 5432,
            store_networks: Vec::new(),
            store_port: 6379,
            mail_networks: Vec::new(),
            monitoring_namespace: None,
            proxy_namespace: None,
            quota: BTreeMap::new(),
        }
    }
}
