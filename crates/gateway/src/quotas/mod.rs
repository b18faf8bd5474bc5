//! Quotas on the path: what the plan still allows, counted in memory, shared by all cores.

mod book;
mod counter;

pub(crate) use book::{QuotaBook, QuotaDesk, known};
pub(crate) use counter::{QuotaCounter, Reservation};
