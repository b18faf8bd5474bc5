//! Whether a process could be started with the settings: all that can be said without starting anything. `serve` asks this first, and
//! `rowhouse config check` asks nothing else, so that they agree. Each fault is told, not the first alone.

use std::net::SocketAddr;

use anyhow::bail;

use super::{assemble, mail, telemetry};
use crate::config::Config;

/// Letters and digits of a region's name; it stands in API keys.
const REGION: std::ops::RangeInclusive<usize> = 2..=8;

/// # Errors
/// Every setting that cannot be used, a line each.
pub fn check(config: &Config) -> anyhow::Result<()> {
    let data_dir = config.server.data_dir();
    let mut faults: Vec<String> = [
        telemetry::chosen(&config.telemetry).map(drop),
        mail::post_settings(&config.messages, &data_dir).map(drop),
        assemble::limit_store(&config.limits).map(drop),
        rowhouse_store::server::check_settings(&config.database.settings).map_err(Into::into),
    ]
    .into_iter()
    .filter_map(Result::err)
    .map(|error| format!("{error:#}"))
    .collect();
    faults.extend(names(config));
    faults.extend(ranges(config));
    faults.extend(shared_doors(config));
    if config.server.tls_listen.is_some() {
        let folder = config.server.tls_certificates(&data_dir);
        if let Err(error) = std::fs::read_dir(&folder) {
            let folder = folder.display();
            faults
                .push(format!("server.tls_listen needs certificates, and {folder} cannot be read: {error}"));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!("the settings do not hold:\n  {}", faults.join("\n  "))
}

fn names(config: &Config) -> Option<String> {
    let region = &config.server.region;
    let plain = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let fits = plain && REGION.contains(&region.len());
    (!fits).then(|| format!("server.region is `{region}`; it is 2 to 8 lower-case letters and digits"))
}

fn ranges(config: &Config) -> Vec<String> {
    let deploy = &config.deploy;
    let backwards = |name: &str, (first, last): (u32, u32)| {
        (first > last)
            .then(|| format!("{name} begins with {first} and ends with {last}: the first comes first"))
    };
    let (first, last) = deploy.port_range;
    let mut faults: Vec<String> =
        backwards("deploy.port_range", (first.into(), last.into())).into_iter().collect();
    faults.extend(backwards("deploy.user_ids", deploy.user_ids));
    let is_root = |(service, _): (&String, &u32)| {
        format!("deploy.service_users gives `{service}` the user id 0, which is root's")
    };
    faults.extend(deploy.service_users.iter().filter(|(_, id)| **id == 0).map(is_root));
    faults
}

/// Doors at one address and port; port 0 is whichever is free.
fn shared_doors(config: &Config) -> Vec<String> {
    let server = &config.server;
    let doors = [
        ("server.gateway_listen", Some(server.gateway_listen)),
        ("server.tls_listen", server.tls_listen),
        ("server.control_listen", Some(server.control_listen)),
        ("server.node_listen", server.node_listen),
        ("server.admin_listen", Some(server.admin_listen)),
    ];
    let doors: Vec<(&str, SocketAddr)> =
        doors.into_iter().filter_map(|(name, at)| at.map(|at| (name, at))).collect();
    let mut faults = Vec::new();
    for (at, (name, address)) in doors.iter().enumerate() {
        for (other, own) in doors[at + 1..].iter().filter(|(_, own)| overlap(address, own)) {
            faults.push(format!("{name} and {other} both listen on {own}"));
        }
    }
    faults
}

fn overlap(a: &SocketAddr, b: &SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (everywhere || a.ip() == b.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn told(settings: &[(&str, &str)]) -> String {
        let variables = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = load(None, variables).expect("settings of the right form");
        check(&config).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_a_start_would_refuse_is_said_before() {
        assert_eq!(told(&[]), "");
        for (settings, words) in [
            (&[("ROWHOUSE_SERVER__REGION", "EU-West")][..], "2 to 8 lower-case letters and digits"),
            (&[("ROWHOUSE_MESSAGES__TRANSPORT", "smtp")], "messages.host is missing"),
            (
                &[("ROWHOUSE_DATABASE__SETTINGS", "[\"fsync = off\"]")],
                "database.settings: fsync = off could lose data",
            ),
            (
                &[("ROWHOUSE_SERVER__CONTROL_LISTEN", "127.0.0.1:8080")],
                "server.gateway_listen and server.control_listen",
            ),
            (
                &[("ROWHOUSE_SERVER__CONTROL_LISTEN", "0.0.0.0:8082")],
                "server.control_listen and server.admin_listen",
            ),
            (&[("ROWHOUSE_DEPLOY__PORT_RANGE", "[3000, 2000]")], "the first comes first"),
            (&[("ROWHOUSE_DEPLOY__SERVICE_USERS", "{ quill = 0 }")], "which is root's"),
            (&[("ROWHOUSE_TELEMETRY__LOG_FORMAT", "xml")], "`text` or `json`"),
            (
                &[
                    ("ROWHOUSE_SERVER__TLS_LISTEN", "127.0.0.1:8443"),
                    ("ROWHOUSE_SERVER__TLS_CERTIFICATES", "/nowhere/at/all"),
                ],
                "/nowhere/at/all cannot be read",
            ),
        ] {
            let told = told(settings);
            assert!(told.contains(words), "{settings:?}: {told}");
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let told = told(&[("ROWHOUSE_SERVER__REGION", "x"), ("ROWHOUSE_DEPLOY__PORT_RANGE", "[3, 2]")]);
        assert!(told.contains("server.region") && told.contains("deploy.port_range"), "{told}");
    }

    #[test]
    fn free_ports_are_nobodys() {
        let free = ["GATEWAY", "CONTROL", "ADMIN"].map(|door| format!("ROWHOUSE_SERVER__{door}_LISTEN"));
        let settings: Vec<(&str, &str)> = free.iter().map(|name| (name.as_str(), "127.0.0.1:0")).collect();
        assert_eq!(told(&settings), "");
    }
}
