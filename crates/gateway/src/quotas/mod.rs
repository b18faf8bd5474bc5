//! Quotas on the path: what the plan still allows, counted in memory, shared by all cores; and what is imposed on a
//! tenant that has used it up.

mod book;
mod counter;
mod enforce;

pub(crate) use book::{QuotaBook, QuotaDesk};
pub(crate) use counter::{QuotaCounter, Reservation};
pub(crate) use enforce::{Asked, enforce, refusal, trickle};
