//! The statement firewall: which SQL a tenant's transaction may run.
//!
//! Every text is read by PostgreSQL's own parser, because only that reads what the server reads, and judged by a pure
//! function over the parse tree. The judgement is an allow-list at every step: a statement, a node, a function or a
//! type that is not known here is refused, so that what a later server adds is refused until somebody has looked at
//! it. Verdicts are kept by the text's SHA-256 for each service and level ([`Firewall`]).
//!
//! It is the layer above row-level security and privileges, not instead of them: it closes what those leave open to
//! SQL that was injected into a service (locks, waits, settings of the session, the catalog's volumes, text that is
//! run as SQL).
#![forbid(unsafe_code)]

mod cache;
pub mod extensions;
mod functions;
mod ground;
mod introspection;
mod judge;
mod lint;
mod names;
mod settings;
mod statement;
mod types;
mod verdict;
mod walk;

pub use cache::Firewall;
pub use functions::{ALLOWED, REFUSED, names_of};
pub use ground::{Ground, Level};
pub use judge::{TEXT_MAX, judge};
pub use lint::{Concern, Lint, lint, own_functions, statements};
pub use verdict::{Access, Class, HINT, Refusal, Rule, Verdict};
