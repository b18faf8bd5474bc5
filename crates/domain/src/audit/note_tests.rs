//! Signed notes: the published example, and what must not be accepted.
use super::{
    note::{Checkpoint, Note, NoteError, SignerKey, VerifierKey, sign},
    tree::{Head, leaf_hash},
};

const PUBLISHED: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const PUBLISHED_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

fn signer(name: &str, seed: u8) -> SignerKey {
    SignerKey::from_seed(name, &[seed; 32]).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: "audit.example.com/t/1".into(), head: Head { size: 40, root: leaf_hash(b"x") } }
}

#[test]
fn the_published_note_verifies() {
    let key = VerifierKey::parse(PUBLISHED_KEY).unwrap();
    assert_eq!(key.to_string(), PUBLISHED_KEY);
    let keys = [key];
    let note = Note::parse(PUBLISHED).unwrap();
    let (text, signers) = note.verify(&keys).unwrap();
    assert!(text.ends_with("what your problem is.\n") && signers.len() == 1);
    let changed = PUBLISHED.replace("answer", "anwser");
    assert_eq!(Note::parse(&changed).unwrap().verify(&keys).map(|_| ()), Err(NoteError::InvalidSignature));
}

#[test]
fn a_checkpoint_is_signed_and_opened() {
    let key = signer("audit.example.com/t/1", 7);
    let note = checkpoint().sign(&[&key]).unwrap();
    let size_and_root = format!("audit.example.com/t/1\n40\n{}\n\n", leaf_hash(b"x").to_base64());
    assert!(note.starts_with(&size_and_root), "{note}");
    assert_eq!(Checkpoint::open(&note, &[key.verifier().clone()]), Ok(checkpoint()));
}

#[test]
fn unknown_signatures_are_ignored_and_bad_known_ones_are_not() {
    let (ours, other) = (signer("log", 1), signer("witness", 2));
    let note = checkpoint().sign(&[&other, &ours]).unwrap();
    let known = [ours.verifier().clone()];
    assert!(Checkpoint::open(&note, &known).is_ok());
    assert_eq!(
        Checkpoint::open(&checkpoint().sign(&[&other]).unwrap(), &known),
        Err(NoteError::NoKnownSignature)
    );
    // The same name with another key has another id, so it is unknown.
    let namesake = signer("log", 3);
    assert_eq!(
        Checkpoint::open(&checkpoint().sign(&[&namesake]).unwrap(), &known),
        Err(NoteError::NoKnownSignature)
    );
    // A good signature of one key does not excuse a bad one of another.
    let keys = [ours.verifier().clone(), other.verifier().clone()];
    let forged = note.replacen("40\n", "41\n", 1);
    assert_eq!(Checkpoint::open(&forged, &keys), Err(NoteError::InvalidSignature));
}

#[test]
fn every_changed_byte_of_a_signed_checkpoint_is_refused() {
    let key = signer("log", 1);
    let note = checkpoint().sign(&[&key]).unwrap();
    for at in 0..note.len() {
        for change in [1u8, 2, 16, 32] {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= change;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            assert!(Checkpoint::open(&text, &[key.verifier().clone()]).is_err(), "byte {at}: {text}");
        }
    }
}

#[test]
fn malformed_notes_and_checkpoints_are_refused() {
    let key = signer("log", 1);
    let known = [key.verifier().clone()];
    for note in [
        "",
        "text\n",
        "text\n\n",
        "text\n\nno signature\n",
        "text\n\n\u{2014} log AAAA\n",
        "a\u{1}\n\n\u{2014} log AAAAAAAAAAA=\n",
    ] {
        assert_eq!(Note::parse(note).map(|_| ()), Err(NoteError::MalformedNote), "{note:?}");
    }
    let root = leaf_hash(b"").to_base64();
    for text in [
        "log\n1\n".to_owned(),
        format!("log\n01\n{root}\n"),
        format!("log\n+1\n{root}\n"),
        format!("log\n1\n{}\n", &root[4..]),
        format!("\n1\n{root}\n"),
        format!("log\n1\n{root}\n\nextension\n"),
    ] {
        let note = sign(&text, &[&key]).unwrap();
        assert_eq!(Checkpoint::open(&note, &known), Err(NoteError::MalformedCheckpoint), "{text:?}");
    }
    let extended = sign(&format!("log\n1\n{root}\nextension\n"), &[&key]).unwrap();
    assert!(Checkpoint::open(&extended, &known).is_ok());
    assert!(sign("no line end", &[&key]).is_none());
}

#[test]
fn keys_name_themselves() {
    for bad in [
        "",
        "log",
        "log+00000000+AQ==",
        &PUBLISHED_KEY.replace("c74f20a3", "c74f20a4"),
        &PUBLISHED_KEY.replace("Peter", "Pet er"),
    ] {
        assert!(VerifierKey::parse(bad).is_none(), "{bad}");
    }
    assert!(SignerKey::from_seed("a+b", &[0; 32]).is_none());
    assert!(!format!("{:?}", signer("log", 1)).contains("0101"), "a key's debug form hides its seed");
}
