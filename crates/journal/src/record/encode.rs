//! Writing a record: little-endian, laid out by hand, in one pass over a buffer whose size is known beforehand.
//!
//! ```text
//!   0 version u8 · flags u8 · principal_kind u8 · protocol u8 · outcome u8 · fault u8 · status u16
//!   8 request_id u128 · started_at_us i64 · duration_us u64 · upstream_us u64 · directory_version u64
//!  56 limit_remaining i64 · bytes_in u64 · bytes_out u64 · tenant u128 · principal u128 · trace_id u128
//! 128 thirteen strings, each u16 length and bytes
//!     usage count u8, then per pair: meter (u16 length, bytes), quantity i128
//!     if flagged: audit counter u64, target kind, target id
//! ```

use super::{AuditMark, FIXED_BYTES, NAME_BYTES_MAX, RECORD_VERSION, RequestRecord, STRINGS};

pub(crate) const FLAG_CLOCK_STEPPED: u8 = 1;
pub(crate) const FLAG_TENANT: u8 = 2;
pub(crate) const FLAG_PRINCIPAL: u8 = 4;
pub(crate) const FLAG_TRACE: u8 = 8;
pub(crate) const FLAG_AUDIT: u8 = 16;

impl RequestRecord<'_> {
    /// How many bytes [`encode`](Self::encode) will write; at most about 30 KiB.
    pub fn encoded_len(&self) -> usize {
        let strings: usize = self.strings().iter().map(|&(text, max)| cut(text, max).len()).sum();
        let usage: usize = self.usage.iter().map(|(meter, _)| 18 + cut(meter, NAME_BYTES_MAX).len()).sum();
        let audit = self.audit.as_ref().map_or(0, audit_len);
        FIXED_BYTES + 2 * STRINGS + strings + 1 + usage + audit
    }

    /// Writes the record into `buffer`.
    ///
    /// # Panics
    /// If `buffer` is not exactly [`encoded_len`](Self::encoded_len) bytes.
    pub fn encode(&self, buffer: &mut [u8]) {
        let mut sink = Sink { rest: buffer };
        sink.put(&[
            RECORD_VERSION,
            self.flags(),
            self.principal_kind as u8,
            self.protocol as u8,
            self.outcome as u8,
            self.fault as u8,
        ]);
        sink.put(&self.status.to_le_bytes());
        sink.put(&self.request_id.to_le_bytes());
        sink.put(&self.started_at_us.to_le_bytes());
        sink.put(&self.duration_us.to_le_bytes());
        sink.put(&self.upstream_us.to_le_bytes());
        sink.put(&self.directory_version.to_le_bytes());
        sink.put(&self.limit_remaining.to_le_bytes());
        sink.put(&self.bytes_in.to_le_bytes());
        sink.put(&self.bytes_out.to_le_bytes());
        sink.put(&self.tenant.unwrap_or(0).to_le_bytes());
        sink.put(&self.principal.unwrap_or(0).to_le_bytes());
        sink.put(&self.trace_id.unwrap_or(0).to_le_bytes());
        for (text, max) in self.strings() {
            sink.text(cut(text, max));
        }
        sink.put(&[self.usage.as_slice().len() as u8]);
        for (meter, quantity) in self.usage.iter() {
            sink.text(cut(meter, NAME_BYTES_MAX));
            sink.put(&quantity.to_le_bytes());
        }
        if let Some(audit) = &self.audit {
            sink.put(&audit.counter.to_le_bytes());
            sink.text(cut(audit.target_kind, NAME_BYTES_MAX));
            sink.text(cut(audit.target_id, NAME_BYTES_MAX));
        }
        assert!(sink.rest.is_empty(), "the buffer is exactly encoded_len() bytes");
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        flag(self.clock_stepped, FLAG_CLOCK_STEPPED)
            | flag(self.tenant.is_some(), FLAG_TENANT)
            | flag(self.principal.is_some(), FLAG_PRINCIPAL)
            | flag(self.trace_id.is_some(), FLAG_TRACE)
            | flag(self.audit.is_some(), FLAG_AUDIT)
    }
}

fn audit_len(audit: &AuditMark<'_>) -> usize {
    8 + 4 + cut(audit.target_kind, NAME_BYTES_MAX).len() + cut(audit.target_id, NAME_BYTES_MAX).len()
}

/// The longest start of `text` that fits `max` bytes and ends at a character.
#[inline]
fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max { text } else { &text[..text.floor_char_boundary(max)] }
}

struct Sink<'b> {
    rest: &'b mut [u8],
}

impl Sink<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let (head, rest) = std::mem::take(&mut self.rest).split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        self.rest = rest;
    }

    #[inline]
    fn text(&mut self, text: &str) {
        self.put(&(text.len() as u16).to_le_bytes());
        self.put(text.as_bytes());
    }
}
