//! Keeps one instance: brings its processes to what the row says, again and again, and tells what it found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_store::server::{PrivateServer, ServerState, ServiceProcess, ServiceState};
use rowhouse_store::{StoreError, Topic};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::process::{self, LaunchError};
use super::queries::{self, InstanceRow};
use super::{Application, Desired, Observed, ObservedApplication, ObservedServer, Phase};
use crate::Shared;
use crate::tenancy::cells::{self, CellAddress};
use crate::tenancy::plane;

/// How often an instance is looked at when nothing says that something changed.
const BACKSTOP: Duration = Duration::from_secs(1);
/// How often while it is not yet as it is to be.
const IMPATIENT: Duration = Duration::from_millis(50);
/// Longest wait between tries to start what does not start.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The processes of one instance.
pub(super) struct Keeper {
    control: Shared,
    tenant: TenantId,
    server: Option<Arc<PrivateServer>>,
    /// Everybody can know where it is. While the control database is away nobody can be told.
    is_published: bool,
    applications: BTreeMap<String, (Application, Arc<ServiceProcess>)>,
    /// Supervisors of the above. How many there are shows only while it runs, so they cannot be spawned at assembly; they
    /// end with what they supervise, or with this.
    supervisors: JoinSet<()>,
    failures: u32,
    try_again_at: Option<Instant>,
    told: Option<Observed>,
}

impl Keeper {
    pub fn new(control: Shared, tenant: TenantId) -> Self {
        Keeper {
            control,
            tenant,
            server: None,
            is_published: false,
            applications: BTreeMap::new(),
            supervisors: JoinSet::new(),
            failures: 0,
            try_again_at: None,
            told: None,
        }
    }

    /// Until nothing of the instance is left, its row is gone, or `shutdown`, which stops its processes.
    pub async fn keep(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut committed = self.control.store.touched(Topic::Instances);
        let (mut backstop, mut impatient) = (interval(BACKSTOP), interval(IMPATIENT));
        loop {
            let settled = match self.look().await {
                Ok(Phase::Gone) => return,
                Ok(phase) => phase != Phase::Starting,
                Err(error) => {
                    tracing::error!(tenant = %self.tenant, %error, "an instance cannot be looked at");
                    true
                }
            };
            tokio::select! {
                _ = committed.changed(), if settled => {}
                _ = backstop.tick() => {}
                _ = impatient.tick(), if !settled => {}
                () = super::fleet::ends(&mut shutdown) => return self.stop_all().await,
            }
            while self.supervisors.try_join_next().is_some() {}
        }
    }

    async fn look(&mut self) -> Result<Phase, StoreError> {
        let transaction = self.control.store.read(&Permit::for_system(None, "an instance")).await?;
        let row = queries::get(&transaction, self.tenant).await?;
        transaction.finish().await?;
        let Some(row) = row else {
            self.stop_all().await;
            return Ok(Phase::Gone);
        };
        let observed = match row.desired.present {
            true => self.bring(&row).await?,
            false => self.take_away(&row.desired).await,
        };
        let phase = observed.phase;
        self.tell(observed).await?;
        Ok(phase)
    }

    /// Starts what is missing, stops what is not wanted.
    async fn bring(&mut self, row: &InstanceRow) -> Result<Observed, StoreError> {
        let problem = match self.try_again_at {
            Some(at) if at > Instant::now() => self.told.as_ref().and_then(|told| told.problem.clone()),
            _ => self.launch(row).await?.err().map(|error| self.postpone(&error)),
        };
        let server = self.server.as_ref().filter(|server| *server.state().borrow() == ServerState::Running);
        let server = server.map(|server| ObservedServer {
            host: server.socket_dir().display().to_string(),
            port: server.port(),
        });
        let mut applications = Vec::new();
        for wanted in &row.desired.applications {
            applications.push(self.observe(wanted).await);
        }
        let whole = server.is_some() && applications.iter().all(|application| application.serving);
        let phase = match (&problem, whole) {
            (Some(_), _) => Phase::Failed,
            (None, true) => Phase::Running,
            (None, false) => Phase::Starting,
        };
        Ok(Observed { phase, server, applications, problem })
    }

