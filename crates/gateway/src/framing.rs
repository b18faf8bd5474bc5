//! Where requests begin and end in the bytes of an HTTP/1 connection, found beside the parser that serves them: that one drops what it
//! is not sure about, and a request with two framings (RFC 9112 §6.3) would look innocent after it.
//!
//! Each request's head is read once, in whatever pieces it comes, also behind a long body and in a row with others; bodies are passed
//! over. What this cannot follow, the parser does not take either: then the connection is about to end, and a coding of the transfer
//! counts as given twice.

use std::collections::VecDeque;

use memchr::memchr;

/// Longest head that is followed, in bytes; the parser ends connections with longer ones.
const HEAD_MAX: usize = 512 * 1024;
/// Longest line that tells a chunk's size, with extensions.
const CHUNK_LINE_MAX: usize = 16 * 1024;

/// What is known of one connection.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    at: At,
    /// Of heads that were read and not yet asked for: whether the framing was given twice.
    heads: VecDeque<bool>,
}

#[derive(Debug)]
enum At {
    /// In a head, with its bytes so far.
    Head(Vec<u8>),
    /// In a body that goes on for so many bytes.
    Body(u64),
    /// In the line that tells a chunk's size.
    ChunkSize(Vec<u8>),
    /// In a chunk and the end of its line.
    Chunk(u64),
    /// Behind the last chunk: whether the line has been empty so far.
    Trailers { empty: bool },
    /// HTTP/2, where frames tell, or what nobody can follow.
    Beyond,
}

impl Default for At {
    fn default() -> Self {
        At::Head(Vec::new())
    }
}

impl Framing {
    /// Reads on.
    pub(crate) fn hear(&mut self, mut bytes: &[u8]) {
        while let Some(rest) = self.step(bytes) {
            bytes = rest;
        }
    }

    /// Whether the framing of the next request was given twice; `None`: its head could not be followed.
    pub(crate) fn next_was_given_twice(&mut self) -> Option<bool> {
        self.heads.pop_front()
    }

    /// Takes what belongs to where it is; what is left, if anything.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        if bytes.is_empty() {
            return None;
        }
        match &mut self.at {
            // Nearly always all of a head comes at once, and there is nothing to keep.
            At::Head(head) if head.is_empty() && !bytes.starts_with(b"PRI") => {
                let Some(end) = end_of_head(bytes, 0) else {
                    head.extend_from_slice(bytes);
                    return None;
                };
                let (twice, next) = read_head(&bytes[..end]);
                self.heads.push_back(twice);
                self.at = next;
                Some(&bytes[end..])
            }
            At::Head(head) => {
                let from = head.len();
                head.extend_from_slice(bytes);
                if head.starts_with(b"PRI * HTTP/2.0") {
                    self.at = At::Beyond;
                    return None;
                }
                let Some(end) = end_of_head(head, from) else {
                    if head.len() > HEAD_MAX {
                        self.at = At::Beyond;
                    }
                    return None;
                };
                let (twice, next) = read_head(&head[..end]);
                self.heads.push_back(twice);
                self.at = next;
                Some(&bytes[end - from..])
            }
            At::Body(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.at = At::default();
                }
                Some(&bytes[taken..])
            }
            At::ChunkSize(line) => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
                if line.len() > CHUNK_LINE_MAX {
                    self.at = At::Beyond;
                    return None;
                }
                let end = end?;
                self.at = match chunk_size(line) {
                    Some(0) => At::Trailers { empty: true },
                    // The chunk and the end of its line.
                    Some(size) => size.checked_add(2).map_or(At::Beyond, At::Chunk),
                    None => At::Beyond,
                };
                Some(&bytes[end + 1..])
            }
            At::Chunk(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.at = At::ChunkSize(Vec::new());
                }
                Some(&bytes[taken..])
            }
            At::Trailers { empty } => {
                let (byte, rest) = bytes.split_first()?;
                match byte {
                    b'\n' if *empty => self.at = At::default(),
                    b'\n' => *empty = true,
                    b'\r' => {}
                    _ => *empty = false,
                }
                Some(rest)
            }
            At::Beyond => None,
        }
    }
}

/// Position behind the empty line that ends a head, if it is there. Empty lines before the request line are passed over (RFC 9112
/// §2.2). Bytes before `from` were looked at before.
fn end_of_head(head: &[u8], from: usize) -> Option<usize> {
    let begin = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let mut at = from.saturating_sub(3).max(begin);
    while let Some(found) = memchr(b'\n', &head[at..]) {
        let after = at + found + 1;
        match head[after..] {
            [b'\n', ..] => return Some(after + 1),
            [b'\r', b'\n', ..] => return Some(after + 2),
            _ => at = after,
        }
    }
    None
}

/// Whether a head gives the framing twice, and what follows it.
fn read_head(head: &[u8]) -> (bool, At) {
    let (mut length, mut coded) = (None, false);
    let mut from = 0;
    while let Some(end) = memchr(b'\n', &head[from..]) {
        let line = &head[from..from + end];
        from += end + 1;
        // Most lines are told by their first byte.
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T' | b' ' | b'\t')) {
            continue;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = Some(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            coded = true;
        }
    }
    let number = |value: &[u8]| std::str::from_utf8(value).ok()?.parse::<u64>().ok();
    let next = match (coded, length) {
        (true, _) => At::ChunkSize(Vec::new()),
        (false, None) => At::default(),
        (false, Some(value)) => match number(value) {
            Some(0) => At::default(),
            Some(bytes) => At::Body(bytes),
            None => At::Beyond,
        },
    };
    (coded && length.is_some(), next)
}

/// RFC 9112 §7.1: hexadecimal, then perhaps extensions.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: &str =
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n";
    const CHUNKED: &str = "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nGET /\r\n1\r\n\n\r\n0\r\nTrailer: 1\r\n\r\n";
    const TWICE: &str =
        "POST /c HTTP/1.1\r\ncontent-Length : 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    const EMPTY: &str = "\r\n\r\nGET /d HTTP/1.1\nHost: a\n\n";

    fn found(pieces: &[&[u8]]) -> Vec<Option<bool>> {
        let mut framing = Framing::default();
        pieces.iter().for_each(|piece| framing.hear(piece));
        std::iter::from_fn(|| framing.next_was_given_twice().map(Some)).collect()
    }

    #[test]
    fn requests_in_a_row_are_told_apart_in_whatever_pieces_they_come() {
        let all = [LENGTH, TWICE, CHUNKED, EMPTY, TWICE, LENGTH].concat();
        let expected = [false, true, false, false, true, false].map(Some);
        assert_eq!(found(&[all.as_bytes()]), expected);
        for size in [1, 2, 3, 7, 64] {
            let pieces: Vec<&[u8]> = all.as_bytes().chunks(size).collect();
            assert_eq!(found(&pieces), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_long_body_hides_nothing() {
        let long = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", 1_000_000);
        let body = vec![b'x'; 1_000_000];
        assert_eq!(found(&[long.as_bytes(), &body, TWICE.as_bytes()]), [Some(false), Some(true)]);
    }

    #[test]
    fn what_cannot_be_followed_is_not_guessed() {
        let cases: [&[u8]; 4] = [
            b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        ];
        for start in cases {
            assert_eq!(found(&[start, EMPTY.as_bytes()]).len(), 1);
        }
        assert_eq!(found(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00"]), []);
    }
}
