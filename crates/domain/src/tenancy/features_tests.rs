//! The order of sources, and shares that only grow.

use proptest::prelude::*;

use super::*;

fn flag(kind: FlagType, default: FlagValue, rollout: Option<(&str, &str)>) -> Flag {
    let rollout = rollout.map(|(percent, salt)| Rollout { percent: percentage(percent), salt: salt.into() });
    Flag {
        name: "f".into(),
        kind,
        default,
        description: String::new(),
        audience: Audience::Services,
        rollout,
    }
}

fn percentage(text: &str) -> Percent {
    Percent::try_from(text.to_owned()).expect("a percentage")
}

const OFF: FlagValue = FlagValue::Bool(false);
const ON: FlagValue = FlagValue::Bool(true);
const TENANT: TenantId = TenantId(uuid::Uuid::from_u128(7));

#[test]
fn the_first_source_that_says_something_wins() {
    let names = ["f".to_owned()];
    for (own, percent, tier, default, value, because) in [
        (Some(OFF), "100", true, ON, OFF, Source::Override),
        (Some(ON), "0", false, OFF, ON, Source::Override),
        (None, "100", false, OFF, ON, Source::Rollout),
        (None, "0", true, OFF, ON, Source::Tier),
        (None, "0", false, OFF, OFF, Source::Default),
        (None, "0", false, ON, ON, Source::Default),
        (Some(FlagValue::Integer(1)), "0", true, OFF, ON, Source::Tier),
    ] {
        let flag = flag(FlagType::Bool, default, Some((percent, "s")));
        let decision = decide(&flag, TENANT, if tier { &names } else { &[] }, own.as_ref());
        assert_eq!((decision.value, decision.because), (value, because), "{own:?} {percent} {tier}");
        assert!(decision.candidates[1].bucket.is_some() && decision.candidates[0].bucket.is_none());
    }
}

#[test]
fn only_flags_of_type_bool_come_from_tiers_and_rollouts() {
    let flag = flag(FlagType::Integer, FlagValue::Integer(3), Some(("100", "s")));
    let decision = decide(&flag, TENANT, &["f".to_owned()], None);
    assert_eq!((decision.value, decision.because), (FlagValue::Integer(3), Source::Default));
}

#[test]
fn tiers_imply_flags_that_nobody_declared() {
    let declared = [flag(FlagType::Bool, ON, None)];
    let names: Vec<_> =
        flags(&declared, &crate::tenancy::shipped_tiers()).into_iter().map(|flag| flag.name).collect();
    assert_eq!(names.len(), 10);
    assert!(names.is_sorted() && names.contains(&"f".to_owned()) && names.contains(&"sla".to_owned()));
}

#[test]
fn percentages_are_decimal_strings() {
    for (text, canonical) in
        [("0", "0"), ("12.5", "12.5"), ("12.50", "12.5"), ("0.01", "0.01"), ("100.00", "100")]
    {
        assert_eq!(String::from(percentage(text)), canonical);
    }
    for wrong in ["", "-1", "100.01", "101", "1.234", "1.", ".5", "1e1", "65536"] {
        assert_eq!(Percent::try_from(wrong.to_owned()), Err(PercentError), "{wrong}");
    }
}

#[test]
fn the_bucket_is_the_documented_hash() {
    // sha256("beta" ‖ 00 ‖ 00…07), computed with another program.
    let rollout = Rollout { percent: percentage("50"), salt: "beta".into() };
    assert_eq!(rollout.bucket(TENANT), 4564);
}

proptest! {
    #[test]
    fn raising_the_share_never_turns_a_tenant_off(id: u128, salt in ".{0,12}", a in 0u16..=10_000, b in 0u16..=10_000) {
        let (low, high) = (a.min(b), a.max(b));
        let takes = |share| Rollout { percent: Percent(share), salt: salt.clone() }.takes(TenantId::from_u128(id));
        prop_assert!(!takes(low) || takes(high));
        prop_assert!(takes(10_000) && !takes(0));
    }

    #[test]
    fn percentages_read_as_they_are_written(share in 0u16..=10_000) {
        prop_assert_eq!(Percent::try_from(String::from(Percent(share))), Ok(Percent(share)));
    }
}
