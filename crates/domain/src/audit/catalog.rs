//! The closed list of event types and the names of events in use. A type fixes the OCSF class and activity,
//! the severity and how long an event is kept; a name says exactly what happened and belongs to one type.

use serde::{Deserialize, Serialize};

/// What kind of thing happened. Closed: a new one is a new version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    Login,
    Logout,
    LoginFailed,
    MfaEnabled,
    MfaDisabled,
    DataRead,
    DataCreated,
    DataUpdated,
    DataDeleted,
    PermissionDenied,
    SecurityViolation,
    SuspiciousActivity,
    ConfigChanged,
    RoleAssigned,
    RoleRevoked,
    PermissionGranted,
    KeyChanged,
    DataExport,
    DataAnonymization,
    RetentionPolicyApplied,
    TenantChanged,
    System,
    AuditAccessed,
}

/// How long an event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetentionClass {
    Security,
    DataAccess,
    Default,
}

/// How loudly an event speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    Notice,
    Warning,
    Critical,
}

/// How an event's OCSF activity is found.
#[derive(Clone, Copy)]
enum Activity {
    Is(i64),
    /// Create 1, read 2, update 3, delete 4, other 99: classes 3004 and 6003.
    ByAction,
    /// Programmatic credential added 18, removed 19: class 3007.
    ByCredential,
}

use Activity::{ByAction, ByCredential, Is};
use EventType as T;
use RetentionClass::{DataAccess, Default as Year, Security};
use Severity::{Critical, Info, Notice, Warning};

/// One row per type: name, OCSF class, activity, retention class, severity. OCSF 1.9.
const TYPES: [(EventType, &str, i64, Activity, RetentionClass, Severity); 23] = [
    (T::Login, "login", 3002, Is(1), Security, Info),
    (T::Logout, "logout", 3002, Is(2), Security, Info),
    (T::LoginFailed, "login_failed", 3002, Is(1), Security, Notice),
    (T::MfaEnabled, "mfa_enabled", 3007, Is(12), Security, Info),
    (T::MfaDisabled, "mfa_disabled", 3007, Is(13), Security, Warning),
    (T::DataRead, "data_read", 6003, Is(2), DataAccess, Info),
    (T::DataCreated, "data_created", 6003, Is(1), DataAccess, Info),
    (T::DataUpdated, "data_updated", 6003, Is(3), DataAccess, Info),
    (T::DataDeleted, "data_deleted", 6003, Is(4), DataAccess, Info),
    (T::PermissionDenied, "permission_denied", 6003, ByAction, Security, Notice),
    (T::SecurityViolation, "security_violation", 2004, Is(1), Security, Critical),
    (T::SuspiciousActivity, "suspicious_activity", 2004, Is(1), Security, Warning),
    (T::ConfigChanged, "config_changed", 6003, Is(3), Year, Notice),
    (T::RoleAssigned, "role_assigned", 3007, Is(16), Security, Notice),
    (T::RoleRevoked, "role_revoked", 3007, Is(17), Security, Notice),
    (T::PermissionGranted, "permission_granted", 3007, Is(16), Security, Notice),
    (T::KeyChanged, "key_changed", 3007, ByCredential, Security, Notice),
    (T::DataExport, "data_export", 6003, Is(2), DataAccess, Notice),
    (T::DataAnonymization, "data_anonymization", 3004, Is(4), Security, Notice),
    (T::RetentionPolicyApplied, "retention_policy_applied", 3004, Is(4), Security, Notice),
    (T::TenantChanged, "tenant_changed", 3004, ByAction, Year, Info),
    (T::System, "system", 6003, ByAction, Year, Info),
    (T::AuditAccessed, "audit_accessed", 6003, Is(2), Security, Info),
];

impl EventType {
    /// All types, in the order of the list.
    pub fn all() -> impl Iterator<Item = EventType> {
        TYPES.iter().map(|row| row.0)
    }

