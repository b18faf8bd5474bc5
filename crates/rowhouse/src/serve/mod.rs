//! `rowhouse serve`: everything in one process, started in the order in which the parts need each other, and
//! stopped in the reverse.
//!
//! journal → control database → migrations → first operator and catalogue → projections catch up → directory →
//! gateway and control API → ready. On SIGTERM: not ready, gateway drained, work ended, PostgreSQL stopped.

mod admin;
mod alone;
mod assemble;
mod check;
mod database;
mod first_start;
mod handover;
mod mail;
mod metrics;
mod room;
mod telemetry;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::ValueEnum;
use rowhouse_control::identity::{Hashing, HashingSettings};
use rowhouse_control::outbound::{self, Outbound};
use rowhouse_control::{Control, Settings, audit, deploy, doctor, lifecycle, tenancy};
use rowhouse_domain::clock::Clock;
use rowhouse_domain::context::ContextSigner;
use rowhouse_domain::directory::{DirectoryWatch, Naming};
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::keys::{Pepper, Peppers};
use rowhouse_journal::{Journal, Options};
use tokio::signal::unix::{SignalKind, signal};

pub use self::check::check;
use self::handover::AllDoors;
use crate::config::{self, Config};
use crate::secrets::Secrets;

/// What a process of Rowhouse does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Role {
    /// Gateway, control API and all work, in one process.
    #[default]
    All,
    /// The same without a gateway.
    Control,
    /// A gateway on its own, which follows a control plane and has no database.
    Gateway,
}

/// Runs until SIGTERM or Ctrl-C.
pub fn run(file: Option<&Path>, takes_over: bool, role: Role) -> anyhow::Result<ExitCode> {
    let config = config::load(file, std::env::vars())?;
    check(&config)?;
    telemetry::start(&config.telemetry)?;
    raise_descriptors();
    let doors = if takes_over { handover::take(&config.server.data_dir())? } else { Default::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        Role::Gateway => runtime.block_on(alone::serve(config, doors))?,
        Role::All | Role::Control => runtime.block_on(serve(config, doors, role))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Config, doors: AllDoors, role: Role) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut house = start(&config, doors, role).await?;
    tracing::info!(
        gateway = ?house.gateway_address(),
        control = %config.server.control_listen,
        admin = %config.server.admin_listen,
        "ready"
    );
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
        () = house.succeeded() => {}
    }
    tracing::info!("stopping");
    house.stop().await;
    Ok(())
}

async fn start(config: &Config, doors: AllDoors, role: Role) -> anyhow::Result<assemble::House> {
    let (clock, entropy) = (system_clock(), system_entropy());
    let data_dir = config.server.data_dir();
    std::fs::create_dir_all(&data_dir).with_context(|| format!("cannot make {}", data_dir.display()))?;
    let data_dir = std::fs::canonicalize(&data_dir)?;
    keep_private(&data_dir).with_context(|| format!("cannot close {}", data_dir.display()))?;
    let secrets = Secrets::open(&data_dir, &entropy)?;
    let journal = Arc::new(open_journal(config, &data_dir, None)?);
    let database = database::open(config, &data_dir, clock.clone(), entropy.clone()).await?;
    let control = Arc::new(Control {
        store: database.store.clone(),
        directory: DirectoryWatch::default(),
        peppers: Peppers::new(vec![Pepper::new(1, &secrets.pepper)]),
        context_signer: ContextSigner::new("context-1", &secrets.context),
        audit: audit::Keys::new(secrets.audit, audit_name(config)),
        projections: Default::default(),
        usage_changes: Default::default(),
        resources: Default::default(),
        ingestion: rowhouse_control::metering::Ingestion::open(&journal)?,
        sound: Default::default(),
        stock: Default::default(),
        fleet: Default::default(),
        nodes: Default::default(),
        upstreams: Default::default(),
        hashing: Hashing::new(HashingSettings::default()),
        sign_in_sources: Default::default(),
        missed_keys: Default::default(),
        outbound: Outbound::new(outbound_settings(config)),
        messages: mail::open(&config.messages, &data_dir)?,
        settings: settings(config, &secrets, &data_dir),
    });
    first_start::run(&control, config, &data_dir, database.cell).await?;
    let node_door = assemble::NodeDoor { key: secrets.door, pepper: secrets.pepper };
    let parts = (database.server, journal);
    assemble::House::assemble(config, &data_dir, (control, role), parts, (doors, node_door)).await
}

