//! A connection as it is kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rowhouse_domain::id::{ConnectionId, TenantId};
use rowhouse_domain::identity::issuer::{IssuerKey, SigningAlgorithm, read_keys};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Control;
use crate::tenancy::Seal;

const PURPOSE: &str = "identity/connection_secret/v1";

/// What a provider says of itself (OpenID Connect Discovery §3), as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub jwks_uri: String,
    #[serde(default)]
    pub userinfo_endpoint: Option<String>,
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether its answers name it (RFC 9207 §3).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct ConnectionRow {
    pub id: ConnectionId,
    pub tenant: TenantId,
    pub name: String,
    /// `iss` of its tokens, to the byte.
    pub issuer: String,
    pub client_id: String,
    /// Sealed.
    pub secret: Option<Vec<u8>>,
    /// Domains whose addresses it may bring; they count only while the tenant holds them.
    pub domains: Vec<String>,
    /// Roles of everybody who comes in by it.
    pub roles: Vec<String>,
    /// The claim that says more roles.
    pub role_claim: Option<String>,
    /// Which, for each of its values.
    pub role_map: BTreeMap<String, Vec<String>>,
    /// Whether who is new becomes a member.
    pub creates_members: bool,
    /// Whether what it says of a second factor is believed.
    pub proves_mfa: bool,
    /// Whether an address is proven if it says nothing about that.
    pub assumes_verified: bool,
    pub is_active: bool,
    pub discovery: Discovery,
    pub key_set: String,
    pub fetched_at: Timestamp,
    pub tried_at: Timestamp,
    pub last_problem: Option<String>,
    /// The version that a test got through with.
    pub tested_version: Option<i64>,
    pub test_result: Option<Value>,
    pub version: i64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

impl ConnectionRow {
    /// Where its answers come to: an address of its own, so that no other provider's answer is taken for its.
    pub fn redirect_uri(&self, control: &Control) -> String {
        format!("{}{}/callback", control.settings.public_url.trim_end_matches('/'), self.start_path())
    }

    /// Where signing in by it begins.
    pub fn start_path(&self) -> String {
        format!("/account/sso/{}", self.id)
    }

    /// The same with our own name before it.
    pub fn start_url(&self, control: &Control) -> String {
        format!("{}{}", control.settings.public_url.trim_end_matches('/'), self.start_path())
    }

    /// Its keys.
    pub fn keys(&self) -> Vec<IssuerKey> {
        read_keys(self.key_set.as_bytes(), &SigningAlgorithm::ALL).unwrap_or_default()
    }

    /// Seals a secret for it.
    pub fn seal(&self, control: &Control, secret: &str) -> Vec<u8> {
        let names = [self.tenant.to_string(), self.id.to_string()];
        let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
        seal.seal(control.entropy(), &[&names[0], &names[1]], secret.as_bytes())
    }

    /// The secret that we show it.
    pub fn open(&self, control: &Control) -> Result<Option<String>, Refusal> {
        let Some(sealed) = &self.secret else { return Ok(None) };
        let names = [self.tenant.to_string(), self.id.to_string()];
        let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
        let broken =
            || Refusal::new(&kind::SSO_PROVIDER, "The connection's secret cannot be read: set it anew.");
        let plain = seal.open(&[&names[0], &names[1]], sealed).map_err(|_| broken())?;
        String::from_utf8(plain).map(Some).map_err(|_| broken())
    }

    /// The roles of a person of whom the provider says this.
    pub fn roles_for(&self, claims: &serde_json::Map<String, Value>) -> Vec<String> {
        let said = self.role_claim.as_ref().and_then(|name| claims.get(name));
        let values: Vec<&str> = match said {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            Some(one) => one.as_str().into_iter().collect(),
            None => Vec::new(),
        };
        let mapped = values.into_iter().filter_map(|value| self.role_map.get(value)).flatten();
        let mut roles: Vec<String> = self.roles.iter().chain(mapped).cloned().collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }

    /// Every role that it can give.
    pub fn all_roles(&self) -> Vec<String> {
        self.roles.iter().chain(self.role_map.values().flatten()).cloned().collect()
    }
}
