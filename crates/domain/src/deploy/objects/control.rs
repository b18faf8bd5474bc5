//! The control plane: one pod with its volume. There is one because there is one writer; while it is away gateways serve on.

use serde_json::{Value, json};

use super::super::fleet::Fleet;
use super::super::{MESSAGES_PASSWORD_FILE, PORT_CONTROL, PORT_NODES};
use super::{account, cluster_service, config_map, head, object, pod, selector};

/// Account, settings, Service, pod.
pub(in super::super) fn control(fleet: &Fleet) -> Vec<Value> {
    let name = fleet.control_name();
    let files = [
        ("rowhouse.toml", fleet.control.settings.as_str()),
        ("catalog.json", fleet.control.catalog.as_str()),
    ];
    let (settings, settings_object) = config_map(fleet, &name, &files);
    let ports = [("control", PORT_CONTROL, "control"), ("nodes", PORT_NODES, "nodes")];
    vec![
        account(fleet, &name),
        settings_object,
        cluster_service(fleet, &name, &ports, json!({})),
        stateful_set(fleet, &name, &settings),
    ]
}

fn stateful_set(fleet: &Fleet, name: &str, settings: &str) -> Value {
    let own = &fleet.control;
    let mut env = Vec::new();
    let mut mounts = Vec::new();
    let mut volumes = Vec::new();
    if own.outside_database {
        env.push(pod::from_secret("ROWHOUSE_DATABASE__URL", &fleet.secret("database"), "url"));
    } else {
        // PostgreSQL's shared memory beyond its own; counted against the pod's memory.
        mounts.push(json!({"name": "shared-memory", "mountPath": "/dev/shm"}));
        volumes
            .push(json!({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}}));
    }
    if own.messages_password {
        let folder = MESSAGES_PASSWORD_FILE.rsplit_once('/').map_or("/", |(folder, _)| folder);
        mounts.push(json!({"name": "messages", "mountPath": folder, "readOnly": true}));
        volumes.push(pod::secret_volume("messages", &fleet.secret("messages"), false));
    }
    let ports = [("control", PORT_CONTROL), ("nodes", PORT_NODES)];
    let container = pod::own_container(fleet, ("control", own.size), &ports, env, mounts);
    let more = json!({"containers": [container], "volumes": pod::own_volumes(settings, volumes)});
    let spec = json!({
        "replicas": 1,
        "serviceName": name,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector(fleet, name)},
        "template": pod::template(fleet, name, "control", own.grace_s, more),
        "volumeClaimTemplates": [pod::claim(fleet, own.storage)],
    });
    object(head(fleet, ("apps/v1", "StatefulSet"), name, name), spec)
}
