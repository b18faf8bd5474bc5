//! Bytes at the gateway: what names two tenants, has two readings or hides a second request. `{A}` and `{V}` are the codes of attacker
//! and victim, `{AID}` and `{VID}` their ids, `{KEY}` the attacker's key, `{VKEY}` the victim's, which the attacker has not: rows with it
//! are about who is believed, not about stealing.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Attack;
use super::siege::Siege;
use crate::platform::shared;

/// How an attack must end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// With this status and code, and nothing after it.
    Refused(u16, &'static str),
    /// As a request of the attacker's own: as many as this.
    Own(usize),
    /// Without any answer, or with 400.
    Malformed,
}
use End::{Malformed, Own, Refused};

const CONFLICT: End = Refused(400, "tenancy.conflicting_signals");
const AMBIGUOUS: End = Refused(400, "routes.malformed_request");
const INVALID: End = Refused(401, "keys.invalid");

#[rustfmt::skip]
const ATTACKS: &[(&str, &str, End)] = &[
    // signals that disagree
    ("the victim's subdomain, the attacker's key", "GET /v1/notes/1 HTTP/1.1\nHost: {V}.localhost\nX-Api-Key: {KEY}\n\n", INVALID),
    ("the victim's subdomain, as a bearer token", "GET /v1/notes/1 HTTP/1.1\nHost: {V}.localhost\nAuthorization: Bearer {KEY}\n\n", INVALID),
    ("own subdomain, the victim's code in the header", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Tenant-Code: {V}\nX-Api-Key: {KEY}\n\n", CONFLICT),
    ("own subdomain, the victim's id in the header", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Tenant-Id: {VID}\nX-Api-Key: {KEY}\n\n", CONFLICT),
    ("own subdomain, the victim in the path", "GET /t/{V}/v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\n\n", CONFLICT),
    ("the victim in the path only", "GET /t/{V}/v1/notes/1 HTTP/1.1\nHost: localhost\nX-Api-Key: {KEY}\n\n", INVALID),
    ("own path, the victim in the header", "GET /t/{A}/v1/notes/1 HTTP/1.1\nHost: localhost\nX-Tenant-Code: {V}\nX-Api-Key: {KEY}\n\n", CONFLICT),
    ("own id, the victim's code", "GET /v1/notes/1 HTTP/1.1\nHost: localhost\nX-Tenant-Id: {AID}\nX-Tenant-Code: {V}\nX-Api-Key: {KEY}\n\n", CONFLICT),
    ("the header twice, own first", "GET /v1/notes/1 HTTP/1.1\nHost: localhost\nX-Tenant-Code: {A}\nX-Tenant-Code: {V}\nX-Api-Key: {KEY}\n\n", CONFLICT),
    ("the header twice, the same", "GET /v1/notes/1 HTTP/1.1\nHost: localhost\nX-Tenant-Code: {A}\nX-Tenant-Code: {A}\nX-Api-Key: {KEY}\n\n", CONFLICT),
    ("both codes in one header", "GET /v1/notes/1 HTTP/1.1\nHost: localhost\nX-Tenant-Code: {A}, {V}\nX-Api-Key: {KEY}\n\n", INVALID),
    ("own code in capitals, the victim's host", "GET /v1/notes/1 HTTP/1.1\nHost: {V}.LOCALHOST.\nX-Tenant-Code: {A}\nX-Api-Key: {KEY}\n\n", CONFLICT),
    ("a nobody beside oneself", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Tenant-Code: nobody-at-all\nX-Api-Key: {KEY}\n\n", CONFLICT),
    ("a deeper label", "GET /v1/notes/1 HTTP/1.1\nHost: {V}.{A}.localhost\nX-Api-Key: {KEY}\n\n", INVALID),
    ("the victim by X-Forwarded-Host", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Forwarded-Host: {V}.localhost\nX-Api-Key: {KEY}\n\n", Own(1)),
    ("the victim by Forwarded", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nForwarded: host={V}.localhost\nX-Api-Key: {KEY}\n\n", Own(1)),
    ("the victim by X-Original-URL", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Original-URL: /t/{V}/v1/notes/1\nX-Rewrite-URL: /t/{V}/\nX-Api-Key: {KEY}\n\n", Own(1)),
    ("the victim in the query", "GET /v1/notes/1?tenant={V}&X-Tenant-Code={V} HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\n\n", Own(1)),
    ("the context of the gateway, forged", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nRowhouse-Tenant: {VID}\nRowhouse-Context: e30.e30.x\nX-Api-Key: {KEY}\n\n", Own(1)),
    ("own headers taken away by Connection", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nConnection: rowhouse-tenant, rowhouse-context, close\nX-Api-Key: {KEY}\n\n", Own(1)),
    // credentials
    ("two credentials, the second the victim's", "GET /v1/notes/1 HTTP/1.1\nHost: {V}.localhost\nX-Api-Key: {KEY}\nAuthorization: Bearer {VKEY}\n\n", Refused(401, "identity.ambiguous_credentials")),
    ("two keys in one header", "GET /v1/notes/1 HTTP/1.1\nHost: {V}.localhost\nX-Api-Key: {KEY}, {VKEY}\n\n", INVALID),
    ("the key twice", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nX-Api-Key: {KEY}\n\n", Refused(401, "identity.ambiguous_credentials")),
    ("the victim's key with one's own tenant", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {VKEY}\n\n", INVALID),
    // targets with two readings
    ("a target that names the victim", "GET http://{V}.localhost/v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("a target with a user", "GET http://{A}.localhost@{V}.localhost/v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("two hosts", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nHost: {V}.localhost\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("two hosts in one", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost, {V}.localhost\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("a host with a path", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost/{V}.localhost\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("a host folded over two lines", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\n {V}.localhost\nX-Api-Key: {KEY}\n\n", Malformed),
    ("a host before a space", "GET /v1/notes/1 HTTP/1.1\nHost : {V}.localhost\nHost: {A}.localhost\nX-Api-Key: {KEY}\n\n", Malformed),
    ("no host", "GET /v1/notes/1 HTTP/1.1\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("a tunnel", "CONNECT {V}.localhost:443 HTTP/1.1\nHost: {V}.localhost:443\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    // paths with two readings
    ("an encoded slash before the tenant", "GET /t%2f{V}/v1/notes/1 HTTP/1.1\nHost: localhost\nX-Tenant-Code: {A}\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("dots out of one's own tenant", "GET /t/{A}/../{V}/v1/notes/1 HTTP/1.1\nHost: localhost\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("encoded dots out of one's own tenant", "GET /t/{A}/%2e%2e/{V}/v1/notes/1 HTTP/1.1\nHost: localhost\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("a backslash", "GET /t\\{V}/v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\n\n", Malformed),
    ("an encoded backslash", "GET /t/{A}%5c..%5c{V}/v1/notes/1 HTTP/1.1\nHost: localhost\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("an encoded NUL", "GET /t/{A}%00{V}/v1/notes/1 HTTP/1.1\nHost: localhost\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("encoded twice", "GET /t/{A}/v1/notes/%252e%252e%252f1 HTTP/1.1\nHost: localhost\nX-Api-Key: {KEY}\n\n", Own(1)),
    // framing
    ("both framings, length first", "POST /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nContent-Length: 4\nTransfer-Encoding: chunked\n\n0\n\nGET /v1/notes/2 HTTP/1.1\nHost: {V}.localhost\nX-Api-Key: {KEY}\n\n", AMBIGUOUS),
    ("both framings, coding first", "POST /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nTransfer-Encoding: chunked\nContent-Length: 4\n\n0\n\nGET /v1/notes/2 HTTP/1.1\nHost: {V}.localhost\n\n", AMBIGUOUS),
    ("both framings in the second of a row", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\n\nPOST /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nTransfer-Encoding: chunked\nContent-Length: 4\n\n0\n\n", Own(1)),
    ("two lengths", "POST /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nContent-Length: 0\nContent-Length: 60\n\nGET /v1/notes/2 HTTP/1.1\nHost: {V}.localhost\nX-Api-Key: {KEY}\n\n", Malformed),
    ("a length with a sign", "POST /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nContent-Length: +0\n\nGET /v1/notes/2 HTTP/1.1\nHost: {V}.localhost\n\n", Malformed),
    ("a coding hidden by a tab", "POST /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nTransfer-Encoding:\tchunked\nContent-Length: 4\n\n0\n\nGET /v1/notes/2 HTTP/1.1\nHost: {V}.localhost\n\n", AMBIGUOUS),
    ("a coding that is none", "POST /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nTransfer-Encoding: xchunked\nContent-Length: 4\n\n0\n\nGET /v1/notes/2 HTTP/1.1\nHost: {V}.localhost\n\n", Malformed),
    ("a coding before a space", "POST /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nTransfer-Encoding : chunked\nContent-Length: 4\n\n0\n\nGET /v1/notes/2 HTTP/1.1\nHost: {V}.localhost\n\n", Malformed),
    ("a chunk size that overflows", "POST /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nTransfer-Encoding: chunked\n\nfffffffffffffffff\nGET /v1/notes/2 HTTP/1.1\nHost: {V}.localhost\n\n", Malformed),
    ("a chunk that is longer than it says", "POST /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nTransfer-Encoding: chunked\n\n1\nxGET /v1/notes/2 HTTP/1.1\nHost: {V}.localhost\nX-Api-Key: {KEY}\n\n", Malformed),
    ("a request in a body", "POST /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nContent-Length: 33\nConnection: close\n\nGET /v1/notes/2 HTTP/1.1\nHost: x\n\n", Own(1)),
    ("a header with a NUL", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Tenant-Code: {A}\0{V}\nX-Api-Key: {KEY}\n\n", Malformed),
    ("a method with a header in it", "GET\tX HTTP/1.1\nHost: {V}.localhost\nX-Api-Key: {KEY}\n\n", Malformed),
    ("the next protocol asked for", "GET /v1/notes/1 HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nConnection: Upgrade, HTTP2-Settings, close\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__\n\n", Own(1)),
];

pub fn attacks() -> Vec<Attack> {
    ATTACKS.iter().map(|(name, ..)| Attack { name, level: "shared" }).collect()
}

/// A request of the attacker's own, after which the gateway closes: what comes before it has been answered.
const LAST: &str =
    "GET /v1/notes/last HTTP/1.1\nHost: {A}.localhost\nX-Api-Key: {KEY}\nConnection: close\n\n";
/// After so long without a byte nothing more comes: the gateway waits for the rest of a body that ends nowhere.
const QUIET: Duration = Duration::from_secs(2);

/// All that comes back.
async fn exchange(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the gateway listens");
    // A gateway that has answered and closed takes no more.
    let _ = stream.write_all(bytes).await;
    let mut seen = Vec::new();
    while let Ok(Ok(1..)) = tokio::time::timeout(QUIET, stream.read_buf(&mut seen)).await {}
    String::from_utf8_lossy(&seen).into_owned()
}

/// The answers before the one to [`LAST`].
fn answers(seen: &str) -> Vec<&str> {
    seen.split("HTTP/1.1 ").skip(1).filter(|answer| !answer.contains("\"/v1/notes/last\"")).collect()
}

fn filled(siege: &Siege, template: &str) -> String {
    let template = template.replace('\n', "\r\n");
    let names = [
        ("{AID}", &siege.attacker.id),
        ("{VID}", &siege.victim.id),
        ("{A}", &siege.attacker.code),
        ("{V}", &siege.victim.code),
        ("{KEY}", &siege.attacker.key),
        ("{VKEY}", &siege.victim.key),
    ];
    names.into_iter().fold(template, |text, (name, value)| text.replace(name, value))
}

/// Why what came back is not how the attack must end.
fn got_through(siege: &Siege, seen: &str, end: End) -> Option<String> {
    // The service says for whom it was asked: never for the victim.
    let asked_for = |id: &str| format!("\"rowhouse-tenant\":\"{id}\"");
    if seen.contains(&asked_for(&siege.victim.id)) || seen.contains(&siege.canary) {
        return Some("the victim was seen".to_owned());
    }
    let answers = answers(seen);
    let served = answers.iter().filter(|answer| answer.contains(&asked_for(&siege.attacker.id))).count();
    let as_it_must = match end {
        Refused(status, code) => {
            let refused = answers.first().is_some_and(|first| first.starts_with(&status.to_string()));
            answers.len() == 1 && refused && answers[0].contains(code) && served == 0
        }
        Own(count) => served == count,
        Malformed => answers.len() <= 1 && answers.iter().all(|one| one.starts_with("400")) && served == 0,
    };
    (!as_it_must).then(|| format!("{} answers, {served} of the attacker's own, not {end:?}", answers.len()))
}

#[tokio::test]
async fn no_bytes_at_the_gateway_are_taken_for_another_tenants() {
    let siege = Siege::lay(shared().await, "wire", "basic", "shared").await;
    let before = siege.checksum().await;
    let port = siege.platform.gateway_port();
    let mut through = Vec::new();
    for (name, template, end) in ATTACKS {
        let bytes = filled(&siege, &format!("{template}{LAST}"));
        let seen = exchange(port, bytes.as_bytes()).await;
        if let Some(why) = got_through(&siege, &seen, *end) {
            through.push(format!("{name}: {why}: {seen}"));
        }
    }
    assert!(
        through.is_empty(),
        "{} attacks ended otherwise than they must:\n{}",
        through.len(),
        through.join("\n")
    );
    assert_eq!(siege.checksum().await, before, "something of the victim's was changed");
    siege.assert_served().await;
}
