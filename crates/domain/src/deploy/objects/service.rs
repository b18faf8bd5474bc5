//! A service of the catalogue: copies that serve all shared tenants, behind one address.

use serde_json::{Map, Value, json};

use super::super::PORT_CONTROL;
use super::super::fleet::{Fleet, Probing, Workload};
use super::super::quota::Rollout;
use super::{account, cluster_service, disruption_budget, head, object, pod, selector};

/// How long a copy may take to end, in seconds.
const GRACE_S: u64 = 45;

/// Account, Service, Deployment, budget.
pub(in super::super) fn service(fleet: &Fleet, own: &Workload, rollout: Rollout) -> Vec<Value> {
    vec![
        account(fleet, &own.name),
        cluster_service(fleet, &own.name, &[("http", own.port, "http")], json!({})),
        deployment(fleet, own, rollout),
        disruption_budget(fleet, &own.name),
    ]
}

fn deployment(fleet: &Fleet, own: &Workload, rollout: Rollout) -> Value {
    let mut more = probes(&own.probing, own.port);
    more.insert("ports".to_owned(), json!([pod::port_of("http", own.port)]));
    more.insert("env".to_owned(), json!(variables(fleet, own)));
    more.insert("lifecycle".to_owned(), pod::last_moment());
    more.insert("volumeMounts".to_owned(), json!([{"name": "tmp", "mountPath": "/tmp"}]));
    if let Some(secret) = &own.env_secret {
        more.insert("envFrom".to_owned(), json!([{"secretRef": {"name": secret}}]));
    }
    let container = pod::container(&own.name, &own.image, own.size, Value::Object(more));
    let inner = json!({"containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]});
    let surge = rollout.surge(own.replicas);
    let spec = json!({
        "replicas": own.replicas,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector(fleet, &own.name)},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": u32::from(surge == 0)},
        },
        "template": pod::template(fleet, &own.name, "service", GRACE_S, inner),
    });
    let mut head = head(fleet, ("apps/v1", "Deployment"), &own.name, &own.name);
    head["metadata"]["labels"]["rowhouse.io/service"] = json!(own.service);
    object(head, spec)
}

/// What a copy is told of where it runs; its own variables behind.
fn variables(fleet: &Fleet, own: &Workload) -> Vec<Value> {
    let listen = format!("0.0.0.0:{}", own.port);
    let control = format!("http://{}:{PORT_CONTROL}", fleet.control_name());
    let fixed = [
        ("TENANT_RESOLUTION_MODE", "multi-tenant"),
        ("DATABASE_MODE", "multi-tenant"),
        ("ISOLATION_LEVEL", "shared"),
        ("LISTEN", listen.as_str()),
        ("ROWHOUSE_URL", control.as_str()),
    ];
    let others = own.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // `$(NAME)` in a value would be replaced: a dollar is a dollar.
    let all = fixed.into_iter().chain(others);
    all.map(|(name, value)| json!({"name": name, "value": value.replace("$(", "$$(")})).collect()
}

/// The times of the service default: alive from 30 s on every 10 s, ready from 5 s on every 5 s; where it says when it has
/// started, that instead of the delays.
fn probes(probing: &Probing, port: u16) -> Map<String, Value> {
    let http = |path: &str| json!({"httpGet": {"path": path, "port": "http"}});
    let (live, ready, startup) = match probing {
        Probing::Http { live, ready, startup } => (http(live), http(ready), startup.as_deref().map(http)),
        Probing::Grpc => (json!({"grpc": {"port": port}}), json!({"grpc": {"port": port}}), None),
        Probing::Tcp => {
            (json!({"tcpSocket": {"port": "http"}}), json!({"tcpSocket": {"port": "http"}}), None)
        }
    };
    let timed = |mut probe: Value, delay_s: u32, period_s: u32| {
        probe["periodSeconds"] = json!(period_s);
        probe["timeoutSeconds"] = json!(5);
        if startup.is_none() {
            probe["initialDelaySeconds"] = json!(delay_s);
        }
        probe
    };
    let mut all = Map::new();
    all.insert("livenessProbe".to_owned(), timed(live, 30, 10));
    all.insert("readinessProbe".to_owned(), timed(ready, 5, 5));
    if let Some(mut startup) = startup.clone() {
        startup["periodSeconds"] = json!(5);
        startup["timeoutSeconds"] = json!(5);
        startup["failureThreshold"] = json!(60);
        all.insert("startupProbe".to_owned(), startup);
    }
    all
}
