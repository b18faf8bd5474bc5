//! API keys: their text, their digest, their state.

mod check;
mod digest;
mod state;
mod text;

pub use check::{Presented, SentKey, bearer, refuse_other_service};
pub use digest::{Pepper, Peppers};
pub use state::{KeyStanding, KeyState};
pub use text::{Environment, KeyText, Malformed, PublicId, generate};
