//! A gateway that runs on its own: another process with nothing of the control plane's but what it is told.

mod admission;
mod away;
mod counts;
mod door;
mod drained;
mod full;
#[path = "../../../../control/tests/it/node_client.rs"]
mod node_client;
mod roles;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, timeout};

use crate::platform::{Call, PATIENCE, Platform, Seen, Tenant, follow_into_death, free_port, text};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A platform with a door for nodes, and its port.
async fn platform() -> (Platform, u16) {
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    (Platform::start_with(&[("ROWHOUSE_SERVER__NODE_LISTEN", &listen)]).await, port)
}

/// A node's process.
struct Node {
    name: String,
    data_dir: PathBuf,
    gateway: u16,
    admin: u16,
    control: u16,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Node {
    /// Admitted as `name`, enrolled and ready.
    async fn enrolled(platform: &Platform, control: u16, name: &str) -> Node {
        let mut node = Node::new(control, name);
        node.put_token(&admit(platform, name).await);
        node.start();
        node.ready().await;
        node
    }

    fn new(control: u16, name: &str) -> Node {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let data_dir = std::env::temp_dir().join(format!("rowhouse-node-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&data_dir).expect("a directory");
        let (gateway, admin) = (free_port(), free_port());
        let name = name.to_owned();
        Node { name, data_dir, gateway, admin, control, environment: Vec::new(), child: None }
    }

    fn with(mut self, name: &str, value: &str) -> Node {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn put_token(&self, token: &str) {
        std::fs::write(self.data_dir.join("token"), token).expect("a file");
    }

    fn start(&mut self) {
        self.child = Some(self.spawn(&["serve", "--role", "gateway"]));
    }

    /// Starts another process that takes over, and waits until the first has ended and the other serves.
    async fn upgrade(&mut self) {
        let next = self.spawn(&["serve", "--role", "gateway", "--take-over"]);
        assert!(self.ends().await, "{}", self.log());
        self.child = Some(next);
        self.ready().await;
    }

    /// The same for one that takes no requests.
    async fn upgrade_closed(&mut self) {
        let next = self.spawn(&["serve", "--role", "gateway", "--take-over"]);
        assert!(self.ends().await, "{}", self.log());
        self.child = Some(next);
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.data_dir.join("log"));
        let log = log.expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_rowhouse"))
            .args(arguments)
            .env("ROWHOUSE_SERVER__DATA_DIR", &self.data_dir)
            .env("ROWHOUSE_SERVER__NODE", &self.name)
            .env("ROWHOUSE_SERVER__GATEWAY_LISTEN", format!("127.0.0.1:{}", self.gateway))
            .env("ROWHOUSE_SERVER__ADMIN_LISTEN", format!("127.0.0.1:{}", self.admin))
            .env("ROWHOUSE_GATEWAY__CONTROL", format!("[\"127.0.0.1:{}\"]", self.control))
            .env("ROWHOUSE_GATEWAY__ENROLMENT_FILE", self.data_dir.join("token"))
            .env("ROWHOUSE_JOURNAL__SEGMENT_MIB", "4")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary runs");
        follow_into_death(child.id().expect("it runs"), &self.data_dir);
        child
    }

    /// Waits until it serves.
    async fn ready(&self) {
        self.health(|health| health["ready"] == true).await;
    }

    /// Waits until its health is so.
    async fn health(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut beat = interval(Duration::from_millis(25));
        let mut last = Value::Null;
        loop {
            beat.tick().await;
            if let Some(seen) = Call::get("/health/ready").try_send(self.admin).await {
                if is_so(&seen.body) {
                    return seen.body;
                }
                last = seen.body;
            }
            assert!(Instant::now() < deadline, "{last}; {}", self.log());
        }
    }

    /// `kill -9`.
    async fn kill(&mut self) {
        self.child.take().expect("it runs").kill().await.expect("it dies");
    }

    /// SIGTERM, and waits for the end.
    async fn stop(&mut self) {
        let child = self.child.take().expect("it runs");
        let pid = rustix::process::Pid::from_raw(child.id().expect("it runs") as i32).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
        let ended = timeout(PATIENCE, child.wait_with_output()).await;
        assert!(ended.expect("it ends in time").expect("it ran").status.success(), "{}", self.log());
    }

    /// Waits until the process has ended by itself; whether it was content.
    async fn ends(&mut self) -> bool {
        let child = self.child.take().expect("it runs");
        let ended = timeout(PATIENCE, child.wait_with_output()).await;
        ended.expect("it ends in time").expect("it ran").status.success()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data_dir.join("log")).unwrap_or_default()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data_dir.join(name)
    }

    /// A call of a tenant that counts one transaction; it must be answered.
    async fn call(&self, tenant: &Tenant) -> Seen {
        let call = Call::get("/v1/notes/1").tenant(tenant).header("x-usage", "transactions=1");
        let answered = call.try_send(self.gateway).await;
        answered.unwrap_or_else(|| panic!("no answer; {}", self.log()))
    }

    /// Calls until the answer is this one, soon at first and then more and more seldom.
    async fn until(&self, expected: (u16, &str), call: impl Fn() -> Call) {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(5);
        loop {
            let seen = call().try_send(self.gateway).await;
            if seen.as_ref().is_some_and(|seen| seen.code() == expected) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "not {expected:?} but {seen:?}; {}", self.log());
            tokio::time::sleep(pause).await;
            pause = (pause * 5 / 4).min(Duration::from_millis(250));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.data_dir);
    }
}

/// The token of a new node.
async fn admit(platform: &Platform, name: &str) -> String {
    text(&platform.operate(Call::post("/v1/nodes", json!({ "name": name }))).await["token"])
}

/// The node as the control plane lists it.
async fn listed(platform: &Platform, name: &str) -> Value {
    let all = platform.operate(Call::get("/v1/nodes")).await;
    let found = all["items"].as_array().expect("a list").iter().find(|node| node["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not listed in {all}")).clone()
}

async fn revoke(platform: &Platform, name: &str) {
    let call = Call::get(&format!("/v1/nodes/{name}")).method(Method::DELETE);
    platform.operate(call).await;
}

/// Whether nobody but the owner reads a file.
fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o077 == 0
}
