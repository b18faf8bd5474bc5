//! Prices: the published examples, every model at its edges, every mistake with its pointer, and the law that
//! parts add up to the whole.
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    currency::Currency,
    money::{Money, MoneyError},
    price::Price,
    price_draft::PriceDraft,
    rating::{Billed, Measured, Rating, rate},
    simulate::simulate,
};
use crate::metering::ratio::Ratio;

fn usd() -> Currency {
    Currency::parse("USD").unwrap()
}

fn ratio(text: &str) -> Ratio {
    Ratio::parse(text).unwrap()
}

fn price(value: Value) -> Price {
    serde_json::from_value::<PriceDraft>(value).unwrap().price(usd()).unwrap()
}

fn rated(value: Value, quantity: &str) -> Rating {
    rate(&price(value), &Measured::whole(ratio(quantity)), &Billed::nothing(usd())).unwrap()
}

fn net(value: Value, quantity: &str) -> String {
    rated(value, quantity).net.money.to_string()
}

fn hash_tiers() -> Value {
    json!({"model": "graduated", "tiers": [
        {"up_to": "10000", "unit_price": "0.001"}, {"up_to": "100000", "unit_price": "0.0008"}, {"up_to": null, "unit_price": "0.0005"}]})
}

#[test]
fn the_published_example_comes_out_to_the_letter() {
    let money = |amount: &str, exact: &str| json!({"amount": amount, "currency": "USD", "exact": exact});
    let rating = rated(hash_tiers(), "25000");
    assert_eq!(
        serde_json::to_value(&rating).unwrap(),
        json!({
            "currency": "USD",
            "quantity": {"measured": "25000", "transformed": "25000", "included": "0", "billable": "25000"},
            "details": [
                {"kind": "tier", "tier": 1, "quantity": "10000", "unit_price": "0.001", "amount": money("10.00", "10")},
                {"kind": "tier", "tier": 2, "quantity": "15000", "unit_price": "0.0008", "amount": money("12.00", "12")},
            ],
            "gross": money("22.00", "22"), "discount": money("0.00", "0"), "cap": money("0.00", "0"), "true_up": money("0.00", "0"),
            "correction": money("0.00", "0"), "net": money("22.00", "22"), "average_unit_price": "0.00088",
        })
    );
    let steps = serde_json::to_value(&rating.steps).unwrap();
    let names: Vec<_> = steps.as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "measure",
            "transform",
            "include",
            "rate",
            "discount",
            "maximum",
            "minimum",
            "round",
            "already_billed"
        ]
    );
    assert_eq!(
        steps[7],
        json!({"step": "round", "mode": "half_away", "digits": 2, "exact": "22", "result": "22.00"})
    );
}

#[test]
fn every_model_at_its_edges() {
    let flat_fees = json!({"model": "graduated", "tiers": [{"up_to": "10", "unit_price": "1", "flat_fee": "5.00"}, {"up_to": null, "unit_price": "2", "flat_fee": "7.00"}]});
    let volume = json!({"model": "volume", "tiers": [{"up_to": "10", "unit_price": "1"}, {"up_to": null, "unit_price": "0.5", "flat_fee": "3.00"}]});
    let volume_flat = json!({"model": "volume_flat", "tiers": [{"up_to": "10000", "amount": "10.00"}, {"up_to": "100000", "amount": "80.00"}, {"up_to": null, "amount": "600.00"}]});
    let package = json!({"model": "package", "package_size": "100", "amount": "5.00", "free_units": "50"});
    let packed_tier = json!({"model": "graduated", "tiers": [{"up_to": "10", "unit_price": "1", "package_size": "4"}, {"up_to": null, "unit_price": "2"}]});
    let free_at_zero = {
        let mut price = flat_fees.clone();
        price["zero"] = json!("free");
        price
    };
    for (price, quantity, expected) in [
        (json!({"model": "flat", "amount": "49.90"}), "3", "149.70"),
        (json!({"model": "flat", "amount": "49.90"}), "0", "0.00"),
        (json!({"model": "per_unit", "unit_price": "0.0001"}), "123456", "12.35"),
        (json!({"model": "per_unit", "unit_price": "0.0001"}), "50", "0.01"),
        (json!({"model": "per_unit", "unit_price": "0.0001"}), "49", "0.00"),
        (json!({"model": "per_unit", "unit_price": "1"}), "-5", "0.00"),
        (hash_tiers(), "10000", "10.00"),
        (hash_tiers(), "10001", "10.00"),
        (hash_tiers(), "0", "0.00"),
        (hash_tiers(), "2000000", "1032.00"),
        (flat_fees.clone(), "0", "5.00"),
        (flat_fees.clone(), "10", "15.00"),
        (flat_fees, "10.5", "23.00"),
        (free_at_zero.clone(), "0", "0.00"),
        (free_at_zero, "1", "6.00"),
        (volume.clone(), "10", "10.00"),
        (volume, "11", "8.50"),
        (volume_flat.clone(), "0", "10.00"),
        (volume_flat.clone(), "10000", "10.00"),
        (volume_flat.clone(), "10000.000000000001", "80.00"),
        (volume_flat, "5000000", "600.00"),
        (package.clone(), "50", "0.00"),
        (package.clone(), "51", "5.00"),
        (package.clone(), "150", "5.00"),
        (package, "150.1", "10.00"),
        (packed_tier.clone(), "5", "8.00"),
        (packed_tier, "11", "14.00"),
    ] {
        assert_eq!(net(price.clone(), quantity), expected, "{price} at {quantity}");
    }
}

