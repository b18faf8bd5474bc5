//! The ways into a tenant that a person has: where each leads, or why it is closed and what opens it. Nothing is decided here that a
//! sign-in does not decide by the same functions ([`SignInPolicy::admits`], [`next`]).

use serde::Serialize;

use super::{Evidence, Next, Owned, ProofKind, SignInPolicy, next};

/// A lock on a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PasswordLock {
    /// None.
    #[default]
    Open,
    /// For a while, after too many wrong tries.
    Locked,
    /// Until it is set anew, after very many.
    Closed,
}

/// How the tenant's own providers know a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// The tenant has connected none that is in use.
    #[default]
    Nowhere,
    /// They know who this is, or the address, which lies in a domain that the tenant has proven, says so.
    Knows,
    /// They do not.
    Stranger,
}

/// A person as a sign-in finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// What they have besides a password.
    pub owned: Owned,
    /// Whether they have set a password.
    pub has_password: bool,
    /// Whether it is looked at.
    pub lock: PasswordLock,
    /// The tenant's providers.
    pub provider: Provider,
    /// Whether they hold everything in the tenant.
    pub is_administrator: bool,
    /// Whether there is still time to enrol a second factor.
    pub in_grace: bool,
}

/// Why a way is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// The person has set no password.
    NoPassword,
    /// The person has enrolled no passkey.
    NoPasskey,
    /// The password is not looked at for a while, after too many wrong tries.
    PasswordLocked,
    /// The password is not looked at until it is set anew, after very many wrong tries.
    PasswordClosed,
    /// The tenant is entered by single sign-on alone.
    SingleSignOnOnly,
    /// The tenant's provider has not been connected with the person, and their address does not do it.
    NotConnected,
}

/// What opens a way, or another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Time: until `locked_until`.
    Wait,
    /// The person opens the link in the mail about the lock.
    MailedLink,
    /// The person sets a new password by the link under "forgotten".
    ResetPassword,
    /// An administrator unlocks the password.
    Unlock,
    /// The person enters another way, and connects the provider on the account's page.
    Connect,
    /// An administrator lets other ways in again in the sign-in policy, until the person is connected.
    ChangePolicy,
    /// An administrator lets the person enter again.
    Resume,
    /// The operator does: of the person, or of the tenant.
    Operator,
}

/// A way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What is shown first.
    pub first: ProofKind,
    /// What comes then, or why it cannot be shown.
    pub leads: Result<Next, Closed>,
}

/// Every way there is, open or closed: by a password, by a passkey, and by the tenant's providers where it has some.
pub fn ways(policy: &SignInPolicy, standing: &Standing) -> Vec<Way> {
    let password = match (standing.has_password, standing.lock) {
        (false, _) => Err(Closed::NoPassword),
        (true, PasswordLock::Open) => Ok(()),
        (true, PasswordLock::Locked) => Err(Closed::PasswordLocked),
        (true, PasswordLock::Closed) => Err(Closed::PasswordClosed),
    };
    let passkey = if standing.owned.passkey { Ok(()) } else { Err(Closed::NoPasskey) };
    let mut all = vec![(ProofKind::Password, password), (ProofKind::Passkey, passkey)];
    match standing.provider {
        Provider::Nowhere => {}
        Provider::Knows => all.push((ProofKind::SingleSignOn, Ok(()))),
        Provider::Stranger => all.push((ProofKind::SingleSignOn, Err(Closed::NotConnected))),
    }
    all.into_iter().map(|(first, may)| way(policy, standing, (first, may))).collect()
}

fn way(policy: &SignInPolicy, standing: &Standing, (first, may): (ProofKind, Result<(), Closed>)) -> Way {
    let evidence = Evidence::default().with(first, 0);
    // What the tenant does not take is closed by that, whatever else is against it.
    let may = match policy.admits(&evidence, standing.is_administrator) {
        true => may,
        false => Err(Closed::SingleSignOnOnly),
    };
    Way { first, leads: may.map(|()| next(policy, standing.owned, &evidence, standing.in_grace)) }
}

