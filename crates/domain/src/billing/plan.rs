//! Plans: a named set of prices with the terms they come under. The default catalogue has three price sets and
//! four plans, so that a fresh platform can bill.

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{
    currency::Currency,
    period::{COUNT_MAX, Interval, IntervalUnit, PeriodError, Proration, Schedule},
    price::Price,
    price_draft::{PriceDraft, Problem, TierDraft},
};
use crate::metering::ratio::Ratio;

/// A plan, unchecked: the wire form of `[[plan]]`. Prices stand in it whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanDraft {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tier: String,
    pub currency: String,
    /// A month if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    #[serde(skip_serializing_if = "is_default")]
    pub anchor: Anchor,
    /// 0 to 365.
    #[serde(skip_serializing_if = "is_default")]
    pub trial_days: u16,
    pub prices: Vec<PriceDraft>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub proration: Proration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms_days: Option<u16>,
    #[serde(skip_serializing_if = "is_default")]
    pub collection: Collection,
}

/// What periods are counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    #[default]
    Subscription,
    Calendar,
}

/// Whether we charge a stored payment method, or wait for a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collection {
    #[default]
    Automatic,
    Manual,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A valid plan. All its prices are in its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub name: String,
    pub tier: String,
    pub currency: Currency,
    pub interval: Interval,
    pub anchor: Anchor,
    pub trial_days: u16,
    pub prices: Vec<Price>,
    /// Least total of a whole period, in major units.
    pub minimum: Option<Ratio>,
    pub proration: Proration,
    /// Days from the invoice to its due date.
    pub terms_days: u16,
    pub collection: Collection,
}

impl Plan {
    /// The boundaries of a subscription to this plan.
    pub fn schedule(&self, start: Timestamp, zone: TimeZone) -> Result<Schedule, PeriodError> {
        match self.anchor {
            Anchor::Subscription => Schedule::subscription(start, self.interval, zone),
            Anchor::Calendar => Schedule::calendar(self.interval, zone),
        }
    }
}

/// A period is a month unless the plan says otherwise.
const MONTH: Interval = Interval { unit: IntervalUnit::Month, count: 1 };

impl PlanDraft {
    /// The plan, or everything that is wrong with it.
    pub fn plan(&self) -> Result<Plan, Vec<Problem>> {
        let Ok(currency) = Currency::parse(&self.currency) else {
            return Err(vec![at("/currency", "billing.bad_currency", "unknown currency")]);
        };
        let mut problems = Vec::new();
        let mut prices: Vec<Price> = Vec::new();
        for (index, draft) in self.prices.iter().enumerate() {
            match draft.price(currency) {
                Ok(price) => {
                    problems.extend(against(&price, &prices, currency, index));
                    prices.push(price);
                }
                Err(wrong) => problems.extend(wrong.into_iter().map(|problem| within(index, problem))),
            }
        }
        let minimum = self.minimum.as_deref().map(|text| super::money::Money::parse(text, currency));
        if minimum.is_some_and(|minimum| minimum.map_or(true, |minimum| minimum.minor() < 0)) {
            problems.push(at("/minimum", "billing.bad_price", "not an amount of the currency"));
        }
        problems.extend(self.period_problems());
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Plan {
            interval: self.interval.unwrap_or(MONTH),
            anchor: self.anchor,
            trial_days: self.trial_days,
            proration: self.proration,
            collection: self.collection,
            name: self.name.clone(),
            tier: if self.tier.is_empty() { self.name.clone() } else { self.tier.clone() },
            currency,
            prices,
            minimum: minimum.and_then(Result::ok).map(|minimum| minimum.to_ratio()),
            terms_days: self.terms_days.unwrap_or(14),
        })
    }

    fn period_problems(&self) -> Vec<Problem> {
        let interval = self.interval.unwrap_or(MONTH);
        let months = matches!(interval.unit, IntervalUnit::Month | IntervalUnit::Year);
        let rules = [
            (!(1..=COUNT_MAX).contains(&interval.count), "/interval/count", "1 to 36"),
            (self.trial_days > 365, "/trial_days", "0 to 365"),
            (
                self.proration == Proration::Month30 && !months,
                "/proration",
                "month_30 is for months and years",
            ),
        ];
        let broken = rules.into_iter().filter(|(broken, ..)| *broken);
        broken.map(|(_, pointer, detail)| at(pointer, "billing.bad_price", detail)).collect()
    }
}

