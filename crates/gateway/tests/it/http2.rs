//! HTTP/2 by hand, frame by frame: what no library would send. Nothing of it is forwarded that should not be, nothing is answered with an
//! error of ours, and who behaves is served afterwards.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::stage::Stage;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const BOTH: u8 = END_STREAM | END_HEADERS;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A length as HPACK writes it with seven bits (RFC 7541 §5.1).
fn length(of: usize, bytes: &mut Vec<u8>) {
    if of < 127 {
        return bytes.push(u8::try_from(of).unwrap());
    }
    bytes.push(127);
    let mut rest = of - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

/// Headers as literals that nobody remembers (RFC 7541 §6.2.2).
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0);
        length(name.len(), &mut bytes);
        bytes.extend(name.as_bytes());
        length(value.len(), &mut bytes);
        bytes.extend(value.as_bytes());
    }
    bytes
}

/// What came of a stream or of the whole connection.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Status(u16),
    /// The stream was reset, the connection was given up, or it was closed.
    Refused,
}

struct Line(TcpStream);

impl Line {
    fn open(stage: &Stage) -> Line {
        Line::open_in_pieces(stage, usize::MAX)
    }

    fn open_in_pieces(stage: &Stage, size: usize) -> Line {
        let mut stream = TcpStream::connect(stage.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &[])].concat();
        begin.chunks(size).for_each(|piece| stream.write_all(piece).unwrap());
        Line(stream)
    }

    /// What cannot be written any more was refused before.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// Reads until the stream is answered or refused.
    fn came(&mut self, stream: u32) -> Came {
        loop {
            match self.frame() {
                Some((HEADERS, _, own, payload)) if own == stream => return Came::Status(status(&payload)),
                Some((RESET, _, own, _)) if own == stream => return Came::Refused,
                Some((GO_AWAY, ..)) | None => return Came::Refused,
                Some(_) => {}
            }
        }
    }
}

/// The status at the beginning of an answer's headers: of the static table, or three digits in Huffman's code (RFC 7541 §A, §B).
fn status(block: &[u8]) -> u16 {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let first = block[0];
    if (0x88..=0x8e).contains(&first) {
        return KNOWN[usize::from(first - 0x88)];
    }
    assert_eq!(first & 0x0f, 8, "a literal with the name `:status`: {block:x?}");
    let text = &block[2..2 + usize::from(block[1] & 127)];
    if block[1] & 128 == 0 {
        return std::str::from_utf8(text).unwrap().parse().unwrap();
    }
    let bits: Vec<u16> =
        text.iter().flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1))).collect();
    let take = |at: usize, count: usize| bits[at..at + count].iter().fold(0, |all, bit| all * 2 + bit);
    let (mut at, mut told) = (0, 0);
    for _ in 0..3 {
        let short = take(at, 5);
        let (digit, width) = if short < 3 { (short, 5) } else { (take(at, 6) - 0b01_1001 + 3, 6) };
        told = told * 10 + digit;
        at += width;
    }
    told
}

/// A sound request's headers.
fn sound<'a>(key: &'a str, method: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "acme.example.test"),
        (":path", "/v1/stamps"),
        ("authorization", key),
    ]
}

fn key(stage: &Stage) -> String {
    format!("Bearer {}", stage.acme)
}

/// Who behaves is served, on a new connection.
#[track_caller]
fn serves(stage: &Stage, after: &str) {
    let (mut line, key) = (Line::open(stage), key(stage));
    line.send(&frame(HEADERS, BOTH, 1, &block(&sound(&key, "GET"))));
    assert_eq!(line.came(1), Came::Status(200), "after {after}");
}

#[test]
fn which_version_is_spoken_is_told_in_whatever_pieces_it_is_said() {
    let stage = Stage::start();
    for size in [1, 2, 5, 16, 23, 24, 25] {
        let (mut line, key) = (Line::open_in_pieces(&stage, size), key(&stage));
        line.send(&frame(HEADERS, BOTH, 1, &block(&sound(&key, "GET"))));
        assert_eq!(line.came(1), Came::Status(200), "pieces of {size}");
    }
}

