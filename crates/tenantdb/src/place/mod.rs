//! Where one tenant lies, and making, closing and dropping it. Every step is repeatable: done twice is done once, and
//! a step that was cut short is finished by doing it again. Names are random and come from the caller, who remembers
//! them before it calls.

mod create;
pub mod erase;
mod fence;
mod gauge;
pub(crate) mod orphans;
mod retire;
mod rights;
mod search;
mod verify;

use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::Isolation;
use serde::{Deserialize, Serialize};

pub use create::create;
pub use fence::{end_writers, fence, wait_for_readers};
pub use gauge::{Counted, Gauge, count};
pub use retire::drop;
pub use rights::{set_epoch, set_password, set_rights};
pub use verify::{Verified, VerifyError, verify};

use crate::cell::{CellError, SCHEMAS_DATABASE, SHARED_DATABASE, SHARED_LOGIN};
use crate::name::{is_tenant_login, login_of, schema_of_service};

/// One tenant's place in a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Whose.
    pub tenant: TenantId,
    /// Level.
    pub isolation: Isolation,
    /// Database.
    pub database: String,
    /// `rh_app` on `shared`, the tenant's own login above.
    pub login: String,
    /// 1 at first; each move raises it.
    pub epoch: u64,
}

impl Place {
    /// The place of `tenant` on `isolation`, named after 8 random bytes (not used on `shared`), at epoch 1.
    pub fn new(tenant: TenantId, isolation: Isolation, random: [u8; 8]) -> Self {
        let own = login_of(random);
        let (database, login) = match isolation {
            Isolation::Shared => (SHARED_DATABASE.to_owned(), SHARED_LOGIN.to_owned()),
            Isolation::Schema => (SCHEMAS_DATABASE.to_owned(), own),
            Isolation::Database | Isolation::Instance => (own.clone(), own),
        };
        Place { tenant, isolation, database, login, epoch: 1 }
    }

    /// The schema of `service` here. On the level `schema` the tenant's `first` service gets the bare name.
    pub fn schema(&self, service: &str, first: bool) -> String {
        match (self.isolation, first) {
            (Isolation::Schema, true) => self.login.clone(),
            (Isolation::Schema, false) => format!("{}_{}", self.login, schema_of_service(service)),
            _ => schema_of_service(service),
        }
    }

    /// Where to install `schema` of this place's database; shared tables belong to no tenant.
    pub fn target<'a>(&'a self, schema: &'a str) -> crate::tables::Target<'a> {
        crate::tables::Target {
            database: &self.database,
            schema,
            isolation: self.isolation,
            login: &self.login,
            tenant: (self.isolation != Isolation::Shared).then_some(self.tenant),
        }
    }

    /// The groups of the login, one for each letter of its rights; `shared` has none.
    fn groups(&self) -> impl Iterator<Item = (char, String)> {
        ['r', 'w', 'd'].into_iter().map(|letter| (letter, format!("{}_{letter}", self.login)))
    }

    fn check(&self) -> Result<(), PlaceError> {
        let own = is_tenant_login(&self.login);
        let fits = match self.isolation {
            Isolation::Shared => self.login == SHARED_LOGIN,
            Isolation::Schema => own && self.database != SHARED_DATABASE,
            Isolation::Database | Isolation::Instance => own && self.database == self.login,
        };
        if fits && self.epoch >= 1 { Ok(()) } else { Err(PlaceError::Malformed(self.clone())) }
    }
}

/// Why a place could not be made, changed or dropped.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Names that do not fit the level.
    #[error("the names of this place do not fit its level: {0:?}")]
    Malformed(Place),
    /// There is no such place.
    #[error("{tenant} has no place in {database}")]
    Missing {
        /// Who.
        tenant: TenantId,
        /// Where.
        database: String,
    },
    /// The tenant has another place in the same database.
    #[error("{tenant} already has another place in {database}")]
    Occupied {
        /// Who.
        tenant: TenantId,
        /// Where.
        database: String,
    },
    /// The server refused.
    #[error(transparent)]
    Cell(#[from] CellError),
}

impl From<crate::ConnectError> for PlaceError {
    fn from(error: crate::ConnectError) -> Self {
        PlaceError::Cell(error.into())
    }
}

impl From<crate::name::NameError> for PlaceError {
    fn from(error: crate::name::NameError) -> Self {
        PlaceError::Cell(error.into())
    }
}
