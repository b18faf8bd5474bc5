//! The keys that sign tokens. They are derived from one secret by the calendar: each signs for 90 days, is published long before,
//! and is believed until the last token it signed is over. So all processes have the same keys at the same time, and turning
//! needs no job that could fail. A higher generation makes all of them other keys at once, for the day one has leaked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{TOKEN_LEEWAY_S, TOKEN_LIFETIME_MAX_S, TokenClaims};

/// How long one key signs, in seconds: 90 days.
const TURN_S: i64 = 90 * 86_400;

/// All keys there will ever be; secret.
#[derive(Clone)]
pub struct TokenRing {
    root: [u8; 32],
    generation: u32,
}

/// One key that signs.
#[derive(Clone)]
pub struct TokenSigner {
    key: SigningKey,
    header: String,
    id_header: String,
}

/// One key that tokens are verified with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TokenKey {
    /// Thumbprint of the key (RFC 7638).
    pub key_id: String,
    #[serde(with = "crate::directory::written::public_key")]
    pub(super) key: VerifyingKey,
    /// It is believed from this second,
    pub from_s: i64,
    /// until before this one.
    pub until_s: i64,
}

/// What a reader knows: whose tokens, and with which keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TokenKeys {
    /// `iss` of every token that is believed.
    pub issuer: String,
    /// Keys, oldest first.
    pub keys: Vec<TokenKey>,
}

impl TokenRing {
    /// The keys of `root`, 32 secret bytes, in a generation.
    pub fn new(root: [u8; 32], generation: u32) -> Self {
        TokenRing { root, generation }
    }

    fn signing(&self, turn: i64) -> SigningKey {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&self.root).expect("HMAC takes keys of any length");
        mac.update(b"identity/token_key/v1");
        mac.update(&self.generation.to_be_bytes());
        mac.update(&turn.to_be_bytes());
        SigningKey::from_bytes(&mac.finalize().into_bytes().into())
    }

    /// The key that signs at `now_s`.
    pub fn signer(&self, now_s: i64) -> TokenSigner {
        let key = self.signing(now_s.div_euclid(TURN_S));
        let key_id = thumbprint(&key.verifying_key());
        let header = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{key_id}"}}"#);
        let id_header = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{key_id}"}}"#);
        TokenSigner {
            key,
            header: URL_SAFE_NO_PAD.encode(header),
            id_header: URL_SAFE_NO_PAD.encode(id_header),
        }
    }

    /// The keys that are believed about `now_s`: the one before, the one that signs, and the two that follow, so that a reader
    /// who hears nothing for three months still reads.
    pub fn keys(&self, now_s: i64) -> Vec<TokenKey> {
        let turn = now_s.div_euclid(TURN_S);
        let key = |turn: i64| {
            let key = self.signing(turn).verifying_key();
            let from_s = turn * TURN_S - TOKEN_LEEWAY_S;
            let until_s = (turn + 1) * TURN_S + TOKEN_LIFETIME_MAX_S + TOKEN_LEEWAY_S;
            TokenKey { key_id: thumbprint(&key), key, from_s, until_s }
        };
        (turn - 1..=turn + 2).map(key).collect()
    }
}

impl std::fmt::Debug for TokenRing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "TokenRing(generation {})", self.generation)
    }
}

impl TokenSigner {
    /// The token for `claims`.
    pub fn sign(&self, claims: &TokenClaims) -> String {
        let claims = serde_json::to_vec(claims).expect("claims are text and numbers");
        self.signed(&self.header, &claims)
    }

    /// An ID token (OpenID Connect Core §2), which no reader of access tokens takes: its type is another one.
    pub fn sign_id(&self, claims: &serde_json::Value) -> String {
        self.signed(&self.id_header, claims.to_string().as_bytes())
    }

    fn signed(&self, header: &str, claims: &[u8]) -> String {
        let mut token = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut token);
        token
    }
}

#[cfg(test)]
impl TokenSigner {
    pub(super) fn key_for_tests(&self) -> &SigningKey {
        &self.key
    }
}

impl TokenKey {
    /// The JWK's `x` (RFC 8037 §2).
    pub fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.as_bytes())
    }
}

/// RFC 7638 with the members of RFC 8037 §2, in their order, without spaces.
fn thumbprint(key: &VerifyingKey) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.as_bytes());
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 Appendix A.1 to A.5: the key, its thumbprint, and what it signs.
    #[test]
    fn the_example_of_the_standard_has_its_thumbprint_and_signature() {
        let secret = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").expect("base64");
        let key = SigningKey::from_bytes(&secret.try_into().expect("32 bytes"));
        let public = key.verifying_key();
        assert_eq!(URL_SAFE_NO_PAD.encode(public.as_bytes()), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(thumbprint(&public), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#);
        let signer = TokenSigner { key, header: String::new(), id_header: String::new() };
        let token = signer.signed(&header, b"Example of Ed25519 signing");
        let (_, signature) = token.rsplit_once('.').expect("three parts");
        assert_eq!(
            signature,
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }
}
