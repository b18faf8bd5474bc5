//! Hashing passwords: Argon2id (RFC 9106) with 19 MiB, two passes, one lane, as OWASP's Password Storage Cheat Sheet has it,
//! keyed with a pepper that is not in the database.
//!
//! It is made to be slow, so few run at once and a short queue waits for them: whoever asks for more is told that it is busy
//! within two seconds, and memory stays bounded whatever arrives.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, Version};
use rowhouse_domain::identity::normal_form;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// Longest wait for a turn.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Most that wait.
const WAITING_MAX: usize = 64;
const DIGEST_LENGTH: usize = 32;

/// How hard a password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashingSettings {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// How many run at once.
    pub permits: usize,
}

impl Default for HashingSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        HashingSettings { memory_kib: 19 * 1024, passes: 2, permits: (cores / 2).max(1) }
    }
}

/// Too many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked just now")]
pub struct Busy;

/// A password as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    /// 16 random bytes.
    pub salt: Vec<u8>,
    /// What Argon2id made of it.
    pub digest: Vec<u8>,
    /// In KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
}

/// Hashes and compares.
#[derive(Debug)]
pub struct Hashing {
    settings: HashingSettings,
    turns: Semaphore,
    waiting: AtomicUsize,
    /// How long the last ones took, waits included, in µs.
    took_us: [AtomicU64; KEPT],
    next: AtomicUsize,
}

/// Durations that are kept.
const KEPT: usize = 64;

impl Hashing {
    /// With these settings.
    pub fn new(settings: HashingSettings) -> Self {
        Hashing {
            turns: Semaphore::new(settings.permits),
            settings,
            waiting: AtomicUsize::new(0),
            took_us: std::array::from_fn(|_| AtomicU64::new(0)),
            next: AtomicUsize::new(0),
        }
    }

    /// Hashes a password that is to be stored.
    ///
    /// # Errors
    /// If too many want to at once.
    pub async fn hash(&self, pepper: &[u8; 32], salt: [u8; 16], password: &str) -> Result<Hashed, Busy> {
        let HashingSettings { memory_kib, passes, .. } = self.settings;
        let mut hashed = Hashed { salt: salt.to_vec(), digest: Vec::new(), memory_kib, passes };
        hashed.digest = self.turn(pepper, &hashed, password).await?;
        Ok(hashed)
    }

    /// Whether `password` is the one that was stored. Without a stored one the same work is done, for nothing.
    ///
    /// # Errors
    /// If too many want to at once.
    pub async fn verify(
        &self,
        pepper: &[u8; 32],
        stored: Option<&Hashed>,
        password: &str,
    ) -> Result<bool, Busy> {
        let HashingSettings { memory_kib, passes, .. } = self.settings;
        let nobody = Hashed { salt: vec![0; 16], digest: vec![0; DIGEST_LENGTH], memory_kib, passes };
        let against = stored.unwrap_or(&nobody);
        let digest = self.turn(pepper, against, password).await?;
        Ok(bool::from(digest.ct_eq(&against.digest)) & stored.is_some())
    }

    /// Whether it was hashed less hard than is wanted now.
    pub fn is_outdated(&self, stored: &Hashed) -> bool {
        (stored.memory_kib, stored.passes) != (self.settings.memory_kib, self.settings.passes)
    }

    /// No answer to a wrong password comes sooner than this: 1.25 times what 95 of 100 hashes take, at most two seconds.
    pub fn floor(&self) -> Duration {
        let mut took: Vec<u64> = self.took_us.iter().map(|took| took.load(Ordering::Relaxed)).collect();
        took.retain(|took| *took > 0);
        took.sort_unstable();
        let high = took.get((took.len() * 95 / 100).min(took.len().saturating_sub(1))).copied().unwrap_or(0);
        Duration::from_micros(high + high / 4).min(WAIT_MAX)
    }

    async fn turn(&self, pepper: &[u8; 32], like: &Hashed, password: &str) -> Result<Vec<u8>, Busy> {
        let began = Instant::now();
        let digest = self.wait_and_derive(pepper, like, password).await;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let place = self.next.fetch_add(1, Ordering::Relaxed) % KEPT;
        self.took_us[place].store(took, Ordering::Relaxed);
        digest
    }

