//! What all faces share: callers, problems, bodies, idempotency, lists, the assembled router and its OpenAPI.

mod body;
mod caller;
mod client;
pub mod cursor;
mod etag;
mod frame;
pub mod idempotency;
mod ids;
mod listen;
pub mod own;
mod pace;
mod prefer;
mod problem;
mod query;
mod router;
pub mod work;

pub use body::{Body, BodyLimit};
pub use caller::{Caller, Person, not_for_applications};
pub(crate) use client::client_address;
pub use etag::{IfMatch, etag};
pub use frame::{EchoedRequestId, assemble, request_id};
pub use ids::{PrincipalBody, path_id, stored_kind};
pub use listen::{Bounds, listen};
pub use prefer::preferred_wait;
pub use problem::{Answer, ApiError};
pub use query::{List, Page, Parameters, TenantParameter};
pub use router::{openapi, router};
