//! Tenants: who they are, what state they are in, how a request is resolved to one.

mod code;
pub mod features;
pub mod hosts;
pub mod residency;
pub mod resolution;
mod status;
mod tier;

pub use code::{CodeError, RESERVED_LABELS, check_code};
use serde::{Deserialize, Serialize};
pub use status::{Service, Status, SuspensionMode};
pub use tier::{QuotaValue, Tier, shipped_tiers};

/// How a tenant's data is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Shared tables under forced row-level security with a signed context.
    Shared,
    /// A schema and a login of its own.
    Schema,
    /// A database and a login of its own.
    Database,
    /// A server and an application of its own.
    Instance,
}

impl Isolation {
    /// All levels, weakest separation first.
    pub const ALL: [Isolation; 4] =
        [Isolation::Shared, Isolation::Schema, Isolation::Database, Isolation::Instance];

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Isolation::Shared => "shared",
            Isolation::Schema => "schema",
            Isolation::Database => "database",
            Isolation::Instance => "instance",
        }
    }

    /// The level with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Isolation::ALL.into_iter().find(|level| level.as_str() == word)
    }
}
