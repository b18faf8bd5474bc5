//! The usage header: what counts, what is dropped and why.
use proptest::prelude::*;

use super::usage_header::{DropReason, parse};

fn counted(header: &str) -> Vec<String> {
    parse(header).members.iter().map(|(meter, quantity)| format!("{meter}={quantity}")).collect()
}

fn dropped(header: &str) -> Vec<(String, DropReason)> {
    parse(header).dropped.into_iter().map(|dropped| (dropped.member, dropped.reason)).collect()
}

#[test]
fn integers_decimals_and_strings_count() {
    assert_eq!(
        counted("stamps_created=3, hash_operations=\"12.5\""),
        ["stamps_created=3", "hash_operations=12.5"]
    );
    assert_eq!(counted("a=1.125,b=\"0.000000000001\";unit=x"), ["a=1.125", "b=0.000000000001"]);
    assert_eq!(counted(""), Vec::<String>::new());
    assert_eq!(counted("  \t"), Vec::<String>::new());
    assert_eq!(counted("a=1, b=2, a=3"), ["b=2", "a=3"], "the last member of a name counts");
}

#[test]
fn what_cannot_be_read_is_dropped_and_the_rest_counts() {
    use DropReason::{BadName, BadQuantity, Malformed};
    for (member, reason) in [
        ("b", Malformed),
        ("b=", Malformed),
        ("B=1", Malformed),
        ("*b=1", BadName),
        ("b=?1", Malformed),
        ("b=(1 2)", Malformed),
        ("b=token", Malformed),
        ("b=:AA==:", Malformed),
        ("b=1.2345", Malformed),
        ("b=1.", Malformed),
        ("b=1e5", Malformed),
        ("b=1234567890123456", Malformed),
        ("b=-1", BadQuantity),
        ("b=\"NaN\"", BadQuantity),
        ("b=\"1e400\"", BadQuantity),
        ("b=\"0.0000000000001\"", BadQuantity),
        ("b=\"-1\"", BadQuantity),
        ("b=\"1\"x", Malformed),
        ("b=1;", Malformed),
        ("b=\"1", Malformed),
        ("", Malformed),
    ] {
        let header = format!("a=1,{member}");
        assert_eq!(counted(&header), ["a=1"], "{header}");
        assert_eq!(dropped(&header), [(member.to_owned(), reason)], "{header}");
    }
    assert_eq!(counted("b=\"1,5\", a=1"), ["a=1"], "a comma inside of a string separates nothing");
}

#[test]
fn eight_members_are_read() {
    let header: Vec<String> = (0..10).map(|number| format!("m{number}=1")).collect();
    let header = header.join(", ");
    assert_eq!(counted(&header).len(), 8);
    assert_eq!(
        dropped(&header),
        [("m8=1".to_owned(), DropReason::TooMany), ("m9=1".to_owned(), DropReason::TooMany)]
    );
    let long = format!("a=1, b=\"{}\"", "1".repeat(5000));
    assert_eq!((counted(&long).len(), dropped(&long)[0].1), (0, DropReason::TooLong));
}

proptest! {
    #[test]
    fn any_header_is_answered(header in ".{0,80}") {
        let read = parse(&header);
        prop_assert!(read.members.len() <= 8);
    }

    #[test]
    fn numbers_are_read_as_written(whole in 0u64..1_000_000_000_000, fraction in 0u32..1000) {
        let header = format!("a={whole}.{fraction:03}");
        let read = parse(&header);
        prop_assert_eq!(read.members[0].1, super::quantity::Quantity::parse(&format!("{whole}.{fraction:03}")).unwrap());
    }
}
