//! Writing a sealed file.

use std::path::{Path, PathBuf};

use aes_gcm_siv::aead::{Aead, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Nonce};
use rowhouse_domain::entropy::Entropy;
use sha2::{Digest, Sha256};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::{CHUNK, LAST, NONCE, Names, SECTION_MAX};

/// Rows compress well at the fastest levels already.
const LEVEL: i32 = 3;

/// A file that is being written under a name of its own, `<name>.part`.
pub struct Writer {
    file: File,
    path: PathBuf,
    part: PathBuf,
    cipher: Aes256GcmSiv,
    names: Names,
    entropy: Entropy,
    section: String,
    pending: Vec<u8>,
    number: u64,
    digest: Sha256,
    bytes: u64,
}

/// A file that is there, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

impl Writer {
    /// Begins the file `path`; it is seen there when it is whole.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn create(
        path: &Path,
        key: &[u8; 32],
        names: Names,
        entropy: &Entropy,
    ) -> Result<Self, std::io::Error> {
        let part = path.with_extension("part");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).await?;
        let mut writer = Writer {
            file,
            path: path.to_owned(),
            part,
            cipher: Aes256GcmSiv::new(key.into()),
            entropy: entropy.clone(),
            section: String::new(),
            pending: Vec::with_capacity(CHUNK),
            number: 0,
            digest: Sha256::new(),
            bytes: 0,
            names,
        };
        let header = writer.names.header();
        writer.put(&header).await?;
        Ok(writer)
    }

    /// Ends the section before, if there is one, and begins another. Sections have plain names of at most 400 bytes.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn section(&mut self, name: &str) -> Result<(), std::io::Error> {
        assert!(name.len() <= SECTION_MAX, "sections are named after tables");
        self.flush(0).await?;
        self.section = name.to_owned();
        Ok(())
    }

    /// Adds bytes to the section.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), std::io::Error> {
        while !bytes.is_empty() {
            let room = (CHUNK - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            if self.pending.len() == CHUNK {
                self.flush(0).await?;
            }
        }
        Ok(())
    }

    /// Ends the file with `section`: on disk for good, and under its name.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn finish(mut self, section: &str, bytes: &[u8]) -> Result<Written, std::io::Error> {
        self.section(section).await?;
        self.write(bytes).await?;
        self.flush(LAST).await?;
        self.file.flush().await?;
        self.file.sync_all().await?;
        tokio::fs::rename(&self.part, &self.path).await?;
        if let Some(directory) = self.path.parent() {
            File::open(directory).await?.sync_all().await?;
        }
        Ok(Written { bytes: self.bytes, sha256: self.digest.finalize().into() })
    }

    /// Takes away what was begun.
    pub async fn abandon(self) {
        // It may never have come to be; what is left is swept.
        let _ = tokio::fs::remove_file(&self.part).await;
    }

    /// The last chunk is written even if it is empty: it says that nothing is missing.
    async fn flush(&mut self, flags: u8) -> Result<(), std::io::Error> {
        if self.pending.is_empty() && flags & LAST == 0 {
            return Ok(());
        }
        let packed = zstd::bulk::compress(&self.pending, LEVEL)?;
        self.pending.clear();
        let nonce = self.entropy.bytes::<NONCE>();
        let additional = self.names.additional(&self.section, self.number, flags);
        let payload = Payload { msg: &packed, aad: &additional };
        let sealed =
            self.cipher.encrypt(&Nonce::from(nonce), payload).expect("far below the limit of 64 GiB");
        let length = u32::try_from(sealed.len()).expect("a chunk is about a MiB");
        let section = self.section.clone();
        let mut frame = Vec::with_capacity(sealed.len() + section.len() + 32);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.push(flags);
        frame.extend_from_slice(&u16::try_from(section.len()).expect("at most 400").to_be_bytes());
        frame.extend_from_slice(section.as_bytes());
        frame.extend_from_slice(&nonce);
        frame.extend_from_slice(&sealed);
        self.number += 1;
        self.put(&frame).await
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<(), std::io::Error> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).await
    }
}
