//! The life of tenants on real PostgreSQL: provisioning on every level, its failures and crashes, suspension, what
//! services are told.

mod backups;
mod change_tier;
mod crash;
mod decommission;
mod edit;
mod failure;
mod holds;
mod instance;
mod levels;
mod moving;
mod plane;
mod probes;
mod seen;
mod stuck;
mod suspension;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use rowhouse_control::{Shared, catalog, deploy, directory, keys, lifecycle, tenancy};
use rowhouse_store::sagas::{Action, Engine, Kind, Step, StepError};
use rowhouse_store::server::{PrivateServer, SUPERUSER, may_run_as};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::platform::{Platform, server_spec};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A control plane with a server of its own, which is its cell, and an operator.
pub struct Stage {
    pub platform: Platform,
    pub operator: String,
    pub server: PrivateServer,
    pub directory: PathBuf,
    shutdown: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Beside the server of the other tests, so that it is removed with it.
fn directory() -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    PathBuf::from(format!("/tmp/rowhouse-control-test-{}/stage-{number}", std::process::id()))
}

impl Stage {
    pub async fn start() -> Stage {
        Stage::start_with(|_| ()).await
    }

    /// The same with other settings of instances.
    pub async fn start_with(change: impl FnOnce(&mut deploy::Settings)) -> Stage {
        Stage::start_set(|settings| change(&mut settings.deploy)).await
    }

    /// The same with any other settings.
    pub async fn start_set(change: impl FnOnce(&mut rowhouse_control::Settings)) -> Stage {
        let directory = directory();
        let mut spec = server_spec(directory.join("server"));
        (spec.shared_buffers_mb, spec.max_connections) = (32, 120);
        let server = PrivateServer::start(spec).await.expect("a server");
        let platform = Platform::on_own_server_with(&server, |settings| {
            settings.deploy = settings_of(&directory);
            settings.backups.directory = directory.join("backups");
            change(settings);
        })
        .await;
        let control = platform.control.clone();
        catalog::prepare(&control, catalog::shipped()).await.expect("the shipped catalogue");
        let operator =
            keys::bootstrap_operator(&control).await.expect("an operator").expect("the first start");
        let host = server.socket_dir().display().to_string();
        tenancy::register_local_cell(&control, &host, server.port()).await.expect("a cell");
        let (shutdown, stop) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let followed = directory::start(&control).await.expect("a directory");
        tasks.spawn(followed.run(control.clone(), stop.clone()));
        tasks.spawn(deploy::run(control, stop));
        let stage = Stage { platform, operator, server, directory, shutdown, tasks };
        stage.put_tables(1).await;
        stage
    }

    /// Ends what runs; the instances' servers are stopped, and what they stored goes: together it would fill the
    /// disk of a small machine.
    pub async fn stop(mut self) {
        self.shutdown.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        self.server.stop().await;
        std::fs::remove_dir_all(&self.directory).expect("the directory of a stage is its own");
    }

    pub fn control(&self) -> &Shared {
        &self.platform.control
    }

    /// What the platform under test runs in production, in this test's runtime.
    pub fn run_lifecycle(&mut self) {
        let (control, stop) = (self.control().clone(), self.shutdown.subscribe());
        self.tasks.spawn(async move { lifecycle::run(control, stop).await.expect("known sagas") });
    }

    /// Serves services' processes their plane, once; the socket.
    pub fn serve_plane(&mut self) -> PathBuf {
        let socket = self.directory.join("run/plane.sock");
        if !socket.exists() {
            let (control, path, stop) = (self.control().clone(), socket.clone(), self.shutdown.subscribe());
            self.tasks
                .spawn(async move { tenancy::plane::serve(control, &path, stop).await.expect("a socket") });
        }
        socket
    }

