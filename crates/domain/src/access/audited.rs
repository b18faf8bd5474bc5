//! Which decisions about a permission become audit events. Each is in the request's journal record whatever is said here.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// What a permission's decisions leave in the tenant's audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DecisionAudit {
    /// Refusals; and what is allowed if the permission is sensitive.
    #[default]
    Denied,
    /// Everything.
    All,
    /// Refusals, and one in so many that are allowed.
    Sampled(NonZeroU32),
    /// Nothing.
    None,
}

impl DecisionAudit {
    /// Whether a request that is allowed becomes an event. `chance` is a number that nobody outside can choose.
    pub fn records_allow(self, is_sensitive: bool, chance: impl FnOnce() -> u128) -> bool {
        match self {
            DecisionAudit::Denied => is_sensitive,
            DecisionAudit::All => true,
            DecisionAudit::Sampled(every) => chance().is_multiple_of(u128::from(every.get())),
            DecisionAudit::None => false,
        }
    }

    /// Whether one that is refused does.
    pub fn records_denial(self) -> bool {
        self != DecisionAudit::None
    }
}

/// Not one of the words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `denied`, `all`, `sampled:<n>` or `none`")]
pub struct UnknownAudit(String);

impl TryFrom<String> for DecisionAudit {
    type Error = UnknownAudit;

    fn try_from(text: String) -> Result<Self, UnknownAudit> {
        let sampled = text.strip_prefix("sampled:").and_then(|every| every.parse().ok());
        match (text.as_str(), sampled) {
            ("denied", _) => Ok(DecisionAudit::Denied),
            ("all", _) => Ok(DecisionAudit::All),
            ("none", _) => Ok(DecisionAudit::None),
            (_, Some(every)) => Ok(DecisionAudit::Sampled(every)),
            _ => Err(UnknownAudit(text)),
        }
    }
}

impl From<DecisionAudit> for String {
    fn from(audit: DecisionAudit) -> String {
        match audit {
            DecisionAudit::Denied => "denied".to_owned(),
            DecisionAudit::All => "all".to_owned(),
            DecisionAudit::Sampled(every) => format!("sampled:{every}"),
            DecisionAudit::None => "none".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<DecisionAudit> {
        text.to_owned().try_into().ok()
    }

    #[test]
    fn each_word_is_read_and_written_and_no_other() {
        for text in ["denied", "all", "sampled:1", "sampled:100", "none"] {
            assert_eq!(read(text).map(String::from).as_deref(), Some(text));
        }
        for text in ["", "All", "sampled", "sampled:", "sampled:0", "sampled:-1", "sampled:x"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_recorded_is_what_the_word_says() {
        let of = |text: &str| read(text).expect("a word");
        let share =
            |text: &str, sensitive| (0..1_000).filter(|n| of(text).records_allow(sensitive, || *n)).count();
        assert_eq!((share("denied", false), share("denied", true)), (0, 1_000));
        assert_eq!((share("all", false), share("none", true)), (1_000, 0));
        assert_eq!((share("sampled:10", false), share("sampled:10", true)), (100, 100));
        assert_eq!(share("sampled:1", false), 1_000);
        for text in ["denied", "all", "sampled:10"] {
            assert!(of(text).records_denial(), "{text}");
        }
        assert!(!of("none").records_denial());
    }
}
