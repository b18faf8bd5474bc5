//! One private PostgreSQL for all tests of this module, a database of its own for each, and a clock moved by hand.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rowhouse_domain::clock::{Clock, Hand};
use rowhouse_domain::entropy::Entropy;
use tokio_postgres::{Client, Config, NoTls};

use crate::pool::{PoolBounds, Store};
use crate::server::{PrivateServer, SUPERUSER, ServerSpec};

const TEMPLATE: &str = "migrated";
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Connects as superuser; the connection ends with its runtime.
pub async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// A store on a fresh database, a second way into it, and the clock's hand.
pub async fn fresh() -> (Store, Config, Hand) {
    let (maintenance, socket) = server();
    let name = format!("saga_{}", NEXT.fetch_add(1, Ordering::SeqCst));
    let admin = connect(maintenance).await;
    admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}")).await.expect("a database");
    let config = config(socket, &name);
    let (clock, hand) = Clock::by_hand(1_700_000_000_000_000);
    let entropy = Entropy::new(|out| getrandom::fill(out).expect("the system has randomness"));
    (Store::new(config.clone(), PoolBounds::default(), clock, entropy), config, hand)
}

fn config(socket: &Path, database: &str) -> Config {
    let mut config = Config::new();
    config.host_path(socket).port(5432).user(SUPERUSER).dbname(database);
    config
}

/// Started once a process, on a runtime of its own that lives as long as the process. When that ends, the guard stops it.
fn server() -> &'static (Config, PathBuf) {
    static SERVER: OnceLock<(Config, PathBuf)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let server = PrivateServer::start(spec()).await.expect("a server");
                let maintenance = config(server.socket_dir(), "postgres");
                let admin = connect(&maintenance).await;
                admin.batch_execute(&format!("CREATE DATABASE {TEMPLATE}")).await.expect("a database");
                let template = config(server.socket_dir(), TEMPLATE);
                crate::migrate(&mut connect(&template).await).await.expect("migrations");
                connect(&template).await.batch_execute(super::WORLD).await.expect("the tests' own tables");
                tell.send((maintenance, server.socket_dir().to_owned())).expect("the tests wait");
                std::sync::Arc::new(server).supervise().await;
            });
        });
        told.recv().expect("the server starts")
    })
}

fn spec() -> ServerSpec {
    let named = |process: &str| PathBuf::from(format!("/tmp/rowhouse-test-{process}-sagas"));
    for old in std::fs::read_dir("/tmp").expect("a directory for tests").flatten() {
        let name = old.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix("rowhouse-test-").and_then(|name| name.strip_suffix("-sagas"));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Of a run that is over; another may be removing it, too.
            let _ = std::fs::remove_dir_all(old.path());
        }
    }
    let directory = named(&std::process::id().to_string());
    let tests = std::env::current_exe().expect("the path of the tests");
    let guard = tests.parent().and_then(Path::parent).expect("target/debug/deps").join("examples/guard");
    let mut spec = ServerSpec::new(directory);
    (spec.shared_buffers_mb, spec.max_connections, spec.max_locks_per_transaction) = (32, 200, 64);
    spec.guard_program = Some(guard);
    spec
}
