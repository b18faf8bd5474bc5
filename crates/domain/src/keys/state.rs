//! What state a key is in. Time moves it by itself: no job is needed for a key to stop.

use serde::{Deserialize, Serialize};

use crate::refusal::{Kind, kind};

/// What an administrator has done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// In use.
    Active,
    /// Switched off, may be switched on again.
    Disabled,
    /// Ended for ever.
    Revoked,
}

/// State and times of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStanding {
    /// What was done to it.
    pub state: KeyState,
    /// Not before this instant (µs since 1970), if set.
    pub not_before_us: Option<i64>,
    /// Not at or after this instant.
    pub expires_at_us: Option<i64>,
    /// Whether the owner may act.
    pub owner_enabled: bool,
}

impl KeyStanding {
    /// `None` if the key may be used now, else why not; the first that holds is told.
    pub fn refuses(&self, now_us: i64) -> Option<&'static Kind> {
        match self.state {
            KeyState::Revoked => Some(&kind::KEY_REVOKED),
            KeyState::Disabled => Some(&kind::KEY_DISABLED),
            KeyState::Active if self.not_before_us.is_some_and(|t| now_us < t) => {
                Some(&kind::KEY_NOT_YET_VALID)
            }
            KeyState::Active if self.expires_at_us.is_some_and(|t| now_us >= t) => Some(&kind::KEY_EXPIRED),
            KeyState::Active if !self.owner_enabled => Some(&kind::KEY_OWNER_DISABLED),
            KeyState::Active => None,
        }
    }

    /// The word shown for the state at an instant.
    pub fn shown(&self, now_us: i64) -> &'static str {
        match (self.state, self.refuses(now_us).map(|k| k.code)) {
            (KeyState::Revoked, _) => "revoked",
            (KeyState::Disabled, _) => "disabled",
            (_, Some("keys.not_yet_valid")) => "scheduled",
            (_, Some("keys.expired")) => "expired",
            _ => "active",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_states_and_the_interval_is_half_open() {
        let key = KeyStanding {
            state: KeyState::Active,
            not_before_us: Some(10),
            expires_at_us: Some(20),
            owner_enabled: true,
        };
        let at = |now| key.refuses(now).map(|k| k.code);
        assert_eq!(at(9), Some("keys.not_yet_valid"));
        assert_eq!(at(10), None);
        assert_eq!(at(19), None);
        assert_eq!(at(20), Some("keys.expired"));
        let revoked = KeyStanding { state: KeyState::Revoked, ..key };
        assert_eq!(revoked.refuses(15).map(|k| k.code), Some("keys.revoked"));
        assert_eq!((key.shown(9), key.shown(15), key.shown(20)), ("scheduled", "active", "expired"));
    }
}
