//! The default plans, and invoices drafted from them.
use std::collections::BTreeMap;

use serde_json::json;

use super::{
    invoice::{Basis, Invoice, LineKind, MeterUsage, PLAN_MINIMUM, Period, draft},
    money::Money,
    period::{Interval, IntervalUnit, Proration},
    plan::{Plan, PlanDraft, default_plans},
    price_draft::PriceDraft,
    rating::Billed,
};
use crate::metering::ratio::Ratio;

fn plan(name: &str) -> Plan {
    default_plans().iter().find(|plan| plan.name == name).unwrap().plan().unwrap()
}

fn usage(quantities: &[(&str, &str)]) -> BTreeMap<String, MeterUsage> {
    let usage = |quantity: &str| MeterUsage { quantity: Ratio::parse(quantity).unwrap(), events: Some(3) };
    quantities.iter().map(|(meter, quantity)| ((*meter).to_owned(), usage(quantity))).collect()
}

fn november() -> Period {
    Period {
        from: "2026-11-01T00:00:00Z".parse().unwrap(),
        to: "2026-12-01T00:00:00Z".parse().unwrap(),
        zone: "UTC".into(),
    }
}

fn invoice(
    plan: &Plan,
    usage: &BTreeMap<String, MeterUsage>,
    billed: &BTreeMap<String, Billed>,
    last: bool,
) -> Invoice {
    let one = Ratio::one();
    draft(&Basis { plan, period: &november(), usage, billed, quantity: &one, share: &one, last }).unwrap()
}

#[test]
fn the_default_plans_charge_the_published_rates() {
    let usage = usage(&[
        ("hash_operations", "25000"),
        ("stamps_created", "120"),
        ("api_calls", "50000"),
        ("storage_gb", "2.5"),
        ("users", "9"),
    ]);
    for (name, nets, total) in [
        ("basic", ["25.00", "1.20", "5.00", "0.25"], "31.45"),
        ("professional", ["22.00", "1.20", "5.00", "0.25"], "28.45"),
        ("enterprise", ["80.00", "1.20", "5.00", "0.25"], "86.45"),
        ("premium", ["80.00", "1.20", "5.00", "0.25"], "86.45"),
    ] {
        let invoice = invoice(&plan(name), &usage, &BTreeMap::new(), true);
        let lines: Vec<_> = invoice.lines.iter().map(|line| line.net.money.to_string()).collect();
        assert_eq!(
            (lines, invoice.total.money.to_string().as_str()),
            (nets.map(str::to_owned).into(), total),
            "{name}"
        );
    }
}

#[test]
fn the_invoice_object_has_every_field_and_adds_up() {
    let invoice =
        invoice(&plan("professional"), &usage(&[("hash_operations", "25000")]), &BTreeMap::new(), true);
    let object = serde_json::to_value(&invoice).unwrap();
    let zero = json!({"amount": "0.00", "currency": "USD", "exact": "0"});
    let all = json!({"amount": "22.00", "currency": "USD", "exact": "22"});
    for (field, expected) in [
        ("subtotal", &all),
        ("taxable", &all),
        ("total", &all),
        ("due", &all),
        ("discounts", &zero),
        ("credits_before_tax", &zero),
        ("tax", &zero),
        ("rounding", &zero),
        ("paid", &zero),
    ] {
        assert_eq!(&object[field], expected, "{field}");
    }
    assert_eq!(object["state"], "draft");
    assert_eq!(
        object["period"],
        json!({"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "zone": "UTC"})
    );
    let line = &object["lines"][0];
    assert_eq!(
        (&line["kind"], &line["price"], &line["meter"], &line["quantity"]),
        (&json!("usage"), &json!("hash_tiered"), &json!("hash_operations"), &json!("25000"))
    );
    assert_eq!(line["net"], all);
    assert!(line.get("steps").is_none(), "steps are for explain");
    assert_eq!(
        serde_json::to_value(&invoice.lines[0].steps[0]).unwrap(),
        json!({"step": "measure", "quantity": "25000", "events": 3})
    );
}

#[test]
fn a_minimum_is_filled_up_once_and_counts_earlier_invoices() {
    let mut plan = plan("basic");
    plan.minimum = Some(Ratio::from_integer(30));
    let usage = usage(&[("hash_operations", "25000")]);
    assert_eq!(invoice(&plan, &usage, &BTreeMap::new(), false).total.money.to_string(), "25.00");
    let last = invoice(&plan, &usage, &BTreeMap::new(), true);
    assert_eq!(
        (last.total.money.to_string().as_str(), last.lines.last().unwrap().kind),
        ("30.00", LineKind::Minimum)
    );
    let money = |amount| Money::parse(amount, plan.currency).unwrap();
    let mut billed = BTreeMap::new();
    billed.insert(
        "hash_per_operation".to_owned(),
        Billed { quantity: Ratio::from_integer(25_000), amount: money("25.00") },
    );
    assert_eq!(invoice(&plan, &usage, &billed, true).total.money.to_string(), "5.00");
    billed.insert(PLAN_MINIMUM.to_owned(), Billed { quantity: Ratio::one(), amount: money("5.00") });
    assert_eq!(invoice(&plan, &usage, &billed, true).total.money.to_string(), "0.00");
}

#[test]
fn a_flat_fee_multiplies_with_the_subscription_and_the_share() {
    let fee = PriceDraft {
        name: "base".into(),
        model: "flat".into(),
        amount: Some("40.00".into()),
        ..PriceDraft::default()
    };
    let plan =
        PlanDraft { name: "p".into(), currency: "EUR".into(), prices: vec![fee], ..PlanDraft::default() }
            .plan()
            .unwrap();
    let (three, share) = (Ratio::from_integer(3), Ratio::parse("1/7").unwrap());
    let invoice = draft(&Basis {
        plan: &plan,
        period: &november(),
        usage: &BTreeMap::new(),
        billed: &BTreeMap::new(),
        quantity: &three,
        share: &share,
        last: true,
    })
    .unwrap();
    assert_eq!((invoice.total.money.to_string().as_str(), invoice.lines[0].kind), ("17.14", LineKind::Flat));
}

#[test]
fn a_plans_mistakes_have_pointers() {
    let price = |name: &str, meter: &str| PriceDraft {
        name: name.into(),
        meter: Some(meter.into()),
        model: "per_unit".into(),
        unit_price: Some("1".into()),
        ..PriceDraft::default()
    };
    let plan = PlanDraft {
        name: "p".into(),
        currency: "EUR".into(),
        minimum: Some("1.001".into()),
        prices: vec![
            price("a", "m"),
            price("a", "m"),
            PriceDraft { currency: Some("USD".into()), ..price("b", "n") },
            PriceDraft { unit_price: None, ..price("c", "o") },
        ],
        ..PlanDraft::default()
    };
    let problems = plan.plan().unwrap_err();
    let pointers: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["/prices/1/name", "/prices/1/meter", "/prices/2/currency", "/prices/3/unit_price", "/minimum"]
    );
    let short = PlanDraft {
        currency: "EUR".into(),
        interval: Some(Interval { unit: IntervalUnit::Week, count: 37 }),
        trial_days: 366,
        proration: Proration::Month30,
        ..PlanDraft::default()
    };
    let problems = short.plan().unwrap_err();
    let pointers: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(pointers, ["/interval/count", "/trial_days", "/proration"]);
    assert_eq!(
        PlanDraft { currency: "XXX".into(), ..PlanDraft::default() }.plan().unwrap_err()[0].code,
        "billing.bad_currency"
    );
}
