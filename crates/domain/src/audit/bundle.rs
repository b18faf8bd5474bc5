//! What is verified, and what one relies on: a bundle carries a log with everything said about it; a trust file
//! holds what its owner already had (keys, a checkpoint), which no bundle can supply.

use serde::{Deserialize, Serialize};

use super::{
    note::{Checkpoint, Note, VerifierKey},
    row::Row,
    tree::Hash,
};

/// A log as exported. Parts this verifier does not know are ignored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Bundle {
    pub origin: String,
    /// µs since 1970, when the bundle was made.
    pub now: i64,
    /// The verbatim leaves; `null` where retention dropped the bytes.
    pub leaves: Vec<Option<String>>,
    /// The hashes in the tree, in hexadecimal; without them those of the leaves are taken.
    #[serde(default)]
    pub leaf_hashes: Vec<String>,
    /// The stored columns; absent when the bundle claims none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<Row>>,
    /// Signed notes, oldest first.
    #[serde(default)]
    pub checkpoints: Vec<String>,
    /// Keys the bundle brings itself: better than nothing, and never clean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_vkeys: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformPart>,
}

/// What the platform's log says about this one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PlatformPart {
    pub heads: Vec<PlatformHead>,
    /// The platform's newest checkpoint, a signed note.
    pub checkpoint: String,
}

/// One head record with its proof in the tree of the platform's checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlatformHead {
    pub index: u64,
    pub leaf: String,
    pub inclusion: Vec<Hash>,
}

/// What the verifier's owner relies on.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct TrustFile {
    pub log_vkeys: Vec<String>,
    pub platform_vkeys: Vec<String>,
    /// A checkpoint seen before: the signed note, or its text alone.
    pub pinned: Option<String>,
    /// How far clocks may differ, in µs.
    pub max_skew_us: i64,
    /// Least age, in µs, at which an event may be dropped.
    pub retention_floor_us: i64,
}

impl Default for TrustFile {
    fn default() -> Self {
        TrustFile {
            log_vkeys: Vec::new(),
            platform_vkeys: Vec::new(),
            pinned: None,
            max_skew_us: 300_000_000,
            retention_floor_us: 365 * 86_400_000_000,
        }
    }
}

/// A trust file that cannot be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error("not a verifier key: {0}")]
    Key(String),
    #[error("the pinned checkpoint is not one, or its signature does not fit the trusted keys")]
    Pinned,
}

/// A trust file, read.
#[derive(Clone, Debug)]
pub struct Trust {
    pub(super) log_keys: Vec<VerifierKey>,
    pub(super) platform_keys: Vec<VerifierKey>,
    pub(super) pinned: Option<Checkpoint>,
    pub(super) max_skew_us: i64,
    pub(super) retention_floor_us: i64,
}

impl Trust {
    pub fn read(file: &TrustFile) -> Result<Self, TrustError> {
        let log_keys = keys(&file.log_vkeys)?;
        let pinned = file.pinned.as_deref().map(|text| pinned(text, &log_keys)).transpose()?;
        Ok(Trust {
            platform_keys: keys(&file.platform_vkeys)?,
            log_keys,
            pinned,
            max_skew_us: file.max_skew_us,
            retention_floor_us: file.retention_floor_us,
        })
    }
}

fn keys(texts: &[String]) -> Result<Vec<VerifierKey>, TrustError> {
    texts.iter().map(|text| VerifierKey::parse(text).ok_or_else(|| TrustError::Key(text.clone()))).collect()
}

/// A pin is believed because its owner kept it, so its bare text will do; a signature that is there must fit.
fn pinned(text: &str, keys: &[VerifierKey]) -> Result<Checkpoint, TrustError> {
    let pinned = match Note::parse(text) {
        Ok(_) => Checkpoint::open(text, keys),
        Err(_) => Checkpoint::parse(text),
    };
    pinned.map_err(|_| TrustError::Pinned)
}

/// Whose keys were used. Only the first two can end clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustMode {
    /// Own key and own checkpoint.
    Pinned,
    /// Own key.
    Policy,
    /// The key came with the bundle: whoever rewrote the log could have brought it.
    Tofu,
    None,
}

impl TrustMode {
    pub(super) fn of(trust: &Trust, bundle: &Bundle) -> Self {
        match (trust.log_keys.is_empty(), trust.pinned.is_some(), bundle.log_vkeys.is_empty()) {
            (false, true, _) => TrustMode::Pinned,
            (false, false, _) => TrustMode::Policy,
            (true, _, false) => TrustMode::Tofu,
            (true, _, true) => TrustMode::None,
        }
    }

    pub(super) fn can_be_clean(self) -> bool {
        matches!(self, TrustMode::Pinned | TrustMode::Policy)
    }
}
