//! Writing a record: little-endian, laid out by hand, in one pass over a buffer whose size is known beforehand.
//!
//! ```text
//!   0 version u8 · flags u8 · principal_kind u8 · protocol u8 · outcome u8 · fault u8 · status u16
//!   8 request_id u128 · started_at_us i64 · duration_us u64 · upstream_us u64 · directory_version u64
//!  56 limit_remaining i64 · bytes_in u64 · bytes_out u64 · tenant u128 · principal u128 · trace_id u128
//! 128 lengths of the thirteen strings, u16 each
//! 154 bytes of the thirteen strings
//!     usage count u8, then per pair: meter (u16 length, bytes), quantity i128
//!     if flagged: audit counter u64, target kind and target id (u16 length, bytes)
//!     if flagged: the application through which it was done, u128; only of what is an audit event
//! ```

use super::{AuditMark, FIXED_BYTES, NAME_BYTES_MAX, RECORD_VERSION, RequestRecord, STRINGS};

pub(crate) const FLAG_CLOCK_STEPPED: u8 = 1;
pub(crate) const FLAG_TENANT: u8 = 2;
pub(crate) const FLAG_PRINCIPAL: u8 = 4;
pub(crate) const FLAG_TRACE: u8 = 8;
pub(crate) const FLAG_AUDIT: u8 = 16;
pub(crate) const FLAG_CONTINUES: u8 = 32;
pub(crate) const FLAG_APPLICATION: u8 = 64;

impl RequestRecord<'_> {
    /// How many bytes [`encode`](Self::encode) will write; at most about 30 KiB.
    pub fn encoded_len(&self) -> usize {
        let strings: usize = self.strings().iter().map(|&(text, max)| cut(text, max).len()).sum();
        let usage: usize = self.usage.iter().map(|(meter, _)| 18 + cut(meter, NAME_BYTES_MAX).len()).sum();
        let audit = self.audit.as_ref().map_or(0, audit_len);
        FIXED_BYTES + strings + 1 + usage + audit
    }

    /// Writes the record into `buffer`.
    ///
    /// # Panics
    /// If `buffer` is not exactly [`encoded_len`](Self::encoded_len) bytes.
    pub fn encode(&self, buffer: &mut [u8]) {
        let strings = self.strings().map(|(text, max)| cut(text, max));
        let (fixed, rest) = buffer.split_first_chunk_mut().expect("the buffer is encoded_len() bytes");
        self.encode_fixed(fixed, &strings);
        let mut sink = Sink { rest };
        for text in strings {
            sink.put(text.as_bytes());
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
            if let Some(application) = audit.application {
                sink.put(&application.to_le_bytes());
            }
        }
        assert!(sink.rest.is_empty(), "the buffer is exactly encoded_len() bytes");
    }

    #[inline]
    fn encode_fixed(&self, fixed: &mut [u8; FIXED_BYTES], strings: &[&str; STRINGS]) {
        fixed[0] = RECORD_VERSION;
        fixed[1] = self.flags();
        fixed[2] = self.principal_kind as u8;
        fixed[3] = self.protocol as u8;
        fixed[4] = self.outcome as u8;
        fixed[5] = self.fault as u8;
        fixed[6..8].copy_from_slice(&self.status.to_le_bytes());
        fixed[8..24].copy_from_slice(&self.request_id.to_le_bytes());
        fixed[24..32].copy_from_slice(&self.started_at_us.to_le_bytes());
        fixed[32..40].copy_from_slice(&self.duration_us.to_le_bytes());
        fixed[40..48].copy_from_slice(&self.upstream_us.to_le_bytes());
        fixed[48..56].copy_from_slice(&self.directory_version.to_le_bytes());
        fixed[56..64].copy_from_slice(&self.limit_remaining.to_le_bytes());
        fixed[64..72].copy_from_slice(&self.bytes_in.to_le_bytes());
        fixed[72..80].copy_from_slice(&self.bytes_out.to_le_bytes());
        fixed[80..96].copy_from_slice(&self.tenant.unwrap_or(0).to_le_bytes());
        fixed[96..112].copy_from_slice(&self.principal.unwrap_or(0).to_le_bytes());
        fixed[112..128].copy_from_slice(&self.trace_id.unwrap_or(0).to_le_bytes());
        for (length, text) in fixed[128..].chunks_exact_mut(2).zip(strings) {
            length.copy_from_slice(&(text.len() as u16).to_le_bytes());
        }
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        flag(self.clock_stepped, FLAG_CLOCK_STEPPED)
            | flag(self.tenant.is_some(), FLAG_TENANT)
            | flag(self.principal.is_some(), FLAG_PRINCIPAL)
            | flag(self.trace_id.is_some(), FLAG_TRACE)
            | flag(self.audit.is_some(), FLAG_AUDIT)
            | flag(self.continues, FLAG_CONTINUES)
            | flag(self.audit.is_some_and(|audit| audit.application.is_some()), FLAG_APPLICATION)
    }
}

fn audit_len(audit: &AuditMark<'_>) -> usize {
    let texts = cut(audit.target_kind, NAME_BYTES_MAX).len() + cut(audit.target_id, NAME_BYTES_MAX).len();
    8 + 4 + texts + if audit.application.is_some() { 16 } else { 0 }
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
        copy_short(head, bytes);
        self.rest = rest;
    }

    #[inline]
    fn text(&mut self, text: &str) {
        self.put(&(text.len() as u16).to_le_bytes());
        self.put(text.as_bytes());
    }
}

/// Copies between slices of equal length. A record is a dozen strings of a dozen bytes: calling `memcpy` for each
/// took half of the time of encoding.
#[inline(always)]
fn copy_short(target: &mut [u8], source: &[u8]) {
    if copy_ends::<16>(target, source) || copy_ends::<8>(target, source) || copy_ends::<4>(target, source) {
        return;
    }
    if source.len() > 32 {
        target.copy_from_slice(source);
        return;
    }
    for (to, from) in target.iter_mut().zip(source) {
        *to = *from;
    }
}

/// If the slices have N to 2N bytes: copies the first N and the last N, which may overlap.
#[inline(always)]
fn copy_ends<const N: usize>(target: &mut [u8], source: &[u8]) -> bool {
    if source.len() > 2 * N {
        return false;
    }
    let (Some(first), Some(last)) = (source.first_chunk::<N>(), source.last_chunk::<N>()) else {
        return false;
    };
    if let Some(start) = target.first_chunk_mut::<N>() {
        *start = *first;
    }
    if let Some(end) = target.last_chunk_mut::<N>() {
        *end = *last;
    }
    true
}
