//! The head of an answer, read strictly: what two parsers could read differently is no answer.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Response, StatusCode, Version};
use std::mem::MaybeUninit;

use crate::framing::{BadChunk, content_length};

/// A head may have this many bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// And this many headers.
const HEADERS_MAX: usize = 100;

/// Why an answer cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadAnswer {
    #[error("its head is no HTTP: {0}")]
    NotHttp(httparse::Error),
    #[error("its head is larger than 64 KiB")]
    TooLarge,
    #[error("it is framed in two ways")]
    FramedTwice,
    #[error("its transfer coding is not `chunked`")]
    OtherCoding,
    #[error("its Content-Length is no number, or several")]
    BadLength,
    #[error("a header is malformed")]
    BadHeader,
    #[error(transparent)]
    BadChunk(#[from] BadChunk),
}

/// Where the body of an answer ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes; 0 is no body.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A head, and what it says of the bytes behind it.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// Whether the connection may be used again.
    pub(super) keeps_open: bool,
    /// Bytes that the head takes up.
    pub(super) length: usize,
}

/// Reads the head at the start of `bytes`; `None` if it is not all there. `bodiless` says that the request was a
/// HEAD, whose answer has no body whatever it says. Allocates nothing but the map: values are slices of `bytes`.
pub(super) fn parse(bytes: &Bytes, bodiless: bool) -> Result<Option<Head>, BadAnswer> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut headers) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(_) => return Err(BadAnswer::TooLarge),
        Err(error) => return Err(BadAnswer::NotHttp(error)),
    };
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| BadAnswer::BadHeader)?;
    let newest = parsed.version == Some(1);
    let mut said = Said::default();
    let mut map = HeaderMap::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| BadAnswer::BadHeader)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value));
        let value = value.map_err(|_| BadAnswer::BadHeader)?;
        said.hear(&name, &value, newest)?;
        map.append(name, value);
    }
    let framing = said.framing(status, bodiless)?;
    let keeps_open = newest && framing != Framing::UntilClose && !said.closes;
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = if newest { Version::HTTP_11 } else { Version::HTTP_10 };
    *response.headers_mut() = map;
    Ok(Some(Head { response, framing, keeps_open, length }))
}

/// What the headers of an answer say of its framing and of the connection.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    closes: bool,
}

impl Said {
    fn hear(&mut self, name: &HeaderName, value: &HeaderValue, newest: bool) -> Result<(), BadAnswer> {
        if name == CONTENT_LENGTH {
            if self.length.is_some() {
                return Err(BadAnswer::BadLength);
            }
            self.length = Some(content_length(value).ok_or(BadAnswer::BadLength)?);
        } else if name == TRANSFER_ENCODING {
            // No other coding is taken, and none from HTTP/1.0 (RFC 9112 §6.1).
            if self.chunked || !newest || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(BadAnswer::OtherCoding);
            }
            self.chunked = true;
        } else if name == CONNECTION {
            let mut words = value.as_bytes().split(|byte| *byte == b',');
            self.closes |= words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
        Ok(())
    }

    fn framing(&self, status: StatusCode, bodiless: bool) -> Result<Framing, BadAnswer> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(BadAnswer::FramedTwice),
            _ if bodiless || status.is_informational() || matches!(status.as_u16(), 204 | 304) => {
                Ok(Framing::Length(0))
            }
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::UntilClose),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, bodiless: bool) -> Result<Option<Head>, BadAnswer> {
        parse(&Bytes::from(text.replace('\n', "\r\n")), bodiless)
    }

    #[test]
    fn where_the_body_ends() {
        for (head, bodiless, framing, keeps_open) in [
            ("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", false, Framing::Length(5), true),
            ("HTTP/1.1 200 OK\nContent-Length: 5\n\n", true, Framing::Length(0), true),
            ("HTTP/1.1 304 x\nContent-Length: 5\n\n", false, Framing::Length(0), true),
            ("HTTP/1.1 204 x\n\n", false, Framing::Length(0), true),
            ("HTTP/1.1 100 Continue\n\n", false, Framing::Length(0), true),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: Chunked\n\n", false, Framing::Chunked, true),
            (
                "HTTP/1.1 200 OK\nConnection: x, Close\nContent-Length: 0\n\n",
                false,
                Framing::Length(0),
                false,
            ),
            ("HTTP/1.1 200 OK\n\n", false, Framing::UntilClose, false),
            ("HTTP/1.0 200 OK\nContent-Length: 1\n\n", false, Framing::Length(1), false),
        ] {
            let read = read(head, bodiless).expect(head).expect(head);
            assert_eq!((read.framing, read.keeps_open), (framing, keeps_open), "{head}");
        }
    }

    #[test]
    fn what_could_be_read_differently_is_no_answer() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked\n\n", BadAnswer::FramedTwice),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n", BadAnswer::OtherCoding),
            (
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n",
                BadAnswer::OtherCoding,
            ),
            ("HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n", BadAnswer::OtherCoding),
            ("HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 5\n\n", BadAnswer::BadLength),
            ("HTTP/1.1 200 OK\nContent-Length: +5\n\n", BadAnswer::BadLength),
            ("HTTP/1.1 200 OK\nContent-Length: 5, 5\n\n", BadAnswer::BadLength),
            ("HTTP/1.1 200 OK\nContent-Length:\n\n", BadAnswer::BadLength),
            ("HTTP/1.1 200 OK\nContent-Length: 99999999999999999999\n\n", BadAnswer::BadLength),
            ("nonsense\n\n", BadAnswer::NotHttp(httparse::Error::Version)),
            ("HTTP/1.1 200 OK\nX : 1\n\n", BadAnswer::NotHttp(httparse::Error::HeaderName)),
            ("HTTP/1.1 200 OK\nX: 1\n 2\n\n", BadAnswer::NotHttp(httparse::Error::HeaderName)),
            ("HTTP/1.1 99 x\n\n", BadAnswer::NotHttp(httparse::Error::Status)),
        ] {
            assert_eq!(read(head, false).map(|_| ()), Err(expected), "{head}");
        }
        let many = format!("HTTP/1.1 200 OK\n{}\n", "X: 1\n".repeat(101));
        assert_eq!(read(&many, false).map(|_| ()), Err(BadAnswer::NotHttp(httparse::Error::TooManyHeaders)));
        let large = format!("HTTP/1.1 200 OK\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(read(&large, false).map(|_| ()), Err(BadAnswer::TooLarge));
    }

    #[test]
    fn a_head_that_is_not_all_there_is_waited_for() {
        let whole = "HTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Length: 5\r\n\r\n";
        for end in 0..whole.len() {
            assert!(
                parse(&Bytes::copy_from_slice(&whole.as_bytes()[..end]), false)
                    .expect("so far good")
                    .is_none()
            );
        }
        let head = parse(&Bytes::from(format!("{whole}hello")), false).expect("good").expect("whole");
        assert_eq!(
            (head.length, &head.response.headers()["x-own"]),
            (whole.len(), &HeaderValue::from_static("1"))
        );
    }
}
