//! Tokens of other issuers, true ones and attacks, as tables.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::identity::token::TokenFault;

const NOW: i64 = 1_795_255_200;
const ISSUER: &str = "https://login.acme.example";
/// A key that was made for this test and is used nowhere else.
const RSA_KEY: &str = include_str!("rsa_for_tests.txt");

/// An issuer with a key of every kind.
struct Signer {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    random: SystemRandom,
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
        let rsa = STANDARD.decode(RSA_KEY.replace('\n', "")).expect("base64");
        Signer {
            rsa: RsaKeyPair::from_der(&rsa).expect("a key"),
            p256: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref(), &random)
                .expect("a key"),
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).expect("a key"),
            random,
        }
    }

    fn jwks(&self) -> Value {
        let rsa = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        let (n, e) = (text(rsa.n), text(rsa.e));
        let point = self.p256.public_key().as_ref();
        let x = text(self.ed25519.public_key());
        json!({"keys": [
            {"kty": "RSA", "kid": "r", "n": n, "e": e, "use": "sig", "alg": "RS256"},
            {"kty": "RSA", "kid": "s", "n": n, "e": e, "use": "sig", "alg": "PS256"},
            {"kty": "EC", "crv": "P-256", "kid": "e", "x": text(&point[1..33]), "y": text(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "d", "x": x, "key_ops": ["verify"]},
            {"kty": "RSA", "kid": "encryption", "n": n, "e": e, "use": "enc"},
            {"kty": "EC", "crv": "P-384", "kid": "other curve", "x": x, "y": x},
        ]})
    }

    fn signature(&self, algorithm: &str, signed: &str) -> Vec<u8> {
        let bytes = signed.as_bytes();
        let mut out = vec![0; self.rsa.public().modulus_len()];
        match algorithm {
            "RS256" => self.rsa.sign(&RSA_PKCS1_SHA256, &self.random, bytes, &mut out).expect("signed"),
            "PS256" => self.rsa.sign(&RSA_PSS_SHA256, &self.random, bytes, &mut out).expect("signed"),
            "ES256" => out = self.p256.sign(&self.random, bytes).expect("signed").as_ref().to_vec(),
            _ => out = self.ed25519.sign(bytes).as_ref().to_vec(),
        }
        out
    }

    /// Signed in one way, whatever the header says.
    fn sign_as(&self, algorithm: &str, header: &Value, claims: &str) -> String {
        let signed = format!("{}.{}", text(header.to_string()), text(claims));
        let signature = text(self.signature(algorithm, &signed));
        format!("{signed}.{signature}")
    }

    fn sign(&self, algorithm: &str, claims: &Value) -> String {
        self.sign_as(algorithm, &header(algorithm), &claims.to_string())
    }
}

fn header(algorithm: &str) -> Value {
    let kid = match algorithm {
        "RS256" => "r",
        "PS256" => "s",
        "ES256" => "e",
        _ => "d",
    };
    json!({"alg": algorithm, "typ": "JWT", "kid": kid})
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "repo:acme/app:ref:main", "aud": "urn:acme:stamps", "iat": NOW, "nbf": NOW,
        "exp": NOW + 600, "email": "robot@acme.example", "groups": ["a", "b"],
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut all = claims();
    all[name] = value;
    all
}

fn without(name: &str) -> Value {
    let mut all = claims();
    all.as_object_mut().expect("an object").remove(name);
    all
}

fn trust(subject: &str, account: u128) -> Trust {
    Trust {
        audience: "urn:acme:stamps".into(),
        subject: subject.into(),
        account: ServiceAccountId::from_u128(account),
    }
}

fn issuer(signer: &Signer) -> Issuer {
    Issuer {
        id: IssuerId::from_u128(1),
        issuer: ISSUER.into(),
        audiences: vec!["urn:acme:stamps".into(), "urn:acme:other".into()],
        subject_claim: "sub".into(),
        keys: read_keys(signer.jwks().to_string().as_bytes(), &SigningAlgorithm::ALL).expect("keys"),
        trusts: vec![trust("repo:acme/*", 7), trust("repo:acme/app:ref:main", 8), trust("*", 9)],
        missed: Missed::default(),
    }
}

