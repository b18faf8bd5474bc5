//! A dedicated tenant's server and process: there, supervised, back after kills and restarts.

use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// What the tenant's own process says: its id, and what it was told.
async fn said(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let mut words = String::new();
    stream.read_to_string(&mut words).await.ok()?;
    (!words.is_empty()).then_some(words)
}

async fn instance(stage: &Stage) -> Value {
    stage.get("/v1/instances?tenant=dune").await["items"][0].clone()
}

/// Kills a process that the tests have started.
fn kill(pid: i64) {
    let status = std::process::Command::new("sh").args(["-c", "kill -9 $0", &pid.to_string()]).status();
    assert!(status.expect("kill").success(), "process {pid}");
}

fn postmaster(stage: &Stage, directory: &str) -> i64 {
    let file = stage.directory.join("instances").join(directory).join("server/cluster/postmaster.pid");
    let text = std::fs::read_to_string(file).expect("a server runs");
    text.lines().next().and_then(|pid| pid.parse().ok()).expect("its process")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_started_while_nobody_could_be_told_is_told_of_later() {
    let stage = Stage::start().await;
    // As if the control database were away, twice, just when a server has come up.
    stage
        .platform
        .execute(
            "CREATE SEQUENCE public.told;
             CREATE FUNCTION public.not_at_first() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
               IF NEW.host <> '' AND nextval('public.told') < 3 THEN RAISE EXCEPTION 'not now'; END IF;
               RETURN NEW;
             END $$;
             CREATE TRIGGER not_at_first BEFORE UPDATE ON tenancy.cells FOR EACH ROW WHEN (NEW.kind = 'instance')
               EXECUTE FUNCTION public.not_at_first()",
        )
        .await;
    let tenant = stage.tenant("dune", "premium", "instance").await;
    assert_eq!(tenant["status"], "active", "{tenant:#}");
    assert_eq!(stage.platform.ask("SELECT (last_value >= 3)::text FROM public.told").await, "true");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dedicated_tenant_has_its_own_server_and_process_which_come_back() {
    let stage = Stage::start().await;
    let tenant = stage.tenant("dune", "premium", "instance").await;
    let id: TenantId = tenant["id"].as_str().expect("an id").parse().expect("an id");
    let found = instance(&stage).await;
    assert_eq!(
        (&found["runner"], &found["observed"]["phase"]),
        (&json!("local"), &json!("running")),
        "{found:#}"
    );
    let application = &found["observed"]["applications"][0];
    let address = application["address"].as_str().expect("an address").to_owned();
    let transaction =
        stage.control().store.read(&Permit::for_system(None, "test")).await.expect("a transaction");
    let upstreams = deploy::upstreams(&transaction, None).await.expect("upstreams");
    transaction.finish().await.expect("commit");
    assert_eq!(upstreams, [(id, "stamping".to_owned(), address.clone())]);
    let words = said(&address).await.expect("it serves");
    let pid = application["pid"].as_i64().expect("a process");
    let socket = stage.directory.join("plane.sock");
    assert_eq!(words.trim(), format!("{pid} {id} single-tenant dedicated {}", socket.display()));

    let directory = found["desired"]["directory"].as_str().expect("a name").to_owned();
    kill(pid);
    kill(postmaster(&stage, &directory));
    let fleet = &stage.control().fleet;
    let back = |found: &deploy::Observed| {
        let another = found.applications[0].pid.is_some_and(|own| i64::from(own) != pid);
        another && found.phase == deploy::Phase::Running
    };
    fleet.wait_until(id, PATIENCE, back).await.expect("both are back");
    let again = said(&address).await.expect("it serves on the same address");
    assert_ne!(again, words);
    // The tenant's data is reached there as before.
    let (status, suspended) =
        stage.call("POST", "/v1/tenants/dune/suspend", json!({"mode": "blocked", "reason": "x"})).await;
    assert_eq!(status, 200, "{suspended}");
    let applied = "SELECT rights || '/' || rights_applied FROM tenancy.places";
    assert_eq!(stage.platform.ask(applied).await, "/");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_started_again_with_the_platform() {
    let mut stage = Stage::start().await;
    let tenant = stage.tenant("dune", "premium", "instance").await;
    let id: TenantId = tenant["id"].as_str().expect("an id").parse().expect("an id");
    let address = instance(&stage).await["observed"]["applications"][0]["address"]
        .as_str()
        .expect("an address")
        .to_owned();
    stage.shutdown.send_replace(true);
    while stage.tasks.join_next().await.is_some() {}
    assert_eq!(said(&address).await, None, "it was stopped");
    let (shutdown, stop) = watch::channel(false);
    stage.shutdown = shutdown;
    stage.tasks.spawn(deploy::run(stage.control().clone(), stop));
    while said(&address).await.is_none() {
        tokio::task::yield_now().await;
    }
    let running = |found: &deploy::Observed| found.phase == deploy::Phase::Running;
    stage.control().fleet.wait_until(id, PATIENCE, running).await.expect("it runs");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_has_a_full_number_of_instances() {
    let stage = Stage::start_with(|settings| settings.instances_max = 1).await;
    stage.tenant("dune", "premium", "instance").await;
    let before = stage.traces().await;
    let id = stage.ask_for("elm", "premium", "instance").await;
    let operation = stage.execute(&lifecycle::engine(stage.control()), &id).await;
    assert_eq!(
        (&operation["state"], &operation["problem"]["code"]),
        (&json!("undone"), &json!("tenancy.no_capacity"))
    );
    assert_eq!(stage.traces().await, before);
    stage.stop().await;
}
