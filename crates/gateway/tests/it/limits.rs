//! How often: every scope, all or nothing, and what the client is told.

use rowhouse_domain::limits::{Algorithm, Enforcement, LimitScope, Rule, Scopes};

use crate::client::Answer;
use crate::directory::{ACME, BOLT, KeyPlan};
use crate::stage::Stage;

fn code(answer: &Answer) -> u16 {
    answer.status
}

#[test]
fn a_bucket_empties_tells_when_to_come_back_and_fills_again() {
    let stage = Stage::with(|plan| plan.limit("tenant-default", LimitScope::Tenant, 1, 3));
    let left: Vec<_> = (0..3)
        .map(|_| {
            let answer = stage.ask("GET", "/v1/stamps").send();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("ratelimit-policy"), Some("\"tenant-default\";q=3;w=3"));
            answer.header("x-ratelimit-remaining").unwrap().to_owned()
        })
        .collect();
    assert_eq!(left, ["2", "1", "0"]);

    let refused = stage.ask("GET", "/v1/stamps").send();
    assert_eq!(refused.refusal(), (429, "limits.exceeded".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit"), Some("\"tenant-default\";r=0;t=1"));
    assert_eq!(refused.header("x-ratelimit-limit"), Some("3"));
    assert_eq!(refused.header("x-ratelimit-reset"), Some("1795262401"));
    let problem = refused.json();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], serde_json::json!(["tenant-default"]));
    assert_eq!(problem["retry_after_s"], 1);
    assert_eq!(problem["detail"], "tenant-default allows 3 requests in 3 s. Try again in 1 s.");
    assert_eq!(stage.upstream.count(), 3, "a refused request is never forwarded");

    stage.hand.advance_us(999_999);
    assert_eq!(code(&stage.ask("GET", "/v1/stamps").send()), 429, "a microsecond early");
    stage.hand.advance_us(1);
    assert_eq!(code(&stage.ask("GET", "/v1/stamps").send()), 200);
}

#[test]
fn each_scope_counts_by_its_own() {
    let with_limit = |scope: LimitScope| {
        let mut keys = Vec::new();
        let stage = Stage::with(|plan| {
            plan.limit("one", scope, 1, 1);
            let family = plan.keys[0].1.family;
            for (tenant, owner, family) in [
                (ACME, 1, None),         // another key of the same owner
                (ACME, 1, Some(family)), // the successor of the first key
                (ACME, 2, None),         // another owner
                (BOLT, 1, None),         // another tenant, an owner with the same id
            ] {
                keys.push(plan.key(KeyPlan { owner, family, ..KeyPlan::of(tenant) }));
            }
        });
        (stage, keys)
    };
    // After one request with acme's first key to /v1/stamps: which of these are refused?
    let expected = [
        (LimitScope::Global, [429, 429, 429, 429, 429]),
        (LimitScope::Ip, [429, 429, 429, 429, 429]),
        (LimitScope::Tenant, [429, 429, 429, 200, 429]),
        (LimitScope::User, [429, 429, 200, 200, 429]),
        (LimitScope::ApiKey, [200, 429, 200, 200, 429]),
        (LimitScope::Endpoint, [429, 429, 429, 429, 200]),
    ];
    for (scope, expected) in expected {
        for (number, expected) in expected.into_iter().enumerate() {
            let (stage, keys) = with_limit(scope);
            assert_eq!(code(&stage.ask("GET", "/v1/stamps").send()), 200);
            let host = if number == 3 { "bolt.example.test" } else { "acme.example.test" };
            // The last case is the same key at another endpoint.
            let (key, path) = match keys.get(number) {
                Some(key) => (key.clone(), "/v1/stamps"),
                None => (stage.acme.clone(), "/v1/stamps/7"),
            };
            let answer = stage.bare("GET", path).host(host).key(&key).send();
            assert_eq!(answer.status, expected, "{scope:?}, case {number}: {}", answer.text());
        }
    }
}

