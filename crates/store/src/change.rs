//! What a change leaves behind besides its rows: one audit event, and notices of what it touched.

use std::borrow::Cow;

use rowhouse_domain::access::Principal;
use rowhouse_domain::id::{ApplicationId, TenantId};
use serde::{Deserialize, Serialize};

/// Tells those who must look again what was touched. Hints only wake; versions decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What kind of thing: `tenant`, `catalog`, `key`, …
    pub topic: &'static str,
    /// Whose, if it belongs to one tenant.
    pub tenant: Option<TenantId>,
    /// Which one.
    pub subject: Option<String>,
}

impl Notice {
    /// Something of a tenant changed.
    pub fn tenant(tenant: TenantId) -> Self {
        Notice { topic: "tenant", tenant: Some(tenant), subject: None }
    }
    /// Something that the operator declares for all tenants changed.
    pub fn catalog() -> Self {
        Notice { topic: "catalog", tenant: None, subject: None }
    }
    /// Something that concerns nobody's directory entry.
    pub fn other(topic: &'static str) -> Self {
        Notice { topic, tenant: None, subject: None }
    }
}

/// A change as the audit log will tell it. Becomes one leaf of the tenant's log, or of the operator's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// Whose log; the operator's for what concerns no single tenant.
    pub log: TenantId,
    /// `<feature>.<noun_verb_past>`, listed in `domain::audit::catalog`.
    pub event: String,
    /// The permission's action: `create`, `update`, …
    pub action: String,
    /// `success` or `failure`.
    pub result: String,
    /// The refusal's code, for a failure.
    pub code: Option<String>,
    /// Kind of the actor.
    pub actor_kind: String,
    /// The actor's id.
    pub actor: String,
    /// What it was done to: kind and id, at least one.
    pub targets: Vec<(String, String)>,
    /// Declared, non-personal fields; numbers are integers.
    pub details: serde_json::Value,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// What must look again.
    #[serde(skip)]
    pub notices: Vec<Notice>,
}

impl Change {
    /// A successful change of one thing by `actor`.
    pub fn new(log: TenantId, event: &str, action: &str, actor: Principal) -> Self {
        Change {
            log,
            event: event.to_owned(),
            action: action.to_owned(),
            result: "success".to_owned(),
            code: None,
            actor_kind: actor.kind.as_str().to_owned(),
            actor: actor.to_string(),
            targets: Vec::new(),
            details: serde_json::json!({}),
            request_id: None,
            notices: Vec::new(),
        }
    }

    /// Names what it was done to.
    pub fn on(mut self, kind: &str, id: impl ToString) -> Self {
        self.targets.push((kind.to_owned(), id.to_string()));
        self
    }
    /// Says more; see [`Change::details`].
    pub fn details(mut self, details: serde_json::Value) -> Self {
        self.details = details;
        self
    }
    /// The same as done through an application, if it was: the log names the person who let it in, and the application beside.
    pub(crate) fn through(&self, application: Option<ApplicationId>) -> Cow<'_, Change> {
        let Some(application) = application else { return Cow::Borrowed(self) };
        let mut own = self.clone();
        if let Some(details) = own.details.as_object_mut() {
            details.insert("application".to_owned(), application.to_string().into());
        }
        Cow::Owned(own)
    }

    /// Names the request that caused it.
    pub fn request(mut self, request_id: impl ToString) -> Self {
        self.request_id = Some(request_id.to_string());
        self
    }
    /// Wakes who must look again.
    pub fn notify(mut self, notice: Notice) -> Self {
        self.notices.push(notice);
        self
    }
}
