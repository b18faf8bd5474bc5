//! What a person has besides a password: an authenticator program (TOTP), and recovery codes for the day it is lost.
//!
//! No code works twice, whoever asks at once and whatever is restarted: taking one is a comparison and a change in one statement, in the
//! transaction of what it opens.

mod queries;
mod recovery;
mod totp;

pub(super) use queries::{active, codes_left, drop_codes, list, owned, revoke};
pub(super) use recovery::{make_codes, use_code};
pub(super) use totp::{Enrolment, confirm, enrol, take_code};
