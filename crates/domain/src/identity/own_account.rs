//! What a person must have shown before they change how they sign in. Factors, recovery codes and passwords open every tenant that a person
//! belongs to, and all that they join later: so it is not for one of them to say how little is enough. What is asked follows from what the
//! person owns, and from all; and a tenant's provider, who may say that anybody is here, never adds to what proves a person elsewhere.

use super::evidence::{Evidence, ProofKind};
use super::policy::Owned;

/// Proofs by something that the person owns besides a password.
const OWNED: [ProofKind; 5] = [
    ProofKind::Totp,
    ProofKind::SmsCode,
    ProofKind::SecurityKey,
    ProofKind::Passkey,
    ProofKind::RecoveryCode,
];

/// The tenants that a person belongs to besides the one they are signed in to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Elsewhere {
    /// Whether one asks everybody for a second factor.
    pub asks_second: bool,
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// A second factor, a passkey or a recovery code of the person.
    Factor,
    /// A mailed code.
    MailedCode,
    /// Anything of the person's own, which a provider's word is not.
    Own,
    /// Any proof that is fresh.
    Fresh,
}

impl Evidence {
    /// Whether something was shown at `since` (seconds since 1970) or later that the person owns besides a password.
    pub fn has_owned(&self, since: i64) -> bool {
        self.has_since(&OWNED, since)
    }

    /// Whether something of the person's own was shown at `since` (seconds since 1970) or later: a provider's word is not.
    pub fn has_own_since(&self, since: i64) -> bool {
        self.proofs().iter().any(|proof| !proof.kind.is_of_provider() && proof.at >= since)
    }

    fn has_since(&self, kinds: &[ProofKind], since: i64) -> bool {
        self.proofs().iter().any(|proof| kinds.contains(&proof.kind) && proof.at >= since)
    }
}

/// What `evidence` lacks for a change of how the person signs in. Proofs older than `since` (seconds since 1970) are not fresh.
pub fn lack(evidence: &Evidence, owned: Owned, elsewhere: Elsewhere, since: i64) -> Option<Lack> {
    if owned.any() {
        return (!evidence.has_owned(since)).then_some(Lack::Factor);
    }
    // Who has no address that is proven is asked for none at the other tenant either.
    if elsewhere.asks_second && owned.address {
        return (!evidence.has_since(&[ProofKind::EmailCode], since)).then_some(Lack::MailedCode);
    }
    // Also of who belongs to no other tenant: what is enrolled now opens the one they join tomorrow.
    if !evidence.has_own() && !evidence.proofs().is_empty() {
        return Some(Lack::Own);
    }
    (!evidence.has_own_since(since)).then_some(Lack::Fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAX: Elsewhere = Elsewhere { asks_second: false };
    const STRICT: Elsewhere = Elsewhere { asks_second: true };

    #[test]
    fn what_a_person_owns_is_asked_for_before_it_is_changed() {
        use ProofKind::{
            EmailCode, Passkey, Password, RecoveryCode, SecurityKey, SingleSignOn, SingleSignOnMfa, SmsCode,
            Totp,
        };
        let none = Owned { address: true, ..Owned::default() };
        let unproven = Owned::default();
        let totp = Owned { totp: true, ..none };
        let key = Owned { security_key: true, ..none };
        let passkey = Owned { passkey: true, ..none };
        let phone = Owned { phone: true, ..none };
        let left_over = Owned { recovery_codes: true, ..none };
        type Row<'a> = (&'a [(ProofKind, i64)], Owned, Elsewhere, Option<Lack>);
        let rows: [Row<'_>; 28] = [
            (&[(Password, 9)], none, LAX, None),
            (&[(Password, 9)], none, STRICT, Some(Lack::MailedCode)),
            (&[(Password, 9), (EmailCode, 9)], none, STRICT, None),
            (&[(Password, 9), (EmailCode, 4)], none, STRICT, Some(Lack::MailedCode)),
            (&[(Password, 9)], unproven, STRICT, None),
            (&[(SingleSignOnMfa, 9)], unproven, STRICT, Some(Lack::Own)),
            // Also of who belongs to that tenant alone: they may join another tomorrow.
            (&[(SingleSignOnMfa, 9)], none, LAX, Some(Lack::Own)),
            (&[(SingleSignOn, 9)], unproven, LAX, Some(Lack::Own)),
            (&[(SingleSignOn, 9), (EmailCode, 9)], none, LAX, None),
            (&[(SingleSignOn, 9), (EmailCode, 4)], none, LAX, Some(Lack::Fresh)),
            (&[(SingleSignOn, 9), (Password, 9)], none, LAX, None),
            (&[(SingleSignOn, 9), (EmailCode, 9)], totp, LAX, Some(Lack::Factor)),
            (&[(Password, 4)], none, LAX, Some(Lack::Fresh)),
            (&[], none, LAX, Some(Lack::Fresh)),
            (&[(Password, 9)], totp, LAX, Some(Lack::Factor)),
            (&[(Password, 9)], key, LAX, Some(Lack::Factor)),
            (&[(Password, 9)], passkey, STRICT, Some(Lack::Factor)),
            (&[(Password, 9), (EmailCode, 9)], totp, STRICT, Some(Lack::Factor)),
            (&[(Password, 9), (Totp, 4)], totp, LAX, Some(Lack::Factor)),
            (&[(Password, 4), (Totp, 9)], totp, STRICT, None),
            (&[(Password, 9), (RecoveryCode, 9)], totp, STRICT, None),
            (&[(Password, 9), (SecurityKey, 9)], key, STRICT, None),
            (&[(Passkey, 5)], passkey, STRICT, None),
            (&[(Password, 9)], phone, LAX, Some(Lack::Factor)),
            (&[(Password, 9), (EmailCode, 9)], phone, STRICT, Some(Lack::Factor)),
            (&[(Password, 9), (SmsCode, 9)], phone, STRICT, None),
            (&[(SingleSignOnMfa, 9)], totp, LAX, Some(Lack::Factor)),
            (&[(SingleSignOnMfa, 9)], left_over, LAX, Some(Lack::Own)),
        ];
        for (proofs, owned, elsewhere, expected) in rows {
            let with = |all: Evidence, (kind, at): &(ProofKind, i64)| all.with(*kind, *at);
            let evidence = proofs.iter().fold(Evidence::default(), with);
            assert_eq!(lack(&evidence, owned, elsewhere, 5), expected, "{proofs:?} {owned:?} {elsewhere:?}");
        }
    }
}
