//! What a tenant asks of people who enter it, and what is asked next in a sign-in. Pure: who decides is handed the facts.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, ProofKind};
use crate::messages::parse_beginning;

/// Whether a second factor is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mfa {
    /// Never.
    Off,
    /// Of who has one.
    Optional,
    /// Of everybody.
    Required,
    /// Of everybody, and only one that no other site can ask for in our name: a security key or a passkey.
    PhishingResistant,
}

/// What is asked of passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PasswordPolicy {
    /// Fewest characters, 8 to 32; fewer than 15 only where a second factor is required. A person has one password for all their tenants,
    /// so the longest of theirs binds it.
    pub length_min: usize,
    /// Former passwords that may not come again, 0 to 24.
    pub history: usize,
}

/// When tries are stopped. A person has one password, and one count of tries: the strictest of their tenants decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LockoutPolicy {
    /// Wrong passwords in a row, 3 to 20.
    pub attempts: i32,
    /// For how long, 5 to 240.
    pub minutes: i64,
}

/// How long a session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionPolicy {
    /// Without being used, 15 to 43200.
    pub idle_min: i64,
    /// In all, 1 to 8760.
    pub absolute_hours: i64,
    /// At once, of one person, 1 to 100; the oldest ends for a new one.
    pub concurrent_max: i64,
}

/// Whether people come in by the tenant's own provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SingleSignOn {
    /// They may, where a connection is active.
    #[default]
    Optional,
    /// Only so; but an administrator with a passkey may come in without, for the day the provider is away.
    Enforced,
}

/// Codes by text message, where `factors` has `sms_code`: they cost money, and who makes us send them may be paid for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmsPolicy {
    /// Beginnings of numbers that are taken, as `+49`; at most 250, and none means none. The operator's own list bounds them.
    pub countries: Vec<String>,
    /// Texts in 30 days, 1 to 1,000,000.
    pub monthly_max: i32,
}

impl Default for SmsPolicy {
    fn default() -> Self {
        SmsPolicy { countries: Vec::new(), monthly_max: 1_000 }
    }
}

impl SmsPolicy {
    fn fits(&self) -> bool {
        let sound = |own: &String| parse_beginning(own).is_ok_and(|read| read == *own);
        self.countries.len() <= 250 && self.countries.iter().all(sound)
    }

    /// The stricter of two: the fewer texts, and only beginnings that both take.
    fn stricter(&self, other: &SmsPolicy) -> SmsPolicy {
        let within = |own: &String, all: &[String]| all.iter().any(|wide| own.starts_with(wide.as_str()));
        let own = self.countries.iter().filter(|own| within(own, &other.countries));
        let others = other.countries.iter().filter(|own| within(own, &self.countries));
        let mut countries: Vec<String> = own.chain(others).cloned().collect();
        countries.sort_unstable();
        countries.dedup();
        SmsPolicy { countries, monthly_max: self.monthly_max.min(other.monthly_max) }
    }
}

/// A tenant's sign-in policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignInPolicy {
    /// Whether a second factor is asked for.
    pub mfa: Mfa,
    /// Days that people have to enrol one, 0 to 90.
    pub mfa_grace_days: i64,
    /// Second factors that are taken.
    pub factors: Vec<ProofKind>,
    /// Of passwords.
    pub password: PasswordPolicy,
    /// Of guessing.
    pub lockout: LockoutPolicy,
    /// Of sessions.
    pub session: SessionPolicy,
    /// Minutes that a proof is fresh for what needs a fresh one, 1 to 60.
    pub step_up_min: i64,
    /// Steps of 30 s before and after the present one whose code is taken, 0 or 1.
    pub totp_steps: i64,
    /// Days that a trusted browser counts tries for itself, 0 to 90.
    pub trusted_device_days: i64,
    /// Whether people come in by the tenant's own provider: `optional` or `enforced`.
    pub single_sign_on: SingleSignOn,
    /// Of codes by text message.
    pub sms: SmsPolicy,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        PasswordPolicy { length_min: 15, history: 4 }
    }
}

