//! Money: its text, its digits, and splitting without losing a cent.
use proptest::prelude::*;

use super::{
    currency::Currency,
    money::{Computed, MINOR_BOUND, Money, MoneyError},
};
use crate::metering::ratio::Ratio;

fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

fn money(amount: &str, code: &str) -> Money {
    Money::parse(amount, currency(code)).unwrap()
}

#[test]
fn amounts_have_their_currencys_digits() {
    for (amount, code, minor, shown) in [
        ("12.3", "EUR", 1230, "12.30"),
        ("-0.05", "USD", -5, "-0.05"),
        ("0", "EUR", 0, "0.00"),
        ("500", "JPY", 500, "500"),
        ("1.005", "KWD", 1005, "1.005"),
        ("12.300", "EUR", 1230, "12.30"),
    ] {
        let money = money(amount, code);
        assert_eq!((money.minor(), money.to_string().as_str()), (minor, shown), "{amount} {code}");
    }
    for (amount, code) in
        [("1.5", "JPY"), ("1.001", "EUR"), ("", "EUR"), ("1/2", "EUR"), ("1e3", "EUR"), ("x", "EUR")]
    {
        assert_eq!(Money::parse(amount, currency(code)), Err(MoneyError::Malformed), "{amount} {code}");
    }
    assert_eq!(Money::parse("10000000000000.00", currency("EUR")), Err(MoneyError::OutOfRange));
    assert!(Money::parse("9999999999999.99", currency("EUR")).is_ok());
    assert!(
        Currency::parse("eur").is_err() && Currency::parse("XXX").is_err() && Currency::parse("").is_err()
    );
}

#[test]
fn money_travels_as_amount_and_currency() {
    let text = r#"{"amount":"12.34","currency":"EUR"}"#;
    assert_eq!(serde_json::to_string(&money("12.34", "EUR")).unwrap(), text);
    assert_eq!(serde_json::from_str::<Money>(text).unwrap(), money("12.34", "EUR"));
    assert!(serde_json::from_str::<Money>(r#"{"amount":"1","currency":"EUR","x":1}"#).is_err());
    let third = Computed::round(Ratio::parse("1/3").unwrap(), currency("EUR")).unwrap();
    assert_eq!(serde_json::to_string(&third).unwrap(), r#"{"amount":"0.33","currency":"EUR","exact":"1/3"}"#);
}

#[test]
fn currencies_do_not_mix() {
    assert_eq!(money("1", "EUR").checked_add(money("1", "USD")), Err(MoneyError::CurrencyMismatch));
    let most = Money::from_minor(MINOR_BOUND - 1, currency("EUR")).unwrap();
    assert_eq!(most.checked_add(money("0.01", "EUR")), Err(MoneyError::OutOfRange));
}

#[test]
fn a_split_gives_the_remainder_to_the_largest_then_the_first() {
    let split = |amount: &str, weights: &[&str]| {
        let weights: Vec<Ratio> = weights.iter().map(|weight| Ratio::parse(weight).unwrap()).collect();
        money(amount, "EUR")
            .split(&weights)
            .map(|parts| parts.iter().map(Money::to_string).collect::<Vec<_>>())
    };
    assert_eq!(split("10.00", &["1", "1", "1"]).unwrap(), ["3.34", "3.33", "3.33"]);
    assert_eq!(split("-10.00", &["1", "1", "1"]).unwrap(), ["-3.34", "-3.33", "-3.33"]);
    assert_eq!(split("0.02", &["1", "1", "1"]).unwrap(), ["0.01", "0.01", "0.00"]);
    assert_eq!(split("1.00", &["0", "2/3", "1/3"]).unwrap(), ["0.00", "0.67", "0.33"]);
    assert_eq!(split("1.00", &[]), None);
    assert_eq!(split("1.00", &["0"]), None);
    assert_eq!(split("1.00", &["2", "-1"]), None);
}

proptest! {
    #[test]
    fn reading_undoes_showing(minor in -MINOR_BOUND + 1..MINOR_BOUND, code in prop::sample::select(vec!["EUR", "JPY", "KWD"])) {
        let money = Money::from_minor(minor, currency(code)).unwrap();
        prop_assert_eq!(Money::parse(&money.to_string(), currency(code)), Ok(money));
        prop_assert_eq!(Money::rounded(&money.to_ratio(), currency(code)), Ok(money));
    }

    #[test]
    fn parts_add_up_and_stay_within_a_unit(minor in -1_000_000i128..1_000_000, weights in prop::collection::vec(0i128..1000, 1..20)) {
        let weights: Vec<Ratio> = weights.into_iter().map(Ratio::from_integer).collect();
        let total: Ratio = weights.iter().cloned().sum();
        prop_assume!(!total.is_zero());
        let money = Money::from_minor(minor, currency("EUR")).unwrap();
        let parts = money.split(&weights).unwrap();
        prop_assert_eq!(parts.iter().map(|part| part.minor()).sum::<i128>(), minor);
        for (part, weight) in parts.iter().zip(&weights) {
            let exact = (&Ratio::from_integer(minor) * weight).checked_div(&total).unwrap();
            let off = Ratio::from_integer(part.minor()) - exact;
            prop_assert!(off < Ratio::one() && off > -Ratio::one());
        }
    }
}