    /// The type with this name.
    pub fn parse(name: &str) -> Option<Self> {
        TYPES.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    fn row(self) -> &'static (EventType, &'static str, i64, Activity, RetentionClass, Severity) {
        &TYPES[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// OCSF class, such as 3007.
    pub fn class(self) -> i64 {
        self.row().2
    }

    /// OCSF activity within the class; some depend on the permission's action.
    pub fn activity(self, action: &str) -> i64 {
        match (self.row().3, action) {
            (Is(activity), _) => activity,
            (ByCredential, "delete" | "revoke") => 19,
            (ByCredential, _) => 18,
            (ByAction, "create") => 1,
            (ByAction, "read") => 2,
            (ByAction, "update") => 3,
            (ByAction, "delete") => 4,
            (ByAction, _) => 99,
        }
    }

    pub fn retention(self) -> RetentionClass {
        self.row().4
    }

    pub fn severity(self) -> Severity {
        self.row().5
    }
}

impl RetentionClass {
    pub fn name(self) -> &'static str {
        match self {
            Security => "security",
            DataAccess => "data_access",
            Year => "default",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Security, DataAccess, Year].into_iter().find(|class| class.name() == name)
    }

    /// Days an event of this class is kept: seven years, three years, one year.
    pub fn days(self) -> u32 {
        match self {
            Security => 2_555,
            DataAccess => 1_095,
            Year => 365,
        }
    }
}

/// A name in use, and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventName {
    /// `<feature>.<noun_verb_past>`, at most 64 characters.
    pub name: &'static str,
    pub event_type: EventType,
}

const fn name(name: &'static str, event_type: EventType) -> EventName {
    EventName { name, event_type }
}

