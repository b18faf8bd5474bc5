//! What runs where. Here: the shared fleet as Kubernetes objects, from values that others have read ([`render`]). Nothing here
//! speaks to a cluster.
//!
//! Equal input gives equal bytes. No object holds a secret: what is one is named by reference ([`Fleet::secrets`]), and the
//! operator makes it. An object of ours says so in its labels, a file of ours in its first line ([`MARK`]).

mod check;
mod fleet;
mod objects;
pub mod quantity;
pub mod quota;
mod refusal;
#[cfg(test)]
mod tests;
pub mod yaml;

pub use check::is_image_exact;
pub use fleet::{
    ControlPlane, Door, Fleet, Gateways, Networks, Peer, Probing, Secret, Size, Workload, workload_name,
};
pub use refusal::{CONFIG_MAP_BYTES_MAX, RenderError};
use serde_json::{Value, json};

/// First line of every file that is ours.
pub const MARK: &str = "# Written by `rowhouse deploy render`. Changes here are lost with the next run.";
/// Ports of our own pods: tenants' requests, the same over TLS, the control API, health and metrics, the door for nodes.
pub const PORT_GATEWAY: u16 = 8080;
/// See [`PORT_GATEWAY`].
pub const PORT_TLS: u16 = 8443;
/// See [`PORT_GATEWAY`].
pub const PORT_CONTROL: u16 = 8081;
/// See [`PORT_GATEWAY`].
pub const PORT_ADMIN: u16 = 8082;
/// See [`PORT_GATEWAY`].
pub const PORT_NODES: u16 = 8083;
/// Where our pods keep what they keep. A folder of the volume, not the volume itself: its root belongs to root, and whoever
/// keeps secrets in a folder must be able to close it.
pub const DATA_DIR: &str = "/var/lib/rowhouse/data";
/// The volume.
pub const VOLUME: &str = "/var/lib/rowhouse";
/// Settings of a pod.
pub const SETTINGS_FILE: &str = "/etc/rowhouse/rowhouse.toml";
/// The catalogue that an empty installation is filled with.
pub const CATALOG_FILE: &str = "/etc/rowhouse/catalog.json";
/// Certificates of the gateways.
pub const CERTIFICATES: &str = "/etc/rowhouse-certificates";
/// Tokens that gateways enrol with, by node.
pub const ENROLMENT: &str = "/etc/rowhouse-enrolment";
/// The mail server's password.
pub const MESSAGES_PASSWORD_FILE: &str = "/etc/rowhouse-messages/password";

/// How the files are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Files for `kubectl apply -f DIR`.
    Yaml,
    /// The same with a `kustomization.yaml`, for `kubectl apply -k DIR`, or as a base.
    Kustomize,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, without a folder; in the order in which they are applied.
    pub name: String,
    /// All of it, with [`MARK`] in front.
    pub text: String,
}

/// The files of a fleet, in their order.
///
/// # Errors
/// See [`RenderError`].
pub fn render(fleet: &Fleet, format: Format) -> Result<Vec<File>, RenderError> {
    let mut fleet = fleet.clone();
    // The order in which a catalogue names its services says nothing.
    fleet.workloads.sort_by(|one, other| one.name.cmp(&other.name));
    let fleet = &fleet;
    check::fleet(fleet)?;
    let rollout = quota::plan(fleet, &fleet.quota)?;
    let mut files = vec![
        file("00-namespace.yaml", &objects::namespace(fleet)),
        file("10-network.yaml", &objects::network(fleet)),
        file("20-control.yaml", &objects::control(fleet)),
        file("30-gateway.yaml", &objects::gateway(fleet)),
    ];
    for workload in &fleet.workloads {
        let name = format!("40-service-{}.yaml", workload.name);
        files.push(file(&name, &objects::service(fleet, workload, rollout)));
    }
    if format == Format::Kustomize {
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        let whole = json!({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": names});
        files.push(file("kustomization.yaml", &[whole]));
    }
    Ok(files)
}

fn file(name: &str, objects: &[Value]) -> File {
    let documents: Vec<String> = objects.iter().map(yaml::document).collect();
    File { name: name.to_owned(), text: format!("{MARK}\n{}", documents.join("---\n")) }
}
