//! Where bodies of HTTP/1 end, for requests and answers alike: `Content-Length`, and chunks (RFC 9112 §7.1), taken apart strictly and without
//! copying.

use bytes::{Buf, Bytes};
use http::HeaderValue;

/// Bytes of extensions and trailers that one body may have; they are read and dropped.
const DROPPED_MAX: u32 = 16 * 1024;

/// The number in a `Content-Length`: digits and nothing else. `parse` would take a sign, HTTP does not.
pub(crate) fn content_length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text?.parse().ok()
}

/// A body that is not in chunks, though it is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its chunks are malformed")]
pub(crate) struct BadChunk;

/// How far a body in chunks has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunks {
    place: Place,
    dropped: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the size of a chunk, with so many digits read.
    Size { digits: u8, size: u64 },
    /// In blanks after the size, which only an extension or the end of the line may follow.
    Blank { size: u64 },
    /// After the size, in what extends it.
    Extension { size: u64 },
    /// Before the line feed that ends a size.
    SizeEnd { size: u64 },
    /// In the data of a chunk, with so much to come.
    Data { left: u64 },
    /// Before the carriage return behind the data.
    DataReturn,
    /// Before the line feed behind the data.
    DataEnd,
    /// At the start of a line of the trailers.
    TrailerStart,
    /// In the name of a trailer.
    TrailerName,
    /// Behind the colon of a trailer.
    TrailerValue,
    /// Before the line feed that ends a line of the trailers.
    TrailerEnd,
    /// Before the last line feed of all.
    LastEnd,
    /// All of it was read.
    Over,
}

impl Chunks {
    /// Before the first byte.
    pub(crate) fn new() -> Self {
        Chunks { place: Place::Size { digits: 0, size: 0 }, dropped: 0 }
    }

    /// Whether the last chunk and the trailers have been read.
    pub(crate) fn over(&self) -> bool {
        self.place == Place::Over
    }

    /// Takes the next piece of data off the front of `bytes`; `None` if there is none in them. What is behind the
    /// end of the body is left.
    pub(crate) fn next(&mut self, bytes: &mut Bytes) -> Result<Option<Bytes>, BadChunk> {
        while !bytes.is_empty() && !self.over() {
            if let Place::Data { left } = &mut self.place {
                let piece = bytes.split_to(usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len()));
                *left -= piece.len() as u64;
                if *left == 0 {
                    self.place = Place::DataReturn;
                }
                return Ok(Some(piece));
            }
            let byte = bytes.get_u8();
            self.place = self.after(byte)?;
        }
        Ok(None)
    }

    fn after(&mut self, byte: u8) -> Result<Place, BadChunk> {
        let place = match (self.place, byte) {
            (Place::Size { digits, size }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                Place::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (Place::Size { digits: 1.., size }, b'\r') => Place::SizeEnd { size },
            (Place::Size { digits: 1.., size } | Place::Blank { size }, b';') => Place::Extension { size },
            (Place::Size { digits: 1.., size } | Place::Blank { size }, b' ' | b'\t') => {
                self.drop_one()?;
                Place::Blank { size }
            }
            (Place::Blank { size }, b'\r') => Place::SizeEnd { size },
            (Place::Extension { size }, b'\r') => Place::SizeEnd { size },
            (Place::Extension { size }, _) if is_text(byte) => {
                self.drop_one()?;
                Place::Extension { size }
            }
            (Place::SizeEnd { size: 0 }, b'\n') => Place::TrailerStart,
            (Place::SizeEnd { size }, b'\n') => Place::Data { left: size },
            (Place::DataReturn, b'\r') => Place::DataEnd,
            (Place::DataEnd, b'\n') => Place::Size { digits: 0, size: 0 },
            (Place::TrailerStart, b'\r') => Place::LastEnd,
            (Place::TrailerStart | Place::TrailerName, _) if is_token(byte) => {
                self.drop_one()?;
                Place::TrailerName
            }
            (Place::TrailerName, b':') => Place::TrailerValue,
            (Place::TrailerValue, b'\r') => Place::TrailerEnd,
            (Place::TrailerValue, _) if is_text(byte) => {
                self.drop_one()?;
                Place::TrailerValue
            }
            (Place::TrailerEnd, b'\n') => Place::TrailerStart,
            (Place::LastEnd, b'\n') => Place::Over,
            _ => return Err(BadChunk),
        };
        Ok(place)
    }

    fn drop_one(&mut self) -> Result<(), BadChunk> {
        self.dropped += 1;
        if self.dropped > DROPPED_MAX { Err(BadChunk) } else { Ok(()) }
    }
}

/// What values of headers are made of (RFC 9110 §5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// What names of headers are made of (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All data, and whether the end was seen; `pieces` arrive one after the other.
    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), BadChunk> {
        let (mut chunks, mut data) = (Chunks::new(), Vec::new());
        for piece in pieces {
            let mut bytes = Bytes::copy_from_slice(piece);
            while let Some(piece) = chunks.next(&mut bytes)? {
                data.extend_from_slice(&piece);
            }
        }
        Ok((data, chunks.over()))
    }

    #[test]
    fn data_comes_out_and_the_rest_is_dropped() {
        let body = b"5 \t\r\nhello\r\n00006 ;name=\"x\"\r\n world\r\n0 \r\nX-Trailer: 1\r\n\r\n";
        assert_eq!(read(&[body]), Ok((b"hello world".to_vec(), true)));
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(read(&bytes), Ok((b"hello world".to_vec(), true)));
        let (mut chunks, mut bytes) = (Chunks::new(), Bytes::from_static(b"0\r\n\r\nHTTP/1.1 200 OK"));
        assert_eq!(chunks.next(&mut bytes), Ok(None));
        assert_eq!((chunks.over(), &bytes[..]), (true, &b"HTTP/1.1 200 OK"[..]));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for body in [
            "5 5\r\nhello",
            "0\t0003\r\n\r\n",
            "5 \n",
            "\r\n",
            "x\r\n",
            "+5\r\nhello\r\n",
            "5\nhello",
            "5\r\nhello0\r\n",
            "5\r\nhello\n",
            "5;x\nhello",
            "1000000000000000\r\n",
            "0x5\r\nhello",
            "-1\r\n",
            "0\r\nX: 1\n\r\n",
            "0\r\nGET / HTTP/1.1\r\n",
            "0\r\nX : 1\r\n\r\n",
            "0\r\n: 1\r\n\r\n",
            "0\r\nX\r\n\r\n",
            "0\r\n\tX: 1\r\n\r\n",
            "0\r\nX: \0\r\n\r\n",
            "5;\0\r\nhello",
            "0\r\n\n",
        ] {
            assert_eq!(read(&[body.as_bytes()]), Err(BadChunk), "{body:?}");
        }
        let endless = [b"5;".to_vec(), vec![b'x'; 20_000]].concat();
        assert_eq!(read(&[&endless]), Err(BadChunk));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&[&bytes]);
        }

        #[test]
        fn what_was_chunked_is_read_back(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8),
            cut in 0usize..400,
        ) {
            let mut body = Vec::new();
            for piece in &pieces {
                body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                body.extend_from_slice(piece);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            let (before, after) = body.split_at(cut.min(body.len()));
            prop_assert_eq!(read(&[before, after]), Ok((pieces.concat(), true)));
        }
    }
}
