//! Who gets which release.

use proptest::prelude::*;

use super::*;

fn service() -> ServiceDefinition {
    let release = |name: &str| ReleaseDefinition { name: name.into(), upstreams: vec![format!("{name}:80")] };
    ServiceDefinition {
        release: Some("2.1.0".into()),
        releases: vec![release("2.2.0"), release("3.0.0")],
        ..ServiceDefinition::new("stamping", &["2.1.0:80"])
    }
}

fn split(release: &str) -> Split {
    Split {
        release: release.into(),
        tenants: vec![],
        header: None,
        weight: None,
        sticky_by: StickyBy::Tenant,
    }
}

fn traffic(splits: Vec<Split>) -> Traffic {
    Traffic { default_release: None, splits }
}

fn caller(tenant: u128, code: &str) -> SplitCaller<'_> {
    SplitCaller { tenant: Some((TenantId::from_u128(tenant), code)), user: None, draw: 0 }
}

#[test]
fn pinned_tenants_go_first_then_headers_then_shares_then_the_default() {
    let header = SplitHeader { name: "x-release".into(), value: "next".into() };
    let compiled = CompiledTraffic::new(
        &service(),
        &Traffic {
            default_release: Some("2.2.0".into()),
            splits: vec![
                Split { header: Some(header), ..split("3.0.0") },
                Split { tenants: vec!["acme".into()], ..split("2.1.0") },
            ],
        },
    );
    let next = |name: &str| (name == "x-release").then_some(&b"next"[..]);
    assert_eq!(compiled.release(caller(1, "acme"), next), 0, "pinned, whatever it sends");
    assert_eq!(compiled.release(caller(2, "bolt"), next), 2);
    assert_eq!(compiled.release(caller(2, "bolt"), |_| None), 1);
    assert_eq!(compiled.release(caller(2, "bolt"), |_| Some(b"nextt")), 1);
}

#[test]
fn what_is_not_declared_any_more_is_the_default() {
    let gone = Traffic {
        default_release: Some("9".into()),
        splits: vec![Split { weight: Some(100), ..split("9") }],
    };
    assert_eq!(CompiledTraffic::new(&service(), &gone).release(caller(1, "acme"), |_| None), 0);
}

#[test]
fn what_cannot_be_is_said() {
    let weight = |weight| Split { weight: Some(weight), ..split("2.2.0") };
    let pinned = || Split { tenants: vec!["acme".into()], ..split("2.2.0") };
    let header = |name: &str| {
        let header = SplitHeader { name: name.into(), value: "x".into() };
        Split { header: Some(header), ..split("2.2.0") }
    };
    for (splits, at, code) in [
        (vec![Split { weight: Some(1), ..split("9") }], "/splits/0/release", "unknown"),
        (vec![split("2.2.0")], "/splits/0", "missing"),
        (vec![Split { weight: Some(1), ..pinned() }], "/splits/0", "missing"),
        (vec![weight(0)], "/splits/0/weight", "out_of_bounds"),
        (vec![weight(101)], "/splits/0/weight", "out_of_bounds"),
        (vec![weight(60), weight(41)], "/splits/1/weight", "out_of_bounds"),
        (vec![pinned(), pinned()], "/splits/1/tenants", "twice"),
        (vec![header("Authorization")], "/splits/0/header", "malformed"),
        (vec![header("authorization")], "/splits/0/header", "malformed"),
        (vec![header("")], "/splits/0/header", "malformed"),
        (vec![weight(1); 17], "/splits", "out_of_bounds"),
    ] {
        let bad = traffic(splits.clone()).check(&service()).expect_err("refused");
        assert_eq!((bad.at.as_str(), bad.code), (at, code), "{splits:?}");
    }
    let unknown = Traffic { default_release: Some("9".into()), splits: vec![] };
    assert_eq!(unknown.check(&service()).map_err(|bad| bad.code), Err("unknown"));
    assert_eq!(
        traffic(vec![weight(60), weight(40), header("x-release"), pinned()]).check(&service()),
        Ok(())
    );
}

#[test]
fn releases_have_names_and_copies() {
    let service = service();
    for (index, name) in ["2.1.0", "2.2.0", "3.0.0"].into_iter().enumerate() {
        assert_eq!(service.release_index(name), Some(index));
        assert_eq!(service.release_name(index), name);
        assert_eq!(service.release_upstreams(index), [format!("{name}:80")]);
    }
    assert_eq!((service.release_index(""), service.release_upstreams(3).len()), (None, 0));
    assert_eq!(ServiceDefinition::new("plain", &[]).release_name(0), "");
}

fn shared(weight: u32, by: StickyBy) -> CompiledTraffic {
    let split = Split { weight: Some(weight), sticky_by: by, ..split("2.2.0") };
    CompiledTraffic::new(&service(), &traffic(vec![split]))
}

#[test]
fn a_share_is_about_what_it_says() {
    for weight in [1, 5, 50, 100] {
        let compiled = shared(weight, StickyBy::Tenant);
        let taken = (0..10_000).filter(|id| compiled.release(caller(*id, ""), |_| None) == 1).count();
        let expected = weight as usize * 100;
        assert!(taken.abs_diff(expected) <= 40 + expected / 20, "{taken} of 10,000 for {weight} %");
    }
    let drawn = shared(30, StickyBy::Request);
    let nobody = |draw| SplitCaller { tenant: None, user: None, draw };
    let taken = (0..10_000).filter(|draw| drawn.release(nobody(*draw), |_| None) == 1).count();
    assert_eq!(taken, 3_000);
}

proptest! {
    /// Raising a weight takes nobody away from the release, and what a caller is drawn by is all that counts.
    #[test]
    fn who_has_a_release_keeps_it(tenant: u128, user: u128, weight in 1_u32..100, draws: [u64; 2]) {
        let who = |draw| SplitCaller {
            tenant: Some((TenantId::from_u128(tenant), "acme")),
            user: Some(Uuid::from_u128(user)),
            draw,
        };
        for by in [StickyBy::Tenant, StickyBy::User] {
            let before = shared(weight, by).release(who(draws[0]), |_| None);
            prop_assert_eq!(before, shared(weight, by).release(who(draws[1]), |_| None));
            let after = shared(weight + 1, by).release(who(draws[0]), |_| None);
            prop_assert!(after >= before);
        }
    }
}