impl Default for LockoutPolicy {
    fn default() -> Self {
        LockoutPolicy { attempts: 10, minutes: 30 }
    }
}

impl PasswordPolicy {
    const LENGTHS: RangeInclusive<usize> = 8..=32;

    /// The stricter of two.
    pub fn stricter(self, other: PasswordPolicy) -> PasswordPolicy {
        PasswordPolicy {
            length_min: self.length_min.max(other.length_min),
            history: self.history.max(other.history),
        }
    }

    /// Within the bounds of today, whatever was stored when there were others.
    pub fn bounded(self) -> PasswordPolicy {
        let (least, most) = Self::LENGTHS.into_inner();
        PasswordPolicy { length_min: self.length_min.clamp(least, most), history: self.history.min(24) }
    }
}

impl LockoutPolicy {
    const ATTEMPTS: RangeInclusive<i32> = 3..=20;
    const MINUTES: RangeInclusive<i64> = 5..=240;

    /// The stricter of two.
    pub fn stricter(self, other: LockoutPolicy) -> LockoutPolicy {
        LockoutPolicy {
            attempts: self.attempts.min(other.attempts),
            minutes: self.minutes.max(other.minutes),
        }
    }

    /// Within the bounds of today, whatever was stored when there were others.
    pub fn bounded(self) -> LockoutPolicy {
        let (fewest, many) = Self::ATTEMPTS.into_inner();
        let (short, long) = Self::MINUTES.into_inner();
        LockoutPolicy {
            attempts: self.attempts.clamp(fewest, many),
            minutes: self.minutes.clamp(short, long),
        }
    }
}

impl Default for SessionPolicy {
    fn default() -> Self {
        SessionPolicy { idle_min: 480, absolute_hours: 168, concurrent_max: 20 }
    }
}

impl Default for SignInPolicy {
    fn default() -> Self {
        SignInPolicy {
            mfa: Mfa::Optional,
            mfa_grace_days: 14,
            factors: vec![ProofKind::Totp, ProofKind::EmailCode, ProofKind::SecurityKey, ProofKind::Passkey],
            password: PasswordPolicy::default(),
            lockout: LockoutPolicy::default(),
            session: SessionPolicy::default(),
            step_up_min: 10,
            totp_steps: 1,
            trusted_device_days: 30,
            single_sign_on: SingleSignOn::Optional,
            sms: SmsPolicy::default(),
        }
    }
}

impl SignInPolicy {
    /// What the operator asks of its own people, whatever else is set: no mailed codes, half an hour idle, twelve in all.
    pub fn operator() -> Self {
        let session = SessionPolicy { idle_min: 30, absolute_hours: 12, ..SessionPolicy::default() };
        SignInPolicy {
            mfa: Mfa::Required,
            factors: vec![ProofKind::Totp, ProofKind::SecurityKey, ProofKind::Passkey],
            session,
            ..SignInPolicy::default()
        }
    }

