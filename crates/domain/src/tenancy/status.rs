//! A tenant's status, which change may follow which, and what it means for requests.

use serde::{Deserialize, Serialize};

use crate::refusal::{Refusal, kind};

/// Where a tenant stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Being set up.
    Provisioning,
    /// Setting up failed and was undone.
    Failed,
    /// Served.
    Active,
    /// Stopped for a reason, to come back.
    Suspended,
    /// Its data moves; served as before.
    Migrating,
    /// Gone to its clients, data kept during retention.
    Leaving,
    /// Gone.
    Terminated,
}

/// What a suspension leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspensionMode {
    /// Nothing.
    Blocked,
    /// Reading.
    ReadOnly,
}

/// What the gateway does for a tenant in a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Service {
    /// Requests are served.
    Full,
    /// GET, HEAD and OPTIONS are served.
    ReadOnly,
    /// 403 `tenancy.suspended`.
    Suspended,
    /// 403 `tenancy.leaving`.
    Leaving,
    /// 503 `tenancy.not_ready`.
    NotReady,
    /// 404 `tenancy.unknown`, as if it had never been.
    Unknown,
}

impl Status {
    /// Whether nothing is measured of it any more: it leaves, has left, or never came.
    pub fn is_over(self) -> bool {
        matches!(self, Status::Leaving | Status::Terminated | Status::Failed)
    }

    /// All states.
    pub const ALL: [Status; 7] = [
        Status::Provisioning,
        Status::Failed,
        Status::Active,
        Status::Suspended,
        Status::Migrating,
        Status::Leaving,
        Status::Terminated,
    ];

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Provisioning => "provisioning",
            Status::Failed => "failed",
            Status::Active => "active",
            Status::Suspended => "suspended",
            Status::Migrating => "migrating",
            Status::Leaving => "leaving",
            Status::Terminated => "terminated",
        }
    }

    /// The status with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Status::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether `next` may follow. Anything else is 409 `lifecycle.wrong_status`.
    pub fn may_become(self, next: Status) -> bool {
        use Status::*;
        matches!(
            (self, next),
            (Provisioning, Active | Failed)
                | (Failed, Provisioning | Terminated)
                | (Active, Suspended | Migrating | Leaving)
                | (Suspended, Active | Migrating | Leaving)
                | (Migrating, Active | Suspended)
                | (Leaving, Terminated | Active | Suspended)
        )
    }

    /// What the gateway does; `mode` is that of the suspension, `before` the status before a migration.
    pub fn service(self, mode: Option<SuspensionMode>, before: Option<Status>) -> Service {
        match self {
            Status::Active => Service::Full,
            Status::Suspended if mode == Some(SuspensionMode::ReadOnly) => Service::ReadOnly,
            Status::Suspended => Service::Suspended,
            Status::Migrating => match before {
                Some(Status::Suspended) => Status::Suspended.service(mode, None),
                _ => Service::Full,
            },
            Status::Leaving => Service::Leaving,
            Status::Provisioning | Status::Failed => Service::NotReady,
            Status::Terminated => Service::Unknown,
        }
    }
}

impl Service {
    /// Whether a request with `method` is served, or its refusal.
    pub fn admit(self, method: &str) -> Result<(), Refusal> {
        match self {
            Service::Full => Ok(()),
            Service::ReadOnly if matches!(method, "GET" | "HEAD" | "OPTIONS") => Ok(()),
            Service::ReadOnly => {
                Err(Refusal::new(&kind::TENANT_SUSPENDED, "This tenant is suspended; it can only be read."))
            }
            Service::Suspended => Err(Refusal::new(&kind::TENANT_SUSPENDED, "This tenant is suspended.")),
            Service::Leaving => Err(Refusal::new(&kind::TENANT_LEAVING, "This tenant is leaving.")),
            Service::NotReady => {
                Err(Refusal::new(&kind::TENANT_NOT_READY, "This tenant is not ready yet.").retry_after(5))
            }
            Service::Unknown => Err(Refusal::new(&kind::TENANT_UNKNOWN, "No tenant has this name.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions_are_the_reviewed_matrix() {
        let rows: String = Status::ALL
            .iter()
            .map(|&from| {
                let next: Vec<_> =
                    Status::ALL.iter().filter(|&&to| from.may_become(to)).map(|to| to.as_str()).collect();
                format!("{} -> {}\n", from.as_str(), next.join(" "))
            })
            .collect();
        assert_eq!(rows, include_str!("transitions.txt"));
    }

    #[test]
    fn what_each_status_serves() {
        assert!(Status::Active.service(None, None).admit("POST").is_ok());
        let read_only = Status::Suspended.service(Some(SuspensionMode::ReadOnly), None);
        assert!(read_only.admit("GET").is_ok());
        assert_eq!(read_only.admit("POST").expect_err("a write").code(), "tenancy.suspended");
        let moving = Status::Migrating.service(None, Some(Status::Suspended));
        assert_eq!(moving.admit("GET").expect_err("blocked").status(), 403);
        assert_eq!(Status::Terminated.service(None, None).admit("GET").expect_err("gone").status(), 404);
        assert_eq!(Status::Provisioning.service(None, None).admit("GET").expect_err("new").status(), 503);
    }
}
