//! Conditions of grants: expressions of the Cedar language, the body of `when { … }`.
//!
//! One is checked against what is declared when it is written ([`Condition::check`]), read once when it is loaded, and evaluated at
//! each decision that depends on it. **It fails closed in both directions**: what cannot be evaluated, or asks for something that is
//! not known, makes an allow not apply and a deny apply. Cedar itself skips a `forbid` that errs; so what is evaluated here is the
//! expression, never a set of policies.
//!
//! Without the feature `conditions` they are carried about as text, and asking one errs.

#![cfg_attr(not(feature = "conditions"), allow(dead_code))]

mod attribute;
#[cfg(feature = "conditions")]
mod evaluate;
mod facts;
mod mentioned;
#[cfg(feature = "conditions")]
mod read;
mod scan;
#[cfg(feature = "conditions")]
mod schema;
#[cfg(all(test, feature = "conditions"))]
mod tests;
#[cfg(not(feature = "conditions"))]
mod without;
mod work;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use attribute::{Attribute, AttributeKind, Described, attribute_faults};
pub use facts::Facts;
pub(crate) use facts::Subject;
use mentioned::Mentioned;
#[cfg(feature = "conditions")]
use read::Asked;
use scan::Weight;
#[cfg(not(feature = "conditions"))]
use without::Asked;
pub(crate) use work::Work;
pub use work::{BATCH_MAX, Batch, DECISION_MAX, GIVEN_MAX, MEMBERS_MAX, SET_MAX};

/// At most so many bytes of text.
pub const TEXT_MAX: usize = 4 * 1024;
/// At most so many bytes of parameters, as JSON.
pub const PARAMETERS_MAX: usize = 1024;
/// At most so many grants with conditions reach one principal.
pub const CONDITIONS_MAX: usize = 64;
/// When a grant applies, besides its time. Cheap to clone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Condition(Arc<Read>);

struct Read {
    text: Box<str>,
    parameters: Map<String, Value>,
    /// What the operator declares of the types that its grant is about.
    declared: Arc<[Attribute]>,
    /// Of these, and of what every request has, what its text mentions: only that is made ready when it is asked.
    mentioned: Mentioned,
    /// `None` for what cannot be read (any more): it errs whenever it is asked.
    asked: Option<Asked>,
    /// What evaluating it can cost.
    weight: Weight,
}

/// As it is stored and sent.
#[derive(Serialize, Deserialize)]
struct Written {
    text: Box<str>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    parameters: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    declared: Vec<Attribute>,
}

impl From<Written> for Condition {
    fn from(written: Written) -> Self {
        // What is no JSON gives no parameters, and what asks for one is not fulfilled.
        let parameters = serde_json::from_str(&written.parameters).unwrap_or_default();
        Condition::new(&written.text, parameters).about(written.declared.into())
    }
}

impl From<Condition> for Written {
    fn from(condition: Condition) -> Self {
        let parameters = match condition.0.parameters.is_empty() {
            true => String::new(),
            false => condition.parameters_text(),
        };
        Written { text: condition.0.text.clone(), parameters, declared: condition.0.declared.to_vec() }
    }
}

/// What became of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It asks for something that is not known: `context.mfa`, or just its name.
    Missing(String),
    /// It cannot be evaluated: a number too large, a text that is no address.
    Error(String),
}

/// What is wrong with a condition as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ConditionFault {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What.
    pub message: String,
}

impl Condition {
    /// Of its text, with a grant's own parameters. Unchecked: what cannot be read is kept, and is never fulfilled.
    pub fn new(text: &str, parameters: Map<String, Value>) -> Self {
        let weight = (text.len() <= TEXT_MAX).then(|| scan::weigh(text).ok()).flatten();
        let asked = weight.and_then(|_| Asked::read(text));
        let (declared, mentioned) = (Arc::default(), Mentioned::by(text, &[]));
        let (text, weight) = (text.into(), weight.unwrap_or_default());
        Condition(Arc::new(Read { text, parameters, declared, mentioned, asked, weight }))
    }

    /// The same for a grant about types that declare these attributes.
    #[must_use]
    pub(crate) fn about(&self, declared: Arc<[Attribute]>) -> Self {
        let Read { text, parameters, asked, weight, .. } = &*self.0;
        let (text, parameters, asked) = (text.clone(), parameters.clone(), asked.clone());
        let mentioned = Mentioned::by(&text, &declared);
        Condition(Arc::new(Read { text, parameters, declared, mentioned, asked, weight: *weight }))
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The grant's parameters, `context.params`.
    pub fn parameters(&self) -> &Map<String, Value> {
        &self.0.parameters
    }

    /// The same as JSON text.
    pub fn parameters_text(&self) -> String {
        serde_json::to_string(&self.0.parameters).expect("JSON is JSON")
    }

    /// Whether the text has these words.
    fn says(&self, words: &str) -> bool {
        self.0.text.contains(words)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.text == other.0.text && self.0.parameters == other.0.parameters)
    }
}

impl Eq for Condition {}

impl std::hash::Hash for Condition {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Condition({:?}, {:?})", self.0.text, self.0.parameters)
    }
}
