//! The head of an answer as HTTP/1 writes it, and the framing of its body.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use httpdate::HttpDate;

use super::head::Form;
use crate::path::Ours;

/// How the end of an answer's body is told (RFC 9112 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, whatever the headers say.
    None,
    /// So many bytes are to come.
    Length(u64),
    Chunked,
    /// With the connection: the caller does not know chunks.
    UntilClose,
}

impl Framing {
    /// `exact` is the length of the body, if that is known.
    pub(super) fn of(status: StatusCode, exact: Option<u64>, form: Form) -> Self {
        match exact {
            _ if form.bodiless || is_bodiless(status) => Framing::None,
            Some(length) => Framing::Length(length),
            None if form.old => Framing::UntilClose,
            None => Framing::Chunked,
        }
    }
}

fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Whether the answer itself ends the connection.
pub(super) fn says_close(headers: &HeaderMap) -> bool {
    headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// All that the head of an answer says.
pub(super) struct AnswerHead<'a> {
    pub(super) parts: &'a Parts,
    /// Said behind the others.
    pub(super) ours: Option<&'a Ours>,
    pub(super) framing: Framing,
    pub(super) form: Form,
    /// Whether the connection ends after this answer.
    pub(super) closes: bool,
}

impl AnswerHead<'_> {
    /// Writes status line and headers, with those that only the connection knows. `date` writes a header, if there is none.
    pub(super) fn write(&self, out: &mut Vec<u8>, date: impl FnOnce(&mut Vec<u8>)) {
        let AnswerHead { parts, ours, framing, form, closes } = self;
        write_status(out, parts.status, form.old);
        let mut put = |name: &HeaderName, value: &[u8]| {
            [name.as_str().as_bytes(), b": ", value, b"\r\n"]
                .into_iter()
                .for_each(|own| out.extend_from_slice(own));
        };
        let (mut connection, mut dated) = (false, false);
        for (name, value) in &parts.headers {
            connection |= name == CONNECTION;
            dated |= name == DATE;
            if self.passes(name) {
                put(name, value.as_bytes());
            }
        }
        if let Some(ours) = ours {
            ours.each(put);
        }
        match (connection, closes) {
            (true, _) => {}
            (false, true) => out.extend_from_slice(b"connection: close\r\n"),
            (false, false) if form.old => out.extend_from_slice(b"connection: keep-alive\r\n"),
            (false, false) => {}
        }
        match framing {
            // Writing to memory cannot fail.
            Framing::Length(length) => drop(write!(out, "content-length: {length}\r\n")),
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::None | Framing::UntilClose => {}
        }
        if !dated && !parts.status.is_informational() {
            date(out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// What frames the body is said by whoever writes it. What a body would have had is told where there is none (RFC 9110 §8.6), but not
    /// with statuses that never have one.
    fn passes(&self, name: &HeaderName) -> bool {
        if name == CONTENT_LENGTH {
            let would_have = self.form.bodiless || self.parts.status == StatusCode::NOT_MODIFIED;
            return self.framing == Framing::None && would_have;
        }
        name != TRANSFER_ENCODING
    }
}

fn write_status(out: &mut Vec<u8>, status: StatusCode, old: bool) {
    if status == StatusCode::OK && !old {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    let version = if old { "1.0" } else { "1.1" };
    let reason = status.canonical_reason().unwrap_or("Unknown");
    drop(write!(out, "HTTP/{version} {} {reason}\r\n", status.as_u16()));
}

/// The header `Date` (RFC 9110 §6.6.1), made once a second.
#[derive(Debug)]
pub(crate) struct Date {
    second: i64,
    line: Vec<u8>,
}

impl Default for Date {
    fn default() -> Self {
        Date { second: i64::MIN, line: Vec::new() }
    }
}

impl Date {
    /// Writes the header for a time in µs since 1970.
    pub(crate) fn write(&mut self, at_us: i64, out: &mut Vec<u8>) {
        let second = at_us.div_euclid(1_000_000);
        if second != self.second {
            let since = Duration::from_secs(u64::try_from(second).unwrap_or_default());
            self.line.clear();
            drop(write!(self.line, "date: {}\r\n", HttpDate::from(UNIX_EPOCH + since)));
            self.second = second;
        }
        out.extend_from_slice(&self.line);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Response};

    use super::*;

    const NEW: Form = Form { bodiless: false, old: false, keeps_open: true };

    fn written(
        status: u16,
        headers: &[(&'static str, &'static str)],
        exact: Option<u64>,
        form: Form,
        closes: bool,
    ) -> String {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        for (name, value) in headers {
            let name = HeaderName::from_static(name);
            response.headers_mut().append(name, HeaderValue::from_static(value));
        }
        let (parts, ()) = response.into_parts();
        let framing = Framing::of(parts.status, exact, form);
        let mut out = Vec::new();
        let head = AnswerHead { parts: &parts, ours: None, framing, form, closes };
        head.write(&mut out, |out| Date::default().write(0, out));
        String::from_utf8(out).expect("text").replace("\r\n", "|")
    }

    #[test]
    fn the_end_of_a_body_is_told_as_the_caller_understands_it() {
        let date = "date: Thu, 01 Jan 1970 00:00:00 GMT|";
        let head = Form { bodiless: true, ..NEW };
        let old = Form { old: true, keeps_open: false, ..NEW };
        let old_kept = Form { old: true, ..NEW };
        let length = ("content-length", "5");
        for (status, headers, exact, form, closes, expected) in [
            (200, &[][..], Some(5), NEW, false, format!("HTTP/1.1 200 OK|content-length: 5|{date}|")),
            (200, &[length], Some(5), NEW, false, format!("HTTP/1.1 200 OK|content-length: 5|{date}|")),
            (
                200,
                &[],
                Some(0),
                NEW,
                true,
                format!("HTTP/1.1 200 OK|connection: close|content-length: 0|{date}|"),
            ),
            (200, &[length], None, NEW, false, format!("HTTP/1.1 200 OK|transfer-encoding: chunked|{date}|")),
            (200, &[], None, old, true, format!("HTTP/1.0 200 OK|connection: close|{date}|")),
            (
                404,
                &[],
                Some(1),
                old_kept,
                false,
                format!("HTTP/1.0 404 Not Found|connection: keep-alive|content-length: 1|{date}|"),
            ),
            (200, &[length], Some(0), head, false, format!("HTTP/1.1 200 OK|content-length: 5|{date}|")),
            (204, &[length], Some(0), NEW, false, format!("HTTP/1.1 204 No Content|{date}|")),
            (
                304,
                &[length],
                Some(0),
                NEW,
                false,
                format!("HTTP/1.1 304 Not Modified|content-length: 5|{date}|"),
            ),
            (
                200,
                &[("x-a", "1"), ("date", "theirs"), ("x-a", "2")],
                Some(0),
                NEW,
                false,
                "HTTP/1.1 200 OK|x-a: 1|x-a: 2|date: theirs|content-length: 0||".to_owned(),
            ),
            (
                101,
                &[("connection", "upgrade"), ("upgrade", "websocket")],
                Some(0),
                NEW,
                true,
                "HTTP/1.1 101 Switching Protocols|connection: upgrade|upgrade: websocket||".to_owned(),
            ),
            (599, &[], Some(0), NEW, false, format!("HTTP/1.1 599 Unknown|content-length: 0|{date}|")),
        ] {
            assert_eq!(written(status, headers, exact, form, closes), expected);
        }
    }

    #[test]
    fn a_date_is_made_anew_with_each_second() {
        let (mut date, mut out) = (Date::default(), Vec::new());
        for at_us in [784_111_777_000_000, 784_111_777_999_999, 784_111_778_000_000] {
            date.write(at_us, &mut out);
        }
        let seven = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert_eq!(
            String::from_utf8(out).expect("text"),
            [seven, seven, &seven.replace("37", "38")].concat()
        );
    }
}
