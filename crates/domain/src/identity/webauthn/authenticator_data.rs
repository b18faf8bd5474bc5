//! What the authenticator says about a ceremony (§6.1).

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{CREDENTIAL_ID_MAX, RelyingParty, WebauthnFault, cbor};

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const HAS_CREDENTIAL: u8 = 1 << 6;
const HAS_EXTENSIONS: u8 = 1 << 7;
/// Bits 1 and 5 are reserved (§6.1).
const RESERVED: u8 = 1 << 1 | 1 << 5;

/// A credential as it is made.
#[derive(Debug)]
pub struct NewCredential<'a> {
    pub aaguid: [u8; 16],
    pub id: &'a [u8],
    /// The bytes of its COSE key.
    pub key: &'a [u8],
}

/// What it says.
#[derive(Debug)]
pub struct AuthenticatorData<'a> {
    pub user_verified: bool,
    pub backup_eligible: bool,
    pub backed_up: bool,
    pub sign_count: u32,
    pub credential: Option<NewCredential<'a>>,
}

/// Reads it, and checks what both ceremonies check: for us, somebody present, verified if that is asked, and no contradiction
/// about backups (§7.1 steps 14 to 18, §7.2 steps 16 to 20).
pub fn read<'a>(
    bytes: &'a [u8],
    relying_party: &RelyingParty,
    verification: bool,
) -> Result<AuthenticatorData<'a>, WebauthnFault> {
    let bad = WebauthnFault::Malformed;
    let (party, rest) = bytes.split_at_checked(32).ok_or(bad)?;
    let (flags, rest) = rest.split_first().ok_or(bad)?;
    let (count, rest) = rest.split_first_chunk::<4>().ok_or(bad)?;
    if !bool::from(party.ct_eq(&Sha256::digest(relying_party.id.as_bytes()))) {
        return Err(WebauthnFault::WrongRelyingParty);
    }
    let has = |flag: u8| flags & flag != 0;
    if has(RESERVED) {
        return Err(bad);
    }
    if !has(USER_PRESENT) {
        return Err(WebauthnFault::UserNotPresent);
    }
    if verification && !has(USER_VERIFIED) {
        return Err(WebauthnFault::UserNotVerified);
    }
    if has(BACKED_UP) && !has(BACKUP_ELIGIBLE) {
        return Err(WebauthnFault::WrongBackup);
    }
    let (credential, rest) = match has(HAS_CREDENTIAL) {
        true => credential(rest).map(|(credential, rest)| (Some(credential), rest))?,
        false => (None, rest),
    };
    let rest = match has(HAS_EXTENSIONS) {
        true => match cbor::read(rest)? {
            (cbor::Item::Map(_), rest) => rest,
            _ => return Err(bad),
        },
        false => rest,
    };
    if !rest.is_empty() {
        return Err(bad);
    }
    Ok(AuthenticatorData {
        user_verified: has(USER_VERIFIED),
        backup_eligible: has(BACKUP_ELIGIBLE),
        backed_up: has(BACKED_UP),
        sign_count: u32::from_be_bytes(*count),
        credential,
    })
}

fn credential(bytes: &[u8]) -> Result<(NewCredential<'_>, &[u8]), WebauthnFault> {
    let bad = WebauthnFault::Malformed;
    let (aaguid, rest) = bytes.split_first_chunk::<16>().ok_or(bad)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(bad)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 || length > CREDENTIAL_ID_MAX {
        return Err(bad);
    }
    let (id, rest) = rest.split_at_checked(length).ok_or(bad)?;
    let (_, after) = cbor::read(rest)?;
    let key = &rest[..rest.len() - after.len()];
    Ok((NewCredential { aaguid: *aaguid, id, key }, after))
}
