//! Right answers are taken, and every lie is refused for what it is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::authenticator::{Answer, Authenticator};
use super::*;

const ORIGIN: &str = "https://login.example.com";
const PARTY: &str = "login.example.com";
const CHALLENGE: [u8; 32] = [9; 32];
const PERSON: [u8; 16] = [3; 16];

fn party() -> RelyingParty {
    RelyingParty::of("https://login.example.com/").expect("an address")
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(CHALLENGE)
}

fn made(answer: &Answer, verification: bool) -> Result<Registered, WebauthnFault> {
    let sent = Registration { client_data: &answer.client_data, attestation: &answer.said };
    verify_registration(sent, &party(), &CHALLENGE, verification)
}

fn shown(answer: &Answer, known: &Registered, names_user: bool) -> Result<Asserted, WebauthnFault> {
    let sent = Assertion {
        id: &answer.id,
        client_data: &answer.client_data,
        authenticator_data: &answer.said,
        signature: &answer.signature,
        user_handle: answer.user_handle.as_deref(),
    };
    let expected = Expected { challenge: &CHALLENGE, user_handle: &PERSON, names_user, verification: true };
    let known = Known {
        id: &known.id,
        key: &known.key,
        sign_count: known.sign_count,
        backup_eligible: known.backup_eligible,
    };
    verify_assertion(sent, &party(), expected, known)
}

fn pair(ed25519: bool) -> (Authenticator, Registered) {
    let mut own = Authenticator::new(ORIGIN, PARTY, ed25519);
    own.user_handle = Some(PERSON.to_vec());
    let known = made(&own.create(&challenge()), true).expect("a right enrolment");
    (own, known)
}

#[test]
fn a_relying_party_is_the_host_and_the_exact_origin() {
    let of = |url: &str| RelyingParty::of(url).map(|own| (own.id, own.origin));
    let both = |id: &str, origin: &str| Some((id.to_owned(), origin.to_owned()));
    assert_eq!(of("http://localhost:8080/x"), both("localhost", "http://localhost:8080"));
    assert_eq!(of("https://Login.Example.com"), both(PARTY, ORIGIN));
    assert_eq!(of("http://[::1]:80"), both("::1", "http://[::1]:80"));
    assert_eq!(of("ftp://a"), None);
    assert_eq!(of("https://a@b"), None);
    assert_eq!(of("https://"), None);
}

#[test]
fn enrolled_with_either_algorithm_it_signs_in() {
    for ed25519 in [false, true] {
        let (mut own, known) = pair(ed25519);
        assert_eq!((known.sign_count, known.aaguid, known.user_verified), (1, [7; 16], true));
        let asserted = shown(&own.get(&challenge()), &known, true).expect("a right answer");
        assert_eq!((asserted.sign_count, asserted.user_verified), (2, true));
    }
}

#[test]
fn a_credential_without_a_counter_is_taken_and_one_that_begins_to_count_too() {
    let (mut own, mut known) = pair(false);
    known.sign_count = 0;
    let mut silent = own.get(&challenge());
    silent.said[33..37].fill(0);
    let silent = own.signed(silent.client_data, silent.said);
    own.count = 0;
    assert_eq!(shown(&silent, &known, true).map(|asserted| asserted.sign_count), Ok(0));
    assert_eq!(shown(&own.get(&challenge()), &known, true).map(|asserted| asserted.sign_count), Ok(1));
}

type Lie = fn(&mut Authenticator);

