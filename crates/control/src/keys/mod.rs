//! API keys and the service accounts that own them.
//!
//! A key's text is shown once, in the answer that made it; kept is only its keyed digest. What a key may do is what
//! it lists **and** what its owner may do at that moment, and nobody makes a key that can do more than himself. A
//! change is in force when the directory has followed its notice.

mod account;
mod account_api;
mod api;
mod bootstrap;
mod bounds;
mod certificates;
mod create;
mod edit;
mod explain;
mod narrow;
mod queries;
mod record;
mod state;
mod trust;
mod uses;
mod verify;
mod wire;

pub use account::{Account, NewAccount, create_account, service_account_of};
pub use api::routes;
pub use bootstrap::{bootstrap_operator, recover_operator};
pub use certificates::load_certificates;
pub use create::{Created, NewKey, create, rotate};
pub use edit::{KeyEdit, edit, renew};
pub use narrow::Narrow;
pub use queries::{KeyRow, accounts_by_name, accounts_in, load_keys, trusts_issuer};
pub use record::{KeyRecord, LastUse};
pub use state::{Turn, turn};
pub use trust::load_trusts;
pub use uses::{PROJECTION, UseProjector};
