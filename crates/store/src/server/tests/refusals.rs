//! What is refused, and stays as it was.

use super::*;

#[tokio::test]
async fn a_second_supervisor_is_refused_and_told_who_was_first() {
    let scratch = Scratch::new("second");
    let main = MainProcess::serve(&scratch);
    let error = PrivateServer::start(scratch.spec()).await.expect_err("it is taken");
    let text = error.to_string();
    assert!(
        matches!(error, StartError::InUse { pid, .. } if pid.unsigned_abs() == main.child.id()),
        "{text}"
    );
    assert!(text.contains(&format!("guard serve {}", scratch.0.display())), "{text}");
    assert_eq!(query(&scratch.config(), "SELECT 1").await.expect("the first still serves"), "1");
}

#[tokio::test]
async fn a_directory_of_somebody_else_is_not_touched() {
    let scratch = Scratch::new("foreign");
    fs::create_dir(&scratch.0).expect("a directory");
    fs::write(scratch.0.join("PG_VERSION"), "15\n").expect("a file");
    let before = listing(&scratch.0);
    let error = PrivateServer::start(scratch.spec()).await.expect_err("it is not ours");
    assert!(matches!(error, StartError::Directory(DirectoryError::Foreign { .. })), "{error}");
    assert_eq!(listing(&scratch.0), before);
}

#[tokio::test]
async fn a_cluster_of_another_major_or_owner_is_not_touched() {
    let scratch = Scratch::new("major");
    let server = PrivateServer::start(scratch.spec()).await.expect("a server");
    let owner = fs::metadata(scratch.cluster())
        .map(|found| std::os::unix::fs::MetadataExt::uid(&found))
        .expect("an owner");
    server.stop().await;

    fs::write(scratch.cluster().join("PG_VERSION"), "14\n").expect("a file");
    let before = listing(&scratch.0);
    let error = PrivateServer::start(scratch.spec()).await.expect_err("of another major");
    assert!(matches!(error, StartError::Directory(DirectoryError::OtherMajor { .. })), "{error}");
    assert!(error.to_string().contains("apt-get install postgresql-14"), "{error}");
    assert_eq!(listing(&scratch.0), before);

    fs::write(scratch.cluster().join("PG_VERSION"), format!("{}\n", server.version().major)).expect("a file");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(scratch.cluster(), Some(65_534), None).expect("root may");
        let before = listing(&scratch.cluster());
        let error = PrivateServer::start(scratch.spec()).await.expect_err("of another owner");
        assert!(matches!(error, StartError::Directory(DirectoryError::WrongOwner { .. })), "{error}");
        assert_eq!(listing(&scratch.cluster()), before);
        std::os::unix::fs::chown(scratch.cluster(), Some(owner), None).expect("root may");
    }
    PrivateServer::start(scratch.spec()).await.expect("put right, it starts").stop().await;
}

#[tokio::test]
async fn a_line_that_loses_data_is_refused_before_anything_is_made() {
    let scratch = Scratch::new("line");
    let mut spec = scratch.spec();
    spec.settings = vec!["fsync = off".to_owned()];
    let error = PrivateServer::start(spec).await.expect_err("it would lose data");
    assert!(matches!(error, StartError::Setting(SettingError::LosesData { .. })), "{error}");
    assert!(!scratch.0.exists());
}

#[tokio::test]
async fn not_even_a_superuser_turns_durability_off() {
    let scratch = Scratch::new("alter");
    let server = PrivateServer::start(scratch.spec()).await.expect("a server");
    query(&scratch.config(), "ALTER SYSTEM SET fsync = off").await.expect("PostgreSQL accepts it");
    server.stop().await;
    let server = PrivateServer::start(scratch.spec()).await.expect("a server");
    assert_eq!(query(&scratch.config(), "SHOW fsync").await.expect("an answer"), "on");
    server.stop().await;
}

#[tokio::test]
async fn a_way_that_the_server_cannot_pass_is_named() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scratch = Scratch::new("barred");
    fs::create_dir(&scratch.0).expect("a directory");
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o700)).expect("a mode");
    let mut spec = scratch.spec();
    spec.data_dir = scratch.0.join("inside");
    let error = PrivateServer::start(spec).await.expect_err("the server's user cannot get there");
    assert!(error.to_string().contains(&format!("chmod o+x {}", scratch.0.display())), "{error}");
}
