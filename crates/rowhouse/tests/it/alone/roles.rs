//! A control plane that has no gateway, and gateways beside it: each is replaced under load, and no request fails.

use std::sync::Arc;

use super::{Node, listed, platform};
use crate::upgrade::{Seen, client};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_and_their_control_plane_are_replaced_under_load_and_no_request_fails() {
    let (platform, door) = platform().await;
    let tenant = platform.tenant("acme-roles", "professional", "shared").await;
    platform.kill().await;
    platform.run_as(&["serve", "--role", "control"]).await;
    let own = tokio::net::TcpStream::connect(("127.0.0.1", platform.gateway_port())).await;
    assert!(own.is_err(), "a control plane alone takes no requests");
    let mut east = Node::enrolled(&platform, door, "east-1").await;
    let mut west = Node::enrolled(&platform, door, "west-1").await;
    for node in [&east, &west] {
        assert_eq!(node.call(&tenant).await.status, 200);
    }
    let seen = Arc::<Seen>::default();
    let ports = [east.gateway, west.gateway];
    let clients: Vec<_> = (0..6)
        .map(|number| tokio::spawn(client(seen.clone(), ports[number % 2], tenant.clone(), number % 3 != 0)))
        .collect();
    seen.more(12).await;
    east.upgrade().await;
    seen.more(12).await;
    platform.upgrade_as(&["serve", "--role", "control", "--take-over"]).await;
    seen.more(12).await;
    west.upgrade().await;
    seen.more(12).await;
    seen.ends(clients).await;
    // Each was asked once besides, and the first gateway when the tenant was made.
    seen.is_counted(&platform, &tenant, 3).await;
    for name in ["east-1", "west-1"] {
        assert_eq!(listed(&platform, name).await["boot"], 2, "one journal, two processes");
    }
}
