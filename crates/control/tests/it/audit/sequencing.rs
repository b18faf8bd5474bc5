//! From what happened to leaves: each exactly once, whatever is cut off in between.

use std::collections::HashSet;

use rowhouse_domain::access::Permit;
use rowhouse_domain::audit::leaf::Outcome as Result;
use rowhouse_domain::audit::proof::Proof;
use rowhouse_domain::audit::tree::{Hash, consistency_proof, inclusion_proof};
use rowhouse_journal::Kind;
use rowhouse_store::Change;
use serde_json::json;

use super::*;
use crate::platform::execute;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committed_change_is_one_leaf_in_its_log_and_a_rolled_back_one_none() {
    let platform = Platform::start().await;
    let auditor = Auditor::start(&platform, &platform.journal, &scratch("checkpoints"));
    for number in 0..5 {
        change(&platform, A, number).await;
    }
    change(&platform, B, 9).await;
    // The second event of this change cannot be stored, so the first one must not be either.
    let tx = platform.control.store.write(&Permit::for_system(None, "test")).await.expect("begins");
    let event = |details| {
        Change::new(id(A), "tenancy.tenant_changed", "delete", tx.principal())
            .on("tenant", "x")
            .details(details)
    };
    let both = vec![event(json!({})), event(json!({"text": "\0"}))];
    tx.commit_all(both).await.expect_err("PostgreSQL holds no NUL");
    drop(platform.control.store.write(&Permit::for_system(None, "test")).await.expect("begins"));
    sequenced(&platform).await;
    let ours = leaves(&platform, A).await;
    let numbers: Vec<_> = ours.iter().map(|leaf| leaf.draft.details.integer("number")).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4].map(Some));
    let counters: Vec<_> = ours.iter().map(|leaf| leaf.place.emitter.counter).collect();
    assert_eq!(counters, [1, 2, 3, 4, 5]);
    assert!(ours.iter().all(|leaf| leaf.place.log == format!("audit.test/t/{}", id(A))));
    assert!(ours.iter().all(|leaf| leaf.draft.actor.subject == "system" && leaf.draft.action == "update"));
    assert_eq!(leaves(&platform, B).await.len(), 1);
    assert_eq!(platform.ask("SELECT count(*) FROM audit.logs").await, "2");
    auditor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_marked_become_events_of_what_was_done() {
    let platform = Platform::start().await;
    let auditor = Auditor::start(&platform, &platform.journal, &scratch("checkpoints"));
    let mut gateway = Gateway::open(&platform.journal, "g0");
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
        gateway.served(A, START_US, method, &format!("{method} /v1/stamps/{{id}}"));
    }
    gateway.refused(A, START_US, "access.denied", ("stamp", "4\u{1f}2\"\\,}"));
    gateway.refused(A, START_US, "keys.invalid", ("wrong_tenant", ""));
    let broken_off = RequestRecord {
        method: "POST",
        endpoint: "POST /v1/stamps",
        outcome: Outcome::UpstreamFailed,
        status: 502,
        refusal: "gateway.upstream_unreachable",
        ..Default::default()
    };
    gateway.write(A, START_US, broken_off, ("", ""));
    // Not marked: no event.
    let plain = RequestRecord { tenant: Some(A), ..Default::default() };
    gateway.lane.append_record(Class::R, &plain).expect("room");
    projected(&platform, "n1", &gateway.lane).await;
    let ours = leaves(&platform, A).await;
    let told: Vec<_> = ours
        .iter()
        .map(|leaf| {
            let (draft, target) = (&leaf.draft, &leaf.draft.targets[0]);
            let code = draft.code.as_deref().unwrap_or("-");
            let fine = draft.outcome == Result::Success;
            format!("{} {} {fine} {code} {}:{}", draft.event, draft.action, target.kind, target.id)
        })
        .collect();
    assert_eq!(
        told,
        [
            "api.request_created create true - stamp:42",
            "api.request_updated update true - stamp:42",
            "api.request_updated update true - stamp:42",
            "api.request_deleted delete true - stamp:42",
            "api.request_read read true - stamp:42",
            "access.permission_denied delete false access.denied stamp:4\u{1f}2\"\\,}",
            "access.tenant_crossing_refused delete false keys.invalid endpoint:DELETE /v1/stamps/{id}",
            "api.request_created create false gateway.upstream_unreachable endpoint:POST /v1/stamps",
        ]
    );
    assert!(ours.iter().all(|leaf| leaf.draft.actor.subject.starts_with("key_")));
    assert_eq!(ours[0].draft.context.endpoint.as_deref(), Some("POST /v1/stamps/{id}"));
    assert_eq!(ours[0].draft.context.directory_version, Some(3));
    // What the columns say is what the leaves say, odd characters included.
    let key = reader(&platform);
    signed(&platform).await;
    let report = judge(&bundle(&platform, &key, "acme").await, &keys(&platform, &key, "acme").await, None);
    assert_eq!((labels(&report), report.exit_code()), (vec![], 0));
    auditor.stop().await;
}

