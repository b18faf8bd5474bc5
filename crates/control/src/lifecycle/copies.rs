//! How many copies of its rows a tenant may have at once. Each takes room that no quota of the tenant counts: a restored
//! copy is a database of its own on the server that others share, a backup and an export are files.

use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{StoreError, Transaction};

use super::{backup, export, restore};
use crate::api::Caller;
use crate::{Control, tenancy};

/// The operator may have as many times more made of a tenant: it is who helps when a tenant has used up its own.
const OPERATOR_TIMES: u32 = 10;

/// Most copies of one tenant's rows, as its own administrators may ask for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// Restored copies that are being made or open.
    pub restores: u32,
    /// Backups that were asked for and have not expired; the day's own do not count.
    pub backups: u32,
    /// Exports that are being written or can be fetched.
    pub exports: u32,
}

impl Default for Copies {
    fn default() -> Self {
        Copies { restores: 2, backups: 10, exports: 3 }
    }
}

/// A kind of copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A restored one, beside the living.
    Restore,
    /// A backup that somebody asks for.
    Backup,
    /// An export.
    Export,
}

/// How many there are, and when the first of them goes.
pub type Kept = (i64, Option<Timestamp>);

impl Kind {
    async fn kept(self, transaction: &Transaction, tenant: TenantId) -> Result<Kept, StoreError> {
        match self {
            Kind::Restore => restore::kept(transaction, tenant).await,
            Kind::Backup => backup::kept(transaction, tenant).await,
            Kind::Export => export::kept(transaction, tenant).await,
        }
    }

    fn bound(self, bounds: &Copies) -> u32 {
        match self {
            Kind::Restore => bounds.restores,
            Kind::Backup => bounds.backups,
            Kind::Export => bounds.exports,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Kind::Restore => "restored copies",
            Kind::Backup => "backups that were asked for",
            Kind::Export => "exports",
        }
    }
}

/// Refuses if `tenant` has as many copies of this kind as `caller` may have made. Until `transaction` ends nobody else
/// asks for one, so that two at once are not both the last.
///
/// # Errors
/// 409 `lifecycle.too_many_copies`.
pub async fn refuse_too_many(
    control: &Control,
    transaction: &Transaction,
    caller: &Caller,
    (tenant, copied): (TenantId, Kind),
) -> Result<(), Refusal> {
    tenancy::lock(transaction, tenant).await?;
    let times = if caller.is_operator() { OPERATOR_TIMES } else { 1 };
    let bound = copied.bound(&control.settings.backups.copies).saturating_mul(times);
    let (kept, first_ends) = copied.kept(transaction, tenant).await?;
    if kept < i64::from(bound) {
        return Ok(());
    }
    let until = first_ends.map_or_else(String::new, |at| format!("; the first goes at {at}"));
    let words = format!("The tenant has {kept} {}, and may have {bound}{until}.", copied.words());
    Err(Refusal::new(&kind::TOO_MANY_COPIES, words))
}
