//! How much: exactly the quota is reached, by any number of requests at once.

use rowhouse_domain::metering::quantity::SCALE;
use rowhouse_domain::routes::CountWhen;

use crate::directory::{ACME, counts};
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
