//! From settings and catalogue to a fleet: which services there are, with which images, where the gateways find them.

use anyhow::{Context, bail};
use rowhouse_control::catalog::CatalogFile;
use rowhouse_domain::deploy::{
    ControlPlane, Door, Fleet, Gateways, Networks, PORT_CONTROL, Peer, Probing, RenderError, Workload,
    workload_name,
};
use rowhouse_domain::routes::{RouteDefinition, ServiceDefinition};
use toml::Table;

use super::pod_settings;
use crate::config::{Config, GatewayDoor, Kubernetes, KubernetesService, MailTransport};

/// Between the end of the drain and the last word: records are sent, PostgreSQL stops.
const LAST_WORDS_S: u64 = 60;

/// The fleet that settings (read, and as the file has them) and catalogue describe.
pub fn of(config: &Config, own: &Table, catalog: CatalogFile) -> anyhow::Result<Fleet> {
    let kubernetes = &config.deploy.kubernetes;
    refuse_secrets(&catalog)?;
    let mut catalog = catalog;
    let workloads = workloads(kubernetes, &mut catalog.definitions.services)?;
    let mut catalog_text = serde_json::to_string_pretty(&catalog)?;
    catalog_text.push('\n');
    let grace_s = config.server.drain.duration().as_secs() + LAST_WORDS_S;
    let mut fleet = Fleet {
        product: kubernetes.product.clone(),
        environment: kubernetes.environment.clone(),
        pod_security_version: kubernetes.pod_security_version.clone(),
        image: own_image(kubernetes)?,
        pull_secrets: kubernetes.pull_secrets.clone(),
        storage_class: kubernetes.storage_class.clone(),
        control: ControlPlane {
            size: kubernetes.control_size.into(),
            storage: kubernetes.control_storage,
            settings: String::new(),
            catalog: catalog_text,
            outside_database: !kubernetes.database_networks.is_empty(),
            messages_password: config.messages.password_file.is_some(),
            grace_s,
        },
        gateway: Gateways {
            replicas: kubernetes.gateways,
            first: kubernetes.gateways_from,
            size: kubernetes.gateway_size.into(),
            storage: kubernetes.gateway_storage,
            settings: String::new(),
            tls: config.server.tls_listen.is_some(),
            store: !kubernetes.store_networks.is_empty(),
            door: match kubernetes.gateway_service {
                GatewayDoor::ClusterIp => Door::ClusterIp,
                GatewayDoor::LoadBalancer => Door::LoadBalancer,
            },
            grace_s,
        },
        workloads,
        networks: networks(config)?,
        quota: kubernetes.quota.clone(),
    };
    fleet.control.settings = pod_settings::control(config, own, &fleet, &public_url(config))?;
    fleet.gateway.settings = pod_settings::gateway(config, own, &fleet);
    Ok(fleet)
}

/// How the control API is reached from outside: as the settings say, else by its name in the cluster.
pub fn public_url(config: &Config) -> String {
    let Kubernetes { product, environment, .. } = &config.deploy.kubernetes;
    let within = || format!("http://{product}-control.{product}-{environment}.svc:{PORT_CONTROL}");
    config.server.public_url.clone().unwrap_or_else(within)
}

/// The catalogue's services, one for each release, whose addresses become those in the cluster.
fn workloads(kubernetes: &Kubernetes, services: &mut [ServiceDefinition]) -> anyhow::Result<Vec<Workload>> {
    for name in kubernetes.services.keys() {
        if !services.iter().any(|service| service.name == *name) {
            bail!("deploy.kubernetes.services.{name}: the catalogue has no such service");
        }
    }
    let mut all = Vec::new();
    for service in services {
        let own = kubernetes.services.get(&service.name).cloned().unwrap_or_default();
        let release = service.release.clone();
        let main =
            workload(kubernetes, service, &own, (release.as_deref(), workload_name(&service.name, None)))?;
        service.upstreams = vec![format!("{}:{}", main.name, main.port)];
        // One address stands for all copies: there is nothing left to weigh.
        service.weights.clear();
        all.push(main);
        for number in 0..service.releases.len() {
            let release = service.releases[number].name.clone();
            let name = workload_name(&service.name, Some(&release));
            let further = workload(kubernetes, service, &own, (Some(&release), name))?;
            service.releases[number].upstreams = vec![format!("{}:{}", further.name, further.port)];
            all.push(further);
        }
    }
    Ok(all)
}

