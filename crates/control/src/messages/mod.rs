//! Messages to people: by e-mail, and codes as text messages through a provider that is called over HTTP.
//!
//! # Sending one
//!
//! ```text
//! messages::queue(&control, &transaction,
//!     NewMessage::new(&template::TENANT_SUSPENDED, tenant, To::Administrators, format!("{saga}"))
//!         .value("reason", reason)
//! ).await?;
//! transaction.commit(change).await?;
//! ```
//!
//! - It is queued **in the transaction of the change** it tells of: not lost if that commits, not sent if it does not.
//! - The last argument is its **key**: in one tenant, one template with one key is queued once, whatever is repeated.
//!   `queue` answers whether it was queued now.
//! - The values that a template needs are listed in `rowhouse_domain::messages::template`; one that lacks is an error.
//! - To whom is found when it is sent ([`To`]): a tenant's administrators, its billing contact, the operator, a user; or is
//!   an address. Whoever is about to erase a tenant's people asks for their addresses before ([`addresses`]).
//!
//! # What happens then
//!
//! [`run`] takes what is due, the most urgent first, resolves it to addresses, renders it and hands it to the transport: a
//! mail server, a folder of `.eml` files, or the provider of text messages. What fails is tried 8 times over a day, then left as `failed` for a person, who
//! can send it again. What a mail server refuses for good (5xx) is not tried again. A message may arrive twice if the
//! process dies between the server's yes and our note of it; its `Message-ID` is the same then.
//!
//! Address and values lie sealed, and are forgotten after 7 days; codes and links as soon as they are sent.

mod api;
mod audience;
mod compose;
mod content;
mod post;
mod queries;
mod queue;
mod send;
mod sms;
mod texts;
mod transport;

pub use api::routes;
pub use audience::{To, addresses};
pub use post::{Counts, Post, PostError, PostSettings, SmtpSettings, SmtpTls, TransportSettings};
pub use queries::{MessageRow, State, erase};
pub use queue::{NewMessage, queue};
pub use send::{keep_house, resend, run, turn};
pub use sms::{SmsBody, SmsSettings};
