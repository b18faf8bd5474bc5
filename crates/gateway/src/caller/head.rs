//! The head of a request, read strictly.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{Method, Request, StatusCode, Uri, Version};
use memchr::memchr;

use super::line::Rest;
use crate::framing::{Chunks, content_length};

/// A head may have this many bytes before it is not read on; how much of that passes is decided by whoever judges requests.
pub(super) const HEAD_BYTES_MAX: usize = 256 * 1024;
/// And this many headers.
const HEADERS_MAX: usize = 100;
/// A target may have this many bytes: what [`Uri`] can hold.
const TARGET_BYTES_MAX: usize = 65_534;

/// Why a head is answered without being judged, by a bare status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHead {
    /// It is no HTTP/1.0 or HTTP/1.1, or where its body ends cannot be known.
    Malformed,
    TargetTooLong,
    TooLarge,
}

impl BadHead {
    /// RFC 9110 §15.5.1 and §15.5.15, RFC 6585 §5.
    pub(super) fn status(self) -> StatusCode {
        match self {
            BadHead::Malformed => StatusCode::BAD_REQUEST,
            BadHead::TargetTooLong => StatusCode::URI_TOO_LONG,
            BadHead::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }
}

/// What a request says of the form of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// A HEAD, whose answer has no body.
    pub(super) bodiless: bool,
    /// HTTP/1.0, which knows no chunks.
    pub(super) old: bool,
    /// Whether the connection takes another request after it.
    pub(super) keeps_open: bool,
}

/// A head, and what it says of the bytes behind it.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request<()>,
    pub(super) form: Form,
    pub(super) rest: Rest,
    /// Whether the caller waits to be told before it sends the body (RFC 9110 §10.1.1).
    pub(super) expects: bool,
    /// Bytes that the head takes up.
    pub(super) length: usize,
}

/// Reads the head at the start of `bytes`; `None` if it is not all there. Values are slices of `bytes`.
pub(super) fn parse(bytes: &Bytes) -> Result<Option<Head>, BadHead> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_request_with_uninit_headers(&mut parsed, bytes, &mut headers) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(BadHead::TooLarge),
        Err(_) => return Err(BadHead::Malformed),
    };
    let old = parsed.version == Some(0);
    let target = parsed.path.unwrap_or_default();
    if target.len() > TARGET_BYTES_MAX {
        return Err(BadHead::TargetTooLong);
    }
    let mut said = Said::default();
    let mut map = HeaderMap::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| BadHead::Malformed)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value));
        let value = value.map_err(|_| BadHead::Malformed)?;
        said.hear(&name, &value)?;
        map.append(name, value);
    }
    let mut request = Request::new(());
    let method = parsed.method.unwrap_or_default().as_bytes();
    *request.method_mut() = Method::from_bytes(method).map_err(|_| BadHead::Malformed)?;
    let target = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes()));
    *request.uri_mut() = target.map_err(|_| BadHead::Malformed)?;
    *request.version_mut() = if old { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.headers_mut() = map;
    let rest = said.rest(old);
    let bodiless = request.method() == Method::HEAD;
    // RFC 9112 §9.3: `close` counts, whatever else is said.
    let form = Form { bodiless, old, keeps_open: !said.closes && (said.keeps || !old) };
    let expects = said.expects && !old && rest != Rest::Over;
    Ok(Some(Head { request, form, rest, expects, length }))
}

/// What the headers of a request say of its framing and of the connection.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    codings: u32,
    /// Whether the only coding so far is `chunked`.
    chunked: bool,
    closes: bool,
    keeps: bool,
    expects: bool,
}

