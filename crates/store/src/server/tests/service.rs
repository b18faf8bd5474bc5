//! A tenant's own application: kept alive, told its secrets in private, stopped for good.

use std::sync::Arc;

use landlock::{AccessNet, CompatLevel, Compatible, RulesetAttr};

use super::*;

fn spec(scratch: &Scratch, script: &str) -> ServiceSpec {
    fs::create_dir_all(&scratch.0).expect("a directory");
    ServiceSpec {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: [("DATABASE_URL".to_owned(), "postgres://secret@/x".to_owned())].into(),
        os_user: None,
        port: None,
        working_dir: None,
        environment_file: scratch.0.join("environment"),
        log: scratch.0.join("service.log"),
        guard_program: Some(guard_program()),
    }
}

async fn logged(scratch: &Scratch, wanted: &str) {
    let look =
        || async { fs::read_to_string(scratch.0.join("service.log")).ok()?.contains(wanted).then_some(()) };
    eventually(look).await.unwrap_or_else(|| panic!("the log never said {wanted:?}"));
}

/// The pid, once it runs as another than `before`.
async fn running(service: &ServiceProcess, before: i32) -> i32 {
    let mut state = service.state();
    let is_new = |state: &ServiceState| matches!(state, ServiceState::Running { pid } if *pid != before);
    let found = timeout(PATIENCE, state.wait_for(is_new))
        .await
        .expect("it runs again")
        .expect("it is watched")
        .clone();
    let ServiceState::Running { pid } = found else { unreachable!("it was waited for") };
    pid
}

fn is_alive(pid: i32) -> bool {
    Seen::at(pid).is_some_and(|seen| !seen.is_dead())
}

#[tokio::test]
async fn an_application_comes_back_and_its_secrets_are_in_no_list_of_processes() {
    let scratch = Scratch::new("service");
    let script = "echo \"at $DATABASE_URL\"; sleep 60 & echo \"child $!\"; wait";
    let service = ServiceProcess::start(spec(&scratch, script)).await;
    let service = Arc::new(service.expect("it starts"));
    let supervisor = tokio::spawn(Arc::clone(&service).supervise());
    logged(&scratch, "at postgres://secret@/x").await;
    let first = running(&service, 0).await;
    let guard = Seen::at(first).expect("it lives").parent;
    for pid in [first, guard] {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it lives");
        assert!(!line.contains("secret"), "{line}");
    }

    logged(&scratch, "child ").await;
    kill(first);
    let second = running(&service, first).await;
    kill(guard);
    let third = running(&service, second).await;
    assert!(!is_alive(second), "it went with its guard");
    let mine = |pid: &i32| Seen::at(*pid).is_some_and(|seen| seen.group == first || seen.group == second);
    let alive: Vec<i32> = process::all().into_iter().filter(|pid| mine(pid) && is_alive(*pid)).collect();
    assert_eq!(alive, [] as [i32; 0], "and so did all that it had started");

    service.stop().await;
    supervisor.await.expect("it ends with the stop");
    assert!(!is_alive(third));
    assert!(!scratch.0.join("environment").exists());
}

#[tokio::test]
async fn an_application_gets_time_to_end_and_takes_its_own_children_along() {
    let scratch = Scratch::new("ends");
    let script = "setsid sleep 60 & echo child $!; trap 'echo ended in order; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let service = ServiceProcess::start(spec(&scratch, script)).await.expect("it starts");
    logged(&scratch, "ready").await;
    let log = fs::read_to_string(scratch.0.join("service.log")).expect("a log");
    let child = log
        .lines()
        .find_map(|line| line.strip_prefix("child "))
        .and_then(|pid| pid.parse().ok())
        .expect("its child");
    service.stop().await;
    logged(&scratch, "ended in order").await;
    assert!(!is_alive(child));
}

#[tokio::test]
async fn an_application_runs_as_the_user_it_is_given() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scratch = Scratch::new("user");
    let mut spec = spec(&scratch, "echo \"I am $(id -u) in $(id -G)\"; exec sleep 60");
    spec.environment.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    spec.os_user = Some("nobody".to_owned());
    let service = ServiceProcess::start(spec).await.expect("it starts");
    let nobody = Account::named("nobody").expect("every system has nobody");
    logged(&scratch, &format!("I am {} in {}\n", nobody.uid, nobody.gid)).await;
    service.stop().await;
}

#[tokio::test]
async fn an_application_that_is_not_there_is_refused() {
    let scratch = Scratch::new("absent");
    let mut spec = spec(&scratch, "");
    spec.program = "/no/such/program".into();
    let error = ServiceProcess::start(spec).await.err().expect("it cannot start");
    assert!(error.to_string().contains("/no/such/program cannot be started"), "{error}");
}

#[tokio::test]
async fn a_value_of_two_lines_is_refused() {
    let scratch = Scratch::new("lines");
    let mut spec = spec(&scratch, "");
    spec.environment.insert("KEY".to_owned(), "a\nLD_PRELOAD=/x".to_owned());
    assert!(
        matches!(ServiceProcess::start(spec).await, Err(ServiceError::Environment(name)) if name == "KEY")
    );
}

#[tokio::test]
async fn an_application_listens_on_its_own_port_and_on_no_other() {
    let free = || {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.local_addr().expect("its address").port()
    };
    let (own, other) = (free(), free());
    let scratch = Scratch::new("ports");
    let listen = |port| {
        format!(
            "perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => \"127.0.0.1\", LocalPort => {port}) ? \"{port} taken\\n\" : \"{port} refused\\n\"'"
        )
    };
    let mut spec = spec(&scratch, &format!("{}; {}; exec sleep 60", listen(own), listen(other)));
    spec.environment.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    spec.port = Some(own);
    let service = ServiceProcess::start(spec).await.expect("it starts");
    logged(&scratch, &format!("{own} taken\n")).await;
    let strict = landlock::Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let enforced = strict.handle_access(AccessNet::BindTcp).is_ok();
    logged(&scratch, &format!("{other} {}\n", if enforced { "refused" } else { "taken" })).await;
    service.stop().await;
}
