//! Pages of other origins: what a browser asks before is answered by the gateway, what it reads after says that it may.

use rowhouse_domain::routes::Cors;

use crate::client::{Answer, Ask};
use crate::stage::Stage;

const PAGE: &str = "https://app.example.com";

fn stage(change: impl FnOnce(&mut Cors)) -> Stage {
    let mut cors = Cors {
        origins: vec![PAGE.to_owned()],
        headers: vec!["authorization".to_owned(), "x-mine".to_owned()],
        expose: vec!["x-request-id".to_owned()],
        credentials: false,
        max_age_s: 60,
    };
    change(&mut cors);
    Stage::with(|plan| plan.services[0].cors = Some(cors))
}

fn preflight(stage: &Stage, origin: &str, method: &str) -> Ask {
    let ask = stage.bare("OPTIONS", "/v1/stamps").host("acme.example.test").header("Origin", origin);
    ask.header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "authorization")
}

fn of_cors(answer: &Answer) -> Vec<(&str, &str)> {
    let own = answer.headers.iter().filter(|(name, _)| name.starts_with("access-control-"));
    let mut own: Vec<_> = own.map(|(name, value)| (&name[15..], value.as_str())).collect();
    own.sort_unstable();
    own
}

#[test]
fn a_browser_asks_first_and_is_answered_without_a_credential() {
    let stage = stage(|_| ());
    for method in ["GET", "POST"] {
        let answer = preflight(&stage, PAGE, method).send();
        assert_eq!(answer.status, 204, "{}", answer.text());
        let expected = [
            ("allow-headers", "authorization, x-mine"),
            ("allow-methods", method),
            ("allow-origin", PAGE),
            ("expose-headers", "x-request-id"),
            ("max-age", "60"),
        ];
        assert_eq!(of_cors(&answer), expected);
        assert_eq!(answer.header("vary"), Some("origin"));
        assert!(answer.body.is_empty());
    }
    for origin in
        ["https://evil.test", "http://app.example.com", "null", "https://app.example.com, https://evil.test"]
    {
        let answer = preflight(&stage, origin, "GET").send();
        assert_eq!(answer.refusal(), (403, "routes.cors_refused".to_owned()), "{origin}");
        assert_eq!(of_cors(&answer), []);
    }
    let twice = preflight(&stage, PAGE, "GET").header("Origin", PAGE).send();
    assert_eq!(twice.refusal().0, 403);
    let nothing = preflight(&stage, PAGE, "TRACE").send();
    assert!((400..500).contains(&nothing.status), "what no route takes is allowed to no page");
    assert_eq!(stage.upstream.count(), 0, "the service is not asked");
}

#[test]
fn a_page_that_may_reads_what_it_was_answered_and_why_it_was_refused() {
    let stage = stage(|own| own.credentials = true);
    let good = stage.ask("GET", "/v1/stamps").header("Origin", PAGE).send();
    let told = [("allow-credentials", "true"), ("allow-origin", PAGE), ("expose-headers", "x-request-id")];
    assert_eq!((good.status, of_cors(&good)), (200, told.to_vec()));
    let bare = stage.bare("GET", "/v1/stamps").host("acme.example.test").header("Origin", PAGE);
    let bare = bare.header("Authorization", "Bearer rh_nonsense").send();
    assert_eq!((bare.status, of_cors(&bare)), (401, told.to_vec()));
    // Another page's request is a request like any other, of which the page reads nothing.
    let other = stage.ask("GET", "/v1/stamps").header("Origin", "https://evil.test").send();
    assert_eq!((other.status, of_cors(&other)), (200, vec![]));
    assert_eq!(other.header("vary"), Some("origin"));
    let none = stage.ask("GET", "/v1/stamps").send();
    assert_eq!((none.status, of_cors(&none)), (200, vec![]));
    assert_eq!(none.header("vary"), Some("origin"), "a cache must not show it to a page");
}

#[test]
fn every_origin_is_one_answer_for_all_and_nothing_declared_is_the_services_own() {
    let all = stage(|own| own.origins = vec!["*".to_owned()]);
    let answer = preflight(&all, "https://anything.test", "GET").send();
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("vary"), None);
    let none = Stage::start();
    let answer = preflight(&none, PAGE, "GET").send();
    assert!((400..500).contains(&answer.status), "no route takes OPTIONS here");
    assert_eq!(of_cors(&answer), []);
}