fn at(pointer: &str, code: &'static str, detail: &'static str) -> Problem {
    Problem { pointer: pointer.to_owned(), code, detail }
}

fn within(index: usize, problem: Problem) -> Problem {
    Problem { pointer: format!("/prices/{index}{}", problem.pointer), ..problem }
}

/// What a price must keep beside the others of its plan.
fn against(price: &Price, others: &[Price], currency: Currency, index: usize) -> Vec<Problem> {
    let mut problems = Vec::new();
    if price.currency != currency {
        problems.push(within(index, at("/currency", "billing.currency_mismatch", "a plan has one currency")));
    }
    if price.name.is_empty() || others.iter().any(|other| other.name == price.name) {
        problems.push(within(
            index,
            at("/name", "billing.bad_price", "a price has a name of its own in its plan"),
        ));
    }
    if price.meter.is_some() && others.iter().any(|other| other.meter == price.meter) {
        problems.push(within(
            index,
            at("/meter", "billing.bad_price", "another price of the plan takes this meter"),
        ));
    }
    problems
}

/// The shipped plans: `basic`, `professional`, `enterprise`, `premium`, in USD, without base fees.
pub fn default_plans() -> Vec<PlanDraft> {
    [
        ("basic", per_operation_hashes()),
        ("professional", tiered_hashes()),
        ("enterprise", volume_hashes()),
        ("premium", volume_hashes()),
    ]
    .into_iter()
    .map(|(name, hashes)| PlanDraft {
        name: name.to_owned(),
        tier: name.to_owned(),
        currency: "USD".to_owned(),
        prices: [vec![hashes], per_operation_rest()].concat(),
        ..PlanDraft::default()
    })
    .collect()
}

fn per_unit(name: &str, meter: &str, description: &str, unit_price: &str) -> PriceDraft {
    PriceDraft { unit_price: Some(unit_price.to_owned()), ..metered(name, meter, description, "per_unit") }
}

fn metered(name: &str, meter: &str, description: &str, model: &str) -> PriceDraft {
    PriceDraft {
        name: name.to_owned(),
        meter: Some(meter.to_owned()),
        description: description.to_owned(),
        model: model.to_owned(),
        ..PriceDraft::default()
    }
}

fn per_operation_hashes() -> PriceDraft {
    per_unit("hash_per_operation", "hash_operations", "Hash operations", "0.001")
}

/// The prices that all plans share.
fn per_operation_rest() -> Vec<PriceDraft> {
    vec![
        per_unit("stamp_per_operation", "stamps_created", "Stamps created", "0.01"),
        per_unit("api_call_per_operation", "api_calls", "API calls", "0.0001"),
        per_unit("storage_per_gb_month", "storage_gb", "Storage, GB and month", "0.10"),
    ]
}

fn tiered_hashes() -> PriceDraft {
    let tier = |up_to: Option<&str>, unit_price: &str| TierDraft {
        up_to: up_to.map(str::to_owned),
        unit_price: Some(unit_price.to_owned()),
        ..TierDraft::default()
    };
    let tiers = vec![
        tier(Some("10000"), "0.001"),
        tier(Some("100000"), "0.0008"),
        tier(Some("1000000"), "0.0005"),
        tier(None, "0.0003"),
    ];
    PriceDraft {
        tiers: Some(tiers),
        ..metered("hash_tiered", "hash_operations", "Hash operations", "graduated")
    }
}

fn volume_hashes() -> PriceDraft {
    let tier = |up_to: Option<&str>, amount: &str| TierDraft {
        up_to: up_to.map(str::to_owned),
        amount: Some(amount.to_owned()),
        ..TierDraft::default()
    };
    let tiers = vec![
        tier(Some("10000"), "10.00"),
        tier(Some("100000"), "80.00"),
        tier(Some("1000000"), "600.00"),
        tier(None, "5000.00"),
    ];
    PriceDraft {
        tiers: Some(tiers),
        ..metered("hash_volume", "hash_operations", "Hash operations", "volume_flat")
    }
}
