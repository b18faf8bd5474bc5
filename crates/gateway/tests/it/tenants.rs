//! Which tenant a request belongs to, and what its status means.

use rowhouse_domain::tenancy::{Service, Status};

use crate::directory::{ACME, BOLT};
use crate::stage::Stage;

#[test]
fn every_way_of_naming_a_tenant_leads_to_it() {
    let stage = Stage::start();
    let acme = ACME.to_string();
    let uuid = ACME.0.to_string();
    let rows: [(&str, &str, &[(&str, &str)]); 7] = [
        ("acme.example.test", "/v1/stamps", &[]),
        ("ACME.Example.test:8080", "/v1/stamps", &[]),
        ("stamps.acme.test", "/v1/stamps", &[]),
        ("localhost", "/v1/stamps", &[("X-Tenant-Code", "acme")]),
        ("localhost", "/v1/stamps", &[("X-Tenant-Id", &acme)]),
        ("localhost", "/v1/stamps", &[("X-Tenant-Id", &uuid)]),
        ("localhost", "/t/acme/v1/stamps", &[]),
    ];
    for (host, path, headers) in rows {
        let mut ask = stage.bare("GET", path).host(host).key(&stage.acme);
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        let answer = ask.send();
        assert_eq!(answer.status, 200, "{host} {path}: {}", answer.text());
        assert_eq!(answer.json()["target"], "/v1/stamps", "the tenant's prefix is gone");
    }
    let by_key_alone = stage.bare("GET", "/v1/stamps").host("localhost").key(&stage.acme).send();
    assert_eq!(by_key_alone.status, 200, "{}", by_key_alone.text());
    for recorded in stage.records(8) {
        assert_eq!(recorded.record().tenant, Some(ACME.as_u128()));
    }
}

#[test]
fn signals_that_disagree_or_name_nobody_are_refused() {
    let stage = Stage::start();
    let rows: [(&str, &str, &[(&str, &str)], u16, &str); 9] = [
        ("acme.example.test", "/v1/stamps", &[("X-Tenant-Code", "bolt")], 400, "tenancy.conflicting_signals"),
        ("acme.example.test", "/t/bolt/v1/stamps", &[], 400, "tenancy.conflicting_signals"),
        (
            "acme.example.test",
            "/v1/stamps",
            &[("X-Tenant-Code", "nobody")],
            400,
            "tenancy.conflicting_signals",
        ),
        (
            "localhost",
            "/v1/stamps",
            &[("X-Tenant-Code", "acme"), ("X-Tenant-Code", "acme")],
            400,
            "tenancy.conflicting_signals",
        ),
        ("nobody.example.test", "/v1/stamps", &[], 401, "identity.no_credentials"),
        ("localhost", "/t/nobody/v1/stamps", &[], 401, "identity.no_credentials"),
        ("localhost", "/v1/stamps", &[("X-Tenant-Id", "nonsense")], 401, "identity.no_credentials"),
        ("localhost", "/v1/stamps", &[], 400, "tenancy.unresolved"),
        ("elsewhere.test", "/v1/stamps", &[], 421, "tenancy.unknown_host"),
    ];
    for (host, path, headers, status, code) in rows {
        let mut ask = stage.bare("GET", path).host(host);
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        assert_eq!(ask.send().refusal(), (status, code.to_owned()), "{host} {path} {headers:?}");
    }
    assert_eq!(stage.upstream.count(), 0);
}

#[test]
fn a_tenants_status_decides_what_is_served() {
    let cases = [
        (Status::Suspended, Service::Suspended, "GET", 403, "tenancy.suspended"),
        (Status::Suspended, Service::ReadOnly, "POST", 403, "tenancy.suspended"),
        (Status::Leaving, Service::Leaving, "GET", 403, "tenancy.leaving"),
        (Status::Provisioning, Service::NotReady, "GET", 503, "tenancy.not_ready"),
        (Status::Terminated, Service::Unknown, "GET", 404, "tenancy.unknown"),
    ];
    let mut stage = Stage::start();
    for (status, service, method, expected, code) in cases {
        stage.publish(|plan| {
            plan.tenant_mut(ACME).status = status;
            plan.tenant_mut(ACME).service = service;
        });
        let answer = stage.ask(method, "/v1/stamps").send();
        assert_eq!(answer.refusal(), (expected, code.to_owned()));
        if service == Service::ReadOnly {
            assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200);
        }
        let other = stage.bare("GET", "/v1/stamps").host("bolt.example.test").key(&stage.bolt).send();
        assert_eq!(other.status, 200, "another tenant is served");
    }
}

