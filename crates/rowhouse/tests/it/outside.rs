//! `database.url`: the control database and the tenants on a server that Rowhouse does not run.

use rowhouse_store::server::{PrivateServer, SUPERUSER, ServerSpec};
use tokio_postgres::NoTls;

use crate::platform::{Call, Platform};

#[tokio::test]
async fn an_outside_server_is_used_instead_of_a_private_one() {
    let folder = std::env::temp_dir().join(format!("rowhouse-outside-{}", std::process::id()));
    let mut spec = ServerSpec::new(folder.join("postgres"));
    spec.guard_program = Some(env!("CARGO_BIN_EXE_rowhouse").into());
    spec.shared_buffers_mb = 16;
    let server = PrivateServer::start(spec).await.expect("PostgreSQL starts");
    let config = server.connect_config("postgres", SUPERUSER);
    let (client, connection) = config.connect(NoTls).await.expect("connects");
    let connection = tokio::spawn(connection);
    client.batch_execute("CREATE DATABASE outside").await.expect("a database");
    drop(client);
    connection.await.expect("joins").expect("closes");
    let socket = server.socket_dir().display().to_string();
    let url = format!("host={socket} port={} user={SUPERUSER} dbname=outside", server.port());
    let platform = Platform::start_with(&[("ROWHOUSE_DATABASE__URL", &url)]).await;
    assert!(!platform.data_dir().join("postgres").exists(), "no private server");
    for (code, tier, isolation) in [("out-a", "basic", "shared"), ("out-b", "enterprise", "database")] {
        let tenant = platform.tenant(code, tier, isolation).await;
        assert_eq!(platform.gateway(Call::get("/v1/notes/1").tenant(&tenant)).await.status, 200);
    }
    platform.kill().await;
    server.stop().await;
    std::fs::remove_dir_all(&folder).expect("own folder");
}
