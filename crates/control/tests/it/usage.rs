//! Reading usage: what the API answers is the sum of the windows, which are the sums of rows, down to requests.

use rowhouse_journal::Class;
use serde_json::Value;

use crate::metering::{A, B, Running, platform, projected, record};
use crate::platform::{Platform, START_US};

const DAY_US: i64 = 86_400_000_000;

/// Ten stamps a day on three days for A, at 10:00, 10:00:05 …; one for B.
async fn three_days(platform: &Platform) {
    let mut lane = platform.journal.lane("g0").expect("a lane");
    for day in 0..3 {
        for n in 0..5 {
            let at_us = START_US - day * DAY_US + n * 5_000_000;
            lane.append_record(Class::R, &record(A, at_us, &[("stamps_created", 2), ("api_calls", 1)]))
                .expect("room");
        }
    }
    lane.append_record(Class::R, &record(B, START_US, &[("stamps_created", 1)])).expect("room");
    let running = Running::start(platform);
    projected(platform, &lane).await;
    running.stop().await;
}

fn sum(items: &Value, field: &str) -> i64 {
    let number = |item: &Value| item[field].as_str().expect("a decimal").parse::<i64>().expect("whole");
    items.as_array().expect("a list").iter().map(number).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_windows_rows_and_requests_are_one_number() {
    let platform = platform().await;
    let (_, key) = platform.tenant(A, "acme", &["usage:read"]);
    three_days(&platform).await;
    let span = "from=2026-11-19T00:00:00Z&to=2026-11-22T00:00:00Z";
    for (step, pieces) in [("total", 1), ("month", 1), ("day", 3), ("hour", 3), ("minute", 3)] {
        let usage = platform.get(&key, &format!("/v1/usage?meter=stamps_created&step={step}&{span}")).await;
        assert_eq!(usage["total"]["quantity"], "30", "{step}");
        assert_eq!(usage["total"]["events"], 15);
        assert_eq!(usage["items"].as_array().map(Vec::len), Some(pieces), "{step}");
        assert_eq!(sum(&usage["items"], "quantity"), 30, "{step}");
        assert_eq!(usage["tenant"], "acme");
    }
    let day = platform
        .get(&key, "/v1/usage?meter=stamps_created&step=day&zone=Asia/Tokyo&from=2026-11-19T00:00:00Z")
        .await;
    assert_eq!(day["items"][0]["from"], "2026-11-19T00:00:00Z", "cut at the span");
    assert_eq!(day["items"][0]["to"], "2026-11-19T15:00:00Z", "midnight in Tokyo");

    let explained =
        platform.get(&key, &format!("/v1/usage/explain?meter=stamps_created&limit=1000&{span}")).await;
    assert_eq!(explained["quantity"], "30");
    assert_eq!(sum(&explained["windows"], "quantity"), 30);
    assert_eq!(sum(&explained["events"], "value"), 30);
    let first = &explained["events"][0];
    assert!(first["request_id"].as_str().expect("an id").starts_with("request_"), "{first}");
    assert_eq!((&first["endpoint"], &first["status"]), (&"POST /v1/stamps".into(), &201.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_add_up_and_their_cursors_fit_nothing_else() {
    let platform = platform().await;
    let (_, key) = platform.tenant(A, "acme", &["usage:read"]);
    three_days(&platform).await;
    let span = "meter=stamps_created&from=2026-11-19T00:00:00Z&to=2026-11-22T00:00:00Z";
    for (path, list, value) in [
        (format!("/v1/usage/explain?{span}&limit=4"), "events", "value"),
        (format!("/v1/usage?{span}&step=day&limit=1"), "items", "quantity"),
    ] {
        let (mut total, mut pages, mut cursor) = (0, 0, None::<String>);
        loop {
            let next = cursor.as_ref().map_or(String::new(), |cursor| format!("&cursor={cursor}"));
            let page = platform.get(&key, &format!("{path}{next}")).await;
            total += sum(&page[list], value);
            pages += 1;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(total, 30, "{path}");
        assert!(pages >= 3, "{path}");
        let other = path.replace("stamps_created", "api_calls");
        let (status, problem) =
            platform.call(&key, "GET", &format!("{other}&cursor={}", cursor.expect("a cursor")), None).await;
        assert_eq!((status, &problem["code"]), (422, &"api.cursor_invalid".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenant_sees_nothing_and_bad_questions_are_refused() {
    let platform = platform().await;
    let (_, acme) = platform.tenant(A, "acme", &["usage:read"]);
    let (_, bolt) = platform.tenant(B, "bolt", &["usage:read"]);
    let (_, blind) = platform.tenant(0xc, "corn", &["quota:read"]);
    let operator = platform.operator();
    three_days(&platform).await;
    let own = platform.get(&bolt, "/v1/usage?meter=stamps_created").await;
    assert_eq!(own["total"]["quantity"], "1");
    let own = platform.get(&bolt, "/v1/usage/explain?meter=stamps_created").await;
    assert_eq!((&own["quantity"], own["events"].as_array().map(Vec::len)), (&"1".into(), Some(1)));
    for (key, path, status, code) in [
        (&bolt, "/v1/usage?meter=stamps_created&tenant=acme", 404, "api.not_found"),
        (&bolt, "/v1/usage/explain?meter=stamps_created&tenant=acme", 404, "api.not_found"),
        (&blind, "/v1/usage?meter=stamps_created", 403, "access.denied"),
        (&operator, "/v1/usage?meter=stamps_created", 422, "api.tenant_required"),
        (&acme, "/v1/usage?meter=nothing", 404, "metering.unknown_meter"),
        (&acme, "/v1/usage", 400, "api.unknown_parameter"),
        (&acme, "/v1/usage?meter=api_calls&metre=1", 400, "api.unknown_parameter"),
        (&acme, "/v1/usage?meter=api_calls&from=2026-11-01T00:00:30Z", 422, "api.invalid"),
        (&acme, "/v1/usage?meter=api_calls&zone=Mars/Base", 422, "api.invalid"),
        (&acme, "/v1/usage?meter=api_calls&limit=0", 422, "api.invalid"),
    ] {
        let (found, problem) = platform.call(key, "GET", path, None).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{path}: {problem}");
    }
    let seen =
        platform.get(&operator, "/v1/usage?meter=stamps_created&tenant=acme&from=2026-11-19T00:00:00Z").await;
    assert_eq!(seen["total"]["quantity"], "30");
}
