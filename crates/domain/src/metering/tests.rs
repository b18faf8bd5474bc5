//! Tables and properties of quantities, ratios, meters and aggregation.
use proptest::prelude::*;

use super::{
    quantity::{Quantity, QuantityError},
    ratio::Ratio,
};

#[test]
fn quantities_are_read_from_their_text() {
    for (text, shown) in [
        ("0", "0"),
        ("-0", "0"),
        ("12.50", "12.5"),
        ("1.5e3", "1500"),
        ("25E-1", "2.5"),
        ("+7", "7"),
        ("0.000000000001", "0.000000000001"),
        ("99999999999999999999.999999999999", "99999999999999999999.999999999999"),
        ("0e999999999999", "0"),
        ("1000000e-18", "0.000000000001"),
        ("-3", "-3"),
        ("1.0000000000000000", "1"),
    ] {
        assert_eq!(Quantity::parse(text).map(|q| q.to_string()), Ok(shown.to_owned()), "{text}");
    }
}

#[test]
fn what_is_not_a_quantity_is_refused() {
    use QuantityError::{Malformed, OutOfRange, TooPrecise};
    for (text, error) in [
        ("NaN", Malformed),
        ("Infinity", Malformed),
        ("", Malformed),
        ("1.", Malformed),
        (".5", Malformed),
        ("1e", Malformed),
        ("1 ", Malformed),
        ("0x10", Malformed),
        ("--1", Malformed),
        ("1,5", Malformed),
        ("1e400", OutOfRange),
        ("100000000000000000000", OutOfRange),
        ("-1e20", OutOfRange),
        ("1e99999999999", OutOfRange),
        ("0.0000000000001", TooPrecise),
        ("1e-13", TooPrecise),
        ("1e-99999999999", TooPrecise),
    ] {
        assert_eq!(Quantity::parse(text), Err(error), "{text}");
    }
}

#[test]
fn quantities_travel_as_strings_only() {
    assert_eq!(serde_json::from_str::<Quantity>("\"12.50\"").unwrap(), Quantity::parse("12.5").unwrap());
    assert!(serde_json::from_str::<Quantity>("12.5").is_err());
    assert_eq!(serde_json::to_string(&Quantity::parse("12.50").unwrap()).unwrap(), "\"12.5\"");
}

#[test]
fn ratios_show_a_decimal_or_lowest_terms() {
    for (text, shown) in [
        ("1/3", "1/3"),
        ("2/4", "0.5"),
        ("-7/8", "-0.875"),
        ("10/5", "2"),
        ("0.10", "0.1"),
        ("1/7", "1/7"),
        ("-0.001", "-0.001"),
    ] {
        assert_eq!(Ratio::parse(text).unwrap().to_string(), shown);
    }
    for text in ["1/0", "", "/", "1.", "a", "1e3", "--1"] {
        assert_eq!(Ratio::parse(text), Err(super::ratio::RatioError), "{text}");
    }
}

#[test]
fn halves_go_away_from_zero() {
    for (text, digits, units) in [
        ("0.005", 2, 1),
        ("-0.005", 2, -1),
        ("0.004999", 2, 0),
        ("1/3", 2, 33),
        ("2.5", 0, 3),
        ("-2.5", 0, -3),
        ("1250", -2, 13),
    ] {
        assert_eq!(Ratio::parse(text).unwrap().round_scaled(digits), Some(units), "{text} to {digits}");
    }
    assert_eq!(Ratio::parse("1250").unwrap().round(-2).to_string(), "1300");
    assert_eq!(Ratio::parse("-1.21").unwrap().floor_to(1).to_string(), "-1.3");
    assert_eq!(Ratio::parse("-1.21").unwrap().ceil_to(1).to_string(), "-1.2");
}

/// The modules that count and charge hold no float type: neither in code nor in a signature.
#[test]
fn no_float_type_is_named_in_metering_or_billing() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let banned = [concat!("f", "32"), concat!("f", "64")];
    let mut files = 0;
    for folder in ["metering", "billing", "audit"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            assert!(path.is_file(), "{} is a folder this test does not walk", path.display());
            let text = std::fs::read_to_string(&path).unwrap();
            files += 1;
            for word in banned {
                let named = text
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|token| token == word || token.ends_with(&format!("_{word}")));
                assert!(!named, "{} names {word}", path.display());
            }
        }
    }
    assert!(files > 3);
}

const UNITS: std::ops::Range<i128> =
    -99_999_999_999_999_999_999_999_999_999_999..99_999_999_999_999_999_999_999_999_999_999;

proptest! {
    #[test]
    fn parse_undoes_display(units in UNITS) {
        let quantity = Quantity::from_units(units).unwrap();
        prop_assert_eq!(Quantity::parse(&quantity.to_string()), Ok(quantity));
        prop_assert_eq!(Quantity::rounded(&quantity.to_ratio()), Some(quantity));
        prop_assert_eq!(quantity.to_ratio().to_string(), quantity.to_string());
    }

    #[test]
    fn parse_never_panics_and_agrees_with_ratio(text in "-?[0-9]{1,22}(\\.[0-9]{1,14})?") {
        let ratio = Ratio::parse(&text).unwrap();
        if let Ok(quantity) = Quantity::parse(&text) {
            prop_assert_eq!(quantity.to_ratio(), ratio);
        }
    }

    #[test]
    fn any_text_is_answered(text in ".{0,40}") {
        let _ = (Quantity::parse(&text), Ratio::parse(&text));
    }

    #[test]
    fn adding_then_subtracting_is_the_identity(a in UNITS, b in UNITS) {
        let (a, b) = (Quantity::from_units(a).unwrap(), Quantity::from_units(b).unwrap());
        if let Some(sum) = a.checked_add(b) {
            prop_assert_eq!(sum.checked_sub(b), Some(a));
            prop_assert_eq!(sum.to_ratio(), a.to_ratio() + b.to_ratio());
        }
    }
}
