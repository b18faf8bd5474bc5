//! What a fleet must be to become objects that a cluster takes, found before anything is written.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::fleet::{Fleet, Size, Workload};
use super::quantity::Bytes;
use super::refusal::{CONFIG_MAP_BYTES_MAX, RenderError};

/// Longest product and environment: the name of a node, `<product>-gateway-99`, has 39 letters at most.
const PRODUCT_MAX: usize = 28;
/// Longest name of a Service (RFC 1035 label).
const LABEL_MAX: usize = 63;
/// Longest name of a workload: its pods and objects add to it.
const WORKLOAD_MAX: usize = 52;
/// Never reached from a pod of ours: where clouds give credentials away, and the same written as IPv6.
const NEVER: [&str; 3] = ["169.254.0.0/16", "fe80::/10", "::ffff:0:0/96"];
/// All but what must be asked for by name.
pub(super) const ANYWHERE: &str = "anywhere";
/// Variables that the fleet sets.
pub(super) const OWN_VARIABLES: [&str; 5] =
    ["TENANT_RESOLUTION_MODE", "DATABASE_MODE", "ISOLATION_LEVEL", "LISTEN", "ROWHOUSE_URL"];
/// Least memory of a volume.
const VOLUME_MIN: Bytes = Bytes::gib(1);

/// Everything about a fleet but its quota.
pub(super) fn fleet(fleet: &Fleet) -> Result<(), RenderError> {
    label("the product", &fleet.product, PRODUCT_MAX)?;
    label("the environment", &fleet.environment, LABEL_MAX - 1 - fleet.product.len())?;
    image("Rowhouse", &fleet.image)?;
    let version = fleet.pod_security_version.strip_prefix("v1.");
    if !version.is_some_and(|minor| {
        !minor.is_empty() && minor.len() <= 3 && minor.bytes().all(|c| c.is_ascii_digit())
    }) {
        return Err(RenderError::PodSecurityVersion(fleet.pod_security_version.clone()));
    }
    bounds("deploy.kubernetes.gateways", fleet.gateway.replicas.into(), 2, 100)?;
    let last = u64::from(fleet.gateway.first) + u64::from(fleet.gateway.replicas) - 1;
    bounds("the number of the last gateway", last, 1, 99)?;
    size("the control plane", fleet.control.size)?;
    size("a gateway", fleet.gateway.size)?;
    for (what, storage) in [
        ("deploy.kubernetes.control_storage (MiB)", fleet.control.storage),
        ("deploy.kubernetes.gateway_storage (MiB)", fleet.gateway.storage),
    ] {
        bounds(what, storage.mib(), VOLUME_MIN.mib(), u64::MAX)?;
    }
    let texts = fleet.control.settings.len() + fleet.control.catalog.len();
    if texts > CONFIG_MAP_BYTES_MAX {
        return Err(RenderError::TooLarge { what: "the catalogue with the settings", bytes: texts });
    }
    objects(fleet)?;
    fleet.workloads.iter().try_for_each(workload)?;
    networks(fleet)
}

/// No two objects of one name, and all of them names.
fn objects(fleet: &Fleet) -> Result<(), RenderError> {
    let mut taken = BTreeSet::from([fleet.control_name(), fleet.gateway_name()]);
    for workload in &fleet.workloads {
        label("the service", &workload.name, WORKLOAD_MAX)?;
        if !taken.insert(workload.name.clone()) {
            return Err(RenderError::Twice(workload.name.clone()));
        }
    }
    let others = [&fleet.networks.monitoring_namespace, &fleet.networks.proxy_namespace];
    others.into_iter().flatten().try_for_each(|name| label("the namespace", name, LABEL_MAX))?;
    let class = fleet.storage_class.iter().try_for_each(|name| label("the storage class", name, LABEL_MAX));
    class.and_then(|()| fleet.pull_secrets.iter().try_for_each(|name| label("the Secret", name, LABEL_MAX)))
}

