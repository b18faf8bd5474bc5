//! What a tenant may do with its rows just now: three letters, in the token, in `rh.place` and (from level
//! `schema` up) as memberships of the login.

use serde::{Deserialize, Serialize};

/// The rights of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// Read, write, delete.
    Full,
    /// Read and delete: a full storage quota stops growth, not tidying up.
    NoGrowth,
    /// Read: suspended for writing.
    ReadOnly,
    /// Nothing: blocked, leaving, not ready.
    None,
}

impl Rights {
    /// The letters of the token: a subset of `rwd`.
    pub fn letters(self) -> &'static str {
        match self {
            Rights::Full => "rwd",
            Rights::NoGrowth => "rd",
            Rights::ReadOnly => "r",
            Rights::None => "",
        }
    }

    /// Whether any row may be read.
    pub fn can_read(self) -> bool {
        self != Rights::None
    }

    /// Whether a writing transaction makes sense at all.
    pub fn can_change(self) -> bool {
        matches!(self, Rights::Full | Rights::NoGrowth)
    }
}