#[test]
fn a_lie_about_the_ceremony_is_refused_for_what_it_is() {
    use WebauthnFault::*;
    let lies: &[(&str, Lie, WebauthnFault)] = &[
        ("another site", |own| own.origin = "https://evil.example".into(), WrongOrigin),
        ("a site that ends like ours", |own| own.origin = "https://badlogin.example.com".into(), WrongOrigin),
        ("a site that begins like ours", |own| own.origin = format!("{ORIGIN}.evil.example"), WrongOrigin),
        ("the parent domain", |own| own.origin = "https://example.com".into(), WrongOrigin),
        ("a subdomain", |own| own.origin = "https://a.login.example.com".into(), WrongOrigin),
        ("another port", |own| own.origin = format!("{ORIGIN}:8443"), WrongOrigin),
        ("another scheme", |own| own.origin = "http://login.example.com".into(), WrongOrigin),
        ("a slash more", |own| own.origin = format!("{ORIGIN}/"), WrongOrigin),
        ("upper case", |own| own.origin = ORIGIN.to_ascii_uppercase(), WrongOrigin),
        ("no origin", |own| own.origin = "null".into(), WrongOrigin),
        ("a frame of another site", |own| own.cross_origin = true, CrossOrigin),
        ("another relying party", |own| own.relying_party = "evil.example".into(), WrongRelyingParty),
        ("the parent as relying party", |own| own.relying_party = "example.com".into(), WrongRelyingParty),
        ("nobody touched it", |own| own.flags = 0b100, UserNotPresent),
        ("nobody was verified", |own| own.flags = 0b001, UserNotVerified),
        ("no flag at all", |own| own.flags = 0, UserNotPresent),
        ("backed up but not eligible", |own| own.flags = 0b1_0101, WrongBackup),
        ("a reserved flag", |own| own.flags = 0b111, Malformed),
        ("extensions that are not there", |own| own.flags = 0b1000_0101, Malformed),
    ];
    for (what, lie, fault) in lies {
        let mut own = Authenticator::new(ORIGIN, PARTY, false);
        lie(&mut own);
        assert_eq!(made(&own.create(&challenge()), true), Err(*fault), "enrolment: {what}");
        let (mut own, known) = pair(false);
        lie(&mut own);
        assert_eq!(shown(&own.get(&challenge()), &known, true), Err(*fault), "sign-in: {what}");
    }
}

