//! Meters and plans as declared.

pub use rowhouse_domain::billing::plan::PlanDraft as Plan;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check::unknown;
use super::{Definitions, Finding, Kind};

/// A meter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    /// `[a-z][a-z0-9._-]{0,62}`.
    pub name: String,
    /// Its other fields.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// Checks of meters and plans, by the rules of metering and billing.
pub(super) fn check(definitions: &Definitions, findings: &mut Vec<Finding>) {
    let meters = definitions.meters.iter().map(|meter| meter.name.as_str()).collect();
    for plan in &definitions.plans {
        let find = |field: &str, code| Finding::new(Kind::Plan, &plan.name, field, code);
        for problem in plan.plan().err().into_iter().flatten() {
            let field = problem.pointer.trim_start_matches('/');
            let what = problem.code.rsplit('.').next().unwrap_or("invalid");
            findings.push(find(field, what).detail(problem.detail));
        }
        let priced = plan.prices.iter().enumerate();
        for (index, meter) in priced.filter_map(|(index, price)| Some((index, price.meter.as_deref()?))) {
            if !definitions.meters.iter().any(|own| own.name == meter) {
                let place = format!("prices/{index}/meter");
                findings.push(find(&place, "unknown").detail(unknown("meter", meter, &meters)));
            }
        }
    }
}
