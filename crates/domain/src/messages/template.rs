//! The closed list of messages. A template's name stands in the API, in files that replace its text, and in metrics; what
//! it says is text of the control plane, which a test holds against the values listed here.

/// How urgent a message is, and whether a person may mute it. More urgent ones are sent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// About somebody's account: never muted. Its codes and links are forgotten once it is sent.
    Security,
    /// About something that happened.
    Transactional,
    /// Can wait.
    Digest,
}

impl Priority {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::Security => "security",
            Priority::Transactional => "transactional",
            Priority::Digest => "digest",
        }
    }

    /// As it is stored: the smaller, the sooner.
    pub fn rank(self) -> i16 {
        match self {
            Priority::Security => 0,
            Priority::Transactional => 1,
            Priority::Digest => 2,
        }
    }
}

/// One kind of message.
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    /// Its name, as in `invitation`.
    pub name: &'static str,
    /// How urgent it is.
    pub priority: Priority,
    /// Values that whoever queues it must give. Beside these, every text may use `brand`, `tenant_name` and `tenant_code`.
    pub needs: &'static [&'static str],
    /// Those of them that let somebody in: never shown, and forgotten once the message is sent.
    pub secrets: &'static [&'static str],
}

macro_rules! templates {
    ($($constant:ident = $name:literal, $priority:ident, [$($needs:literal),*], secret [$($secret:literal),*];)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub static $constant: Template = Template {
                name: $name,
                priority: Priority::$priority,
                needs: &[$($needs),*],
                secrets: &[$($secret),*],
            };
        )*
        /// All of them.
        pub static ALL: &[&Template] = &[$(&$constant),*];
    };
}

templates! {
    // People and their accounts.
    INVITATION = "invitation", Security, ["inviter", "link", "expires"], secret ["link"];
    VERIFY_EMAIL = "verify_email", Security, ["link", "code", "expires"], secret ["link", "code"];
    SMS_CODE = "sms_code", Security, ["code", "what"], secret ["code"];
    EMAIL_CODE = "email_code", Security, ["code", "expires"], secret ["code"];
    PASSWORD_RESET = "password_reset", Security, ["link", "expires"], secret ["link"];
    UNLOCK = "unlock", Security, ["until", "link", "expires"], secret ["link"];
    NEW_DEVICE = "new_device", Security, ["at", "address", "agent"], secret [];
    FACTOR_CHANGED = "factor_changed", Security, ["what", "at"], secret [];
    RECOVERY_CODE_USED = "recovery_code_used", Security, ["at", "left"], secret [];
    EMAIL_CHANGE_OLD = "email_change_old", Security, ["link", "expires"], secret ["link"];
    EMAIL_CHANGE_NEW = "email_change_new", Security, ["link", "expires"], secret ["link"];
    RECOVERY_REQUESTED = "recovery_requested", Security, ["at", "link", "expires"], secret ["link"];
    KEY_EXPIRING = "key_expiring", Transactional, ["key", "expires"], secret [];
    KEY_LEAKED = "key_leaked", Security, ["key", "source"], secret [];
    SECURITY_ALERT = "security_alert", Security, ["what", "at"], secret [];
    SSO_CERTIFICATE_EXPIRING = "sso_certificate_expiring", Transactional, ["connection", "expires"], secret [];
    APPROVAL_REQUESTED = "approval_requested", Transactional, ["who", "what", "approval", "expires"], secret [];
    ACCESS_REVIEW_DUE = "access_review_due", Transactional, ["due"], secret [];

    // A tenant's life.
    WELCOME = "welcome", Transactional, ["link"], secret [];
    TENANT_SUSPENDED = "tenant_suspended", Transactional, ["reason"], secret [];
    TENANT_RESUMED = "tenant_resumed", Transactional, [], secret [];
    TIER_CHANGED = "tier_changed", Transactional, ["from", "to"], secret [];
    TENANT_MOVED = "tenant_moved", Transactional, ["from", "to"], secret [];
    TENANT_LEAVING = "tenant_leaving", Transactional, ["erased_at"], secret [];
    TENANT_LEFT = "tenant_left", Transactional, ["link"], secret [];
    BACKUP_FAILED = "backup_failed", Transactional, ["problem"], secret [];
    EXPORT_READY = "export_ready", Transactional, ["link", "expires"], secret ["link"];
    RELEASE_ROLLED_BACK = "release_rolled_back", Transactional, ["service", "release", "reason"], secret [];
    OPERATION_STUCK = "operation_stuck", Transactional, ["operation", "kind", "step", "problem"], secret [];
    HOST_FAILING = "host_failing", Transactional, ["host", "problem"], secret [];

    // What is used, and what it costs.
    QUOTA_WARNING = "quota_warning", Transactional, ["resource", "usage", "quota", "percentage", "action"], secret [];
    QUOTA_ALERT = "quota_alert", Transactional, ["resource", "usage", "quota", "percentage", "action"], secret [];
    QUOTA_REACHED = "quota_reached", Transactional, ["resource", "usage", "quota", "percentage", "action"], secret [];
    QUOTA_LIFTED = "quota_lifted", Transactional, ["resource", "usage", "quota", "percentage", "action"], secret [];
    BUDGET_ALERT = "budget_alert", Transactional, ["budget", "amount", "limit", "percentage"], secret [];
    INVOICE_ISSUED = "invoice_issued", Transactional, ["number", "amount", "due"], secret [];
    INVOICE_OVERDUE = "invoice_overdue", Transactional, ["number", "amount", "due"], secret [];
    PAYMENT_FAILED = "payment_failed", Transactional, ["number", "amount", "reason"], secret [];

    // The operator's and the auditor's.
    ERASURE_DONE = "erasure_done", Transactional, ["request"], secret [];
    WEBHOOK_DISABLED = "webhook_disabled", Transactional, ["webhook", "reason"], secret [];
    FINDING_OPENED = "finding_opened", Transactional, ["finding", "severity"], secret [];
}

/// The template of this name.
pub fn named(name: &str) -> Option<&'static Template> {
    ALL.iter().copied().find(|template| template.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_secrets_are_among_the_values() {
        for (at, template) in ALL.iter().enumerate() {
            assert!(!ALL[..at].iter().any(|other| other.name == template.name), "{}", template.name);
            assert!(template.secrets.iter().all(|own| template.needs.contains(own)), "{}", template.name);
            assert_eq!(named(template.name), Some(*template));
        }
        assert_eq!(named("nothing"), None);
        assert!(Priority::Security.rank() < Priority::Digest.rank());
    }
}
