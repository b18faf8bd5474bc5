//! API keys: their text, their digest, their state.

mod digest;
mod state;
mod text;

pub use digest::{Pepper, Peppers};
pub use state::{KeyState, KeyStanding};
pub use text::{Environment, KeyText, Malformed, PublicId, generate};
