//! Every combination of signals has its outcome in `resolution_table.txt`, whose changes are reviewed.

use super::*;
use crate::directory::Naming;
use crate::tenancy::{Isolation, Service, Status};

const A: TenantId = TenantId(uuid::Uuid::from_u128(0xa));
const B: TenantId = TenantId(uuid::Uuid::from_u128(0xb));

fn tenant(id: TenantId, code: &str) -> Tenant {
    Tenant {
        id,
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
    directory.naming = Arc::new(Naming {
        base_domains: vec!["example.com".to_owned()],
        platform_hosts: vec!["localhost".to_owned(), "status.example.com".to_owned()],
        region: "local".to_owned(),
    });
    directory.put_tenant(tenant(A, "aa"));
    directory.put_tenant(tenant(B, "bb"));
    directory.hosts.insert("stamps.aa.test".into(), A);
    directory
}

fn outcome(directory: &Directory, signals: &Signals<'_>) -> String {
    match resolve(directory, signals) {
        Ok(resolution) => format!("{} by {}", resolution.tenant.code, resolution.by.as_str()),
        Err(refusal) => format!("{} {}", refusal.status(), refusal.code()),
    }
}

#[test]
fn every_combination_of_signals_has_its_reviewed_outcome() {
    let directory = directory();
    let hosts = [
        ("-", None),
        ("a", Some("aa.example.com")),
        ("b", Some("bb.example.com")),
        ("?", Some("nn.example.com")),
    ];
    let headers = [("-", None), ("a", Some("aa")), ("b", Some("bb")), ("?", Some("nn"))];
    let paths = [("-", "/v1/x"), ("a", "/t/aa/v1/x"), ("b", "/t/bb/v1/x"), ("?", "/t/nn/v1/x")];
    // A credential of a tenant that is not in the directory is one we do not know at all.
    let tokens = [("-", None), ("a", Some(A)), ("b", Some(B)), ("?", Some(TenantId::from_u128(0xc)))];
    let mut table = String::from("host header path token -> outcome\n");
    for (host, authority) in hosts {
        for (header, header_code) in headers {
            for (shown, path) in paths {
                for (token, token_tenant) in tokens {
                    let signals = Signals { authority, header_id: None, header_code, path, token_tenant };
                    let outcome = outcome(&directory, &signals);
                    table.push_str(&format!("{host} {header} {shown} {token} -> {outcome}\n"));
                }
            }
        }
    }
    assert_eq!(table, include_str!("resolution_table.txt"));
}

#[test]
fn hosts_have_one_canonical_form() {
    let directory = directory();
    let by = |authority: &str| {
        outcome(&directory, &Signals { authority: Some(authority), path: "/", ..Signals::default() })
    };
    for (authority, expected) in [
        ("aa.example.com", "aa by subdomain"),
        ("AA.Example.COM:8080", "aa by subdomain"),
        ("aa.example.com.", "aa by subdomain"),
        ("stamps.aa.test", "aa by domain"),
        ("x.aa.example.com", "404 tenancy.unknown"),
        ("example.com", "400 tenancy.unresolved"),
        ("www.example.com", "400 tenancy.unresolved"),
        ("api.example.com", "400 tenancy.unresolved"),
        ("status.example.com", "400 tenancy.unresolved"),
        ("localhost:8080", "400 tenancy.unresolved"),
        ("127.0.0.1:8080", "400 tenancy.unresolved"),
        ("[::1]:8080", "400 tenancy.unresolved"),
        ("[::1]\"><x", "400 routes.malformed_request"),
        ("[::1]:80:80", "400 routes.malformed_request"),
        ("[::1].example.com", "400 routes.malformed_request"),
        ("aaexample.com", "421 tenancy.unknown_host"),
        ("elsewhere.test", "421 tenancy.unknown_host"),
        ("a b.example.com", "400 routes.malformed_request"),
        ("aa..example.com", "400 routes.malformed_request"),
        ("aa.example.com:99999999", "400 routes.malformed_request"),
        ("aa.example.com:8o80", "400 routes.malformed_request"),
        ("[::1", "400 routes.malformed_request"),
        ("[nonsense]", "400 routes.malformed_request"),
        ("\u{e4}.example.com", "400 routes.malformed_request"),
    ] {
        assert_eq!(by(authority), expected, "{authority}");
    }
}

#[test]
fn the_headers_agree_with_each_other() {
    let directory = directory();
    let (a, b) = (A.to_string(), B.to_string());
    let by = |id: &str, code: &str| {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (id, code) = (some(id), some(code));
        let signals = Signals {
            header_id: id.as_deref(),
            header_code: code.as_deref(),
            path: "/",
            ..Signals::default()
        };
        outcome(&directory, &signals)
    };
    assert_eq!(by(&a, "aa"), "aa by header");
    assert_eq!(by(&A.0.to_string(), ""), "aa by header", "a bare UUID is taken");
    assert_eq!(by(&b, "aa"), "400 tenancy.conflicting_signals");
    assert_eq!(by("nonsense", "aa"), "400 tenancy.conflicting_signals");
    assert_eq!(by("key_00000000000000000000000000", ""), "404 tenancy.unknown");
    let nobody = TenantId::from_u128(0xc).to_string();
    assert_eq!(by(&nobody, "aa"), "400 tenancy.conflicting_signals");
    assert_eq!(by(&nobody, "nn"), "400 tenancy.conflicting_signals", "as if `nn` were there");
}

/// Whatever a request without a credential says, it is answered the same for a code that is a tenant's and for one that is nobody's.
#[test]
fn what_disagrees_does_not_tell_who_is_there() {
    let directory = directory();
    let other = "zz";
    let said = |text: Option<&str>, code: &str| text.map(|text| text.replace('?', code));
    let hosts = [None, Some("?.example.com"), Some("zz.example.com"), Some("?.EXAMPLE.com")];
    let headers = [None, Some("?"), Some("zz"), Some("AA")];
    let paths = ["/v1/x", "/t/?/v1/x", "/t/zz/v1/x"];
    for host in hosts {
        for header in headers {
            for path in paths {
                let outcome = |code: &str| {
                    let (host, header) = (said(host, code), said(header, code));
                    let path = path.replace('?', code);
                    let signals = Signals {
                        authority: host.as_deref(),
                        header_code: header.as_deref(),
                        path: &path,
                        ..Signals::default()
                    };
                    match resolve(&directory, &signals) {
                        Ok(_) => "somebody or nobody".to_owned(),
                        Err(refusal) if refusal.code() == kind::TENANT_UNKNOWN.code => {
                            "somebody or nobody".to_owned()
                        }
                        Err(refusal) => refusal.code().to_owned(),
                    }
                };
                assert_eq!(outcome("aa"), outcome("nn"), "{host:?} {header:?} {path} beside {other}");
            }
        }
    }
}

#[test]
fn the_tenants_prefix_is_cut_off_the_path() {
    let directory = directory();
    let path_of = |path: &'static str| {
        resolve(&directory, &Signals { path, ..Signals::default() }).map(|resolution| resolution.path)
    };
    assert_eq!(path_of("/t/aa/v1/x").ok(), Some("/v1/x"));
    assert_eq!(path_of("/t/aa/").ok(), Some("/"));
    assert_eq!(path_of("/t/aa").ok(), Some("/"));
    assert_eq!(path_of("/t/a%61/v1").map_err(|refusal| refusal.code()), Err("routes.malformed_request"));
    assert_eq!(path_of("/tt/aa/v1").map_err(|refusal| refusal.code()), Err("tenancy.unresolved"));
}