fn read(issuers: &TenantIssuers, token: &str, now_s: i64) -> Result<ForeignClaims, TokenFault> {
    Foreign::read(token)?.verify(issuers, now_s * 1_000_000)
}

fn account(issuers: &TenantIssuers, token: &str) -> Result<u128, TokenFault> {
    read(issuers, token, NOW).map(|claims| claims.account.as_u128())
}

#[test]
fn every_algorithm_signs_in_the_closest_trusted_account() {
    let signer = Signer::new();
    let issuers = TenantIssuers::new(vec![issuer(&signer)]);
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        assert_eq!(account(&issuers, &signer.sign(algorithm, &claims())), Ok(8), "{algorithm}");
    }
    let table = [
        (with("sub", json!("repo:acme/web")), Ok(7)),
        (with("sub", json!("someone")), Ok(9)),
        (with("aud", json!(["x", "urn:acme:stamps"])), Ok(8)),
        (with("aud", json!("urn:acme:other")), Err(TokenFault::Untrusted)),
        (without("nbf"), Ok(8)),
        (with("cnf", Value::Null), Ok(8)),
    ];
    for (claims, expected) in table {
        assert_eq!(account(&issuers, &signer.sign("ES256", &claims)), expected, "{claims}");
    }
    let mut by_mail = issuer(&signer);
    by_mail.subject_claim = "email".into();
    by_mail.trusts = vec![trust("robot@acme.example", 5)];
    let by_mail = TenantIssuers::new(vec![by_mail]);
    assert_eq!(account(&by_mail, &signer.sign("EdDSA", &claims())), Ok(5));
    let list = with("email", json!(["robot@acme.example"]));
    assert_eq!(account(&by_mail, &signer.sign("EdDSA", &list)), Err(TokenFault::Untrusted));
    let mut nobody = issuer(&signer);
    nobody.trusts.clear();
    let nobody = TenantIssuers::new(vec![nobody]);
    assert_eq!(account(&nobody, &signer.sign("EdDSA", &claims())), Err(TokenFault::Untrusted));
}

#[test]
fn times_hold_to_the_second() {
    let signer = Signer::new();
    let issuers = TenantIssuers::new(vec![issuer(&signer)]);
    let token = signer.sign("ES256", &claims());
    assert!(read(&issuers, &token, NOW + 629).is_ok());
    assert_eq!(read(&issuers, &token, NOW + 630), Err(TokenFault::Expired));
    assert!(read(&issuers, &token, NOW - 30).is_ok());
    assert_eq!(read(&issuers, &token, NOW - 31), Err(TokenFault::NotYet));
    let later = signer.sign("ES256", &with("nbf", json!(NOW + 100)));
    assert_eq!(read(&issuers, &later, NOW), Err(TokenFault::NotYet));
    let read_now = read(&issuers, &token, NOW).expect("good");
    assert_eq!(read_now.check_time(NOW + 630), Err(TokenFault::Expired), "asked again later");
}

