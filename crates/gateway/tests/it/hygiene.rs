//! Requests that two parsers could read differently, byte by byte.

use crate::client::Wire;
use crate::stage::Stage;

/// Sends bytes and expects 400 and the end of the connection.
#[track_caller]
fn refused(stage: &Stage, bytes: &str) {
    let before = stage.upstream.count();
    let mut wire = stage.wire();
    wire.write(bytes.replace('\n', "\r\n").replace("KEY", &stage.acme));
    let answer = String::from_utf8_lossy(&wire.rest()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400"), "{bytes:?} was answered with {answer:?}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one answer, then the end: {answer}");
    assert_eq!(stage.upstream.count(), before, "nothing was forwarded");
}

#[test]
fn framing_given_twice_or_oddly() {
    let stage = Stage::start();
    let head = "POST /v1/stamps HTTP/1.1\nHost: acme.example.test\nAuthorization: Bearer KEY\n";
    for framing in [
        "Content-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n",
        "Transfer-Encoding: chunked\nContent-Length: 5\n\n0\n\n",
        "Transfer-Encoding: chunked\ncontent-length : 5\n\n0\n\n",
        "Content-Length: 5\nContent-Length: 6\n\nhello",
        "Content-Length: +5\n\nhello",
        "Content-Length: 5, 6\n\nhello",
        "Transfer-Encoding: gzip, chunked\n\n0\n\n",
        "Transfer-Encoding: chunked, identity\n\n0\n\n",
        "Transfer-Encoding: xchunked\n\n0\n\n",
        "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\n\n",
        "Transfer-Encoding : chunked\n\n0\n\n",
        "X-Folded: a\n b\nContent-Length: 0\n\n",
    ] {
        refused(&stage, &format!("{head}{framing}"));
    }
}

#[test]
fn framing_given_twice_behind_a_long_body_or_in_a_row() {
    let stage = Stage::start();
    let head = format!(
        "POST /v1/stamps HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n",
        stage.acme
    );
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let twice = format!("{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let long = format!("{head}Content-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
    // With an innocent one of the same method after it, which must not speak for it; and as the second one.
    for (bytes, good) in [
        (format!("{long}{twice}"), 1),
        (format!("{twice}{chunked}"), 0),
        (format!("{chunked}{twice}{chunked}"), 1),
    ] {
        let mut wire = stage.wire();
        wire.write(bytes.clone());
        let answers = String::from_utf8_lossy(&wire.rest()).into_owned();
        let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        let expected: Vec<&str> = std::iter::repeat_n("200", good).chain(["400"]).collect();
        assert_eq!(statuses, expected, "{:.300}", bytes);
    }
    // What is framed once is served as before, in whatever order.
    let mut wire = stage.wire();
    wire.write(format!("{long}{chunked}{}", chunked.replace("\r\nHost", "\r\nConnection: close\r\nHost")));
    let answers = String::from_utf8_lossy(&wire.rest()).into_owned();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 3, "{answers}");
}

#[test]
fn hosts_that_disagree() {
    let stage = Stage::start();
    let rest = "Authorization: Bearer KEY\n\n";
    for head in [
        "GET /v1/stamps HTTP/1.1\nHost: acme.example.test\nHost: bolt.example.test\n",
        "GET /v1/stamps HTTP/1.1\nHost: acme.example.test\nHost: acme.example.test\n",
        "GET /v1/stamps HTTP/1.1\n",
        "GET http://bolt.example.test/v1/stamps HTTP/1.1\nHost: acme.example.test\n",
        "GET http://x@acme.example.test/v1/stamps HTTP/1.1\nHost: x@acme.example.test\n",
        "GET /v1/stamps HTTP/1.1\nHost: acme.example.test, bolt.example.test\n",
        "GET /v1/stamps HTTP/1.1\nHost: acme.example.test@bolt.example.test\n",
    ] {
        refused(&stage, &format!("{head}{rest}"));
    }
}

#[test]
fn paths_without_a_safe_form() {
    let stage = Stage::start();
    for path in ["/v1/%00", "/v1/a%5cb", "/../etc", "/v1/%2e%2e/%2e%2e/etc", "/v1/%zz", "*"] {
        refused(&stage, &format!("GET {path} HTTP/1.1\nHost: acme.example.test\n\n"));
    }
    refused(&stage, "CONNECT acme.example.test:443 HTTP/1.1\nHost: acme.example.test:443\n\n");
}

#[test]
fn the_path_that_is_matched_is_the_path_that_is_sent() {
    let stage = Stage::start();
    for (sent, expected) in [
        ("/v1//stamps", "/v1/stamps"),
        ("/v1/x/../stamps?a=1&b=%2e", "/v1/stamps?a=1&b=%2e"),
        ("/v1/%73tamps", "/v1/stamps"),
        ("/v1/stamps/a%2fb", "/v1/stamps/a%2Fb"),
        ("/t/acme/v1/stamps?q", "/v1/stamps?q"),
    ] {
        let answer = stage.ask("GET", sent).send();
        assert_eq!(answer.json()["target"], expected, "{sent}");
    }
    let absolute = stage.ask("GET", "http://acme.example.test/v1/stamps").send();
    assert_eq!(absolute.json()["target"], "/v1/stamps");
}

#[test]
fn too_many_or_too_large_headers() {
    let stage = Stage::start();
    let large = stage.ask("GET", "/v1/stamps").header("X-Large", "x".repeat(65 * 1024)).send();
    assert_eq!(large.refusal(), (431, "routes.headers_too_large".to_owned()));
    let mut many = stage.ask("GET", "/v1/stamps");
    for number in 0..120 {
        many = many.header(&format!("X-{number}"), "1");
    }
    assert_eq!(many.send().status, 431);
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn what_the_client_says_in_our_name_never_arrives() {
    let stage = Stage::start();
    let answer = stage
        .ask("GET", "/v1/stamps")
        .header("Rowhouse-Context", "forged")
        .header("Rowhouse-Tenant", "forged")
        .header("Rowhouse-Anything", "forged")
        .header("Rowhouse-Permission", "forged")
        .header("X-Tenant-Role", "forged")
        .header("X-Tenant-Code", "acme")
        .header("X-Forwarded-For", "9.9.9.9")
        .header("X-Forwarded-Host", "forged")
        .header("Forwarded", "for=forged")
        .header("Connection", "x-hop, rowhouse-context")
        .header("X-Hop", "forged")
        .header("Keep-Alive", "forged")
        .header("Upgrade", "forged")
        .header("Proxy-Authorization", "forged")
        .header("X-Plain", "kept")
        .send();
    let seen = answer.json();
    let headers: Vec<(String, String)> = serde_json::from_value(seen["headers"].clone()).unwrap();
    let all = |name: &str| -> Vec<&str> {
        headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    };
    assert!(headers.iter().all(|(_, value)| value != "forged" && !value.contains("9.9.9.9")), "{headers:?}");
    assert_eq!(all("x-plain"), ["kept"]);
    assert_eq!(all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(all("x-forwarded-host"), ["acme.example.test"]);
    assert_eq!(all("x-forwarded-proto"), ["http"]);
    assert_eq!(all("forwarded"), ["for=127.0.0.1;host=\"acme.example.test\";proto=http"]);
    assert_eq!(all("host"), ["acme.example.test"]);
    assert_eq!(all("rowhouse-permission"), ["stamp:read"]);
    for absent in ["authorization", "x-tenant-code", "connection", "x-hop", "rowhouse-anything"] {
        assert_eq!(all(absent), Vec::<&str>::new(), "{absent}");
    }
    let token = all("rowhouse-context");
    let now_s = crate::stage::NOON_US / 1_000_000;
    let claims = rowhouse_domain::context::verify(
        token[0],
        std::slice::from_ref(&stage.context_key),
        "stamping",
        now_s,
    )
    .unwrap();
    assert_eq!((claims.tenant, &*claims.code), (crate::directory::ACME, "acme"));
    assert_eq!((&*claims.principal_kind, claims.features), ("api_key", vec!["core".to_owned()]));
    assert_eq!(all("rowhouse-principal"), [claims.principal.as_str()]);
    assert_eq!(all("rowhouse-tenant"), [claims.tenant.to_string()]);
}

#[test]
fn what_the_service_says_in_our_name_never_leaves() {
    let stage = Stage::start();
    let answer = stage
        .ask("GET", "/v1/stamps")
        .header("x-answer-rowhouse-secret", "1")
        .header("x-answer-x-tenant-secret", "1")
        .header("x-answer-x-request-id", "theirs")
        .header("x-answer-keep-alive", "timeout=5")
        .send();
    assert_eq!(answer.header("x-own"), Some("1"));
    for absent in ["rowhouse-secret", "x-tenant-secret", "keep-alive", "connection"] {
        assert_eq!(answer.header(absent), None, "{absent}");
    }
    assert_ne!(answer.header("x-request-id"), Some("theirs"));
}

#[test]
fn a_second_request_hidden_in_a_body_stays_a_body() {
    let stage = Stage::start();
    let hidden = "GET /v1/stamps HTTP/1.1\r\nHost: bolt.example.test\r\n\r\n";
    let answer = stage.ask("POST", "/v1/stamps").body(hidden).send();
    assert_eq!(answer.json()["body"], hidden);
    assert_eq!(stage.upstream.count(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let stage = Stage::start();
    let mut wire: Wire = stage.wire();
    let one = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
            stage.acme
        )
    };
    wire.write(format!("{}{}{}", one("/v1/stamps/1"), one("/v2/nothing"), one("/v1/stamps/3")));
    assert_eq!(wire.answer().json()["target"], "/v1/stamps/1");
    assert_eq!(wire.answer().status, 404);
    assert_eq!(wire.answer().json()["target"], "/v1/stamps/3");
}

#[test]
fn targets_of_other_schemes_are_misdirected() {
    let stage = Stage::start();
    for (target, expected) in [
        ("http://acme.example.test/v1/stamps", 200),
        ("HTTP://acme.example.test/v1/stamps", 200),
        ("https://acme.example.test/v1/stamps", 421),
        ("ftp://acme.example.test/v1/stamps", 421),
        ("ws://acme.example.test/v1/stamps", 421),
        ("http://bolt.example.test/v1/stamps", 400),
    ] {
        let answer = stage.ask("GET", target).send();
        assert_eq!(answer.status, expected, "{target}");
        if expected == 421 {
            assert_eq!(answer.refusal(), (421, "routes.misdirected".to_owned()));
        }
    }
    // Behind a proxy that is trusted, TLS ended there.
    let trusting =
        Stage::configured(|config| config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()], |_| {});
    assert_eq!(trusting.ask("GET", "https://acme.example.test/v1/stamps").send().status, 200);
    assert_eq!(trusting.ask("GET", "ftp://acme.example.test/v1/stamps").send().status, 421);
}

#[test]
fn what_comes_in_the_clear_is_sent_on_to_https() {
    let redirecting = |port, proxies: &[&str]| {
        let proxies = proxies.iter().map(|own| own.parse().unwrap()).collect();
        let configure = |config: &mut rowhouse_gateway::GatewayConfig| {
            (config.https_redirect_port, config.trusted_proxies) = (Some(port), proxies);
        };
        Stage::configured(configure, |_| {})
    };
    let stage = redirecting(443, &[]);
    for (host, target, expected) in [
        (
            "acme.example.test",
            "/v1/stamps?a=1&b=//evil.test",
            "https://acme.example.test/v1/stamps?a=1&b=//evil.test",
        ),
        ("ACME.example.test:8080", "/v1/stamps", "https://acme.example.test/v1/stamps"),
        ("acme.example.test", "//evil.test/x", "https://acme.example.test//evil.test/x"),
        ("acme.example.test", "http://acme.example.test/v1/stamps", "https://acme.example.test/v1/stamps"),
    ] {
        let answer = stage.bare("POST", target).host(host).key(&stage.acme).body("x").send();
        assert_eq!(answer.refusal(), (308, "routes.https_only".to_owned()), "{host} {target}");
        assert_eq!(answer.header("location"), Some(expected));
    }
    let elsewhere = stage.bare("GET", "/v1/stamps").host("elsewhere.test").send();
    assert_eq!(
        elsewhere.refusal(),
        (421, "tenancy.unknown_host".to_owned()),
        "nobody is sent to a place of their own"
    );
    assert_eq!(elsewhere.header("location"), None);
    // Nobody's word about it counts but a trusted proxy's.
    let says = |stage: &Stage| stage.ask("GET", "/v1/stamps").header("X-Forwarded-Proto", "https").send();
    assert_eq!(says(&stage).status, 308);
    assert_eq!(stage.upstream.count(), 0);
    let behind = redirecting(8443, &["127.0.0.1"]);
    assert_eq!(says(&behind).status, 200);
    let bare = behind.ask("GET", "/v1/stamps").send();
    assert_eq!(bare.header("location"), Some("https://acme.example.test:8443/v1/stamps"));
}
