//! The demo's processes: Rowhouse itself and the stamping service, each started as a user would.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rowhouse_store::server::may_run_as;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::DemoOptions;
use crate::cli::client::Client;
use crate::secrets::OPERATOR_KEY_FILE;

/// Longest wait for a process to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Ids that the stamping service runs as where root runs the demo: the service's own, and the group of services (`deploy.services_group`).
const STAMPING_IDS: (u32, u32) = (1_900_100_001, 1_900_100_000);

/// All that runs.
pub struct House {
    data_dir: PathBuf,
    program: PathBuf,
    stamping: PathBuf,
    port_base: u16,
    rowhouse: Option<Child>,
    service: Option<Child>,
}

impl House {
    /// Starts everything on an empty data directory.
    pub async fn open(options: &DemoOptions) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("where is this program?")?;
        let beside = program.with_file_name("stamping");
        let stamping = options.stamping.clone().unwrap_or(beside);
        ensure!(stamping.is_file(), "the stamping service is not at {}; build it first", stamping.display());
        let data_dir = std::path::absolute(options.data_dir())?;
        clear(&data_dir)?;
        std::fs::create_dir_all(data_dir.join("log"))?;
        // A dedicated tenant's process runs as another user, who may not be able to look into the build's folder.
        let own = data_dir.join("stamping");
        std::fs::copy(&stamping, &own).with_context(|| format!("cannot copy {}", stamping.display()))?;
        let stamping = own;
        let mut house = House {
            data_dir,
            program,
            stamping,
            port_base: options.port_base,
            rowhouse: None,
            service: None,
        };
        let begun = Instant::now();
        house.start_rowhouse().await?;
        eprintln!("Rowhouse serves after {} ms (PostgreSQL included)", begun.elapsed().as_millis());
        house.start_service().await?;
        Ok(house)
    }

    /// Folder of the processes' logs.
    pub fn logs(&self) -> PathBuf {
        self.data_dir.join("log")
    }
    /// Where everything is kept.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
    /// This binary.
    pub fn program(&self) -> &Path {
        &self.program
    }
    /// Port of the gateway.
    pub fn gateway_port(&self) -> u16 {
        self.port_base
    }
    /// URL of the control API.
    pub fn control_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port_base + 1)
    }
    fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port_base + 2)
    }
    fn service_address(&self) -> String {
        format!("127.0.0.1:{}", self.port_base + 3)
    }

    /// The operator's client of the control API.
    pub fn operator(&self) -> anyhow::Result<Client> {
        let key = std::fs::read_to_string(self.data_dir.join("data").join(OPERATOR_KEY_FILE))?;
        Client::new(&self.control_url(), Some(key.trim().to_owned()))
    }

    /// A client of the gateway without a key of its own.
    pub fn gateway(&self) -> anyhow::Result<Client> {
        Client::new(&format!("http://127.0.0.1:{}", self.port_base), None)
    }

    /// Starts Rowhouse and waits until it is ready.
    pub async fn start_rowhouse(&mut self) -> anyhow::Result<()> {
        let log = self.log("rowhouse.log")?;
        let mut command = Command::new(&self.program);
        let address = |offset| format!("127.0.0.1:{}", self.port_base + offset);
        let applications =
            format!("{{ stamping = {{ program = {:?} }} }}", self.stamping.display().to_string());
        command
            .arg("serve")
            .env("ROWHOUSE_SERVER__DATA_DIR", self.data_dir.join("data"))
            .env("ROWHOUSE_SERVER__GATEWAY_LISTEN", address(0))
            .env("ROWHOUSE_SERVER__CONTROL_LISTEN", address(1))
            .env("ROWHOUSE_SERVER__ADMIN_LISTEN", address(2))
            .env("ROWHOUSE_DEPLOY__APPLICATIONS", applications)
            .env("ROWHOUSE_DEPLOY__SERVICE_USERS", format!("{{ stamping = {} }}", STAMPING_IDS.0))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        self.rowhouse = Some(command.spawn().context("cannot start rowhouse")?);
        let admin = Client::new(&self.admin_url(), None)?;
        wait_ready(&admin, self.rowhouse.as_mut().expect("just started"), "rowhouse").await
    }

    async fn start_service(&mut self) -> anyhow::Result<()> {
        let log = self.log("stamping.log")?;
        let mut command = Command::new(&self.stamping);
        let own = self.data_dir.join("stamping-own");
        std::fs::create_dir_all(&own)?;
        std::fs::set_permissions(&own, Permissions::from_mode(0o700))?;
        if may_run_as(&(STAMPING_IDS.0..=STAMPING_IDS.0)) {
            // It reads and reaches nothing that is another's: it needs its own cache, the plane and tenants' databases.
            chown(&own, Some(STAMPING_IDS.0), Some(STAMPING_IDS.1))?;
            command.uid(STAMPING_IDS.0).gid(STAMPING_IDS.1);
        }
        command
            .env("LISTEN", self.service_address())
            .env("ROWHOUSE_PLANE", self.data_dir.join("data/run/plane.sock"))
            .env("ROWHOUSE_PLANE_CACHE", own.join("plane.json"))
            .current_dir(&own)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        self.service = Some(command.spawn().context("cannot start the stamping service")?);
        let client = Client::new(&format!("http://{}", self.service_address()), None)?;
        wait_ready(&client, self.service.as_mut().expect("just started"), "stamping").await
    }

    /// `kill -9` of Rowhouse's main process.
    pub async fn kill_rowhouse(&mut self) -> anyhow::Result<()> {
        let mut child = self.rowhouse.take().context("rowhouse runs")?;
        child.kill().await.context("kill -9")
    }

    fn log(&self, name: &str) -> anyhow::Result<File> {
        Ok(File::options().create(true).append(true).open(self.logs().join(name))?)
    }

    /// Stops everything, and empties the data directory unless it is kept.
    pub async fn close(mut self, keep: bool) -> anyhow::Result<()> {
        for child in [self.service.take(), self.rowhouse.take()].into_iter().flatten() {
            stop(child).await?;
        }
        if keep {
            eprintln!("the data is kept in {}", self.data_dir.display());
            return Ok(());
        }
        clear(&self.data_dir)
    }
}

/// SIGTERM, and SIGKILL if that is not heard within 40 s.
async fn stop(mut child: Child) -> anyhow::Result<()> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(Duration::from_secs(40), child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

async fn wait_ready(client: &Client, child: &mut Child, name: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    let mut beat = tokio::time::interval(Duration::from_millis(25));
    while Instant::now() < deadline {
        beat.tick().await;
        if let Some(status) = child.try_wait()? {
            bail!("{name} ended with {status}; see its log");
        }
        let answer = client.send(http::Method::GET, "/health/ready", &[], None).await;
        if answer.is_ok_and(|answer| answer.status.is_success()) {
            return Ok(());
        }
    }
    bail!("{name} was not ready within {} s; see its log", READY_WITHIN.as_secs())
}

/// Removes a directory of the demo's own. Anything else is refused.
fn clear(data_dir: &Path) -> anyhow::Result<()> {
    if !data_dir.exists() {
        return Ok(());
    }
    let ours = data_dir.join("log").is_dir() || std::fs::read_dir(data_dir)?.next().is_none();
    ensure!(ours, "{} is not a directory of the demo; choose another with --data-dir", data_dir.display());
    std::fs::remove_dir_all(data_dir).with_context(|| format!("cannot empty {}", data_dir.display()))
}