#[test]
fn the_order_is_transform_included_model_discount_maximum_minimum() {
    let price = json!({"model": "per_unit", "unit_price": "1", "transform": {"divide": "1000", "round": {"mode": "ceil", "digits": 0}},
        "included": "2", "discounts": ["50", "10"], "maximum": "4.00", "minimum": "1.00"});
    let rating = rated(price.clone(), "9001");
    assert_eq!(
        serde_json::to_value(&rating.quantity).unwrap(),
        json!({"measured": "9001", "transformed": "10", "included": "2", "billable": "8"})
    );
    let shown = [&rating.gross, &rating.discount, &rating.cap, &rating.true_up, &rating.net]
        .map(|amount| amount.money.to_string());
    assert_eq!(shown, ["8.00", "4.40", "0.00", "0.00", "3.60"]);
    let rating = rated(price.clone(), "20000");
    let shown = [&rating.gross, &rating.discount, &rating.cap, &rating.true_up, &rating.net]
        .map(|amount| amount.money.to_string());
    assert_eq!(shown, ["18.00", "9.90", "4.10", "0.00", "4.00"]);
    let rating = rated(price.clone(), "1000");
    let shown = [&rating.gross, &rating.true_up, &rating.net].map(|amount| amount.money.to_string());
    assert_eq!(shown, ["0.00", "1.00", "1.00"]);
    let early = Measured { last: false, ..Measured::whole(ratio("1000")) };
    let rating = rate(&self::price(price), &early, &Billed::nothing(usd())).unwrap();
    assert_eq!(rating.net.money.to_string(), "0.00", "a minimum is due on the last line only");
}

#[test]
fn a_share_prorates_flat_amounts_allowances_and_bounds_but_not_tiers() {
    let half = |value: Value, quantity: &str| {
        let measured = Measured { share: ratio("1/2"), ..Measured::whole(ratio(quantity)) };
        rate(&price(value), &measured, &Billed::nothing(usd())).unwrap().net.money.to_string()
    };
    assert_eq!(half(json!({"model": "flat", "amount": "31.01"}), "1"), "15.51");
    assert_eq!(half(json!({"model": "per_unit", "unit_price": "1", "included": "10"}), "10"), "5.00");
    assert_eq!(half(json!({"model": "per_unit", "unit_price": "1", "minimum": "10.00"}), "1"), "5.00");
    assert_eq!(half(json!({"model": "per_unit", "unit_price": "1", "maximum": "10.00"}), "9"), "5.00");
    assert_eq!(half(hash_tiers(), "25000"), "22.00");
}

