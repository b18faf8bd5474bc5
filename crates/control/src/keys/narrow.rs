//! What narrows a key beyond its rights, as it is declared and kept.

use ipnet::IpNet;
use rowhouse_domain::keys::{
    ALLOWED_IPS_MAX, KeyLimitDefinition, LIMITS_MAX, Narrowing, THINGS_MAX, ThingPattern, parse_network,
};
use rowhouse_domain::refusal::{Refusal, kind};

/// What narrows a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Narrow {
    /// Only for these services, at most 32; `None` is all.
    pub services: Option<Vec<String>>,
    /// Only from these addresses and networks, at most 64; empty is any.
    pub allowed_ips: Vec<String>,
    /// Only for these things, at most 64; empty is all.
    pub resources: Vec<ThingPattern>,
    /// At most 8 limits of its own.
    pub limits: Vec<KeyLimitDefinition>,
}

impl Narrow {
    /// Adds what is wrong to `refusal`.
    pub(super) fn check(&self, refusal: Refusal) -> Refusal {
        let services = self.services.as_deref().unwrap_or_default();
        let is_name = |name: &String| (1..=63).contains(&name.chars().count());
        let bounds = [
            (services.len() <= 32, "/services", "at most 32"),
            (services.iter().all(is_name), "/services", "names of services"),
            (self.allowed_ips.len() <= ALLOWED_IPS_MAX, "/allowed_ips", "at most 64"),
            (self.resources.len() <= THINGS_MAX, "/resources", "at most 64"),
            (self.limits.len() <= LIMITS_MAX, "/limits", "at most 8"),
        ];
        let wrong = bounds.iter().filter(|(fits, ..)| !fits);
        let refusal = wrong.fold(refusal, |told, (_, at, detail)| told.field(*at, "out_of_bounds", *detail));
        self.check_limits(self.check_places(refusal))
    }

    fn check_places(&self, mut refusal: Refusal) -> Refusal {
        for (number, text) in self.allowed_ips.iter().enumerate() {
            if let Err(why) = parse_network(text) {
                refusal = refusal.field(format!("/allowed_ips/{number}"), "malformed", why);
            }
        }
        for (number, pattern) in self.resources.iter().enumerate().filter(|(_, own)| !own.is_sound()) {
            let words = format!("`{}` is no id, or has a `*` that is not at its end", pattern.id);
            refusal = refusal.field(format!("/resources/{number}"), "malformed", words);
        }
        refusal
    }

    fn check_limits(&self, mut refusal: Refusal) -> Refusal {
        for (number, limit) in self.limits.iter().enumerate() {
            let at = format!("/limits/{number}");
            let again = self.limits[..number].iter().any(|before| before.name == limit.name);
            if again || !limit.is_named_well() {
                let words = "a small letter, then small letters, digits, `.`, `_` and `-`; once in a key";
                refusal = refusal.field(format!("{at}/name"), "malformed", words);
            }
            if let Err(error) = limit.compiled() {
                refusal = refusal.field(at, "out_of_bounds", error.to_string());
            }
        }
        refusal
    }

    /// As the directory has it. What does not parse was refused when it was declared; should it be here after all, the
    /// key is for nothing rather than for everything.
    pub fn compiled(&self) -> Option<Box<Narrowing>> {
        let networks: Vec<IpNet> =
            self.allowed_ips.iter().filter_map(|text| parse_network(text).ok()).collect();
        let limits: Vec<_> = self.limits.iter().filter_map(|limit| limit.compiled().ok()).collect();
        let is_whole = networks.len() == self.allowed_ips.len() && limits.len() == self.limits.len();
        let services = self.services.as_deref().filter(|_| is_whole);
        let services = if is_whole { services } else { Some(&[][..]) };
        let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
        let narrowing = Narrowing {
            services: services.map(boxed),
            allowed_ips: networks.into(),
            things: self.resources.clone().into(),
            limits: limits.into(),
        };
        narrowing.boxed()
    }

    /// Whether a key that is narrowed so may be made with one that is narrowed like `maker`.
    ///
    /// # Errors
    /// 403 `access.escalation`.
    pub(super) fn within(&self, maker: &Narrowing) -> Result<(), Refusal> {
        let refused = |words: String| Err(Refusal::new(&kind::ACCESS_ESCALATION, words));
        if let Some(own) = maker.services.as_deref() {
            let held = |name: &String| own.iter().any(|service| **service == **name);
            if !self.services.as_ref().is_some_and(|asked| asked.iter().all(held)) {
                return refused(format!("Your key is only for {}.", own.join(", ")));
            }
        }
        if !maker.allowed_ips.is_empty() {
            let within = |network: &IpNet| maker.allowed_ips.iter().any(|own| own.contains(network));
            let asked: Vec<IpNet> =
                self.allowed_ips.iter().filter_map(|text| parse_network(text).ok()).collect();
            if asked.is_empty() || !asked.iter().all(within) {
                return refused("Your key is only for some networks; name some within these.".to_owned());
            }
        }
        match maker.limits.is_empty() {
            true => Ok(()),
            false => refused("Your key has limits of its own, which no other one would share.".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrow(allowed_ips: &[&str], services: Option<&[&str]>) -> Narrow {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        Narrow { allowed_ips: texts(allowed_ips), services: services.map(texts), ..Narrow::default() }
    }

    #[test]
    #[allow(clippy::type_complexity, reason = "a table of cases")]
    fn a_key_makes_only_narrower_ones() {
        let maker = narrow(&["10.0.0.0/8"], Some(&["stamping", "rowhouse"])).compiled().expect("narrowed");
        let rows: [(&[&str], Option<&[&str]>, bool); 6] = [
            (&["10.1.0.0/16"], Some(&["stamping"]), true),
            (&["10.0.0.0/8"], Some(&[]), true),
            (&["10.0.0.0/7"], Some(&["stamping"]), false),
            (&[], Some(&["stamping"]), false),
            (&["10.1.2.3"], None, false),
            (&["10.1.2.3"], Some(&["reports"]), false),
        ];
        for (networks, services, allowed) in rows {
            assert_eq!(
                narrow(networks, services).within(&maker).is_ok(),
                allowed,
                "{networks:?} {services:?}"
            );
        }
    }

    #[test]
    fn what_does_not_parse_makes_a_key_for_nothing() {
        let broken = narrow(&["nonsense"], None).compiled().expect("narrowed");
        assert_eq!(broken.services.as_deref(), Some(&[][..]));
        assert!(Narrow::default().compiled().is_none());
    }
}
