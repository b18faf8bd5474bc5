//! The PostgreSQL server that the tests of one process share, and a database on it for each of them. A database
//! goes with its test: some hundred of them at once would fill the disk of a small machine.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};

use rowhouse_store::server::{PrivateServer, SUPERUSER, ServerSpec};
use tokio::runtime::Runtime;
use tokio_postgres::{Config, NoTls};

static NUMBER: AtomicU32 = AtomicU32::new(0);

fn root() -> PathBuf {
    PathBuf::from(format!("/tmp/rowhouse-control-test-{}", std::process::id()))
}

/// Removes what test processes that are gone have left.
fn sweep() {
    for entry in std::fs::read_dir("/tmp").expect("/tmp").flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("rowhouse-control-test-"));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A directory of the test's own; it goes with the process.
pub fn scratch(name: &str) -> PathBuf {
    root().join(format!("{name}-{}", NUMBER.fetch_add(1, Ordering::SeqCst)))
}

/// What a server of the tests is.
pub fn server_spec(data_dir: PathBuf) -> ServerSpec {
    let tests = std::env::current_exe().expect("the path of the tests");
    let guard =
        tests.parent().and_then(Path::parent).expect("target/debug/deps").join("examples/control_guard");
    assert!(guard.exists(), "run: cargo build -p rowhouse-control --example control_guard");
    let mut spec = ServerSpec::new(data_dir);
    (spec.shared_buffers_mb, spec.max_connections, spec.max_locks_per_transaction) = (32, 100, 64);
    spec.guard_program = Some(guard);
    spec
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The server of this process, started with the first test; its guard stops it when the process ends. It has the
/// database `template` with the schema of this binary.
pub fn server() -> &'static PrivateServer {
    static SERVER: OnceLock<PrivateServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let start = || {
            sweep();
            let runtime = runtime();
            let server = runtime.block_on(async {
                let server =
                    PrivateServer::start(server_spec(root().join("server"))).await.expect("a server");
                migrate(&server.connect_config("postgres", SUPERUSER), "template").await;
                server
            });
            // The server's pipes belong to this runtime.
            std::mem::forget(runtime);
            server
        };
        std::thread::spawn(start).join().expect("the server starts")
    })
}

/// Makes the database `name` with the schema of this binary.
pub async fn migrate(config: &Config, name: &str) {
    execute(config, &format!("CREATE DATABASE {name}")).await;
    let mut config = config.clone();
    config.dbname(name);
    let (mut client, connection) = config.connect(NoTls).await.expect("a connection");
    let driver = tokio::spawn(connection);
    let applied = rowhouse_store::migrate(&mut client).await;
    applied.unwrap_or_else(|error| panic!("the migrations do not apply: {:.600}", format!("{error:?}")));
    drop(client);
    driver.await.expect("the connection's task").expect("the connection ends well");
}

/// Runs `sql` on a connection of its own, as superuser.
pub async fn execute(config: &Config, sql: &str) {
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    let driver = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    drop(client);
    driver.await.expect("the connection's task").expect("the connection ends well");
}

/// A database on the shared server that is dropped with the last who uses it.
pub struct Database {
    name: String,
    admin: Config,
}

impl Database {
    /// A copy of the database `source`; `admin` is where databases are made from.
    pub async fn copy(admin: Config, source: &str) -> Database {
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::SeqCst));
        execute(&admin, &format!("CREATE DATABASE {name} TEMPLATE {source}")).await;
        Database { name, admin }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn config(&self) -> Config {
        let mut config = self.admin.clone();
        config.dbname(&self.name);
        config
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = dropper().send((self.admin.clone(), std::mem::take(&mut self.name)));
    }
}

/// Who drops databases, one after the other, so that no test waits for it.
fn dropper() -> &'static Sender<(Config, String)> {
    static DROPPER: OnceLock<Sender<(Config, String)>> = OnceLock::new();
    DROPPER.get_or_init(|| {
        let (sender, names) = mpsc::channel::<(Config, String)>();
        std::thread::spawn(move || {
            let runtime = runtime();
            for (admin, name) in names {
                runtime.block_on(execute(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")));
            }
        });
        sender
    })
}
