//! Every kind of refusal that Rowhouse can answer. The docs, `rowhouse explain`, the OpenAPI responses and
//! the tests are made from this table.

use super::{Fault, Kind};

macro_rules! catalogue {
    ($($name:ident = $code:literal, $status:literal, $fault:ident, $title:literal, $cure:literal;)*) => {
        /// One constant for each kind.
        pub mod kind {
            use super::{Fault, Kind};
            $(
                #[doc = $title]
                pub static $name: Kind = Kind { code: $code, status: $status, fault: Fault::$fault, title: $title, cure: $cure };
            )*
        }
        /// All kinds, in the order of the features.
        pub static ALL: &[&Kind] = &[$(&kind::$name),*];
    };
}

catalogue! {
    // api: what all faces share
    MALFORMED_JSON = "api.malformed_json", 400, Caller, "The body is not JSON", "Send well-formed UTF-8 JSON.";
    UNKNOWN_PARAMETER = "api.unknown_parameter", 400, Caller, "A parameter is not known", "Leave the parameter out, or correct its name.";
    UNSUPPORTED_MEDIA = "api.unsupported_media_type", 415, Caller, "The content type is not taken here", "Send `Content-Type: application/json`.";
    INVALID = "api.invalid", 422, Caller, "The request is understood and wrong", "Correct every field named in `errors`.";
    WRONG_KIND = "api.wrong_kind", 422, Caller, "The id is of another kind", "Use an id of the kind that is named.";
    TENANT_REQUIRED = "api.tenant_required", 422, Caller, "Say which tenant", "Add `?tenant=` with a tenant's id or code.";
    NOT_FOUND = "api.not_found", 404, Caller, "There is no such thing", "Check the id; another tenant's things are not shown.";
    METHOD_NOT_ALLOWED = "api.method_not_allowed", 405, Caller, "This path has no such method", "Use a method from the `Allow` header.";
    TOO_LARGE = "api.too_large", 413, Caller, "The body is too large", "Send less at once.";
    CURSOR_INVALID = "api.cursor_invalid", 422, Caller, "The cursor is not of this query", "Start again without a cursor.";
    IDEMPOTENCY_MISMATCH = "api.idempotency_mismatch", 422, Caller, "The key was used for another request", "Use a fresh Idempotency-Key for a new request.";
    IDEMPOTENCY_RUNNING = "api.idempotency_running", 409, Caller, "The first request still runs", "Ask again in a second.";
    CHANGED_MEANWHILE = "api.changed_meanwhile", 412, Caller, "It was changed meanwhile", "Read it again and repeat your change on what it is now.";
    PRECONDITION_REQUIRED = "api.precondition_required", 428, Caller, "`If-Match` is missing", "Send the ETag you read in `If-Match`.";
    PLAN_STALE = "api.plan_stale", 409, Caller, "The plan is out of date", "Run diff again and apply the new plan.";
    CATALOG_INVALID = "api.catalog_invalid", 422, Caller, "The catalogue has errors", "Correct each place named in `errors`; nothing was changed.";
    RATE_LIMITED = "api.busy", 503, Ours, "Too busy just now", "Ask again after the time in `Retry-After`.";
    UNAVAILABLE = "api.unavailable", 503, Ours, "Not available just now", "Ask again shortly; nothing was changed.";
    INTERNAL = "api.internal", 500, Ours, "Something went wrong on our side", "Quote the request id to support.";

    // tenancy
    TENANT_CODE_TAKEN = "tenancy.code_taken", 409, Caller, "Tenant code is taken", "Choose another code.";
    ISOLATION_NOT_ALLOWED = "tenancy.isolation_not_allowed", 422, Caller, "The tier does not allow this isolation", "Choose an isolation that the tier allows.";
    UNKNOWN_TIER = "tenancy.unknown_tier", 422, Caller, "There is no such tier", "Choose one of the catalogue's tiers.";
    TIER_IN_USE = "tenancy.tier_in_use", 409, Caller, "The tier is in use", "Move its tenants to another tier first.";
    CONFLICTING_SIGNALS = "tenancy.conflicting_signals", 400, Caller, "The request names two tenants", "Let host, header, path and credential name the same tenant.";
    TENANT_UNKNOWN = "tenancy.unknown", 404, Caller, "No such tenant", "Check the host name, header or path that names the tenant.";
    TENANT_UNRESOLVED = "tenancy.unresolved", 400, Caller, "The request names no tenant", "Use the tenant's subdomain, `X-Tenant-Id`, `/t/{code}/` or a tenant's credential.";
    UNKNOWN_HOST = "tenancy.unknown_host", 421, Caller, "This host is not served here", "Use a host name of this platform.";
    TENANT_SUSPENDED = "tenancy.suspended", 403, Caller, "The tenant is suspended", "Ask the operator to resume the tenant.";
    TENANT_LEAVING = "tenancy.leaving", 403, Caller, "The tenant is leaving", "Only export is open now.";
    TENANT_NOT_READY = "tenancy.not_ready", 503, Ours, "The tenant is being set up", "Ask again in a few seconds.";
    HOST_TAKEN = "tenancy.host_taken", 409, Caller, "The domain is taken", "Use another name, or take it from its tenant first.";
    HOST_NOT_ALLOWED = "tenancy.host_not_allowed", 422, Caller, "The domain cannot be a tenant's", "Use a host name outside the platform's own domains.";
    DATABASE_BUSY = "tenancy.database_busy", 503, Ours, "The tenant's database is busy", "Ask again in a second.";
    NO_CAPACITY = "tenancy.no_capacity", 409, Ours, "No cell has room", "Add a cell, or raise a budget.";
    TABLES_INVALID = "tenancy.tables_invalid", 422, Caller, "The service's tables do not fit the rules", "Correct each finding in `errors`.";
    ROLLOUT_RUNNING = "tenancy.rollout_running", 409, Caller, "A rollout of this service runs", "Wait for it, or stop it first.";
    ROLLOUT_STATE = "tenancy.rollout_state", 409, Caller, "The rollout is not in a state that permits it", "Read the rollout; its state says what may follow.";
    CONFIGURATION_INVALID = "tenancy.configuration_invalid", 422, Caller, "The value does not fit", "Correct the fields in `errors`.";
    UNKNOWN_FEATURE = "tenancy.unknown_feature", 422, Caller, "There is no such feature flag", "Use a flag of the catalogue, or declare it there.";
    RESIDENCY = "tenancy.residency", 422, Caller, "The tenant's data may not rest there", "Choose one of the regions named in `errors`, or agree on another by contract.";
    RESIDENCY_CONFLICT = "tenancy.residency_conflict", 409, Caller, "Something of the tenant lies outside the residency", "Move or remove what `errors` names first, or allow its region.";
    SEALED_UNAVAILABLE = "tenancy.sealed_unavailable", 503, Ours, "A sealed value cannot be opened just now", "Ask the operator; what is not sealed can be read.";

    // lifecycle
    WRONG_STATUS = "lifecycle.wrong_status", 409, Caller, "The tenant's status does not permit it", "Wait for the running operation, or choose a change that fits the status.";
    STEP_FAILED = "lifecycle.step_failed", 500, Ours, "A step of a long change failed", "Read the operation; `rowhouse operation explain` says what may be done.";
    NOT_ERASED = "lifecycle.not_erased", 500, Ours, "Something of an erased tenant is left", "Remove what the operation names, then resume it.";
    CANCELLED = "lifecycle.cancelled", 409, Caller, "The operation was cancelled", "Begin it again if it is wanted after all.";
    OVER_QUOTA = "lifecycle.over_quota", 422, Caller, "More is used than the new tier gives", "Let the tenant use less, choose another tier, or send `allow_over_quota`.";
    LIFECYCLE_BUSY = "lifecycle.busy", 409, Caller, "Another change of this tenant runs", "Wait for the operation named in the detail.";
    HELD = "lifecycle.held", 409, Caller, "A legal hold keeps it", "Ask who owns the case named in the detail; when the hold is released, try again.";
    LIFECYCLE_EXPIRED = "lifecycle.expired", 410, Caller, "Its time is over", "Choose a newer one, or ask for another.";
    SHREDDED = "lifecycle.shredded", 410, Caller, "Its key was destroyed", "Nothing can bring it back; that was the purpose.";
    BACKUP_UNFINISHED = "lifecycle.unfinished", 409, Caller, "It is not finished", "Wait until its state is `ok`, or choose another.";
    BACKUP_UNUSABLE = "lifecycle.backup_unusable", 409, Ours, "The backup is not what was written", "Restore another one; keep the file for the investigation.";
    TOO_MANY_COPIES = "lifecycle.too_many_copies", 409, Caller, "The tenant has as many copies of its rows as it may", "Remove a restored copy that is not needed any more, or wait until the time named in the detail.";
    NOTHING_TO_DO = "lifecycle.nothing_to_do", 422, Caller, "It is so already", "Nothing needs to be done.";

    // identity and keys
    NO_CREDENTIALS = "identity.no_credentials", 401, Caller, "No credential was sent", "Send `Authorization: Bearer` with an API key or an access token.";
    AMBIGUOUS_CREDENTIALS = "identity.ambiguous_credentials", 401, Caller, "More than one credential was sent", "Send exactly one credential.";
    CREDENTIALS_WRONG = "identity.credentials_wrong", 401, Caller, "Name or password is wrong", "Try again, or ask for a new password; after too many tries the password is not looked at for a while.";
    CODE_WRONG = "identity.code_wrong", 401, Caller, "The code is wrong", "Enter the code that is shown now, or use another factor.";
    CODE_USED = "identity.code_used", 401, Caller, "The code was used already", "Wait for the next one: each works once.";
    FLOW_OVER = "identity.flow_over", 410, Caller, "This sign-in is over", "Begin anew.";
    TOKEN_INVALID = "identity.token_invalid", 401, Caller, "The access token is not valid here", "Sign in again, or refresh the token.";
    TOKEN_EXPIRED = "identity.token_expired", 401, Caller, "The access token has expired", "Refresh it.";
    SUBJECT_UNTRUSTED = "identity.subject_untrusted", 401, Caller, "Nobody trusts the token's subject", "Add its issuer, audience and subject to the `trust` of a service account.";
    ISSUER_INVALID = "identity.issuer_invalid", 422, Caller, "The issuer is not well-formed", "Correct each field named in `errors`.";
    ISSUER_TAKEN = "identity.issuer_taken", 409, Caller, "The tenant has registered this issuer already", "Change the one that is there.";
    ISSUER_IN_USE = "identity.issuer_in_use", 409, Caller, "Service accounts trust this issuer", "Take it out of their `trust` first.";
    ISSUER_UNREACHABLE = "identity.issuer_unreachable", 422, Caller, "The issuer's keys cannot be fetched", "See `detail`; serve the discovery document and the keys over https at a public address.";
    CONNECTION_INVALID = "identity.connection_invalid", 422, Caller, "The connection is not well-formed", "Correct each field named in `errors`.";
    CONNECTION_UNREACHABLE = "identity.connection_unreachable", 422, Caller, "The provider's documents cannot be fetched", "See `detail`; the provider serves its discovery document and keys over https at a public address.";
    CONNECTION_WRONG_STATE = "identity.connection_wrong_state", 409, Caller, "The connection does not permit it as it is", "Read it again.";
    SSO_NOT_TESTED = "identity.sso_not_tested", 409, Caller, "Single sign-on cannot be enforced yet", "Activate a connection, test it as it is now, and have an administrator with a passkey.";
    SSO_REQUIRED = "identity.sso_required", 403, Caller, "The tenant is entered by single sign-on only", "Sign in by the organisation's own provider; an administrator may use a passkey.";
    SSO_REFUSED = "identity.sso_refused", 403, Caller, "Single sign-on did not let you in", "See `detail`; ask an administrator of the tenant.";
    SSO_PROVIDER = "identity.sso_provider", 502, Upstream, "The provider's answer was not taken", "See `detail`; try again, or ask an administrator of the tenant.";
    CERTIFICATE_INVALID = "identity.certificate_invalid", 401, Caller, "The client certificate is not valid here", "Show one that is valid now, for clients, and leads to an authority of the tenant in at most three steps.";
    CERTIFICATE_REVOKED = "identity.certificate_revoked", 401, Caller, "The client certificate was revoked", "Use another certificate.";
    CERTIFICATE_UNTRUSTED = "identity.certificate_untrusted", 401, Caller, "The client certificate means no service account", "Add what it is known by to the `certificates` of one service account.";
    AUTHORITY_INVALID = "identity.authority_invalid", 422, Caller, "The authority cannot be used", "Correct each field named in `errors`.";
    AUTHORITY_TAKEN = "identity.authority_taken", 409, Caller, "The tenant has registered this authority already", "Use the one that is there.";
    REVOCATION_TAKEN = "identity.revocation_taken", 409, Caller, "The certificate is revoked already", "Nothing needs to be done.";
    SESSION_ENDED = "identity.session_ended", 401, Caller, "The session has ended", "Sign in again.";
    STEP_UP_REQUIRED = "identity.step_up_required", 401, Caller, "Prove once more who you are", "Show what the answer names at `POST /v1/me/step_up`, then try again with the new token.";
    ENTRY_REFUSED = "identity.entry_refused", 403, Caller, "The tenant cannot be entered", "Ask an administrator of the tenant.";
    TOO_MANY_SECRETS = "identity.too_many_secrets", 409, Caller, "The account has two secrets already", "Revoke one that is not used any more.";
    TOO_MANY_APPLICATIONS = "identity.too_many_applications", 409, Caller, "The tenant has as many applications as it may", "Remove one that is not used any more.";
    LAST_FACTOR = "identity.last_factor", 409, Caller, "It is the last factor that the tenant asks for", "Add another one first.";
    FACTOR_WRONG_STATE = "identity.factor_wrong_state", 409, Caller, "The factor does not permit it as it is", "Read your factors again.";
    POLICY_TOO_WEAK = "identity.policy_weaker_than_floor", 422, Caller, "The policy is weaker than the operator allows", "Set each field named in `errors` at least as strictly.";
    POLICY_UNMET = "identity.policy_unmet", 409, Caller, "You do not meet this policy yourself", "Sign in as strongly as it asks first.";
    TOO_MANY_ATTEMPTS = "identity.too_many_attempts", 429, Caller, "Too many attempts", "Wait for the time in `Retry-After`.";
    LINK_USED = "identity.link_used", 410, Caller, "The link is used up, replaced or too old", "Ask for a new one.";
    PASSWORD_WEAK = "identity.password_weak", 422, Caller, "The password is too easy to guess", "Choose a longer one, as several words that do not belong together.";
    IDENTITY_BUSY = "identity.busy", 503, Ours, "Too many people sign in at once", "Try again in a moment.";
    MEMBERSHIP_WRONG_STATUS = "identity.wrong_status", 409, Caller, "The membership does not permit it as it is", "Read the member again.";
    ALREADY_MEMBER = "identity.already_member", 409, Caller, "The person belongs to the tenant already", "Give the person a role with a grant.";
    KEY_INVALID = "keys.invalid", 401, Caller, "The API key is not valid here", "Check the key, and that it belongs to this tenant.";
    KEY_REVOKED = "keys.revoked", 401, Caller, "The API key was revoked", "Use another key.";
    KEY_DISABLED = "keys.disabled", 401, Caller, "The API key is disabled", "Enable the key or use another.";
    KEY_EXPIRED = "keys.expired", 401, Caller, "The API key has expired", "Create a new key.";
    KEY_NOT_YET_VALID = "keys.not_yet_valid", 401, Caller, "The API key is not valid yet", "Wait until its `not_before`.";
    KEY_OWNER_DISABLED = "keys.owner_disabled", 401, Caller, "The key's owner is disabled", "Ask an administrator of the tenant.";
    KEY_WRONG_SERVICE = "keys.wrong_service", 403, Caller, "The key is not for this service", "Use a key that lists the service.";
    KEY_WRONG_REGION = "keys.wrong_region", 421, Caller, "The key belongs to another region", "Call the region named in the key.";
    KEY_IP_DENIED = "keys.ip_denied", 403, Caller, "The key may not be used from this address", "Call from an address the key allows.";
    KEY_NOT_IN_TIER = "keys.not_in_tier", 403, Caller, "The tier has no API access", "Choose a tier with `api_access`.";
    KEY_BAD_EXPIRY = "keys.bad_expiry", 422, Caller, "The expiry is not allowed", "Choose a time within the tenant's policy.";
    KEY_INVALID_FIELD = "keys.invalid_field", 422, Caller, "A field of the key is wrong", "Correct the fields in `errors`.";
    KEY_WRONG_STATE = "keys.wrong_state", 409, Caller, "The key's state forbids it", "Create a new key instead.";
    ACCOUNT_NAME_TAKEN = "keys.name_taken", 409, Caller, "The name is taken", "Choose another name.";
    ACCOUNT_TOO_MANY = "keys.too_many_accounts", 422, Caller, "The tenant has its full number of service accounts", "Give one that exists another key instead.";
    KEY_TOO_MANY = "keys.too_many", 422, Caller, "The tenant has its full number of keys", "Revoke keys that are not used.";

    // access
    ACCESS_DENIED = "access.denied", 403, Caller, "Permission is missing", "Ask an administrator for the permission named in the detail.";
    ACCESS_ESCALATION = "access.escalation", 403, Caller, "You cannot give more than you have", "Ask someone who holds these permissions.";
    UNKNOWN_PERMISSION = "access.unknown_permission", 422, Caller, "There is no such permission", "Use `type:action` of a declared resource type.";
    UNKNOWN_ROLE = "access.unknown_role", 422, Caller, "There is no such role", "Use a role of the catalogue or of the tenant.";
    LAST_ADMINISTRATOR = "access.last_admin", 409, Caller, "The tenant would be left without an administrator", "Make somebody else an administrator first.";
    ACCESS_PREDEFINED = "access.predefined", 422, Caller, "The role is the catalogue's", "Make a role of another name that inherits it.";
    NOT_COMPOSABLE = "access.not_composable", 422, Caller, "Tenants cannot put this permission into a role", "Inherit a role of the catalogue that has it, or ask the operator.";
    ACCESS_TOO_MANY = "access.too_many", 422, Caller, "There would be too many", "Remove what is not used.";
    ROLE_NAME_TAKEN = "access.name_taken", 409, Caller, "The name is taken", "Change what has this name, or choose another name.";
    ROLE_IN_USE = "access.role_in_use", 409, Caller, "The role is in use", "Take back its grants, and what inherits it, first.";
    ROLES_EXCLUDE_EACH_OTHER = "access.roles_exclude_each_other", 409, Caller, "These roles may not be active together", "Activate fewer of the roles in `together`: at most as many as the constraint lets be active.";
    SOD_VIOLATION = "access.sod_violation", 409, Caller, "What is kept apart would be together", "Take back one of the roles or permissions in `offences`, or change the constraint.";
    TOO_MANY_MEMBERS = "access.too_many_members", 409, Caller, "A role would have too many members", "Take the role from somebody in `members` first, or raise its `max_members`.";
    MISSING_PREREQUISITE = "access.missing_prerequisite", 409, Caller, "A role needs another one besides", "Give the role in `required` first and for as long; take back the role that needs it before it.";
    SELF_APPROVAL = "access.self_approval", 409, Caller, "Nobody approves what is their own", "Let somebody else decide it who could do it himself.";
    APPROVAL_STALE = "access.approval_stale", 409, Caller, "It does not fit any more", "Look at the approval's state; ask for it anew if it is still wanted.";
    APPROVAL_EXPIRED = "access.approval_expired", 410, Caller, "Nobody has decided it in time", "Ask for it anew.";
    APPROVAL_NEEDED = "access.approval_needed", 409, Caller, "This takes two people", "Ask for it with `POST /v1/grants` as a person who has signed in; somebody else approves it.";
    BAD_CONDITION = "access.bad_condition", 422, Caller, "The condition is not well-formed", "Correct it at the line and column named; conditions are expressions of the Cedar language.";
    ACCESS_CYCLE = "access.cycle", 409, Caller, "There would be a circle", "Remove one of the links named in the detail.";

    // limits and quotas
    LIMIT_EXCEEDED = "limits.exceeded", 429, Caller, "Quota Exceeded", "Slow down; come back after the time in `Retry-After`.";
    LIMIT_COST_TOO_LARGE = "limits.cost_too_large", 413, Caller, "The cost can never fit the limit", "Split the request.";
    LIMIT_UNAVAILABLE = "limits.unavailable", 503, Ours, "Limits cannot be counted just now", "Ask again in a second; nothing was done.";
    LIMIT_BAD_VALUE = "limits.bad_value", 422, Caller, "The limit's numbers are out of bounds", "Correct the numbers in `errors`.";
    LIMIT_TOO_SLOW = "limits.too_slow", 422, Caller, "The limit takes too long to come back", "Raise the quota, or lower the burst or the window.";
    LIMIT_TOO_FINE = "limits.too_fine", 422, Caller, "The limit's numbers cannot be counted exactly", "Choose fewer units, or a window of whole seconds.";
    STORAGE_BLOCKED = "resources.storage_blocked", 403, Caller, "The plan's storage is full", "Delete something, or choose a larger tier.";
    CREATION_BLOCKED = "resources.creation_blocked", 403, Caller, "The plan has room for no more of these", "Remove one, or choose a larger tier.";
    UNKNOWN_RESOURCE_METER = "resources.unknown_meter", 404, Caller, "There is no such meter", "Use a meter of the catalogue.";
    INVALID_QUANTITY = "resources.invalid_quantity", 422, Caller, "The quantity is not one", "Send a decimal string that is not negative, below 10^20, with at most 12 fraction digits.";
    NOT_PUSHED = "resources.not_pushed", 409, Caller, "The meter's level is not pushed", "It is measured or counted by itself; ask for a measurement instead.";
    QUOTA_EXCEEDED = "resources.quota_exceeded", 429, Caller, "The plan's quota is used up", "Wait for the next window, or choose a larger tier.";

    // routes
    CORS_REFUSED = "routes.cors_refused", 403, Caller, "Pages of this origin may not call the service", "Add the origin to the service's `cors.origins` in the catalogue.";
    HTTPS_ONLY = "routes.https_only", 308, Caller, "This host is reached over https", "Send the request to the address in `Location`; a credential that was sent in the clear is better replaced.";
    MISDIRECTED = "routes.misdirected", 421, Caller, "The request came over a connection that is not for it", "Open a connection of its own for this host, in the scheme that the target names.";
    NO_MATCH = "routes.no_match", 404, Caller, "No route matches", "Check method and path.";
    ROUTE_METHOD = "routes.method_not_allowed", 405, Caller, "No route matches this method", "Use a method from the `Allow` header.";
    BODY_TOO_LARGE = "routes.body_too_large", 413, Caller, "The body is too large", "Send a smaller body.";
    HEADERS_TOO_LARGE = "routes.headers_too_large", 431, Caller, "The headers are too large", "Send fewer or shorter headers.";
    MALFORMED_REQUEST = "routes.malformed_request", 400, Caller, "The request is malformed", "Send a well-formed HTTP request.";
    UPSTREAM_FAILED = "routes.upstream_failed", 502, Upstream, "The service did not answer properly", "Try again; the operator has been told.";
    NO_UPSTREAM = "routes.no_upstream", 503, Upstream, "No copy of the service is running", "Try again shortly.";
    CIRCUIT_OPEN = "routes.circuit_open", 503, Upstream, "The service is being left alone", "Come back after the time in `Retry-After`.";
    UPSTREAM_TIMEOUT = "routes.upstream_timeout", 504, Upstream, "The service took too long", "Try again; if it goes on, ask the operator.";
    ROUTE_CONFLICT = "routes.conflict", 422, Caller, "Two routes match the same request", "Make one more specific, or give it a higher priority.";
    DIRECTORY_STALE = "routes.directory_stale", 503, Ours, "This gateway has not heard from the control plane for too long", "Ask another gateway; the operator has been told.";
    NODE_TAKEN = "deploy.node_taken", 409, Caller, "A node of this name is or was there", "Choose another name: places in a journal are told by it.";
    NODE_MALFORMED = "deploy.node_malformed", 422, Caller, "The node cannot be called so", "1 to 39 lower-case letters, digits and hyphens, a letter first.";
    ENROLMENT_REFUSED = "deploy.enrolment_refused", 403, Caller, "The enrolment token is not good", "Make a new one: `rowhouse node enrol`.";
    NODE_REFUSED = "deploy.node_refused", 403, Caller, "This node is not admitted", "Enrol it; a revoked node needs another name.";
    NODE_REVOKED = "deploy.node_revoked", 403, Caller, "This node was revoked", "A node that was revoked never comes back; enrol another name.";
    NODE_RELEASE = "deploy.node_release", 409, Caller, "The node and the control plane are of releases that do not understand each other", "Bring both to the same release.";
    JOURNAL_REPLACED = "deploy.journal_replaced", 409, Caller, "This is not the journal that the node had before", "Bring its journal back, or enrol the node under another name.";
    JOURNAL_UNAVAILABLE = "journal.unavailable", 503, Ours, "The request cannot be recorded", "Try again shortly; nothing was done.";

    // metering and billing
    METERING_MALFORMED = "metering.malformed", 400, Caller, "Not a usage event", "Send CloudEvents 1.0 in JSON.";
    METERING_REJECTED = "metering.rejected", 422, Caller, "No event was accepted", "Correct the events named in `rejected`.";
    UNKNOWN_METER = "metering.unknown_meter", 404, Caller, "There is no such meter", "Use a meter of the catalogue.";
    BAD_PRICE = "billing.bad_price", 422, Caller, "The price is not well-formed", "Correct the places in `errors`.";
    BAD_CURRENCY = "billing.bad_currency", 422, Caller, "The currency is not known", "Use a code of ISO 4217.";
    OUT_OF_RANGE = "billing.out_of_range", 422, Caller, "An amount is out of range", "Keep amounts below 10^15 minor units.";
    NO_SUBSCRIPTION = "billing.no_subscription", 404, Caller, "The tenant has no subscription", "Subscribe the tenant to a plan.";

    // messages
    MESSAGE_NOT_RESENDABLE = "messages.not_resendable", 409, Caller, "The message cannot be sent again", "Have a new one made by what caused it.";

    // audit
    AUDIT_UNAVAILABLE = "audit.unavailable", 503, Ours, "The change cannot be audited", "Try again shortly; nothing was changed.";
    AUDIT_RECOVERING = "audit.recovering", 503, Ours, "The audit log is being recovered", "An operator must run `rowhouse audit recover`.";
}

/// The kind with this code.
pub fn kind_by_code(code: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|kind| kind.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_well_formed() {
        let mut seen = std::collections::BTreeSet::new();
        for kind in ALL {
            assert!(seen.insert(kind.code), "{} stands twice", kind.code);
            let (feature, what) = kind.code.split_once('.').expect("feature.what");
            assert!(feature.chars().all(|c| c.is_ascii_lowercase()) && !what.is_empty());
            assert!((kind.status == 308 || (400..600).contains(&kind.status)) && !kind.cure.is_empty());
            assert!(kind.status < 500 || kind.fault != Fault::Caller, "{}", kind.code);
        }
    }
}
