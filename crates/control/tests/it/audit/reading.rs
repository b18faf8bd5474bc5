//! The API: what a reader gets, what it leaves, and what others do not get.

use rowhouse_domain::audit::note::{Checkpoint, VerifierKey};
use rowhouse_domain::audit::proof::Proof;
use rowhouse_domain::audit::tree::{Hash, verify_consistency};
use rowhouse_domain::id::OPERATOR_TENANT;
use serde_json::Value;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_proven_with_its_leaf_and_the_key_alone() {
    let history = History::write().await;
    let platform = &history.platform;
    let key = reader(platform);
    let vkeys = keys(platform, &key, "acme").await;
    let known: Vec<VerifierKey> = vkeys.iter().map(|key| VerifierKey::parse(key).expect("a key")).collect();
    let page = platform.get(&key, "/v1/audit/events?limit=200&event=api.request_created").await;
    let events = page["items"].as_array().expect("a list");
    assert_eq!(events.len(), EACH as usize);
    for event in [&events[0], &events[77], &events[109]] {
        assert_eq!(event["proven"], true);
        let proof = platform.get(&key, &format!("/v1/audit/events/{}/proof", text(event, "id"))).await;
        let leaf = text(&proof, "leaf");
        assert_eq!(leaf, text(event, "leaf"));
        let parsed = Proof::parse(text(&proof, "proof")).expect("a proof");
        let origin = format!("audit.test/t/{}", id(A));
        let checkpoint = parsed.verify(leaf.as_bytes(), &origin, &known).expect("it proves the leaf");
        assert_eq!((checkpoint.head.size, proof["size"].as_u64()), (2 * EACH as u64, Some(2 * EACH as u64)));
        let altered = leaf.replace("success", "failure");
        assert!(parsed.verify(altered.as_bytes(), &origin, &known).is_err());
    }
    // The newest checkpoint is a continuation of the pinned one.
    let (old, new) = (Checkpoint::open(&history.pin, &known), Checkpoint::open(&history.newest, &known));
    let (old, new) = (old.expect("signed").head, new.expect("signed").head);
    let path = format!("/v1/audit/logs/acme/consistency?from={}&to={}", old.size, new.size);
    let proof: Vec<Hash> =
        serde_json::from_value(platform.get(&key, &path).await["proof"].clone()).expect("hashes");
    assert!(verify_consistency(&old, &new, &proof));
    assert!(!verify_consistency(&new, &new, &proof));
    for (from, to) in [(0, 1), (2, 1), (1, 100_000)] {
        let path = format!("/v1/audit/logs/acme/consistency?from={from}&to={to}");
        assert_eq!(platform.call(&key, "GET", &path, None).await.0, 422, "{path}");
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_show_each_event_once_in_order_and_come_to_an_end() {
    let History { platform, checkpoints, .. } = History::write().await;
    let auditor = Auditor::start(&platform, &platform.journal, &checkpoints);
    let key = reader(&platform);
    for (sort, forwards) in [("index", true), ("-index", false)] {
        let size = platform.get(&key, "/v1/audit/logs/acme").await["size"].as_u64().expect("a size");
        let mut seen = Vec::new();
        let mut path = format!("/v1/audit/events?limit=7&sort={sort}");
        loop {
            let page = platform.get(&key, &path).await;
            seen.extend(
                page["items"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|event| event["index"].as_u64().expect("an index")),
            );
            // Others go on writing, and so does the reading itself.
            change(&platform, A, 1000).await;
            sequenced(&platform).await;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/v1/audit/events?limit=7&sort={sort}&cursor={cursor}");
        }
        let mut expected: Vec<u64> = (0..size).collect();
        if !forwards {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
    auditor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_finds_what_it_names_and_refuses_what_it_cannot_name() {
    let History { platform, .. } = History::write().await;
    let key = reader(&platform);
    let first = platform.get(&key, "/v1/audit/events?limit=1&type=tenant_changed").await["items"][0].clone();
    assert_eq!((text(&first, "severity"), text(&first, "retention_class")), ("info", "default"));
    let boundary = platform.get(&key, "/v1/audit/events?limit=21").await["items"][20].clone();
    let boundary = text(&boundary, "recorded_at");
    for (query, count) in [
        ("event=tenancy.tenant_changed", EACH),
        ("type=data_created", EACH),
        ("result=failure", 0),
        ("actor=system", EACH),
        ("actor=%25", 0),
        ("resource=stamp:42", EACH),
        ("resource=stamp:43", 0),
        (&format!("to={boundary}"), 20),
        (&format!("event=tenancy.tenant_changed&from={boundary}&to={boundary}"), 0),
        (&format!("limit=200&from={boundary}&sort=-index"), 200),
    ] {
        let limit = if query.starts_with("limit") { "" } else { "limit=200&" };
        let page = platform.get(&key, &format!("/v1/audit/events?{limit}{query}")).await;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(count as usize), "{query}");
    }
    for query in
        ["type=nonsense", "result=maybe", "sort=actor", "from=yesterday", "limit=0", "cursor=x", "what=ever"]
    {
        let (status, body) = platform.call(&key, "GET", &format!("/v1/audit/events?{query}"), None).await;
        assert!(matches!(status, 400 | 422), "{query}: {status} {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_a_log_is_an_event_of_it() {
    let History { platform, checkpoints, .. } = History::write().await;
    let (key, operator) = (reader(&platform), platform.operator());
    let auditor = Auditor::start(&platform, &platform.journal, &checkpoints);
    let size = platform.get(&key, "/v1/audit/logs/acme").await["size"].as_u64().expect("a size") as usize;
    let page = platform.get(&key, "/v1/audit/events?limit=2&actor=system").await;
    let one = text(&page["items"][0], "id").to_owned();
    platform.get(&key, &format!("/v1/audit/events/{one}")).await;
    platform.get(&key, &format!("/v1/audit/events/{one}/proof")).await;
    platform.get(&key, "/v1/audit/logs/acme/bundle").await;
    platform.get(&operator, "/v1/audit/events?tenant=acme").await;
    platform.get(&operator, &format!("/v1/audit/events/{one}")).await;
    sequenced(&platform).await;
    let ours = leaves(&platform, A).await;
    let told: Vec<_> = ours[size..].iter().map(|leaf| leaf.draft.event.as_str()).collect();
    let read = "audit.events_read";
    assert_eq!(told, [read, read, read, "audit.events_exported", read, read]);
    let search = &ours[size].draft;
    assert_eq!(search.details.object("filter").and_then(|filter| filter.text("actor")), Some("system"));
    assert_eq!(
        (search.details.integer("found"), search.details.text("sha256").map(str::len)),
        (Some(2), Some(64))
    );
    assert!(search.context.request_id.is_some() && search.actor.subject.starts_with("key_"));
    assert_ne!(
        ours[size + 4].draft.actor.subject,
        search.actor.subject,
        "the operator's reading is in the tenant's log"
    );
    assert_eq!(leaves(&platform, OPERATOR_TENANT.as_u128()).await.len(), 0);
    auditor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_log_is_not_there_and_both_logs_say_who_asked() {
    let History { platform, checkpoints, .. } = History::write().await;
    let (ours, theirs) = (reader(&platform), platform.tenant(B, "bolt", PERMISSIONS).1);
    let auditor = Auditor::start(&platform, &platform.journal, &checkpoints);
    let event = platform.get(&ours, "/v1/audit/events?limit=1").await["items"][0].clone();
    sequenced(&platform).await;
    let (a, b) = (leaves(&platform, A).await.len(), leaves(&platform, B).await.len());
    let (event, log) = (text(&event, "id"), id(A));
    let paths = [
        format!("/v1/audit/events/{event}"),
        format!("/v1/audit/events/{event}/proof"),
        "/v1/audit/events?tenant=acme".to_owned(),
        "/v1/audit/logs/acme".to_owned(),
        format!("/v1/audit/logs/{log}"),
        "/v1/audit/logs/acme/checkpoint".to_owned(),
        "/v1/audit/logs/acme/bundle".to_owned(),
        "/v1/audit/logs/acme/consistency?from=1&to=2".to_owned(),
    ];
    for path in &paths {
        assert_eq!(platform.call(&theirs, "GET", path, None).await.0, 404, "{path}");
    }
    for path in ["/v1/audit/logs/nobody", "/v1/audit/events/event_00000000000000000000000000"] {
        assert_eq!(platform.call(&theirs, "GET", path, None).await.0, 404, "{path}");
    }
    sequenced(&platform).await;
    let crossing = "access.tenant_crossing_refused";
    let (a, b) = (leaves(&platform, A).await.split_off(a), leaves(&platform, B).await.split_off(b));
    assert_eq!((a.len(), b.len()), (paths.len(), paths.len()));
    assert!(a.iter().chain(&b).all(|leaf| leaf.draft.event == crossing));
    assert!(
        a.iter().all(|leaf| leaf.draft.actor.subject == "another tenant"),
        "nobody is named to the owner"
    );
    assert!(b.iter().all(|leaf| leaf.draft.actor.subject.starts_with("key_")));
    assert!(!format!("{:?}", b).contains(&log.to_string()), "nor the owner to the other");
    // Lists hold one's own; a key without the permission gets nothing.
    let logs = platform.get(&theirs, "/v1/audit/logs").await;
    assert_eq!(logs["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(text(&logs["items"][0], "tenant"), id(B).to_string());
    let bare = platform.tenant(0xc, "crow", &["usage:read"]).1;
    for path in ["/v1/audit/events", "/v1/audit/logs", "/v1/audit/logs/crow/bundle"] {
        assert_eq!(platform.call(&bare, "GET", path, None).await.0, 403, "{path}");
    }
    let listed = platform.get(&platform.operator(), "/v1/audit/logs?limit=1").await;
    assert_eq!(
        (listed["items"].as_array().map(Vec::len), listed["next_cursor"].is_string()),
        (Some(1), true)
    );
    auditor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_can_neither_write_nor_change_events() {
    let History { platform, .. } = History::write().await;
    let (client, connection) = platform.config.connect(tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    let refused = |role: &'static str, statement: &'static str| {
        let client = &client;
        async move {
            let batch =
                format!("BEGIN; SET LOCAL ROLE {role}; SET LOCAL rowhouse.scope = 'platform'; {statement}");
            let error = client.batch_execute(&batch).await.expect_err(statement);
            client.batch_execute("ROLLBACK").await.expect("ends");
            assert_eq!(
                error.code().map(|state| state.code()),
                Some("42501"),
                "{role}: {statement}: {error:?}"
            );
        }
    };
    for statement in [
        "UPDATE audit.events SET out = 'failure'",
        "DELETE FROM audit.events",
        "INSERT INTO audit.events SELECT * FROM audit.events",
        "TRUNCATE audit.events",
        "UPDATE audit.logs SET size = 0",
        "DELETE FROM audit.logs",
        "UPDATE audit.checkpoints SET note = ''",
        "DELETE FROM audit.checkpoints",
        "INSERT INTO audit.checkpoints SELECT * FROM audit.checkpoints",
        "DELETE FROM audit.outbox",
        "UPDATE audit.outbox SET at = now()",
        "SELECT * FROM audit.outbox",
        "SELECT * FROM audit.emitters",
        "DELETE FROM audit.subtrees",
    ] {
        refused("rowhouse_app", statement).await;
    }
    for statement in [
        "UPDATE audit.events SET out = 'failure'",
        "DELETE FROM audit.events",
        "TRUNCATE audit.events",
        "DELETE FROM audit.logs",
        "UPDATE audit.checkpoints SET note = ''",
        "DELETE FROM audit.checkpoints",
        "SELECT * FROM access.grants",
    ] {
        refused("rowhouse_sequencer", statement).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaf_that_somebody_garbled_is_shown_and_not_left_out() {
    let History { platform, .. } = History::write().await;
    let key = reader(&platform);
    let a = id(A).0;
    platform
        .execute(&format!("UPDATE audit.events SET leaf = 'gone' WHERE tenant_id = '{a}' AND idx = 3"))
        .await;
    let page = platform.get(&key, "/v1/audit/events?limit=5").await;
    let event = &page["items"][3];
    assert_eq!(
        (text(event, "type"), text(event, "leaf"), &event["proven"]),
        ("unreadable", "gone", &json!(false))
    );
    assert_eq!(page["items"].as_array().map(Vec::len), Some(5));
    assert_eq!(page["items"][4]["proven"], true);
}
