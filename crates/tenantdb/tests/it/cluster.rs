//! A PostgreSQL server for one test. PostgreSQL refuses to run as root, so root starts it as the user `postgres`.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rowhouse_tenantdb::Cell;

/// A server that stops, and whose files go, when this goes out of scope.
pub struct Cluster {
    directory: PathBuf,
    user: Option<(u32, u32)>,
}

impl Cluster {
    /// Starts a server that takes `connections` besides the superuser's three.
    pub fn start(connections: u32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("rh-it-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        let root = std::fs::metadata("/proc/self").expect("proc").uid() == 0;
        let user = root.then(|| (id("-u"), id("-g")));
        if let Some((uid, gid)) = user {
            chown(&directory, Some(uid), Some(gid)).expect("root may give files away");
        }
        let cluster = Cluster { directory, user };
        let data = cluster.data();
        cluster.run(
            "initdb",
            &["-D", &data, "-U", "postgres", "-A", "trust", "-N", "-k", "-E", "UTF8", "--no-locale"],
        );
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories={} -c fsync=off -c max_connections={} -c shared_buffers=16MB",
            cluster.directory.display(),
            connections + 3
        );
        let log = cluster.directory.join("log").display().to_string();
        cluster.run("pg_ctl", &["-D", &data, "-w", "-l", &log, "-o", &options, "start"]);
        cluster
    }

    pub fn cell(&self, name: &str) -> Cell {
        Cell {
            name: name.to_owned(),
            host: self.host(),
            port: 5432,
            admin_role: "postgres".to_owned(),
            commits_later: false,
        }
    }

    pub fn host(&self) -> String {
        self.directory.display().to_string()
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn data(&self) -> String {
        self.directory.join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(binaries().join(program));
        command.args(arguments).current_dir(&self.directory);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        // Not captured: the server would hold the pipe open.
        let status = command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap_or_else(|problem| panic!("{program}: {problem}"));
        assert!(status.success(), "{program} failed; see {}", self.directory.join("log").display());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.data();
        self.run("pg_ctl", &["-D", &data, "-w", "-m", "immediate", "stop"]);
        std::fs::remove_dir_all(&self.directory).expect("the server has stopped");
    }
}

fn id(flag: &str) -> u32 {
    let output = Command::new("id").args([flag, "postgres"]).output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a user `postgres`")
}

/// Those in `ROWHOUSE_TEST_POSTGRES`, else the newest that Debian has installed.
fn binaries() -> PathBuf {
    if let Some(named) = std::env::var_os("ROWHOUSE_TEST_POSTGRES") {
        return named.into();
    }
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed as Debian packages it")
        .map(|entry| entry.expect("readable").path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().expect("a PostgreSQL server")
}
