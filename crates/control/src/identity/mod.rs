//! People: users, who belong to tenants; invitations, by which they come; passwords. What a person may do in a tenant are
//! grants of `access` to the user.
//!
//! For other features: [`count_members`] (the standing of the meter `users`), [`administrators`], [`address_of`],
//! [`may_enter`] (everything that is against a person's entering), [`erase_tenant`] (for a tenant that is erased), and the
//! first administrator of a new tenant: [`prepare_administrator`], [`invite_prepared`], [`forget_prepared`].
//!
//! Rows about a person are held in one order, so that nobody waits for somebody who waits: the password, the sign-in under way, the
//! membership, the user, sessions, the count of tries.

mod accept;
mod account;
mod administrators;
mod api;
mod application;
pub mod authorities;
mod client;
mod device;
mod email;
mod entry;
mod erase;
mod factor;
mod form;
mod hashing;
mod invitation;
mod invitation_api;
mod invitation_page;
mod invitation_queries;
pub mod issuers;
mod member_answer;
mod membership;
mod pages;
mod queries;
mod session;
mod sign_in;
mod sso;
mod token;
mod tokens;

pub use administrators::{address_of, administrators};
pub use api::routes;
pub use entry::{Entry, may_enter};
pub use erase::{Erased, erase_tenant};
pub use form::escape as escape_form;
pub use hashing::{Busy, Hashing, HashingSettings};
pub use invitation::{FirstAdministrator, forget_prepared, invite_prepared, prepare_administrator};
pub use queries::{
    MemberRow, MembershipStatus, UserRow, UserStatus, active_people, count_members, is_member,
    members_by_address,
};
pub use session::{active_roles, keep_active_roles, load_active_roles, load_ended_sessions, token_keys};
pub use sign_in::{Source, Sources, holder_of, mail_link as mail_reset_link};

/// All pages for people, which are not part of the API.
pub fn pages(own: crate::api::own::OwnApi) -> axum::Router<crate::Shared> {
    invitation_page::pages().merge(pages::routes(own))
}

/// Removes sessions and counters of tries that were over 30 days ago, and sign-ins, links and trusted browsers that are over.
///
/// # Errors
/// If the database fails.
pub async fn sweep(transaction: &rowhouse_store::Transaction) -> Result<(), rowhouse_store::StoreError> {
    let now = transaction.store().clock().now();
    session::queries::sweep(transaction, now - jiff::SignedDuration::from_hours(30 * 24), now).await
}
