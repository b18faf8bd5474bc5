//! Issuers of tokens besides us: registered by a tenant, or by the operator for all. Their keys are fetched here, never by a gateway
//! and never on a request: at once when one is registered, then every ten minutes, and within a second of a token that names a
//! key nobody knows, but at most once a minute. An issuer that is away keeps its last good keys for a day.

mod api;
mod queries;
mod refresh;
mod register;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

pub use api::routes;
use jiff::Timestamp;
pub use queries::{load_issuers, visible};
pub use refresh::{look, run};
use rowhouse_domain::id::{IssuerId, TenantId};
use rowhouse_domain::identity::issuer::{Missed, SigningAlgorithm};
use serde::Serialize;
use utoipa::ToSchema;

/// An issuer as it is kept.
#[derive(Debug, Clone)]
pub struct IssuerRow {
    /// Its id.
    pub id: IssuerId,
    /// Whose it is; the operator's are every tenant's to trust.
    pub tenant: TenantId,
    /// 1 to 100 characters.
    pub name: String,
    /// `iss` of its tokens.
    pub issuer: String,
    /// Where its keys lie, if not where its discovery document says.
    pub jwks_uri: Option<String>,
    /// For whom its tokens may be meant.
    pub audiences: Vec<String>,
    /// How it may sign.
    pub algorithms: Vec<SigningAlgorithm>,
    /// The claim that says who.
    pub subject_claim: String,
    /// The keys as they were published.
    pub key_set: Option<String>,
    /// When they were.
    pub fetched_at: Option<Timestamp>,
    /// When it was last asked.
    pub tried_at: Timestamp,
    /// What was wrong then.
    pub last_problem: Option<String>,
    /// Who registered it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// Which issuers were asked for a key that nobody knows; gateways say it through the directory.
#[derive(Debug, Default)]
pub struct MissedKeys(Mutex<HashMap<IssuerId, Missed>>);

impl MissedKeys {
    /// What the directory carries of this issuer.
    pub fn of(&self, issuer: IssuerId) -> Missed {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(issuer).or_default().clone()
    }

    /// Issuers of which a key was missed since this was asked.
    fn take(&self) -> Vec<IssuerId> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(_, missed)| missed.take().is_some()).map(|(id, _)| *id).collect()
    }
}

/// An issuer.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuerAnswer {
    id: String,
    tenant: String,
    name: String,
    issuer: String,
    jwks_uri: Option<String>,
    audiences: Vec<String>,
    algorithms: Vec<String>,
    subject_claim: String,
    /// The keys that are in use now.
    keys: Vec<KeyName>,
    /// When they were fetched.
    fetched_at: Option<String>,
    tried_at: String,
    /// What was wrong when it was last asked.
    last_problem: Option<String>,
    created_at: String,
    created_by: String,
}

/// A key of an issuer.
#[derive(Debug, Serialize, ToSchema)]
struct KeyName {
    kid: String,
    algorithm: String,
}