fn workload(own: &Workload) -> Result<(), RenderError> {
    let what = format!("the service `{}`", own.name);
    image(&what, &own.image)?;
    bounds(&format!("replicas of {what}"), own.replicas.into(), 1, 1_000)?;
    bounds(&format!("the port of {what}"), own.port.into(), 1_024, 65_535)?;
    size(&what, own.size)?;
    own.env_secret.iter().try_for_each(|name| label("the Secret", name, LABEL_MAX))?;
    for name in own.env.keys() {
        let wrong = |why| RenderError::Variable { what: what.clone(), name: name.clone(), why };
        if OWN_VARIABLES.contains(&name.as_str()) {
            return Err(wrong("is set by the fleet"));
        }
        if !is_variable(name) {
            return Err(wrong("is no name of a variable"));
        }
        if says_secret(name) {
            return Err(wrong(
                "looks like a secret, and no file here holds one: put it into a Secret and name that (`env_secret`)",
            ));
        }
    }
    Ok(())
}

/// Whether a variable's name says that its value is a secret.
fn says_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words = [
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "TOKEN",
        "API_KEY",
        "APIKEY",
        "PRIVATE_KEY",
        "CREDENTIAL",
        "DATABASE_URL",
    ];
    words.iter().any(|word| name.contains(word))
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn networks(fleet: &Fleet) -> Result<(), RenderError> {
    let own = &fleet.networks;
    let lists = [
        ("deploy.kubernetes.database_networks", &own.database.networks),
        ("deploy.kubernetes.store_networks", &own.store.networks),
        ("deploy.kubernetes.mail_networks", &own.mail.networks),
    ];
    for (setting, network) in lists.iter().flat_map(|(setting, list)| list.iter().map(|n| (*setting, n))) {
        reached(setting, network)?;
    }
    for name in own.egress.iter().filter(|name| *name != ANYWHERE) {
        reached("deploy.kubernetes.egress", name)?;
    }
    own.clients.iter().try_for_each(|name| network("deploy.kubernetes.clients", name).map(drop))
}

/// A network that pods go to.
fn reached(setting: &'static str, text: &str) -> Result<(), RenderError> {
    let network = network(setting, text)?;
    let never = NEVER.iter().filter_map(|never| never.parse::<IpNet>().ok());
    for never in never {
        if never.contains(&network) || network.contains(&never) {
            return Err(RenderError::LinkLocal { setting, network: text.to_owned() });
        }
    }
    Ok(())
}

fn network(setting: &'static str, text: &str) -> Result<IpNet, RenderError> {
    let parsed = text.parse::<IpNet>().ok().filter(|network| network.trunc() == *network);
    parsed.ok_or_else(|| RenderError::Network { setting, network: text.to_owned() })
}

fn label(what: &'static str, name: &str, most: usize) -> Result<(), RenderError> {
    let good = name.len() <= most
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if good { Ok(()) } else { Err(RenderError::Name { what, name: name.to_owned(), most }) }
}

fn image(what: &str, image: &str) -> Result<(), RenderError> {
    if is_image_exact(image) {
        return Ok(());
    }
    Err(RenderError::Image { what: what.to_owned(), image: image.to_owned() })
}

/// Whether an image's name says which one it is: by a tag that is not `latest`, or by its digest.
pub fn is_image_exact(image: &str) -> bool {
    let sane = image.chars().all(|c| c.is_ascii_alphanumeric() || "./-_:@".contains(c));
    let last = image.rsplit('/').next().unwrap_or("");
    let by_digest = last.split_once("@sha256:").is_some_and(|(name, digest)| {
        !name.is_empty() && digest.len() == 64 && digest.bytes().all(|c| c.is_ascii_hexdigit())
    });
    let by_tag = last.split_once(':').is_some_and(|(name, tag)| {
        !name.is_empty()
            && !name.contains('@')
            && !tag.is_empty()
            && tag != "latest"
            && !tag.contains(['@', ':'])
    });
    sane && (by_digest || by_tag)
}

fn bounds(what: &str, found: u64, least: u64, most: u64) -> Result<(), RenderError> {
    match (least..=most).contains(&found) {
        true => Ok(()),
        false => Err(RenderError::Bounds { what: what.to_owned(), found, least, most }),
    }
}

fn size(what: &str, own: Size) -> Result<(), RenderError> {
    let wrong = |resource, asked: String, most: String| RenderError::Size {
        what: what.to_owned(),
        resource,
        asked,
        most,
    };
    if own.cpu > own.cpu_max {
        return Err(wrong("cpu", own.cpu.to_string(), own.cpu_max.to_string()));
    }
    if own.memory > own.memory_max {
        return Err(wrong("memory", own.memory.to_string(), own.memory_max.to_string()));
    }
    Ok(())
}
