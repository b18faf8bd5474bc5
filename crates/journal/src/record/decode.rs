//! Reading a record: strict, borrowing from the bytes it is given.

use super::encode::{
    FLAG_APPLICATION, FLAG_AUDIT, FLAG_CLOCK_STEPPED, FLAG_CONTINUES, FLAG_PRINCIPAL, FLAG_TENANT, FLAG_TRACE,
};
use super::{
    AuditMark, Fault, Outcome, PrincipalKind, Protocol, RECORD_VERSION, RequestRecord, STRINGS, UsagePairs,
};

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("record of version {found}; this build reads version {RECORD_VERSION}")]
    Version { found: u8 },
    #[error("record ends in the middle of {field}")]
    Short { field: &'static str },
    #[error("record has {bytes} bytes after its end")]
    Trailing { bytes: usize },
    #[error("record has unknown {field} {found}")]
    Unknown { field: &'static str, found: u8 },
    #[error("{field} of record is not UTF-8")]
    Text { field: &'static str },
}

impl<'a> RequestRecord<'a> {
    /// Reads a record that [`encode`](Self::encode) wrote. Does not allocate.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut source = Source { rest: bytes };
        let [version] = source.take("version")?;
        if version != RECORD_VERSION {
            return Err(DecodeError::Version { found: version });
        }
        let [flags, principal_kind, protocol, outcome, fault] = source.take("kinds")?;
        // The order below is the order of the bytes.
        let status = u16::from_le_bytes(source.take("status")?);
        let request_id = u128::from_le_bytes(source.take("request_id")?);
        let started_at_us = i64::from_le_bytes(source.take("started_at_us")?);
        let duration_us = u64::from_le_bytes(source.take("duration_us")?);
        let upstream_us = u64::from_le_bytes(source.take("upstream_us")?);
        let directory_version = u64::from_le_bytes(source.take("directory_version")?);
        let limit_remaining = i64::from_le_bytes(source.take("limit_remaining")?);
        let bytes_in = u64::from_le_bytes(source.take("bytes_in")?);
        let bytes_out = u64::from_le_bytes(source.take("bytes_out")?);
        let tenant = source.optional(flags & FLAG_TENANT, "tenant")?;
        let principal = source.optional(flags & FLAG_PRINCIPAL, "principal")?;
        let trace_id = source.optional(flags & FLAG_TRACE, "trace_id")?;
        let mut texts = source.texts()?;
        let usage = source.usage()?;
        let record = Self {
            request_id,
            started_at_us,
            clock_stepped: flags & FLAG_CLOCK_STEPPED != 0,
            continues: flags & FLAG_CONTINUES != 0,
            duration_us,
            upstream_us,
            directory_version,
            tenant,
            principal_kind: known("principal_kind", principal_kind, PrincipalKind::from_number)?,
            principal,
            api_key: texts.next("api_key")?,
            service: texts.next("service")?,
            route: texts.next("route")?,
            endpoint: texts.next("endpoint")?,
            upstream: texts.next("upstream")?,
            release: texts.next("release")?,
            protocol: known("protocol", protocol, Protocol::from_number)?,
            method: texts.next("method")?,
            status,
            outcome: known("outcome", outcome, Outcome::from_number)?,
            fault: known("fault", fault, Fault::from_number)?,
            refusal: texts.next("refusal")?,
            permission: texts.next("permission")?,
            limit_hit: texts.next("limit_hit")?,
            limit_remaining,
            bytes_in,
            bytes_out,
            client_ip: texts.next("client_ip")?,
            user_agent: texts.next("user_agent")?,
            trace_id,
            region: texts.next("region")?,
            usage,
            audit: if flags & FLAG_AUDIT != 0 { Some(source.audit(flags)?) } else { None },
        };
        match source.rest.len() {
            0 => Ok(record),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }
}

fn known<T>(field: &'static str, found: u8, from: fn(u8) -> Option<T>) -> Result<T, DecodeError> {
    from(found).ok_or(DecodeError::Unknown { field, found })
}

struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Short { field })?;
        self.rest = rest;
        Ok(*head)
    }

    fn optional(&mut self, flag: u8, field: &'static str) -> Result<Option<u128>, DecodeError> {
        let value = u128::from_le_bytes(self.take(field)?);
        Ok((flag != 0).then_some(value))
    }

    /// Sets the strings of the fixed part aside: their lengths, and their bytes.
    fn texts(&mut self) -> Result<Texts<'a>, DecodeError> {
        let lengths = self.take::<{ 2 * STRINGS }>("lengths")?;
        let total =
            lengths.chunks_exact(2).map(|pair| usize::from(u16::from_le_bytes([pair[0], pair[1]]))).sum();
        let (bytes, rest) =
            self.rest.split_at_checked(total).ok_or(DecodeError::Short { field: "strings" })?;
        self.rest = rest;
        Ok(Texts { lengths, index: 0, bytes })
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = usize::from(u16::from_le_bytes(self.take(field)?));
        let (head, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Short { field })?;
        self.rest = rest;
        std::str::from_utf8(head).map_err(|_| DecodeError::Text { field })
    }

    fn usage(&mut self) -> Result<UsagePairs<'a>, DecodeError> {
        let [count] = self.take("usage")?;
        let mut pairs = UsagePairs::default();
        for _ in 0..count {
            let meter = self.text("usage")?;
            let quantity = i128::from_le_bytes(self.take("usage")?);
            pairs
                .push(meter, quantity)
                .map_err(|_| DecodeError::Unknown { field: "usage count", found: count })?;
        }
        Ok(pairs)
    }

    fn audit(&mut self, flags: u8) -> Result<AuditMark<'a>, DecodeError> {
        Ok(AuditMark {
            counter: u64::from_le_bytes(self.take("audit")?),
            target_kind: self.text("audit")?,
            target_id: self.text("audit")?,
            application: match flags & FLAG_APPLICATION {
                0 => None,
                _ => Some(u128::from_le_bytes(self.take("application")?)),
            },
        })
    }
}

struct Texts<'a> {
    lengths: [u8; 2 * STRINGS],
    index: usize,
    bytes: &'a [u8],
}

impl<'a> Texts<'a> {
    fn next(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = u16::from_le_bytes([self.lengths[2 * self.index], self.lengths[2 * self.index + 1]]);
        let (text, rest) = self.bytes.split_at(usize::from(length));
        self.index += 1;
        self.bytes = rest;
        std::str::from_utf8(text).map_err(|_| DecodeError::Text { field })
    }
}