    async fn launch(&mut self, row: &InstanceRow) -> Result<Result<(), LaunchError>, StoreError> {
        let settings = self.control.settings.deploy.clone();
        if let Some(server) = &self.server
            && matches!(*server.state().borrow(), ServerState::Failed(_) | ServerState::Stopped)
        {
            server.stop().await;
            self.server = None;
        }
        if self.server.is_none() {
            let server = match process::start_server(&settings, &row.desired).await {
                Ok(server) => Arc::new(server),
                Err(error) => return Ok(Err(error)),
            };
            self.supervisors.spawn(server.clone().supervise());
            // Kept before anything can fail: nobody starts it twice.
            (self.server, self.is_published) = (Some(server), false);
        }
        if let Some(server) = self.server.clone().filter(|_| !self.is_published) {
            self.publish_address(&row.cell, &server).await?;
            self.is_published = true;
        }
        self.stop_unwanted(&row.desired).await;
        for wanted in &row.desired.applications {
            if self.applications.contains_key(&wanted.service) {
                continue;
            }
            match process::start_application(&settings, &row.desired, self.tenant, wanted).await {
                Ok(started) => {
                    let started = Arc::new(started);
                    self.supervisors.spawn(started.clone().supervise());
                    self.applications.insert(wanted.service.clone(), (wanted.clone(), started));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        (self.failures, self.try_again_at) = (0, None);
        Ok(Ok(()))
    }

    /// The socket's directory may be another after a restart: everybody who connects must hear of it.
    async fn publish_address(&self, cell: &str, server: &PrivateServer) -> Result<(), StoreError> {
        let host = server.socket_dir().display().to_string();
        let address = CellAddress { name: cell, host: &host, port: server.port() };
        let transaction =
            self.control.store.write(&Permit::for_system(None, "an instance's address")).await?;
        if cells::put(&transaction, &address, "instance", "full", &self.control.settings.region).await? {
            plane::raise(&transaction).await?;
        }
        transaction.commit_telemetry().await
    }

    async fn observe(&self, wanted: &Application) -> ObservedApplication {
        let running = self.applications.get(&wanted.service).filter(|(own, _)| own == wanted);
        let pid = running.and_then(|(_, process)| match *process.state().borrow() {
            ServiceState::Running { pid } => Some(pid),
            _ => None,
        });
        let serving = pid.is_some() && process::serves(wanted).await;
        ObservedApplication { service: wanted.service.clone(), address: wanted.address(), pid, serving }
    }

    async fn stop_unwanted(&mut self, desired: &Desired) {
        let unwanted = |own: &Application| !desired.applications.contains(own);
        let names: Vec<String> = self
            .applications
            .values()
            .filter(|(own, _)| unwanted(own))
            .map(|(own, _)| own.service.clone())
            .collect();
        for name in names {
            if let Some((_, process)) = self.applications.remove(&name) {
                process.stop().await;
            }
        }
    }

    fn postpone(&mut self, error: &LaunchError) -> String {
        let wait = Duration::from_secs(1 << self.failures.min(5)).min(RETRY_MAX);
        self.failures += 1;
        self.try_again_at = Some(Instant::now() + wait);
        tracing::error!(tenant = %self.tenant, %error, ?wait, "an instance did not start");
        error.to_string()
    }

    /// Stops everything and removes it. A guard of an earlier Rowhouse may still keep a server there: it is taken over by
    /// starting it, so that it can be stopped.
    async fn take_away(&mut self, desired: &Desired) -> Observed {
        let settings = self.control.settings.deploy.clone();
        let directory = process::directory(&settings, &desired.directory);
        if self.server.is_none() && directory.join("server/cluster/postmaster.pid").exists() {
            match process::start_server(&settings, desired).await {
                Ok(server) => self.server = Some(Arc::new(server)),
                Err(error) => {
                    tracing::warn!(tenant = %self.tenant, %error, "a server that is to go cannot be taken over")
                }
            }
        }
        self.stop_all().await;
        match process::remove(&settings, &desired.directory) {
            Ok(()) => Observed { phase: Phase::Gone, ..Observed::default() },
            Err(error) => Observed {
                phase: Phase::Failed,
                problem: Some(format!("{} cannot be removed: {error}", directory.display())),
                ..Observed::default()
            },
        }
    }

    async fn stop_all(&mut self) {
        for (_, process) in std::mem::take(&mut self.applications).into_values() {
            process.stop().await;
        }
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// Tells who waits in this process, and whoever reads the row.
    async fn tell(&mut self, observed: Observed) -> Result<(), StoreError> {
        if self.told.as_ref() == Some(&observed) {
            return Ok(());
        }
        let transaction = self.control.store.write(&Permit::for_system(None, "an instance")).await?;
        queries::observe(&transaction, self.tenant, &observed).await?;
        transaction.commit_telemetry().await?;
        self.control.fleet.tell(self.tenant, observed.clone());
        self.told = Some(observed);
        Ok(())
    }
}
