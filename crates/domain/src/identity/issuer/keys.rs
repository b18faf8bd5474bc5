//! The keys that an issuer publishes (JWK Set, RFC 7517 §5). A set that shows a secret, a weak key or one name for two keys is
//! refused as a whole: whoever publishes such a thing has lost control of it. Keys of kinds that we do not use are passed over.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{SigningAlgorithm, strict};

/// Keys of one issuer.
pub const KEYS_MAX: usize = 64;
/// Bytes of one key set.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a modulus: 2,048 to 8,192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1_024;

/// Why a key set is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// Larger than we read, or not JSON with one reading, or not a list of keys.
    #[error("it is no key set")]
    Malformed,
    /// More than [`KEYS_MAX`].
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
    /// A symmetric key, or the private part of one: what is published is no secret any more.
    #[error("it shows a secret key")]
    Secret,
    /// An RSA key of less than 2,048 bits or with a small exponent, or a point that is none.
    #[error("the key `{0}` is weak or none at all")]
    Weak(String),
    /// Two keys of one name.
    #[error("two keys are called `{0}`")]
    Twice(String),
    /// Nothing that can be used with the algorithms the issuer may use.
    #[error("it has no key that the issuer may use")]
    Nothing,
}

/// One key, for one algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerKey {
    /// Its name (`kid`).
    pub key_id: Box<str>,
    /// What it is for.
    pub algorithm: SigningAlgorithm,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(#[serde(with = "crate::directory::written::public_key")] VerifyingKey),
}

impl IssuerKey {
    /// Whether `signature` is this key's of `signed`.
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                let how = match self.algorithm {
                    SigningAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA256,
                };
                key.verify(how, signed, signature).is_ok()
            }
            Material::P256(point) => UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                .verify(signed, signature)
                .is_ok(),
            Material::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
        }
    }
}

/// The keys of a set that an issuer may use who may sign with `allowed`. A key that does not say what it is for gets the first
/// of `allowed` that its kind can do.
///
/// # Errors
/// What is wrong with the set; see [`KeySetFault`].
pub fn read_keys(document: &[u8], allowed: &[SigningAlgorithm]) -> Result<Vec<IssuerKey>, KeySetFault> {
    if document.len() > KEY_SET_BYTES_MAX {
        return Err(KeySetFault::Malformed);
    }
    let set = strict::object(document).ok_or(KeySetFault::Malformed)?;
    let listed = set.get("keys").and_then(Value::as_array).ok_or(KeySetFault::Malformed)?;
    if listed.len() > KEYS_MAX {
        return Err(KeySetFault::TooMany);
    }
    let mut keys: Vec<IssuerKey> = Vec::new();
    for one in listed {
        let one = one.as_object().ok_or(KeySetFault::Malformed)?;
        let Some(key) = read_key(one, allowed)? else { continue };
        if keys.iter().any(|own| own.key_id == key.key_id) {
            return Err(KeySetFault::Twice(key.key_id.into()));
        }
        keys.push(key);
    }
    if keys.is_empty() { Err(KeySetFault::Nothing) } else { Ok(keys) }
}

fn read_key(
    members: &Map<String, Value>,
    allowed: &[SigningAlgorithm],
) -> Result<Option<IssuerKey>, KeySetFault> {
    use SigningAlgorithm::{EdDsa, Es256, Ps256, Rs256};
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let kind = text("kty").ok_or(KeySetFault::Malformed)?;
    // The private members of RSA, EC and OKP, and the value of a symmetric key (RFC 7518 §6, RFC 8037 §2).
    if kind == "oct" || ["d", "k", "p", "q", "dp", "dq", "qi"].iter().any(|name| members.contains_key(*name))
    {
        return Err(KeySetFault::Secret);
    }
    let signs = text("use").is_none_or(|usage| usage == "sig") && may_verify(members.get("key_ops"));
    let Some(key_id) = text("kid").filter(|id| signs && !id.is_empty() && id.len() <= 256) else {
        return Ok(None);
    };
    let can: &[SigningAlgorithm] = match (kind, text("crv")) {
        ("RSA", _) => &[Rs256, Ps256],
        ("EC", Some("P-256")) => &[Es256],
        ("OKP", Some("Ed25519")) => &[EdDsa],
        _ => return Ok(None),
    };
    let said = members.get("alg").map(|said| said.as_str().and_then(SigningAlgorithm::parse));
    let algorithm = match said {
        Some(said) => said.filter(|said| can.contains(said) && allowed.contains(said)),
        None => allowed.iter().copied().find(|own| can.contains(own)),
    };
    let Some(algorithm) = algorithm else { return Ok(None) };
    let weak = || KeySetFault::Weak(key_id.to_owned());
    let number = |name: &str| text(name).and_then(|own| URL_SAFE_NO_PAD.decode(own).ok()).ok_or_else(weak);
    let material = match algorithm {
        Rs256 | Ps256 => rsa(number("n")?, number("e")?).ok_or_else(weak)?,
        Es256 => p256(&number("x")?, &number("y")?).ok_or_else(weak)?,
        EdDsa => ed25519(&number("x")?).ok_or_else(weak)?,
    };
    Ok(Some(IssuerKey { key_id: key_id.into(), algorithm, material }))
}

fn may_verify(operations: Option<&Value>) -> bool {
    let named = |list: &Vec<Value>| list.iter().any(|own| own == "verify");
    operations.is_none_or(|own| own.as_array().is_some_and(named))
}

fn rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Option<Material> {
    let bare = |number: Vec<u8>| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number[zeros..].to_vec()
    };
    let (modulus, exponent) = (bare(modulus), bare(exponent));
    let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
    let value =
        exponent.iter().try_fold(0u64, |value, byte| Some(value.checked_mul(256)? + u64::from(*byte)))?;
    // Up to 33 bits is what the verifier takes; all that are in use are 65,537.
    let sound = bits >= 2_048
        && MODULUS.contains(&modulus.len())
        && (65_537..1 << 33).contains(&value)
        && value % 2 == 1;
    (sound && modulus.last()? % 2 == 1).then_some(Material::Rsa { modulus, exponent })
}

fn p256(x: &[u8], y: &[u8]) -> Option<Material> {
    (x.len() == 32 && y.len() == 32).then(|| Material::P256([&[4], x, y].concat()))
}

fn ed25519(x: &[u8]) -> Option<Material> {
    let key = VerifyingKey::from_bytes(x.try_into().ok()?).ok()?;
    (!key.is_weak()).then_some(Material::Ed25519(key))
}
