//! A sign-in (§7.2).

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::cose::PublicKey;
use super::{RelyingParty, WebauthnFault, authenticator_data, client_data};

const SIGNATURE_BYTES_MAX: usize = 1_024;

/// What a browser sends.
#[derive(Debug, Clone, Copy)]
pub struct Assertion<'a> {
    /// `rawId`.
    pub id: &'a [u8],
    /// `clientDataJSON`.
    pub client_data: &'a [u8],
    /// `authenticatorData`.
    pub authenticator_data: &'a [u8],
    /// `signature`.
    pub signature: &'a [u8],
    /// `userHandle`.
    pub user_handle: Option<&'a [u8]>,
}

/// What is expected of it.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Ours.
    pub challenge: &'a [u8],
    /// The person whose credential it must be, as authenticators know them.
    pub user_handle: &'a [u8],
    /// Whether the answer must name the person itself, as it does where it begins a sign-in.
    pub names_user: bool,
    /// Whether the person must have been verified.
    pub verification: bool,
}

/// A credential as it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its id.
    pub id: &'a [u8],
    /// Its COSE key.
    pub key: &'a [u8],
    /// The last count.
    pub sign_count: u32,
    /// As it was when it was enrolled.
    pub backup_eligible: bool,
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asserted {
    /// The count from now on.
    pub sign_count: u32,
    /// Whether it is backed up now.
    pub backed_up: bool,
    /// Whether fingerprint, face or PIN was shown.
    pub user_verified: bool,
}

/// Verifies a sign-in.
///
/// # Errors
/// What is wrong, the first thing only; [`WebauthnFault::CounterBack`] only of one that is right otherwise.
pub fn verify_assertion(
    sent: Assertion<'_>,
    relying_party: &RelyingParty,
    expected: Expected<'_>,
    known: Known<'_>,
) -> Result<Asserted, WebauthnFault> {
    // Steps 5 to 7: whose credential it is.
    if !bool::from(sent.id.ct_eq(known.id)) {
        return Err(WebauthnFault::WrongCredential);
    }
    match sent.user_handle {
        Some(handle) if handle == expected.user_handle => {}
        None if !expected.names_user => {}
        _ => return Err(WebauthnFault::WrongUser),
    }
    client_data::check(sent.client_data, "webauthn.get", expected.challenge, relying_party)?;
    let said = authenticator_data::read(sent.authenticator_data, relying_party, expected.verification)?;
    if said.credential.is_some() {
        return Err(WebauthnFault::Malformed);
    }
    if said.backup_eligible != known.backup_eligible {
        return Err(WebauthnFault::WrongBackup);
    }
    // Steps 21 and 22.
    let signed = [sent.authenticator_data, Sha256::digest(sent.client_data).as_slice()].concat();
    let fits = sent.signature.len() <= SIGNATURE_BYTES_MAX
        && PublicKey::read(known.key)?.verifies(&signed, sent.signature);
    if !fits {
        return Err(WebauthnFault::BadSignature);
    }
    // Step 23: who has ever counted must go on.
    let counts = said.sign_count != 0 || known.sign_count != 0;
    if counts && said.sign_count <= known.sign_count {
        return Err(WebauthnFault::CounterBack);
    }
    Ok(Asserted { sign_count: said.sign_count, backed_up: said.backed_up, user_verified: said.user_verified })
}