/// The emitters of a log's leaves: node, boot and counter.
async fn emitters(platform: &Platform, tenant: u128) -> Vec<String> {
    let leaves = leaves(platform, tenant).await;
    leaves
        .into_iter()
        .map(|leaf| {
            let em = leaf.place.emitter;
            format!("{} {} {}", em.node, em.boot, em.counter)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_begin_again_with_each_boot_of_a_journal_and_have_no_gap() {
    let platform = Platform::start().await;
    let (directory, checkpoints) = (scratch("audit-journal"), scratch("checkpoints"));
    let mut expected = Vec::new();
    for boot in 1..=3 {
        let journal = journal(&directory, "n2");
        assert_eq!(journal.boot(), boot);
        let mut gateway = Gateway::open(&journal, "g0");
        let auditor = Auditor::start(&platform, &journal, &checkpoints);
        for counter in 1..=2 {
            gateway.served(A, START_US, "POST", "POST /v1/stamps");
            gateway.served(B, START_US, "POST", "POST /v1/stamps");
            expected.push(format!("n2/g0 {boot} {counter}"));
        }
        projected(&platform, "n2", &gateway.lane).await;
        auditor.stop().await;
    }
    assert_eq!(emitters(&platform, A).await, expected);
    assert_eq!(emitters(&platform, B).await, expected);
    let key = reader(&platform);
    let report = judge(&bundle(&platform, &key, "acme").await, &keys(&platform, &key, "acme").await, None);
    assert!(!report.found("EMITTER_GAP") && !report.found("EMITTER_REPLAY"), "{:?}", labels(&report));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_record_is_a_gap_and_is_explained_only_if_the_journal_says_so() {
    let platform = Platform::start().await;
    let auditor = Auditor::start(&platform, &platform.journal, &scratch("checkpoints"));
    let mut gateway = Gateway::open(&platform.journal, "g0");
    let served = |gateway: &mut Gateway| gateway.served(A, START_US, "POST", "POST /v1/stamps");
    served(&mut gateway);
    // Two of A's records do not come, and the journal has counted two.
    gateway.count(A);
    gateway.count(A);
    gateway.lane.append_bytes(Class::R, Kind::Dropped, &[2, 0, 0, 0, 0, 0, 0, 0, 1]).expect("room");
    served(&mut gateway);
    projected(&platform, "n1", &gateway.lane).await;
    signed(&platform).await;
    let key = reader(&platform);
    let vkeys = keys(&platform, &key, "acme").await;
    let report = judge(&bundle(&platform, &key, "acme").await, &vkeys, None);
    assert_eq!((labels(&report), report.exit_code()), (vec!["EMITTER_GAP@n1/g0:1->4".to_owned()], 11));
    // One more does not come, and nobody says why.
    gateway.count(A);
    served(&mut gateway);
    projected(&platform, "n1", &gateway.lane).await;
    signed(&platform).await;
    let report = judge(&bundle(&platform, &key, "acme").await, &vkeys, None);
    let gaps: Vec<_> = labels(&report).into_iter().filter(|label| label.starts_with("EMITTER_GAP")).collect();
    assert_eq!(
        (gaps, report.exit_code()),
        (["1->4", "4->6"].map(|gap| format!("EMITTER_GAP@n1/g0:{gap}")).to_vec(), 1)
    );
    auditor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_rendered_or_read_is_an_event_in_its_place() {
    let platform = Platform::start().await;
    let auditor = Auditor::start(&platform, &platform.journal, &scratch("checkpoints"));
    let operator = rowhouse_domain::id::OPERATOR_TENANT.as_u128();
    for details in [json!({"share": 0.5}), json!({"long": "x".repeat(40_000)})] {
        let tx = platform.control.store.write(&Permit::for_system(None, "test")).await.expect("begins");
        let change = Change::new(id(A), "tenancy.tenant_changed", "update", tx.principal());
        tx.commit(change.on("tenant", "x").details(details)).await.expect("commits");
    }
    let tx = platform.control.store.write(&Permit::for_system(None, "test")).await.expect("begins");
    let unlisted =
        Change::new(id(A), "tenancy.nobody_lists_this", "update", tx.principal()).on("tenant", "x");
    tx.commit(unlisted).await.expect("commits");
    sequenced(&platform).await;
    // A number that it cannot hold stands in words.
    let all = ["tenancy.tenant_changed", "audit.rendering_failed", "audit.rendering_failed"];
    assert_eq!(names(&platform, A).await, all);
    let mut gateway = Gateway::open(&platform.journal, "g0");
    gateway.lane.append_bytes(Class::R, Kind::Request, b"not a record").expect("room");
    gateway.served(A, i64::MAX, "POST", "POST /v1/stamps");
    gateway.served(A, START_US, "POST", "POST /v1/stamps");
    projected(&platform, "n1", &gateway.lane).await;
    assert_eq!(names(&platform, A).await[3..], ["audit.rendering_failed", "api.request_created"]);
    let digest = |leaf: &Leaf| leaf.draft.details.text("sha256").map(str::len);
    assert_eq!(leaves(&platform, A).await.iter().filter_map(digest).collect::<Vec<_>>(), [64; 3]);
    assert_eq!(names(&platform, operator).await, ["audit.rendering_failed"]);
    assert_eq!(platform.ask("SELECT count(*) FROM journal.quarantine WHERE projection = 'audit'").await, "1");
    auditor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_waited_for_the_database_are_announced_as_late() {
    let platform = Platform::start().await;
    change(&platform, A, 0).await;
    let mut gateway = Gateway::open(&platform.journal, "g0");
    gateway.served(A, START_US, "POST", "POST /v1/stamps");
    gateway.served(A, START_US, "POST", "POST /v1/stamps");
    // Both are on the disk, and so are taken at once: what is taken apart is announced apart.
    platform.journal.synchronise();
    platform.hand.advance_us(1800 * SECOND_US);
    let auditor = Auditor::start(&platform, &platform.journal, &scratch("checkpoints"));
    projected(&platform, "n1", &gateway.lane).await;
    signed(&platform).await;
    let all = names(&platform, A).await;
    assert_eq!(all.iter().filter(|name| *name == "audit.pipeline.resume").count(), 2, "{all:?}");
    let key = reader(&platform);
    let report = judge(&bundle(&platform, &key, "acme").await, &keys(&platform, &key, "acme").await, None);
    assert_eq!((labels(&report), report.exit_code()), (vec![], 0));
    auditor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequencer_that_is_cut_off_leaves_no_gap_and_nothing_twice() {
    let platform = Platform::start().await;
    let checkpoints = scratch("checkpoints");
    let mut gateway = Gateway::open(&platform.journal, "g0");
    let (mut locker, connection) =
        platform.config.connect(tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    for round in 0..6 {
        // Whoever has taken events and wants to write them stops here.
        let lock = locker.transaction().await.expect("begins");
        let table = ["audit.logs", "audit.events", "audit.lanes"][round % 3];
        lock.batch_execute(&format!("LOCK TABLE {table} IN EXCLUSIVE MODE")).await.expect("locks");
        for number in 0..3 {
            change(&platform, A, number).await;
            gateway.served(A, START_US, "POST", "POST /v1/stamps");
        }
        let auditor = Auditor::start(&platform, &platform.journal, &checkpoints);
        let waiting = "SELECT count(*) > 0 FROM pg_stat_activity \
             WHERE wait_event_type = 'Lock' AND datname = current_database()";
        until(&platform, waiting, "t").await;
        auditor.kill().await;
        lock.rollback().await.expect("unlocks");
    }
    let auditor = Auditor::start(&platform, &platform.journal, &checkpoints);
    projected(&platform, "n1", &gateway.lane).await;
    signed(&platform).await;
    auditor.stop().await;
    assert_each_once(&platform, 36).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_the_database_refuses_at_its_end_is_made_again() {
    let platform = Platform::start().await;
    // Every second move of a log fails, after everything else was written.
    execute(
        &platform.config,
        "CREATE SEQUENCE public.moves; GRANT USAGE ON SEQUENCE public.moves TO rowhouse_sequencer; \
         CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('public.moves') % 2 = 1 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END IF; \
             RETURN NEW; END $$; \
         CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON audit.logs DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION public.refuse()",
    )
    .await;
    let auditor = Auditor::start(&platform, &platform.journal, &scratch("checkpoints"));
    let mut gateway = Gateway::open(&platform.journal, "g0");
    for number in 0..10 {
        change(&platform, A, number).await;
        gateway.served(A, START_US, "POST", "POST /v1/stamps");
    }
    projected(&platform, "n1", &gateway.lane).await;
    signed(&platform).await;
    auditor.stop().await;
    assert_each_once(&platform, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sequencers_at_once_give_each_index_once() {
    let platform = Platform::start().await;
    let auditors = [scratch("checkpoints"), scratch("checkpoints")]
        .map(|checkpoints| Auditor::start(&platform, &platform.journal, &checkpoints));
    let mut gateway = Gateway::open(&platform.journal, "g0");
    for number in 0..100 {
        change(&platform, A, number).await;
        gateway.served(A, START_US, "POST", "POST /v1/stamps");
    }
    projected(&platform, "n1", &gateway.lane).await;
    signed(&platform).await;
    for auditor in auditors {
        auditor.stop().await;
    }
    assert_eq!(platform.control.audit.standing().problems(), Vec::<String>::new());
    assert_each_once(&platform, 200).await;
}

/// A's log has so many leaves: no index, id or counter twice or left out, and it verifies.
async fn assert_each_once(platform: &Platform, count: usize) {
    let ours = leaves(platform, A).await;
    assert_eq!(ours.len(), count);
    let ids: HashSet<_> = ours.iter().map(|leaf| leaf.draft.id.clone()).collect();
    assert_eq!(ids.len(), count);
    let sql = format!(
        "SELECT count(DISTINCT idx) || ' ' || min(idx) || ' ' || max(idx) FROM audit.events WHERE tenant_id = '{}'",
        id(A).0
    );
    assert_eq!(platform.ask(&sql).await, format!("{count} 0 {}", count - 1));
    let key = reader(platform);
    let report = judge(&bundle(platform, &key, "acme").await, &keys(platform, &key, "acme").await, None);
    assert_eq!((labels(&report), report.exit_code()), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_many_batches_is_sequenced_in_order() {
    let platform = Platform::start().await;
    let count = 10_000u32;
    execute(
        &platform.config,
        &format!(
            "INSERT INTO audit.outbox (event_id, tenant_id, draft, at) \
             SELECT gen_random_uuid(), '{}', jsonb_build_object('log', '{}', 'event', 'tenancy.tenant_changed', \
                 'action', 'update', 'result', 'success', 'actor_kind', 'system', 'actor', 'system', \
                 'targets', '[[\"tenant\", \"x\"]]'::jsonb, 'details', jsonb_build_object('number', n)), \
                 to_timestamp({START_US} / 1e6) FROM generate_series(1, {count}) n",
            id(A).0,
            id(A)
        ),
    )
    .await;
    let begun = tokio::time::Instant::now();
    let auditor = Auditor::start(&platform, &platform.journal, &scratch("checkpoints"));
    sequenced(&platform).await;
    let seconds = begun.elapsed().as_secs_f64();
    println!("sequenced {count} events in {seconds:.2} s: {:.0} a second", f64::from(count) / seconds);
    signed(&platform).await;
    auditor.stop().await;
    let in_order = format!(
        "SELECT bool_and((leaf::jsonb -> 'd' ->> 'number')::bigint = idx + 1) FROM audit.events WHERE tenant_id = '{}'",
        id(A).0
    );
    assert_eq!(platform.ask(&in_order).await, "t");
    assert_eq!(platform.ask("SELECT size FROM audit.logs").await, count.to_string());
    assert_proofs_from_subtrees(&platform, u64::from(count)).await;
}

/// Proofs are made from stored roots of subtrees, and are those that the leaves would give.
async fn assert_proofs_from_subtrees(platform: &Platform, size: u64) {
    let key = reader(platform);
    let whole = bundle(platform, &key, "acme").await;
    let hashes: Vec<Hash> =
        whole.leaf_hashes.iter().map(|hash| Hash::from_hex(hash).expect("a hash")).collect();
    for (old, new) in [(1, size), (255, 256), (256, 257), (4096, size), (size - 1, size), (700, 5_001)] {
        let path = format!("/v1/audit/logs/acme/consistency?from={old}&to={new}");
        let proof: Vec<Hash> =
            serde_json::from_value(platform.get(&key, &path).await["proof"].clone()).expect("hashes");
        let expected = consistency_proof(old, &hashes[..new as usize]);
        assert_eq!(Some(proof), expected, "{old} to {new}");
    }
    for index in [0, 255, 256, 4_095, 4_096, 9_727, 9_728, size - 1] {
        let id = &whole.rows.as_ref().expect("rows")[index as usize].id;
        let answer = platform.get(&key, &format!("/v1/audit/events/{id}/proof")).await;
        let proof = Proof::parse(answer["proof"].as_str().expect("a text")).expect("a proof");
        assert_eq!((proof.index, Some(proof.hashes)), (index, inclusion_proof(index, &hashes)));
    }
}
