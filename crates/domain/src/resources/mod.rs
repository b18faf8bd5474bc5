//! Usage against quota: what a quota says, where a tenant stands against it, and what follows from that.
//!
//! Everything here is a pure function of figures and instants. Both planes use it: the gateway to admit, the control
//! plane to warn, impose and lift. Quantities are integers of 10⁻¹² units, so that every comparison is exact.

mod calendar;
mod evaluate;
mod exhaustion;
mod rule;
mod simulate;
mod step;

pub use calendar::{Calendar, QuotaWindow};
pub use evaluate::{Evaluation, Facts, QuotaState, admits, evaluate, percentage};
pub use exhaustion::exhaustion;
pub use rule::{Action, Collector, QuotaKind, QuotaMode, QuotaRule, QuotaRuleDraft, RuleProblem, RuleZone};
pub use simulate::{SimulatedWindow, Simulation, simulate};
pub use step::{Observation, Standing, Step, Template, step};
