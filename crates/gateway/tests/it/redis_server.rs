//! A real Redis on a free port, without files, that a test may stop, kill and start again.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// It ends with the value.
pub struct RedisServer {
    child: Child,
    port: u16,
}

impl RedisServer {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        RedisServer { child: spawn(port), port }.answering()
    }

    /// One that speaks TLS alone, with `server.crt` and `server.key` of a folder, to those whom its `ca.crt` vouches for.
    pub fn secure(port: u16, folder: &std::path::Path) -> Self {
        let file = |name: &str| folder.join(name).display().to_string();
        let files = [file("server.crt"), file("server.key"), file("ca.crt")];
        let port_text = port.to_string();
        let child = run(&[
            "--port",
            "0",
            "--tls-port",
            &port_text,
            "--bind",
            "127.0.0.1",
            "--tls-cert-file",
            &files[0],
            "--tls-key-file",
            &files[1],
            "--tls-ca-cert-file",
            &files[2],
        ]);
        let until = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "Redis does not start: scripts/lib/setup.sh installs it");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        RedisServer { child, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of the test's own.
    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(word);
        });
        command.query(&mut self.connection()).unwrap()
    }

    /// SIGSTOP: it takes connections and answers nothing.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A new one in its place, which knows nothing.
    pub fn start_again(&mut self) {
        self.child = spawn(self.port);
        self.wait();
    }

    /// Names of keys that would stay for ever.
    pub fn keys_for_ever(&self) -> Vec<String> {
        let keys: Vec<String> = self.ask(&["KEYS", "*"]);
        keys.into_iter().filter(|key| self.ask::<i64>(&["PTTL", key]) == -1).collect()
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    fn answering(self) -> Self {
        self.wait();
        self
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        let client = redis::Client::open(self.url()).unwrap();
        while client.get_connection().is_err() {
            assert!(Instant::now() < until, "Redis does not start: scripts/lib/setup.sh installs it");
            std::thread::yield_now();
        }
    }
}

fn spawn(port: u16) -> Child {
    run(&["--port", &port.to_string(), "--bind", "127.0.0.1"])
}

fn run(arguments: &[&str]) -> Child {
    Command::new("redis-server")
        .args(arguments)
        .args(["--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed by scripts/lib/setup.sh")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