/// Every name that Rowhouse itself writes. Services declare theirs in the catalog directory.
pub const EVENTS: &[EventName] = &[
    name("access.approval_expired", T::ConfigChanged),
    name("access.approval_given", T::ConfigChanged),
    name("access.approval_refused", T::ConfigChanged),
    name("access.approval_requested", T::ConfigChanged),
    name("access.approval_withdrawn", T::ConfigChanged),
    name("access.constraint_changed", T::ConfigChanged),
    name("access.group_changed", T::ConfigChanged),
    name("access.member_added", T::RoleAssigned),
    name("access.member_removed", T::RoleRevoked),
    name("access.permission_denied", T::PermissionDenied),
    name("access.permission_granted", T::PermissionGranted),
    name("access.permission_revoked", T::RoleRevoked),
    name("access.resource_changed", T::ConfigChanged),
    name("access.resource_type_changed", T::ConfigChanged),
    name("access.role_assigned", T::RoleAssigned),
    name("access.role_changed", T::ConfigChanged),
    name("access.role_revoked", T::RoleRevoked),
    name("access.roles_activated", T::ConfigChanged),
    name("access.settings_changed", T::ConfigChanged),
    name("access.tenant_crossing_refused", T::SecurityViolation),
    name("api.catalog_applied", T::ConfigChanged),
    name("api.request_read", T::DataRead),
    name("api.request_created", T::DataCreated),
    name("api.request_updated", T::DataUpdated),
    name("api.request_deleted", T::DataDeleted),
    name("audit.clock_stepped", T::System),
    name("audit.events_exported", T::DataExport),
    name("audit.events_read", T::AuditAccessed),
    name("audit.gap.dropped", T::System),
    name("audit.hold_placed", T::RetentionPolicyApplied),
    name("audit.hold_released", T::RetentionPolicyApplied),
    name("audit.hold_reviewed", T::RetentionPolicyApplied),
    name("audit.key.rotate", T::KeyChanged),
    name("audit.log.opened", T::System),
    name("audit.log.restored", T::System),
    name("audit.pipeline.resume", T::System),
    name("audit.pipeline.tampered", T::SecurityViolation),
    name("audit.policy_changed", T::ConfigChanged),
    name("audit.rendering_failed", T::System),
    name("audit.retention.drop", T::RetentionPolicyApplied),
    name("audit.segment.close", T::System),
    name("billing.invoice_issued", T::DataCreated),
    name("billing.invoice_paid", T::DataUpdated),
    name("billing.plan_changed", T::ConfigChanged),
    name("billing.price_changed", T::ConfigChanged),
    name("billing.subscription_changed", T::ConfigChanged),
    name("deploy.node_admitted", T::ConfigChanged),
    name("deploy.node_drain_asked", T::ConfigChanged),
    name("deploy.node_drained", T::ConfigChanged),
    name("deploy.node_enrolled", T::ConfigChanged),
    name("deploy.node_resumed", T::ConfigChanged),
    name("deploy.node_revoked", T::ConfigChanged),
    name("deploy.node_started", T::System),
    name("identity.connection_created", T::ConfigChanged),
    name("identity.connection_changed", T::ConfigChanged),
    name("identity.connection_deleted", T::ConfigChanged),
    name("identity.connection_tested", T::ConfigChanged),
    name("identity.device_forgotten", T::DataUpdated),
    name("identity.sso_linked", T::DataUpdated),
    name("identity.sso_unlinked", T::DataUpdated),
    name("identity.sso_refused", T::SuspiciousActivity),
    name("identity.sso_bypassed", T::SuspiciousActivity),
    name("identity.authority_created", T::ConfigChanged),
    name("identity.authority_deleted", T::ConfigChanged),
    name("identity.certificate_reinstated", T::ConfigChanged),
    name("identity.certificate_revoked", T::ConfigChanged),
    name("identity.issuer_created", T::ConfigChanged),
    name("identity.issuer_deleted", T::ConfigChanged),
    name("identity.issuer_keys_changed", T::ConfigChanged),
    name("identity.application_allowed", T::DataUpdated),
    name("identity.application_registered", T::DataCreated),
    name("identity.application_removed", T::DataDeleted),
    name("identity.authorization_code_reused", T::SuspiciousActivity),
    name("identity.client_secret_created", T::DataCreated),
    name("identity.client_secret_revoked", T::DataDeleted),
    name("identity.key_counter_went_back", T::SuspiciousActivity),
    name("identity.login_failed", T::LoginFailed),
    name("identity.mfa_disabled", T::MfaDisabled),
    name("identity.mfa_enabled", T::MfaEnabled),
    name("identity.password_changed", T::DataUpdated),
    name("identity.refresh_token_reused", T::SuspiciousActivity),
    name("identity.session_ended", T::Logout),
    name("identity.session_started", T::Login),
    name("identity.user_changed", T::DataUpdated),
    name("identity.user_created", T::DataCreated),
    name("identity.user_unlocked", T::DataUpdated),
    name("identity.policy_changed", T::ConfigChanged),
    name("identity.token_keys_turned", T::ConfigChanged),
    name("identity.invitation_accepted", T::DataUpdated),
    name("identity.invitation_created", T::DataCreated),
    name("identity.invitation_resent", T::DataUpdated),
    name("identity.invitation_revoked", T::DataDeleted),
    name("identity.member_added", T::DataCreated),
    name("identity.member_removed", T::DataDeleted),
    name("identity.member_resumed", T::DataUpdated),
    name("identity.member_suspended", T::DataUpdated),
    name("keys.key_changed", T::KeyChanged),
    name("keys.key_created", T::KeyChanged),
    name("keys.key_disabled", T::KeyChanged),
    name("keys.key_enabled", T::KeyChanged),
    name("keys.key_renewed", T::KeyChanged),
    name("keys.key_revoked", T::KeyChanged),
    name("keys.key_rotated", T::KeyChanged),
    name("keys.service_account_changed", T::KeyChanged),
    name("keys.service_account_created", T::DataCreated),
    name("lifecycle.backup_expired", T::System),
    name("lifecycle.backup_failed", T::System),
    name("lifecycle.backup_requested", T::System),
    name("lifecycle.backup_taken", T::System),
    name("lifecycle.backup_verified", T::System),
    name("lifecycle.certificate_issued", T::DataDeleted),
    name("lifecycle.export_expired", T::System),
    name("lifecycle.export_fetched", T::DataExport),
    name("lifecycle.export_finished", T::DataExport),
    name("lifecycle.export_requested", T::DataExport),
    name("lifecycle.move_requested", T::System),
    name("lifecycle.inventory_differs", T::System),
    name("lifecycle.operation_abandoned", T::System),
    name("lifecycle.operation_cancelled", T::System),
    name("lifecycle.operation_resumed", T::System),
    name("lifecycle.operation_skipped", T::System),
    name("lifecycle.operation_stuck", T::System),
    name("lifecycle.restore_expired", T::System),
    name("lifecycle.restore_opened", T::System),
    name("lifecycle.restore_requested", T::System),
    name("lifecycle.restore_revealed", T::DataRead),
    name("lifecycle.tenant_activated", T::TenantChanged),
    name("lifecycle.tenant_erased", T::DataDeleted),
    name("lifecycle.tenant_failed", T::TenantChanged),
    name("lifecycle.tenant_moved", T::TenantChanged),
    name("lifecycle.tenant_provisioned", T::TenantChanged),
    name("lifecycle.tenant_erasure_confirmed", T::TenantChanged),
    name("lifecycle.tenant_leaving", T::TenantChanged),
    name("lifecycle.tenant_left", T::TenantChanged),
    name("lifecycle.tenant_reinstated", T::TenantChanged),
    name("lifecycle.tenant_resume_asked", T::TenantChanged),
    name("lifecycle.tenant_resumed", T::TenantChanged),
    name("lifecycle.tenant_suspended", T::TenantChanged),
    name("lifecycle.tier_change_ordered", T::TenantChanged),
    name("lifecycle.tier_changed", T::TenantChanged),
    name("limits.limit_changed", T::ConfigChanged),
    name("limits.override_changed", T::ConfigChanged),
    name("messages.message_resent", T::DataUpdated),
    name("messages.test_sent", T::DataCreated),
    name("metering.meter_changed", T::ConfigChanged),
    name("resources.enforcement_lifted", T::TenantChanged),
    name("resources.enforcement_set", T::TenantChanged),
    name("resources.quota_alerted", T::TenantChanged),
    name("resources.quota_changed", T::ConfigChanged),
    name("resources.quota_eased", T::TenantChanged),
    name("resources.quota_lifted", T::TenantChanged),
    name("resources.quota_reached", T::TenantChanged),
    name("resources.quota_warned", T::TenantChanged),
    name("routes.route_changed", T::ConfigChanged),
    name("routes.service_changed", T::ConfigChanged),
    name("routes.splits_changed", T::ConfigChanged),
    name("tenancy.cell_changed", T::ConfigChanged),
    name("tenancy.configuration_changed", T::ConfigChanged),
    name("tenancy.configuration_revealed", T::DataRead),
    name("tenancy.feature_changed", T::ConfigChanged),
    name("tenancy.flag_changed", T::ConfigChanged),
    name("tenancy.host_changed", T::ConfigChanged),
    name("tenancy.probe_succeeded", T::SecurityViolation),
    name("tenancy.rollout_changed", T::ConfigChanged),
    name("tenancy.tables_changed", T::ConfigChanged),
    name("tenancy.tenant_changed", T::TenantChanged),
    name("tenancy.tier_changed", T::ConfigChanged),
];

/// The entry of a name, if it is listed.
pub fn find(name: &str) -> Option<&'static EventName> {
    EVENTS.iter().find(|event| event.name == name)
}

/// Whether a text has the form of an event's name: a feature, a full stop, words of letters, digits and `_`,
/// at most 64 characters. Names that are part of the log's own format have further full stops.
pub fn is_event_name(text: &str) -> bool {
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    text.len() <= 64 && text.contains('.') && text.split('.').all(word)
}
