//! What a person has besides a password: an authenticator program (TOTP), a number for texts, security keys and passkeys, and recovery codes for the day
//! they are lost.
//!
//! No code works twice, whoever asks at once and whatever is restarted: taking one is a comparison and a change in one statement, in the
//! transaction of what it opens.

mod credential;
mod credential_queries;
mod credential_wire;
mod phone;
mod queries;
mod recovery;
mod totp;

pub(super) use credential::{
    KeyKind, Proven, Whom, creation_options, note, own_request_options, register, request_options, take,
    take_challenge, wrong,
};
pub(super) use credential_queries::put_challenge;
pub(super) use credential_wire::CredentialBody;
pub(super) use phone::{begin_number, number_of};
pub(super) use queries::{
    active, codes_left, drop_codes, kinds_of, list, number_used, owned, owned_by, revoke, use_number,
};
pub(super) use recovery::{make_codes, use_code};
pub(super) use totp::{Enrolment, begun, confirm, enrol, take_code};