    /// Each field that is out of its bounds: its pointer, and what is allowed.
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let SignInPolicy { password, lockout, session, .. } = self;
        let second = |kind: &ProofKind| {
            use ProofKind::{EmailCode, Passkey, SecurityKey, SmsCode, Totp};
            matches!(kind, Totp | EmailCode | SmsCode | SecurityKey | Passkey)
        };
        let long_enough =
            password.length_min >= 15 || (self.mfa >= Mfa::Required && self.mfa_grace_days == 0);
        let rows = [
            ((0..=90).contains(&self.mfa_grace_days), "/mfa_grace_days", "0 to 90"),
            (
                self.factors.iter().all(second),
                "/factors",
                "of `totp`, `email_code`, `sms_code`, `security_key`, `passkey`",
            ),
            (
                !self.enrollable().is_empty(),
                "/factors",
                "with one that people can enrol: `totp`, `security_key` or `passkey`; a key where `mfa` is `phishing_resistant`",
            ),
            (PasswordPolicy::LENGTHS.contains(&password.length_min), "/password/length_min", "8 to 32"),
            (long_enough, "/password/length_min", "at least 15 where the password can be the only proof"),
            (password.history <= 24, "/password/history", "0 to 24"),
            (LockoutPolicy::ATTEMPTS.contains(&lockout.attempts), "/lockout/attempts", "3 to 20"),
            (LockoutPolicy::MINUTES.contains(&lockout.minutes), "/lockout/minutes", "5 to 240"),
            ((15..=43_200).contains(&session.idle_min), "/session/idle_min", "15 to 43200"),
            ((1..=8_760).contains(&session.absolute_hours), "/session/absolute_hours", "1 to 8760"),
            ((1..=100).contains(&session.concurrent_max), "/session/concurrent_max", "1 to 100"),
            ((1..=60).contains(&self.step_up_min), "/step_up_min", "1 to 60"),
            ((0..=1).contains(&self.totp_steps), "/totp_steps", "0 or 1"),
            ((0..=90).contains(&self.trusted_device_days), "/trusted_device_days", "0 to 90"),
            (self.sms.fits(), "/sms/countries", "beginnings of numbers as `+49`, at most 250"),
            ((1..=1_000_000).contains(&self.sms.monthly_max), "/sms/monthly_max", "1 to 1000000"),
        ];
        rows.into_iter().filter(|(fits, ..)| !fits).map(|(_, at, allowed)| (at, allowed)).collect()
    }

    /// Field by field the stricter of two.
    pub fn stricter(&self, other: &SignInPolicy) -> SignInPolicy {
        let (a, b) = (self, other);
        let both = |kind: &&ProofKind| b.factors.contains(kind);
        SignInPolicy {
            mfa: a.mfa.max(b.mfa),
            mfa_grace_days: a.mfa_grace_days.min(b.mfa_grace_days),
            factors: a.factors.iter().filter(both).copied().collect(),
            password: a.password.stricter(b.password),
            lockout: a.lockout.stricter(b.lockout),
            session: SessionPolicy {
                idle_min: a.session.idle_min.min(b.session.idle_min),
                absolute_hours: a.session.absolute_hours.min(b.session.absolute_hours),
                concurrent_max: a.session.concurrent_max.min(b.session.concurrent_max),
            },
            step_up_min: a.step_up_min.min(b.step_up_min),
            totp_steps: a.totp_steps.min(b.totp_steps),
            trusted_device_days: a.trusted_device_days.min(b.trusted_device_days),
            single_sign_on: a.single_sign_on.max(b.single_sign_on),
            sms: a.sms.stricter(&b.sms),
        }
    }

    /// How strongly a session must be proven once the time to enrol is over.
    pub fn needed(&self) -> u8 {
        match self.mfa {
            Mfa::Off | Mfa::Optional => 1,
            Mfa::Required => 2,
            Mfa::PhishingResistant => 3,
        }
    }

    /// The factors that a person may enrol to meet it.
    pub fn enrollable(&self) -> Vec<ProofKind> {
        let meets = |kind: &&ProofKind| match kind {
            ProofKind::SecurityKey | ProofKind::Passkey => true,
            ProofKind::Totp => self.mfa != Mfa::PhishingResistant,
            ProofKind::Password
            | ProofKind::EmailCode
            // A number is enrolled on the account's page, where there is time to prove it.
            | ProofKind::SmsCode
            | ProofKind::RecoveryCode
            | ProofKind::SingleSignOn
            | ProofKind::SingleSignOnMfa => false,
        };
        self.factors.iter().filter(meets).copied().collect()
    }

    /// Whether `evidence` is of a kind that lets in here: where single sign-on is enforced the provider's word does, and the passkey of an
    /// administrator.
    pub fn admits(&self, evidence: &Evidence, is_administrator: bool) -> bool {
        self.single_sign_on == SingleSignOn::Optional
            || evidence.is_by_provider()
            || (is_administrator && evidence.has(ProofKind::Passkey))
    }

    /// Whether this kind of second factor is taken.
    pub fn takes(&self, kind: ProofKind) -> bool {
        self.factors.contains(&kind)
    }

    /// How strongly `evidence` proves a person here.
    pub fn assurance(&self, evidence: &Evidence) -> u8 {
        evidence.assurance(&self.factors)
    }
}

