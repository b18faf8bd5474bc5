//! Services on the library, as real processes beside a platform: built once, declared and registered with the command
//! line as their guide says.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::{Instant, interval};

use crate::platform::{Call, PATIENCE, Platform, Seen, free_port};

/// The root of the source tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("a tree")
}

/// A folder that other users can pass, for programs that a dedicated tenant's process is started from.
pub fn scratch(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("rowhouse-it-{}-{name}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The program of `examples/parking`, built as the tests are.
pub async fn parking() -> &'static Path {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT
        .get_or_init(|| async {
            let build = Command::new(env!("CARGO"))
                .args(["build", "--locked", "--quiet", "-p", "parking"])
                .current_dir(root())
                .status();
            assert!(build.await.expect("cargo runs").success());
            let built = Path::new(env!("CARGO_BIN_EXE_rowhouse")).with_file_name("parking");
            let own = scratch("program").join("parking");
            std::fs::copy(&built, &own).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
            own
        })
        .await
}

/// A service's process.
pub struct Service {
    /// Where it listens.
    pub port: u16,
    _child: Child,
}

impl Service {
    /// Starts `program` against the platform's plane, and waits until it answers.
    pub async fn start(platform: &Platform, program: &Path) -> Service {
        let port = free_port();
        let folder = scratch("service");
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let child = Command::new(program)
            .env("LISTEN", format!("127.0.0.1:{port}"))
            .env("ROWHOUSE_PLANE", platform.data_dir().join("run/plane.sock"))
            .env("ROWHOUSE_PLANE_CACHE", folder.join("plane.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the service runs");
        let service = Service { port, _child: child };
        let deadline = Instant::now() + PATIENCE;
        let mut beat = interval(std::time::Duration::from_millis(20));
        while service.call(Call::get("/health/ready")).await.is_none_or(|seen| seen.status != 200) {
            beat.tick().await;
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the service is not ready: {log}");
        }
        service
    }

    /// A call past the gateway.
    pub async fn call(&self, call: Call) -> Option<Seen> {
        call.try_send(self.port).await
    }
}

/// Runs the built command line against the platform, as its operator.
pub async fn rowhouse(platform: &Platform, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rowhouse"))
        .args(arguments)
        .env("ROWHOUSE_URL", platform.control_url())
        .env("ROWHOUSE_TOKEN", &platform.operator)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the binary runs")
}

/// [`rowhouse`] that must succeed; what it printed.
pub async fn operate(platform: &Platform, arguments: &[&str]) -> String {
    let output = rowhouse(platform, arguments).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).expect("text")
}

/// A copy of the catalogue `folder` in which the service listens on `port` instead of `shipped`.
pub fn catalog_with(folder: &str, shipped: u16, port: u16) -> PathBuf {
    let copy = scratch("catalog");
    for entry in std::fs::read_dir(root().join(folder)).expect("a catalogue").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("a file of it");
        let text = text.replace(&format!("127.0.0.1:{shipped}"), &format!("127.0.0.1:{port}"));
        std::fs::write(copy.join(entry.file_name()), text).expect("a copy");
    }
    copy
}
