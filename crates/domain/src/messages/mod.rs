//! Messages to people: which there are, what they must be told, when a delivery is tried again, and what an e-mail
//! address is. Rendering and sending are the control plane's.

mod address;
mod number;
mod schedule;
pub mod template;
mod value;

pub use address::{Address, AddressError};
pub use number::{Number, NumberError, parse_beginning};
pub use schedule::{TRIES_MAX, wait_after};
pub use template::{Priority, Template};
pub use value::{VALUE_MAX, clean, isolate};