    pub async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.platform.call(&self.operator, method, path, Some(body)).await
    }

    pub async fn get(&self, path: &str) -> Value {
        self.platform.get(&self.operator, path).await
    }

    /// A key of another person who may do what the operator may.
    pub async fn second_operator(&self) -> String {
        self.operators_key("platform_admin").await
    }

    /// A key of another person of the operator's, with this role.
    pub async fn operators_key(&self, role: &str) -> String {
        let tenant = "?tenant=operator";
        let (_, account) =
            self.call("POST", &format!("/v1/service_accounts{tenant}"), json!({"name": "second"})).await;
        let owner = json!({"kind": "service_account", "id": account["id"]});
        let grant = json!({"principal": owner, "role": role});
        let (status, granted) = self.call("POST", &format!("/v1/grants{tenant}"), grant).await;
        assert_eq!(status, 201, "{granted}");
        let key = json!({"name": "second", "owner": owner, "roles": [role]});
        let (status, key) = self.call("POST", &format!("/v1/keys{tenant}"), key).await;
        assert_eq!(status, 201, "{key}");
        let text = key["key"].as_str().expect("a key").to_owned();
        while self.platform.call(&text, "GET", "/v1/tenants", None).await.0 != 200 {
            tokio::task::yield_now().await;
        }
        text
    }

    /// A request of the operator with one more header.
    pub async fn call_with(
        &self,
        (name, value): (&str, &str),
        method: &str,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "control.test")
            .header("authorization", format!("Bearer {}", self.operator))
            .header("content-type", "application/json")
            .header(name, value)
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("a request");
        self.platform.send(request).await
    }

    /// Asks for a tenant; the operation's id.
    pub async fn ask_for(&self, code: &str, tier: &str, isolation: &str) -> String {
        let body = json!({"code": code, "company_name": "Acme GmbH", "tier": tier, "isolation": isolation});
        let (status, operation) = self.call("POST", "/v1/tenants", body).await;
        assert_eq!(status, 202, "{operation}");
        operation["id"].as_str().expect("an id").to_owned()
    }

    pub async fn operation(&self, id: &str) -> Value {
        self.get(&format!("/v1/operations/{id}")).await
    }

    /// Executes what is due until this operation is at an end, letting waits between tries pass.
    pub async fn execute(&self, engine: &Engine<Shared>, id: &str) -> Value {
        loop {
            engine.run_one().await.expect("the control database is there");
            let operation = self.operation(id).await;
            if operation["state"] != "running" {
                return operation;
            }
            self.platform.hand.advance_us(1_000_000);
        }
    }

    /// A tenant that is served.
    pub async fn tenant(&self, code: &str, tier: &str, isolation: &str) -> Value {
        let id = self.ask_for(code, tier, isolation).await;
        let operation = self.execute(&lifecycle::engine(self.control()), &id).await;
        assert_eq!(operation["state"], "done", "{operation:#}");
        self.get(&format!("/v1/tenants/{code}")).await
    }

    /// The tables of the stamping service, with migrations up to this number.
    pub async fn put_tables(&self, version: usize) -> Value {
        let migrations = [
            json!({"number": 1, "name": "stamps", "sql": "CREATE TABLE stamps (tenant_id uuid NOT NULL DEFAULT rh.stamped(), \
                id uuid NOT NULL, hash text NOT NULL, PRIMARY KEY (tenant_id, id))"}),
            json!({"number": 2, "name": "notes", "sql": "ALTER TABLE stamps ADD COLUMN note text"}),
        ];
        let body = json!({"manifest": "[table.stamps]\nkind = \"tenant\"\npartitions = 4\n", "migrations": migrations[..version]});
        let (status, answer) = self.call("PUT", "/v1/services/stamping/tables", body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// One column of a query on a database of the cell, as one text.
    pub async fn in_cell(&self, database: &str, sql: &str) -> String {
        let config = self.server.connect_config(database, SUPERUSER);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("a connection");
        let driver = tokio::spawn(connection);
        let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        drop(client);
        driver.await.expect("the connection's task").expect("the connection ends well");
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join(" ")
    }

    /// Everything that tenants have left in the cell and on disk.
    pub async fn traces(&self) -> Vec<String> {
        let own = "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^t_[0-9a-f]{16}' ORDER BY 1";
        let databases = "SELECT datname::text FROM pg_database WHERE datname ~ '^t_[0-9a-f]{16}' ORDER BY 1";
        let schemas = "SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^t_[0-9a-f]{16}' ORDER BY 1";
        let places = "SELECT tenant::text FROM rh.place ORDER BY 1";
        let instances = std::fs::read_dir(self.directory.join("instances"));
        let instances = instances.map_or(0, |entries| entries.count());
        vec![
            format!("roles: {}", self.in_cell("postgres", own).await),
            format!("databases: {}", self.in_cell("postgres", databases).await),
            format!("schemas: {}", self.in_cell("rh_schemas_1", schemas).await),
            format!("shared places: {}", self.in_cell("rh_shared", places).await),
            format!("schema places: {}", self.in_cell("rh_schemas_1", places).await),
            format!("instances: {instances}"),
            format!("records: {}", self.platform.ask(RECORDS).await),
        ]
    }
}

/// What the control database keeps about places, and what of the inventory is not gone.
const RECORDS: &str = "SELECT concat_ws(' ', \
    (SELECT count(*) FROM tenancy.places), (SELECT count(*) FROM tenancy.installations WHERE tenant_id IS NOT NULL), \
    (SELECT count(*) FROM tenancy.context_keys WHERE database LIKE 't\\_%'), \
    (SELECT count(*) FROM tenancy.cells WHERE kind = 'instance'), (SELECT count(*) FROM deploy.instances), \
    (SELECT count(*) FROM lifecycle.inventory WHERE state <> 'gone'), \
    (SELECT count(*) FROM access.grants g JOIN tenancy.tenants t USING (tenant_id) \
       WHERE t.status <> 'active' AND g.removed_at IS NULL), \
    (SELECT count(*) FROM billing.subscriptions s JOIN tenancy.tenants t USING (tenant_id) \
       WHERE t.status <> 'active' AND s.ended_at IS NULL))";

/// Nobody's on any machine of ours.
const USER_IDS: std::ops::RangeInclusive<u32> = 1_999_000_000..=1_999_000_999;

fn settings_of(directory: &Path) -> deploy::Settings {
    let tests = std::env::current_exe().expect("the path of the tests");
    let examples = tests.parent().and_then(Path::parent).expect("target/debug/deps").join("examples");
    // It runs as the server's user, who may not be able to look into the build's folder.
    let service = directory.join("control_service");
    std::fs::create_dir_all(directory).expect("a directory");
    std::fs::copy(examples.join("control_service"), &service)
        .expect("run: cargo build -p rowhouse-control --examples");
    let program = deploy::Program { program: service, arguments: Vec::new() };
    deploy::Settings {
        directory: directory.join("instances"),
        plane_socket: directory.join("plane.sock"),
        applications: [("stamping".to_owned(), program)].into(),
        guard_program: Some(examples.join("control_guard")),
        ids: may_run_as(&USER_IDS).then_some(USER_IDS),
        ..deploy::Settings::default()
    }
}

/// A step that fails for good.
pub fn fault() -> Step<Shared> {
    Step {
        name: "fault",
        deadline: std::time::Duration::from_secs(10),
        action: Action::Outside(|_| {
            Box::pin(async { Err(StepError::never("test.planted", "a planted fault")) })
        }),
        undo: Action::Nothing,
    }
}

pub fn engine_of(control: &Shared, kind: Kind<Shared>) -> Engine<Shared> {
    Engine::new(control.store.clone(), control.clone(), vec![kind])
}
