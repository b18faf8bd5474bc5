//! What earlier servers leave behind, and how a start gets past it. The server's account is that of its cluster throughout.

use std::os::unix::{fs::MetadataExt, process::CommandExt};

use super::*;

/// A cluster that was stopped in order.
async fn stopped_cluster(name: &str) -> (Scratch, PathBuf) {
    let scratch = Scratch::new(name);
    let server = PrivateServer::start(scratch.spec()).await.expect("a server");
    let programs = server.binaries().to_owned();
    server.stop().await;
    (scratch, programs)
}

/// A program as the server's account, child of this process.
fn as_server(scratch: &Scratch, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(scratch.cluster()).expect("a cluster");
        command.uid(owner.uid()).gid(owner.gid());
    }
    command
}

/// A postmaster without a guard, that takes connections.
async fn stray_postmaster(scratch: &Scratch, programs: &Path) -> Child {
    let settings = scratch.0.join("settings/postgresql.conf");
    let mut command = as_server(scratch, &programs.join("postgres"));
    command.arg("-D").arg(scratch.cluster()).arg("-c").arg(format!("config_file={}", settings.display()));
    let child = command.spawn().expect("it starts");
    answer(&scratch.config(), "CREATE TABLE IF NOT EXISTS acknowledged (); SELECT 1").await;
    child
}

#[tokio::test]
async fn a_live_postmaster_without_a_guard_is_stopped_first() {
    let (scratch, programs) = stopped_cluster("stray").await;
    let mut stray = stray_postmaster(&scratch, &programs).await;
    let server = PrivateServer::start(scratch.spec()).await.expect("a server");
    let stray_pid = i32::try_from(stray.id()).expect("pids fit");
    assert_ne!(scratch.postmaster(), Some(stray_pid));
    assert!(stray.try_wait().expect("it is ours").expect("it has ended").success(), "a shutdown in order");
    assert_eq!(query(&scratch.config(), "SELECT count(*) FROM acknowledged").await.expect("an answer"), "0");
    server.stop().await;
}

#[tokio::test]
async fn a_dead_postmaster_that_nobody_reaps_is_not_in_the_way() {
    let (scratch, programs) = stopped_cluster("zombie").await;
    let mut stray = stray_postmaster(&scratch, &programs).await;
    let stray_pid = i32::try_from(stray.id()).expect("pids fit");
    kill(stray_pid);
    let dead = || async { Seen::at(stray_pid).is_some_and(|seen| seen.is_dead()).then_some(()) };
    eventually(dead).await.expect("it is dead, and keeps its number until we ask");
    assert_eq!(scratch.postmaster(), Some(stray_pid));
    let server = PrivateServer::start(scratch.spec()).await.expect("a server");
    assert!(Seen::at(stray_pid).is_some_and(|seen| seen.is_dead()), "it was there all the time");
    assert_eq!(query(&scratch.config(), "SELECT count(*) FROM acknowledged").await.expect("an answer"), "0");
    server.stop().await;
    stray.wait().expect("it is ours");
}

#[tokio::test]
async fn a_number_that_now_belongs_to_another_program_is_not_in_the_way() {
    let (scratch, _) = stopped_cluster("reused").await;
    let mut other = as_server(&scratch, Path::new("/bin/sleep")).arg("60").spawn().expect("it starts");
    let cluster = scratch.cluster();
    let text = format!(
        "{}\n{}\n1700000000\n5432\n{}\n\n  1   1\nready\n",
        other.id(),
        cluster.display(),
        scratch.0.join("socket").display()
    );
    fs::write(cluster.join("postmaster.pid"), text).expect("a file");
    let server = PrivateServer::start(scratch.spec()).await.expect("a server");
    assert_eq!(other.try_wait().expect("it is ours"), None, "it was left alone");
    server.stop().await;
    other.kill().expect("it lives");
    other.wait().expect("it is ours");
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_not_in_the_way() {
    let (scratch, _) = stopped_cluster("cut").await;
    fs::write(scratch.cluster().join("postmaster.pid"), "").expect("a file");
    PrivateServer::start(scratch.spec()).await.expect("a server").stop().await;
}

#[tokio::test]
async fn a_half_made_cluster_is_made_again() {
    let scratch = Scratch::new("half");
    fs::create_dir_all(scratch.0.join("cluster.initialising/base")).expect("a directory");
    fs::write(scratch.0.join("rowhouse.lock"), "").expect("a file");
    PrivateServer::start(scratch.spec()).await.expect("a server").stop().await;
}
