//! Sessions: a person, signed in to one tenant. A session lives by a browser's cookie or by refresh tokens; access tokens are made
//! from it and end with it. Ending one is a row and a notice in one transaction: every gateway refuses its tokens as soon as it
//! has the directory that follows.

mod active_roles;
mod begin;
mod end;
mod issue;
pub(super) mod queries;
mod refresh;

pub use active_roles::{active_roles, keep_active_roles, load_active_roles};
pub(super) use begin::{Begun, COOKIE, Entrance, begin};
pub(super) use end::{end_all, end_every, end_one, ended};
pub(super) use issue::{access_token, ring};
pub use issue::{load_ended_sessions, token_keys};
pub(super) use queries::{ForApplication, SessionRow, forget_flows};
pub(super) use refresh::{application_of, refresh, revoke, unwelcome};

/// Longest life of a refresh token: 30 days.
pub(super) const REFRESH_S: i64 = 30 * 86_400;
