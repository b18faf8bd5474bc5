//! The settings of a pod: what the operator's file says, with what follows from where the pod runs in its place, and without
//! what is a secret.

use std::path::{Path, PathBuf};

use rowhouse_domain::deploy::{
    CATALOG_FILE, CERTIFICATES, DATA_DIR, Fleet, MESSAGES_PASSWORD_FILE, PORT_ADMIN, PORT_CONTROL,
    PORT_GATEWAY, PORT_NODES, PORT_TLS, VOLUME,
};
use toml::{Table, Value};

use crate::config::Config;

/// The settings file names what no pod has.
#[derive(Debug, thiserror::Error)]
#[error("{setting} names `{path}`, which no pod has: {cure}")]
pub struct NoSuchFile {
    setting: &'static str,
    path: String,
    cure: &'static str,
}

/// What to do about a folder that a pod cannot write.
const ON_VOLUME: &str = "leave it out, or name a folder under /var/lib/rowhouse";
/// Sections that a gateway of its own reads.
const OF_GATEWAYS: [&str; 5] = ["gateway", "journal", "limits", "server", "telemetry"];

/// Settings of the control plane.
///
/// # Errors
/// If a file is named that the pod has not.
pub fn control(config: &Config, own: &Table, fleet: &Fleet, public_url: &str) -> Result<String, NoSuchFile> {
    refuse_files(config)?;
    let mut all = own.clone();
    remove(&mut all, "deploy", "kubernetes");
    for (section, key) in [
        ("database", "url"),
        ("database", "os_user"),
        ("limits", "store_url"),
        ("server", "tls_listen"),
        ("server", "tls_certificates"),
    ] {
        remove(&mut all, section, key);
    }
    common(&mut all);
    put(&mut all, "server", "control_listen", any(PORT_CONTROL));
    put(&mut all, "server", "node_listen", any(PORT_NODES));
    put(&mut all, "server", "node", fleet.control_name());
    put(&mut all, "server", "public_url", public_url);
    put(&mut all, "catalog", "path", CATALOG_FILE);
    if config.messages.password_file.is_some() {
        put(&mut all, "messages", "password_file", MESSAGES_PASSWORD_FILE);
    }
    Ok(text(&all))
}

/// Settings of the gateways: what they read, the control plane they follow, a journal that fits their volume.
pub fn gateway(config: &Config, own: &Table, fleet: &Fleet) -> String {
    let mut all: Table = own
        .iter()
        .filter(|(section, _)| OF_GATEWAYS.contains(&section.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    remove(&mut all, "limits", "store_url");
    for key in ["control_listen", "node_listen", "public_url", "node"] {
        remove(&mut all, "server", key);
    }
    remove(&mut all, "gateway", "enrolment_file");
    common(&mut all);
    put(&mut all, "server", "gateway_listen", any(PORT_GATEWAY));
    if config.server.tls_listen.is_some() {
        put(&mut all, "server", "tls_listen", any(PORT_TLS));
        put(&mut all, "server", "tls_certificates", CERTIFICATES);
    }
    let control = format!("{}:{PORT_NODES}", fleet.control_name());
    put(&mut all, "gateway", "control", Value::Array(vec![control.into()]));
    if config.journal.size_mib_max.is_none() {
        let mib = i64::try_from(fleet.gateway.storage.mib() / 4 * 3).unwrap_or(i64::MAX);
        put(&mut all, "journal", "size_mib_max", mib);
    }
    text(&all)
}

fn common(all: &mut Table) {
    put(all, "server", "admin_listen", any(PORT_ADMIN));
    put(all, "server", "data_dir", DATA_DIR);
}

/// What can only be a file of the machine that renders.
fn refuse_files(config: &Config) -> Result<(), NoSuchFile> {
    const IMAGE: &str = "put it into the image and name it there, under /usr/share or /etc/ssl";
    const SMS: &str = "what a provider of text messages is shown is not rendered yet";
    const KEYS: &str = "keys that gateways show are not rendered yet";
    let on_volume: fn(&Path) -> bool = |path| path.starts_with(VOLUME);
    let nowhere: fn(&Path) -> bool = |_| false;
    let (messages, limits) = (&config.messages, &config.limits);
    let certificate = limits.store_certificate.as_ref().map(PathBuf::from);
    let named = [
        ("messages.templates", &messages.templates, in_image as fn(&Path) -> bool, IMAGE),
        ("outbound.authorities", &config.outbound.authorities, in_image, IMAGE),
        ("limits.store_authorities", &limits.store_authorities, in_image, IMAGE),
        ("limits.store_certificate", &certificate, nowhere, KEYS),
        ("server.upstream_certificates", &config.server.upstream_certificates, nowhere, KEYS),
        ("messages.sms_authorization_file", &messages.sms_authorization_file, nowhere, SMS),
        ("messages.folder", &messages.folder, on_volume, ON_VOLUME),
        ("lifecycle.backup_directory", &config.lifecycle.backup_directory, on_volume, ON_VOLUME),
    ];
    for (setting, path, fits, cure) in named {
        if let Some(path) = path.as_ref().filter(|path| !fits(path)) {
            return Err(NoSuchFile { setting, path: path.display().to_string(), cure });
        }
    }
    Ok(())
}

/// Folders that an image brings along.
fn in_image(path: &Path) -> bool {
    path.starts_with("/usr/share") || path.starts_with("/etc/ssl")
}

fn any(port: u16) -> String {
    format!("0.0.0.0:{port}")
}

fn put(all: &mut Table, section: &str, key: &str, value: impl Into<Value>) {
    let section = all.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Some(section) = section.as_table_mut() {
        section.insert(key.to_owned(), value.into());
    }
}

fn remove(all: &mut Table, section: &str, key: &str) {
    let Some(own) = all.get_mut(section).and_then(Value::as_table_mut) else { return };
    own.remove(key);
    if own.is_empty() {
        all.remove(section);
    }
}

fn text(all: &Table) -> String {
    toml::to_string(all).expect("settings that were read can be written")
}
