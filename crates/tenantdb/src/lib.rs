//! The tenants' databases: four levels of isolation, one transaction that can see one tenant.
//!
//! Two halves meet here. The **control plane** prepares clusters ([`cell`]), installs services' tables ([`tables`]),
//! makes, closes and drops tenants' places ([`place`]) and examines all of it ([`doctor`]), as superuser over a Unix
//! socket. A **service** turns the gateway's signed header into a [`TenantContext`] and gets a [`TenantTransaction`]
//! from [`Databases`]; it reaches no connection, and its SQL can see that tenant's rows only. [`plane`] is what the
//! first half tells the second.
//!
//! What it promises: whatever SQL runs in a tenant's transaction, it reads and changes no other tenant's row. On the
//! level `shared` that is done by forced row-level security whose policies verify a context signed for this backend;
//! from `schema` up by the privileges of a login that is the tenant's own.
#![forbid(unsafe_code)]

pub mod cell;
mod connect;
mod context;
pub mod copy;
mod databases;
pub mod doctor;
mod error;
pub mod name;
pub mod place;
pub mod plane;
mod pool;
pub mod probes;
mod request;
mod rights;
mod spare;
mod statement;
pub mod tables;
mod token;
mod transaction;
mod view;
mod watch;

pub use cell::Cell;
pub use connect::ConnectError;
pub use context::{ContextKeys, TenantContext};
pub use databases::Databases;
pub use error::DatabaseError;
pub use place::Place;
pub use request::{RequestError, TenantRequest};
pub use rights::Rights;
pub use token::{DatabaseKey, KidError, TokenClaims};
/// What queries answer and take.
pub use tokio_postgres::{Row, types};
pub use transaction::{Access, TenantTransaction};
pub use watch::{OpenError, Source, Watch, WatchError};
