//! From nothing to an answer, and to nothing again.

use std::sync::Arc;

use super::*;

#[tokio::test]
async fn a_bare_directory_becomes_a_server_and_stops_without_a_trace() {
    let scratch = Scratch::new("bare");
    let begun = Instant::now();
    let server =
        tokio::spawn(PrivateServer::start(scratch.spec())).await.expect("it ends").expect("a server");
    let server = Arc::new(server);
    println!("from nothing to the first answer: {:?}", begun.elapsed());
    let config = server.connect_config("postgres", SUPERUSER);
    let expected = [
        ("wal_level", "logical"),
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("max_connections", "20"),
    ];
    for (setting, expected) in expected {
        assert_eq!(
            query(&config, &format!("SHOW {setting}")).await.expect("an answer"),
            expected,
            "{setting}"
        );
    }
    let collation = "SELECT datcollate FROM pg_database WHERE datname = 'postgres'";
    assert_eq!(query(&config, collation).await.expect("an answer"), "C.UTF-8");
    assert_eq!(server.version(), Version::parse(&printed(&config).await).expect("a version"));
    let segment = shared_memory(&scratch).expect("a segment of shared memory");

    let supervisor = tokio::spawn(Arc::clone(&server).supervise());
    server.stop().await;
    supervisor.await.expect("it ends with the stop");
    assert_eq!(*server.state().borrow(), ServerState::Stopped);
    assert!(query(&config, "SELECT 1").await.is_err());
    assert_eq!(scratch.processes(), []);
    assert!(!segments().contains(&segment));
}

async fn printed(config: &Config) -> String {
    format!("postgres (PostgreSQL) {}", query(config, "SHOW server_version").await.expect("an answer"))
}

/// The segment of this cluster: line 7 of `postmaster.pid`.
fn shared_memory(scratch: &Scratch) -> Option<String> {
    let text = fs::read_to_string(scratch.cluster().join("postmaster.pid")).ok()?;
    Some(text.lines().nth(6)?.split_whitespace().nth(1)?.to_owned())
}

fn segments() -> Vec<String> {
    let text = fs::read_to_string("/proc/sysvipc/shm").expect("the kernel's list");
    text.lines().filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned())).collect()
}

#[tokio::test]
async fn any_role_of_the_server_is_open_to_its_own_user() {
    let scratch = Scratch::new("roles");
    let server = PrivateServer::start(scratch.spec()).await.expect("a server");
    let superuser = server.connect_config("postgres", SUPERUSER);
    query(&superuser, "CREATE ROLE made_later LOGIN").await.expect("a role");
    let as_role = server.connect_config("postgres", "made_later");
    assert_eq!(query(&as_role, "SELECT current_user").await.expect("an answer"), "made_later");
    server.stop().await;
}

