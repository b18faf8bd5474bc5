//! What the gateway would say to a request with a key, check by check: all of them are made, not only those up to the
//! first that fails. Nothing is charged.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rowhouse_domain::access::{Facts, Principal, PrincipalKind, ResourceKey, decide_on};
use rowhouse_domain::directory::{Directory, Key, Tenant};
use rowhouse_domain::refusal::{Kind, Refusal, kind};
use rowhouse_domain::routes::{Circumstances, Match, Matched, normalise};
use rowhouse_domain::tenancy::resolution::{Signals, resolve};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A request as it might be sent with the key.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestBody {
    /// `GET`, `POST` …
    method: String,
    /// Path and query.
    path: String,
    /// The `Host`, if it names a tenant.
    host: Option<String>,
    /// The client's address.
    #[schema(value_type = Option<String>)]
    ip: Option<IpAddr>,
}

/// What would be said.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct KeyExplanation {
    /// `allowed`, or the code of the first refusal without its area, as in `ip_denied`.
    outcome: String,
    /// The status of the refusal; none if nothing stands against it here.
    status: Option<u16>,
    /// Its code.
    code: Option<&'static str>,
    /// Every check in the order in which they are made.
    checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = KeyCheck)]
pub struct Check {
    /// `state`, `tenant`, `served`, `service`, `address`, `limits` or `permission`.
    check: &'static str,
    /// `pass`, `fail`, or `unknown` for what only gateways know.
    result: &'static str,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    detail: Option<Value>,
    #[serde(skip)]
    refused: Option<&'static Kind>,
}

impl Check {
    fn pass(check: &'static str, detail: Value) -> Check {
        Check { check, result: "pass", detail: Some(detail).filter(|own| !own.is_null()), refused: None }
    }

    fn fail(check: &'static str, refused: &'static Kind, detail: Value) -> Check {
        Check { result: "fail", refused: Some(refused), ..Check::pass(check, detail) }
    }

    fn unknown(check: &'static str, detail: Value) -> Check {
        Check { result: "unknown", ..Check::pass(check, detail) }
    }

    fn of(check: &'static str, outcome: Result<(), Refusal>) -> Check {
        match outcome {
            Ok(()) => Check::pass(check, Value::Null),
            Err(refusal) => Check::fail(check, refusal.kind(), json!({ "why": refusal.detail() })),
        }
    }
}

/// Makes every check.
pub(super) fn explain(directory: &Directory, key: &Key, asked: &RequestBody, now_us: i64) -> KeyExplanation {
    let (target, query) = match asked.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (asked.path.as_str(), None),
    };
    let tenant = directory.tenants.get(&key.tenant);
    let state = match key.standing.refuses(now_us) {
        None => Check::pass("state", json!({ "state": key.standing.shown(now_us) })),
        Some(why) => Check::fail("state", why, json!({ "state": key.standing.shown(now_us) })),
    };
    let mut checks = vec![state];
    let path = match normalise(target) {
        Ok(path) => path,
        Err(error) => {
            checks.push(Check::fail("path", &kind::MALFORMED_REQUEST, json!({ "why": error.to_string() })));
            return concluded(checks);
        }
    };
    let (named, rest) = named(directory, key, asked, &path);
    checks.push(named);
    checks.extend(tenant.map(|tenant| served(tenant, &asked.method)));
    let given = Circumstances {
        authority: asked.host.as_deref().unwrap_or_default(),
        header: &|_| None,
        query,
        tenant: tenant.map(|own| &**own),
    };
    let found = directory.routes.find(&asked.method, &rest, &given);
    if let Match::Found(matched) = &found {
        checks.push(Check::of("service", key.refuse_other_service(&matched.route.definition.service)));
    }
    checks.push(match asked.ip {
        Some(client) => Check::of("address", key.refuse_other_address(client)),
        None if key.narrowed.as_ref().is_none_or(|own| own.allowed_ips.is_empty()) => {
            Check::pass("address", Value::Null)
        }
        None => Check::unknown("address", json!({ "why": "say `ip` in the request" })),
    });
    checks.push(limits(key));
    checks.push(match (&found, tenant) {
        (Match::Found(matched), Some(tenant)) => permission(directory, tenant, key, matched, asked, now_us),
        (Match::OtherMethods(methods), _) => {
            Check::fail("permission", &kind::ROUTE_METHOD, json!({ "methods": methods }))
        }
        _ => Check::fail("permission", &kind::NO_MATCH, Value::Null),
    });
    concluded(checks)
}