#[test]
fn headers_that_are_none() {
    let stage = Stage::start();
    let key = key(&stage);
    let good = sound(&key, "GET");
    let with = |more: &[(&'static str, &'static str)]| [&good[..], more].concat();
    let but = |name: &str, value: &'static str| -> Vec<(&str, &str)> {
        good.iter().map(|own| if own.0 == name { (own.0, value) } else { *own }).collect()
    };
    let without =
        |name: &str| -> Vec<(&str, &str)> { good.iter().filter(|own| own.0 != name).copied().collect() };
    let table = [
        ("a second path", with(&[(":path", "/v1/reports")])),
        ("a pseudo-header behind the others", with(&[(":authority", "acme.example.test")])),
        ("an unknown pseudo-header", [&[(":tenant", "bolt")][..], &good].concat()),
        ("an answer's pseudo-header", [&[(":status", "200")][..], &good].concat()),
        (
            "a websocket that nobody offered",
            [&[(":protocol", "websocket")][..], &but(":method", "CONNECT")].concat(),
        ),
        ("no method", without(":method")),
        ("no path", without(":path")),
        ("no host at all", without(":authority")),
        ("an empty path", but(":path", "")),
        ("a path without its slash", but(":path", "v1/stamps")),
        ("a path with a space", but(":path", "/v1/stamps HTTP/1.1")),
        ("a path with a line's end", but(":path", "/v1/stamps\r\nX: y")),
        ("a path that climbs out", but(":path", "/v1/../../stamps/%2e%2e%2f")),
        ("a method with a space", but(":method", "GET /v1/reports HTTP/1.1\r\nX:")),
        ("CONNECT", but(":method", "CONNECT")),
        ("another scheme", but(":scheme", "ftp")),
        ("a scheme that is not spoken here", but(":scheme", "https")),
        ("a user in the host", but(":authority", "acme@acme.example.test")),
        ("two hosts in one", but(":authority", "acme.example.test, bolt.example.test")),
        ("another host beside it", with(&[("host", "bolt.example.test")])),
        ("two hosts beside it", with(&[("host", "acme.example.test"), ("host", "acme.example.test")])),
        ("capitals", with(&[("X-Loud", "1")])),
        ("a name with a space", with(&[("x y", "1")])),
        ("a name with a colon", with(&[("x:y", "1")])),
        ("an empty name", with(&[("", "1")])),
        ("a value with a line's end", with(&[("x", "1\r\nX-Tenant-Code: bolt")])),
        ("a value with a zero", with(&[("x", "a\0b")])),
        ("connection", with(&[("connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("proxy-connection", with(&[("proxy-connection", "keep-alive")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te", with(&[("te", "gzip")])),
        ("a length that is no number", with(&[("content-length", "+0")])),
        ("two lengths", with(&[("content-length", "0"), ("content-length", "1")])),
        ("a length without a body", with(&[("content-length", "5")])),
    ];
    for (what, headers) in table {
        let before = stage.upstream.count();
        let mut line = Line::open(&stage);
        line.send(&frame(HEADERS, BOTH, 1, &block(&headers)));
        match line.came(1) {
            Came::Refused => {}
            Came::Status(status) => assert!((400..500).contains(&status), "{what}: {status}"),
        }
        assert_eq!(stage.upstream.count(), before, "{what} is not forwarded");
    }
    serves(&stage, "headers that are none");
}

#[test]
fn bodies_that_are_not_what_they_say() {
    let stage = Stage::start();
    let key = key(&stage);
    let post = |more: &[(&'static str, &'static str)]| block(&[&sound(&key, "POST")[..], more].concat());
    let says = |length: &'static str| frame(HEADERS, END_HEADERS, 1, &post(&[("content-length", length)]));
    let open = || frame(HEADERS, END_HEADERS, 1, &post(&[]));
    let smuggled = b"GET /v1/reports HTTP/1.1\r\nHost: bolt.example.test\r\n\r\n";
    let table: [(&str, Vec<Vec<u8>>); 7] = [
        ("less than said", vec![says("5"), frame(DATA, END_STREAM, 1, b"abc")]),
        ("more than said", vec![says("3"), frame(DATA, END_STREAM, 1, b"abcde")]),
        ("something where nothing was said", vec![says("0"), frame(DATA, END_STREAM, 1, smuggled)]),
        (
            "the rest in another frame",
            vec![says("3"), frame(DATA, 0, 1, b"abc"), frame(DATA, END_STREAM, 1, smuggled)],
        ),
        (
            "trailers with a pseudo-header",
            vec![
                open(),
                frame(DATA, 0, 1, b"abc"),
                frame(HEADERS, BOTH, 1, &block(&[(":path", "/v1/reports")])),
            ],
        ),
        (
            "trailers that do not end",
            vec![
                open(),
                frame(DATA, 0, 1, b"abc"),
                frame(HEADERS, END_HEADERS, 1, &block(&[("x-end", "1")])),
            ],
        ),
        (
            "data behind the end",
            vec![open(), frame(DATA, END_STREAM, 1, b"a"), frame(DATA, END_STREAM, 1, smuggled)],
        ),
    ];
    // A service that got half a body may learn of it while the next one is on its way.
    let mut most = stage.upstream.count();
    for (what, frames) in table {
        most += 1;
        let mut line = Line::open(&stage);
        line.send(&frames.concat());
        // What was sound until its end may have been answered; what follows it never is.
        if let Came::Status(status) = line.came(1) {
            // A pseudo-header in trailers is dropped without a word, and is nothing to anybody.
            let ended = matches!(what, "data behind the end" | "trailers with a pseudo-header");
            assert!((400..500).contains(&status) || (ended && status == 200), "{what}: {status}");
        }
        assert!(stage.upstream.count() <= most, "{what}: a body stays a body");
        serves(&stage, what);
        most += 1;
    }
}

#[test]
fn trailers_of_a_sound_request_end_it() {
    let stage = Stage::start();
    let key = key(&stage);
    let mut line = Line::open(&stage);
    line.send(&frame(HEADERS, END_HEADERS, 1, &block(&sound(&key, "POST"))));
    line.send(&frame(DATA, 0, 1, b"abc"));
    line.send(&frame(HEADERS, BOTH, 1, &block(&[("x-tenant-code", "bolt"), ("authorization", "Bearer x")])));
    let Came::Status(status) = line.came(1) else { panic!("it is answered") };
    assert!(status < 500, "{status}");
    serves(&stage, "trailers");
}

#[test]
fn frames_out_of_place() {
    let stage = Stage::start();
    let key = key(&stage);
    let headers = block(&sound(&key, "GET"));
    let half = headers.len() / 2;
    let begun = frame(HEADERS, END_STREAM, 1, &headers[..half]);
    let rest = |stream| frame(CONTINUATION, END_HEADERS, stream, &headers[half..]);
    let table: [(&str, Vec<u8>); 16] = [
        ("a continuation of nothing", rest(1)),
        ("a continuation on another stream", [begun.clone(), rest(3)].concat()),
        ("another frame between", [begun.clone(), frame(PING, 0, 0, &[0; 8]), rest(1)].concat()),
        ("a second beginning between", [begun, frame(HEADERS, BOTH, 3, &headers), rest(1)].concat()),
        ("data before headers", frame(DATA, END_STREAM, 1, b"abc")),
        ("data for nobody", frame(DATA, 0, 0, b"abc")),
        ("headers for nobody", frame(HEADERS, BOTH, 0, &headers)),
        ("a stream of the server's", frame(HEADERS, BOTH, 2, &headers)),
        (
            "more padding than there is",
            frame(HEADERS, BOTH | PADDED, 1, &[&[255][..], &headers[..40]].concat()),
        ),
        ("a frame that is too large", frame(HEADERS, BOTH, 1, &vec![0; 20_000])),
        ("half a ping", frame(PING, 0, 0, &[0; 7])),
        ("settings of an odd length", frame(SETTINGS, 0, 0, &[0; 5])),
        ("a window of 2^31", frame(SETTINGS, 0, 0, &[0, 4, 128, 0, 0, 0])),
        ("a window that does not grow", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a reset of what never began", frame(RESET, 0, 1, &[0, 0, 0, 8])),
        ("headers that cannot be decoded", frame(HEADERS, BOTH, 1, &[0x80])),
    ];
    for (what, bytes) in table {
        let before = stage.upstream.count();
        let mut line = Line::open(&stage);
        line.send(&bytes);
        // A further request, so that what was only ignored shows itself as well.
        line.send(&frame(HEADERS, BOTH, 5, &headers));
        let refused = (line.came(5) == Came::Refused, stage.upstream.count() == before);
        assert_eq!(refused, (true, true), "{what}: the connection is given up, and nothing is forwarded");
    }
    // This one is allowed: priorities are not looked at (RFC 9113 §5.3.2).
    let mut line = Line::open(&stage);
    line.send(&frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 16]));
    line.send(&frame(HEADERS, BOTH, 5, &headers));
    assert_eq!(line.came(5), Came::Status(200));
    serves(&stage, "frames out of place");
}

#[test]
fn floods_end_at_a_bound() {
    let stage = Stage::start();
    let key = key(&stage);
    let headers = block(&sound(&key, "GET"));
    let piece = block(&[("x-long", &"a".repeat(8_000))]);
    let mut line = Line::open(&stage);
    line.send(&frame(HEADERS, END_STREAM, 1, &headers));
    for _ in 0..4_000 {
        line.send(&frame(CONTINUATION, 0, 1, &piece));
    }
    assert_eq!(line.came(1), Came::Refused, "32 MB of headers are not read");
    let mut line = Line::open(&stage);
    line.send(&frame(HEADERS, END_STREAM, 1, &headers));
    for _ in 0..50_000 {
        line.send(&frame(CONTINUATION, 0, 1, &[]));
    }
    line.send(&frame(CONTINUATION, END_HEADERS, 1, &[]));
    assert!(!matches!(line.came(1), Came::Status(500..)), "frames without anything in them");
    // Begun and taken back at once (CVE-2023-44487), far more than are open at a time.
    let mut line = Line::open(&stage);
    for number in 0..2_000 {
        line.send(&frame(HEADERS, BOTH, 2 * number + 1, &headers));
        line.send(&frame(RESET, 0, 2 * number + 1, &[0, 0, 0, 8]));
    }
    line.send(&frame(HEADERS, BOTH, 9_001, &headers));
    assert!(!matches!(line.came(9_001), Came::Status(500..)));
    assert!(stage.upstream.count() < 2_000, "what was taken back does not all go on to the service");
    for (what, one) in [
        ("pings", frame(PING, 0, 0, &[7; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ] {
        let mut line = Line::open(&stage);
        let many = one.repeat(500);
        for _ in 0..10 {
            line.send(&many);
        }
        line.send(&frame(HEADERS, BOTH, 1, &headers));
        assert!(!matches!(line.came(1), Came::Status(500..)), "{what}");
        serves(&stage, what);
    }
}
