//! Quotas: where a tenant stands, and notices that keep the directory's figures fresh without flooding it.

use rowhouse_control::{resources, tenancy};
use rowhouse_domain::access::Permit;
use rowhouse_domain::directory::Quota;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::SCALE;
use rowhouse_domain::tenancy::shipped_tiers;
use rowhouse_journal::Class;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::metering::{A, B, Running, platform, projected, record};
use crate::platform::{PATIENCE, Platform, START_US};

const DAY_US: i64 = 86_400_000_000;

/// A platform whose tenants are of the tier `basic`, with an override for A.
async fn furnished() -> Platform {
    let platform = platform().await;
    for tier in shipped_tiers() {
        let definition = serde_json::to_string(&tier).expect("JSON");
        let name = tier.name;
        platform
            .execute(&format!(
                "INSERT INTO tenancy.tiers (name, definition, updated_at) VALUES ('{name}', '{definition}', now())"
            ))
            .await;
    }
    for (tenant, code, overrides) in [(A, "acme", r#"{"stamps_created": "50"}"#), (B, "bolt", "{}")] {
        let id = TenantId::from_u128(tenant).0;
        platform
            .execute(&format!(
                "INSERT INTO tenancy.tenants (tenant_id, code, company_name, tier, isolation, region, status, \
                     quota_overrides, created_by, created_at, updated_at) \
                 VALUES ('{id}', '{code}', '{code}', 'basic', 'shared', 'eu1', 'active', '{overrides}', 'test', now(), now())"
            ))
            .await;
    }
    platform
}

async fn count(platform: &Platform, usage: &[(u128, i64, &'static str, i128)]) {
    let mut lane = platform.journal.lane("g0").expect("a lane");
    for (tenant, at_us, meter, quantity) in usage {
        lane.append_record(Class::R, &record(*tenant, *at_us, &[(meter, *quantity)])).expect("room");
    }
    let running = Running::start(platform);
    projected(platform, &lane).await;
    running.stop().await;
}

fn quota<'a>(list: &'a Value, meter: &str) -> &'a Value {
    let items = list["items"].as_array().expect("items");
    items.iter().find(|item| item["resource_type"] == meter).unwrap_or_else(|| panic!("{meter}: {list}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_sees_where_it_stands_in_the_current_window() {
    let platform = furnished().await;
    let (_, acme) = platform.tenant(A, "acme", &["quota:read"]);
    let (_, bolt) = platform.tenant(B, "bolt", &["quota:read"]);
    let usage = [
        (A, START_US, "stamps_created", 41),
        (A, START_US - DAY_US, "stamps_created", 9),
        (A, START_US, "transactions", 3),
        (A, START_US - DAY_US, "transactions", 4),
        (A, START_US - 40 * DAY_US, "transactions", 5),
        // A level: the last value holds.
        (A, START_US - 40 * DAY_US, "users", 4),
        (A, START_US - DAY_US, "users", 2),
        (A, START_US - 2 * DAY_US, "users", 3),
    ];
    count(&platform, &usage).await;

    let list = platform.get(&acme, "/v1/quotas").await;
    let stamps = quota(&list, "stamps_created");
    assert_eq!(
        (&stamps["current_usage"], &stamps["limit"], &stamps["limit_from"], &stamps["available"]),
        (&json!("41"), &json!("50"), &json!("override"), &json!("9"))
    );
    assert_eq!((&stamps["utilization_percentage"], &stamps["state"]), (&json!("82.00"), &json!("warning")));
    assert_eq!(
        (&stamps["window"], &stamps["window_ends_at"]),
        (&json!("day"), &json!("2026-11-22T00:00:00Z"))
    );
    assert_eq!((&stamps["unit"], &stamps["is_near_limit"]), (&json!("stamp"), &json!(true)));
    let transactions = quota(&list, "transactions");
    assert_eq!((&transactions["current_usage"], &transactions["limit_from"]), (&json!("7"), &json!("tier")));
    let users = quota(&list, "users");
    assert_eq!((&users["current_usage"], &users["window"]), (&json!("2"), &Value::Null));

    let theirs = platform.get(&bolt, "/v1/quotas").await;
    assert_eq!(quota(&theirs, "stamps_created")["current_usage"], "0");
    assert_eq!(quota(&theirs, "stamps_created")["limit"], "10000");
    let (status, problem) = platform.call(&bolt, "GET", "/v1/quotas?tenant=acme", None).await;
    assert_eq!((status, &problem["code"]), (404, &json!("api.not_found")));

    platform.hand.advance_us(DAY_US);
    let list = platform.get(&acme, "/v1/quotas").await;
    assert_eq!(quota(&list, "stamps_created")["current_usage"], "0", "a new day");
    let everyone =
        platform.control.store.read(&Permit::for_system(None, "test")).await.expect("a transaction");
    let tenants = tenancy::load_tenants(&everyone, None).await.expect("tenants");
    let tiers = shipped_tiers().into_iter().map(|tier| (tier.name.clone(), tier)).collect();
    let now = platform.control.clock().now();
    let all = resources::quotas(&everyone, &tenants, &tiers, None, now).await.expect("quotas");
    everyone.finish().await.expect("it ends");
    let of = |tenant: u128, meter: &str| {
        let own = &all[&TenantId::from_u128(tenant)];
        own.iter().find(|quota| *quota.meter == *meter).map(|quota| quota.used / SCALE)
    };
    assert_eq!((of(A, "transactions"), of(A, "users"), of(A, "stamps_created")), (Some(7), Some(2), Some(0)));
    assert_eq!((of(B, "transactions"), of(B, "users"), of(B, "stamps_created")), (Some(0), Some(0), Some(0)));
}

/// Gives tenants a quota of stamps in the directory, as its reconciler would.
fn publish_quota(platform: &Platform, tenant: u128, used: i128) {
    let mut directory = (*platform.control.directory.current()).clone();
    directory.version += 1;
    let mut entry = (**directory.tenants.get(&TenantId::from_u128(tenant)).expect("a tenant")).clone();
    entry.quotas = vec![Quota {
        used: used * SCALE,
        used_from_us: START_US,
        ..Quota::of_meter("stamps_created", Some(50 * SCALE))
    }];
    directory.put_tenant(entry);
    platform.control.directory.publish(directory);
}

async fn notices(platform: &Platform) -> String {
    platform
        .ask("SELECT coalesce(string_agg(topic || ' ' || tenant_id, ', ' ORDER BY id), '') FROM api.notices")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_tenants_whose_usage_moved_against_a_quota_are_announced() {
    let platform = furnished().await;
    publish_quota(&platform, A, 0);
    let (shutdown, wanted) = watch::channel(false);
    let following = tokio::spawn(resources::run(platform.control.clone(), wanted));
    let committed = platform.control.store.committed();
    // B has no quota in the directory; A's `api_calls` has none.
    count(&platform, &[(B, START_US, "stamps_created", 40), (A, START_US, "api_calls", 40)]).await;
    count(&platform, &[(A, START_US + 1, "stamps_created", 1)]).await;
    let announced = async {
        let mut committed = committed;
        while notices(&platform).await.is_empty() {
            committed.changed().await.expect("the store is there");
        }
    };
    tokio::time::timeout(PATIENCE, announced).await.expect("a notice comes");
    assert_eq!(notices(&platform).await, format!("tenant {}", TenantId::from_u128(A).0));
    shutdown.send_replace(true);
    tokio::time::timeout(PATIENCE, following).await.expect("it ends soon").expect("it does not panic");
}