    async fn wait_and_derive(
        &self,
        pepper: &[u8; 32],
        like: &Hashed,
        password: &str,
    ) -> Result<Vec<u8>, Busy> {
        let _place = Place::take(&self.waiting)?;
        let turn = tokio::time::timeout(WAIT_MAX, self.turns.acquire()).await.map_err(|_| Busy)?;
        let turn = turn.map_err(|_| Busy)?;
        let (pepper, like, password) = (*pepper, like.clone(), normal_form(password));
        let work = tokio::task::spawn_blocking(move || derive(&pepper, &like, &password));
        let digest = work.await.map_err(|_| Busy)?;
        drop(turn);
        digest.ok_or(Busy)
    }
}

/// A place among those who wait or run.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, Busy> {
        if waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX {
            return Ok(Place(waiting));
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
        Err(Busy)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `None` only without memory.
fn derive(pepper: &[u8; 32], like: &Hashed, password: &str) -> Option<Vec<u8>> {
    let parameters = Params::new(like.memory_kib, like.passes, 1, Some(DIGEST_LENGTH)).ok()?;
    let argon = Argon2::new_with_secret(pepper, Algorithm::Argon2id, Version::V0x13, parameters).ok()?;
    let mut digest = vec![0; DIGEST_LENGTH];
    argon.hash_password_into(password.as_bytes(), &like.salt, &mut digest).ok()?;
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn light() -> Hashing {
        Hashing::new(HashingSettings { memory_kib: 64, passes: 1, permits: 1 })
    }

    /// RFC 9106 §5.3: what it is hashed with does what the standard says.
    #[test]
    fn rfc_9106_section_5_3() {
        let data = argon2::AssociatedData::new(&[4; 12]).expect("12 bytes");
        let params = argon2::ParamsBuilder::new().m_cost(32).t_cost(3).p_cost(4).data(data).build();
        let params = params.expect("within bounds");
        let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params);
        let mut tag = [0; 32];
        argon2.expect("8 bytes").hash_password_into(&[1; 32], &[2; 16], &mut tag).expect("hashed");
        let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
    }

    #[tokio::test]
    async fn only_the_same_password_under_the_same_pepper_is_right() {
        let hashing = light();
        let stored = hashing.hash(&[1; 32], [7; 16], "correct horse Ａ").await.expect("hashed");
        assert_eq!(hashing.verify(&[1; 32], Some(&stored), "correct horse A").await, Ok(true), "NFKC");
        for (pepper, wrong) in [([1; 32], "correct horse a"), ([2; 32], "correct horse A"), ([1; 32], "")] {
            assert_eq!(hashing.verify(&pepper, Some(&stored), wrong).await, Ok(false));
        }
        assert_eq!(hashing.verify(&[1; 32], None, "correct horse A").await, Ok(false));
        let zero = Hashed { digest: vec![0; 32], ..stored.clone() };
        assert_eq!(hashing.verify(&[1; 32], Some(&zero), "x").await, Ok(false));
        assert!(
            !hashing.is_outdated(&stored) && Hashing::new(HashingSettings::default()).is_outdated(&stored)
        );
        let tail = "x".repeat(80);
        let long = hashing.hash(&[1; 32], [7; 16], &format!("{tail}a")).await.expect("hashed");
        assert_eq!(
            hashing.verify(&[1; 32], Some(&long), &format!("{tail}b")).await,
            Ok(false),
            "no cut at 72 bytes"
        );
    }

    #[tokio::test]
    async fn more_than_can_wait_are_told_so_at_once() {
        let hashing = light();
        let all: Vec<_> = (0..WAITING_MAX).map(|_| Place::take(&hashing.waiting).expect("a place")).collect();
        assert_eq!(hashing.verify(&[1; 32], None, "x").await, Err(Busy));
        drop(all);
        assert_eq!(hashing.verify(&[1; 32], None, "x").await, Ok(false));
    }
}
