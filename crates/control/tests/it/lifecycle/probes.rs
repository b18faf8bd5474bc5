//! The daily probes of tenants' isolation: tried every day, kept as evidence, heard of when one gets through. And servers with known
//! holes, which take no shared tenants where the operator wants it so.

use rowhouse_control::doctor::{self, BelowFloor};

use super::*;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

impl Stage {
    /// Waits until the evidence has so many rows.
    async fn until_probes(&self, count: &str) {
        while self.platform.ask("SELECT count(*)::text FROM tenancy.evidence_probes").await != count {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_tried_every_day_and_one_that_gets_through_is_heard_of() {
    let mut stage = Stage::start().await;
    let (control, stop) = (stage.control().clone(), stage.shutdown.subscribe());
    stage.tasks.spawn(doctor::run_probes(control, stop));
    stage.until_probes("50").await;
    stage.platform.hand.advance_us(DAY_US / 2);
    let (status, by_hand) = stage.call("POST", "/v1/probes", json!({"cells": ["local-1"]})).await;
    assert_eq!(status, 200, "{by_hand}");
    let round = &by_hand["rounds"][0];
    assert_eq!((&round["tried"], &round["held"], &round["through"]), (&json!(50), &json!(50), &json!([])));
    stage.platform.hand.advance_us(DAY_US + 1);
    stage.until_probes("150").await;
    assert_eq!(
        stage.platform.ask("SELECT count(*)::text FROM tenancy.evidence_probes WHERE NOT held").await,
        "0"
    );

    let first = stage.get("/v1/probes?cell=local-1&limit=200").await;
    let items = first["items"].as_array().expect("a list");
    assert_eq!(items.len(), 150);
    assert!(items.iter().all(|item| item["held"] == true && item["table"] == "stamping.rh_probe"));
    let numbers: Vec<_> = items.iter().take(50).map(|item| item["number"].as_i64().unwrap_or(0)).collect();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
    let page = stage.get("/v1/probes?limit=60").await;
    let cursor = page["next_cursor"].as_str().expect("more");
    let rest = stage.get(&format!("/v1/probes?limit=200&cursor={cursor}")).await;
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(90));
    assert_eq!(rest["items"][0], items[60]);
    let left = "SELECT count(*)::text FROM rh.place WHERE tenant::text LIKE '00000000-%'";
    assert_eq!(stage.in_cell("rh_shared", left).await, "0", "nothing stays of the two tenants");

    for (method, path, body, status) in [
        ("POST", "/v1/probes", json!({"cells": ["nowhere"]}), 404),
        ("POST", "/v1/probes", json!({"tenant": "acme"}), 422),
        ("GET", "/v1/probes?held=true", json!(null), 422),
        ("GET", "/v1/probes?limit=0", json!(null), 422),
        ("GET", "/v1/probes?cursor=x", json!(null), 400),
    ] {
        let (got, refused) = stage.call(method, path, body).await;
        assert!(
            got == status || (400..=422).contains(&got) && status != 404,
            "{method} {path}: {got} {refused}"
        );
    }
    assert_eq!(stage.platform.call_as_nobody("POST", "/v1/probes", json!({})).await.0, 401);

    let config = stage.server.connect_config("rh_shared", SUPERUSER);
    crate::platform::execute(&config, "ALTER TABLE stamping.rh_probe DISABLE ROW LEVEL SECURITY").await;
    let (_, opened) = stage.call("POST", "/v1/probes", json!({})).await;
    let through = opened["rounds"][0]["through"].as_array().expect("a list").clone();
    assert!(through.contains(&json!("all rows")) && through.contains(&json!("all rows changed")), "{opened}");
    let evidence = stage.get("/v1/probes?held=false&limit=200").await;
    let names: Vec<_> =
        evidence["items"].as_array().expect("a list").iter().map(|item| item["name"].clone()).collect();
    assert_eq!(names, through);
    let events = "SELECT count(*)::text FROM audit.outbox WHERE draft::text LIKE '%tenancy.probe_succeeded%'";
    assert_eq!(stage.platform.ask(events).await, "1");
    let mails = "SELECT string_agg(template || '>' || audience, ' ') FROM messages.messages WHERE template = 'security_alert'";
    assert_eq!(
        stage.platform.ask(mails).await,
        "security_alert>operators",
        "and the operators are told, once"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_known_holes_takes_no_shared_tenant_where_that_is_refused() {
    let stage = Stage::start_set(|settings| settings.below_floor = BelowFloor::Refuse).await;
    let engine = lifecycle::engine(stage.control());
    // Nobody has examined the server yet: it counts as one with holes.
    let refused = stage.ask_for("acme", "basic", "shared").await;
    let refused = stage.execute(&engine, &refused).await;
    assert_eq!(
        (&refused["state"], &refused["problem"]["code"]),
        (&json!("undone"), &json!("tenancy.no_capacity")),
        "{refused:#}"
    );
    stage.tenant("bolt", "basic", "schema").await;
    let move_it = json!({"isolation": "shared"});
    let (status, moving) = stage.call("POST", "/v1/tenants/bolt/move", move_it).await;
    if status == 202 {
        let moved = stage.execute(&engine, moving["id"].as_str().expect("an id")).await;
        assert_eq!(moved["state"], "undone", "{moved:#}");
    }
    assert_eq!(stage.get("/v1/tenants/bolt").await["isolation"], "schema");

    doctor::look(stage.control(), None, true).await.expect("looked");
    let strict = "SELECT strict::text || ' ' || server_version FROM tenancy.cells WHERE name = 'local-1'";
    let found = stage.platform.ask(strict).await;
    match found.starts_with("false") {
        true => drop(stage.tenant("crane", "basic", "shared").await),
        // The machine's own PostgreSQL may be below the floor.
        false => {
            let refused = stage.ask_for("crane", "basic", "shared").await;
            assert_eq!(stage.execute(&engine, &refused).await["state"], "undone", "{found}");
        }
    }
    stage.stop().await;
}
