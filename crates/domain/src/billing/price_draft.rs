//! A price as it is written down, and the rules it must keep. Every mistake is reported with a JSON pointer.

use serde::{Deserialize, Serialize};

use super::{
    currency::Currency,
    model::{FlatTier, Model, Tier},
    money::Money,
    price::{Price, Transform, When, Zero},
};
use crate::metering::{
    quantity::{Quantity, QuantityError},
    ratio::Ratio,
    rounding::{Rounding, Scale},
};

/// Most tiers of one price.
pub const TIERS_MAX: usize = 100;
/// Exclusive bound of a unit price: 10^12.
const UNIT_PRICE_BOUND: i128 = 1_000_000_000_000;

/// A price, unchecked: the wire form of `[[price]]` and of the simulator. Numbers are decimal strings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriceDraft {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meter: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    pub model: String,
    pub when: When,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Vec<TierDraft>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_units: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<TransformDraft>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub included: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<String>,
    pub zero: Zero,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_code: Option<String>,
}

/// A tier, unchecked. `up_to` is inclusive; the last one's is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TierDraft {
    pub up_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flat_fee: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
}

/// A transformation, unchecked: exactly one of `multiply` and `divide`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransformDraft {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiply: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divide: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<Rounding>,
}

/// One mistake in a price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// JSON pointer into the price.
    pub pointer: String,
    /// `billing.bad_price`, `billing.bad_currency` or `billing.out_of_range`.
    pub code: &'static str,
    pub detail: &'static str,
}

/// What is being read: where we are and what was wrong so far.
struct Reader {
    currency: Currency,
    problems: Vec<Problem>,
}

impl PriceDraft {
    /// The price, in its own currency or else in `currency`; or everything that is wrong with it.
    pub fn price(&self, currency: Currency) -> Result<Price, Vec<Problem>> {
        let own = self.currency.as_deref().map_or(Ok(currency), Currency::parse);
        let Ok(own) = own else {
            return Err(vec![problem("/currency", "billing.bad_currency", "unknown currency")]);
        };
        let mut reader = Reader { currency: own, problems: Vec::new() };
        let model = reader.model(self);
        let price = Price {
            name: self.name.clone(),
            meter: self.meter.clone(),
            description: if self.description.is_empty() {
                self.name.clone()
            } else {
                self.description.clone()
            },
            currency: own,
            when: self.when,
            model: model.unwrap_or(Model::Flat { amount: Ratio::zero() }),
            transform: self.transform.as_ref().and_then(|transform| reader.transform(transform)),
            included: reader.optional(&self.included, "/included", Reader::quantity).unwrap_or_default(),
            discounts: reader.discounts(&self.discounts),
            minimum: reader.optional(&self.minimum, "/minimum", Reader::amount),
            maximum: reader.optional(&self.maximum, "/maximum", Reader::amount),
            zero: self.zero,
            tax_code: self.tax_code.clone(),
        };
        reader.whole(&price);
        if reader.problems.is_empty() { Ok(price) } else { Err(reader.problems) }
    }
}

fn problem(pointer: &str, code: &'static str, detail: &'static str) -> Problem {
    Problem { pointer: pointer.to_owned(), code, detail }
}

impl Reader {
    fn bad(&mut self, pointer: &str, detail: &'static str) {
        self.problems.push(problem(pointer, "billing.bad_price", detail));
    }

    /// What makes sense only together.
    fn whole(&mut self, price: &Price) {
        if let (Some(minimum), Some(maximum)) = (&price.minimum, &price.maximum)
            && minimum > maximum
        {
            self.bad("/minimum", "above the maximum");
        }
        let flat = matches!(price.model, Model::Flat { .. });
        if flat && !price.included.is_zero() {
            self.bad("/included", "a flat price has no units to include");
        }
        if flat && price.transform.is_some() {
            self.bad("/transform", "a flat price has no quantity to transform");
        }
        if price.when == When::Advance && price.meter.is_some() {
            self.bad("/when", "usage cannot be charged in advance");
        }
    }

