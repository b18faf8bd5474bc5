//! Subscriptions and the running invoice: lines add up, and each one's events sum to its quantity.

use rowhouse_control::billing;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_journal::Class;
use rowhouse_store::Change;
use serde_json::{Value, json};

use crate::metering::{A, B, Running, platform, projected, record};
use crate::platform::{Platform, START_US};

const MINUTE_US: i64 = 60_000_000;

async fn subscribe(platform: &Platform, tenant: u128, plan: &str) -> billing::Subscription {
    let tenant = TenantId::from_u128(tenant);
    let permit = Permit::for_system(Some(tenant), "test");
    let transaction = platform.control.store.write(&permit).await.expect("a transaction");
    let now = platform.control.clock().now();
    let subscription = billing::subscribe(&transaction, tenant, plan, now).await.expect("a subscription");
    let change = Change::new(tenant, "billing.subscription_changed", "update", permit.principal());
    transaction.commit(change).await.expect("it commits");
    subscription
}

/// What A and B used around the beginning of their subscriptions.
async fn use_some(platform: &Platform) {
    let mut lane = platform.journal.lane("g0").expect("a lane");
    let mut add = |tenant, at_us, usage: &[(&'static str, i128)]| {
        lane.append_record(Class::R, &record(tenant, at_us, usage)).expect("room");
    };
    // The minute before the subscription is not billed.
    add(A, START_US - 1, &[("hash_operations", 1_000_000)]);
    for n in 0..5 {
        add(A, START_US + n * MINUTE_US, &[("hash_operations", 5_000), ("api_calls", 1)]);
    }
    add(A, START_US + 7, &[("stamps_created", 3)]);
    add(B, START_US + 7, &[("stamps_created", 8)]);
    let running = Running::start(platform);
    projected(platform, &lane).await;
    running.stop().await;
}

fn cents(money: &Value) -> i64 {
    money["amount"].as_str().expect("an amount").replace('.', "").parse().expect("cents")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_invoice_adds_up_and_opens_down_to_requests() {
    let platform = platform().await;
    let (_, key) = platform.tenant(A, "acme", &["invoice:read", "usage:read", "subscription:read"]);
    subscribe(&platform, A, "professional").await;
    use_some(&platform).await;
    platform.hand.advance_us(10 * MINUTE_US);

    let invoice = platform.get(&key, "/v1/billing/running").await;
    assert_eq!(invoice["state"], "draft");
    assert_eq!(invoice["plan"], "professional@1");
    assert_eq!(invoice["period"]["from"], "2026-11-21T10:00:00Z");
    assert_eq!(invoice["period"]["to"], "2026-12-21T10:00:00Z");
    let lines = invoice["lines"].as_array().expect("lines");
    let net = |price: &str| {
        let line =
            lines.iter().find(|line| line["price"] == price).unwrap_or_else(|| panic!("{price}: {invoice}"));
        (
            line["quantity"].as_str().expect("a quantity").to_owned(),
            line["net"]["exact"].as_str().expect("exact").to_owned(),
        )
    };
    // 10,000 at 0.001 and 15,000 at 0.0008.
    assert_eq!(net("hash_tiered"), ("25000".into(), "22".into()));
    assert_eq!(net("stamp_per_operation"), ("3".into(), "0.03".into()));
    assert_eq!(net("api_call_per_operation"), ("5".into(), "0.0005".into()));
    assert_eq!(net("storage_per_gb_month"), ("0".into(), "0".into()));
    let nets: i64 = lines.iter().map(|line| cents(&line["net"])).sum();
    assert_eq!((nets, cents(&invoice["subtotal"]), cents(&invoice["total"])), (2203, 2203, 2203));

    for line in lines {
        let price = line["price"].as_str().expect("a price");
        let explained = platform.get(&key, &format!("/v1/billing/running/lines/{price}/explain")).await;
        assert_eq!(explained["amount"]["amount"], line["net"]["amount"], "{price}");
        let measure = &explained["steps"][0];
        assert_eq!(
            (&measure["step"], &measure["quantity"]),
            (&"measure".into(), &line["quantity"]),
            "{price}"
        );
        if price == "storage_per_gb_month" {
            continue;
        }
        let usage = platform.get(&key, measure["events_url"].as_str().expect("an address")).await;
        let events = usage["events"].as_array().expect("events");
        let sum: i64 = events
            .iter()
            .map(|event| event["value"].as_str().expect("a value").parse::<i64>().expect("whole"))
            .sum();
        assert_eq!(json!(sum.to_string()), line["quantity"], "{price}");
        assert_eq!(measure["events"], events.len(), "{price}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_on_one_plan_at_a_time() {
    let platform = platform().await;
    let (_, key) = platform.tenant(A, "acme", &["invoice:read", "subscription:read"]);
    let first = subscribe(&platform, A, "basic").await;
    assert_eq!(subscribe(&platform, A, "basic").await.id, first.id, "twice is once");
    platform.hand.advance_us(3 * MINUTE_US + 1);
    let second = subscribe(&platform, A, "enterprise").await;
    assert_ne!(second.id, first.id);

    let list = platform.get(&key, "/v1/subscriptions").await;
    let items = list["items"].as_array().expect("items");
    assert_eq!(items.len(), 2, "{list}");
    assert_eq!((&items[0]["plan"], &items[0]["state"]), (&"basic".into(), &"ended".into()));
    assert_eq!(items[0]["ended_at"], "2026-11-21T10:03:00Z", "a whole minute");
    assert_eq!((&items[1]["plan"], &items[1]["started_at"]), (&"enterprise".into(), &items[0]["ended_at"]));

    let tenant = TenantId::from_u128(A);
    let permit = Permit::for_system(Some(tenant), "test");
    let transaction = platform.control.store.write(&permit).await.expect("a transaction");
    let refused = billing::subscribe(&transaction, tenant, "gold", platform.control.clock().now()).await;
    assert!(matches!(refused, Err(billing::SubscribeError::UnknownPlan { .. })), "{refused:?}");
    transaction.rollback().await.expect("it rolls back");
    // A later change of the catalogue does not change what was agreed.
    platform
        .execute("UPDATE billing.plans SET definition = jsonb_set(definition, '{currency}', '\"EUR\"')")
        .await;
    assert_eq!(platform.get(&key, "/v1/billing/running").await["currency"], "USD");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_bill_is_not_there() {
    let platform = platform().await;
    let rights = ["invoice:read", "subscription:read", "usage:read"];
    let (_, bolt) = platform.tenant(B, "bolt", &rights);
    let (_, acme) = platform.tenant(A, "acme", &rights);
    let (_, blind) = platform.tenant(0xc, "corn", &["usage:read"]);
    let operator = platform.operator();
    subscribe(&platform, A, "basic").await;
    subscribe(&platform, B, "basic").await;
    use_some(&platform).await;

    let own = platform.get(&bolt, "/v1/billing/running").await;
    assert_eq!(own["total"]["amount"], "0.08");
    assert_eq!(platform.get(&bolt, "/v1/subscriptions").await["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(platform.get(&operator, "/v1/subscriptions").await["items"].as_array().map(Vec::len), Some(2));
    let page = platform.get(&operator, "/v1/subscriptions?limit=1").await;
    let next = page["next_cursor"].as_str().expect("another page");
    let rest = platform.get(&operator, &format!("/v1/subscriptions?limit=1&cursor={next}")).await;
    assert_ne!(rest["items"][0]["id"], page["items"][0]["id"]);
    assert_eq!(rest["next_cursor"], Value::Null);
    for (key, method, path, status, code) in [
        (&bolt, "GET", "/v1/billing/running?tenant=acme", 404, "api.not_found"),
        (&bolt, "GET", "/v1/subscriptions?tenant=acme", 404, "api.not_found"),
        (&bolt, "POST", "/v1/invoices/preview?tenant=acme", 404, "api.not_found"),
        (
            &bolt,
            "GET",
            "/v1/billing/running/lines/stamp_per_operation/explain?tenant=acme",
            404,
            "api.not_found",
        ),
        (&bolt, "GET", "/v1/billing/running/lines/nothing/explain", 404, "api.not_found"),
        (&blind, "GET", "/v1/billing/running", 403, "access.denied"),
        (&operator, "GET", "/v1/billing/running", 422, "api.tenant_required"),
        (&operator, "GET", "/v1/billing/running?tenant=corn", 404, "billing.no_subscription"),
    ] {
        let body = (method == "POST").then(|| json!({}));
        let (found, problem) = platform.call(key, method, path, body).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{path}: {problem}");
    }
    let period = json!({"period": {"from": "2026-11-21T10:00:00Z", "to": "2026-12-21T10:00:00Z"}});
    let (status, preview) = platform.call(&acme, "POST", "/v1/invoices/preview", Some(period)).await;
    assert_eq!((status, &preview["total"]["amount"]), (200, &"25.03".into()), "{preview}");
    for (from, to) in
        [("2026-11-21T10:00:00Z", "2026-12-01T00:00:00Z"), ("2026-10-21T10:00:00Z", "2026-11-21T10:00:00Z")]
    {
        let period = json!({"period": {"from": from, "to": to}});
        let (status, problem) = platform.call(&acme, "POST", "/v1/invoices/preview", Some(period)).await;
        assert_eq!((status, problem["code"].as_str()), (422, Some("api.invalid")), "{from}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_can_be_tried() {
    let platform = platform().await;
    let (_, key) = platform.tenant(A, "acme", &["usage:read"]);
    let tiers = json!([{"up_to": "10000", "unit_price": "0.001"}, {"up_to": "100000", "unit_price": "0.0008"}, {"up_to": null, "unit_price": "0.0005"}]);
    let asked = json!({"currency": "USD", "price": {"model": "graduated", "tiers": tiers}, "quantity": "25000",
        "billed": {"quantity": "0", "amount": "0.00"}});
    let (status, rated) =
        platform.call(&key, "POST", "/v1/billing/simulate/price", Some(asked.clone())).await;
    assert_eq!((status, &rated["net"]["amount"]), (200, &"22.00".into()), "{rated}");
    assert_eq!(rated["average_unit_price"], "0.00088");
    let wrong = |field: &str, value: Value| {
        let mut asked = asked.clone();
        asked[field] = value;
        asked
    };
    for (body, code) in [
        (wrong("currency", json!("XXQ")), "billing.bad_currency"),
        (wrong("price", json!({"model": "graduated", "tiers": []})), "billing.bad_price"),
        (wrong("share", json!("3/2")), "api.invalid"),
        (wrong("quantity", json!("1e400")), "api.invalid"),
        (wrong("quantity", json!(25000)), "api.invalid"),
        (wrong("unknown", json!(1)), "api.invalid"),
    ] {
        let (status, problem) = platform.call(&key, "POST", "/v1/billing/simulate/price", Some(body)).await;
        assert_eq!((status, problem["code"].as_str()), (422, Some(code)), "{problem}");
    }
}
