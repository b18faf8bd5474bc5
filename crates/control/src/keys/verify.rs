//! The check of a key for a service that meets one itself: the same functions as the gateway's.

use std::net::IpAddr;

use rowhouse_domain::access::{Principal, PrincipalKind, decide_key};
use rowhouse_domain::directory::{Directory, Key};
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::keys::{Peppers, Presented};
use rowhouse_domain::tenancy::Service;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::PrincipalBody;

/// What is said about a key. Of one that does not exist, is malformed or another tenant's, only that it is not found.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Verdict {
    /// Whether it may be used now, with the permission if one was asked for.
    pub valid: bool,
    /// `valid`, or the first thing that stands against it.
    pub code: String,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Its tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantOfKey>,
    /// Its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalBody>,
    /// `live` or `test`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<&'static str>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A tenant in a few words.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TenantOfKey {
    id: String,
    code: String,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub text: &'a str,
    pub permission: Option<&'a str>,
    /// The address that it was shown from, if the service says.
    pub client: Option<IpAddr>,
    /// The thing that it is to be used for, if there is one.
    pub thing: Option<(&'a str, &'a str)>,
    /// Who asks: a tenant's principal learns only of its tenant's keys.
    pub asker: TenantId,
    pub now_us: i64,
}

/// Answers from the directory: no database.
pub(super) fn verify(directory: &Directory, peppers: &Peppers, question: Question<'_>) -> Verdict {
    let presented = Presented::read(directory, question.text);
    let (key, refused) = match presented.verify(peppers, question.now_us) {
        Ok(key) => (key, None),
        // The holder of the text may learn why his key is refused; who only guesses may not.
        Err(refusal) => match presented.claims() {
            Some(key) if refusal.code() != "keys.invalid" => (key, Some(refusal.code())),
            _ => return not_found(),
        },
    };
    if question.asker != OPERATOR_TENANT && question.asker != key.tenant {
        return not_found();
    }
    let code = refused.map(|code| code.trim_start_matches("keys.").to_owned());
    let code = code.or_else(|| tenant_refuses(directory, key)).or_else(|| elsewhere(key, question));
    let code = code.or_else(|| lacks(directory, key, question));
    told(directory, key, code)
}

fn not_found() -> Verdict {
    Verdict {
        valid: false,
        code: "not_found".to_owned(),
        key_id: None,
        tenant: None,
        principal: None,
        environment: None,
        expires_at: None,
    }
}

fn tenant_refuses(directory: &Directory, key: &Key) -> Option<String> {
    let tenant = directory.tenants.get(&key.tenant)?;
    match tenant.service {
        _ if !tenant.api_access => Some("not_in_tier".to_owned()),
        Service::Full | Service::ReadOnly => None,
        _ => Some("tenant_suspended".to_owned()),
    }
}

/// It is for other places or things.
fn elsewhere(key: &Key, question: Question<'_>) -> Option<String> {
    let client = question.client.map(|client| key.refuse_other_address(client));
    let reached = question.thing.map_or(!key.is_for_things(), |(kind, id)| key.reaches(kind, id));
    match client {
        Some(Err(_)) => Some("ip_denied".to_owned()),
        _ => (question.permission.is_some() && !reached).then(|| "insufficient_permissions".to_owned()),
    }
}

fn lacks(directory: &Directory, key: &Key, question: Question<'_>) -> Option<String> {
    let permission = question.permission?;
    let decided = || {
        let bit = directory.permissions.id(permission)?;
        let access = &directory.tenants.get(&key.tenant)?.access;
        let own = Principal { kind: PrincipalKind::ApiKey, id: key.id.0 };
        decide_key(access, Some(key.tenant), own, &key.permits, key.owner, bit, question.now_us).ok()
    };
    decided().is_none().then(|| "insufficient_permissions".to_owned())
}

fn told(directory: &Directory, key: &Key, code: Option<String>) -> Verdict {
    let tenant = directory.tenants.get(&key.tenant);
    let ends = key.standing.expires_at_us.and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    Verdict {
        valid: code.is_none(),
        code: code.unwrap_or_else(|| "valid".to_owned()),
        key_id: Some(key.id.to_string()),
        tenant: tenant.map(|own| TenantOfKey { id: own.id.to_string(), code: own.code.to_string() }),
        principal: Some(key.owner.into()),
        environment: Some(key.environment.as_str()),
        expires_at: ends.map(|time| time.to_string()),
    }
}