#[test]
fn with_one_exhausted_the_others_are_not_charged() {
    let mut other = String::new();
    let stage = Stage::with(|plan| {
        plan.limit("tenant-default", LimitScope::Tenant, 1, 10);
        plan.limit("user-default", LimitScope::User, 1, 5);
        plan.limit("api-key-default", LimitScope::ApiKey, 1, 2);
        other = plan.key(KeyPlan::of(ACME));
    });
    for _ in 0..2 {
        assert_eq!(code(&stage.ask("GET", "/v1/stamps").send()), 200);
    }
    for _ in 0..20 {
        let refused = stage.ask("GET", "/v1/stamps").send();
        assert_eq!(refused.refusal(), (429, "limits.exceeded".to_owned()));
        assert_eq!(refused.json()["violated-policies"], serde_json::json!(["api-key-default"]));
        assert_eq!(refused.header("ratelimit"), Some("\"api-key-default\";r=0;t=1"));
    }
    // Two of ten and two of five are used; the other key has its own two.
    let answer = stage.bare("GET", "/v1/stamps").host("acme.example.test").key(&other).send();
    assert_eq!(answer.status, 200);
    let policies = "\"tenant-default\";q=10;w=10, \"user-default\";q=5;w=5, \"api-key-default\";q=2;w=2";
    assert_eq!(answer.header("ratelimit-policy"), Some(policies));
    assert_eq!(answer.header("ratelimit"), Some("\"user-default\";r=2;t=3"), "five less two less one");
}

#[test]
fn all_visible_limits_that_refuse_are_named_and_hidden_ones_never() {
    let stage = Stage::with(|plan| {
        plan.limit("tenant-default", LimitScope::Tenant, 1, 1);
        plan.limit("user-slow", LimitScope::User, 1, 1);
        plan.limits[1].window_ms = 100_000;
        for tenant in &mut plan.tenants {
            tenant.limits[1] = Rule::new(Algorithm::TokenBucket, 1, 100_000, None).ok();
        }
        plan.limit("hidden", LimitScope::Endpoint, 1, 1);
    });
    assert_eq!(code(&stage.ask("GET", "/v1/stamps").send()), 200);
    let refused = stage.ask("GET", "/v1/stamps").send();
    assert_eq!(refused.json()["violated-policies"], serde_json::json!(["tenant-default", "user-slow"]));
    assert_eq!(refused.header("ratelimit"), Some("\"user-slow\";r=0;t=100"), "the longest wait binds");
    let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((100..=105).contains(&seconds), "spread by at most 5 %: {seconds}");
    assert!(!refused.text().contains("hidden") && !format!("{:?}", refused.headers).contains("hidden"));
}

#[test]
fn a_services_own_limit_headers_are_dropped() {
    let stage = Stage::start();
    let answer = stage.ask("GET", "/v1/stamps").header("x-answer-ratelimit", "\"theirs\";r=1;t=1").send();
    assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
}

#[test]
fn a_tenant_without_a_value_is_unlimited() {
    let stage = Stage::with(|plan| {
        plan.limit("tenant-default", LimitScope::Tenant, 1, 1);
        plan.tenant_mut(ACME).limits[0] = None;
    });
    for _ in 0..5 {
        let answer = stage.ask("GET", "/v1/stamps").send();
        assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
    }
}