/// What can be done about ways that are closed, each once. Nothing is named that would not help.
pub fn exits(policy: &SignInPolicy, standing: &Standing, ways: &[Way]) -> Vec<Exit> {
    let is_open = ways.iter().any(|way| way.leads.is_ok());
    let mut all = Vec::new();
    for closed in ways.iter().filter_map(|way| way.leads.as_ref().err()) {
        match closed {
            Closed::PasswordLocked => {
                all.extend([Exit::Wait, Exit::Unlock]);
                all.extend(standing.owned.address.then_some(Exit::MailedLink));
                all.extend(standing.owned.address.then_some(Exit::ResetPassword));
            }
            Closed::PasswordClosed => {
                all.push(Exit::Unlock);
                all.extend(standing.owned.address.then_some(Exit::ResetPassword));
            }
            Closed::NoPassword => all.extend(standing.owned.address.then_some(Exit::ResetPassword)),
            Closed::NotConnected if is_open => all.push(Exit::Connect),
            Closed::NotConnected => {
                let alone = !policy.admits(&Evidence::default(), standing.is_administrator);
                all.extend(alone.then_some(Exit::ChangePolicy));
            }
            Closed::SingleSignOnOnly if !is_open => all.push(Exit::ChangePolicy),
            Closed::NoPasskey | Closed::SingleSignOnOnly => {}
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::super::{Mfa, SingleSignOn};
    use super::*;

    /// Every standing under every kind of policy.
    fn all() -> Vec<(SignInPolicy, Standing)> {
        let mut all = Vec::new();
        for mfa in [Mfa::Off, Mfa::Optional, Mfa::Required, Mfa::PhishingResistant] {
            for single_sign_on in [SingleSignOn::Optional, SingleSignOn::Enforced] {
                let policy = SignInPolicy { mfa, single_sign_on, ..Default::default() };
                for bits in 0..512u16 {
                    let bit = |place: u16| bits & (1 << place) != 0;
                    let owned = Owned {
                        totp: bit(0),
                        recovery_codes: bit(1),
                        address: bit(2),
                        security_key: bit(3),
                        passkey: bit(4),
                        phone: bit(5),
                    };
                    for lock in [PasswordLock::Open, PasswordLock::Locked, PasswordLock::Closed] {
                        for provider in [Provider::Nowhere, Provider::Knows, Provider::Stranger] {
                            let (has_password, is_administrator, in_grace) = (bit(6), bit(7), bit(8));
                            let standing =
                                Standing { owned, has_password, lock, provider, is_administrator, in_grace };
                            all.push((policy.clone(), standing));
                        }
                    }
                }
            }
        }
        all
    }

    #[test]
    fn whoever_has_an_address_has_a_way_in_or_one_that_can_be_opened() {
        let mut shut = 0;
        for (policy, standing) in all().into_iter().filter(|(_, standing)| standing.owned.address) {
            let ways = ways(&policy, &standing);
            let exits = exits(&policy, &standing, &ways);
            let is_open = ways.iter().any(|way| way.leads.is_ok());
            assert!(is_open || !exits.is_empty(), "{policy:?} {standing:?}");
            shut += u32::from(!is_open);
        }
        assert!(shut > 1_000, "{shut}");
    }

    #[test]
    fn a_way_is_open_exactly_if_its_first_proof_can_be_shown_and_is_taken() {
        for (policy, standing) in all() {
            for way in ways(&policy, &standing) {
                let can_show = match way.first {
                    ProofKind::Password => standing.has_password && standing.lock == PasswordLock::Open,
                    ProofKind::Passkey => standing.owned.passkey,
                    _ => standing.provider == Provider::Knows,
                };
                let evidence = Evidence::default().with(way.first, 0);
                let is_taken = policy.admits(&evidence, standing.is_administrator);
                assert_eq!(way.leads.is_ok(), can_show && is_taken, "{way:?} {policy:?} {standing:?}");
            }
        }
    }

    #[test]
    fn what_is_told_to_do_is_of_use() {
        let locked = Standing {
            owned: Owned { address: true, passkey: true, ..Owned::default() },
            has_password: true,
            lock: PasswordLock::Locked,
            provider: Provider::Stranger,
            ..Standing::default()
        };
        let told =
            |policy: &SignInPolicy, standing: &Standing| exits(policy, standing, &ways(policy, standing));
        let any = SignInPolicy::default();
        let all = [Exit::Wait, Exit::MailedLink, Exit::ResetPassword, Exit::Unlock, Exit::Connect];
        assert_eq!(told(&any, &locked), all);
        let enforced = SignInPolicy { single_sign_on: SingleSignOn::Enforced, ..SignInPolicy::default() };
        assert_eq!(told(&enforced, &locked), [Exit::ChangePolicy], "a password opens nothing there");
        let chief = Standing { is_administrator: true, ..locked };
        assert_eq!(
            told(&enforced, &chief),
            [Exit::Connect],
            "by the passkey, which is taken from who holds all"
        );
        assert_eq!(told(&any, &Standing { has_password: true, ..Standing::default() }), []);
    }
}
