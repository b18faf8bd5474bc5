//! The gateways: each pod is a node of its own, under its own name, with its own keys and journal on its own volume.

use serde_json::{Value, json};

use super::super::fleet::{Door, Fleet};
use super::super::{CERTIFICATES, ENROLMENT, PORT_GATEWAY, PORT_TLS};
use super::{account, cluster_service, config_map, disruption_budget, head, object, pod, selector};

/// Account, settings, Service, pods, budget.
pub(in super::super) fn gateway(fleet: &Fleet) -> Vec<Value> {
    let name = fleet.gateway_name();
    let (settings, settings_object) =
        config_map(fleet, &name, &[("rowhouse.toml", fleet.gateway.settings.as_str())]);
    let mut ports = vec![("http", 80, "http")];
    if fleet.gateway.tls {
        ports.push(("https", 443, "https"));
    }
    let more = match fleet.gateway.door {
        Door::ClusterIp => json!({}),
        // So that the address of who calls arrives, and no node passes on what is for another.
        Door::LoadBalancer => json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
    };
    vec![
        account(fleet, &name),
        settings_object,
        cluster_service(fleet, &name, &ports, more),
        stateful_set(fleet, &name, &settings),
        disruption_budget(fleet, &name),
    ]
}

fn stateful_set(fleet: &Fleet, name: &str, settings: &str) -> Value {
    let own = &fleet.gateway;
    let mut env = vec![
        // A pod's name is for ever its own, and so is a node's.
        json!({"name": "ROWHOUSE_SERVER__NODE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        json!({"name": "ROWHOUSE_GATEWAY__ENROLMENT_FILE", "value": format!("{ENROLMENT}/$(ROWHOUSE_SERVER__NODE)")}),
    ];
    let mut mounts = vec![json!({"name": "enrolment", "mountPath": ENROLMENT, "readOnly": true})];
    // Read once; whoever is enrolled needs it no more, and the Secret may go.
    let mut volumes = vec![pod::secret_volume("enrolment", &fleet.secret("gateway-enrolment"), true)];
    let mut ports = vec![("http", PORT_GATEWAY)];
    if own.store {
        env.push(pod::from_secret("ROWHOUSE_LIMITS__STORE_URL", &fleet.secret("limits-store"), "url"));
    }
    if own.tls {
        ports.push(("https", PORT_TLS));
        mounts.push(json!({"name": "certificates", "mountPath": CERTIFICATES, "readOnly": true}));
        volumes.push(pod::secret_volume("certificates", &fleet.secret("gateway-tls"), false));
    }
    let mut container = pod::own_container(fleet, ("gateway", own.size), &ports, env, mounts);
    container["lifecycle"] = pod::last_moment();
    let more = json!({"containers": [container], "volumes": pod::own_volumes(settings, volumes)});
    let mut spec = json!({
        "replicas": own.replicas,
        "serviceName": name,
        "revisionHistoryLimit": 3,
        // None waits for another: the first starts of all need tokens, and serve without one another.
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": selector(fleet, name)},
        "template": pod::template(fleet, name, "gateway", own.grace_s, more),
        "volumeClaimTemplates": [pod::claim(fleet, own.storage)],
    });
    if own.first > 0 {
        spec["ordinals"] = json!({"start": own.first});
    }
    object(head(fleet, ("apps/v1", "StatefulSet"), name, name), spec)
}
