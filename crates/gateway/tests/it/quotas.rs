//! How much: exactly the quota is reached, by any number of requests at once.

use std::sync::Arc;

use rowhouse_domain::directory::{Imposed, Quota};
use rowhouse_domain::metering::quantity::SCALE;
use rowhouse_domain::resources::{Action, QuotaMode};
use rowhouse_domain::routes::{CountWhen, Writes};

use crate::directory::{ACME, Plan, counts};
use crate::stage::{DAY_US, NOON_US, Stage};

const MIDNIGHT_US: i64 = NOON_US - DAY_US / 2;

fn used(stage: &Stage, records: usize) -> i128 {
    let records = stage.records(records);
    let pairs = records.iter().flat_map(|recorded| {
        let record = recorded.record();
        record.usage.iter().map(|(meter, units)| (meter.to_owned(), units)).collect::<Vec<_>>()
    });
    pairs.filter(|(meter, _)| meter == "stamps_created").map(|(_, units)| units).sum::<i128>() / SCALE
}

#[test]
fn many_at_once_reach_the_quota_exactly() {
    let stage = Stage::with(|plan| plan.quota(ACME, "stamps_created", 100, 40, MIDNIGHT_US));
    let ask = stage.ask("POST", "/v1/stamps");
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
    assert_eq!(admitted, 60);
    assert_eq!(used(&stage, 200), 60, "what is refused is not counted");
}

#[test]
fn a_used_up_quota_says_when_it_starts_anew() {
    let stage = Stage::with(|plan| plan.quota(ACME, "stamps_created", 1, 1, MIDNIGHT_US));
    let refused = stage.ask("POST", "/v1/stamps").send();
    assert_eq!(refused.refusal(), (429, "resources.quota_exceeded".to_owned()));
    let seconds: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((43_200..=45_361).contains(&seconds), "{seconds}");
    assert_eq!(refused.json()["violated-policies"], serde_json::json!(["stamps_created"]));
    assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200, "what counts for no meter goes on");

    stage.hand.advance_us(DAY_US / 2);
    assert_eq!(stage.ask("POST", "/v1/stamps").send().status, 200, "a new day");
    assert_eq!(stage.ask("POST", "/v1/stamps").send().status, 429);
}

#[test]
fn what_the_service_reports_replaces_what_was_reserved() {
    let stage = Stage::with(|plan| plan.quota(ACME, "stamps_created", 10, 0, MIDNIGHT_US));
    let batch = |count: &str| {
        stage
            .ask("POST", "/v1/stamps")
            .header("x-answer-rowhouse-usage", format!("stamps_created={count}"))
            .send()
    };
    let first = batch("9");
    assert_eq!(first.status, 200);
    assert_eq!(first.header("rowhouse-usage"), None, "not for the client");
    assert_eq!(batch("1").status, 200);
    assert_eq!(batch("1").status, 429, "nine and one are ten");
    assert_eq!(used(&stage, 3), 10);
}

#[test]
fn a_service_that_may_not_report_is_not_believed() {
    let stage = Stage::with(|plan| {
        plan.services[0].reports_usage = false;
        plan.quota(ACME, "stamps_created", 10, 0, MIDNIGHT_US);
    });
    let ask = stage.ask("POST", "/v1/stamps").header("x-answer-rowhouse-usage", "stamps_created=9");
    let answer = ask.send();
    assert_eq!((answer.status, answer.header("rowhouse-usage")), (200, None));
    assert_eq!(used(&stage, 1), 1);
}

#[test]
fn an_answer_that_does_not_count_gives_the_reservation_back() {
    let stage = Stage::with(|plan| {
        plan.quota(ACME, "stamps_created", 1, 0, MIDNIGHT_US);
        plan.route_mut("stamps.create").metering[0].count_when = CountWhen::Success;
    });
    for status in ["404", "500"] {
        let answer = stage.ask("POST", "/v1/stamps").header("x-answer-status", status).send();
        assert_eq!(answer.status.to_string(), status);
    }
    assert_eq!(stage.ask("POST", "/v1/stamps").send().status, 200);
    assert_eq!(stage.ask("POST", "/v1/stamps").send().status, 429);
    assert_eq!(used(&stage, 4), 1);
}

