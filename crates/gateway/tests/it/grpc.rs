//! gRPC as its own library speaks it: calls, streams both ways, trailers, deadlines, and refusals as its statuses.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rowhouse_domain::limits::LimitScope;
use rowhouse_journal::{Outcome, Protocol};

use crate::directory::{ACME, KeyPlan, route};
use crate::stage::Stage;

/// Python with the packages of the tests.
pub fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program: PathBuf = root.join("../../target/venv/bin/python");
    assert!(program.exists(), "{} is missing: scripts/test installs it", program.display());
    let mut command = Command::new(program);
    command.arg(root.join("tests/it/clients").join(script));
    command
}

struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start() -> Self {
        let mut child = python("grpc_peers.py")
            .arg("server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Service { child, address: format!("127.0.0.1:{}", line.trim()) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn calls_streams_and_refusals_are_what_a_grpc_library_expects() {
    let service = Service::start();
    let mut weak = String::new();
    let stage = Stage::with(|plan| {
        plan.services[0].protocol = "grpc".to_owned();
        plan.services[0].upstreams = vec![service.address.clone()];
        let calls = ["Unary", "ServerStream", "ClientStream", "Both", "Fails", "Slow"];
        for (place, name) in calls.iter().enumerate() {
            let path = format!("/stamps.v1.Stamps/{name}");
            let mut own = route(&format!("call-{place}"), &["POST"], &path);
            (own.permission, own.resource_type) = (Some("stamp:create".to_owned()), None);
            plan.routes.push(own);
        }
        weak = plan.key(KeyPlan { permits: &["stamp:read"], ..KeyPlan::of(ACME) });
        plan.limit("often", LimitScope::Tenant, 1, 20);
    });
    let client = python("grpc_peers.py")
        .args(["client", &stage.address.to_string(), &stage.acme, &weak])
        .stderr(Stdio::piped())
        .spawn();
    let mut client = client.unwrap();
    let mut said = String::new();
    client.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(client.wait().unwrap().success(), "{said}");
    let records = stage.records(10);
    let records: Vec<_> = records.iter().map(|recorded| recorded.record()).collect();
    assert!(records.iter().all(|record| record.protocol == Protocol::Http2));
    let statuses = |outcome: Outcome| -> Vec<u16> {
        records.iter().filter(|record| record.outcome == outcome).map(|record| record.status).collect()
    };
    assert!(statuses(Outcome::Served).iter().all(|status| *status == 200));
    for refused in [401, 403, 404, 429] {
        assert!(statuses(Outcome::Refused).contains(&refused), "{refused} is recorded as what it was");
    }
}
