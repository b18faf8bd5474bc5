//! Where bytes of a tenant may rest: `allowed(tenant)` = the home region ∪ what it replicates to, narrowed by the
//! tenant's own residency. A contract (`custom_residency`) may list regions that the home region does not permit.
//!
//! Whoever opens a place for a tenant's bytes (a cell, a backup, a restored copy, an export) is handed a [`Resident`],
//! which only [`reside`] mints: so nobody can forget to ask.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::TenantId;
use crate::refusal::{Refusal, kind};

/// A region with what follows from lying in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// The zone, as in `eu`.
    pub zone: String,
    /// Where else bytes of its tenants may go.
    pub replicates_to: Replication,
}

/// Where bytes of a region's tenants may go besides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    /// `*`: to every region.
    Everywhere,
    /// To the regions of its own zone.
    OwnZone,
    /// To these.
    To(BTreeSet<String>),
}

/// All regions by name.
pub type Regions = BTreeMap<String, Region>;

/// What decides where a tenant's bytes may rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residence<'a> {
    /// The home region.
    pub home: &'a str,
    /// Regions or zones; empty: no narrowing.
    pub residency: &'a [String],
    /// Whether the tenant has `custom_residency`.
    pub by_contract: bool,
}

/// The regions in which bytes of a tenant may rest. Unknown names give nothing.
pub fn allowed(regions: &Regions, residence: &Residence<'_>) -> BTreeSet<String> {
    let permitted = permitted(regions, residence.home);
    if residence.residency.is_empty() {
        return permitted;
    }
    let listed = listed(regions, residence.residency);
    match residence.by_contract {
        true => listed,
        false => permitted.intersection(&listed).cloned().collect(),
    }
}

fn permitted(regions: &Regions, home: &str) -> BTreeSet<String> {
    let Some(region) = regions.get(home) else { return BTreeSet::new() };
    let reached = regions.iter().filter(|(name, other)| match &region.replicates_to {
        Replication::Everywhere => true,
        Replication::OwnZone => other.zone == region.zone,
        Replication::To(names) => names.contains(*name),
    });
    reached.map(|(name, _)| name.clone()).chain([home.to_owned()]).collect()
}

fn listed(regions: &Regions, residency: &[String]) -> BTreeSet<String> {
    let is_listed =
        |(name, region): &(&String, &Region)| residency.contains(name) || residency.contains(&region.zone);
    regions.iter().filter(is_listed).map(|(name, _)| name.clone()).collect()
}

/// The proof that bytes of one tenant may rest in one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    tenant: TenantId,
    region: String,
}

impl Resident {
    /// Whose bytes.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }
    /// Where.
    pub fn region(&self) -> &str {
        &self.region
    }
}

/// Proves that bytes of `tenant` may rest in `region`.
///
/// # Errors
/// 422 `tenancy.residency`, with the regions where they may.
pub fn reside(
    regions: &Regions,
    tenant: TenantId,
    residence: &Residence<'_>,
    region: &str,
) -> Result<Resident, Refusal> {
    let allowed = allowed(regions, residence);
    if allowed.contains(region) {
        return Ok(Resident { tenant, region: region.to_owned() });
    }
    let words = format!("Data of this tenant may not rest in `{region}`.");
    let names: Vec<String> = allowed.into_iter().collect();
    let detail = match names.is_empty() {
        true => "its residency and its home region have no region in common".to_owned(),
        false => format!("allowed: {}", names.join(", ")),
    };
    Err(Refusal::new(&kind::RESIDENCY, words).field("/region", "not_allowed", detail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shipped() -> Regions {
        let region = |zone: &str, replicates_to| Region { zone: zone.to_owned(), replicates_to };
        [
            ("us-east-1".to_owned(), region("us", Replication::Everywhere)),
            ("eu-west-1".to_owned(), region("eu", Replication::OwnZone)),
            ("eu-north-1".to_owned(), region("eu", Replication::To(BTreeSet::new()))),
            ("ap-southeast-1".to_owned(), region("apac", Replication::OwnZone)),
        ]
        .into()
    }

    #[test]
    fn where_bytes_may_rest() {
        let of = |home, residency: &[&str], by_contract| {
            let residency: Vec<String> = residency.iter().map(|word| (*word).to_owned()).collect();
            let residence = Residence { home, residency: &residency, by_contract };
            allowed(&shipped(), &residence).into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("us-east-1", &[], false), "ap-southeast-1 eu-north-1 eu-west-1 us-east-1");
        assert_eq!(of("eu-west-1", &[], false), "eu-north-1 eu-west-1");
        assert_eq!(of("eu-north-1", &[], false), "eu-north-1");
        assert_eq!(of("us-east-1", &["eu"], false), "eu-north-1 eu-west-1");
        assert_eq!(of("eu-west-1", &["us"], false), "");
        assert_eq!(of("eu-west-1", &["us"], true), "us-east-1");
        assert_eq!(of("eu-west-1", &["eu-west-1"], false), "eu-west-1");
        assert_eq!(of("mars-1", &[], false), "");
    }

    fn names() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a1", "a2", "b1", "b2", "c1", "a", "b", "c", "zz"]).prop_map(str::to_owned)
    }

    fn regions() -> impl Strategy<Value = Regions> {
        let replication = prop_oneof![
            Just(Replication::Everywhere),
            Just(Replication::OwnZone),
            prop::collection::btree_set(names(), 0..4).prop_map(Replication::To),
        ];
        let five = ["a1", "a2", "b1", "b2", "c1"];
        prop::collection::vec(replication, five.len()).prop_map(move |all| {
            let of = |(name, replicates_to): (&str, Replication)| {
                (name.to_owned(), Region { zone: name[..1].to_owned(), replicates_to })
            };
            five.into_iter().zip(all).map(of).collect()
        })
    }

    proptest! {
        #[test]
        fn residency_narrows_and_only_a_contract_widens(
            regions in regions(),
            home in prop::sample::select(vec!["a1", "a2", "b1", "b2", "c1"]),
            residency in prop::collection::vec(names(), 0..4),
            more in names(),
            asked in names(),
        ) {
            let of = |residency: &[String], by_contract| allowed(&regions, &Residence { home, residency, by_contract });
            let (free, own, bought) = (of(&[], false), of(&residency, false), of(&residency, true));
            prop_assert!(free.contains(home));
            prop_assert!(own.is_subset(&free), "what is not permitted needs a contract");
            let in_list = |name: &String| residency.contains(name) || residency.contains(&regions[name].zone);
            if residency.is_empty() {
                prop_assert_eq!(&own, &free);
                prop_assert_eq!(&bought, &free);
            } else {
                prop_assert!(own.iter().all(in_list) && bought.iter().all(in_list));
                prop_assert!(own.is_subset(&bought));
                let mut longer = residency.clone();
                longer.push(more);
                prop_assert!(own.is_subset(&of(&longer, false)));
            }
            for by_contract in [false, true] {
                let residence = Residence { home, residency: &residency, by_contract };
                let proof = reside(&regions, TenantId::from_u128(7), &residence, &asked);
                prop_assert_eq!(proof.is_ok(), allowed(&regions, &residence).contains(&asked));
                if let Ok(proof) = proof {
                    prop_assert_eq!((proof.tenant(), proof.region()), (TenantId::from_u128(7), asked.as_str()));
                }
            }
        }
    }
}
