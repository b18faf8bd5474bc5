//! Signing in: a name, a password, what the tenant asks beyond, a session. Each step is answered so that nobody learns who exists.
//!
//! Nothing is stored for a sign-in until its password was right. Tries are counted before the password is looked at, in one statement, so
//! that no number of them at once reaches it more often than the policy lets. A browser that its owner trusts counts for itself, so
//! that a stranger's wrong tries shut nobody out who has been here before; a mailed link opens the lock at once.

mod advance;
mod api;
mod attempt;
pub(super) mod devices;
mod explain;
mod factor_step;
mod flow;
mod locked;
mod mail_code;
mod passkey;
mod passkey_api;
pub(super) mod policy;
mod progress;
mod proven;
mod queries;
mod reset;
mod source;
mod text_code;
mod text_queries;
mod throttle;
mod wire;

pub(super) use advance::admitted;
pub use api::routes;
pub(super) use api::{CodeAsked, CodeWay, basic};
pub(super) use attempt::{Told, prove_password};
pub(super) use explain::{SignInExplanation, explain};
pub(super) use factor_step::{
    begin_enrolment, begun_enrolment, choose_tenant, count_guess, may_guess, show_factor, take_recovery,
};
pub(super) use flow::start;
pub(super) use locked::counted_password;
pub(super) use locked::{Lock, is_locked, locks, name_key, unlock};
pub(super) use mail_code::{Way, code_digest, mail_code, mail_own_code};
pub(super) use passkey::{begin_key_enrolment, enrol_key, key_options, show_key};
pub(super) use passkey_api::KeyKindBody;
pub(super) use progress::Progress;
pub(super) use proven::{Begun, begin_proven};
pub(super) use queries::void_links as void_mailed;
pub(super) use queries::{standing_elsewhere, standing_of, tenants_of};
pub(super) use reset::{fit, forgotten, set, set_by_link, told};
pub use reset::{holder_of, mail_link};
pub use source::{Source, Sources};
pub(super) use text_code::{proven as text_proven, text_code, text_own_code, text_to_prove};
pub(super) use throttle::{Window, clear as cleared, reopen as reopened, spend};
pub(super) use wire::EnrolmentAnswer;
