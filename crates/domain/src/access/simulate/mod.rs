//! What would be: changes and questions, run in order on a copy. Nothing is stored; the rules, the compiler and the
//! decision are those of the real thing.

mod change;
mod diff;
mod run;
mod step;
#[cfg(test)]
mod tests;
mod world;

pub use diff::{Diff, Difference};
pub use run::{Outcome, Simulated, Told, Via, run};
pub use step::{GrantValue, GroupValue, Party, ResourceValue, RoleValue, Step, Thing, TypeValue};
pub use world::{World, WorldGrant, WorldMembership};
