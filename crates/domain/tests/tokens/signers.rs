//! Keys of every kind, what is signed with them, and our own verifiers that know the public ones.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PSS_SHA256, RsaKeyPair,
};
use rowhouse_domain::id::{IssuerId, ServiceAccountId};
use rowhouse_domain::identity::issuer::{
    Foreign, Issuer, Missed, SigningAlgorithm, TenantIssuers, Trust, read_keys,
};
use rowhouse_domain::identity::token::{AUDIENCE_GATEWAY, TokenKeys, Unverified};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::draft::{ISSUER, OWN_ISSUER};

/// A key that was made for tests and is used nowhere else.
const RSA_KEY: &str = include_str!("../../src/identity/issuer/rsa_for_tests.txt");
/// Audiences of the other issuer's tokens.
const AUDIENCES: [&str; 2] = ["urn:acme:stamps", "urn:acme:other"];

/// With what a token is signed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum With {
    /// The right key, in the way of this algorithm.
    Algorithm(&'static str),
    /// Another key of the right kind.
    Stranger,
    /// A MAC whose key is a public key: the modulus, the point, or as it stands in the key set.
    MacOf(&'static str),
    /// Nothing: these bytes.
    Bytes(&'static [u8]),
}

pub struct Signers {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p256_der: EcdsaKeyPair,
    own: SigningKey,
    stranger: SigningKey,
    stranger_p256: EcdsaKeyPair,
    random: SystemRandom,
    issuers: TenantIssuers,
    keys: TokenKeys,
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signers {
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let document =
            || EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let (one, other) = (document(), document());
        let pair = |document: &[u8], how| EcdsaKeyPair::from_pkcs8(how, document, &random).expect("a key");
        let rsa = STANDARD.decode(RSA_KEY.replace('\n', "")).expect("base64");
        let mut signers = Signers {
            rsa: RsaKeyPair::from_der(&rsa).expect("a key"),
            p256: pair(one.as_ref(), &ECDSA_P256_SHA256_FIXED_SIGNING),
            p256_der: pair(one.as_ref(), &ECDSA_P256_SHA256_ASN1_SIGNING),
            stranger_p256: pair(other.as_ref(), &ECDSA_P256_SHA256_FIXED_SIGNING),
            own: SigningKey::from_bytes(&[3; 32]),
            stranger: SigningKey::from_bytes(&[4; 32]),
            random,
            issuers: TenantIssuers::default(),
            keys: TokenKeys::default(),
        };
        signers.issuers = TenantIssuers::new(vec![signers.issuer()]);
        signers.keys = signers.own_keys();
        signers
    }

    fn jwks(&self) -> Vec<Value> {
        let rsa = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        let (n, e) = (text(rsa.n), text(rsa.e));
        let point = self.p256.public_key().as_ref();
        vec![
            json!({"kty": "RSA", "kid": "RS256", "n": n, "e": e, "use": "sig", "alg": "RS256"}),
            json!({"kty": "RSA", "kid": "PS256", "n": n, "e": e, "use": "sig", "alg": "PS256"}),
            json!({"kty": "EC", "crv": "P-256", "kid": "ES256", "x": text(&point[1..33]), "y": text(&point[33..]), "alg": "ES256"}),
            self.ed25519("EdDSA"),
        ]
    }

    fn ed25519(&self, name: &str) -> Value {
        let x = text(self.own.verifying_key().as_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": name, "x": x, "alg": "EdDSA"})
    }

    fn issuer(&self) -> Issuer {
        let document = json!({ "keys": self.jwks() }).to_string();
        let trust = |audience: &str| Trust {
            audience: audience.into(),
            subject: "*".into(),
            account: ServiceAccountId::from_u128(7),
        };
        Issuer {
            id: IssuerId::from_u128(1),
            issuer: ISSUER.into(),
            audiences: AUDIENCES.map(Into::into).to_vec(),
            subject_claim: "sub".into(),
            keys: read_keys(document.as_bytes(), &SigningAlgorithm::ALL).expect("keys"),
            trusts: AUDIENCES.map(trust).to_vec(),
            missed: Missed::default(),
        }
    }

    fn own_keys(&self) -> TokenKeys {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let key = json!({"key_id": "own", "key": hex(self.own.verifying_key().as_bytes()), "from_s": 0, "until_s": i64::MAX});
        serde_json::from_value(json!({"issuer": OWN_ISSUER, "keys": [key]}))
            .expect("as a gateway is told them")
    }

    /// What the other verifiers are told: the same.
    pub fn settings(&self, now_s: i64) -> Value {
        json!({"now": now_s, "worlds": {
            "foreign": {"issuer": ISSUER, "audiences": AUDIENCES, "keys": self.jwks()},
            "own": {"issuer": OWN_ISSUER, "audiences": [AUDIENCE_GATEWAY], "keys": [self.ed25519("own")]},
        }})
    }

    /// Whether ours believes it.
    pub fn believes(&self, world: &str, token: &str, now_s: i64) -> bool {
        match world {
            "own" => Unverified::read(token)
                .and_then(|read| read.verify(&self.keys, AUDIENCE_GATEWAY, now_s))
                .is_ok(),
            _ => Foreign::read(token).and_then(|read| read.verify(&self.issuers, now_s * 1_000_000)).is_ok(),
        }
    }

    pub fn sign(&self, with: With, signed: &[u8]) -> Vec<u8> {
        let rsa = |how| {
            let mut out = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(how, &self.random, signed, &mut out).expect("signed");
            out
        };
        match with {
            With::Algorithm("RS256") => rsa(&RSA_PKCS1_SHA256),
            With::Algorithm("RS384") => rsa(&RSA_PKCS1_SHA384),
            With::Algorithm("PS256") => rsa(&RSA_PSS_SHA256),
            With::Algorithm("ES256") => {
                self.p256.sign(&self.random, signed).expect("signed").as_ref().to_vec()
            }
            With::Algorithm("ES256 in DER") => {
                self.p256_der.sign(&self.random, signed).expect("signed").as_ref().to_vec()
            }
            With::Algorithm("ES256 of strangers") => {
                self.stranger_p256.sign(&self.random, signed).expect("signed").as_ref().to_vec()
            }
            With::Algorithm(_) => self.own.sign(signed).to_bytes().to_vec(),
            With::Stranger => self.stranger.sign(signed).to_bytes().to_vec(),
            With::MacOf(what) => self.mac(what, signed),
            With::Bytes(bytes) => bytes.to_vec(),
        }
    }

    fn mac(&self, what: &str, signed: &[u8]) -> Vec<u8> {
        let key = match what {
            "modulus" => ring::rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key()).n,
            "point" => self.p256.public_key().as_ref().to_vec(),
            "ed25519" => self.own.verifying_key().as_bytes().to_vec(),
            "its digest" => Sha256::digest(self.own.verifying_key().as_bytes()).to_vec(),
            _ => self.jwks()[0].to_string().into_bytes(),
        };
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).expect("HMAC takes keys of any length");
        mac.update(signed);
        mac.finalize().into_bytes().to_vec()
    }

    /// A key that the header brings along.
    pub fn strangers_key(&self) -> String {
        let x = text(self.stranger.verifying_key().as_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x}).to_string()
    }
}