#[test]
fn what_was_billed_is_taken_off_piece_by_piece() {
    let billed = Billed { quantity: ratio("12000"), amount: Money::parse("11.60", usd()).unwrap() };
    let rating = rate(&price(hash_tiers()), &Measured::whole(ratio("25000")), &billed).unwrap();
    assert_eq!(rating.net.money.to_string(), "10.40");
    assert_eq!(rating.quantity.measured.to_string(), "13000");
    let details = serde_json::to_value(&rating.details).unwrap();
    assert_eq!(
        (details.as_array().unwrap().len(), &details[0]["tier"], &details[0]["quantity"]),
        (1, &json!(2), &json!("13000"))
    );
    // What an earlier line rounded away stands in the correction.
    let cents = json!({"model": "per_unit", "unit_price": "0.004"});
    let billed = Billed { quantity: ratio("1"), amount: Money::zero(usd()) };
    let rating = rate(&price(cents), &Measured::whole(ratio("2")), &billed).unwrap();
    assert_eq!(
        [&rating.gross, &rating.correction, &rating.net].map(|a| a.money.to_string()),
        ["0.00", "0.01", "0.01"]
    );
    assert_eq!(rating.net.exact.to_string(), "0.008");
    let euro = Billed::nothing(Currency::parse("EUR").unwrap());
    assert_eq!(
        rate(&price(hash_tiers()), &Measured::whole(ratio("1")), &euro),
        Err(MoneyError::CurrencyMismatch)
    );
}

#[test]
fn a_run_repeated_bills_nothing() {
    let billed = Billed { quantity: ratio("25000"), amount: Money::parse("22.00", usd()).unwrap() };
    let rating = rate(&price(hash_tiers()), &Measured::whole(ratio("25000")), &billed).unwrap();
    assert_eq!((rating.net.money.minor(), rating.details.len(), rating.average_unit_price), (0, 0, None));
}

#[test]
fn amounts_beyond_the_bounds_are_refused() {
    let price = price(json!({"model": "per_unit", "unit_price": "999999999999"}));
    let much = Measured::whole(ratio("99999999999999999999"));
    assert_eq!(rate(&price, &much, &Billed::nothing(usd())), Err(MoneyError::OutOfRange));
}

#[test]
fn every_mistake_has_its_pointer() {
    for (value, expected) in [
        (json!({"model": "magic"}), vec!["/model"]),
        (json!({"model": "flat"}), vec!["/amount"]),
        (json!({"model": "flat", "amount": "1.001"}), vec!["/amount"]),
        (json!({"model": "flat", "amount": "-1"}), vec!["/amount"]),
        (json!({"model": "flat", "amount": "1", "unit_price": "1"}), vec!["/unit_price"]),
        (json!({"model": "flat", "amount": "1", "included": "1"}), vec!["/included"]),
        (json!({"model": "per_unit", "unit_price": "x"}), vec!["/unit_price"]),
        (json!({"model": "per_unit", "unit_price": "0.0000000000001"}), vec!["/unit_price"]),
        (json!({"model": "per_unit", "unit_price": "1000000000000"}), vec!["/unit_price"]),
        (json!({"model": "graduated", "tiers": []}), vec!["/tiers"]),
        (json!({"model": "graduated"}), vec!["/tiers"]),
        (
            json!({"model": "graduated", "tiers": [{"up_to": "10", "unit_price": "1"}]}),
            vec!["/tiers/0/up_to"],
        ),
        (
            json!({"model": "graduated", "tiers": [{"up_to": null, "unit_price": "1"}, {"up_to": null, "unit_price": "1"}]}),
            vec!["/tiers/0/up_to"],
        ),
        (
            json!({"model": "volume", "tiers": [{"up_to": "10", "unit_price": "1"}, {"up_to": "9", "unit_price": "1"}, {"up_to": null, "unit_price": "1"}]}),
            vec!["/tiers/1/up_to"],
        ),
        (
            json!({"model": "volume", "tiers": [{"up_to": "10", "unit_price": "1"}, {"up_to": "10", "unit_price": "1"}, {"up_to": null}]}),
            vec!["/tiers/1/up_to", "/tiers/2/unit_price"],
        ),
        (
            json!({"model": "volume_flat", "tiers": [{"up_to": null, "unit_price": "1"}]}),
            vec!["/tiers/0/unit_price", "/tiers/0/amount"],
        ),
        (
            json!({"model": "graduated", "tiers": [{"up_to": null, "unit_price": "1", "package_size": "0"}]}),
            vec!["/tiers/0/package_size"],
        ),
        (json!({"model": "package", "amount": "1"}), vec!["/package_size"]),
        (
            json!({"model": "flat", "amount": "1", "discounts": ["10", "101", "-1"]}),
            vec!["/discounts/1", "/discounts/2"],
        ),
        (json!({"model": "flat", "amount": "1", "minimum": "2", "maximum": "1"}), vec!["/minimum"]),
        (
            json!({"model": "per_unit", "unit_price": "1", "transform": {"divide": "0"}}),
            vec!["/transform/divide"],
        ),
        (json!({"model": "per_unit", "unit_price": "1", "transform": {}}), vec!["/transform"]),
        (
            json!({"model": "per_unit", "unit_price": "1", "transform": {"multiply": "2", "round": {"mode": "ceil", "digits": 13}}}),
            vec!["/transform/round/digits"],
        ),
        (json!({"model": "per_unit", "unit_price": "1", "meter": "x", "when": "advance"}), vec!["/when"]),
        (json!({"model": "flat", "amount": "1", "currency": "XXX"}), vec!["/currency"]),
    ] {
        let problems = serde_json::from_value::<PriceDraft>(value.clone()).unwrap().price(usd()).unwrap_err();
        let pointers: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
        assert_eq!(pointers, expected, "{value}");
    }
    let large = PriceDraft {
        model: "flat".into(),
        amount: Some("99999999999999.00".into()),
        ..PriceDraft::default()
    };
    assert_eq!(large.price(usd()).unwrap_err()[0].code, "billing.out_of_range");
    assert!(
        serde_json::from_value::<PriceDraft>(json!({"model": "flat", "amount": "1", "amonut": "2"})).is_err(),
        "unknown field"
    );
    assert!(
        serde_json::from_value::<PriceDraft>(json!({"model": "flat", "amount": 1.5})).is_err(),
        "a JSON number"
    );
}

