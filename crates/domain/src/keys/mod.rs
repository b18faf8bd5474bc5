//! API keys: their text, their digest, their state.

mod check;
mod digest;
mod narrow;
mod state;
mod text;

pub use check::{Presented, SentKey, bearer};
pub use digest::{Pepper, Peppers};
pub use narrow::{
    ALLOWED_IPS_MAX, KeyLimit, KeyLimitDefinition, LIMITS_MAX, Narrowing, THINGS_MAX, ThingPattern,
    parse_network,
};
pub use state::{KeyStanding, KeyState};
pub use text::{Environment, KeyText, Malformed, PublicId, generate};
