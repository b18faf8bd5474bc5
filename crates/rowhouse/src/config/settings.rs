//! What each setting is for, in the order in which they are shown. A test holds it against the types.

/// Name and purpose of a setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// As in `server.gateway_listen`.
    pub name: &'static str,
    /// One sentence.
    pub what: &'static str,
}

const fn setting(name: &'static str, what: &'static str) -> Setting {
    Setting { name, what }
}

/// All settings.
pub static SETTINGS: &[Setting] = &[
    setting("server.gateway_listen", "Where tenants' requests arrive."),
    setting(
        "server.tls_listen",
        "Where tenants' requests arrive over TLS 1.2 and 1.3, with HTTP/2 by ALPN; nowhere if not set.",
    ),
    setting(
        "server.tls_certificates",
        "The folder of certificates for it: PEM, each `<host>.crt` (the chain) beside `<host>.key`; `_.example.com` for all names one step below, `default` for all others. Changes are taken in within seconds. `<data_dir>/certificates` if not set.",
    ),
    setting(
        "server.resolvers",
        "Resolvers, `address:port`, that the gateway asks for copies of services which DNS names (`dns:`, `srv:`); those of `/etc/resolv.conf` if empty.",
    ),
    setting(
        "server.upstream_certificates",
        "The folder of certificates that the gateway shows to services which ask for one (`tls.client` of a service): PEM, each `<name>.crt` (the chain) beside `<name>.key`. Changes are taken in within seconds. `<data_dir>/upstream-certificates` if not set.",
    ),
    setting(
        "server.https_redirect_port",
        "Tenants' requests that arrive in the clear are sent on (308) to https at this port of the same host, `443` for most; they are served as they are if not set. A trusted proxy's `X-Forwarded-Proto: https` is believed.",
    ),
    setting("server.control_listen", "The control API."),
    setting(
        "server.node_listen",
        "Where gateways of their own connect (TLS 1.3, both sides by key); nowhere if not set. It alone of the control plane's doors is made for an open network.",
    ),
    setting("server.admin_listen", "Metrics and health; keep it on loopback or a private network."),
    setting(
        "server.public_url",
        "How the control API is reached from outside, `http://<control_listen>` if not set. Errors link there, and the audit logs are named after its host: set it before the first start and leave it.",
    ),
    setting("server.base_domain", "Tenants are `<code>.<base_domain>`."),
    setting(
        "server.data_dir",
        "Everything that is kept: `/var/lib/rowhouse` if not set and root, else `./rowhouse-data`.",
    ),
    setting(
        "server.region",
        "Short name of the region, 2 to 8 lower-case letters and digits; it stands in API keys.",
    ),
    setting("server.node", "Name of this node in the journal."),
    setting("server.gateway_threads", "Threads of the gateway; one per core if not set."),
    setting(
        "server.trusted_proxies",
        "Addresses of proxies in front whose word about the client's address is believed (`X-Forwarded-For`); nobody's if empty.",
    ),
    setting(
        "server.proxied_certificates",
        "Whether those proxies say which client certificate they were shown (`Client-Cert`, RFC 9440). Each of them must remove what clients send by that name.",
    ),
    setting("server.drain", "How long open requests may finish after SIGTERM."),
    setting(
        "database.url",
        "An outside PostgreSQL 15 or newer; without it Rowhouse runs a private one. The login must own the database and may create roles. Shown as `…`.",
    ),
    setting(
        "database.binaries",
        "Directory of the private server's programs; the newest under `/usr/lib/postgresql` if not set.",
    ),
    setting("database.connections_max", "Most connections to the control database."),
    setting("database.settings", "Lines for the private server's `postgresql.conf`."),
    setting("database.os_user", "OS user of the private server when root starts it; `postgres` if not set."),
    setting(
        "gateway.control",
        "Of a gateway of its own (`serve --role gateway`): where control planes let nodes in, `host:port`, tried in turn.",
    ),
    setting(
        "gateway.enrolment_file",
        "File with the token of `rowhouse node enrol`; read once, and not needed any more afterwards.",
    ),
    setting(
        "gateway.stale_after",
        "Without word of the control plane for so long, what a gateway of its own knows is stale: nobody can say which keys were revoked meanwhile.",
    ),
    setting(
        "gateway.when_stale",
        "What it does then: `refuse` (503 `routes.directory_stale`) or `serve`. Health says so either way.",
    ),
    setting("journal.keep", "How long segments are kept that every projection has read."),
    setting("journal.segment_mib", "Size of a segment, in MiB, 1 to 1,024."),
    setting(
        "journal.size_mib_max",
        "Most MiB that the journal takes, up to one segment for each lane more. Of a gateway of its own 16,384 if not set, else the disk's size. What was read goes before its time if room is needed; what was not stays.",
    ),
    setting(
        "journal.when_full",
        "What happens when it takes no more: `serve` (what is not recorded is counted) or `refuse` (503 `journal.unavailable`). Health says so either way.",
    ),
    setting("tenancy.base_domains", "More base domains beside `server.base_domain`."),
    setting("tenancy.platform_hosts", "Hosts that name no tenant and are served all the same."),
    setting(
        "lifecycle.erase_now_by_two",
        "Whether erasing a tenant at once (`retention_days` 0) takes two principals, the second within 72 h; until then it has left and is kept.",
    ),
    setting("lifecycle.backup_at", "When the day's backups of all tenants are taken, UTC."),
    setting(
        "lifecycle.backup_directory",
        "Where tenants' backups and exports lie, sealed; `<data_dir>/backups` if not set.",
    ),
    setting(
        "tenancy.resolvers",
        "DNS resolvers that are asked for the proofs of tenants' domains: two or more, who must agree.",
    ),
    setting("tenancy.host_quarantine", "How long a domain that was served is kept from other tenants."),
    setting(
        "outbound.allow_networks",
        "Networks, as in `10.0.0.0/8`, where issuers of tokens may lie though they are not public; there, plain HTTP is taken too. None if empty.",
    ),
    setting(
        "outbound.authorities",
        "A PEM file of authorities that are believed besides the system's when issuers' documents are fetched.",
    ),
    setting(
        "limits.store_url",
        "A Redis 7.0 or newer in which gateways count limits together: `redis://[:password@]host:port`, or `rediss://…` over TLS. Each counts for itself without. Shown as `…`.",
    ),
    setting(
        "limits.store_authorities",
        "Who is believed of a `rediss://`: a file of certificates in PEM. Those that the system believes if not set.",
    ),
    setting(
        "limits.store_certificate",
        "The certificate that a `rediss://` is shown, `<name>.crt` beside `<name>.key` in `server.upstream_certificates`; none if not set.",
    ),
    setting(
        "limits.store_deadline",
        "How long a request waits for it; then each limit does what its `on_store_failure` says.",
    ),
    setting(
        "tenantdb.below_floor",
        "Of a server with known holes in row-level security: `strict` judges statements more strictly, `refuse` also places no shared tenant there.",
    ),
    setting(
        "deploy.applications",
        "By service, the program that a dedicated tenant gets a process of: `{ stamping = { program = \"/usr/bin/stamping\", args = [] } }`.",
    ),
    setting("deploy.port_range", "Ports for dedicated tenants' applications: first and last."),
    setting(
        "deploy.user_ids",
        "User ids for dedicated tenants' servers and processes, two each, in no other use: first and last. Taken when root runs Rowhouse; without root, or where the ids do not exist, all run as one user and are not kept apart.",
    ),
    setting(
        "deploy.service_users",
        "By service, the user id that its shared processes run as, which nothing else runs as: `{ stamping = 1900100001 }`. Taken when root runs Rowhouse: the shared server then lets these in as tenants' logins only, and each is told of its own service.",
    ),
    setting(
        "deploy.services_group",
        "The group id that shared processes of services run with: whoever is in it reaches the shared server's socket.",
    ),
    setting("deploy.instances_max", "Most dedicated tenants on this machine."),
    setting(
        "deploy.kubernetes.product",
        "Of `rowhouse deploy render`, as all of `deploy.kubernetes`: what is sold; first part of the names of Rowhouse's own objects and of the namespace.",
    ),
    setting("deploy.kubernetes.environment", "Second part of the namespace's name, and a label."),
    setting(
        "deploy.kubernetes.registry",
        "Where images are that are named without a registry, as `registry.example.com/shop`.",
    ),
    setting(
        "deploy.kubernetes.image",
        "Rowhouse's image; `<registry>/rowhouse:<version of this program>` if not set.",
    ),
    setting("deploy.kubernetes.pull_secrets", "Secrets that images are fetched with, by name."),
    setting(
        "deploy.kubernetes.pod_security_version",
        "Version of the Pod Security Standards that the namespace is held to; an older cluster takes its own.",
    ),
    setting("deploy.kubernetes.storage_class", "Class of the volumes; the cluster's own choice if not set."),
    setting("deploy.kubernetes.gateways", "How many gateways, 2 to 100; each is a node of its own."),
    setting(
        "deploy.kubernetes.gateways_from",
        "Number of the first gateway. A node's name is used once and for ever: after a volume was lost, count on from behind it.",
    ),
    setting(
        "deploy.kubernetes.gateway_size",
        "What each gateway gets: `cpu` and `memory` set aside, `cpu_max` and `memory_max` at most.",
    ),
    setting(
        "deploy.kubernetes.gateway_storage",
        "Each gateway's volume. Its journal takes three quarters of it if `journal.size_mib_max` is not set.",
    ),
    setting(
        "deploy.kubernetes.gateway_service",
        "How gateways are reached: `cluster_ip` (from within, as by an ingress) or `load_balancer`.",
    ),
    setting("deploy.kubernetes.control_size", "What the control plane with its PostgreSQL gets."),
    setting(
        "deploy.kubernetes.control_storage",
        "The control plane's volume, with everything that its PostgreSQL holds.",
    ),
    setting(
        "deploy.kubernetes.services",
        "By service of the catalogue: `image` (needed where the catalogue names no release), `releases` (release = image), `replicas` (10), `size`, `port` (8080), `live` (`/health/live`), `ready` (`/health/ready`), `startup` (none), `env`, `env_secret` (a Secret whose keys become variables).",
    ),
    setting("deploy.kubernetes.clients", "Networks from which gateways are reached; everybody if empty."),
    setting(
        "deploy.kubernetes.egress",
        "Networks that the control plane and services reach on port 443; `anywhere` is all but private and link-local ones. None if empty.",
    ),
    setting(
        "deploy.kubernetes.database_networks",
        "Networks of an outside PostgreSQL; if there are any, its URL comes from the Secret `<product>-database`. The control plane runs its own if empty.",
    ),
    setting("deploy.kubernetes.database_port", "Its port."),
    setting(
        "deploy.kubernetes.store_networks",
        "Networks of the Redis of `limits.store_url`; if there are any, the URL comes from the Secret `<product>-limits-store`.",
    ),
    setting("deploy.kubernetes.store_port", "Its port."),
    setting("deploy.kubernetes.mail_networks", "Networks of the mail server."),
    setting(
        "deploy.kubernetes.monitoring_namespace",
        "Namespace whose pods may read metrics; none if not set.",
    ),
    setting(
        "deploy.kubernetes.proxy_namespace",
        "Namespace of the proxy that ends TLS before the control API, whose pods may reach it; none if not set.",
    ),
    setting(
        "deploy.kubernetes.quota",
        "What the namespace may use: `limits.cpu`, `limits.memory`, `requests.cpu`, `requests.memory`, `requests.storage`, `pods`, `persistentvolumeclaims`, `services`. Refused if a rollout does not fit; no quota if empty.",
    ),
    setting("messages.transport", "How messages to people leave: `file` (into a folder) or `smtp`."),
    setting("messages.folder", "Where `file` puts them, as `.eml`; `<data_dir>/messages` if not set."),
    setting("messages.host", "The mail server's name, also in its certificate; `smtp` needs it."),
    setting("messages.port", "Its port; 587, or 465 with `tls = \"implicit\"`, if not set."),
    setting(
        "messages.tls",
        "Encryption on the way there: `starttls` (required), `implicit`, or `none` for a server on this machine.",
    ),
    setting("messages.username", "The name to sign in to it with; without one, nothing is sent to sign in."),
    setting("messages.password_file", "File that holds the password."),
    setting("messages.from", "The address that messages are from."),
    setting("messages.reply_to", "The address that answers go to."),
    setting("messages.brand", "The name that messages speak in, unless a tenant has its own."),
    setting(
        "messages.operators",
        "Addresses that are told what concerns the operator, beside the operator's administrators.",
    ),
    setting(
        "messages.templates",
        "Folder with texts of your own: `<template>.toml` with `subject` and `body`.",
    ),
    setting(
        "messages.sms_url",
        "Where the provider of text messages is called (POST); without it no codes are sent as texts. An address that is not public, or not https, needs its network in `outbound.allow_networks`.",
    ),
    setting(
        "messages.sms_authorization_file",
        "File that holds what the provider is shown as `Authorization`, such as `Bearer …` or `Basic …`.",
    ),
    setting(
        "messages.sms_body",
        "What it is sent: `{to}`, `{text}` and `{id}` (the same for what is sent again) are put in, in JSON within quotes.",
    ),
    setting("messages.sms_format", "How that is written: `json` or `form`."),
    setting("messages.sms_timeout_s", "Longest wait for the provider, 1 to 30."),
    setting(
        "messages.sms_countries",
        "Beginnings of numbers that texts go to, as `[\"+49\", \"+41\"]`; to others none go. A tenant's policy chooses among them.",
    ),
    setting("messages.sms_hourly_max", "Texts to one of these beginnings in an hour, all tenants together."),
    setting(
        "catalog.path",
        "Folder applied at start; the shipped catalogue fills an empty installation in any case.",
    ),
    setting(
        "telemetry.log_level",
        "`error`, `warn`, `info`, `debug`, or a filter such as `info,rowhouse_store=debug`.",
    ),
    setting("telemetry.log_format", "`text` or `json`; text on a terminal, else json, if not set."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::config::load;

    /// The names that a section (`""`: the settings as a whole) may have, as its own refusal of a wrong one tells.
    fn known(section: &str) -> Vec<String> {
        let section = section.to_uppercase().replace('.', "__");
        let inner = if section.is_empty() { section } else { format!("{section}__") };
        let variable = format!("ROWHOUSE_{inner}NO_SUCH_NAME__X");
        let error =
            load(None, [(variable, "1".to_owned())].into_iter()).expect_err("no such name").to_string();
        let (_, names) = error.split_once("expected").expect("serde lists what is allowed");
        names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_setting_is_explained() {
        let mut names = BTreeSet::new();
        for section in known("").into_iter().chain(["deploy.kubernetes".to_owned()]) {
            names.extend(known(&section).into_iter().map(|name| format!("{section}.{name}")));
        }
        assert!(names.remove("deploy.kubernetes"), "a section, not a setting");
        let explained: BTreeSet<_> = super::SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
        assert_eq!(explained, names);
    }
}
