//! Which schema goes in which wave: a pure rule.

/// One wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wave {
    /// Tenants labelled `canary`, else one.
    Canary,
    /// So many hundredths of the tenants with tables of their own, together with the waves before.
    Share(u8),
}

/// What a wave is called.
impl std::fmt::Display for Wave {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wave::Canary => write!(out, "canary"),
            Wave::Share(percent) => write!(out, "{percent}%"),
        }
    }
}

/// The waves if none are named.
pub(super) const USUAL: [&str; 4] = ["canary", "1%", "10%", "100%"];

/// Reads names of waves: `canary` first if at all, then rising shares, `100%` last.
pub(super) fn parse(names: &[String]) -> Option<Vec<Wave>> {
    let mut waves = Vec::new();
    let mut before = 0;
    for name in names {
        let wave = match name.as_str() {
            "canary" if waves.is_empty() => Wave::Canary,
            share => {
                let percent: u8 = share.strip_suffix('%')?.parse().ok()?;
                if percent <= before || percent > 100 {
                    return None;
                }
                before = percent;
                Wave::Share(percent)
            }
        };
        waves.push(wave);
    }
    (before == 100).then_some(waves)
}

/// A schema that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// One tenant's, not the shared one.
    pub own: bool,
    /// Its tenant goes first.
    pub canary: bool,
}

/// The number of each candidate's wave. Shared schemas hold many tenants: they go right after the canaries.
pub(super) fn plan(candidates: &[Candidate], waves: &[Wave]) -> Vec<usize> {
    let own: Vec<usize> = (0..candidates.len()).filter(|at| candidates[*at].own).collect();
    let labelled = own.iter().any(|at| candidates[*at].canary);
    let is_canary = |at: usize| if labelled { candidates[at].canary } else { own.first() == Some(&at) };
    let first_share = usize::from(waves.first() == Some(&Wave::Canary)).min(waves.len().saturating_sub(1));
    let mut planned = vec![first_share; candidates.len()];
    let mut placed = 0;
    let (canaries, others): (Vec<usize>, Vec<usize>) = own.iter().partition(|at| is_canary(**at));
    let mut order = canaries.iter().chain(&others);
    for (number, wave) in waves.iter().enumerate() {
        let until = match wave {
            Wave::Canary => canaries.len(),
            Wave::Share(percent) => (own.len() * usize::from(*percent)).div_ceil(100),
        };
        for at in order.by_ref().take(until.saturating_sub(placed)) {
            planned[*at] = number;
            placed += 1;
        }
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn waves_rise_to_all() {
        assert_eq!(
            parse(&names(&USUAL)),
            Some(vec![Wave::Canary, Wave::Share(1), Wave::Share(10), Wave::Share(100)])
        );
        assert_eq!(parse(&names(&["100%"])), Some(vec![Wave::Share(100)]));
        for wrong in [
            &[][..],
            &["canary"],
            &["10%"],
            &["10%", "1%", "100%"],
            &["1%", "canary", "100%"],
            &["200%"],
            &["x"],
            &["100%", "100%"],
        ] {
            assert_eq!(parse(&names(wrong)), None, "{wrong:?}");
        }
    }

    #[test]
    fn two_thousand_tenants_go_as_one_twenty_two_hundred_and_the_rest() {
        let mut candidates = vec![Candidate { own: true, canary: false }; 2_000];
        candidates.push(Candidate { own: false, canary: false });
        let planned = plan(&candidates, &parse(&names(&USUAL)).expect("usual"));
        let count = |wave| planned.iter().filter(|planned| **planned == wave).count();
        assert_eq!((count(0), count(1), count(2), count(3)), (1, 20, 180, 1_800));
        assert_eq!(planned[2_000], 1, "the shared schema follows the canaries");
        candidates[7].canary = true;
        candidates[9].canary = true;
        let planned = plan(&candidates, &parse(&names(&USUAL)).expect("usual"));
        assert_eq!((planned[0], planned[7], planned[9]), (1, 0, 0));
    }

    #[test]
    fn everybody_is_in_a_wave_that_is_there() {
        for own in 0..40 {
            for shared in 0..3 {
                for waves in [&["100%"][..], &["canary", "100%"], &["7%", "50%", "100%"], &USUAL] {
                    let waves = parse(&names(waves)).expect("waves");
                    let of = |own| Candidate { own, canary: false };
                    let candidates: Vec<_> =
                        (0..own).map(|_| of(true)).chain((0..shared).map(|_| of(false))).collect();
                    let planned = plan(&candidates, &waves);
                    assert!(planned.iter().all(|wave| *wave < waves.len()), "{planned:?}");
                    assert_eq!(planned.len(), candidates.len());
                }
            }
        }
    }
}