#[test]
fn several_meters_are_reserved_all_or_none() {
    let stage = Stage::with(|plan| {
        plan.route_mut("stamps.create").metering.push(counts("transactions", "1"));
        plan.quota(ACME, "stamps_created", 5, 0, MIDNIGHT_US);
        plan.quota(ACME, "transactions", 0, 0, MIDNIGHT_US);
    });
    for _ in 0..10 {
        let refused = stage.ask("POST", "/v1/stamps").send();
        assert_eq!(refused.json()["violated-policies"], serde_json::json!(["transactions"]));
    }
    let mut stage = stage;
    stage.publish(|plan| plan.tenant_mut(ACME).quotas[1].limit = None);
    let served = (0..10).filter(|_| stage.ask("POST", "/v1/stamps").send().status == 200).count();
    assert_eq!(served, 5, "the refused ones took nothing of the other meter");
}

#[test]
fn usage_that_other_gateways_counted_arrives_with_the_directory() {
    let mut stage = Stage::with(|plan| plan.quota(ACME, "stamps_created", 10, 0, MIDNIGHT_US));
    assert_eq!(stage.ask("POST", "/v1/stamps").send().status, 200);
    stage.publish(|plan| plan.tenant_mut(ACME).quotas[0].used = 9 * SCALE);
    assert_eq!(stage.ask("POST", "/v1/stamps").send().status, 200);
    assert_eq!(stage.ask("POST", "/v1/stamps").send().status, 429);
}

/// What the directory says is imposed on Acme for a meter.
fn impose(plan: &mut Plan, meter: &str, action: Action, services: &[usize], until_us: Option<i64>) {
    plan.tenant_mut(ACME).imposed.push(Imposed {
        meter: meter.into(),
        action,
        flag: action.flag(meter).into(),
        until_us,
        services: services.into(),
    });
}

#[test]
fn full_storage_stops_what_stores_and_nothing_else() {
    let stage = Stage::with(|plan| {
        impose(plan, "storage_gb", Action::BlockWrites, &[0], None);
        plan.route_mut("work").writes = Some(Writes::Nothing);
    });
    let refused = stage.ask("POST", "/v1/stamps").send();
    assert_eq!(refused.refusal(), (403, "resources.storage_blocked".to_owned()));
    assert_eq!(refused.json()["flag"], "storage_writes_blocked");
    assert_eq!(stage.ask("PUT", "/v1/stamps/7").send().status, 403);
    for (method, path) in [("GET", "/v1/stamps"), ("DELETE", "/v1/stamps/7"), ("POST", "/v1/work/search")] {
        assert_eq!(stage.ask(method, path).send().status, 200, "{method} {path}");
    }
    let no_tables = Stage::with(|plan| impose(plan, "storage_gb", Action::BlockWrites, &[], None));
    assert_eq!(
        no_tables.ask("POST", "/v1/stamps").send().status,
        200,
        "a service without tables stores nothing"
    );
    let declared = Stage::with(|plan| {
        impose(plan, "storage_gb", Action::BlockWrites, &[], None);
        plan.route_mut("stamps.create").writes = Some(Writes::Storage);
    });
    assert_eq!(declared.ask("POST", "/v1/stamps").send().status, 403);
}