#[test]
fn no_confusion_is_believed() {
    use TokenFault::*;
    let signer = Signer::new();
    let stranger = Signer::new();
    let own = issuer(&signer);
    let other = Issuer {
        id: IssuerId::from_u128(2),
        issuer: "https://other.example".into(),
        keys: read_keys(
            stranger.jwks().to_string().replace(r#""kid":"d""#, r#""kid":"theirs""#).as_bytes(),
            &SigningAlgorithm::ALL,
        )
        .expect("keys"),
        ..own.clone()
    };
    let issuers = TenantIssuers::new(vec![own.clone(), other]);
    let plain = claims().to_string();
    let good = signer.sign("RS256", &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let head = |change: &dyn Fn(&mut Value)| {
        let mut all = header("EdDSA");
        change(&mut all);
        all
    };
    let ed = |header: &Value| signer.sign_as("EdDSA", header, &plain);
    let hmac_with = |key: &[u8], header: Value| {
        let signed = format!("{}.{}", text(header.to_string()), parts[1]);
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("a key");
        mac.update(signed.as_bytes());
        format!("{signed}.{}", text(mac.finalize().into_bytes()))
    };
    let modulus = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(signer.rsa.public_key()).n;
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": text(stranger.ed25519.public_key())});
    let forged = |change: &dyn Fn(&mut Value)| stranger.sign_as("EdDSA", &head(change), &plain);
    let none = text(json!({"alg": "none", "kid": "r"}).to_string());
    let table = [
        ("alg none", format!("{none}.{}.", parts[1]), WrongHeader),
        ("alg none, signed", format!("{none}.{}.{}", parts[1], parts[2]), WrongHeader),
        ("alg NONE", format!("{}.{}.", text(r#"{"alg":"NONE","kid":"r"}"#), parts[1]), WrongHeader),
        ("HS256 with the modulus", hmac_with(&modulus, json!({"alg": "HS256", "kid": "r"})), WrongHeader),
        ("HMAC under RS256", hmac_with(&modulus, header("RS256")), BadSignature),
        (
            "HMAC with the Ed25519 key",
            hmac_with(signer.ed25519.public_key().as_ref(), header("EdDSA")),
            BadSignature,
        ),
        (
            "RS256 with the key of PS256",
            signer.sign_as("RS256", &json!({"alg": "RS256", "kid": "s"}), &plain),
            WrongHeader,
        ),
        (
            "PS256 with the key of RS256",
            signer.sign_as("PS256", &json!({"alg": "PS256", "kid": "r"}), &plain),
            WrongHeader,
        ),
        ("PS256 signature under RS256", signer.sign_as("PS256", &header("RS256"), &plain), BadSignature),
        ("ES256 under EdDSA", signer.sign_as("ES256", &header("EdDSA"), &plain), BadSignature),
        ("lower case", ed(&head(&|all| all["alg"] = json!("eddsa"))), WrongHeader),
        ("an alg that is a list", ed(&head(&|all| all["alg"] = json!(["EdDSA"]))), WrongHeader),
        ("no alg", ed(&json!({"kid": "d"})), WrongHeader),
        ("no kid", ed(&json!({"alg": "EdDSA"})), WrongHeader),
        (
            "kid of another issuer",
            stranger.sign_as("EdDSA", &json!({"alg": "EdDSA", "kid": "theirs"}), &plain),
            UnknownKey,
        ),
        ("another's key under this kid", forged(&|_| ()), BadSignature),
        ("an unknown kid", ed(&head(&|all| all["kid"] = json!("x"))), UnknownKey),
        ("a kid that is a path", ed(&head(&|all| all["kid"] = json!("../../dev/null"))), UnknownKey),
        ("an encryption key's kid", ed(&head(&|all| all["kid"] = json!("encryption"))), UnknownKey),
        ("jwk", forged(&|all| all["jwk"] = jwk.clone()), BadSignature),
        ("jku", forged(&|all| all["jku"] = json!("https://evil.example/keys")), BadSignature),
        ("x5u", forged(&|all| all["x5u"] = json!("https://evil.example/c")), BadSignature),
        ("x5c", forged(&|all| all["x5c"] = json!(["AAAA"])), BadSignature),
        ("crit", ed(&head(&|all| all["crit"] = json!(["exp"]))), WrongHeader),
        ("crit, empty", ed(&head(&|all| all["crit"] = json!([]))), WrongHeader),
        ("b64", ed(&head(&|all| all["b64"] = json!(false))), WrongHeader),
        ("a logout token", ed(&head(&|all| all["typ"] = json!("logout+jwt"))), WrongHeader),
        ("a proof of possession", ed(&head(&|all| all["typ"] = json!("dpop+jwt"))), WrongHeader),
        ("a type that is a number", ed(&head(&|all| all["typ"] = json!(1))), WrongHeader),
        ("an unknown issuer", signer.sign("EdDSA", &with("iss", json!("https://evil.example"))), WrongIssuer),
        (
            "the issuer with a slash",
            signer.sign("EdDSA", &with("iss", json!(format!("{ISSUER}/")))),
            WrongIssuer,
        ),
        (
            "the issuer in capitals",
            signer.sign("EdDSA", &with("iss", json!(ISSUER.to_uppercase()))),
            WrongIssuer,
        ),
        ("issuers as a list", signer.sign("EdDSA", &with("iss", json!([ISSUER]))), Malformed),
        (
            "another issuer's name, our key",
            signer.sign("ES256", &with("iss", json!("https://other.example"))),
            BadSignature,
        ),
        ("another audience", signer.sign("EdDSA", &with("aud", json!("urn:x"))), WrongAudience),
        ("a beginning of the audience", signer.sign("EdDSA", &with("aud", json!("urn:acme"))), WrongAudience),
        ("no audience", signer.sign("EdDSA", &without("aud")), Malformed),
        ("an empty list of audiences", signer.sign("EdDSA", &with("aud", json!([]))), WrongAudience),
        ("an audience that is an object", signer.sign("EdDSA", &with("aud", json!({"a": 1}))), Malformed),
        ("no subject", signer.sign("EdDSA", &without("sub")), Malformed),
        ("an empty subject", signer.sign("EdDSA", &with("sub", json!(""))), Malformed),
        ("no expiry", signer.sign("EdDSA", &without("exp")), Malformed),
        ("expiry as text", signer.sign("EdDSA", &with("exp", json!("9999999999"))), Malformed),
        ("expiry as a fraction", signer.sign("EdDSA", &with("exp", json!(9.9e9))), Malformed),
        ("no time of issue", signer.sign("EdDSA", &without("iat")), Malformed),
        ("an nbf that is text", signer.sign("EdDSA", &with("nbf", json!("0"))), Malformed),
        ("issued in the future", signer.sign("EdDSA", &with("iat", json!(NOW + 31))), NotYet),
        ("good for longer than a day", signer.sign("EdDSA", &with("exp", json!(NOW + 86_401))), Malformed),
        ("the last instant of all", signer.sign("EdDSA", &with("exp", json!(i64::MAX))), Malformed),
        (
            "bound to a key that we do not ask for",
            signer.sign("EdDSA", &with("cnf", json!({"jkt": "x"}))),
            Unbound,
        ),
        (
            "bound to two things",
            signer.sign("EdDSA", &with("cnf", json!({"x5t#S256": text([1; 32]), "jkt": "x"}))),
            Unbound,
        ),
        (
            "a claim twice",
            signer.sign_as("EdDSA", &header("EdDSA"), &plain.replacen('{', r#"{"sub":"admin","#, 1)),
            Malformed,
        ),
        (
            "a claim in a claim twice",
            signer.sign_as("EdDSA", &header("EdDSA"), &plain.replacen('{', r#"{"x":{"a":1,"a":2},"#, 1)),
            Malformed,
        ),
        ("two parts", parts[..2].join("."), Malformed),
        ("four parts", format!("{good}.x"), Malformed),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), BadSignature),
        ("padding", format!("{good}="), Malformed),
        ("too long", signer.sign("EdDSA", &with("x", json!("x".repeat(8_192)))), Malformed),
    ];
    for (what, token, fault) in table {
        assert_eq!(account(&issuers, &token), Err(fault), "{what}");
    }
    assert!(
        own.missed.take().is_some() && own.missed.take().is_none(),
        "unknown keys of a known issuer are told once"
    );
    let empty = TenantIssuers::default();
    assert_eq!(account(&empty, &good), Err(WrongIssuer), "another tenant knows none of it");
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(bytes).expect("ascii");
        assert!(altered == good || account(&issuers, &altered).is_err(), "altered at {at}");
    }
}

#[test]
fn a_token_may_be_bound_to_a_certificate() {
    let signer = Signer::new();
    let issuers = TenantIssuers::new(vec![issuer(&signer)]);
    let bound = signer.sign("PS256", &with("cnf", json!({"x5t#S256": text([7; 32])})));
    assert_eq!(read(&issuers, &bound, NOW).map(|claims| claims.certificate), Ok(Some([7; 32])));
    let short = signer.sign("PS256", &with("cnf", json!({"x5t#S256": text([7; 31])})));
    assert_eq!(account(&issuers, &short), Err(TokenFault::Unbound));
}

#[test]
fn what_an_issuer_publishes_is_looked_at() {
    let signer = Signer::new();
    let jwks = signer.jwks();
    let all = SigningAlgorithm::ALL;
    let named = |allowed: &[SigningAlgorithm]| {
        let keys = read_keys(jwks.to_string().as_bytes(), allowed).expect("keys");
        keys.iter().map(|key| (key.key_id.to_string(), key.algorithm.as_str())).collect::<Vec<_>>()
    };
    let pair = |kid: &str, algorithm: &'static str| (kid.to_owned(), algorithm);
    assert_eq!(named(&all), [pair("r", "RS256"), pair("s", "PS256"), pair("e", "ES256"), pair("d", "EdDSA")]);
    assert_eq!(named(&[SigningAlgorithm::Es256]), [pair("e", "ES256")], "no key for what it may not use");
    let one = |key: Value| read_keys(json!({ "keys": [key] }).to_string().as_bytes(), &all);
    let rsa = &jwks["keys"][0];
    let changed = |name: &str, value: Value| {
        let mut key = rsa.clone();
        key[name] = value;
        key
    };
    let small = text([[0x80].as_slice(), &[1; 127]].concat());
    let weak = |kid: &str| KeySetFault::Weak(kid.to_owned());
    let table = [
        ("a symmetric key", json!({"kty": "oct", "kid": "k", "k": "AAAA"}), KeySetFault::Secret),
        ("a private key", changed("d", json!("AAAA")), KeySetFault::Secret),
        ("1,024 bits", changed("n", json!(small)), weak("r")),
        ("exponent 3", changed("e", json!("Aw")), weak("r")),
        ("an even exponent", changed("e", json!("AQAC")), weak("r")),
        ("no modulus", changed("n", json!(1)), weak("r")),
        (
            "a point too short",
            json!({"kty": "EC", "crv": "P-256", "kid": "p", "x": "AAAA", "y": "AAAA"}),
            weak("p"),
        ),
        (
            "a point of small order",
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "o", "x": text([0; 32])}),
            weak("o"),
        ),
        ("only an encryption key", changed("use", json!("enc")), KeySetFault::Nothing),
        ("an algorithm of another kind", changed("alg", json!("HS256")), KeySetFault::Nothing),
        ("no kind", json!({"kid": "x"}), KeySetFault::Malformed),
    ];
    for (what, key, fault) in table {
        assert_eq!(one(key), Err(fault), "{what}");
    }
    let twice = json!({"keys": [rsa, rsa]});
    assert_eq!(read_keys(twice.to_string().as_bytes(), &all), Err(KeySetFault::Twice("r".into())));
    let many = json!({"keys": vec![rsa; 65]});
    assert_eq!(read_keys(many.to_string().as_bytes(), &all), Err(KeySetFault::TooMany));
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[],"keys":[]}"#] {
        assert_eq!(read_keys(bad.as_bytes(), &all), Err(KeySetFault::Malformed), "{bad}");
    }
    assert_eq!(read_keys(&vec![b' '; KEY_SET_BYTES_MAX + 1], &all), Err(KeySetFault::Malformed));
}