/// What a person has besides a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owned {
    /// An authenticator program that is enrolled.
    pub totp: bool,
    /// Recovery codes that are left.
    pub recovery_codes: bool,
    /// An address that is proven.
    pub address: bool,
    /// A security key that is enrolled.
    pub security_key: bool,
    /// A passkey that is enrolled.
    pub passkey: bool,
    /// A number that is proven, of which a tenant of the person takes codes. Where none does any more it is as if there were none.
    pub phone: bool,
}

impl Owned {
    /// Whether there is an enrolled factor of any kind.
    pub fn any(self) -> bool {
        self.totp || self.security_key || self.passkey || self.phone
    }

    /// What guards the enrolment of another factor, where the policy takes none of those there are.
    fn guards(self) -> Vec<ProofKind> {
        let all = [
            (self.security_key || self.passkey, ProofKind::SecurityKey),
            (self.totp, ProofKind::Totp),
            (self.phone, ProofKind::SmsCode),
            (self.recovery_codes, ProofKind::RecoveryCode),
        ];
        all.into_iter().filter(|(has, _)| *has).map(|(_, kind)| kind).collect()
    }

    /// Whether there is a key that the policy takes.
    fn key(self, policy: &SignInPolicy) -> bool {
        let takes_keys = policy.takes(ProofKind::SecurityKey);
        (self.security_key && takes_keys)
            || (self.passkey && (takes_keys || policy.takes(ProofKind::Passkey)))
    }

    /// Whether there is an enrolled factor by which the policy can be met.
    pub fn enrolled(self, policy: &SignInPolicy) -> bool {
        let code =
            (self.totp && policy.takes(ProofKind::Totp)) || (self.phone && policy.takes(ProofKind::SmsCode));
        self.key(policy) || (code && policy.needed() < 3)
    }

    /// Whether the policy can be met, by an enrolled factor or a mailed code.
    pub fn meets(self, policy: &SignInPolicy) -> bool {
        let mailed = self.address && policy.takes(ProofKind::EmailCode) && policy.needed() < 3;
        policy.needed() < 2 || mailed || self.enrolled(policy)
    }
}

/// What comes next in a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the person may enter. A second factor is to be enrolled until the grace is over, if `enrol`.
    Enter {
        /// Whether one is asked for and missing.
        enrol: bool,
    },
    /// One of these.
    Show(Vec<ProofKind>),
    /// Enrol a second factor now.
    Enrol,
}

/// What comes next, for a person with these factors who has shown `evidence`, of which the first is a password, a passkey or a provider's word.
/// `in_grace`: whether there is still time to enrol.
pub fn next(policy: &SignInPolicy, owned: Owned, evidence: &Evidence, in_grace: bool) -> Next {
    if policy.assurance(evidence) >= policy.needed().max(2) {
        return Next::Enter { enrol: false };
    }
    match policy.mfa {
        Mfa::Off => return Next::Enter { enrol: false },
        Mfa::Optional if !owned.enrolled(policy) => return Next::Enter { enrol: false },
        Mfa::PhishingResistant => return next_of_keys(policy, owned, evidence, in_grace),
        Mfa::Optional | Mfa::Required => {}
    }
    let mut show = Vec::new();
    if owned.key(policy) {
        show.push(ProofKind::SecurityKey);
    }
    if owned.totp && policy.takes(ProofKind::Totp) {
        show.push(ProofKind::Totp);
    }
    if owned.phone && policy.takes(ProofKind::SmsCode) {
        show.push(ProofKind::SmsCode);
    }
    if owned.address && policy.takes(ProofKind::EmailCode) {
        show.push(ProofKind::EmailCode);
    }
    if owned.enrolled(policy) && owned.recovery_codes {
        show.push(ProofKind::RecoveryCode);
    }
    match owned.enrolled(policy) {
        true => Next::Show(show),
        false if in_grace => Next::Enter { enrol: true },
        false if !show.is_empty() => Next::Show(show),
        false if owned.any() && !evidence.has_owned(i64::MIN) => Next::Show(owned.guards()),
        false if owned.address && !owned.any() && !evidence.has(ProofKind::EmailCode) => {
            Next::Show(vec![ProofKind::EmailCode])
        }
        false => Next::Enrol,
    }
}