/// Any valid price: each model with random parameters and everything optional on or off.
fn prices() -> impl Strategy<Value = Price> {
    let text = |digits: u32, most: u32| {
        (0..most).prop_map(move |number| Ratio::from_scaled(i128::from(number), digits).to_string())
    };
    let tiers = (
        prop::collection::btree_set(1u32..2000, 0..4),
        prop::collection::vec((text(5, 500_000), text(2, 900), prop::option::of(1u32..50)), 5),
    );
    let model = (0usize..6, tiers, text(4, 90_000), text(2, 90_000), 1u32..300, 0u32..200).prop_map(|(model, (bounds, parts), unit_price, amount, size, free)| {
        let ends: Vec<_> = bounds.iter().map(|end| json!(end.to_string())).chain([Value::Null]).collect();
        let tier = |(end, (unit_price, fee, size)): (&Value, &(String, String, Option<u32>))| {
            let mut tier = json!({"up_to": end, "unit_price": unit_price, "flat_fee": fee});
            if let Some(size) = size { tier["package_size"] = json!(size.to_string()); }
            tier
        };
        let tiers: Vec<_> = ends.iter().zip(&parts).map(tier).collect();
        let flat_tiers: Vec<_> = ends.iter().zip(&parts).map(|(end, (_, fee, _))| json!({"up_to": end, "amount": fee})).collect();
        match model {
            0 => json!({"model": "flat", "amount": amount}),
            1 => json!({"model": "per_unit", "unit_price": unit_price}),
            2 => json!({"model": "graduated", "tiers": tiers}),
            3 => json!({"model": "volume", "tiers": tiers}),
            4 => json!({"model": "volume_flat", "tiers": flat_tiers}),
            _ => json!({"model": "package", "package_size": size.to_string(), "amount": amount, "free_units": free.to_string()}),
        }
    });
    (model, any::<[bool; 6]>(), 0u32..300, 0u32..100, 0u32..50_000).prop_map(
        |(mut value, on, included, percent, cents)| {
            let amount = |cents: u32| json!(Ratio::from_scaled(i128::from(cents), 2).to_string());
            let usage = value["model"] != "flat";
            if on[0] && usage {
                value["included"] = json!(included.to_string());
            }
            if on[1] {
                value["discounts"] = json!([percent.to_string(), "12.5"]);
            }
            if on[2] {
                value["minimum"] = amount(cents / 2);
            }
            if on[3] {
                value["maximum"] = amount(cents);
            }
            if on[4] && usage {
                value["transform"] = json!({"divide": "7", "round": {"mode": "ceil", "digits": 1}});
            }
            if on[5] {
                value["zero"] = json!("free");
            }
            price(value)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn parts_add_up_to_the_whole(price in prices(), parts in prop::collection::vec(0i128..40_000, 1..8), share in 1i128..=10) {
        let share = Ratio::new(share, 10).unwrap();
        let mut billed = Billed::nothing(usd());
        let mut so_far = Ratio::zero();
        for (index, part) in parts.iter().enumerate() {
            so_far += Ratio::from_scaled(*part, 1);
            let measured = Measured { quantity: so_far.clone(), share: share.clone(), last: index + 1 == parts.len() };
            let rating = rate(&price, &measured, &billed).unwrap();
            let sum = rating.gross.money.minor() - rating.discount.money.minor() - rating.cap.money.minor() + rating.true_up.money.minor();
            prop_assert_eq!(sum + rating.correction.money.minor(), rating.net.money.minor());
            let exact = rating.gross.exact.clone() - rating.discount.exact.clone() - rating.cap.exact.clone() + rating.true_up.exact.clone();
            prop_assert_eq!(exact + rating.correction.exact.clone(), rating.net.exact.clone());
            let pieces: Ratio = rating.details.iter().map(|detail| detail.amount.exact.clone()).sum();
            prop_assert_eq!(pieces, rating.gross.exact);
            billed = Billed { quantity: so_far.clone(), amount: billed.amount.checked_add(rating.net.money).unwrap() };
        }
        let whole = rate(&price, &Measured { quantity: so_far, share, last: true }, &Billed::nothing(usd())).unwrap();
        prop_assert_eq!(billed.amount, whole.net.money);
    }

    #[test]
    fn a_graduated_price_never_falls(price in prices(), quantity in 0i128..100_000, more in 0i128..1000) {
        // A higher volume may cost less: that is what a volume price is for.
        if ["volume", "volume_flat"].contains(&price.model.name()) {
            return Ok(());
        }
        let net = |quantity: i128| rate(&price, &Measured::whole(Ratio::from_integer(quantity)), &Billed::nothing(usd())).unwrap().net.money.minor();
        prop_assert!(net(quantity) <= net(quantity + more));
    }
}

#[test]
fn the_simulator_answers_as_the_invoice_would() {
    let ask = |request: Value| simulate(&serde_json::from_value(request).unwrap());
    let request = json!({"currency": "USD", "price": hash_tiers(), "quantity": "25000", "billed": {"quantity": "0", "amount": "0.00"}});
    assert_eq!(ask(request.clone()).unwrap(), rated(hash_tiers(), "25000"));
    let with = |field: &str, value: Value| {
        let mut request = request.clone();
        request[field] = value;
        ask(request).unwrap_err()[0].pointer.clone()
    };
    assert_eq!(with("currency", json!("XXX")), "/currency");
    assert_eq!(with("price", json!({"model": "flat"})), "/price/amount");
    assert_eq!(with("price", json!({"model": "flat", "amount": "1", "currency": "EUR"})), "/price/currency");
    assert_eq!(with("share", json!("3/2")), "/share");
    assert_eq!(with("billed", json!({"quantity": "0", "amount": "0.001"})), "/billed/amount");
    let flat = json!({"currency": "EUR", "price": {"model": "flat", "amount": "40.00", "minimum": "30.00"}, "quantity": "1", "share": "3/5", "final": false});
    assert_eq!(ask(flat).unwrap().net.money.to_string(), "24.00");
    let unknown = json!({"currency": "USD", "price": hash_tiers(), "quantity": "1", "qantity": "2"});
    assert!(serde_json::from_value::<super::simulate::PriceSimulation>(unknown).is_err());
}