impl Said {
    fn hear(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), BadHead> {
        if name == CONTENT_LENGTH {
            // Another one, even if it says the same, was put there by somebody who did not read the first.
            if self.length.is_some() {
                return Err(BadHead::Malformed);
            }
            self.length = Some(content_length(value).ok_or(BadHead::Malformed)?);
        } else if name == TRANSFER_ENCODING {
            self.codings += 1;
            self.chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
        } else if name == CONNECTION {
            for word in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.closes |= word.eq_ignore_ascii_case(b"close");
                self.keeps |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if name == EXPECT {
            self.expects = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        }
        Ok(())
    }

    /// Where the body ends (RFC 9112 §6.3). What is framed twice, or coded otherwise than in chunks, is never read: whoever judges the
    /// request says so.
    fn rest(&self, old: bool) -> Rest {
        match (self.codings, self.length) {
            (0, None | Some(0)) => Rest::Over,
            (0, Some(length)) => Rest::Length(length),
            (1, None) if self.chunked && !old => Rest::Chunked(Chunks::new()),
            _ => Rest::Broken,
        }
    }
}

/// Whether a head ends in `bytes`, of which those before `from` were looked at before.
pub(super) fn ends(bytes: &[u8], from: usize) -> bool {
    let mut at = from.saturating_sub(3);
    while let Some(found) = memchr(b'\n', &bytes[at..]) {
        at += found + 1;
        if matches!(bytes[at..], [b'\n', ..] | [b'\r', b'\n', ..]) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Option<Head>, BadHead> {
        parse(&Bytes::from(text.replace('\n', "\r\n")))
    }

    #[test]
    fn where_the_body_ends_and_whether_another_request_may_follow() {
        let chunked = Rest::Chunked(Chunks::new());
        for (head, rest, keeps_open, expects) in [
            ("GET / HTTP/1.1\n\n", Rest::Over, true, false),
            ("GET / HTTP/1.0\n\n", Rest::Over, false, false),
            ("GET / HTTP/1.0\nConnection: Keep-Alive\n\n", Rest::Over, true, false),
            ("GET / HTTP/1.1\nConnection: x, Close\n\n", Rest::Over, false, false),
            ("GET / HTTP/1.1\nConnection: close\nConnection: keep-alive\n\n", Rest::Over, false, false),
            ("POST / HTTP/1.1\nContent-Length: 0\nExpect: 100-continue\n\n", Rest::Over, true, false),
            ("POST / HTTP/1.1\nContent-Length: 5\n\n", Rest::Length(5), true, false),
            ("POST / HTTP/1.1\nExpect: 100-Continue\nContent-Length: 5\n\n", Rest::Length(5), true, true),
            ("POST / HTTP/1.0\nExpect: 100-continue\nContent-Length: 5\n\n", Rest::Length(5), false, false),
            ("POST / HTTP/1.1\nTransfer-Encoding: Chunked\n\n", chunked, true, false),
            ("POST / HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n", Rest::Broken, true, false),
            ("POST / HTTP/1.1\nTransfer-Encoding: gzip, chunked\n\n", Rest::Broken, true, false),
            (
                "POST / HTTP/1.1\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n",
                Rest::Broken,
                true,
                false,
            ),
            ("POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n", Rest::Broken, false, false),
        ] {
            let read = read(head).expect(head).expect(head);
            assert_eq!(
                (read.rest, read.form.keeps_open, read.expects),
                (rest, keeps_open, expects),
                "{head}"
            );
        }
    }

    #[test]
    fn what_is_no_request_is_not_guessed_at() {
        for (head, expected) in [
            ("GET / HTTP/2.0\n\n", BadHead::Malformed),
            ("GET / HTTP/1.2\n\n", BadHead::Malformed),
            ("GET /\n\n", BadHead::Malformed),
            ("GET  / HTTP/1.1\n\n", BadHead::Malformed),
            ("\x16\x03\x01 / HTTP/1.1\n\n", BadHead::Malformed),
            ("GET / HTTP/1.1\n Host: a\n\n", BadHead::Malformed),
            ("GET / HTTP/1.1\nHost : a\n\n", BadHead::Malformed),
            ("GET / HTTP/1.1\nX: a\n b\n\n", BadHead::Malformed),
            ("GET / HTTP/1.1\nX: a\x00b\n\n", BadHead::Malformed),
            ("GET / HTTP/1.1\n: a\n\n", BadHead::Malformed),
            ("GET a b HTTP/1.1\n\n", BadHead::Malformed),
            ("GET / HTTP/1.1\nContent-Length: +5\n\n", BadHead::Malformed),
            ("GET / HTTP/1.1\nContent-Length: 5, 5\n\n", BadHead::Malformed),
            ("GET / HTTP/1.1\nContent-Length: 5\nContent-Length: 5\n\n", BadHead::Malformed),
            ("GET / HTTP/1.1\nContent-Length:\n\n", BadHead::Malformed),
            ("GET / HTTP/1.1\nContent-Length: 18446744073709551616\n\n", BadHead::Malformed),
        ] {
            assert_eq!(read(head).map(|_| ()), Err(expected), "{head:?}");
        }
        let many = format!("GET / HTTP/1.1\n{}\n", "X: 1\n".repeat(HEADERS_MAX + 1));
        assert_eq!(read(&many).map(|_| ()), Err(BadHead::TooLarge));
        let large = format!("GET / HTTP/1.1\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(read(&large).map(|_| ()), Err(BadHead::TooLarge));
        let long = format!("GET /{} HTTP/1.1\n\n", "x".repeat(TARGET_BYTES_MAX));
        assert_eq!(read(&long).map(|_| ()), Err(BadHead::TargetTooLong));
    }

    #[test]
    fn a_head_that_is_not_all_there_is_waited_for() {
        let whole = "GET /a?b HTTP/1.1\r\nHost: a\r\nX-Own: 1\r\n\r\n";
        for end in 0..whole.len() {
            let part = &whole.as_bytes()[..end];
            assert!(parse(&Bytes::copy_from_slice(part)).expect("so far good").is_none());
            assert!(!ends(part, 0) && !ends(part, end), "{end}");
        }
        assert!((0..=whole.len()).all(|from| ends(whole.as_bytes(), from)));
        let head = parse(&Bytes::from(format!("{whole}rest"))).expect("good").expect("whole");
        assert_eq!((head.length, head.request.uri().query()), (whole.len(), Some("b")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&Bytes::from(bytes));
        }

        /// Lines of headers, each sound or odd, in any order: what is taken has one meaning.
        #[test]
        fn what_is_taken_is_framed_once(lines in proptest::collection::vec(0usize..LINES.len(), 0..6)) {
            let own: Vec<&str> = lines.iter().map(|line| LINES[*line]).collect();
            let text = format!("POST / HTTP/1.1\r\n{}\r\n", own.concat());
            let Ok(Some(head)) = parse(&Bytes::from(text)) else { return Ok(()) };
            let headers = head.request.headers();
            let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
            let codings = headers.get_all(TRANSFER_ENCODING).iter().count();
            match head.rest {
                Rest::Over => prop_assert_eq!(codings, 0),
                Rest::Length(length) => {
                    prop_assert_eq!((lengths, codings), (1, 0));
                    prop_assert_eq!(headers[CONTENT_LENGTH].to_str().ok(), Some(&*length.to_string()));
                }
                Rest::Chunked(_) => prop_assert_eq!((lengths, codings), (0, 1)),
                Rest::Broken => prop_assert!(codings > 0),
            }
        }
    }

    const LINES: [&str; 12] = [
        "Host: a\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 7\r\n",
        "content-length:5\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 0x5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding:\tchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding\r\n",
        " folded\r\n",
        "X: Content-Length: 5\r\n",
    ];
}
