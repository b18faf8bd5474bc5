//! Dynamic separation of duty, INCITS 359-2012 §5.4: of a set of roles somebody may be authorised for more than are active together in
//! one session. Who has no more of the set than may be active notices nothing. Who has more begins with none of them, and says
//! himself which he wants ([`Chosen`]).
//!
//! **The rule.** A set is over-full for somebody at an instant if he is authorised for more than `at_most` of its members then: by
//! grants on the whole tenant or on a thing, through groups, with everyone, by inheritance. Its members that he has are then inactive,
//! but for those that the session has chosen or that a chosen role inherits; if these are more than `at_most`, as after the
//! constraint was changed, none counts as chosen. A grant of a role that is or inherits an inactive member gives nothing, so one that
//! inherits too many members of a set is never active. A denial is never inactive.
//!
//! Where no session is named, nothing is chosen: that is how keys, machines and questions about a person are answered.

use std::collections::BTreeSet;

use super::explain::ways;
use super::{Constraint, ConstraintKind, Grant, GrantEffect, GrantTarget, Interval, Model, Principal};
use crate::id::SessionId;

/// What sessions are held to, and what was chosen in them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sessions<'a> {
    /// Constraints; only those of kind `dynamic` are looked at.
    pub apart: &'a [Constraint],
    /// What was chosen, at most once for a session.
    pub chosen: &'a [Chosen],
}

/// The roles that somebody has made active in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// In which session; `None` is wherever none is named, as in a simulation, where each has only one.
    pub session: Option<SessionId>,
    /// Whose it is.
    pub principal: Principal,
    /// Names of roles, each with what it inherits.
    pub active: Vec<String>,
}

/// The roles that somebody has at an instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// Those that are active, inherited ones included.
    pub active: BTreeSet<String>,
    /// Those that are not.
    pub inactive: BTreeSet<String>,
}

/// Of each dynamic set the members that a grant authorises for, a bit for each; empty if none.
pub(super) type Touched = Vec<u32>;

/// What somebody is authorised for of the dynamic sets, and when.
pub(super) type Authorised<'t> = Vec<(&'t [u32], Interval)>;

/// When which members of dynamic sets are inactive for somebody: the set, a bit for each member, and when.
#[derive(Debug, Default)]
pub(super) struct Inactive(Vec<(usize, u32, Interval)>);

impl<'m> Model<'m> {
    fn dynamic(&self) -> impl Iterator<Item = &'m Constraint> + use<'m> {
        self.sessions.apart.iter().filter(|one| one.kind == ConstraintKind::Dynamic)
    }

    /// What a grant authorises for of dynamic sets.
    pub(super) fn touched(&self, grant: &Grant) -> Touched {
        if grant.effect == GrantEffect::Deny || !matches!(grant.target, GrantTarget::Role(_)) {
            return Touched::new();
        }
        let touched: Touched = self.dynamic().map(|constraint| self.bits(constraint, grant)).collect();
        if touched.iter().all(|bits| *bits == 0) { Touched::new() } else { touched }
    }

    /// When which members are inactive for who has `had` and has chosen `active`.
    pub(super) fn inactive(&self, had: &Authorised<'_>, active: &[String]) -> Inactive {
        let mut all = Vec::new();
        for (set, constraint) in self.dynamic().enumerate().filter(|_| !had.is_empty()) {
            let own = had.iter().map(|(touched, when)| (touched[set], *when)).filter(|(bits, _)| *bits != 0);
            let own: Vec<(u32, Interval)> = own.collect();
            let chosen = self.named(constraint, active);
            for piece in pieces(own.iter().map(|(_, when)| *when)) {
                let then = own.iter().filter(|(_, when)| when.contains(piece));
                let bits = then.fold(0, |bits, (own, _)| bits | own);
                if bits.count_ones() > constraint.at_most {
                    all.push((set, left(bits, chosen, constraint.at_most), piece));
                }
            }
        }
        Inactive(all)
    }

    /// The members of a set that are among `roles` or that one of them inherits.
    fn named(&self, constraint: &Constraint, roles: &[String]) -> u32 {
        let is_named = |member: &str| roles.iter().any(|role| self.roles.includes(role, member));
        let members = constraint.apart().enumerate().filter(|(_, member)| is_named(member));
        members.fold(0, |bits, (index, _)| bits | 1 << index)
    }