    fn model(&mut self, draft: &PriceDraft) -> Option<Model> {
        self.foreign_parameters(draft);
        match draft.model.as_str() {
            "flat" => Some(Model::Flat { amount: self.required(&draft.amount, "/amount", Reader::amount)? }),
            "per_unit" => Some(Model::PerUnit {
                unit_price: self.required(&draft.unit_price, "/unit_price", Reader::unit_price)?,
            }),
            "graduated" => Some(Model::Graduated { tiers: self.tiers(draft)? }),
            "volume" => Some(Model::Volume { tiers: self.tiers(draft)? }),
            "volume_flat" => Some(Model::VolumeFlat { tiers: self.flat_tiers(draft)? }),
            "package" => Some(Model::Package {
                size: self.required(&draft.package_size, "/package_size", Reader::size)?,
                amount: self.required(&draft.amount, "/amount", Reader::amount)?,
                free_units: self
                    .optional(&draft.free_units, "/free_units", Reader::quantity)
                    .unwrap_or_default(),
            }),
            _ => {
                self.bad("/model", "unknown model");
                None
            }
        }
    }

    /// Parameters of another model are a second model.
    fn foreign_parameters(&mut self, draft: &PriceDraft) {
        let own: &[&str] = match draft.model.as_str() {
            "flat" => &["/amount"],
            "per_unit" => &["/unit_price"],
            "graduated" | "volume" | "volume_flat" => &["/tiers"],
            "package" => &["/package_size", "/amount", "/free_units"],
            _ => return,
        };
        let given = [
            ("/amount", draft.amount.is_some()),
            ("/unit_price", draft.unit_price.is_some()),
            ("/tiers", draft.tiers.is_some()),
            ("/package_size", draft.package_size.is_some()),
            ("/free_units", draft.free_units.is_some()),
        ];
        for (pointer, _) in given.iter().filter(|(pointer, given)| *given && !own.contains(pointer)) {
            self.bad(pointer, "belongs to another model");
        }
    }

