//! An enrolment (§7.1).

use sha2::{Digest, Sha256};

use super::cbor::{self, Item};
use super::cose::PublicKey;
use super::{RelyingParty, WebauthnFault, authenticator_data, client_data};

const ATTESTATION_BYTES_MAX: usize = 16_384;

/// What a browser sends.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'a> {
    /// `clientDataJSON`.
    pub client_data: &'a [u8],
    /// `attestationObject`.
    pub attestation: &'a [u8],
}

/// A credential that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its id, 1 to 1,023 bytes.
    pub id: Vec<u8>,
    /// Its COSE key.
    pub key: Vec<u8>,
    /// Signatures that it says it has made; 0 if it does not count.
    pub sign_count: u32,
    /// The model of the authenticator, or zeros.
    pub aaguid: [u8; 16],
    /// Whether it may be copied to another device by its maker's service.
    pub backup_eligible: bool,
    /// Whether it has been.
    pub backed_up: bool,
    /// Whether fingerprint, face or PIN was shown.
    pub user_verified: bool,
}

/// Verifies an enrolment that answers `challenge`; with `verification` the person must have been verified.
///
/// # Errors
/// What is wrong, the first thing only.
pub fn verify_registration(
    sent: Registration<'_>,
    relying_party: &RelyingParty,
    challenge: &[u8],
    verification: bool,
) -> Result<Registered, WebauthnFault> {
    client_data::check(sent.client_data, "webauthn.create", challenge, relying_party)?;
    if sent.attestation.len() > ATTESTATION_BYTES_MAX {
        return Err(WebauthnFault::Malformed);
    }
    let object = cbor::read_all(sent.attestation)?;
    let bytes = object.named("authData").and_then(Item::bytes).ok_or(WebauthnFault::Malformed)?;
    let said = authenticator_data::read(bytes, relying_party, verification)?;
    let credential = said.credential.ok_or(WebauthnFault::Malformed)?;
    let key = PublicKey::read(credential.key)?;
    check_attestation(&object, bytes, sent.client_data, &key)?;
    Ok(Registered {
        id: credential.id.to_vec(),
        key: credential.key.to_vec(),
        sign_count: said.sign_count,
        aaguid: credential.aaguid,
        backup_eligible: said.backup_eligible,
        backed_up: said.backed_up,
        user_verified: said.user_verified,
    })
}

/// Steps 21 to 24: none was asked for. `none` must be empty (§8.7); one that the credential gives of itself must fit (§8.2).
fn check_attestation(
    object: &Item<'_>,
    said: &[u8],
    client_data: &[u8],
    key: &PublicKey,
) -> Result<(), WebauthnFault> {
    let wrong = WebauthnFault::WrongAttestation;
    let statement = object.named("attStmt").ok_or(WebauthnFault::Malformed)?;
    match (object.named("fmt"), statement) {
        (Some(Item::Text("none")), Item::Map(pairs)) if pairs.is_empty() => Ok(()),
        (Some(Item::Text("packed")), Item::Map(pairs))
            if statement.named("x5c").is_none() && pairs.len() == 2 =>
        {
            let is_own =
                statement.named("alg").and_then(Item::integer) == Some(i128::from(key.algorithm().number()));
            let signature = statement.named("sig").and_then(Item::bytes).unwrap_or_default();
            let signed = [said, Sha256::digest(client_data).as_slice()].concat();
            if is_own && key.verifies(&signed, signature) { Ok(()) } else { Err(wrong) }
        }
        _ => Err(wrong),
    }
}
