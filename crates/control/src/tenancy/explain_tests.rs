//! What is explained is what the gateway decides.

use std::sync::Arc;

use rowhouse_domain::directory::{Naming, Tenant};
use rowhouse_domain::tenancy::{Isolation, Status};
use serde_json::json;

use super::*;

fn tenant(id: u128, code: &str) -> Tenant {
    Tenant {
        id: TenantId::from_u128(id),
        code: code.into(),
        tier: "basic".into(),
        isolation: Isolation::Shared,
        region: "local".into(),
        status: Status::Active,
        service: Service::Full,
        api_access: true,
        features: vec![],
        enforcements: vec![],
        imposed: vec![],
        ended_sessions: Default::default(),
        issuers: Default::default(),
        authorities: Default::default(),
        access: Arc::default(),
        limits: vec![],
        quotas: vec![],
        upstreams: vec![],
        version: 1,
    }
}

fn directory() -> Directory {
    let mut directory = Directory::empty();
    directory.version = 812;
    directory.naming = Arc::new(Naming {
        base_domains: vec!["example.com".to_owned()],
        platform_hosts: vec!["localhost".to_owned()],
        region: "local".to_owned(),
    });
    directory.put_tenant(tenant(0xa, "aa"));
    directory.put_tenant(tenant(0xb, "bb"));
    directory.hosts.insert("portal.aa.test".into(), TenantId::from_u128(0xa));
    directory
}

fn asked(question: serde_json::Value) -> ResolutionExplained {
    let question = serde_json::from_value(question).expect("a question");
    explain(&directory(), &question).expect("an answer")
}

/// The table that the gateway's own function is held to, row by row.
#[test]
fn every_combination_of_signals_has_the_outcome_that_was_reviewed() {
    let table = include_str!("../../../domain/src/tenancy/resolution_table.txt");
    let mut rows = 0;
    for row in table.lines().skip(1) {
        let (places, outcome) = row.split_once(" -> ").expect("a row");
        let places: Vec<&str> = places.split(' ').collect();
        let [host, header, path, token] = places[..] else { panic!("{row}") };
        let code = |place: &str| match place {
            "a" => "aa",
            "b" => "bb",
            _ => "nn",
        };
        let mut question = json!({ "path": "/v1/x" });
        if host != "-" {
            question["authority"] = format!("{}.example.com", code(host)).into();
        }
        if header != "-" {
            question["headers"] = json!({ "X-Tenant-Code": code(header) });
        }
        if path != "-" {
            question["path"] = format!("/t/{}/v1/x", code(path)).into();
        }
        if token != "-" {
            let id = TenantId::from_u128(if token == "a" {
                0xa
            } else if token == "b" {
                0xb
            } else {
                0xc
            });
            question["token_tenant"] = id.to_string().into();
        }
        let seen = asked(question);
        let told = match (seen.tenant, seen.resolved_by) {
            (Some(id), Some(by)) => {
                format!("{} by {by}", if id == TenantId::from_u128(0xa).to_string() { "aa" } else { "bb" })
            }
            _ => format!("{} {}", seen.status.expect("a status"), seen.code.expect("a code")),
        };
        assert_eq!(told, outcome, "{row}");
        assert_eq!(seen.signals.len(), places.iter().filter(|place| **place != "-").count(), "{row}");
        rows += 1;
    }
    assert_eq!(rows, 256);
}

#[test]
fn a_conflict_shows_what_each_place_says() {
    let seen = asked(json!({ "authority": "AA.example.com:8080", "path": "/v1//stamps",
        "headers": { "x-tenant-code": "bb", "X-Forwarded-Host": "bb.example.com" }, "sni": "aa.example.com" }));
    let (a, b) = (TenantId::from_u128(0xa).to_string(), TenantId::from_u128(0xb).to_string());
    let expected = json!({ "outcome": "refused", "status": 400, "code": "tenancy.conflicting_signals",
        "tenant": null, "resolved_by": null, "host": "aa.example.com",
        "signals": [{ "kind": "subdomain", "value": "aa", "tenant": a },
                    { "kind": "header", "value": "bb", "tenant": b }],
        "ignored": [{ "kind": "header", "value": "X-Forwarded-Host" }, { "kind": "sni", "value": "aa.example.com" }],
        "path_after": "/v1/stamps", "directory_version": 812 });
    assert_eq!(serde_json::to_value(seen).expect("JSON"), expected);
}

#[test]
fn what_cannot_be_read_is_told_with_what_can() {
    let seen = asked(json!({ "authority": "elsewhere.test", "headers": { "X-Tenant-Code": "aa" } }));
    assert_eq!((seen.status, seen.code), (Some(421), Some("tenancy.unknown_host")));
    assert_eq!((seen.signals.len(), seen.host.as_deref()), (1, Some("elsewhere.test")));
    let seen = asked(json!({ "authority": "portal.aa.test" }));
    assert_eq!(
        (seen.outcome, seen.resolved_by, seen.signals[0].value.as_str()),
        ("resolved", Some("domain"), "portal.aa.test")
    );
    let seen = asked(json!({ "headers": { "Host": "localhost", "X-Tenant-Id": TenantId::from_u128(0xb) } }));
    assert_eq!((seen.resolved_by, seen.ignored.len()), (Some("header"), 1), "the host names nobody");
    for (question, status, code) in [
        (json!({ "path": "/a/../../b" }), 400, "routes.malformed_request"),
        (json!({ "authority": "a b" }), 400, "routes.malformed_request"),
        (json!({ "path": "/t/a%2Fa/x" }), 400, "routes.malformed_request"),
        (
            json!({ "headers": { "X-Tenant-Code": "aa", "x-tenant-code": "aa" } }),
            400,
            "tenancy.conflicting_signals",
        ),
        (json!({ "headers": { "Host": "a", "host": "a" } }), 400, "routes.malformed_request"),
        (json!({}), 400, "tenancy.unresolved"),
    ] {
        let seen = asked(question.clone());
        assert_eq!((seen.status, seen.code), (Some(status), Some(code)), "{question}");
    }
    let unknown = ResolutionQuestion { token_tenant: Some("nobody".into()), ..Default::default() };
    assert_eq!(explain(&directory(), &unknown).expect_err("nobody").status(), 422);
}