    /// The tiers' bounds: rising, the last one open, at least one. Pairs each with its pointer.
    fn bounds<'d>(&mut self, draft: &'d PriceDraft) -> Option<Vec<(&'d TierDraft, String, Option<Ratio>)>> {
        let tiers = draft.tiers.as_deref().unwrap_or_default();
        if tiers.is_empty() || tiers.len() > TIERS_MAX {
            self.bad("/tiers", "1 to 100 tiers are needed");
            return None;
        }
        let mut below = Ratio::zero();
        let mut read = Vec::with_capacity(tiers.len());
        for (index, tier) in tiers.iter().enumerate() {
            let (pointer, last) = (format!("/tiers/{index}"), index + 1 == tiers.len());
            let place = format!("{pointer}/up_to");
            let up_to = self.optional(&tier.up_to, &place, Reader::quantity);
            match &up_to {
                _ if last && tier.up_to.is_some() => self.bad(&place, "the last tier has no end"),
                None if !last && tier.up_to.is_none() => self.bad(&place, "only the last tier has no end"),
                Some(up_to) if *up_to <= below => self.bad(&place, "tiers must rise"),
                _ => {}
            }
            below = up_to.clone().unwrap_or(below);
            read.push((tier, pointer, up_to));
        }
        Some(read)
    }

    fn tiers(&mut self, draft: &PriceDraft) -> Option<Vec<Tier>> {
        let mut tiers = Vec::new();
        for (tier, pointer, up_to) in self.bounds(draft)? {
            if tier.amount.is_some() {
                self.bad(&format!("{pointer}/amount"), "belongs to another model");
            }
            let (price, fee, size) = (
                format!("{pointer}/unit_price"),
                format!("{pointer}/flat_fee"),
                format!("{pointer}/package_size"),
            );
            if tier.unit_price.is_none() && tier.flat_fee.is_none() {
                self.bad(&price, "missing");
            }
            tiers.push(Tier {
                up_to,
                unit_price: self.optional(&tier.unit_price, &price, Reader::unit_price).unwrap_or_default(),
                flat_fee: self.optional(&tier.flat_fee, &fee, Reader::amount).unwrap_or_default(),
                package_size: self.optional(&tier.package_size, &size, Reader::size),
            });
        }
        Some(tiers)
    }

    fn flat_tiers(&mut self, draft: &PriceDraft) -> Option<Vec<FlatTier>> {
        let mut tiers = Vec::new();
        for (tier, pointer, up_to) in self.bounds(draft)? {
            let foreign = [
                ("unit_price", &tier.unit_price),
                ("flat_fee", &tier.flat_fee),
                ("package_size", &tier.package_size),
            ];
            for (name, _) in foreign.iter().filter(|(_, value)| value.is_some()) {
                self.bad(&format!("{pointer}/{name}"), "belongs to another model");
            }
            let amount = self.required(&tier.amount, &format!("{pointer}/amount"), Reader::amount);
            tiers.push(FlatTier { up_to, amount: amount.unwrap_or_default() });
        }
        Some(tiers)
    }

    fn transform(&mut self, draft: &TransformDraft) -> Option<Transform> {
        let (factor, pointer, scale): (_, _, fn(Quantity) -> Scale) = match (&draft.multiply, &draft.divide) {
            (Some(factor), None) => (factor, "/transform/multiply", Scale::Multiply),
            (None, Some(factor)) => (factor, "/transform/divide", Scale::Divide),
            _ => {
                self.bad("/transform", "one of multiply and divide is needed");
                return None;
            }
        };
        let scale = Quantity::parse(factor).ok().map(scale).filter(Scale::is_valid);
        let round = draft.round.unwrap_or_default();
        if scale.is_none() {
            self.bad(pointer, "not a decimal above zero");
        }
        if !round.is_valid() {
            self.bad("/transform/round/digits", "-12 to 12");
        }
        scale.map(|scale| Transform { scale, round })
    }

    fn discounts(&mut self, texts: &[String]) -> Vec<Ratio> {
        let mut percents = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match Quantity::parse(text).map(Quantity::to_ratio) {
                Ok(percent) if !percent.is_negative() && percent <= Ratio::from_integer(100) => {
                    percents.push(percent)
                }
                _ => self.bad(&format!("/discounts/{index}"), "a percentage from 0 to 100"),
            }
        }
        percents
    }

    fn required(&mut self, text: &Option<String>, pointer: &str, read: Read) -> Option<Ratio> {
        if text.is_none() {
            self.bad(pointer, "missing");
        }
        self.optional(text, pointer, read)
    }

    fn optional(&mut self, text: &Option<String>, pointer: &str, read: Read) -> Option<Ratio> {
        read(self, text.as_deref()?, pointer)
    }

    /// A decimal of at most twelve digits, not negative.
    fn quantity(&mut self, text: &str, pointer: &str) -> Option<Ratio> {
        match Quantity::parse(text) {
            Ok(quantity) if !quantity.is_negative() => return Some(quantity.to_ratio()),
            Ok(_) => self.bad(pointer, "below zero"),
            Err(QuantityError::OutOfRange) => self.out_of_range(pointer),
            Err(QuantityError::TooPrecise) => self.bad(pointer, "more than 12 fraction digits"),
            Err(QuantityError::Malformed) => self.bad(pointer, "not a decimal"),
        }
        None
    }

    fn size(&mut self, text: &str, pointer: &str) -> Option<Ratio> {
        let size = self.quantity(text, pointer)?;
        if size.is_zero() {
            self.bad(pointer, "a package is not empty");
            return None;
        }
        Some(size)
    }

    fn unit_price(&mut self, text: &str, pointer: &str) -> Option<Ratio> {
        let price = self.quantity(text, pointer)?;
        if price >= Ratio::from_integer(UNIT_PRICE_BOUND) {
            self.out_of_range(pointer);
            return None;
        }
        Some(price)
    }

    /// Money, in the currency's digits, not negative.
    fn amount(&mut self, text: &str, pointer: &str) -> Option<Ratio> {
        self.quantity(text, pointer)?;
        match Money::parse(text, self.currency) {
            Ok(money) => return Some(money.to_ratio()),
            Err(super::money::MoneyError::OutOfRange) => self.out_of_range(pointer),
            Err(_) => self.bad(pointer, "more digits than the currency has"),
        }
        None
    }

    fn out_of_range(&mut self, pointer: &str) {
        self.problems.push(problem(pointer, "billing.out_of_range", "beyond what can be billed"));
    }
}

/// How one field is read: its value, or a problem noted.
type Read = fn(&mut Reader, &str, &str) -> Option<Ratio>;
