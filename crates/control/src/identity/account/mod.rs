//! What a person does with the own account, and what administrators do for people: sessions, factors, passwords, the sign-in policy.

mod devices_api;
mod explain_api;
mod keys_api;
mod me_api;
mod members;
mod members_api;
mod own;
mod phone;
mod policy_api;
mod preview;
mod step_up;

use utoipa_axum::router::OpenApiRouter;

use crate::Shared;

pub(super) use me_api::whose;
pub(super) use own::{
    Whose, add_factor, add_key, begun_factor, change_password, confirm_factor, key_options, new_codes,
    remove_factor, step_up_options, wants_mailed_code,
};
pub(super) use own::{begin, entitled};
pub(super) use phone::{add_number, confirm_number};
pub(super) use step_up::{Shown, step_up};

/// The routes of accounts.
pub fn routes() -> OpenApiRouter<Shared> {
    me_api::routes()
        .merge(keys_api::routes())
        .merge(members_api::routes())
        .merge(devices_api::routes())
        .merge(explain_api::routes())
        .merge(policy_api::routes())
}
