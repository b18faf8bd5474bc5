//! What gateway and control API look at in a token, check by check. Nothing is accepted by it.

use std::sync::Arc;

use rowhouse_domain::directory::{Directory, Tenant};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::identity::issuer::{Foreign, TenantIssuers};
use rowhouse_domain::identity::token::{TokenClaims, TokenFault, Unverified};
use serde::Serialize;
use utoipa::ToSchema;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TokenExplanation {
    /// Whether it is believed, and good, now.
    pub active: bool,
    /// Every check in its order.
    pub checks: Vec<Check>,
    /// What it says, once its signature is right; none of another tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub claims: Option<TokenClaims>,
    /// The service account that a token of another issuer signs in as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TokenCheck)]
pub struct Check {
    /// `form`, `issuer`, `key`, `signature`, `audience`, `time`, `trust`, `tenant`, `session` or `served`.
    pub check: &'static str,
    /// `pass`, `fail`, or `unknown` for what was not looked at.
    pub result: &'static str,
    /// Why, or what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Check {
    fn of<E: ToString>(check: &'static str, outcome: Result<(), E>) -> Check {
        match outcome {
            Ok(()) => Check { check, result: "pass", why: None },
            Err(why) => Check { check, result: "fail", why: Some(why.to_string()) },
        }
    }

    fn unknown(check: &'static str, why: Option<&str>) -> Check {
        Check { check, result: "unknown", why: why.map(str::to_owned) }
    }
}

/// Looks at a token for `audience` at a time. Only what is of `scope` (`None`: of every tenant) is told.
pub fn explain(
    directory: &Directory,
    (text, audience): (&str, &str),
    scope: Option<TenantId>,
    now_us: i64,
) -> TokenExplanation {
    match Unverified::read(text) {
        Ok(token) if token.claims().issuer == directory.tokens.issuer => {
            own(directory, &token, (audience, scope), now_us.div_euclid(1_000_000))
        }
        _ => foreign(scope.and_then(|tenant| directory.tenants.get(&tenant)), text, now_us),
    }
}

fn own(
    directory: &Directory,
    token: &Unverified<'_>,
    (audience, scope): (&str, Option<TenantId>),
    now_s: i64,
) -> TokenExplanation {
    use TokenFault::{BadSignature, UnknownKey};
    let claims = token.claims();
    let mut checks = vec![Check::of::<TokenFault>("form", Ok(())), Check::of::<TokenFault>("issuer", Ok(()))];
    match token.verify(&directory.tokens, audience, now_s) {
        Err(UnknownKey) => {
            checks.push(Check::of("key", Err(UnknownKey)));
            return concluded(checks, None);
        }
        Err(BadSignature) => {
            checks.push(Check::of::<TokenFault>("key", Ok(())));
            checks.push(Check::of("signature", Err(BadSignature)));
            return concluded(checks, None);
        }
        _ => {
            checks.push(Check::of::<TokenFault>("key", Ok(())));
            checks.push(Check::of::<TokenFault>("signature", Ok(())));
        }
    }
    if scope.is_some_and(|own| own != claims.tenant) {
        checks.push(Check::of("tenant", Err("it is another tenant's")));
        return concluded(checks, None);
    }
    let meant = claims.audience.iter().any(|own| own == audience);
    let meant = meant.then_some(()).ok_or_else(|| format!("it is for {}", claims.audience.join(" and ")));
    checks.push(Check::of("audience", meant));
    checks.push(Check::of("time", claims.check_time(now_s)));
    checks.extend(at_home(directory, claims));
    concluded(checks, Some(claims.clone()))
}

/// Whether its session lasts, in a tenant that is served.
fn at_home(directory: &Directory, claims: &TokenClaims) -> Vec<Check> {
    let Some(tenant) = directory.tenants.get(&claims.tenant) else {
        return vec![Check::of("tenant", Err("there is no such tenant"))];
    };
    let lasts = (!tenant.has_ended(claims.session)).then_some(()).ok_or("its session has ended");
    vec![Check::of::<TokenFault>("tenant", Ok(())), Check::of("session", lasts), served(tenant)]
}

fn served(tenant: &Tenant) -> Check {
    Check::of("served", tenant.service.admit("GET").map_err(|refusal| refusal.detail().to_owned()))
}

/// The checks of a token of another issuer, in their order.
const FOREIGN: [&str; 6] = ["issuer", "key", "signature", "audience", "time", "trust"];

/// A token of an issuer of the tenant's; without a tenant nobody knows its issuer.
fn foreign(tenant: Option<&Arc<Tenant>>, text: &str, now_us: i64) -> TokenExplanation {
    let read = match Foreign::read(text) {
        Ok(read) => read,
        Err(fault) => return concluded(vec![Check::of("form", Err(fault))], None),
    };
    let mut checks = vec![Check::of::<TokenFault>("form", Ok(()))];
    let none = TenantIssuers::default();
    let found = read.verify(tenant.map_or(&none, |tenant| &tenant.issuers), now_us);
    let stop = found.as_ref().err().map(|fault| (failed(*fault), *fault));
    let mut is_over = false;
    for check in FOREIGN {
        checks.push(match stop {
            Some((at, fault)) if at == check => {
                is_over = true;
                Check::of(check, Err(fault))
            }
            _ if is_over => Check::unknown(check, None),
            _ => Check::of::<TokenFault>(check, Ok(())),
        });
    }
    let Ok(claims) = found else { return concluded(checks, None) };
    if claims.certificate.is_some() {
        checks
            .push(Check::unknown("certificate", Some("it is good only with the certificate it is bound to")));
    }
    checks.extend(tenant.map(|tenant| served(tenant)));
    TokenExplanation { account: Some(claims.account.to_string()), ..concluded(checks, None) }
}

/// Which check a fault is of.
fn failed(fault: TokenFault) -> &'static str {
    match fault {
        TokenFault::WrongIssuer => "issuer",
        TokenFault::UnknownKey | TokenFault::WrongHeader => "key",
        TokenFault::BadSignature => "signature",
        TokenFault::WrongAudience => "audience",
        TokenFault::NotYet | TokenFault::Expired | TokenFault::Malformed => "time",
        TokenFault::Unbound | TokenFault::Untrusted => "trust",
    }
}

fn concluded(checks: Vec<Check>, claims: Option<TokenClaims>) -> TokenExplanation {
    let active = checks.iter().all(|check| check.result == "pass");
    TokenExplanation { active, checks, claims, account: None }
}
