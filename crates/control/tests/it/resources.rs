//! Quotas as tenants live with them: told, stopped, freed; measured where their data lies; and nobody else's business.

use std::time::Duration;

use jiff::civil::date;
use rowhouse_control::{Shared, resources};
use rowhouse_domain::directory::Tenant;
use rowhouse_domain::id::TenantId;
use rowhouse_journal::Class;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use crate::house::House;
use crate::lifecycle::Stage;
use crate::metering::{Running, projected, record};
use crate::platform::{PATIENCE, Platform, START_US};

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 1_440 * MINUTE_US;

/// What the feature runs in production, until the test ends.
struct Following {
    _stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Following {
    fn start(control: &Shared) -> Following {
        let (stop, wanted) = watch::channel(false);
        Following { _stop: stop, task: tokio::spawn(resources::run(control.clone(), wanted)) }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks until it is so.
async fn until<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    let mut beat = interval(Duration::from_millis(20));
    let so = async {
        while !ask().await {
            beat.tick().await;
        }
    };
    timeout(PATIENCE, so).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn entry(platform: &Platform, tenant: TenantId) -> Tenant {
    (**platform.control.directory.current().tenants.get(&tenant).expect("a tenant")).clone()
}

fn flags(platform: &Platform, tenant: TenantId) -> Vec<String> {
    entry(platform, tenant).enforcements.iter().map(|flag| flag.to_string()).collect()
}

/// Templates of the messages left for a tenant, in their order.
async fn told(platform: &Platform, tenant: TenantId) -> String {
    let sql = format!(
        "SELECT coalesce(string_agg(template, ' ' ORDER BY at, message_id), '') FROM resources.messages \
         WHERE tenant_id = '{}'",
        tenant.0
    );
    platform.ask(&sql).await
}

async fn put(platform: &Platform, key: &str, path: &str, body: Value) -> (u16, Value) {
    platform.call(key, "PUT", path, Some(body)).await
}

async fn level(house: &House, tenant: &str, level: &str) -> Value {
    let path = format!("/v1/quotas/users/level?tenant={tenant}");
    let (status, answer) = put(&house.platform, &house.root, &path, json!({"level": level})).await;
    assert_eq!(status, 200, "{answer}");
    house.settled().await;
    house.platform.hand.advance_us(1_000_000);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_warned_alerted_stopped_and_freed_and_nobody_else_is() {
    let house = House::start().await;
    let platform = &house.platform;
    let (acme, bolt) = (house.tenant("acme", "basic").await, house.tenant("bolt", "basic").await);
    let mut states = Vec::new();
    for users in ["40", "41", "42", "48", "50", "50", "49", "50"] {
        let answer = level(&house, "acme", users).await;
        let state = answer["check"]["state"].as_str().expect("a state").to_owned();
        states.push(format!("{state} {}", flags(platform, acme).join(",")));
    }
    assert_eq!(
        states,
        [
            "ok ",
            "warning ",
            "warning ",
            "alert ",
            "enforced user_creation_blocked",
            "enforced user_creation_blocked",
            "alert ",
            "enforced user_creation_blocked"
        ]
    );
    assert_eq!(told(platform, acme).await, "quota_warning quota_alert quota_reached quota_lifted");
    let queued = "SELECT string_agg(template || '>' || audience, ' ' ORDER BY template, audience) FROM messages.messages \
         WHERE template LIKE 'quota%'";
    assert_eq!(
        platform.ask(queued).await,
        "quota_alert>administrators quota_lifted>administrators quota_reached>administrators \
         quota_reached>operators quota_warning>administrators"
    );
    let events = format!(
        "SELECT string_agg(draft->>'event', ' ' ORDER BY id) FROM audit.outbox \
         WHERE draft->>'event' LIKE 'resources%' AND tenant_id = '{}'",
        acme.0
    );
    assert_eq!(
        platform.ask(&events).await,
        "resources.quota_warned resources.quota_alerted resources.quota_reached resources.quota_lifted \
         resources.quota_reached"
    );
    let check = platform.get(&house.root, "/v1/quotas/users/check?tenant=acme&quantity=3").await;
    assert_eq!(
        (
            &check["would_allow"],
            &check["enforcement"]["action"],
            &check["enforcement"]["cause"],
            &check["available"]
        ),
        (&json!(false), &json!("block_creation"), &json!("quota"), &json!("0")),
        "{check}"
    );
    let explained = platform.get(&house.root, "/v1/quotas/users/explain?tenant=acme").await;
    assert_eq!(explained["usage"]["collector"], "pushed");
    assert_eq!(explained["limit"]["value"], "50");
    assert_eq!(explained["transitions"][0]["to"], "enforced");
    assert_eq!(explained["messages"][3]["template"], "quota_warning", "{explained}");

    // A limit of its own frees it at once, and a dry run says so before.
    let wanted = json!({"limit": "60", "reason": "a good customer"});
    let path = "/v1/quotas/users/override?tenant=acme";
    let (_, dry) = put(platform, &house.root, &format!("{path}&dry_run=true"), wanted.clone()).await;
    assert_eq!(dry["effects"][1], "what the quota imposes is lifted at once", "{dry}");
    assert_eq!(flags(platform, acme), ["user_creation_blocked"], "a dry run changes nothing");
    let until_us = platform.control.clock().now_us() + DAY_US;
    let end = jiff::Timestamp::from_microsecond(until_us).expect("an instant");
    let wanted = json!({"limit": "60", "until": end, "reason": "a good customer"});
    let (status, check) = put(platform, &house.root, path, wanted).await;
    assert_eq!((status, &check["state"], &check["limit_from"]), (200, &json!("warning"), &json!("override")));
    house.settled().await;
    assert!(flags(platform, acme).is_empty());
    let following = Following::start(&platform.control);
    platform.hand.advance_us(DAY_US + 1);
    until("the override is over", || async { flags(platform, acme) == ["user_creation_blocked"] }).await;
    drop(following);

    assert!(flags(platform, bolt).is_empty() && told(platform, bolt).await.is_empty());
    let theirs = platform.get(&house.root, "/v1/quotas/users/check?tenant=bolt").await;
    assert_eq!(
        (&theirs["state"], &theirs["current_usage"], &theirs["would_allow"]),
        (&json!("ok"), &json!("0"), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused() {
    let house = House::start().await;
    let platform = &house.platform;
    house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let admin = house.member("acme", "tenant_admin").await.key;
    let root = &house.root;
    let reason = json!({"limit": "5", "reason": "r"});
    let push = json!({"level": "5"});
    let stop = json!({"action": "refuse", "reason": "r"});
    let past = json!({"action": "refuse", "reason": "r", "until": "2020-01-01T00:00:00Z"});
    let cases: Vec<(&str, &str, &str, Value, u16, &str)> = vec![
        (root, "PUT", "/v1/quotas/flights/level?tenant=acme", push.clone(), 404, "resources.unknown_meter"),
        (root, "PUT", "/v1/quotas/storage_gb/level?tenant=acme", push.clone(), 409, "resources.not_pushed"),
        (
            root,
            "PUT",
            "/v1/quotas/stamps_created/level?tenant=acme",
            push.clone(),
            409,
            "resources.not_pushed",
        ),
        (
            root,
            "PUT",
            "/v1/quotas/users/level?tenant=acme",
            json!({"level": "-1"}),
            422,
            "resources.invalid_quantity",
        ),
        (
            root,
            "PUT",
            "/v1/quotas/users/level?tenant=acme",
            json!({"level": "1.0000000000001"}),
            422,
            "resources.invalid_quantity",
        ),
        (
            root,
            "PUT",
            "/v1/quotas/users/level?tenant=acme",
            json!({"level": "1", "at": "2099-01-01T00:00:00Z"}),
            422,
            "api.invalid",
        ),
        (root, "PUT", "/v1/quotas/users/level", push.clone(), 422, "api.tenant_required"),
        (
            root,
            "PUT",
            "/v1/quotas/users/override?tenant=acme",
            json!({"limit": "many", "reason": "r"}),
            422,
            "resources.invalid_quantity",
        ),
        (
            root,
            "PUT",
            "/v1/quotas/users/override?tenant=acme",
            json!({"limit": "5", "reason": ""}),
            422,
            "api.invalid",
        ),
        (
            root,
            "PUT",
            "/v1/quotas/flights/override?tenant=acme",
            reason.clone(),
            404,
            "resources.unknown_meter",
        ),
        (root, "DELETE", "/v1/quotas/users/override?tenant=acme", json!({}), 404, "api.not_found"),
        (root, "PUT", "/v1/enforcements/users?tenant=acme", past, 422, "api.invalid"),
        (root, "PUT", "/v1/enforcements/flights?tenant=acme", stop.clone(), 404, "resources.unknown_meter"),
        (root, "GET", "/v1/quotas/flights/check?tenant=acme", json!({}), 404, "resources.unknown_meter"),
        (
            root,
            "GET",
            "/v1/quotas/users/check?tenant=acme&quantity=x",
            json!({}),
            422,
            "resources.invalid_quantity",
        ),
        (&admin, "PUT", "/v1/quotas/users/override", reason, 403, "access.denied"),
        (&admin, "PUT", "/v1/enforcements/users", stop, 403, "access.denied"),
        (&admin, "PUT", "/v1/quotas/users/level", push, 403, "access.denied"),
        (&admin, "GET", "/v1/quotas/users/check?tenant=bolt", json!({}), 404, "api.not_found"),
        (&admin, "GET", "/v1/enforcements?tenant=bolt", json!({}), 404, "api.not_found"),
        (&admin, "GET", "/v1/usage/daily?tenant=bolt", json!({}), 404, "api.not_found"),
    ];
    for (key, method, path, body, status, code) in cases {
        let body = (method != "GET").then_some(body);
        let (found, answer) = platform.call(key, method, path, body).await;
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{method} {path}: {answer}");
    }
    let older = json!({"level": "7", "at": "2026-11-21T09:00:00Z"});
    assert_eq!(level(&house, "acme", "5").await["taken"], true);
    let (_, answer) = put(platform, root, "/v1/quotas/users/level?tenant=acme", older).await;
    assert_eq!(
        (&answer["taken"], &answer["check"]["current_usage"]),
        (&json!(false), &json!("5")),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rule_can_be_asked_with_figures_of_ones_own() {
    let house = House::start().await;
    let figures = json!({"limit": "100", "usage": "95", "reserved": "0", "quantity": "1", "mode": "hard", "thresholds": [80, 95]});
    let answer = house.posted(&house.root, "/v1/quotas/evaluate", figures).await;
    assert_eq!(
        answer,
        json!({"state": "alert", "utilization_percentage": "95.00", "available": "5", "warning_threshold": "80",
            "is_near_limit": true, "is_over_limit": false, "would_allow": true, "message": "quota_alert", "action": null})
    );
    let refused = house
        .refused(&house.root, "/v1/quotas/evaluate", json!({"limit": "1", "usage": "1", "mode": "grace"}))
        .await;
    assert!(refused.contains("/mode"), "{refused}");
}

/// Usage of a day in the journal, projected.
async fn count(platform: &Platform, tenant: TenantId, usage: &[(i64, &'static str, i128)]) {
    let mut lane = platform.journal.lane("g0").expect("a lane");
    for (at_us, meter, quantity) in usage {
        lane.append_record(Class::R, &record(tenant.as_u128(), *at_us, &[(meter, *quantity)])).expect("room");
    }
    let running = Running::start(platform);
    projected(platform, &lane).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counted_usage_stops_until_the_window_turns_and_hands_may_lift_it_before() {
    let house = House::start().await;
    let platform = &house.platform;
    let acme = house.tenant("acme", "basic").await;
    let _following = Following::start(&platform.control);
    let begun = platform.control.clock().now_us();
    count(platform, acme, &[(begun, "stamps_created", 10_000)]).await;
    until("stopped", || async { flags(platform, acme) == ["stamps_created_refused"] }).await;
    let imposed = &entry(platform, acme).imposed[0];
    assert_eq!(imposed.until_us, Some(START_US + 14 * 60 * MINUTE_US), "until midnight");
    assert_eq!(told(platform, acme).await, "quota_reached", "skipped thresholds are not told");

    // Lifted by hand whatever usage says, until the end.
    let end = jiff::Timestamp::from_microsecond(begun + 60 * MINUTE_US).expect("an instant");
    let lift = json!({"until": end, "reason": "a mistake of ours"});
    let path = "/v1/enforcements/stamps_created?tenant=acme";
    assert_eq!(platform.call(&house.root, "DELETE", path, Some(lift)).await.0, 204);
    until("lifted", || async { flags(platform, acme).is_empty() }).await;
    let quota = |platform: &Platform| {
        entry(platform, acme).quotas.into_iter().find(|own| &*own.meter == "stamps_created")
    };
    assert_eq!(quota(platform).and_then(|own| own.ceiling()), None, "gateways refuse nothing for it");
    let list = platform.get(&house.root, "/v1/enforcements?tenant=acme").await;
    assert_eq!(list["items"][0]["lifted_until"], json!(end), "{list}");
    platform.hand.advance_us(61 * MINUTE_US);
    until("the lift is over", || async { flags(platform, acme) == ["stamps_created_refused"] }).await;

    // A new day.
    platform.hand.advance_us(DAY_US);
    until("a new window", || async { flags(platform, acme).is_empty() }).await;
    until("told", || async { told(platform, acme).await == "quota_reached quota_lifted" }).await;

    // Imposed by hand although nothing is used.
    let end = jiff::Timestamp::from_microsecond(platform.control.clock().now_us() + 60 * MINUTE_US)
        .expect("an instant");
    let stop = json!({"action": "block_creation", "until": end, "reason": "a dispute"});
    assert_eq!(put(platform, &house.root, "/v1/enforcements/locations?tenant=acme", stop).await.0, 204);
    until("imposed", || async { flags(platform, acme) == ["location_creation_blocked"] }).await;
    platform.hand.advance_us(61 * MINUTE_US);
    until("over by itself", || async { flags(platform, acme).is_empty() }).await;

    let question = json!({"tenant": "acme", "meter": "stamps_created", "limit": "4000", "window": "day",
        "from": "2026-11-20T00:00:00Z", "to": "2026-11-23T00:00:00Z"});
    let answer = house.posted(&house.root, "/v1/quotas/simulate", question).await;
    assert_eq!(
        (&answer["windows"], &answer["enforced"], &answer["refused"]),
        (&json!(3), &json!(1), &json!("6000")),
        "{answer}"
    );
    let tier = json!({"tier": "basic", "meter": "stamps_created", "limit": "4000", "from": "2026-11-20T00:00:00Z", "to": "2026-11-23T00:00:00Z"});
    let answer = house.posted(&house.root, "/v1/quotas/simulate", tier).await;
    assert_eq!((&answer["enforced"], &answer["refused"]), (&json!(1), &json!("6000")), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_thrown_away_and_made_again_are_the_same_to_the_byte() {
    let house = House::start().await;
    let platform = &house.platform;
    let control = &platform.control;
    let acme = house.tenant("acme", "basic").await;
    for users in ["3", "9", "7"] {
        level(&house, "acme", users).await;
    }
    count(platform, acme, &[(START_US, "stamps_created", 40), (START_US + 1, "transactions", 2)]).await;
    resources::history::refresh(control, None).await.expect("days");
    platform.hand.advance_us(DAY_US);
    let later = control.clock().now_us();
    count(platform, acme, &[(later, "stamps_created", 5)]).await;
    level(&house, "acme", "8").await;
    resources::history::refresh(control, None).await.expect("days");
    let all = "SELECT coalesce(string_agg(d::text, E'\\n' ORDER BY usage_date, resource_type), '') FROM resources.usage_days d";
    let live = platform.ask(all).await;
    assert_eq!(live.lines().count(), 5, "{live}");
    resources::history::rebuild(control, acme, date(2026, 11, 21)).await.expect("days");
    assert_eq!(platform.ask(all).await, live);

    let days = platform.get(&house.root, "/v1/usage/daily?tenant=acme&from=2026-11-21&limit=2").await;
    let first = &days["items"][0];
    assert_eq!(
        (&first["resource_type"], &first["current_usage"], &first["closed"]),
        (&json!("stamps_created"), &json!("40"), &json!(true)),
        "{days}"
    );
    let cursor = days["next_cursor"].as_str().expect("there are more");
    let rest = platform
        .get(&house.root, &format!("/v1/usage/daily?tenant=acme&from=2026-11-21&limit=2&cursor={cursor}"))
        .await;
    let users = &rest["items"][0];
    assert_eq!(
        (&users["resource_type"], &users["current_usage"], &users["peak_usage"], &users["quota"]),
        (&json!("users"), &json!("7"), &json!("9"), &json!("50")),
        "{rest}"
    );
}

/// What an erased tenant used stays among the evidence of its bills; nothing else is made of that again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_measured_or_counted_up_of_a_tenant_that_leaves() {
    let stage = Stage::start().await;
    let (platform, control) = (&stage.platform, stage.control());
    let tenant = stage.tenant("acme", "basic", "shared").await;
    let id: TenantId = tenant["id"].as_str().expect("an id").parse().expect("a tenant's id");
    count(platform, id, &[(control.clock().now_us(), "stamps_created", 40)]).await;
    resources::history::refresh(control, None).await.expect("days");
    let days = format!("SELECT count(*) FROM resources.usage_days WHERE tenant_id = '{}'", id.0);
    assert_ne!(platform.ask(&days).await, "0");

    let _following = Following::start(control);
    let measured = format!("SELECT count(*) FROM resources.measurements WHERE tenant_id = '{}'", id.0);
    until("its storage is measured", || async { platform.ask(&measured).await != "0" }).await;
    let body = json!({"retention_days": 30, "reason": "it leaves"});
    let (status, answer) = stage.call("POST", "/v1/tenants/acme/decommission", body).await;
    assert_eq!(status, 202, "{answer}");
    until("it leaves", || async { stage.get("/v1/tenants/acme").await["status"] == json!("leaving") }).await;
    platform.hand.advance_us(DAY_US);
    until("it is measured no more", || async { platform.ask(&measured).await == "0" }).await;
    platform
        .ask(&format!(
            "WITH gone AS (DELETE FROM resources.usage_days WHERE tenant_id = '{}' RETURNING 1) \
             SELECT count(*) FROM gone",
            id.0
        ))
        .await;
    resources::history::refresh(control, None).await.expect("days");
    assert_eq!(platform.ask(&days).await, "0");
    stage.stop().await;
}

/// Rights of the only place in a database, as its guard has them.
const RIGHTS: &str = "SELECT string_agg(rights, ' ') FROM rh.place";

/// Fills the storage of a tenant on one level, sees growth stopped in the database itself, and frees it.
async fn fills(stage: &Stage, (code, tier, isolation): (&str, &str, &str)) {
    let tenant = stage.tenant(code, tier, isolation).await;
    let id: TenantId = tenant["id"].as_str().expect("an id").parse().expect("a tenant's id");
    let place = stage.get(&format!("/v1/tenants/{code}")).await["placement"].clone();
    let database = stage
        .platform
        .ask(&format!("SELECT database FROM tenancy.places WHERE tenant_id = '{}'", id.0))
        .await;
    let schema = stage
        .platform
        .ask(&format!(
            "SELECT schema FROM tenancy.installations WHERE database = '{database}' AND coalesce(tenant_id, '{0}') = '{0}'",
            id.0
        ))
        .await;
    let rights = format!("SELECT rights FROM rh.place WHERE tenant = '{}'", id.0);
    let path = format!("/v1/quotas/storage_gb/override?tenant={code}");
    let (status, answer) = stage.call("PUT", &path, json!({"limit": "0.0002", "reason": "a test"})).await;
    assert_eq!(status, 200, "{answer}");
    let insert = format!(
        "WITH made AS (INSERT INTO {schema}.stamps (tenant_id, id, hash) SELECT '{}', gen_random_uuid(), repeat('x', 200) \
         FROM generate_series(1, 1500) RETURNING 1) SELECT count(*)::text FROM made",
        id.0
    );
    assert_eq!(stage.in_cell(&database, &insert).await, "1500", "{place}");
    let collect = format!("/v1/quotas/collect?tenant={code}");
    let measured = async |wanted: &'static str| {
        let (status, answer) = stage.call("POST", &collect, json!({})).await;
        assert_eq!((status, &answer["meters"]), (202, &json!(["storage_gb"])));
        until(wanted, || async { stage.in_cell(&database, &rights).await == wanted }).await;
    };
    measured("rd").await;
    let check = stage.get(&format!("/v1/quotas/storage_gb/check?tenant={code}")).await;
    assert_eq!(
        (&check["state"], &check["enforcement"]["flag"]),
        (&json!("enforced"), &json!("storage_writes_blocked")),
        "{check}"
    );
    until("told to gateways", || async { flags(&stage.platform, id) == ["storage_writes_blocked"] }).await;
    stage
        .in_cell(&database, &format!("WITH gone AS (DELETE FROM {schema}.stamps WHERE tenant_id = '{}' RETURNING 1) SELECT count(*)::text FROM gone", id.0))
        .await;
    if isolation != "shared" {
        let config = stage.server.connect_config(&database, rowhouse_store::server::SUPERUSER);
        crate::platform::execute(&config, &format!("VACUUM FULL {schema}.stamps")).await;
    }
    // What is measured again at the same instant of a clock that stands still is later all the same.
    stage.platform.hand.advance_us(1_000_000);
    measured("rwd").await;
    until("free", || async { flags(&stage.platform, id).is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_storage_stops_growth_in_the_database_itself_on_every_level() {
    let stage = Stage::start().await;
    let _following = Following::start(stage.control());
    for level in
        [("acme", "basic", "shared"), ("bolt", "basic", "schema"), ("crow", "enterprise", "database")]
    {
        fills(&stage, level).await;
    }
    let others = stage.in_cell("rh_shared", RIGHTS).await;
    assert_eq!(others, "rwd");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_services_table_are_counted_in_the_tenants_own_context() {
    let stage = Stage::start().await;
    let tenant = stage.tenant("acme", "basic", "shared").await;
    stage.tenant("bolt", "basic", "shared").await;
    let id: TenantId = tenant["id"].as_str().expect("an id").parse().expect("a tenant's id");
    let rule = |table: &str| json!({"locations": {"collect": {"table": table, "where": "hash <> 'closed'"}}});
    apply_rule(&stage, rule("stamping.stamps")).await;
    let _following = Following::start(stage.control());
    let insert = |tenant: &str, hash: &str, rows: u32| {
        format!(
            "WITH made AS (INSERT INTO stamping.stamps (tenant_id, id, hash) SELECT t.tenant, gen_random_uuid(), '{hash}' \
             FROM rh.place t, generate_series(1, {rows}) WHERE {tenant} RETURNING 1) SELECT count(*)::text FROM made"
        )
    };
    let own = format!("t.tenant = '{}'", id.0);
    stage.in_cell("rh_shared", &insert(&own, "open", 5)).await;
    stage.in_cell("rh_shared", &insert(&own, "closed", 4)).await;
    stage.in_cell("rh_shared", &insert(&format!("t.tenant <> '{}'", id.0), "open", 50)).await;
    let (status, answer) = stage.call("POST", "/v1/quotas/collect?tenant=acme", json!({})).await;
    assert_eq!((status, &answer["meters"]), (202, &json!(["locations", "storage_gb"])), "{answer}");
    until("five locations are counted", || async {
        flags(&stage.platform, id) == ["location_creation_blocked"]
    })
    .await;
    let check = stage.get("/v1/quotas/locations/check?tenant=acme").await;
    assert_eq!(
        (&check["current_usage"], &check["stale"]),
        (&json!("5"), &json!(false)),
        "nobody else's rows: {check}"
    );

    // A table that cannot be counted: after three failures nothing is lifted or imposed any more.
    let broken = json!({"locations": {"collect": {"table": "stamping.stamps", "where": "nothing IS NULL"}}});
    apply_rule(&stage, broken).await;
    let failures = format!(
        "SELECT failures::text FROM resources.measurements WHERE meter = 'locations' AND tenant_id = '{}'",
        id.0
    );
    for times in ["1", "2", "3"] {
        stage.platform.hand.advance_us(MINUTE_US);
        until("it failed", || async { stage.platform.ask(&failures).await == times }).await;
    }
    let check = "/v1/quotas/locations/check?tenant=acme";
    until("stale", || async { stage.get(check).await["stale"] == json!(true) }).await;
    assert_eq!(flags(&stage.platform, id), ["location_creation_blocked"]);
    stage
        .in_cell(
            "rh_shared",
            "WITH gone AS (DELETE FROM stamping.stamps RETURNING 1) SELECT count(*)::text FROM gone",
        )
        .await;
    apply_rule(&stage, rule("stamping.stamps")).await;
    stage.platform.hand.advance_us(MINUTE_US);
    until("measured again and free", || async { flags(&stage.platform, id).is_empty() }).await;
    stage.stop().await;
}

/// Gives the tier `basic` these rules, by the catalogue.
async fn apply_rule(stage: &Stage, rules: Value) {
    let mut catalog = stage.get("/v1/catalog/export").await;
    let tiers = catalog["tiers"].as_array_mut().expect("a list");
    let basic = tiers.iter_mut().find(|tier| tier["name"] == "basic").expect("a tier");
    basic["quota_rules"] = rules;
    let (status, plan) = stage.call("POST", "/v1/catalog/plan", catalog.clone()).await;
    assert_eq!(status, 200, "{plan}");
    let apply = json!({"plan": plan["digest"], "catalog": catalog, "prune": false});
    let (status, applied) = stage.call("POST", "/v1/catalog/apply", apply).await;
    assert_eq!(status, 200, "{applied}");
    let last = stage.platform.ask("SELECT max(id) FROM api.notices").await.parse::<u64>().expect("a number");
    let directory = &stage.control().directory;
    until("the directory follows", || async { directory.version() >= (last + 1) << 16 }).await;
}
