//! Conditions where their language is not built in: in the library that services use, which decides nothing. What cannot be read
//! errs, which is closed in both directions.

use serde_json::{Map, Value};

use super::{Condition, Facts, Outcome, Subject, Work};

/// What no text is read as.
#[derive(Clone)]
pub(super) enum Asked {}

impl Asked {
    pub(super) fn read(_text: &str) -> Option<Self> {
        None
    }
}

impl Condition {
    /// Never holds, and never fails to.
    pub(crate) fn evaluate(
        &self,
        _subject: Subject<'_>,
        _stored: Option<&Map<String, Value>>,
        _facts: &Facts<'_>,
        _at: (i64, &Work),
    ) -> Outcome {
        Outcome::Error("conditions are not built in".to_owned())
    }
}
