//! Randomness as an argument: the binary hands in the operating system's, tests a repeatable stream.

use std::sync::Arc;

use uuid::Uuid;

/// Fills a slice with random bytes.
type Fill = dyn Fn(&mut [u8]) + Send + Sync;

/// A source of random bytes, fit for secrets when made by the binary.
#[derive(Clone)]
pub struct Entropy(Arc<Fill>);

impl Entropy {
    /// `fill` must fill the whole slice, every time.
    pub fn new(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Entropy(Arc::new(fill))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        (self.0)(&mut out);
        out
    }

    /// Fills `out`.
    pub fn fill(&self, out: &mut [u8]) {
        (self.0)(out);
    }

    /// A UUIDv7 (RFC 9562 §5.7) of the given instant: sortable by time, unpredictable otherwise.
    pub fn uuid_v7(&self, now_us: i64) -> Uuid {
        let millis = u64::try_from(now_us / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid()
    }

    /// `length` characters drawn from the 62 letters and digits, without modulo bias.
    pub fn base62(&self, length: usize) -> String {
        const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut out = String::with_capacity(length);
        while out.len() < length {
            let [byte] = self.bytes::<1>();
            if byte < 248 {
                out.push(ALPHABET[usize::from(byte % 62)] as char);
            }
        }
        out
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Entropy")
    }
}
