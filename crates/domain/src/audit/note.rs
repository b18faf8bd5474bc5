//! Signed notes and checkpoints of C2SP (`signed-note`, `tlog-checkpoint`): a text, a blank line, and one line
//! per signature. Signatures by unknown keys are ignored; a known key with a bad signature makes the note
//! invalid. Ed25519 only; its algorithm byte is 0x01.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::tree::{Hash, Head};

const ED25519: u8 = 1;
/// Longest note read, and most signature lines on it.
const BYTES_MAX: usize = 1 << 20;
const SIGNATURES_MAX: usize = 100;

/// Why a note is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("not a signed note")]
    MalformedNote,
    #[error("a known key's signature does not fit the text")]
    InvalidSignature,
    #[error("no known key signed the note")]
    NoKnownSignature,
    #[error("the signed text is not a checkpoint")]
    MalformedCheckpoint,
}

/// A public key with its name, `<name>+<id in hex>+<base64 of algorithm and key>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

/// A signing key with its name. Its debug form shows only the name.
#[derive(Clone)]
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey({})", self.verifier)
    }
}

/// First four bytes of SHA-256(name ‖ "\n" ‖ 0x01 ‖ key).
fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(key.as_bytes())
        .finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// Key names are not empty and hold no white space and no plus sign.
fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

impl VerifierKey {
    /// `None` for a bad name or bytes that are no key.
    pub fn new(name: &str, key: [u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(&key).ok()?;
        is_key_name(name).then(|| VerifierKey { name: name.to_owned(), id: key_id(name, &key), key })
    }

    /// Reads the text form and checks that its id belongs to its key.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, STANDARD.decode(parts.next()?).ok()?);
        let (algorithm, key) = key.split_first()?;
        let key = Self::new(name, key.try_into().ok()?)?;
        (*algorithm == ED25519 && id == key.id_hex()).then_some(key)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The raw public key.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Name and id, as in `audit.example.com+1a2b3c4d`: which key it is, without the key.
    pub fn key_name(&self) -> String {
        format!("{}+{}", self.name, self.id_hex())
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }

    fn id_hex(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn accepts(&self, text: &str, signature: &[u8]) -> bool {
        self.verifies(text.as_bytes(), signature)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id_hex(), STANDARD.encode(key))
    }
}

impl SignerKey {
    /// `None` for a bad name. The seed is 32 bytes that nobody else knows.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Option<Self> {
        let key = SigningKey::from_bytes(seed);
        VerifierKey::new(name, key.verifying_key().to_bytes()).map(|verifier| SignerKey { verifier, key })
    }

    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The signature over `message`, which says by its form that it is no checkpoint.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// One signature line, with its line end: `— <name> <base64 of id and signature>`.
    fn line(&self, text: &str) -> String {
        let mut blob = self.verifier.id.to_vec();
        blob.extend(self.key.sign(text.as_bytes()).to_bytes());
        format!("\u{2014} {} {}\n", self.verifier.name, STANDARD.encode(blob))
    }
}

/// The note over `text`, which ends in a line end and holds no control characters but line ends.
/// `None` for a text that is none.
pub fn sign(text: &str, keys: &[&SignerKey]) -> Option<String> {
    let lines: String = keys.iter().map(|key| key.line(text)).collect();
    is_note_text(text).then(|| format!("{text}\n{lines}"))
}

fn is_note_text(text: &str) -> bool {
    text.ends_with('\n') && text.chars().all(|c| c == '\n' || !c.is_ascii_control())
}

/// A note cut into text and signature lines; nothing is verified yet.
#[derive(Clone, Debug)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<NoteSignature<'a>>,
}

/// One signature line.
#[derive(Clone, Debug)]
struct NoteSignature<'a> {
    name: &'a str,
    id: [u8; 4],
    signature: Vec<u8>,
}

impl<'a> Note<'a> {
    pub fn parse(note: &'a str) -> Result<Self, NoteError> {
        let blank = note.rfind("\n\n").ok_or(NoteError::MalformedNote)?;
        let (text, lines) = (&note[..=blank], &note[blank + 2..]);
        let whole = lines.strip_suffix('\n').ok_or(NoteError::MalformedNote)?;
        if note.len() > BYTES_MAX || !is_note_text(text) || whole.split('\n').count() > SIGNATURES_MAX {
            return Err(NoteError::MalformedNote);
        }
        let signatures = whole.split('\n').map(NoteSignature::parse).collect::<Option<Vec<_>>>();
        Ok(Note { text, signatures: signatures.ok_or(NoteError::MalformedNote)? })
    }

    /// The signed text, with its last line end. Nothing says yet that anybody signed it.
    pub fn unverified_text(&self) -> &'a str {
        self.text
    }

    /// The text, and which of `keys` signed it.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<(&'a str, Vec<&'k VerifierKey>), NoteError> {
        let mut signers: Vec<&VerifierKey> = Vec::new();
        for signature in &self.signatures {
            let known = keys.iter().find(|key| key.name == signature.name && key.id == signature.id);
            let Some(key) = known else { continue };
            if !key.accepts(self.text, &signature.signature) {
                return Err(NoteError::InvalidSignature);
            }
            if !signers.contains(&key) {
                signers.push(key);
            }
        }
        if signers.is_empty() { Err(NoteError::NoKnownSignature) } else { Ok((self.text, signers)) }
    }
}

impl<'a> NoteSignature<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, blob) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let blob = STANDARD.decode(blob).ok()?;
        let (id, signature) = blob.split_first_chunk::<4>()?;
        let fits = is_key_name(name) && !signature.is_empty();
        fits.then(|| NoteSignature { name, id: *id, signature: signature.to_vec() })
    }
}

/// What a log signs: who it is, how many leaves it has, and their root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    pub head: Head,
}

impl Checkpoint {
    /// Reads the signed text of a checkpoint; extension lines are accepted and ignored.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        Self::read(text).ok_or(NoteError::MalformedCheckpoint)
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let plain = size == "0" || (!size.starts_with('0') && size.bytes().all(|b| b.is_ascii_digit()));
        let whole = !origin.is_empty() && plain && lines.all(|line| !line.is_empty());
        let head = Head { size: size.parse().ok()?, root: Hash::from_base64(root)? };
        whole.then(|| Checkpoint { origin: origin.to_owned(), head })
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.head.size, self.head.root)
    }

    /// The signed note. `None` for an origin that is empty or holds control characters.
    pub fn sign(&self, keys: &[&SignerKey]) -> Option<String> {
        if self.origin.is_empty() || self.origin.contains('\n') { None } else { sign(&self.text(), keys) }
    }

    /// Opens a signed checkpoint: parsed, signed by at least one of `keys`, and none of their signatures bad.
    pub fn open(note: &str, keys: &[VerifierKey]) -> Result<Self, NoteError> {
        let note = Note::parse(note)?;
        let (text, _) = note.verify(keys)?;
        Self::parse(text)
    }
}
