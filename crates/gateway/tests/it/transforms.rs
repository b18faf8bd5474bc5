//! Routes that look at more than the path, that change what passes, and that will go away.

use rowhouse_domain::routes::Deprecation;
use serde_json::Value;

use crate::directory::route;
use crate::stage::Stage;

/// The values of a header as the service saw it.
fn seen(told: &Value, name: &str) -> Vec<String> {
    let headers = told["headers"].as_array().unwrap().iter();
    let own = headers.filter(|header| header[0] == name);
    own.map(|header| header[1].as_str().unwrap().to_owned()).collect()
}

fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_version_is_asked_for_by_a_header_and_others_get_the_plain_route() {
    let stage = Stage::with(|plan| {
        let mut newer = route("stamps.list.2", &["GET"], "/v1/stamps");
        newer.when.headers = map(&[("api-version", "2")]);
        newer.request.path = Some("/v2/stamps".to_owned());
        let mut own = route("stamps.list.acme", &["GET"], "/v1/stamps");
        own.when.headers = map(&[("api-version", "2")]);
        own.when.tenants = vec!["bolt".to_owned()];
        own.request.path = Some("/bolt/stamps".to_owned());
        plan.routes.extend([newer, own]);
    });
    let target = |versions: &[&str]| {
        let ask = stage.ask("GET", "/v1/stamps?page=2");
        let ask = versions.iter().fold(ask, |ask, version| ask.header("Api-Version", version));
        ask.send().json()["target"].as_str().unwrap().to_owned()
    };
    assert_eq!(target(&["2"]), "/v2/stamps?page=2");
    assert_eq!(target(&[]), "/v1/stamps?page=2");
    assert_eq!(target(&["3"]), "/v1/stamps?page=2");
    assert_eq!(target(&["2", "2"]), "/v1/stamps?page=2", "sent twice it means nothing");
    let bolt = stage.bare("GET", "/v1/stamps").host("bolt.example.test").key(&stage.bolt);
    assert_eq!(
        bolt.header("api-version", 2).send().json()["target"],
        "/bolt/stamps",
        "more conditions go first"
    );
    let routes: Vec<String> =
        stage.records(5).iter().map(|recorded| recorded.record().route.to_owned()).collect();
    for (name, count) in [("stamps.list.2", 1), ("stamps.list.acme", 1), ("stamps.list", 3)] {
        assert_eq!(routes.iter().filter(|own| *own == name).count(), count, "{routes:?}");
    }
}

#[test]
fn paths_queries_and_headers_are_changed_on_the_way() {
    for http2 in [false, true] {
        let stage = Stage::with(|plan| {
            plan.services[0].protocol = if http2 { "http2" } else { "http1" }.to_owned();
            let stamp = plan.route_mut("stamps.one");
            stamp.request.path = Some("/internal/{stamp_id}/whole".to_owned());
            stamp.request.query.rename = map(&[("q", "search")]);
            stamp.request.query.remove = vec!["debug".to_owned()];
            stamp.request.query.set = map(&[("source", "gateway&co")]);
            stamp.request.headers.rename = map(&[("x-old", "x-new")]);
            stamp.request.headers.remove = vec!["x-secret".to_owned()];
            stamp.request.headers.set = map(&[("x-own", "gateway"), ("authorization", "Basic b3Vycw==")]);
            stamp.request.headers.add = map(&[("x-more", "2")]);
            stamp.answer.headers.rename = map(&[("x-powered-by", "x-engine")]);
            stamp.answer.headers.remove = vec!["server".to_owned(), "x-own".to_owned()];
            stamp.answer.headers.set = map(&[("cache-control", "no-store")]);
        });
        let answer = stage
            .ask("GET", "/v1/stamps/a%2Fb?q=1&%64ebug=1&source=me&x=%20y")
            .header("X-Old", "1")
            .header("X-Secret", "1")
            .header("X-Own", "client")
            .header("X-More", "1")
            .header("x-answer-server", "leaky/1.0")
            .header("x-answer-x-powered-by", "php")
            .header("x-answer-cache-control", "public")
            .send();
        let told = answer.json();
        assert_eq!(told["target"], "/internal/a%2Fb/whole?search=1&x=%20y&source=gateway%26co", "{told}");
        for (name, expected) in [
            ("x-old", &[][..]),
            ("x-new", &["1"]),
            ("x-secret", &[]),
            ("x-own", &["gateway"]),
            ("x-more", &["1", "2"]),
            ("authorization", &["Basic b3Vycw=="]),
        ] {
            assert_eq!(seen(&told, name), expected, "{name}: {told}");
        }
        assert_eq!(seen(&told, "rowhouse-context").len(), 1);
        assert_eq!(answer.header("server"), None);
        assert_eq!((answer.header("x-engine"), answer.header("x-powered-by")), (Some("php"), None));
        assert_eq!((answer.header("cache-control"), answer.header("x-own")), (Some("no-store"), None));
        let other = stage.ask("GET", "/v1/stamps?q=1").header("X-Secret", "1").send().json();
        assert_eq!((other["target"].as_str(), seen(&other, "x-secret").len()), (Some("/v1/stamps?q=1"), 1));
    }
}

