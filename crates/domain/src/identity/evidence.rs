//! What a person has shown in one session, and how strongly that proves them.

use serde::{Deserialize, Serialize};

/// A kind of proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofKind {
    /// Something known.
    Password,
    /// A code of an authenticator program.
    Totp,
    /// A code that was mailed.
    EmailCode,
    /// A code that was sent as a text message to the person's number.
    SmsCode,
    /// One of the codes kept for the day the other factor is lost.
    RecoveryCode,
    /// A touched security key, which does not say by whom.
    SecurityKey,
    /// A credential that its device gave out only to the person: by fingerprint, face or PIN.
    Passkey,
    /// The word of the tenant's own provider. It counts in that tenant and nowhere else.
    SingleSignOn,
    /// The same, and that it asked for more than one thing there.
    SingleSignOnMfa,
}

impl ProofKind {
    /// Those that no other site can ask for in our name.
    pub const KEYS: [ProofKind; 2] = [ProofKind::SecurityKey, ProofKind::Passkey];

    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            ProofKind::Password => "password",
            ProofKind::Totp => "totp",
            ProofKind::EmailCode => "email_code",
            ProofKind::SmsCode => "sms_code",
            ProofKind::RecoveryCode => "recovery_code",
            ProofKind::SecurityKey => "security_key",
            ProofKind::Passkey => "passkey",
            ProofKind::SingleSignOn => "single_sign_on",
            ProofKind::SingleSignOnMfa => "single_sign_on_mfa",
        }
    }

    /// Whether it is a tenant's provider that says so.
    pub fn is_of_provider(self) -> bool {
        matches!(self, ProofKind::SingleSignOn | ProofKind::SingleSignOnMfa)
    }

    /// In `amr` (RFC 8176 §2).
    fn method(self) -> &'static str {
        match self {
            ProofKind::Password => "pwd",
            ProofKind::Totp | ProofKind::EmailCode | ProofKind::RecoveryCode => "otp",
            ProofKind::SmsCode => "sms",
            ProofKind::SecurityKey | ProofKind::Passkey => "hwk",
            // None is registered; this is what others use.
            ProofKind::SingleSignOn | ProofKind::SingleSignOnMfa => "fed",
        }
    }
}

/// One thing that was shown, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What.
    pub kind: ProofKind,
    /// Seconds since 1970.
    pub at: i64,
}

/// All that was shown in one session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence(Vec<Proof>);

impl Evidence {
    /// With one thing more; the same kind again is the newer one.
    pub fn with(mut self, kind: ProofKind, at: i64) -> Self {
        self.0.retain(|proof| proof.kind != kind);
        self.0.push(Proof { kind, at });
        self
    }

    /// The same for a session that is begun with what was shown in another one: as strong, and never fresh. Who lets a program in has
    /// shown who they are to their browser, not to whoever holds the program; what needs a fresh proof is shown there once more.
    #[must_use]
    pub fn shown_elsewhere(mut self) -> Self {
        self.0.iter_mut().for_each(|proof| proof.at = 0);
        self
    }

    /// Whether a provider's word is among it.
    pub fn is_by_provider(&self) -> bool {
        self.has(ProofKind::SingleSignOn) || self.has(ProofKind::SingleSignOnMfa)
    }

    /// Whether the person has shown something of their own here, which no provider can show for them.
    pub fn has_own(&self) -> bool {
        self.0.iter().any(|proof| !proof.kind.is_of_provider())
    }

    /// Whether it has this.
    pub fn has(&self, kind: ProofKind) -> bool {
        self.0.iter().any(|proof| proof.kind == kind)
    }

    /// 3 for a passkey, or a password or a provider's word with a security key; 2 for one of these with any other thing of those in
    /// `seconds` (a recovery code counts for any), or the word of a provider that asked for more itself; else 1.
    pub fn assurance(&self, seconds: &[ProofKind]) -> u8 {
        let taken = |kind: ProofKind| self.has(kind) && seconds.contains(&kind);
        // Where keys are taken a passkey is one, and more.
        let passkey =
            self.has(ProofKind::Passkey) && ProofKind::KEYS.iter().any(|kind| seconds.contains(kind));
        let key = taken(ProofKind::SecurityKey);
        let provider = self.is_by_provider();
        if passkey || (key && (self.has(ProofKind::Password) || provider)) {
            return 3;
        }
        let first = self.has(ProofKind::Password) || self.has(ProofKind::Passkey) || provider;
        let second = key
            || self.has(ProofKind::SingleSignOnMfa)
            || self.has(ProofKind::RecoveryCode)
            || taken(ProofKind::Totp)
            || taken(ProofKind::EmailCode)
            || taken(ProofKind::SmsCode);
        if first && second { 2 } else { 1 }
    }

    /// When something was shown last, in seconds since 1970.
    pub fn newest(&self) -> Option<i64> {
        self.0.iter().map(|proof| proof.at).max()
    }

    /// `amr`: each method once, and `mfa` for more than one; a passkey is two by itself.
    pub fn methods(&self) -> Vec<String> {
        let mut all: Vec<&str> = self.0.iter().map(|proof| proof.kind.method()).collect();
        all.sort_unstable();
        all.dedup();
        if all.len() > 1 || self.has(ProofKind::Passkey) || self.has(ProofKind::SingleSignOnMfa) {
            all.push("mfa");
        }
        all.into_iter().map(str::to_owned).collect()
    }

    /// Each proof.
    pub fn proofs(&self) -> &[Proof] {
        &self.0
    }
}