#[tokio::test]
async fn nothing_but_the_socket_is_open_and_only_to_its_own_users() {
    use std::os::unix::{fs::MetadataExt, process::CommandExt};
    let scratch = Scratch::new("socket");
    let server = PrivateServer::start(scratch.spec()).await.expect("a server");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
    assert_eq!(mode(server.socket_dir()), 0o700);
    assert_eq!(mode(&scratch.cluster()), 0o700);
    if rustix::process::geteuid().is_root() {
        let stranger = Account::named("nobody").expect("every system has nobody");
        let reached =
            Command::new("/bin/ls").arg(server.socket_dir()).uid(stranger.uid).stderr(Stdio::null()).status();
        assert!(!reached.expect("ls runs").success(), "a stranger reached the socket");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_leaves_nothing_in_the_way_of_the_next() {
    let scratch = Scratch::new("abandoned");
    let abandoned = timeout(Duration::from_millis(150), PrivateServer::start(scratch.spec())).await;
    assert!(abandoned.is_err(), "initdb takes longer than this");
    let server = PrivateServer::start(scratch.spec()).await.expect("a server");
    assert_eq!(query(&scratch.config(), "SELECT 1").await.expect("an answer"), "1");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_in_its_own_words() {
    let scratch = Scratch::new("cannot");
    let mut spec = scratch.spec();
    spec.settings = vec!["shared_preload_libraries = 'no_such_library'".to_owned()];
    let error = PrivateServer::start(spec).await.expect_err("it cannot start").to_string();
    assert!(error.contains("five times within a minute"), "{error}");
    assert!(error.contains("could not access file \"no_such_library\""), "{error}");
    assert_eq!(scratch.processes(), []);
}

#[tokio::test]
async fn a_named_os_user_may_be_any_role_and_no_other_may_be_one() {
    use std::os::unix::process::CommandExt;
    let scratch = Scratch::new("named-user");
    let mut spec = scratch.spec();
    spec.ident = vec!["nobody".to_owned()];
    let server = match PrivateServer::start(spec).await {
        Err(StartError::Admission(AdmissionError::NeedsSixteen(names))) => {
            return assert_eq!(names, ["nobody"]);
        }
        started => started.expect("a server"),
    };
    if !rustix::process::geteuid().is_root() {
        return server.stop().await;
    }
    query(&server.connect_config("postgres", SUPERUSER), "CREATE ROLE made_later LOGIN")
        .await
        .expect("a role");
    for (name, let_in) in [("nobody", true), ("daemon", false)] {
        let uid = Account::named(name).expect("every system has it").uid;
        let mut psql = Command::new(server.binaries().join("psql"));
        psql.arg("--host").arg(server.socket_dir()).args([
            "--no-psqlrc",
            "postgres",
            "made_later",
            "--command",
            "SELECT 1",
        ]);
        let output = psql.uid(uid).current_dir("/").output().expect("psql runs");
        assert_eq!(output.status.success(), let_in, "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_kept_apart_lets_its_group_be_anybody_but_an_administrator() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new("apart");
    let mut spec = scratch.spec();
    let ids = Apart { user: 1_999_999_990, group: 1_999_999_990 };
    spec.apart = Some(ids);
    let server = PrivateServer::start(spec).await.expect("it starts");
    let config = scratch.config();
    query(&config, "CREATE ROLE tenant LOGIN; CREATE ROLE rh_mover; CREATE ROLE rh_mover_7 LOGIN SUPERUSER IN ROLE rh_mover")
        .await
        .expect("root administers it");
    let found = fs::metadata(scratch.cluster().join("base")).expect("a cluster");
    assert_eq!((found.uid(), found.gid()), (ids.user, ids.group));
    // Found in the PATH, the programs may be links to where they are.
    let programs = fs::canonicalize(server.binaries().join("postgres")).expect("the server's program");
    let psql = programs.with_file_name("psql");
    let connect = |uid: u32, gid: u32, role: &str| {
        let mut command = Command::new(&psql);
        command
            .args(["-XAtc", "SELECT current_user", "-d", "postgres", "-U", role, "-h"])
            .arg(server.socket_dir());
        std::os::unix::process::CommandExt::gid(&mut command, gid);
        std::os::unix::process::CommandExt::uid(&mut command, uid);
        let output = command
            .env_clear()
            .current_dir("/")
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", psql.display()));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let stranger = ids.user + 5;
    assert_eq!(connect(ids.user + 1, ids.group, "tenant"), "tenant");
    for role in [SUPERUSER, "rh_mover_7"] {
        assert_eq!(connect(ids.user + 1, ids.group, role), "", "{role} of its group");
        assert_eq!(connect(ids.user, ids.group, role), "", "{role} of its own account");
    }
    assert_eq!(connect(stranger, stranger, "tenant"), "", "others do not reach it");
    server.stop().await;
    let again = PrivateServer::start(ServerSpec { apart: Some(ids), ..scratch.spec() })
        .await
        .expect("it starts again");
    assert_eq!(answer(&config, "SELECT count(*)::text FROM pg_roles WHERE rolname = 'tenant'").await, "1");
    again.stop().await;
}
