//! The namespace, closed to pods that are not restricted, and its quota if there is one.

use serde_json::{Value, json};

use super::super::fleet::Fleet;
use super::{head, object};

/// Namespace and quota.
pub(in super::super) fn namespace(fleet: &Fleet) -> Vec<Value> {
    let mut labels = json!({
        "app.kubernetes.io/managed-by": "rowhouse",
        "app.kubernetes.io/part-of": fleet.product,
        "environment": fleet.environment,
        "tenant-isolation": "enabled",
    });
    for mode in ["enforce", "audit", "warn"] {
        labels[format!("pod-security.kubernetes.io/{mode}")] = json!("restricted");
        labels[format!("pod-security.kubernetes.io/{mode}-version")] = json!(fleet.pod_security_version);
    }
    let name = fleet.namespace();
    let mut all =
        vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})];
    if !fleet.quota.is_empty() {
        let quota = head(fleet, ("v1", "ResourceQuota"), &fleet.product, &fleet.product);
        all.push(object(quota, json!({ "hard": fleet.quota })));
    }
    all
}
