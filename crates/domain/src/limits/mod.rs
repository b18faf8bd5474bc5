//! Limits: how often. Exact integers, the same in the gateway and in the simulator.
//!
//! A [`Rule`] is an algorithm with its numbers; it decides one request from a [`State`] and says the next state. Pure:
//! whoever keeps the state stores it or not.

mod announce;
mod composite;
mod definition;
mod rule;
mod simulate;

pub use announce::{Announced, put_policy, put_standing};
pub use composite::{Decided, decide_all};
pub use definition::{
    BadLimit, Enforcement, LimitDefinition, LimitMatch, LimitMode, LimitScope, LimitValue, OnStoreFailure,
    Scopes, TierValue,
};
pub use rule::{Algorithm, BadNumbers, Rule, State, Verdict};
pub use simulate::{BadSimulation, BadSimulationReason, Simulated, Simulation, simulate};
