//! Reading a sealed file, chunk by chunk, in order.

use std::path::Path;

use aes_gcm_siv::aead::{Aead, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Nonce};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, BufReader};

use super::{CHUNK, LAST, MAGIC, NONCE, Names, SECTION_MAX};

/// Longest chunk in a file: what does not compress grows by a little.
const SEALED_MAX: usize = CHUNK + 64 * 1024;

/// A file that is being read.
pub struct Reader {
    file: BufReader<File>,
    cipher: Aes256GcmSiv,
    names: Names,
    number: u64,
    ended: bool,
}

/// A piece of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Of which section.
    pub section: String,
    /// Plain bytes.
    pub bytes: Vec<u8>,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// It is not there.
    #[error("the file is not there")]
    Missing,
    /// It could not be read.
    #[error("the file could not be read")]
    Io(#[from] std::io::Error),
    /// It does not begin like one.
    #[error("this is no sealed file")]
    NotSealed,
    /// It is something else, or somebody else's.
    #[error("the file is not the one that was asked for: it belongs to another tenant, or is another thing")]
    Other,
    /// A chunk is not what was written there.
    #[error("chunk {number} was altered, moved, or is of another file")]
    Altered {
        /// From 0.
        number: u64,
    },
    /// The file ends before its last chunk.
    #[error("the file ends before its last chunk: chunk {number} is missing")]
    Cut {
        /// The first that is not there.
        number: u64,
    },
    /// Bytes behind the last chunk.
    #[error("something follows the last chunk")]
    Trailing,
}

impl Reader {
    /// Opens the file `path`, which must be what `names` name.
    ///
    /// # Errors
    /// If it is not there, or another one.
    pub async fn open(path: &Path, key: &[u8; 32], names: Names) -> Result<Self, SealedError> {
        let file = File::open(path).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => SealedError::Missing,
            _ => error.into(),
        })?;
        let mut file = BufReader::with_capacity(256 * 1024, file);
        let expected = names.header();
        let mut header = vec![0; expected.len()];
        if let Err(error) = file.read_exact(&mut header).await {
            return Err(if is_end(&error) { SealedError::NotSealed } else { error.into() });
        }
        match header == expected {
            true => {
                Ok(Reader { file, cipher: Aes256GcmSiv::new(key.into()), names, number: 0, ended: false })
            }
            false if header.starts_with(MAGIC) => Err(SealedError::Other),
            false => Err(SealedError::NotSealed),
        }
    }

    /// The next chunk; `None` behind the last, if that said so.
    ///
    /// # Errors
    /// With the number of the chunk that is not what was written.
    pub async fn next(&mut self) -> Result<Option<Chunk>, SealedError> {
        let mut length = [0; 4];
        if self.ended {
            return match self.file.read(&mut length).await? {
                0 => Ok(None),
                _ => Err(SealedError::Trailing),
            };
        }
        let number = self.number;
        self.fill(&mut length).await?;
        let mut flags = [0; 1];
        self.fill(&mut flags).await?;
        let mut section_length = [0; 2];
        self.fill(&mut section_length).await?;
        let (length, section_length) =
            (u32::from_be_bytes(length) as usize, u16::from_be_bytes(section_length) as usize);
        if length > SEALED_MAX || section_length > SECTION_MAX {
            return Err(SealedError::Altered { number });
        }
        let mut section = vec![0; section_length];
        self.fill(&mut section).await?;
        let section = String::from_utf8(section).map_err(|_| SealedError::Altered { number })?;
        let mut nonce = [0; NONCE];
        self.fill(&mut nonce).await?;
        let mut sealed = vec![0; length];
        self.fill(&mut sealed).await?;
        let additional = self.names.additional(&section, number, flags[0]);
        let payload = Payload { msg: &sealed, aad: &additional };
        let packed = self.cipher.decrypt(&Nonce::from(nonce), payload);
        let packed = packed.map_err(|_| SealedError::Altered { number })?;
        let bytes = zstd::bulk::decompress(&packed, CHUNK).map_err(|_| SealedError::Altered { number })?;
        self.number += 1;
        self.ended = flags[0] & LAST != 0;
        Ok(Some(Chunk { section, bytes }))
    }

    async fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SealedError> {
        match self.file.read_exact(bytes).await {
            Ok(_) => Ok(()),
            Err(error) if is_end(&error) => Err(SealedError::Cut { number: self.number }),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_end(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::UnexpectedEof
}
