//! The objects held against what a cluster would hold them against, and each refusal.

mod objects;
mod refusals;

use std::collections::BTreeMap;

use super::quantity::{Bytes, Cpu};
use super::*;

const SMALL: Size = Size {
    cpu: Cpu::millis(500),
    memory: Bytes::gib(1),
    cpu_max: Cpu::millis(2_000),
    memory_max: Bytes::gib(4),
};

fn workload(name: &str, port: u16, probing: Probing) -> Workload {
    Workload {
        name: name.to_owned(),
        service: name.to_owned(),
        image: format!("registry.example/{name}:1.2.3"),
        replicas: 10,
        size: SMALL,
        port,
        probing,
        env: BTreeMap::from([("LOG".to_owned(), "info $(HOME)".to_owned())]),
        env_secret: None,
    }
}

fn http(startup: Option<&str>) -> Probing {
    let path = |text: &str| text.to_owned();
    Probing::Http { live: path("/health/live"), ready: path("/health/ready"), startup: startup.map(path) }
}

fn peer(network: &str, port: u16) -> Peer {
    Peer { networks: vec![network.to_owned()], port }
}

/// With everything on.
fn whole() -> Fleet {
    let mut fleet = plain();
    fleet.pull_secrets = vec!["pull".to_owned()];
    fleet.storage_class = Some("fast".to_owned());
    fleet.control.outside_database = true;
    fleet.control.messages_password = true;
    fleet.gateway.tls = true;
    fleet.gateway.store = true;
    fleet.gateway.door = Door::LoadBalancer;
    fleet.workloads.push(workload("mail", 9_000, Probing::Grpc));
    fleet.workloads.push(workload("raw", 9_001, Probing::Tcp));
    fleet.workloads[0].env_secret = Some("parking-secrets".to_owned());
    fleet.networks = Networks {
        clients: vec!["198.51.100.0/24".to_owned()],
        egress: vec!["anywhere".to_owned(), "203.0.113.0/24".to_owned()],
        database: peer("10.1.0.0/16", 5_432),
        store: peer("10.2.0.0/16", 6_379),
        mail: peer("10.3.0.1/32", 587),
        resolvers: vec![
            "1.1.1.1:53".parse().expect("an address"),
            "[2606::1]:53".parse().expect("an address"),
        ],
        monitoring_namespace: Some("monitoring".to_owned()),
        proxy_namespace: Some("ingress".to_owned()),
    };
    fleet.quota = BTreeMap::from([("pods".to_owned(), "100".to_owned())]);
    fleet
}

/// With as little as there is.
fn plain() -> Fleet {
    Fleet {
        product: "rowhouse".to_owned(),
        environment: "production".to_owned(),
        pod_security_version: "v1.37".to_owned(),
        image: "registry.example/rowhouse:0.1.0".to_owned(),
        pull_secrets: Vec::new(),
        storage_class: None,
        control: ControlPlane {
            size: SMALL,
            storage: Bytes::gib(50),
            settings: "[server]\nregion = \"eu1\"\n".to_owned(),
            catalog: "{}\n".to_owned(),
            outside_database: false,
            messages_password: false,
            grace_s: 120,
        },
        gateway: Gateways {
            replicas: 2,
            first: 0,
            size: SMALL,
            storage: Bytes::gib(20),
            settings: "[server]\nregion = \"eu1\"\n".to_owned(),
            tls: false,
            store: false,
            door: Door::ClusterIp,
            grace_s: 80,
        },
        workloads: vec![
            workload("parking", 8_080, http(None)),
            workload("stamping", 8_080, http(Some("/s"))),
        ],
        networks: Networks::default(),
        quota: BTreeMap::new(),
    }
}

/// All objects, as they would be written.
fn objects_of(fleet: &Fleet) -> Vec<Value> {
    let mut all = super::objects::namespace(fleet);
    all.extend(super::objects::network(fleet));
    all.extend(super::objects::control(fleet));
    all.extend(super::objects::gateway(fleet));
    for workload in &fleet.workloads {
        all.extend(super::objects::service(fleet, workload, quota::Rollout::Surge));
    }
    all
}
