//! Cutting a stream of COPY text into whole lines, and taking the escapes of its one column away.

/// Gathers pieces and gives out whole lines.
#[derive(Debug, Default)]
pub struct RowSplitter {
    pending: Vec<u8>,
}

impl RowSplitter {
    /// Adds a piece; calls `each` with every line that is whole now, without its line feed and with COPY's escapes
    /// taken away. Values of JSON have no raw control characters, so backslashes are all that COPY has doubled.
    ///
    /// # Errors
    /// With the first error of `each`.
    pub fn feed<E>(&mut self, piece: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            each(&unescaped(&self.pending))?;
            self.pending.clear();
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }
}

fn unescaped(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'r') => b'\r',
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'v') => 11,
                Some(other) => other,
                None => b'\\',
            },
            other => other,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces_and_freed_of_escapes() {
        let mut splitter = RowSplitter::default();
        let mut lines = Vec::new();
        for piece in [&b"{\"a\": \"x\\"[..], b"\\n\"}", b"\n{\"b\": 1}\n{"] {
            let fed: Result<(), ()> = splitter.feed(piece, |line| {
                lines.push(String::from_utf8_lossy(line).into_owned());
                Ok(())
            });
            fed.expect("nothing fails");
        }
        assert_eq!(lines, ["{\"a\": \"x\\n\"}", "{\"b\": 1}"]);
    }
}
