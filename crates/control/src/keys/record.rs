//! A key as the control plane keeps it: everything but its text.

use jiff::Timestamp;
use rowhouse_domain::access::Principal;
use rowhouse_domain::id::{KeyId, TenantId};
use rowhouse_domain::keys::{Environment, KeyStanding, KeyState};
use serde_json::Value;

use super::narrow::Narrow;

/// A key, without text and digest.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRecord {
    /// Its id.
    pub id: KeyId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What it is looked up by; may be shown.
    pub public_id: String,
    /// The text up to the public id.
    pub hint: String,
    /// 1 to 100 characters.
    pub name: String,
    /// At most 500 characters.
    pub description: String,
    /// Who owns it.
    pub owner: Principal,
    /// Live or test.
    pub environment: Environment,
    /// Roles it has, narrowed by its owner's rights.
    pub roles: Vec<String>,
    /// Permissions and patterns it has, narrowed likewise.
    pub permissions: Vec<String>,
    /// What narrows it further.
    pub narrow: Narrow,
    /// For finding it.
    pub tags: Vec<String>,
    /// The tenant's own.
    pub metadata: Value,
    /// What was done to it.
    pub state: KeyState,
    /// Not before.
    pub not_before: Option<Timestamp>,
    /// Not at or after.
    pub expires_at: Option<Timestamp>,
    /// The key and those that replaced it.
    pub family: KeyId,
    /// The key that it replaced.
    pub replaces: Option<KeyId>,
    /// The key that replaced it.
    pub replaced_by: Option<KeyId>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Why it was revoked.
    pub revoked_reason: Option<String>,
    /// When, from where and for what it was used last, true to a minute.
    pub last_use: Option<LastUse>,
    /// Raised with each change.
    pub version: i64,
}

/// The last use of a key that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUse {
    /// When the request began.
    pub at: Timestamp,
    /// From which address, as far as it may be kept.
    pub ip: String,
    /// Method and path template; empty if it led nowhere.
    pub endpoint: String,
}

impl KeyRecord {
    /// The word for its state at an instant: `scheduled`, `active`, `grace`, `expired`, `disabled` or `revoked`.
    pub fn shown_state(&self, now_us: i64) -> &'static str {
        let micros = |time: Option<Timestamp>| time.map(|time| time.as_microsecond());
        let standing = KeyStanding {
            state: self.state,
            not_before_us: micros(self.not_before),
            expires_at_us: micros(self.expires_at),
            owner_enabled: true,
        };
        match standing.shown(now_us) {
            "active" if self.replaced_by.is_some() => "grace",
            word => word,
        }
    }
}

/// The word that a state is stored as.
pub(super) fn state_word(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::Disabled => "disabled",
        KeyState::Revoked => "revoked",
    }
}

/// The state that is stored as a word.
pub(super) fn stored_state(word: &str) -> Option<KeyState> {
    [KeyState::Active, KeyState::Disabled, KeyState::Revoked]
        .into_iter()
        .find(|state| state_word(*state) == word)
}

/// The environment that is stored as a word.
pub(super) fn stored_environment(word: &str) -> Option<Environment> {
    [Environment::Live, Environment::Test].into_iter().find(|environment| environment.as_str() == word)
}