/// Where only keys count: whoever has none, or has lost it and shows a recovery code, enrols one behind all else they have.
fn next_of_keys(policy: &SignInPolicy, owned: Owned, evidence: &Evidence, in_grace: bool) -> Next {
    let shown = |kind: ProofKind| evidence.has(kind);
    let mut show = Vec::new();
    let recovers = owned.recovery_codes && !shown(ProofKind::RecoveryCode);
    if owned.key(policy) {
        show.push(ProofKind::SecurityKey);
        if recovers {
            show.push(ProofKind::RecoveryCode);
        }
        return if shown(ProofKind::RecoveryCode) { Next::Enrol } else { Next::Show(show) };
    }
    if owned.any() && !evidence.has_owned(i64::MIN) {
        return Next::Show(owned.guards());
    }
    if in_grace {
        return Next::Enter { enrol: true };
    }
    match owned.address && !owned.any() && !shown(ProofKind::EmailCode) && !shown(ProofKind::RecoveryCode) {
        true => Next::Show(vec![ProofKind::EmailCode]),
        false => Next::Enrol,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::{Elsewhere, lack};

    fn all() -> Vec<(SignInPolicy, Owned, bool)> {
        let mut cases = Vec::new();
        let kinds = [
            ProofKind::Totp,
            ProofKind::EmailCode,
            ProofKind::SecurityKey,
            ProofKind::Passkey,
            ProofKind::SmsCode,
        ];
        for mfa in [Mfa::Off, Mfa::Optional, Mfa::Required, Mfa::PhishingResistant] {
            for taken in 0..32u8 {
                let factors =
                    (0..5).filter(|place| taken & (1 << place) != 0).map(|place| kinds[place]).collect();
                let policy = SignInPolicy { mfa, factors, ..Default::default() };
                if !policy.faults().is_empty() {
                    continue;
                }
                for bits in 0..128u8 {
                    let bit = |place: u8| bits & (1 << place) != 0;
                    let owned = Owned {
                        totp: bit(0),
                        recovery_codes: bit(1),
                        address: bit(2),
                        security_key: bit(4),
                        passkey: bit(5),
                        phone: bit(6),
                    };
                    cases.push((policy.clone(), owned, bit(3)));
                }
            }
        }
        cases
    }

    /// From every state a person who has what they own gets in, in at most three steps.
    #[test]
    fn there_is_no_dead_end() {
        let firsts =
            [ProofKind::Password, ProofKind::Passkey, ProofKind::SingleSignOn, ProofKind::SingleSignOnMfa];
        for ((policy, mut owned, in_grace), first) in
            all().into_iter().flat_map(|case| firsts.map(|first| (case.clone(), first)))
        {
            if first == ProofKind::Passkey && !owned.passkey {
                continue;
            }
            let mut evidence = Evidence::default().with(first, 1);
            let mut entered = false;
            for _ in 0..4 {
                match next(&policy, owned, &evidence, in_grace) {
                    Next::Enter { .. } => {
                        entered = true;
                        break;
                    }
                    Next::Show(kinds) => {
                        assert!(!kinds.is_empty());
                        for kind in &kinds {
                            let has = match kind {
                                ProofKind::Totp => owned.totp,
                                ProofKind::EmailCode => owned.address,
                                ProofKind::SmsCode => owned.phone,
                                ProofKind::RecoveryCode => owned.recovery_codes,
                                ProofKind::SecurityKey => owned.security_key || owned.passkey,
                                _ => false,
                            };
                            assert!(has, "{kind:?} is asked of who has none: {policy:?} {owned:?}");
                        }
                        // The last one too: who has lost the others gets in.
                        let shown = match kinds[kinds.len() - 1] {
                            // A passkey, where only those are taken.
                            ProofKind::SecurityKey if !policy.takes(ProofKind::SecurityKey) => {
                                ProofKind::Passkey
                            }
                            kind => kind,
                        };
                        evidence = evidence.with(shown, 2);
                    }
                    Next::Enrol => {
                        let kind = *policy.enrollable().last().expect("something can be enrolled");
                        // Whoever is told to enrol may: they have shown enough on the way, if there is any way to.
                        let lacks = lack(&evidence, owned, Elsewhere::default(), i64::MIN);
                        assert!(lacks.is_none() || !owned.address, "{lacks:?} {policy:?} {owned:?}");
                        match kind {
                            ProofKind::Totp => owned.totp = true,
                            ProofKind::SecurityKey => owned.security_key = true,
                            _ => owned.passkey = true,
                        }
                        evidence = evidence.with(kind, 3);
                    }
                }
            }
            assert!(entered, "{policy:?} {owned:?} {in_grace}");
        }
    }

    #[test]
    fn nobody_enters_below_what_is_needed_once_the_grace_is_over() {
        for (policy, owned, in_grace) in all() {
            let evidence = Evidence::default().with(ProofKind::Password, 1);
            if let Next::Enter { enrol } = next(&policy, owned, &evidence, in_grace) {
                assert!(policy.needed() == 1 || (in_grace && enrol), "{policy:?} {owned:?}");
                let has = owned.enrolled(&policy);
                assert!(!has || policy.mfa == Mfa::Off, "who has a factor shows it: {policy:?} {owned:?}");
            }
        }
        let only_mail = Evidence::default().with(ProofKind::Password, 1).with(ProofKind::EmailCode, 2);
        let strict =
            SignInPolicy { mfa: Mfa::Required, factors: vec![ProofKind::Totp], ..Default::default() };
        let owned = Owned { address: true, ..Owned::default() };
        assert_eq!(
            next(&strict, owned, &only_mail, false),
            Next::Enrol,
            "a mailed code guards, and is no factor"
        );
        let lost = Owned { totp: true, recovery_codes: true, address: true, ..Owned::default() };
        let kinds = vec![ProofKind::Totp, ProofKind::RecoveryCode];
        assert_eq!(next(&strict, lost, &only_mail, true), Next::Show(kinds));
    }

    #[test]
    fn a_short_password_needs_a_second_factor_beside_it() {
        let short = PasswordPolicy { length_min: 8, history: 4 };
        let policy = SignInPolicy { password: short, ..Default::default() };
        assert_eq!(policy.faults().len(), 1, "{:?}", policy.faults());
        let forced = SignInPolicy { mfa: Mfa::Required, mfa_grace_days: 0, ..policy };
        assert_eq!(forced.faults(), []);
        assert_eq!(SignInPolicy::default().faults(), []);
        assert_eq!(SignInPolicy::operator().faults(), []);
        assert_eq!(
            SignInPolicy { factors: vec![ProofKind::Password], ..Default::default() }.faults().len(),
            2
        );
    }

    proptest! {
        #[test]
        fn the_stricter_of_two_is_laxer_than_neither(
            grace in 0i64..90, length in 8usize..64, attempts in 3i32..100, idle in 15i64..1_000, mfa in 0..4usize
        ) {
            let mfa = [Mfa::Off, Mfa::Optional, Mfa::Required, Mfa::PhishingResistant][mfa];
            let own = SignInPolicy {
                mfa,
                mfa_grace_days: grace,
                password: PasswordPolicy { length_min: length, history: 2 },
                lockout: LockoutPolicy { attempts, minutes: 5 },
                session: SessionPolicy { idle_min: idle, ..Default::default() },
                ..Default::default()
            };
            let floor = SignInPolicy::operator();
            for resolved in [own.stricter(&floor), floor.stricter(&own)] {
                for each in [&own, &floor] {
                    prop_assert_eq!(&resolved.stricter(each), &resolved);
                }
                prop_assert!(resolved.mfa >= own.mfa && resolved.needed() >= floor.needed());
                prop_assert!(resolved.lockout.attempts <= own.lockout.attempts && resolved.lockout.minutes >= 5);
            }
        }
    }
}
