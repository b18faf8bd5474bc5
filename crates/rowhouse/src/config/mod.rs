//! Settings of the process: one TOML file, overridden by `ROWHOUSE_SECTION__KEY`. Unknown keys are errors with
//! their place and the nearest known name; every value can say where it came from.

mod duration;
mod gateway;
mod kubernetes;
mod lifecycle;
mod limits;
mod load;
mod messages;
mod origin;
mod outbound;
mod settings;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

pub use duration::Span;
pub use gateway::{Gateway, WhenStale};
pub use kubernetes::{GatewayDoor, Kubernetes, KubernetesService};
pub use lifecycle::Lifecycle;
pub use limits::Limits;
pub use load::{load, strangers};
pub use messages::{MailTls, MailTransport, Messages, SmsFormat};
pub use origin::{Shown, origins};
pub use outbound::Outbound;
use serde::{Deserialize, Serialize};

/// All settings, with their defaults.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listeners, names, directories.
    pub server: Server,
    /// The control database.
    pub database: Database,
    /// A gateway that runs on its own.
    pub gateway: Gateway,
    /// The journal.
    pub journal: Journal,
    /// How requests are resolved.
    pub tenancy: Tenancy,
    /// Where limits are counted.
    pub limits: Limits,
    /// The tenants' databases.
    pub tenantdb: Tenantdb,
    /// Backups of tenants.
    pub lifecycle: Lifecycle,
    /// What we run ourselves.
    pub deploy: Deploy,
    /// How messages to people leave.
    pub messages: Messages,
    /// What is fetched from places that others name.
    pub outbound: Outbound,
    /// The catalogue applied at start.
    pub catalog: Catalog,
    /// Logs.
    pub telemetry: Telemetry,
}

/// `[server]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where tenants' requests arrive.
    pub gateway_listen: SocketAddr,
    /// Where they arrive over TLS; nowhere if not set.
    pub tls_listen: Option<SocketAddr>,
    /// The folder of certificates for it.
    pub tls_certificates: Option<PathBuf>,
    /// Who is asked for the copies that DNS names; those of the system if empty.
    pub resolvers: Vec<SocketAddr>,
    /// The folder of certificates that gateways show to services.
    pub upstream_certificates: Option<PathBuf>,
    /// What arrives in the clear is sent on to https at this port; it is served as it is if not set.
    pub https_redirect_port: Option<u16>,
    /// The control API.
    pub control_listen: SocketAddr,
    /// Where gateways of their own connect; nowhere if not set.
    pub node_listen: Option<SocketAddr>,
    /// Metrics and health.
    pub admin_listen: SocketAddr,
    /// How the control API is reached from outside; made from `control_listen` if not set.
    pub public_url: Option<String>,
    /// Tenants are `<code>.<base_domain>`.
    pub base_domain: String,
    /// Everything that is kept.
    pub data_dir: Option<PathBuf>,
    /// Short name of the region, 2 to 8 lower-case letters and digits.
    pub region: String,
    /// Name of this node in the journal.
    pub node: String,
    /// Threads of the gateway; one per core if not set.
    pub gateway_threads: Option<usize>,
    /// Proxies in front, by address, whose word about the client's address is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Whether they say which client certificate they were shown.
    pub proxied_certificates: bool,
    /// How long open requests may finish after SIGTERM.
    pub drain: Span,
}

impl Default for Server {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Server {
            gateway_listen: loopback(8080),
            tls_listen: None,
            tls_certificates: None,
            resolvers: Vec::new(),
            upstream_certificates: None,
            https_redirect_port: None,
            control_listen: loopback(8081),
            node_listen: None,
            admin_listen: loopback(8082),
            public_url: None,
            base_domain: "localhost".to_owned(),
            data_dir: None,
            region: "local".to_owned(),
            node: "node1".to_owned(),
            gateway_threads: None,
            trusted_proxies: Vec::new(),
            proxied_certificates: false,
            drain: Span::seconds(30),
        }
    }
}

impl Server {
    /// How the control API is reached, without a slash at the end.
    pub fn public_url(&self) -> String {
        let own = || format!("http://{}", self.control_listen);
        self.public_url.clone().unwrap_or_else(own).trim_end_matches('/').to_owned()
    }

    /// Where the gateway's certificates lie: `<data_dir>/certificates` if not set.
    pub fn tls_certificates(&self, data_dir: &std::path::Path) -> PathBuf {
        self.tls_certificates.clone().unwrap_or_else(|| data_dir.join("certificates"))
    }