fn workload(
    kubernetes: &Kubernetes,
    service: &ServiceDefinition,
    own: &KubernetesService,
    (release, name): (Option<&str>, String),
) -> anyhow::Result<Workload> {
    let tls = service.tls.as_ref();
    if let Some(client) = tls.and_then(|tls| tls.client.as_ref()) {
        bail!(
            "the service `{}` wants the gateway's certificate `{client}` (tls.client), and no pod has its key: this is not rendered yet",
            service.name
        );
    }
    // A kubelet cannot be told by which name or authority a certificate is good: TLS is asked for connections only.
    let probing = match service.protocol.as_str() {
        _ if tls.is_some() => Probing::Tcp,
        "grpc" => Probing::Grpc,
        "http2" => Probing::Tcp,
        _ => Probing::Http { live: own.live.clone(), ready: own.ready.clone(), startup: own.startup.clone() },
    };
    Ok(Workload {
        name,
        service: service.name.clone(),
        image: image_of(kubernetes, service, own, release)?,
        replicas: own.replicas,
        size: own.size.into(),
        port: own.port,
        probing,
        env: own.env.clone(),
        env_secret: own.env_secret.clone(),
    })
}

/// The image of a release: as it is named, else the service's own for its own release, else by the release's name.
fn image_of(
    kubernetes: &Kubernetes,
    service: &ServiceDefinition,
    own: &KubernetesService,
    release: Option<&str>,
) -> anyhow::Result<String> {
    let is_own = release == service.release.as_deref();
    let named = release.and_then(|release| own.releases.get(release));
    let named = named.or(own.image.as_ref().filter(|_| is_own)).cloned();
    let by_release = || release.map(|release| format!("{}:{release}", service.name));
    let setting = format!("deploy.kubernetes.services.{}.image", service.name);
    let none = || RenderError::NoImage { what: format!("the service `{}`", service.name), setting };
    in_registry(kubernetes, named.or_else(by_release).ok_or_else(none)?)
}

fn own_image(kubernetes: &Kubernetes) -> anyhow::Result<String> {
    let ours = || format!("rowhouse:{}", env!("CARGO_PKG_VERSION"));
    in_registry(kubernetes, kubernetes.image.clone().unwrap_or_else(ours))
}

/// An image that names no registry is in the one that is set.
fn in_registry(kubernetes: &Kubernetes, image: String) -> anyhow::Result<String> {
    if image.contains('/') {
        return Ok(image);
    }
    let registry = kubernetes.registry.as_ref();
    let registry = registry.with_context(|| {
        format!("`{image}` names no registry: set deploy.kubernetes.registry to where your cluster finds it")
    })?;
    Ok(format!("{}/{image}", registry.trim_end_matches('/')))
}

fn networks(config: &Config) -> anyhow::Result<Networks> {
    let own = &config.deploy.kubernetes;
    if config.database.url.is_some() && own.database_networks.is_empty() {
        bail!(
            "database.url names an outside PostgreSQL: say in deploy.kubernetes.database_networks where it is, or no pod may reach it"
        );
    }
    if config.limits.store_url.is_some() && own.store_networks.is_empty() {
        bail!(
            "limits.store_url names a Redis: say in deploy.kubernetes.store_networks where it is, or no gateway may reach it"
        );
    }
    let messages = &config.messages;
    if messages.transport == MailTransport::Smtp && own.mail_networks.is_empty() {
        bail!(
            "messages.transport is smtp: say in deploy.kubernetes.mail_networks where the mail server is, or it cannot be reached"
        );
    }
    let peer = |networks: &[String], port| Peer { networks: networks.to_vec(), port };
    Ok(Networks {
        clients: own.clients.clone(),
        egress: own.egress.clone(),
        database: peer(&own.database_networks, own.database_port),
        store: peer(&own.store_networks, own.store_port),
        mail: peer(&own.mail_networks, messages.port()),
        resolvers: config.tenancy.resolvers.clone(),
        monitoring_namespace: own.monitoring_namespace.clone(),
        proxy_namespace: own.proxy_namespace.clone(),
    })
}

/// A catalogue may set headers for services, and such a header may be a credential. A ConfigMap is no place for one.
fn refuse_secrets(catalog: &CatalogFile) -> anyhow::Result<()> {
    for route in &catalog.definitions.routes {
        if let Some(name) = credential(route) {
            bail!(
                "the route `{}` sets `{name}`, which looks like a credential, and no file here holds one: give the service its credential in a Secret",
                route.name
            );
        }
    }
    Ok(())
}

fn credential(route: &RouteDefinition) -> Option<&str> {
    let edits = [&route.request.headers, &route.request.query];
    let names = edits.into_iter().flat_map(|edits| edits.set.keys().chain(edits.add.keys()));
    names.map(String::as_str).find(|name| {
        let name = name.to_ascii_lowercase();
        ["auth", "cookie", "key", "password", "secret", "token", "signature"]
            .iter()
            .any(|word| name.contains(word))
    })
}
