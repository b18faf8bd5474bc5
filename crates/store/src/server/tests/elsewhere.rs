//! A data directory whose name is too long for a socket.

use super::*;

#[tokio::test]
async fn a_long_directory_gets_a_short_socket_which_goes_with_the_server() {
    let scratch = Scratch::new("long");
    let long = scratch.0.join("n".repeat(100));
    let mut spec = scratch.spec();
    spec.data_dir.clone_from(&long);
    let server = PrivateServer::start(spec.clone()).await.expect("a server");
    let socket = server.socket_dir().to_owned();
    assert!(!socket.starts_with(&long), "{}", socket.display());
    let recorded = fs::read_to_string(long.join("socket_directory")).expect("the place is recorded");
    assert_eq!(Path::new(&recorded), socket);
    let config = server.connect_config("postgres", SUPERUSER);
    assert_eq!(query(&config, "SELECT 1").await.expect("an answer"), "1");
    server.stop().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_named_socket_directory_that_is_too_long_is_refused() {
    let scratch = Scratch::new("named");
    let mut spec = scratch.spec();
    spec.socket_dir = Some(scratch.0.join("n".repeat(100)));
    let error = PrivateServer::start(spec).await.expect_err("no socket can have that name");
    assert!(matches!(error, StartError::Directory(DirectoryError::SocketNameTooLong { .. })), "{error}");
}
