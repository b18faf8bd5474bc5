//! Meters and plans as declared, and what metering and billing say about them.

use std::collections::BTreeSet;

pub use rowhouse_domain::billing::plan::PlanDraft as Plan;
pub use rowhouse_domain::metering::meter::MeterDraft as Meter;

use super::check::unknown;
use super::{Definitions, Finding, Kind};

/// Checks of meters and plans, by the rules of metering and billing.
pub(super) fn check(definitions: &Definitions, findings: &mut Vec<Finding>) {
    definitions.meters.iter().for_each(|meter| self::meter(meter, findings));
    let meters = definitions.meters.iter().map(|meter| meter.name.as_str()).collect();
    definitions.plans.iter().for_each(|plan| self::plan(plan, &meters, findings));
}

fn meter(meter: &Meter, findings: &mut Vec<Finding>) {
    for problem in meter.meter().err().into_iter().flatten() {
        let field = problem.pointer.trim_start_matches('/');
        findings.push(Finding::new(Kind::Meter, &meter.name, field, "invalid").detail(problem.detail));
    }
}

fn plan(plan: &Plan, meters: &BTreeSet<&str>, findings: &mut Vec<Finding>) {
    for problem in plan.plan().err().into_iter().flatten() {
        let field = problem.pointer.trim_start_matches('/');
        let what = problem.code.rsplit('.').next().unwrap_or("invalid");
        findings.push(Finding::new(Kind::Plan, &plan.name, field, what).detail(problem.detail));
    }
    for (index, price) in plan.prices.iter().enumerate() {
        let Some(meter) = price.meter.as_deref().filter(|meter| !meters.contains(meter)) else { continue };
        let field = format!("prices/{index}/meter");
        let detail = unknown("meter", meter, meters);
        findings.push(Finding::new(Kind::Plan, &plan.name, &field, "unknown").detail(detail));
    }
}