fn settings(config: &Config, secrets: &Secrets, data_dir: &Path) -> Settings {
    let mut base_domains = vec![config.server.base_domain.clone()];
    base_domains.extend(config.tenancy.base_domains.iter().cloned());
    Settings {
        public_url: config.server.public_url(),
        node: config.server.node.clone(),
        region: config.server.region.clone(),
        cursor_key: secrets.cursor,
        sealing_key: secrets.master,
        trusted_proxies: config.server.trusted_proxies.iter().map(std::net::IpAddr::to_canonical).collect(),
        erase_now_by_two: config.lifecycle.erase_now_by_two,
        below_floor: match config.tenantdb.below_floor {
            config::BelowFloor::Strict => doctor::BelowFloor::Strict,
            config::BelowFloor::Refuse => doctor::BelowFloor::Refuse,
        },
        deploy: deploy_settings(config, data_dir),
        backups: backup_settings(config, data_dir),
        naming: Naming {
            base_domains,
            platform_hosts: config.tenancy.platform_hosts.clone(),
            region: config.server.region.clone(),
        },
        hosts: tenancy::hosts::Settings {
            resolvers: config.tenancy.resolvers.clone(),
            quarantine: Some(config.tenancy.host_quarantine.duration()),
        },
    }
}

fn outbound_settings(config: &Config) -> outbound::Settings {
    outbound::Settings {
        allow_networks: config.outbound.allow_networks.iter().map(|own| own.0).collect(),
        authorities: config.outbound.authorities.clone(),
    }
}

fn backup_settings(config: &Config, data_dir: &Path) -> lifecycle::backup::Settings {
    let own = &config.lifecycle;
    lifecycle::backup::Settings {
        directory: own.backup_directory.clone().unwrap_or_else(|| data_dir.join("backups")),
        at_minute: own.backup_at.minute(),
        copies: Default::default(),
    }
}

fn deploy_settings(config: &Config, data_dir: &Path) -> deploy::Settings {
    let program = |own: &config::Application| deploy::Program {
        program: own.program.clone(),
        arguments: own.args.clone(),
    };
    let applications = &config.deploy.applications;
    deploy::Settings {
        directory: data_dir.join("instances"),
        plane_socket: assemble::plane_socket(data_dir),
        applications: applications.iter().map(|(name, own)| (name.clone(), program(own))).collect(),
        os_user: config.database.os_user.clone(),
        ids: user_ids(config),
        service_users: service_users(config),
        ports: config.deploy.port_range.0..=config.deploy.port_range.1,
        instances_max: config.deploy.instances_max,
        binaries: config.database.binaries.clone(),
        guard_program: None,
    }
}

/// As many descriptors as this process may have: each connection is one, and what a system allows at first is few.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now }) {
        tracing::warn!(%error, now = ?now.current, "no more descriptors than these");
    }
}

/// What is kept is nobody else's to read, nor to know the names of. Servers and processes that run as other users pass through to what
/// is theirs.
fn keep_private(data_dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let close = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    close(data_dir, 0o711)?;
    for name in PRIVATE {
        let directory = data_dir.join(name);
        std::fs::create_dir_all(&directory)?;
        close(&directory, 0o700)?;
    }
    Ok(())
}

/// Directories that only this process reads.
const PRIVATE: [&str; 2] = ["audit", "messages"];

/// User ids for dedicated tenants, if this process can give them away. Who relies on them must hear that it cannot.
fn user_ids(config: &Config) -> Option<std::ops::RangeInclusive<u32>> {
    let (first, last) = config.deploy.user_ids;
    let may = rowhouse_store::server::may_run_as(&(first..=last));
    if !may && !config.deploy.applications.is_empty() {
        tracing::warn!(
            first,
            last,
            "dedicated tenants' processes are not kept apart: only root can run them as user ids of their own (deploy.user_ids)"
        );
    }
    may.then_some(first..=last)
}

/// User ids of services' shared processes, if this process can tell them apart.
fn service_users(config: &Config) -> std::collections::BTreeMap<String, u32> {
    match database::services_apart(config) {
        true => config.deploy.service_users.clone(),
        false => Default::default(),
    }
}

/// What the audit logs' origins begin with: the host of the public address.
fn audit_name(config: &Config) -> String {
    let url = config.server.public_url();
    url.split("://").last().unwrap_or(&url).replace(['/', '+', ' '], "-")
}

/// `mib_max`: its bound if the settings say nothing.
fn open_journal(config: &Config, data_dir: &Path, mib_max: Option<u64>) -> anyhow::Result<Journal> {
    let options = Options {
        segment_bytes: config.journal.segment_mib as usize * 1024 * 1024,
        keep: config.journal.keep.duration(),
        bytes_max: config.journal.size_mib_max.or(mib_max).map(|mib| mib.saturating_mul(1024 * 1024)),
        ..Options::new(config.server.node.clone())
    };
    let (journal, report) = Journal::open(&data_dir.join("journal"), options)?;
    tracing::info!(?report, "the journal is open");
    Ok(journal)
}

#[allow(clippy::disallowed_methods)] // the one place of the process that reads the wall clock
pub fn system_clock() -> Clock {
    Clock::new(|| jiff::Timestamp::now().as_microsecond())
}

fn system_entropy() -> Entropy {
    Entropy::new(|out| getrandom::fill(out).expect("the operating system gives random bytes"))
}
