//! A database that was set back, and the file outside of it that knows better.

use super::*;
use crate::platform::execute;

/// Counts everything that a sequencer or signer could have added.
const EVERYTHING: &str = "SELECT (SELECT count(*) FROM audit.events) || ' events ' || \
     (SELECT count(*) FROM audit.checkpoints) || ' checkpoints ' || (SELECT sum(size) FROM audit.logs)";

/// Returns when something contradicts; what it says.
async fn contradicted(platform: &Platform) -> Vec<String> {
    let standing = platform.control.audit.standing();
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let told = async {
        loop {
            look.tick().await;
            let problems = standing.problems();
            if !problems.is_empty() && !problems.iter().any(|problem| problem.contains("not been compared")) {
                break;
            }
        }
    };
    timeout(PATIENCE, told).await.expect("it is found");
    standing.problems()
}

/// Gives a sequencer that should wait the occasion not to: it is woken, and two of its beats go by.
async fn beats(platform: &Platform) {
    change(platform, A, -1).await;
    let mut beats = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..3 {
        beats.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_set_back_is_neither_sequenced_nor_signed() {
    let History { platform, checkpoints, .. } = History::write().await;
    let [backup, live] = platform.copies().await;
    // The live database goes on, and is signed; then it is replaced by the backup.
    let auditor = Auditor::start(&live, &live.journal, &checkpoints);
    live.hand.advance_us(1000 * SECOND_US);
    change(&live, A, 1).await;
    signed(&live).await;
    auditor.stop().await;
    assert_eq!(live.control.audit.standing().problems(), Vec::<String>::new());

    let before = backup.ask(EVERYTHING).await;
    change(&backup, A, 1).await;
    change(&backup, B, 1).await;
    let mut gateway = Gateway::open(&backup.journal, "g0");
    gateway.served(B, START_US, "POST", "POST /v1/stamps");
    let auditor = Auditor::start(&backup, &backup.journal, &checkpoints);
    let told = contradicted(&backup).await;
    assert_eq!(told, [format!("{}: it has {} leaves; {} were signed", id(A), 2 * EACH, 2 * EACH + 1)]);
    let key = reader(&backup);
    assert_eq!(backup.get(&key, "/v1/audit/logs/acme").await["state"], "recovering");
    beats(&backup).await;
    assert_eq!(backup.ask(EVERYTHING).await, before, "nothing was sequenced or signed, of no log");
    assert_eq!(backup.ask("SELECT count(*) FROM journal.quarantine").await, "0");
    auditor.stop().await;

    // The backup of the file does not help: the signature of another log, or none, is no checkpoint.
    let file = checkpoints.join(format!("{}.checkpoint", id(A)));
    std::fs::copy(checkpoints.join(format!("{}.checkpoint", id(B))), &file).expect("copies");
    let [copy] = backup.copies().await;
    let auditor = Auditor::start(&copy, &copy.journal, &checkpoints);
    assert!(contradicted(&copy).await[0].contains("is not a checkpoint that we signed"));
    // Somebody decides that this is the database from now on.
    std::fs::remove_file(&file).expect("removes");
    auditor.stop().await;
    let [restored] = copy.copies().await;
    let auditor = Auditor::start(&restored, &restored.journal, &checkpoints);
    signed(&restored).await;
    assert_eq!(restored.control.audit.standing().problems(), Vec::<String>::new());
    auditor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_gone_or_regrown_is_known_by_its_file() {
    let History { platform, checkpoints, .. } = History::write().await;
    let a = id(A).0;
    let [gone, regrown] = platform.copies().await;
    execute(
        &gone.config,
        &format!(
            "DELETE FROM audit.checkpoints WHERE tenant_id = '{a}'; DELETE FROM audit.events WHERE tenant_id = '{a}'; \
             DELETE FROM audit.logs WHERE tenant_id = '{a}'"
        ),
    )
    .await;
    let auditor = Auditor::start(&gone, &gone.journal, &checkpoints);
    assert_eq!(
        contradicted(&gone).await,
        [format!("{}: the log is gone; {} leaves were signed", id(A), 2 * EACH)]
    );
    auditor.stop().await;
    // As long as before, but with another leaf: its hash fits, and the checkpoint in the database is gone.
    execute(
        &regrown.config,
        &format!(
            "UPDATE audit.events SET leaf_hash = sha256(leaf_hash) WHERE tenant_id = '{a}' AND idx = 50; \
             DELETE FROM audit.checkpoints WHERE tenant_id = '{a}'; \
             UPDATE audit.logs SET checkpoint_size = 0 WHERE tenant_id = '{a}'"
        ),
    )
    .await;
    let auditor = Auditor::start(&regrown, &regrown.journal, &checkpoints);
    let told = contradicted(&regrown).await;
    assert_eq!(told, [format!("{}: its first {} leaves are not those that were signed", id(A), 2 * EACH)]);
    auditor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_set_back_while_it_runs_waits_until_it_is_right_again() {
    let platform = Platform::start().await;
    let auditor = Auditor::start(&platform, &platform.journal, &scratch("checkpoints"));
    for number in 0..10 {
        change(&platform, A, number).await;
    }
    signed(&platform).await;
    let saved = "CREATE TABLE public.saved AS SELECT * FROM audit.logs; CREATE TABLE public.tail AS \
         SELECT * FROM audit.events WHERE idx >= 8";
    platform.execute(saved).await;
    let mut frontier = rowhouse_domain::audit::tree::Frontier::default();
    for leaf in leaves(&platform, A).await.iter().take(8) {
        frontier.append(rowhouse_domain::audit::tree::leaf_hash(leaf.render().expect("renders").as_bytes()));
    }
    let bytes: String = frontier.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let root = frontier.root().to_hex();
    platform
        .execute(&format!(
            "DELETE FROM audit.events WHERE idx >= 8; \
             UPDATE audit.logs SET size = 8, frontier = '\\x{bytes}', root = '\\x{root}', checkpoint_size = 8"
        ))
        .await;
    // Both sources run into it; neither gives its event up.
    change(&platform, A, 10).await;
    let mut gateway = Gateway::open(&platform.journal, "g0");
    gateway.served(A, START_US, "POST", "POST /v1/stamps");
    assert_eq!(contradicted(&platform).await, [format!("{}: it has 8 leaves; 10 were signed", id(A))]);
    beats(&platform).await;
    assert_eq!(leaves(&platform, A).await.len(), 8);
    platform
        .execute(
            "INSERT INTO audit.events SELECT * FROM public.tail; UPDATE audit.logs l SET size = s.size, \
             frontier = s.frontier, root = s.root, checkpoint_size = s.checkpoint_size FROM public.saved s \
             WHERE l.tenant_id = s.tenant_id",
        )
        .await;
    projected(&platform, "n1", &gateway.lane).await;
    signed(&platform).await;
    assert_eq!(platform.control.audit.standing().problems(), Vec::<String>::new());
    let key = reader(&platform);
    let report = judge(&bundle(&platform, &key, "acme").await, &keys(&platform, &key, "acme").await, None);
    assert_eq!((labels(&report), report.size), (vec![], 13));
    assert_eq!(platform.ask("SELECT count(*) FROM journal.quarantine").await, "0");
    auditor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_beyond_the_log_stop_it() {
    let platform = Platform::start().await;
    let auditor = Auditor::start(&platform, &platform.journal, &scratch("checkpoints"));
    change(&platform, A, 0).await;
    sequenced(&platform).await;
    // A row that somebody put where the next leaf belongs.
    platform
        .execute(
            "INSERT INTO audit.events SELECT tenant_id, 1, rx, ts, id, ev, ty, out, actor, tgt, leaf, leaf_hash \
             FROM audit.events WHERE idx = 0",
        )
        .await;
    change(&platform, A, 1).await;
    let told = contradicted(&platform).await;
    assert!(
        told[0].contains("leaves beyond its size") || told[0].contains("the last one is number 1"),
        "{told:?}"
    );
    platform.execute("DELETE FROM audit.events WHERE idx = 1").await;
    signed(&platform).await;
    assert_eq!(leaves(&platform, A).await.len(), 2);
    auditor.stop().await;
}
