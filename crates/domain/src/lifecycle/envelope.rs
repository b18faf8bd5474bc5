//! Signed documents in the envelope of DSSE 1.0 (Dead Simple Signing Envelope): what is signed is the type and the bytes,
//! each with its length in front, so that no two documents have one text. Ed25519 (RFC 8032), strictly verified.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::audit::note::{SignerKey, VerifierKey};

/// Longest envelope read, in bytes.
pub const BYTES_MAX: usize = 4 << 20;

/// A signed document. Fields that are not known are ignored, as the protocol says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// What the payload is.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// The document's bytes, in base64.
    pub payload: String,
    /// At least one.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// A hint whose it is: name and id of the key, as in `audit.example.com/platform+1a2b3c4d`. It proves nothing.
    pub keyid: String,
    /// In base64.
    pub sig: String,
}

/// Why an envelope is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON of this form, or too long.
    #[error("it is no signed envelope")]
    Malformed,
    /// Another kind of document.
    #[error("it is an envelope around something else")]
    OtherType,
    /// None of its signatures is by a known key over these bytes.
    #[error("no known key signed it as it is: it was altered, or somebody else signed it")]
    NotSigned,
}

/// The pre-authentication encoding: the bytes that are signed.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl Envelope {
    /// Signs `payload` with `key`.
    pub fn sign(payload_type: &str, payload: &[u8], key: &SignerKey) -> Envelope {
        let signature = key.sign(&pre_authentication_encoding(payload_type, payload));
        Envelope {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![EnvelopeSignature {
                keyid: key.verifier().key_name(),
                sig: STANDARD.encode(signature),
            }],
        }
    }

    /// Reads the JSON form; nothing is verified yet.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Envelope, EnvelopeError> {
        if text.len() > BYTES_MAX {
            return Err(EnvelopeError::Malformed);
        }
        serde_json::from_str(text).map_err(|_| EnvelopeError::Malformed)
    }

    /// The payload, if one of `keys` signed it as a `payload_type`. Key ids are hints and are not looked at.
    ///
    /// # Errors
    /// If it is another type, is not well-formed, or no key fits.
    pub fn open(&self, payload_type: &str, keys: &[VerifierKey]) -> Result<Vec<u8>, EnvelopeError> {
        if self.payload_type != payload_type {
            return Err(EnvelopeError::OtherType);
        }
        let payload = STANDARD.decode(&self.payload).map_err(|_| EnvelopeError::Malformed)?;
        let signed = pre_authentication_encoding(payload_type, &payload);
        let fits = |signature: &EnvelopeSignature| {
            let Ok(bytes) = STANDARD.decode(&signature.sig) else { return false };
            keys.iter().any(|key| key.verifies(&signed, &bytes))
        };
        match self.signatures.iter().any(fits) {
            true => Ok(payload),
            false => Err(EnvelopeError::NotSigned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "application/x";

    fn key(seed: u8) -> SignerKey {
        SignerKey::from_seed("example/platform", &[seed; 32]).expect("a name")
    }

    #[test]
    fn the_encoding_is_the_protocols_own_example() {
        // https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md, test vector.
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn what_was_signed_opens_and_nothing_else() {
        let key = key(1);
        let keys = [key.verifier().clone()];
        let envelope = Envelope::sign(TYPE, b"all gone", &key);
        let text = serde_json::to_string(&envelope).expect("JSON");
        assert_eq!(Envelope::parse(&text).expect("read").open(TYPE, &keys).expect("signed"), b"all gone");
        assert_eq!(envelope.open("application/y", &keys), Err(EnvelopeError::OtherType));
        let other = [super::tests::key(2).verifier().clone()];
        assert_eq!(envelope.open(TYPE, &other), Err(EnvelopeError::NotSigned));
        let renamed = Envelope { payload_type: "application/y".to_owned(), ..envelope.clone() };
        assert_eq!(renamed.open("application/y", &keys), Err(EnvelopeError::NotSigned), "the type is signed");
        assert_eq!(Envelope::parse("{}"), Err(EnvelopeError::Malformed));
    }

    #[test]
    fn every_altered_bit_of_the_payload_is_noticed() {
        let key = key(1);
        let keys = [key.verifier().clone()];
        let payload = b"{\"found\":0}".to_vec();
        let envelope = Envelope::sign(TYPE, &payload, &key);
        for bit in 0..payload.len() * 8 {
            let mut altered = payload.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let altered = Envelope { payload: STANDARD.encode(&altered), ..envelope.clone() };
            assert_eq!(altered.open(TYPE, &keys), Err(EnvelopeError::NotSigned), "bit {bit}");
        }
    }
}