#[test]
fn an_answer_that_is_replayed_borrowed_or_altered_is_refused() {
    use WebauthnFault::*;
    let (mut own, known) = pair(false);
    let (mut other, others) = pair(false);
    let right = own.get(&challenge());
    let old = own.get(&URL_SAFE_NO_PAD.encode([8; 32]));
    assert_eq!(shown(&old, &known, true), Err(WrongChallenge), "another challenge");
    assert_eq!(shown(&own.get(""), &known, true), Err(WrongChallenge), "none");
    assert_eq!(shown(&own.get(&format!("{}=", challenge())), &known, true), Err(WrongChallenge), "padded");
    assert_eq!(shown(&other.get(&challenge()), &known, true), Err(WrongCredential), "another credential");
    let mut borrowed = other.get(&challenge());
    borrowed.id = known.id.clone();
    assert_eq!(shown(&borrowed, &known, true), Err(BadSignature), "under our id, signed by another key");
    assert_eq!(shown(&right, &Registered { id: known.id.clone(), ..others }, true), Err(BadSignature));
    let enrolment = own.create(&challenge());
    let mut as_sign_in = right.clone();
    as_sign_in.client_data = enrolment.client_data.clone();
    assert_eq!(shown(&as_sign_in, &known, true), Err(WrongCeremony), "an enrolment shown as a sign-in");
    let mut as_enrolment = enrolment.clone();
    as_enrolment.client_data = right.client_data.clone();
    assert_eq!(made(&as_enrolment, true), Err(WrongCeremony), "a sign-in shown as an enrolment");
    for (handle, names_user) in [(Some(vec![4; 16]), true), (Some(vec![4; 16]), false), (None, true)] {
        let mut answer = right.clone();
        answer.user_handle = handle;
        assert_eq!(shown(&answer, &known, names_user), Err(WrongUser));
    }
    let mut eligible = own.get(&challenge());
    eligible.said[32] |= 1 << 3;
    let eligible = own.signed(eligible.client_data, eligible.said);
    assert_eq!(shown(&eligible, &known, true), Err(WrongBackup), "it has changed its mind about backups");
    let mut twice = right.clone();
    let json = String::from_utf8(twice.client_data).expect("text");
    twice.client_data = json.replacen('{', r#"{"origin":"https://login.example.com","#, 1).into_bytes();
    assert_eq!(
        shown(&own.signed(twice.client_data, twice.said), &known, true),
        Err(Malformed),
        "a member twice"
    );
}

#[test]
fn a_counter_that_stands_still_or_goes_back_is_refused() {
    let (mut own, mut known) = pair(false);
    let first = own.get(&challenge());
    known.sign_count = shown(&first, &known, true).expect("right").sign_count;
    assert_eq!(shown(&first, &known, true), Err(WebauthnFault::CounterBack), "still");
    own.count = 0;
    assert_eq!(shown(&own.get(&challenge()), &known, true), Err(WebauthnFault::CounterBack), "back");
    let mut forged = own.get(&challenge());
    forged.signature[8] ^= 1;
    assert_eq!(
        shown(&forged, &known, true),
        Err(WebauthnFault::BadSignature),
        "forged is not told as copied"
    );
}

#[test]
fn an_attestation_that_was_not_asked_for_must_fit() {
    let own = Authenticator::new(ORIGIN, PARTY, false);
    let none = own.create(&challenge());
    let said = none.said[none.said.len() - (37 + 18 + 32 + own.key().len())..].to_vec();
    let object = |signature: &[u8], alg: u8| {
        let mut object = vec![0xa3, 0x63];
        object.extend(b"fmt\x66packed");
        object.extend(b"\x67attStmt\xa2\x63alg");
        object.push(alg);
        object.extend(b"\x63sig\x58");
        object.push(u8::try_from(signature.len()).expect("short"));
        object.extend(signature);
        object.extend(b"\x68authData\x59");
        object.extend(u16::try_from(said.len()).expect("short").to_be_bytes());
        object.extend(&said);
        Answer { said: object, ..none.clone() }
    };
    let signature = own.signed(none.client_data.clone(), said.clone()).signature;
    assert!(made(&object(&signature, 0x26), true).is_ok(), "its own");
    assert_eq!(
        made(&object(&signature, 0x27), true),
        Err(WebauthnFault::WrongAttestation),
        "another algorithm"
    );
    let others = Authenticator::new(ORIGIN, PARTY, false).sign(&said);
    assert_eq!(made(&object(&others, 0x26), true), Err(WebauthnFault::WrongAttestation), "another's");
    let mut full = none.clone();
    let at = full.said.windows(4).position(|four| four == b"none").expect("the format");
    full.said[at..at + 4].copy_from_slice(b"nome");
    assert_eq!(made(&full, true), Err(WebauthnFault::WrongAttestation), "an unknown format");
}

#[test]
fn a_key_says_one_algorithm_and_has_its_shape() {
    let (es256, eddsa) = (Authenticator::new(ORIGIN, PARTY, false), Authenticator::new(ORIGIN, PARTY, true));
    assert!(cose::PublicKey::read(&es256.key()).is_ok() && cose::PublicKey::read(&eddsa.key()).is_ok());
    let bent = |key: &[u8], at: usize, byte: u8| {
        let mut key = key.to_vec();
        key[at] = byte;
        cose::PublicKey::read(&key)
    };
    let bad = Err(WebauthnFault::WrongKey);
    assert_eq!(bent(&es256.key(), 4, 0x27), bad, "a point for EdDSA");
    assert_eq!(bent(&es256.key(), 2, 0x01), bad, "another type");
    assert_eq!(bent(&es256.key(), 6, 0x02), bad, "another curve");
    assert_eq!(bent(&es256.key(), 4, 0x05), bad, "an HMAC");
    assert_eq!(bent(&eddsa.key(), 4, 0x26), bad, "Ed25519 for ES256");
    let mut weak = eddsa.key();
    let end = weak.len();
    weak[end - 32..].fill(0);
    weak[end - 32] = 1;
    assert_eq!(cose::PublicKey::read(&weak), bad, "a point of small order");
    let small: Vec<u8> = [
        &[0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20, 0x58, 128][..],
        &[0xff; 128],
        &[0x21, 0x43, 1, 0, 1],
    ]
    .concat();
    assert_eq!(cose::PublicKey::read(&small), bad, "RSA of 1,024 bits");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bit_can_be_turned(place in 0usize..10_000, bit in 0u8..8, part in 0usize..3) {
        let (mut own, known) = pair(place % 2 == 0);
        let mut answer = own.get(&challenge());
        let bytes = match part {
            0 => &mut answer.client_data,
            1 => &mut answer.said,
            _ => &mut answer.signature,
        };
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        prop_assert!(shown(&answer, &known, true).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(said in proptest::collection::vec(any::<u8>(), 0..300)) {
        let own = Authenticator::new(ORIGIN, PARTY, false);
        let mut answer = own.create(&challenge());
        answer.said = said.clone();
        let _ = made(&answer, true);
        let mut told = party_hash();
        told.extend(&said);
        let _ = authenticator_data::read(&told, &party(), false);
    }
}

fn party_hash() -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(PARTY.as_bytes()).to_vec()
}