/// Whatever a client sends beside a route's changes, the service hears the gateway's word once, and one request.
#[test]
fn changes_open_no_way_around_the_gateway() {
    let stage = Stage::with(|plan| {
        let work = plan.route_mut("work");
        work.request.path = Some("/inner/{rest}".to_owned());
        work.request.headers.rename = map(&[("x-a", "x-b")]);
        work.request.query.set = map(&[("a", "1")]);
    });
    for (target, expected) in [
        ("/v1/work/a", Some("/inner/a?a=1")),
        ("/v1/work/", Some("/inner/?a=1")),
        ("/v1/work/../work/b", Some("/inner/b?a=1")),
        ("/v1/work/%2e%2e/%2e%2e/admin", None),
        ("/v1/work/..%2fadmin", Some("/inner/..%2Fadmin?a=1")),
        ("/v1/work/a?a=2&%61=3&b", Some("/inner/a?b&a=1")),
        ("/v1/work/http://evil.test/", Some("/inner/http:/evil.test/?a=1")),
    ] {
        let answer = stage
            .ask("GET", target)
            .header("X-A", "1")
            .header("Rowhouse-Context", "forged")
            .header("Rowhouse_Context", "forged")
            .header("Connection", "x-b, rowhouse-context")
            .send();
        match expected {
            None => assert_eq!(answer.status, 404, "{target}: {}", answer.text()),
            Some(_) if answer.status == 400 => {}
            Some(expected) => {
                let told = answer.json();
                assert_eq!(told["target"].as_str(), Some(expected), "{target}");
                let context = seen(&told, "rowhouse-context");
                assert!(context.len() == 1 && context[0] != "forged", "{context:?}");
                assert!(seen(&told, "rowhouse_context").is_empty());
                assert_eq!(told["authority"].as_str().or(Some("")), Some(""));
                assert_eq!(seen(&told, "host"), ["acme.example.test"]);
            }
        }
    }
}

#[test]
fn a_route_that_will_go_away_says_so() {
    let stage = Stage::with(|plan| {
        plan.route_mut("stamps.list").deprecated = Some(Deprecation {
            since: "2026-11-01T00:00:00Z".parse().unwrap(),
            sunset: Some("2027-05-01T00:00:00Z".parse().unwrap()),
            link: Some("https://docs.example.test/v2".to_owned()),
        });
    });
    let answer = stage.ask("GET", "/v1/stamps").header("x-answer-sunset", "never").send();
    assert_eq!(answer.header("deprecation"), Some("@1793491200"));
    let sunsets = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("sunset"));
    assert_eq!(
        sunsets.map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
        ["Sat, 01 May 2027 00:00:00 GMT"]
    );
    assert_eq!(answer.header("link"), Some("<https://docs.example.test/v2>; rel=\"deprecation\""));
    assert_eq!(stage.ask("GET", "/v1/stamps/1").send().header("deprecation"), None);
}