/// Whether the request is about the key's tenant, and the path without what names it.
fn named(directory: &Directory, key: &Key, asked: &RequestBody, path: &str) -> (Check, String) {
    let signals = Signals {
        authority: asked.host.as_deref().filter(|host| !host.is_empty()),
        header_id: None,
        header_code: None,
        path,
        token_tenant: Some(key.tenant),
    };
    match resolve(directory, &signals) {
        Ok(resolution) if resolution.tenant.id == key.tenant => {
            (Check::pass("tenant", json!({ "code": &*resolution.tenant.code })), resolution.path.to_owned())
        }
        Ok(resolution) => {
            (Check::fail("tenant", &kind::KEY_INVALID, Value::Null), resolution.path.to_owned())
        }
        Err(refusal) => {
            (Check::fail("tenant", refusal.kind(), json!({ "why": refusal.detail() })), path.to_owned())
        }
    }
}

fn served(tenant: &Tenant, method: &str) -> Check {
    match tenant.service.admit(method) {
        Ok(()) if !tenant.api_access => Check::fail("served", &kind::KEY_NOT_IN_TIER, Value::Null),
        outcome => Check::of("served", outcome),
    }
}

/// How counters stand only the gateways know.
fn limits(key: &Key) -> Check {
    let own: Vec<Value> = key
        .limits()
        .iter()
        .map(|limit| {
            let (units, window_s) = limit.rule.announced();
            json!({ "name": &*limit.name, "units": units, "window_s": window_s })
        })
        .collect();
    Check::unknown("limits", json!({ "own": own, "why": "counters are at the gateways" }))
}

fn permission(
    directory: &Directory,
    tenant: &Tenant,
    key: &Key,
    matched: &Matched<'_, '_>,
    asked: &RequestBody,
    now_us: i64,
) -> Check {
    if matched.route.definition.public {
        return Check::pass("permission", json!({ "why": "the route is open to everybody" }));
    }
    let Some(needed) = matched.route.permission(&asked.method) else {
        return Check::fail(
            "permission",
            &kind::ACCESS_DENIED,
            json!({ "why": "the method is open to nobody" }),
        );
    };
    let thing = matched.thing();
    let reached = match (&thing, matched.route.is_about_a_thing()) {
        (Some((kind, id)), true) => key.reaches(kind, id),
        (None, true) => false,
        (_, false) => !key.is_for_things(),
    };
    let principal = Principal { kind: PrincipalKind::ApiKey, id: key.id.0 };
    let facts = Facts {
        ip: asked.ip,
        mfa: Some(false),
        auth_method: Some("api_key"),
        method: Some(&asked.method),
        path: Some(asked.path.split('?').next().unwrap_or_default()),
        ..Facts::NONE
    };
    let facts = match &thing {
        Some((kind, id)) => facts.on(kind, id),
        None => facts,
    };
    let (kind, id) = thing.as_ref().map_or(("", ""), |(kind, id)| (*kind, id.as_ref()));
    let decision = decide_on(
        (&tenant.access, tenant.id),
        (principal, Some(key.permits.contains(needed) && reached)),
        tenant.access.rights(&key.owner),
        (needed, || ResourceKey::new(kind, id)),
        (now_us, &facts),
    );
    let mut detail = BTreeMap::from([("permission", directory.permissions.name(needed))]);
    match decision {
        Ok(_) => Check::pass("permission", json!(detail)),
        Err(reason) => {
            detail.insert("reason", reason.as_str());
            Check::fail("permission", &kind::ACCESS_DENIED, json!(detail))
        }
    }
}

fn concluded(checks: Vec<Check>) -> KeyExplanation {
    let refused = checks.iter().find_map(|check| check.refused);
    let outcome =
        refused.map_or("allowed", |kind| kind.code.split_once('.').map_or(kind.code, |(_, own)| own));
    KeyExplanation {
        outcome: outcome.to_owned(),
        status: refused.map(|kind| kind.status),
        code: refused.map(|kind| kind.code),
        checks,
    }
}
