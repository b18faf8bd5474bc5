//! A software authenticator for tests: it makes credentials and signs, and can be told to lie in every way that an attacker might.

// Shared by tests of two crates, each of which needs a part.
#![allow(dead_code)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

enum Signer {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// One credential, with all that it says about itself.
pub struct Authenticator {
    signer: Signer,
    pub id: Vec<u8>,
    pub origin: String,
    pub relying_party: String,
    pub user_handle: Option<Vec<u8>>,
    pub count: u32,
    /// UP, UV and the rest, without AT.
    pub flags: u8,
    pub cross_origin: bool,
}

/// An answer, before it is told over JSON.
#[derive(Clone)]
pub struct Answer {
    pub id: Vec<u8>,
    pub client_data: Vec<u8>,
    /// `attestationObject` or `authenticatorData`.
    pub said: Vec<u8>,
    pub signature: Vec<u8>,
    pub user_handle: Option<Vec<u8>>,
}

impl Authenticator {
    /// With a P-256 key, or an Ed25519 one.
    pub fn new(origin: &str, relying_party: &str, ed25519: bool) -> Self {
        let random = SystemRandom::new();
        let signer = match ed25519 {
            true => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
                Signer::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key"))
            }
            false => {
                let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
                Signer::Es256(EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).expect("a key"))
            }
        };
        let public = match &signer {
            Signer::Es256(own) => own.public_key().as_ref().to_vec(),
            Signer::EdDsa(own) => own.public_key().as_ref().to_vec(),
        };
        Authenticator {
            id: Sha256::digest(&public).to_vec(),
            signer,
            origin: origin.to_owned(),
            relying_party: relying_party.to_owned(),
            user_handle: None,
            count: 1,
            flags: 0b101,
            cross_origin: false,
        }
    }

    /// Its COSE key.
    pub fn key(&self) -> Vec<u8> {
        match &self.signer {
            Signer::Es256(own) => {
                let point = own.public_key().as_ref();
                let mut key = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
                key.extend(&point[1..33]);
                key.extend([0x22, 0x58, 0x20]);
                key.extend(&point[33..]);
                key
            }
            Signer::EdDsa(own) => {
                let mut key = vec![0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20];
                key.extend(own.public_key().as_ref());
                key
            }
        }
    }

    /// Signs anything.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.signer {
            Signer::Es256(own) => {
                own.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
            }
            Signer::EdDsa(own) => own.sign(message).as_ref().to_vec(),
        }
    }

    fn client_data(&self, ceremony: &str, challenge: &str) -> Vec<u8> {
        let said = json!({"type": ceremony, "challenge": challenge, "origin": self.origin, "crossOrigin": self.cross_origin});
        serde_json::to_vec(&said).expect("JSON")
    }

    fn said(&self, with_credential: bool) -> Vec<u8> {
        let mut said = Sha256::digest(self.relying_party.as_bytes()).to_vec();
        said.push(self.flags | if with_credential { 1 << 6 } else { 0 });
        said.extend(self.count.to_be_bytes());
        if with_credential {
            said.extend([7; 16]);
            said.extend(u16::try_from(self.id.len()).expect("short").to_be_bytes());
            said.extend(&self.id);
            said.extend(self.key());
        }
        said
    }

    /// Answers an enrolment: attestation `none`.
    pub fn create(&self, challenge: &str) -> Answer {
        let said = self.said(true);
        let mut object = vec![0xa3, 0x63];
        object.extend(b"fmt");
        object.push(0x64);
        object.extend(b"none");
        object.push(0x67);
        object.extend(b"attStmt");
        object.push(0xa0);
        object.push(0x68);
        object.extend(b"authData");
        object.push(0x59);
        object.extend(u16::try_from(said.len()).expect("short").to_be_bytes());
        object.extend(said);
        let client_data = self.client_data("webauthn.create", challenge);
        Answer { id: self.id.clone(), client_data, said: object, signature: Vec::new(), user_handle: None }
    }

    /// Answers a sign-in, and counts.
    pub fn get(&mut self, challenge: &str) -> Answer {
        self.count += 1;
        let (client_data, said) = (self.client_data("webauthn.get", challenge), self.said(false));
        self.signed(client_data, said)
    }

    /// Signs these two, whatever they say.
    pub fn signed(&self, client_data: Vec<u8>, said: Vec<u8>) -> Answer {
        let signature = self.sign(&[said.as_slice(), Sha256::digest(&client_data).as_slice()].concat());
        Answer { id: self.id.clone(), client_data, said, signature, user_handle: self.user_handle.clone() }
    }
}

impl Answer {
    /// As browsers tell it (`PublicKeyCredential.toJSON`, §5.1).
    pub fn json(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let response = match self.signature.is_empty() {
            true => {
                json!({"clientDataJSON": text(&self.client_data), "attestationObject": text(&self.said), "transports": ["internal"]})
            }
            false => json!({
                "clientDataJSON": text(&self.client_data), "authenticatorData": text(&self.said),
                "signature": text(&self.signature), "userHandle": self.user_handle.as_deref().map(text),
            }),
        };
        json!({"id": text(&self.id), "rawId": text(&self.id), "type": "public-key", "response": response,
            "clientExtensionResults": {}, "authenticatorAttachment": "platform"})
    }
}