    /// What was chosen in a session, if it is `who`'s.
    pub(super) fn chosen(&self, who: Principal, session: Option<SessionId>) -> &'m [String] {
        let of = |session| self.chosen_by(who).find(|one| one.session == session);
        of(session).or_else(|| of(None)).map_or(&[], |one| &one.active)
    }

    /// All that `who` has chosen, each once.
    pub(super) fn chosen_by(&self, who: Principal) -> impl Iterator<Item = &'m Chosen> + use<'m> {
        self.sessions.chosen.iter().filter(move |one| one.principal == who)
    }

    /// Grants of roles that reach `who` at an instant.
    fn role_grants(&self, who: Principal, now_us: i64) -> impl Iterator<Item = (&'m Grant, &'m str)> {
        let ways = ways(self, who);
        self.grants.iter().filter_map(move |grant| {
            let GrantTarget::Role(role) = &grant.target else { return None };
            let now = Interval { from_us: now_us, until_us: now_us.saturating_add(1) };
            let reaches = ways
                .iter()
                .any(|(holder, _, when)| *holder == grant.holder && when.and(grant.interval).contains(now));
            (reaches && grant.effect == GrantEffect::Allow).then_some((grant, role.as_str()))
        })
    }

    /// The roles that `who` has at an instant in a session in which `active` was chosen.
    pub fn activity(&self, who: Principal, active: &[String], now_us: i64) -> Activity {
        let grants: Vec<(Touched, &str)> =
            self.role_grants(who, now_us).map(|(grant, role)| (self.touched(grant), role)).collect();
        let touching = grants.iter().filter(|(touched, _)| !touched.is_empty());
        let had: Authorised<'_> = touching.map(|(touched, _)| (&touched[..], Interval::ALWAYS)).collect();
        let inactive = self.inactive(&had, active);
        let mut activity = Activity::default();
        let is_had = |name: &&str| grants.iter().any(|(_, role)| self.roles.includes(role, name));
        for name in self.roles.names().filter(is_had) {
            let bits = |one: &Constraint| self.named(one, &[name.to_owned()]);
            let touched: Touched = self.dynamic().map(bits).collect();
            match inactive.reaches(&touched) {
                true => activity.inactive.insert(name.to_owned()),
                false => activity.active.insert(name.to_owned()),
            };
        }
        activity
    }

    /// The first dynamic constraint that does not let `active` be active together, with what it keeps apart of it.
    pub fn excluding(&self, active: &[String]) -> Option<(&'m Constraint, Vec<&'m str>)> {
        self.dynamic().find_map(|constraint| {
            let bits = self.named(constraint, active);
            let together = constraint.apart().enumerate().filter(|(index, _)| bits >> index & 1 == 1);
            (bits.count_ones() > constraint.at_most)
                .then(|| (constraint, together.map(|(_, name)| name).collect()))
        })
    }
}

/// Of what somebody has of an over-full set, what is inactive.
fn left(bits: u32, chosen: u32, at_most: u32) -> u32 {
    match bits & chosen {
        chosen if chosen.count_ones() <= at_most => bits & !chosen,
        _ => bits,
    }
}

/// The times between all beginnings and ends, in order: what holds at one instant of a piece holds in all of it.
fn pieces(intervals: impl Iterator<Item = Interval>) -> Vec<Interval> {
    let mut bounds: Vec<i64> = intervals.flat_map(|when| [when.from_us, when.until_us]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds.windows(2).map(|pair| Interval { from_us: pair[0], until_us: pair[1] }).collect()
}

impl Inactive {
    /// Whether nothing ever is.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether ever a member is inactive that is among these.
    fn reaches(&self, touched: &[u32]) -> bool {
        self.0.iter().any(|(set, bits, _)| touched.get(*set).is_some_and(|own| own & bits != 0))
    }

    /// `interval` in pieces: each with whether what authorises for `touched` is inactive then.
    pub(super) fn split(&self, touched: &[u32], interval: Interval) -> Vec<(Interval, bool)> {
        if interval.is_empty() || touched.is_empty() || self.is_empty() {
            return vec![(interval, false)];
        }
        let reaching = self.0.iter().filter(|(set, bits, _)| touched[*set] & bits != 0);
        let whens: Vec<Interval> =
            reaching.map(|(.., when)| when.and(interval)).filter(|when| !when.is_empty()).collect();
        let mut split: Vec<(Interval, bool)> = Vec::new();
        for piece in pieces(whens.iter().copied().chain([interval])) {
            let is_inactive = whens.iter().any(|when| when.contains(piece));
            match split.last_mut().filter(|(_, before)| *before == is_inactive) {
                Some((longer, _)) => longer.until_us = piece.until_us,
                None => split.push((piece, is_inactive)),
            }
        }
        split
    }
}
