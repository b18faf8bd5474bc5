//! Connections that are not used end; those whose client waits for us do not.

use std::time::Duration;

use crate::stage::Stage;

/// A preface and an empty SETTINGS frame: an HTTP/2 connection on which nothing is asked.
const SETTLED: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[test]
fn who_says_nothing_is_not_listened_to_for_ever() {
    let stage = Stage::configured(|config| config.header_timeout = Duration::from_millis(50), |_| {});
    let mut waiting = stage.wire();
    let head = "GET /v1/work/wait HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer ";
    waiting.write(format!("{head}{}\r\n\r\n", stage.acme));
    for said in [b"".as_slice(), b"P", b"PRI * HTTP/2.0\r\n", b"GET / HT", SETTLED] {
        let mut wire = stage.wire();
        wire.write(said);
        wire.rest();
    }
    stage.upstream.gate.notify_one();
    assert_eq!(waiting.answer().status, 200, "an answer may take its time");
}
