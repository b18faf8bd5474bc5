//! The objects, each file's in the order in which they are applied.

mod control;
mod gateway;
mod namespace;
mod network;
mod pod;
mod service;

pub(super) use control::control;
pub(super) use gateway::gateway;
pub(super) use namespace::namespace;
pub(super) use network::network;
use serde_json::{Map, Value, json};
pub(super) use service::service;
use sha2::{Digest, Sha256};

use super::fleet::Fleet;

/// An object's head: kind, name, labels.
pub(super) fn head(
    fleet: &Fleet,
    (version, kind): (&str, &str),
    name: &str,
    part: &str,
) -> Map<String, Value> {
    let mut labels = selector(fleet, part);
    labels["app.kubernetes.io/managed-by"] = json!("rowhouse");
    labels["environment"] = json!(fleet.environment);
    let value = json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": fleet.namespace(), "labels": labels},
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What the pods of a part are found by; it never changes, as a selector cannot.
pub(super) fn selector(fleet: &Fleet, part: &str) -> Value {
    json!({"app.kubernetes.io/name": part, "app.kubernetes.io/part-of": fleet.product})
}

/// An object with what it is to be.
pub(super) fn object(head: Map<String, Value>, spec: Value) -> Value {
    let mut map = head;
    map.insert("spec".to_owned(), spec);
    Value::Object(map)
}

/// The account of a part: without rights, without a token.
pub(super) fn account(fleet: &Fleet, name: &str) -> Value {
    let mut map = head(fleet, ("v1", "ServiceAccount"), name, name);
    map.insert("automountServiceAccountToken".to_owned(), json!(false));
    Value::Object(map)
}

/// At most one pod of a part is taken away on purpose at a time.
pub(super) fn disruption_budget(fleet: &Fleet, name: &str) -> Value {
    let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": selector(fleet, name)}});
    object(head(fleet, ("policy/v1", "PodDisruptionBudget"), name, name), spec)
}

/// Texts that never change: what changes has another name, so that a change is a rolling update. Name and object.
pub(super) fn config_map(fleet: &Fleet, part: &str, files: &[(&str, &str)]) -> (String, Value) {
    let mut hash = Sha256::new();
    for (name, text) in files {
        for part in [name.as_bytes(), text.as_bytes()] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
    }
    let digest: String = hash.finalize().iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{part}-{digest}");
    let mut map = head(fleet, ("v1", "ConfigMap"), &name, part);
    map.insert("immutable".to_owned(), json!(true));
    let data: Map<String, Value> =
        files.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
    map.insert("data".to_owned(), Value::Object(data));
    (name, Value::Object(map))
}

/// A Service of a part: ports by name, outside and in the pod.
pub(super) fn cluster_service(fleet: &Fleet, part: &str, ports: &[(&str, u16, &str)], more: Value) -> Value {
    let ports: Vec<Value> = ports
        .iter()
        .map(|(name, port, target)| json!({"name": name, "port": port, "protocol": "TCP", "targetPort": target}))
        .collect();
    let mut spec = json!({"type": "ClusterIP", "selector": selector(fleet, part), "ports": ports});
    if let Value::Object(more) = more {
        more.into_iter().for_each(|(key, value)| spec[key] = value);
    }
    object(head(fleet, ("v1", "Service"), part, part), spec)
}
