//! Who may talk to whom: nobody, but for what stands here. Namespaces are selected by `kubernetes.io/metadata.name`, which the API
//! server sets, not by a label that anyone may write.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::super::check::ANYWHERE;
use super::super::fleet::{Fleet, Peer, Workload};
use super::super::{PORT_ADMIN, PORT_CONTROL, PORT_GATEWAY, PORT_NODES, PORT_TLS};
use super::{head, object, selector};

/// What "anywhere" leaves out: private, shared, link-local and loopback networks (RFC 1918, 6598, 3927, 4193, 4291).
const NOT_ANYWHERE_V4: [&str; 6] =
    ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"];
const NOT_ANYWHERE_V6: [&str; 4] = ["::1/128", "64:ff9b::/96", "fc00::/7", "fe80::/10"];

/// All policies.
pub(in super::super) fn network(fleet: &Fleet) -> Vec<Value> {
    let mut all = vec![
        policy(fleet, "default-deny", json!({}), None, None),
        policy(fleet, "dns", json!({}), None, Some(vec![dns()])),
        gateway(fleet),
        control(fleet),
    ];
    all.extend(fleet.workloads.iter().map(|own| service(fleet, own)));
    if let Some(namespace) = &fleet.networks.monitoring_namespace {
        let ours = json!({"matchExpressions": [
            {"key": "rowhouse.io/role", "operator": "In", "values": ["control", "gateway"]},
        ]});
        let rule = from(vec![of_namespace(namespace)], &[PORT_ADMIN]);
        all.push(policy(fleet, "metrics", ours, Some(vec![rule]), None));
    }
    all
}

/// A policy over the pods of `whom`; a direction without rules that is not spoken of is left to the others.
fn policy(
    fleet: &Fleet,
    name: &str,
    whom: Value,
    ingress: Option<Vec<Value>>,
    egress: Option<Vec<Value>>,
) -> Value {
    let mut spec = json!({"podSelector": whom});
    let mut types = Vec::new();
    if ingress.is_none() && egress.is_none() {
        types = vec!["Ingress", "Egress"];
    }
    for (kind, key, rules) in [("Ingress", "ingress", ingress), ("Egress", "egress", egress)] {
        if let Some(rules) = rules.filter(|rules| !rules.is_empty()) {
            types.push(kind);
            spec[key] = json!(rules);
        }
    }
    spec["policyTypes"] = json!(types);
    object(head(fleet, ("networking.k8s.io/v1", "NetworkPolicy"), name, name), spec)
}

fn gateway(fleet: &Fleet) -> Value {
    let name = fleet.gateway_name();
    let doors: &[u16] = if fleet.gateway.tls { &[PORT_GATEWAY, PORT_TLS] } else { &[PORT_GATEWAY] };
    let clients: Vec<Value> = fleet.networks.clients.iter().map(|network| block(network)).collect();
    let ingress = match clients.is_empty() {
        true => json!({ "ports": tcp(doors) }),
        false => from(clients, doors),
    };
    let mut egress = vec![to(vec![part(fleet, &fleet.control_name())], &[PORT_NODES])];
    egress.extend(fleet.workloads.iter().map(|own| to(vec![part(fleet, &own.name)], &[own.port])));
    if fleet.gateway.store {
        egress.extend(peer(&fleet.networks.store));
    }
    policy(fleet, &name, matching(fleet, &name), Some(vec![ingress]), Some(egress))
}

fn control(fleet: &Fleet) -> Value {
    let name = fleet.control_name();
    let mut ingress = vec![from(vec![part(fleet, &fleet.gateway_name())], &[PORT_NODES])];
    let mut callers: Vec<Value> = fleet.workloads.iter().map(|own| part(fleet, &own.name)).collect();
    callers.extend(fleet.networks.proxy_namespace.iter().map(|namespace| of_namespace(namespace)));
    if !callers.is_empty() {
        ingress.push(from(callers, &[PORT_CONTROL]));
    }
    let mut egress: Vec<Value> = fleet.networks.resolvers.iter().map(resolver).collect();
    if fleet.control.outside_database {
        egress.extend(peer(&fleet.networks.database));
    }
    egress.extend(peer(&fleet.networks.mail));
    egress.extend(outside(fleet));
    policy(fleet, &name, matching(fleet, &name), Some(ingress), Some(egress))
}

fn service(fleet: &Fleet, own: &Workload) -> Value {
    let ingress = from(vec![part(fleet, &fleet.gateway_name())], &[own.port]);
    let mut egress = vec![to(vec![part(fleet, &fleet.control_name())], &[PORT_CONTROL])];
    egress.extend(peer(&fleet.networks.database));
    egress.extend(outside(fleet));
    policy(fleet, &own.name, matching(fleet, &own.name), Some(vec![ingress]), Some(egress))
}

fn matching(fleet: &Fleet, name: &str) -> Value {
    json!({"matchLabels": selector(fleet, name)})
}

fn part(fleet: &Fleet, name: &str) -> Value {
    json!({"podSelector": {"matchLabels": selector(fleet, name)}})
}

fn of_namespace(name: &str) -> Value {
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}})
}

fn block(network: &str) -> Value {
    json!({"ipBlock": {"cidr": network}})
}

fn tcp(ports: &[u16]) -> Value {
    ports.iter().map(|port| json!({"protocol": "TCP", "port": port})).collect()
}

fn from(whom: Vec<Value>, ports: &[u16]) -> Value {
    json!({"from": whom, "ports": tcp(ports)})
}

fn to(whom: Vec<Value>, ports: &[u16]) -> Value {
    json!({"to": whom, "ports": tcp(ports)})
}

fn peer(own: &Peer) -> Option<Value> {
    let networks: Vec<Value> = own.networks.iter().map(|network| block(network)).collect();
    (!networks.is_empty()).then(|| to(networks, &[own.port]))
}

/// Where pods may go on port 443.
fn outside(fleet: &Fleet) -> Option<Value> {
    let named =
        fleet.networks.egress.iter().filter(|network| *network != ANYWHERE).map(|network| block(network));
    let mut networks: Vec<Value> = named.collect();
    if fleet.networks.egress.iter().any(|network| network == ANYWHERE) {
        networks.push(json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": NOT_ANYWHERE_V4}}));
        networks.push(json!({"ipBlock": {"cidr": "::/0", "except": NOT_ANYWHERE_V6}}));
    }
    (!networks.is_empty()).then(|| to(networks, &[443]))
}

fn resolver(address: &SocketAddr) -> Value {
    let length = if address.is_ipv4() { 32 } else { 128 };
    let ports = ["UDP", "TCP"].map(|protocol| json!({"protocol": protocol, "port": address.port()}));
    json!({"to": [block(&format!("{}/{length}", address.ip()))], "ports": ports})
}

/// The cluster's names: UDP, and TCP for long answers.
fn dns() -> Value {
    let whom = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    });
    let ports = ["UDP", "TCP"].map(|protocol| json!({"protocol": protocol, "port": 53}));
    json!({"to": [whom], "ports": ports})
}