#[test]
fn a_published_change_is_in_force_with_the_next_request() {
    let mut stage = Stage::start();
    let mut wire = stage.wire();
    let ask = stage.ask("GET", "/v1/stamps");
    assert_eq!(wire.ask(&ask).status, 200);
    stage.publish(|plan| plan.tenant_mut(ACME).service = Service::Suspended);
    assert_eq!(wire.ask(&ask).refusal(), (403, "tenancy.suspended".to_owned()), "on the same connection");
    assert_eq!(stage.records(2).len(), 2);
    assert_eq!(stage.plan.tenant_mut(BOLT).service, Service::Full);
}

/// What a client can tell answers apart by, but for what is each answer's own.
fn seen(answer: &crate::client::Answer) -> (u16, Vec<(String, String)>, serde_json::Value) {
    let own = ["x-request-id", "date", "x-ratelimit-reset"];
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !own.contains(&name.to_ascii_lowercase().as_str()));
    let mut body = if answer.body.is_empty() { serde_json::Value::Null } else { answer.json() };
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
    }
    (answer.status, headers, body)
}

#[test]
fn who_proves_nothing_is_not_told_which_tenants_there_are() {
    let stage = Stage::start();
    let last = if stage.acme.ends_with('0') { "1" } else { "0" };
    let stale = format!("{}{last}", &stage.acme[..stage.acme.len() - 1]);
    let credentials = [
        None,
        Some(("Authorization", format!("Bearer {}", stage.bolt))),
        Some(("X-API-Key", stage.bolt.clone())),
        Some(("Authorization", format!("Bearer {stale}"))),
        Some(("Authorization", "Bearer rh_nonsense".to_owned())),
        Some(("Authorization", "Bearer e30.e30.e30".to_owned())),
        Some(("Authorization", "Basic e30=".to_owned())),
    ];
    let paths = ["/v1/stamps", "/v1/stamps/7", "/v9/nowhere", "/", "/v1/work/a"];
    let ways: [fn(&Stage, &str, &str, &str) -> crate::client::Ask; 5] = [
        |stage, method, path, code| stage.bare(method, path).host(&format!("{code}.example.test")),
        |stage, method, path, code| {
            stage.bare(method, path).host(&format!("{}.Example.test:80", code.to_uppercase()))
        },
        |stage, method, path, code| stage.bare(method, path).host("localhost").header("X-Tenant-Code", code),
        |stage, method, path, code| stage.bare(method, &format!("/t/{code}{path}")).host("localhost"),
        |stage, method, path, code| {
            stage
                .bare(method, &format!("/t/{code}{path}"))
                .host(&format!("{code}.example.test"))
                .header("X-Tenant-Code", code)
        },
    ];
    for method in ["GET", "POST", "DELETE", "PURGE"] {
        for path in paths {
            for (number, way) in ways.iter().enumerate() {
                for credential in &credentials {
                    let answer = |code: &str| {
                        let mut ask = way(&stage, method, path, code);
                        if let Some((name, value)) = credential {
                            ask = ask.header(name, value);
                        }
                        seen(&ask.send())
                    };
                    let (there, nobody) = (answer("acme"), answer("nobody"));
                    assert_eq!(there, nobody, "{method} {path}, way {number}, {credential:?}");
                    assert_eq!(there.0, 401, "{method} {path}: {there:?}");
                }
            }
        }
    }
    assert_eq!(stage.upstream.count(), 0);
    // Whose credential it is, is told what there is.
    assert_eq!(stage.ask("GET", "/v9/nowhere").send().refusal(), (404, "routes.no_match".to_owned()));
}
