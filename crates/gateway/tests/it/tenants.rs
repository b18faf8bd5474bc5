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
        ("nobody.example.test", "/v1/stamps", &[], 404, "tenancy.unknown"),
        ("localhost", "/t/nobody/v1/stamps", &[], 404, "tenancy.unknown"),
        ("localhost", "/v1/stamps", &[("X-Tenant-Id", "nonsense")], 404, "tenancy.unknown"),
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
