//! What is wrong with a catalogue, each thing with its place. The sender's files are not known here: a finding names
//! kind, thing and field, and whoever read the files finds the line.

use rowhouse_domain::refusal::{Refusal, kind};
use serde::Serialize;

use super::Kind;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of the definition.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its field; empty for the definition as a whole.
    pub field: String,
    /// A short stable word.
    pub code: &'static str,
    /// What would be right.
    pub detail: String,
}

impl Finding {
    /// Something wrong at a place.
    pub fn new(kind: Kind, name: &str, field: &str, code: &'static str) -> Self {
        let (name, field) = (name.to_owned(), field.to_owned());
        Finding { kind, name, field, code, detail: String::new() }
    }

    /// Says what would be right.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// `/routes/stamps.create/permission`: the list, the name and the field.
    pub fn pointer(&self) -> String {
        let place = format!("/{}/{}", self.kind.plural(), self.name);
        if self.field.is_empty() { place } else { format!("{place}/{}", self.field) }
    }
}

/// The refusal of a catalogue: 422 `api.catalog_invalid` with every finding.
pub fn refuse(findings: &[Finding]) -> Refusal {
    let count = findings.len();
    let words = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
    let refusal =
        Refusal::new(&kind::CATALOG_INVALID, format!("The catalogue has {words}; nothing was changed."));
    findings
        .iter()
        .fold(refusal, |refusal, finding| refusal.field(finding.pointer(), finding.code, &finding.detail))
}