#[test]
fn what_is_imposed_by_hand_holds_whatever_is_left_and_ends_by_itself() {
    let end_us = NOON_US + 60_000_000;
    let stage = Stage::with(|plan| {
        plan.quota(ACME, "stamps_created", 100, 0, MIDNIGHT_US);
        impose(plan, "stamps_created", Action::Refuse, &[], Some(end_us));
    });
    let refused = stage.ask("POST", "/v1/stamps").send();
    assert_eq!(refused.refusal(), (429, "resources.quota_exceeded".to_owned()));
    let seconds: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=64).contains(&seconds), "{seconds}");
    assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200);
    stage.hand.advance_us(60_000_000);
    assert_eq!(stage.ask("POST", "/v1/stamps").send().status, 200, "it is over without a new directory");
}

#[test]
fn the_refusal_carries_the_figures() {
    let stage = Stage::with(|plan| plan.quota(ACME, "stamps_created", 10, 10, MIDNIGHT_US));
    let refused = stage.ask("POST", "/v1/stamps").send().json();
    assert_eq!(refused["detail"], "Quota exceeded for stamps_created: 11/10.");
    assert_eq!(
        (&refused["meter"], &refused["limit"], &refused["current_usage"]),
        (&"stamps_created".into(), &"10".into(), &"10".into())
    );
    assert_eq!(refused["window_ends_at"], "2026-11-22T00:00:00Z");
}

#[test]
fn a_throttled_tenant_trickles() {
    let stage = Stage::with(|plan| {
        plan.route_mut("stamps.create").metering = vec![counts("api_calls", "1")];
        plan.quota(ACME, "api_calls", 2, 0, MIDNIGHT_US);
    });
    let ask = || stage.ask("POST", "/v1/stamps").send();
    let mut seen: Vec<u16> = (0..4).map(|_| ask().status).collect();
    assert_eq!(seen, [200, 200, 200, 429], "two by the quota, one trickles");
    assert_eq!(ask().refusal(), (429, "resources.quota_exceeded".to_owned()));
    stage.hand.advance_us(9_000_000);
    seen = vec![ask().status];
    stage.hand.advance_us(1_500_000);
    seen.extend([ask().status, ask().status]);
    assert_eq!(seen, [429, 200, 429]);
}

#[test]
fn nothing_more_is_made_than_there_is_room_for_between_two_measurements() {
    let mut stage = Stage::with(|plan| {
        let mut rule = counts("locations", "1");
        rule.count_when = CountWhen::Reported;
        plan.route_mut("stamps.create").metering = vec![rule];
        let quota = Quota { used: 3 * SCALE, as_of_us: 1, ..Quota::of_meter("locations", Some(5 * SCALE)) };
        plan.tenant_mut(ACME).quotas.push(quota);
    });
    let make = |stage: &Stage| stage.ask("POST", "/v1/stamps").send();
    assert_eq!(stage.ask("POST", "/v1/stamps").header("x-answer-status", "500").send().status, 500);
    assert_eq!([make(&stage).status, make(&stage).status], [200, 200], "what failed has made nothing");
    let refused = make(&stage);
    assert_eq!(refused.refusal(), (403, "resources.creation_blocked".to_owned()));
    assert_eq!(refused.json()["flag"], "location_creation_blocked");
    // One was removed past the gateway; measured, the figure is what it is.
    stage.publish(|plan| {
        let quota = &mut plan.tenant_mut(ACME).quotas[0];
        (quota.used, quota.as_of_us) = (4 * SCALE, 2);
    });
    assert_eq!([make(&stage).status, make(&stage).status], [200, 403]);
}

#[test]
fn a_soft_quota_stops_nobody_and_a_lifted_one_neither() {
    for lifted in [false, true] {
        let stage = Stage::with(|plan| {
            plan.quota(ACME, "stamps_created", 1, 1, MIDNIGHT_US);
            let quota = &mut plan.tenant_mut(ACME).quotas[0];
            match lifted {
                true => quota.is_lifted = true,
                false => Arc::make_mut(&mut quota.rule).mode = QuotaMode::Soft,
            }
        });
        assert_eq!(stage.ask("POST", "/v1/stamps").send().status, 200);
    }
}
