//! The directory: whole or by steps the same, followed by other processes, and gone on with after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rowhouse_control::directory;
use rowhouse_domain::directory::Directory;
use rowhouse_domain::routes::{Circumstances, Match};
use rowhouse_domain::tenancy::Service;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::house::{House, outcome};
use crate::platform::PATIENCE;

/// Everything in a directory but version numbers, in a form that can be compared.
fn content(directory: &Directory) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (id, tenant) in directory.tenants.iter() {
        let mut tenant = (**tenant).clone();
        tenant.version = 0;
        let access = tenant.access.clone();
        tenant.access = Arc::default();
        all.insert(format!("tenant {id}"), format!("{tenant:?} access {}", access.version));
        for (_, key) in directory.keys.iter().filter(|(_, key)| key.tenant == *id) {
            let bits = directory.permissions.all().filter(|name| {
                let bit = directory.permissions.id(name).expect("declared");
                rowhouse_domain::access::may(access.rights(&key.owner), bit, 0)
                    == rowhouse_domain::access::Reason::Granted
            });
            let rights: Vec<&str> = bits.collect();
            all.insert(format!("key {}", key.id), format!("{key:?} owner may {}", rights.join(" ")));
        }
    }
    for (code, tenant) in directory.codes.iter() {
        let same = directory.tenants.get(&tenant.id).is_some_and(|own| Arc::ptr_eq(own, tenant));
        assert!(same, "{code} leads to what its tenant was before");
        all.insert(format!("code {code}"), tenant.id.to_string());
    }
    for (name, id) in directory.hosts.iter() {
        all.insert(format!("host {name}"), id.to_string());
    }
    all.insert("routes".into(), format!("{:?}", directory.routes));
    all.insert("limits".into(), format!("{:?}", directory.limits));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_by_step_is_the_same_as_all_at_once() {
    let house = House::start().await;
    let control = &house.platform.control;
    let acme = house.tenant("acme", "basic").await;
    house.tenant("bolt", "premium").await;
    let member = house.member("acme", "developer").await;
    house.member("bolt", "admin").await;
    house.created(&house.root, &format!("/v1/keys/{}/rotate", member.id), json!({})).await;
    house.platform.call(&house.root, "DELETE", &format!("/v1/grants/{}", member.grant), None).await;
    let catalogue = json!({
        "name": "mine",
        "services": [{ "name": "echo", "upstreams": ["127.0.0.1:9200"] }],
        "routes": [{ "name": "echo", "service": "echo", "path": "/v1/echo", "public": true }],
    });
    let plan = house.posted(&house.root, "/v1/catalog/plan", catalogue.clone()).await;
    let body = json!({ "plan": plan["digest"], "catalog": catalogue });
    house.posted(&house.root, "/v1/catalog/apply", body).await;
    house.member("acme", "viewer").await;
    // A code that another tenant takes over.
    let moved = "UPDATE tenancy.tenants SET code = 'old' WHERE code = 'acme'; \
                 UPDATE tenancy.tenants SET code = 'acme' WHERE code = 'bolt'; \
                 INSERT INTO api.notices (topic, tenant_id, at) SELECT 'tenant', tenant_id, now() FROM tenancy.tenants";
    house.platform.execute(moved).await;
    house.settled().await;
    let followed = control.directory.current();
    assert_eq!(followed.tenant_by_code("old").map(|tenant| tenant.id), Some(acme));
    assert!(followed.tenant_by_code("bolt").is_none());
    let whole = directory::build(control).await.expect("a directory");
    assert_eq!(content(&followed), content(&whole));
    assert_eq!(followed.version, whole.version);
    // A tenant whose row is gone leaves nothing behind.
    house.platform.execute("DELETE FROM tenancy.tenants WHERE code = 'old'").await;
    let gone =
        format!("INSERT INTO api.notices (topic, tenant_id, at) VALUES ('tenant', '{}', now())", acme.0);
    house.platform.execute(&gone).await;
    house.settled().await;
    let followed = control.directory.current();
    assert!(followed.tenants.get(&acme).is_none() && followed.codes.get("old").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_follows_by_looking_and_a_restart_goes_on() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let member = house.member("acme", "admin").await;
    let before = house.platform.control.directory.version();
    // It shares only the database: no commit of the first wakes it.
    let other = house.platform.beside();
    let reconciler = directory::start(&other.control).await.expect("a directory");
    assert_eq!(other.control.directory.version(), before, "who has read as far has the same number");
    let (shutdown, wanted) = watch::channel(false);
    let follower = tokio::spawn(reconciler.run(other.control.clone(), wanted));
    house.posted(&house.root, &format!("/v1/keys/{}/revoke", member.id), json!({ "reason": "test" })).await;
    let begun = Instant::now();
    let reached = async {
        while other.control.directory.version() <= before {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, reached).await.expect("it follows");
    assert!(begun.elapsed() < Duration::from_secs(3), "after {:?}", begun.elapsed());
    let (status, answer) = other.call(&member.key, "GET", "/v1/tiers", None).await;
    assert_eq!(outcome(status, &answer), "401 keys.revoked");
    shutdown.send_replace(true);
    timeout(PATIENCE, follower).await.expect("it ends").expect("it does not panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_slept_through_a_sweep_makes_all_anew() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let member = house.member("acme", "admin").await;
    let other = house.platform.beside();
    let mut sleeper = directory::start(&other.control).await.expect("a directory");
    house.posted(&house.root, &format!("/v1/keys/{}/revoke", member.id), json!({ "reason": "test" })).await;
    let swept = "DELETE FROM api.notices; INSERT INTO api.notices (topic, at) VALUES ('other', now())";
    house.platform.execute(swept).await;
    assert!(sleeper.catch_up(&other.control).await.expect("it looks"));
    let (status, answer) = other.call(&member.key, "GET", "/v1/tiers", None).await;
    assert_eq!(outcome(status, &answer), "401 keys.revoked", "though no notice says so any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_notices_at_once_are_one_version() {
    let house = House::start().await;
    let before = house.platform.control.directory.version();
    let many = "INSERT INTO tenancy.tenants (tenant_id, code, company_name, tier, isolation, region, status, created_by, created_at, updated_at) \
                SELECT gen_random_uuid(), 'many-' || n, 'x', 'basic', 'shared', 'eu1', 'active', 'test', now(), now() \
                FROM generate_series(1, 900) n; \
                INSERT INTO api.notices (topic, tenant_id, at) SELECT 'tenant', tenant_id, now() FROM tenancy.tenants";
    house.platform.execute(many).await;
    house.settled().await;
    let directory = house.platform.control.directory.current();
    assert!(directory.version > before);
    assert_eq!(directory.tenants.len(), 901, "and the operator");
    assert!(directory.tenant_by_code("many-900").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_hold_what_rows_say() {
    let house = House::start().await;
    let acme = house.tenant("acme", "basic").await;
    let directory = house.platform.control.directory.current();
    let tenant = directory.tenant_by_code("acme").expect("known");
    assert_eq!((tenant.id, tenant.service, tenant.api_access), (acme, Service::Full, true));
    let values: BTreeMap<&str, Option<(i64, i64)>> = directory
        .limits
        .iter()
        .zip(&tenant.limits)
        .map(|(limit, bucket)| (limit.name.as_str(), bucket.map(|bucket| (bucket.quota(), bucket.most()))))
        .collect();
    assert_eq!(values["tenant-default"], Some((100, 1_000)));
    let stamps = tenant.quotas.iter().find(|quota| &*quota.meter == "stamps_created").expect("a quota");
    assert_eq!(stamps.limit, Some(10_000 * 1_000_000_000_000));
    let found = directory.routes.find("GET", "/v1/stamps/7", &Circumstances::unknown());
    let Match::Found(found) = found else { panic!("a shipped route") };
    let needed = found.route.permission("GET").expect("a permission");
    assert_eq!(directory.permissions.name(needed), "metadata_stamp:read");

    house.tenant("gold", "premium").await;
    let directory = house.platform.control.directory.current();
    let gold = directory.tenant_by_code("gold").expect("known");
    assert!(gold.quotas.iter().all(|quota| quota.limit.is_none()), "unlimited");
    let place = directory.limits.iter().position(|limit| limit.name == "tenant-default").expect("shipped");
    assert!(gold.limits[place].is_none(), "unlimited");

    let change = "UPDATE tenancy.tenants SET status = 'suspended', \
                  quota_overrides = '{\"users\": \"7\", \"stamps_created\": \"unlimited\"}' WHERE code = 'acme'; \
                  INSERT INTO api.notices (topic, tenant_id, at) SELECT 'tenant', tenant_id, now() FROM tenancy.tenants WHERE code = 'acme'";
    house.platform.execute(change).await;
    house.settled().await;
    let directory = house.platform.control.directory.current();
    let tenant = directory.tenant_by_code("acme").expect("known");
    assert_eq!(tenant.service, Service::Suspended);
    let quota =
        |meter: &str| tenant.quotas.iter().find(|quota| &*quota.meter == meter).expect("a quota").limit;
    assert_eq!((quota("users"), quota("stamps_created")), (Some(7 * 1_000_000_000_000), None));
}