    /// Where the certificates lie that are shown to services: `<data_dir>/upstream-certificates` if not set.
    pub fn upstream_certificates(&self, data_dir: &std::path::Path) -> PathBuf {
        self.upstream_certificates.clone().unwrap_or_else(|| data_dir.join("upstream-certificates"))
    }

    /// `/var/lib/rowhouse`, or `./rowhouse-data` for who cannot write there.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| match rustix::process::geteuid().is_root() {
            true => PathBuf::from("/var/lib/rowhouse"),
            false => PathBuf::from("rowhouse-data"),
        })
    }
}

/// `[database]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// An outside server; without it Rowhouse runs a private one.
    pub url: Option<String>,
    /// Directory of the private server's programs.
    pub binaries: Option<PathBuf>,
    /// Most connections to the control database.
    pub connections_max: usize,
    /// Lines for the private server's `postgresql.conf`.
    pub settings: Vec<String>,
    /// OS user of the private server when root starts it.
    pub os_user: Option<String>,
}

impl Default for Database {
    fn default() -> Self {
        Database { url: None, binaries: None, connections_max: 20, settings: Vec::new(), os_user: None }
    }
}

/// `[journal]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// How long read segments are kept.
    pub keep: Span,
    /// Size of a segment, in MiB (1 to 1,024).
    pub segment_mib: u32,
    /// Most MiB that the journal takes.
    pub size_mib_max: Option<u64>,
    /// What is done when it has no room.
    pub when_full: WhenFull,
}

/// Of requests that could not be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// They are served, and counted as not recorded.
    #[default]
    Serve,
    /// They are refused.
    Refuse,
}

impl Default for Journal {
    fn default() -> Self {
        let when_full = WhenFull::Serve;
        Journal { keep: Span::seconds(24 * 3600), segment_mib: 64, size_mib_max: None, when_full }
    }
}

/// `[tenantdb]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tenantdb {
    /// What is done with servers that have known holes in row-level security.
    pub below_floor: BelowFloor,
}

/// Of a server below the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BelowFloor {
    /// Statements are judged more strictly.
    #[default]
    Strict,
    /// No shared tenant is placed there, too.
    Refuse,
}

/// `[tenancy]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tenancy {
    /// More base domains beside `server.base_domain`.
    pub base_domains: Vec<String>,
    /// Hosts that name no tenant and are served all the same.
    pub platform_hosts: Vec<String>,
    /// Resolvers that are asked for the proofs of tenants' domains: two or more, who must agree.
    pub resolvers: Vec<SocketAddr>,
    /// How long a domain that was served is kept from other tenants.
    pub host_quarantine: Span,
}

impl Default for Tenancy {
    fn default() -> Self {
        Tenancy {
            base_domains: Vec::new(),
            platform_hosts: vec!["localhost".to_owned()],
            resolvers: vec![SocketAddr::from(([1, 1, 1, 1], 53)), SocketAddr::from(([9, 9, 9, 9], 53))],
            host_quarantine: Span::seconds(30 * 24 * 3600),
        }
    }
}

/// An application that a dedicated tenant gets a process of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; it is told the rest in its environment.
    #[serde(default)]
    pub args: Vec<String>,
}

/// `[deploy]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deploy {
    /// By service.
    pub applications: BTreeMap<String, Application>,
    /// Ports for dedicated applications: first and last.
    pub port_range: (u16, u16),
    /// User ids for dedicated tenants' servers and processes: first and last.
    pub user_ids: (u32, u32),
    /// By service, the user id that its shared processes run as.
    pub service_users: BTreeMap<String, u32>,
    /// The group id of those processes: who reaches the shared server.
    pub services_group: u32,
    /// Most instances on this machine.
    pub instances_max: u32,
    /// What `rowhouse deploy render` writes.
    pub kubernetes: Kubernetes,
}

impl Default for Deploy {
    fn default() -> Self {
        Deploy {
            applications: BTreeMap::new(),
            port_range: (20000, 24999),
            // Nobody's by the conventions of Linux distributions (systemd, "Users, Groups, UIDs and GIDs").
            user_ids: (1_900_000_000, 1_900_099_999),
            service_users: BTreeMap::new(),
            services_group: 1_900_100_000,
            instances_max: 100,
            kubernetes: Kubernetes::default(),
        }
    }
}

/// `[catalog]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Catalog {
    /// Folder applied at start; the shipped catalogue fills an empty installation in any case.
    pub path: Option<PathBuf>,
}

/// `[telemetry]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// `error`, `warn`, `info`, `debug`, or a filter as `tracing` takes it.
    pub log_level: String,
    /// `text` or `json`; text on a terminal, else json, if not set.
    pub log_format: Option<String>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry { log_level: "info".to_owned(), log_format: None }
    }
}
