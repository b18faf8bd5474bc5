//! The rows of `sequences.txt`: what the simulator says of them is what the file says, and what a gateway does over HTTP with a clock that
//! the test moves. That the store does the same, and the table to the microsecond, is held in `src/limits/store/tests.rs`.
//! `WRITE_MATRIX=1` writes the file's answers anew; its diff is reviewed.

use rowhouse_domain::limits::LimitScope;

use crate::client::Answer;
use crate::directory::Plan;
use crate::rows::{FILE, Numbers, Row, rows, told};
use crate::stage::Stage;

#[test]
fn the_simulator_says_what_is_written() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let simulated = rows().iter().flat_map(Row::simulated).collect::<Vec<_>>();
    let mut decisions = simulated.iter();
    let is_request = |line: &str| line.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let lines: Vec<String> = text
        .lines()
        .map(|line| match is_request(line) {
            false => line.to_owned(),
            true => {
                let asked = line.split(':').next().unwrap();
                let asked = asked.split_whitespace().collect::<Vec<_>>().join(" ");
                format!("{asked:<18}: {}", told(decisions.next().unwrap()))
            }
        })
        .collect();
    let made = lines.join("\n") + "\n";
    if std::env::var_os("WRITE_MATRIX").is_some() {
        std::fs::write(FILE, &made).unwrap();
        return;
    }
    let differs = text.lines().zip(made.lines()).find(|(own, made)| own != made);
    assert!(text == made, "the simulator says something else; first difference: {differs:#?}");
}

/// The rule and the cost of what is asked from now on.
fn put(plan: &mut Plan, numbers: Numbers, cost: i64) {
    let limit = &mut plan.limits[0];
    (limit.algorithm, limit.quota, limit.window_ms, limit.burst) =
        (numbers.algorithm, numbers.quota, numbers.window_ms, numbers.burst);
    for tenant in &mut plan.tenants {
        tenant.limits[0] = Some(numbers.rule());
    }
    plan.route_mut("work").cost = u32::try_from(cost).unwrap();
}

#[test]
fn a_gateway_does_what_the_simulator_says() {
    for row in rows() {
        let first = row.requests[0].numbers;
        let mut stage = Stage::with(|plan| {
            plan.limit("one", LimitScope::Tenant, 1, 1);
            put(plan, first, 1);
        });
        let (mut wire, mut now_us) = (stage.wire(), 0);
        for (request, decision) in row.requests.iter().zip(row.simulated()) {
            stage.publish(|plan| put(plan, request.numbers, request.cost));
            stage.hand.advance_us(request.at_us - now_us);
            now_us = request.at_us;
            let answer = wire.ask(&stage.ask("PUT", "/v1/work/a"));
            assert_eq!(told(&decision), request.told, "{}", row.title);
            compare(&answer, &decision, &format!("{}: {} for {}", row.title, request.at_us, request.cost));
            if answer.status == 413 {
                wire = stage.wire();
            }
        }
    }
}

/// What the answer tells is what the simulator tells, header by header; longer waits than a minute are spread by up to 5 %.
fn compare(answer: &Answer, decision: &serde_json::Value, place: &str) {
    let status = match (&decision["allowed"], &decision["retry_after_ms"]) {
        (serde_json::Value::Bool(true), _) => 200,
        (_, serde_json::Value::Null) => 413,
        _ => 429,
    };
    assert_eq!(answer.status, status, "{place}: {}", answer.text());
    for name in
        ["RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
    {
        assert_eq!(answer.header(name), decision["headers"][name].as_str(), "{place}: {name}");
    }
    assert_eq!(answer.header("X-RateLimit-Remaining"), Some(&*decision["remaining"].to_string()), "{place}");
    let seconds = |text: Option<&str>| text.map(|text| text.parse::<i64>().unwrap());
    let (own, told) =
        (seconds(answer.header("Retry-After")), seconds(decision["headers"]["Retry-After"].as_str()));
    let near = match (own, told) {
        (Some(own), Some(told)) if told > 60 => (told..=told + told / 20 + 1).contains(&own),
        (own, told) => own == told,
    };
    assert!(near, "{place}: Retry-After {own:?}, {told:?}");
}
