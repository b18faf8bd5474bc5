//! What all pods have: no rights, no root, nothing to write but what is mounted.

use serde_json::{Map, Value, json};

use super::super::fleet::{Fleet, Size};
use super::super::{PORT_ADMIN, SETTINGS_FILE, VOLUME};
use super::selector;

/// Whom everything runs as. The image names this user in its `/etc/passwd`: PostgreSQL wants to know who it is.
const USER: u32 = 10_001;

/// Labels and everything of a pod but its containers and volumes, which `more` gives.
pub(super) fn template(fleet: &Fleet, part: &str, role: &str, grace_s: u64, more: Value) -> Value {
    let mut labels = selector(fleet, part);
    labels["app.kubernetes.io/managed-by"] = json!("rowhouse");
    labels["environment"] = json!(fleet.environment);
    labels["rowhouse.io/role"] = json!(role);
    let mut spec = json!({
        "serviceAccountName": part,
        "automountServiceAccountToken": false,
        // Variables named after Services would look like settings.
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            // Otherwise each mount would open all files to the group, and PostgreSQL starts on no such folder.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": grace_s,
        "topologySpreadConstraints": [
            spread(fleet, part, "topology.kubernetes.io/zone"),
            spread(fleet, part, "kubernetes.io/hostname"),
        ],
    });
    if !fleet.pull_secrets.is_empty() {
        let names: Vec<_> = fleet.pull_secrets.iter().map(|name| json!({ "name": name })).collect();
        spec["imagePullSecrets"] = json!(names);
    }
    if let Value::Object(more) = more {
        more.into_iter().for_each(|(key, value)| spec[key] = value);
    }
    json!({"metadata": {"labels": labels}, "spec": spec})
}

fn spread(fleet: &Fleet, part: &str, over: &str) -> Value {
    json!({
        "maxSkew": 1,
        "topologyKey": over,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(fleet, part)},
    })
}

/// A container, with what `more` gives.
pub(super) fn container(name: &str, image: &str, size: Size, more: Value) -> Value {
    let mut own = json!({
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {
            "requests": {"cpu": size.cpu, "memory": size.memory},
            "limits": {"cpu": size.cpu_max, "memory": size.memory_max},
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
        },
    });
    if let Value::Object(more) = more {
        more.into_iter().for_each(|(key, value)| own[key] = value);
    }
    own
}

/// Before a pod is told to end, the news that it ends gets round. The kubelet waits; the image needs no program for it.
pub(super) fn last_moment() -> Value {
    json!({"preStop": {"sleep": {"seconds": 5}}})
}

/// Probes of our own pods, on their listener for health. One that waits for others (a directory, a control plane) lives and is
/// not ready: ending it would cure nothing.
pub(super) fn own_probes() -> Map<String, Value> {
    let ask = |path: &str| json!({"path": path, "port": "admin"});
    let probes = json!({
        "startupProbe": {"httpGet": ask("/health/live"), "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 120},
        "livenessProbe": {"httpGet": ask("/health/live"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {"httpGet": ask("/health/ready"), "periodSeconds": 5, "timeoutSeconds": 5},
    });
    match probes {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A container of Rowhouse in a role: its command, ports, probes; variables, and what is mounted beside volume and settings.
pub(super) fn own_container(
    fleet: &Fleet,
    (role, size): (&str, Size),
    ports: &[(&str, u16)],
    env: Vec<Value>,
    mounts: Vec<Value>,
) -> Value {
    let admin = ("admin", PORT_ADMIN);
    let ports: Vec<_> = ports.iter().chain([&admin]).map(|(name, port)| port_of(name, *port)).collect();
    let mut all_env = vec![json!({"name": "ROWHOUSE_CONFIG", "value": SETTINGS_FILE})];
    all_env.extend(env);
    let settings_folder = SETTINGS_FILE.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let mut all_mounts = vec![
        json!({"name": "data", "mountPath": VOLUME}),
        json!({"name": "settings", "mountPath": settings_folder, "readOnly": true}),
        json!({"name": "tmp", "mountPath": "/tmp"}),
    ];
    all_mounts.extend(mounts);
    let mut more = own_probes();
    more.insert("args".to_owned(), json!(["serve", "--role", role]));
    more.insert("command".to_owned(), json!(["rowhouse"]));
    more.insert("ports".to_owned(), json!(ports));
    more.insert("env".to_owned(), json!(all_env));
    more.insert("volumeMounts".to_owned(), json!(all_mounts));
    container("rowhouse", &fleet.image, size, Value::Object(more))
}

pub(super) fn port_of(name: &str, port: u16) -> Value {
    json!({"name": name, "containerPort": port, "protocol": "TCP"})
}

/// A variable whose value is a key of a Secret.
pub(super) fn from_secret(variable: &str, secret: &str, key: &str) -> Value {
    json!({"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
}

/// A volume of a Secret.
pub(super) fn secret_volume(volume: &str, secret: &str, optional: bool) -> Value {
    json!({"name": volume, "secret": {"secretName": secret, "defaultMode": 0o400, "optional": optional}})
}

/// Volumes of all our own pods: settings, and what is thrown away.
pub(super) fn own_volumes(config_map: &str, more: Vec<Value>) -> Value {
    let mut all = vec![
        json!({"name": "settings", "configMap": {"name": config_map, "defaultMode": 0o444}}),
        json!({"name": "tmp", "emptyDir": {}}),
    ];
    all.extend(more);
    json!(all)
}

/// The volume that a pod keeps for ever.
pub(super) fn claim(fleet: &Fleet, storage: super::super::quantity::Bytes) -> Value {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}});
    if let Some(class) = &fleet.storage_class {
        spec["storageClassName"] = json!(class);
    }
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec})
}
