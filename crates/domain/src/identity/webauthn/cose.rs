//! Keys of credentials (RFC 9052 §7, RFC 9053 §7) and signatures made with them. The algorithm is the key's own, as it was when
//! it was enrolled; nothing in an answer chooses it.

use ed25519_dalek::{Signature, VerifyingKey};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

use super::WebauthnFault;
use super::cbor::{self, Item};

/// An algorithm that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// EdDSA with Ed25519, −8.
    EdDsa,
    /// ECDSA with P-256 and SHA-256, −7.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 and at least 2,048 bits, −257.
    Rs256,
}

impl Algorithm {
    /// In the order that is preferred.
    pub const ALL: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];

    /// Its number in the registry of COSE.
    pub fn number(self) -> i32 {
        match self {
            Algorithm::EdDsa => -8,
            Algorithm::Es256 => -7,
            Algorithm::Rs256 => -257,
        }
    }
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// Ed25519.
    EdDsa([u8; 32]),
    /// P-256: the uncompressed point.
    Es256([u8; 65]),
    /// RSA.
    Rs256 {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
}

impl PublicKey {
    /// Reads a COSE key. Type, algorithm and curve must agree.
    ///
    /// # Errors
    /// [`WebauthnFault::WrongKey`].
    pub fn read(bytes: &[u8]) -> Result<Self, WebauthnFault> {
        let map = cbor::read_all(bytes)?;
        let number = |key: i128| map.at(key).and_then(Item::integer);
        let part = |key: i128| map.at(key).and_then(Item::bytes).unwrap_or_default();
        let bad = WebauthnFault::WrongKey;
        match (number(1), number(3)) {
            (Some(1), Some(-8)) if number(-1) == Some(6) => {
                let x: [u8; 32] = part(-2).try_into().map_err(|_| bad)?;
                let key = VerifyingKey::from_bytes(&x).map_err(|_| bad)?;
                if key.is_weak() { Err(bad) } else { Ok(PublicKey::EdDsa(x)) }
            }
            (Some(2), Some(-7)) if number(-1) == Some(1) => {
                let (x, y): (&[u8; 32], &[u8; 32]) =
                    (part(-2).try_into().map_err(|_| bad)?, part(-3).try_into().map_err(|_| bad)?);
                let mut point = [4; 65];
                point[1..33].copy_from_slice(x);
                point[33..].copy_from_slice(y);
                Ok(PublicKey::Es256(point))
            }
            (Some(3), Some(-257)) => {
                let (n, e) = (part(-1), part(-2));
                let fits = (256..=1_024).contains(&n.len())
                    && n[0] & 0x80 != 0
                    && (3..=4).contains(&e.len())
                    && e[0] != 0;
                if fits { Ok(PublicKey::Rs256 { n: n.to_vec(), e: e.to_vec() }) } else { Err(bad) }
            }
            _ => Err(bad),
        }
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            PublicKey::EdDsa(_) => Algorithm::EdDsa,
            PublicKey::Es256(_) => Algorithm::Es256,
            PublicKey::Rs256 { .. } => Algorithm::Rs256,
        }
    }

    /// Whether `signature` is one of `message` by this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            PublicKey::EdDsa(x) => {
                let (Ok(key), Ok(signature)) =
                    (VerifyingKey::from_bytes(x), Signature::from_slice(signature))
                else {
                    return false;
                };
                key.verify_strict(message, &signature).is_ok()
            }
            PublicKey::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
            }
            PublicKey::Rs256 { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
        }
    }
}
