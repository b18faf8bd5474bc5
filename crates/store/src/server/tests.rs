//! The promises of a private server, on a real one: made, started, killed in every order, refused where it must be.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_postgres::NoTls;

use super::*;

/// The example `guard`, which Cargo builds beside the tests.
fn guard_program() -> PathBuf {
    let tests = std::env::current_exe().expect("the path of the tests");
    let program = tests.parent().and_then(Path::parent).expect("target/debug/deps").join("examples/guard");
    assert!(
        program.exists(),
        "{} is missing; run: cargo build -p rowhouse-store --example guard",
        program.display()
    );
    program
}

/// A directory under /tmp, removed at the end. Tests that fail leave it for the person who looks.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = PathBuf::from(format!("/tmp/rowhouse-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn spec(scratch: &Scratch) -> ServerSpec {
    let mut spec = ServerSpec::new(&scratch.0);
    spec.shared_buffers_mb = 16;
    spec.max_connections = 20;
    spec.max_locks_per_transaction = 64;
    spec.guard_program = Some(guard_program());
    spec
}

async fn query(server: &PrivateServer, sql: &str) -> Result<String, tokio_postgres::Error> {
    let (client, connection) = server.connect_config("postgres", SUPERUSER).connect(NoTls).await?;
    let messages = tokio::select! {
        messages = client.simple_query(sql) => messages?,
        ended = connection => { ended?; panic!("the connection ended before the answer") }
    };
    let first = messages.into_iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(first.unwrap_or_default())
}

#[tokio::test]
async fn a_bare_directory_becomes_a_server() {
    let scratch = Scratch::new("bare");
    let begun = std::time::Instant::now();
    let server = Arc::new(PrivateServer::start(spec(&scratch)).await.expect("a server"));
    println!("from nothing to the first answer: {:?}", begun.elapsed());
    for (setting, expected) in
        [("wal_level", "logical"), ("fsync", "on"), ("data_checksums", "on"), ("listen_addresses", "")]
    {
        assert_eq!(
            query(&server, &format!("SHOW {setting}")).await.expect("an answer"),
            expected,
            "{setting}"
        );
    }
    server.stop().await;
    assert_eq!(*server.state().borrow(), ServerState::Stopped);
    assert!(query(&server, "SELECT 1").await.is_err());
}