#[test]
fn exactly_burst_are_admitted_by_all_cores_together() {
    let stage = Stage::with(|plan| plan.limit("tenant-default", LimitScope::Tenant, 1, 50));
    let ask = stage.ask("GET", "/v1/stamps");
    let admitted: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..10)
            .map(|_| {
                scope.spawn(|| {
                    let mut wire = stage.wire();
                    (0..20).filter(|_| wire.ask(&ask).status == 200).count()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(admitted, 50);
    assert_eq!(stage.upstream.count(), 50);
    assert_eq!(stage.records(200).len(), 200);
}

#[test]
fn each_algorithm_refuses_tells_the_time_and_keeps_it() {
    // quota, then how many µs the told wait is when the quota was used at noon and half a minute has passed.
    for (algorithm, wait_us) in [
        (Algorithm::TokenBucket, 0),
        (Algorithm::LeakyBucket, 0),
        (Algorithm::FixedWindow, 30_000_000),
        (Algorithm::SlidingWindow, 50_000_000),
    ] {
        let stage = Stage::with(|plan| {
            plan.limit("one", LimitScope::Tenant, 3, 3);
            plan.shape(0, algorithm, 3, 60_000);
        });
        let status = || stage.ask("GET", "/v1/stamps").send().status;
        assert_eq!([status(), status(), status(), status()], [200, 200, 200, 429], "{algorithm:?}");
        let policy = stage.ask("GET", "/v1/stamps").send();
        assert_eq!(policy.header("ratelimit-policy"), Some("\"one\";q=3;w=60"), "{algorithm:?}");
        stage.hand.advance_us(30_000_000);
        let after = stage.ask("GET", "/v1/stamps").send();
        if wait_us == 0 {
            assert_eq!(after.status, 200, "{algorithm:?}: a unit and a half have come back");
            continue;
        }
        let seconds = (wait_us / 1_000_000).to_string();
        assert_eq!(after.header("retry-after"), Some(seconds.as_str()), "{algorithm:?}");
        stage.hand.advance_us(wait_us - 1);
        assert_eq!(status(), 429, "{algorithm:?}: a microsecond early");
        stage.hand.advance_us(1);
        assert_eq!(status(), 200, "{algorithm:?}");
    }
}

#[test]
fn one_that_only_watches_counts_and_refuses_nothing() {
    let stage = Stage::configured(
        |config| config.cores = 1,
        |plan| {
            plan.limit("trial", LimitScope::Tenant, 1, 1);
            plan.limit("idle", LimitScope::Tenant, 1, 1);
            plan.limits[0].enforcement = Enforcement::Shadow;
            plan.limits[1].enforcement = Enforcement::Off;
        },
    );
    for _ in 0..3 {
        let answer = stage.ask("GET", "/v1/stamps").send();
        assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
    }
    let counts = &stage.gateway.as_ref().unwrap().metrics().limits;
    assert_eq!((counts["trial"].allowed, counts["trial"].shadow_refused, counts["trial"].refused), (1, 2, 0));
    assert!(!counts.contains_key("idle"));
}

#[test]
fn a_limit_counts_by_several_things_together_and_only_what_it_matches() {
    let stage = Stage::with(|plan| {
        plan.limit("writes", LimitScope::Tenant, 1, 1);
        plan.limits[0].scope = Scopes::Several(vec![LimitScope::Tenant, LimitScope::Endpoint]);
        plan.limits[0].matches.methods = vec!["POST".to_owned()];
        plan.limits[0].matches.tenants = vec!["acme".to_owned()];
    });
    let status = |method: &str, path: &str| stage.ask(method, path).send().status;
    assert_eq!([status("GET", "/v1/stamps"), status("GET", "/v1/stamps")], [200, 200]);
    assert_eq!([status("POST", "/v1/stamps"), status("POST", "/v1/stamps")], [200, 429]);
    assert_eq!([status("POST", "/v1/work/a"), status("POST", "/v1/work/a")], [200, 429], "another endpoint");
    let bolt = || stage.bare("POST", "/v1/stamps").host("bolt.example.test").key(&stage.bolt).send().status;
    assert_eq!([bolt(), bolt()], [200, 200], "another tenant");
}

#[test]
fn a_route_costs_what_it_says_and_what_can_never_fit_is_told_so() {
    let mut stage = Stage::with(|plan| {
        plan.limit("tenant-default", LimitScope::Tenant, 1, 10);
        plan.route_mut("work").cost = 4;
    });
    let left = |answer: Answer| answer.header("x-ratelimit-remaining").unwrap().to_owned();
    assert_eq!(left(stage.ask("GET", "/v1/work/a").send()), "6");
    assert_eq!(left(stage.ask("GET", "/v1/stamps").send()), "5");
    assert_eq!(left(stage.ask("GET", "/v1/work/a").send()), "1");
    let refused = stage.ask("GET", "/v1/work/a").send();
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("3")));
    stage.publish(|plan| plan.route_mut("work").cost = 11);
    let never = stage.ask("GET", "/v1/work/a").send();
    assert_eq!(never.refusal(), (413, "limits.cost_too_large".to_owned()));
    assert_eq!(never.header("retry-after"), None);
}
