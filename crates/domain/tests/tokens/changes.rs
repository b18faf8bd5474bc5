//! What may be wrong with a token, one thing a line. Names stand in `stricter.txt`.

use crate::draft::{Draft, STRANGERS_KEY};
use crate::signers::With;

/// A name and what it does.
pub type Change = (&'static str, fn(&mut Draft));

/// The order of the base point of Ed25519, least significant byte first (RFC 8032 §5.1).
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
/// The order of P-256, most significant byte first (FIPS 186-4 D.1.2.3).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The second half plus the order of the curve: the same number in another writing.
fn beyond_the_order(mut signature: Vec<u8>) -> Vec<u8> {
    let mut carry = 0;
    for (byte, more) in signature.iter_mut().skip(32).zip(ED25519_ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    signature
}

/// The order less the second half: another signature of the same, which ECDSA takes as well.
fn the_other_root(mut signature: Vec<u8>) -> Vec<u8> {
    let mut borrow = 0;
    for at in (32..signature.len().min(64)).rev() {
        let left = i16::from(P256_ORDER[at - 32]) - i16::from(signature[at]) - borrow;
        borrow = i16::from(left < 0);
        signature[at] = left.rem_euclid(256) as u8;
    }
    signature
}

/// The last character carries bits that mean nothing: another one of the same meaning.
fn loose_end(mut part: String) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if part.len() % 4 > 1
        && let Some(last) = part.pop()
    {
        let at = ALPHABET.iter().position(|own| char::from(*own) == last).unwrap_or(0);
        part.push(char::from(ALPHABET[at ^ 1]));
    }
    part
}

fn other_alphabet(part: String) -> String {
    part.replace('-', "+").replace('_', "/")
}

fn padded(part: String) -> String {
    let missing = (4 - part.len() % 4) % 4;
    part + &"=".repeat(missing)
}

fn in_front(bytes: &'static [u8], raw: Vec<u8>) -> Vec<u8> {
    [bytes, &raw].concat()
}

fn without_last(mut raw: Vec<u8>) -> Vec<u8> {
    raw.pop();
    raw
}

fn in_the_middle(part: &str, text: &str) -> String {
    let (before, after) = part.split_at(part.len() / 2);
    format!("{before}{text}{after}")
}

fn behind(mut raw: Vec<u8>, bytes: &[u8]) -> Vec<u8> {
    raw.extend_from_slice(bytes);
    raw
}

fn parts(token: &str) -> Vec<&str> {
    token.split('.').collect()
}

fn in_16_bits(raw: Vec<u8>) -> Vec<u8> {
    String::from_utf8_lossy(&raw).encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// All of them.
pub const CHANGES: &[Change] = &[
    // How it is signed, by its own word.
    ("alg none", |d| {
        d.head("alg", r#""none""#);
        d.with = With::Bytes(b"")
    }),
    ("alg none with a signature", |d| d.head("alg", r#""none""#)),
    ("alg NONE", |d| {
        d.head("alg", r#""NONE""#);
        d.with = With::Bytes(b"")
    }),
    ("alg empty", |d| d.head("alg", r#""""#)),
    ("alg HS256", |d| d.head("alg", r#""HS256""#)),
    ("alg HS256 with the modulus", |d| {
        d.head("alg", r#""HS256""#);
        d.with = With::MacOf("modulus")
    }),
    ("alg HS256 with the point", |d| {
        d.head("alg", r#""HS256""#);
        d.with = With::MacOf("point")
    }),
    ("alg HS256 with the key", |d| {
        d.head("alg", r#""HS256""#);
        d.with = With::MacOf("ed25519")
    }),
    ("alg HS256 with the key's digest", |d| {
        d.head("alg", r#""HS256""#);
        d.with = With::MacOf("its digest")
    }),
    ("alg HS256 with the JWK", |d| {
        d.head("alg", r#""HS256""#);
        d.with = With::MacOf("jwk")
    }),
    ("a MAC under the right alg", |d| d.with = With::MacOf("ed25519")),
    ("alg RS256", |d| d.head("alg", r#""RS256""#)),
    ("alg RS256, signed so", |d| {
        d.head("alg", r#""RS256""#);
        d.with = With::Algorithm("RS256")
    }),
    ("alg RS384, signed so", |d| {
        d.head("alg", r#""RS384""#);
        d.with = With::Algorithm("RS384")
    }),
    ("alg PS256", |d| d.head("alg", r#""PS256""#)),
    ("alg PS256, signed so", |d| {
        d.head("alg", r#""PS256""#);
        d.with = With::Algorithm("PS256")
    }),
    ("alg ES256", |d| d.head("alg", r#""ES256""#)),
    ("alg ES256, signed so", |d| {
        d.head("alg", r#""ES256""#);
        d.with = With::Algorithm("ES256")
    }),
    ("alg EdDSA", |d| d.head("alg", r#""EdDSA""#)),
    ("alg EdDSA, signed so", |d| {
        d.head("alg", r#""EdDSA""#);
        d.with = With::Algorithm("EdDSA")
    }),
    ("alg Ed25519", |d| d.head("alg", r#""Ed25519""#)),
    ("alg in lower case", |d| d.head("alg", r#""eddsa""#)),
    ("alg a list", |d| d.head("alg", r#"["EdDSA"]"#)),
    ("alg a number", |d| d.head("alg", "1")),
    ("alg null", |d| d.head("alg", "null")),
    ("alg missing", |d| d.without("alg")),
    ("alg twice, none first", |d| d.twice("alg", r#""none""#, true)),
    ("alg twice, none last", |d| d.twice("alg", r#""none""#, false)),
    ("signed as RS256", |d| d.with = With::Algorithm("RS256")),
    ("signed as PS256", |d| d.with = With::Algorithm("PS256")),
    ("signed as ES256", |d| d.with = With::Algorithm("ES256")),
    ("signed as ES256 in DER", |d| d.with = With::Algorithm("ES256 in DER")),
    ("signed as EdDSA", |d| d.with = With::Algorithm("EdDSA")),
    ("signed by a stranger", |d| d.with = With::Stranger),
    ("signed by a stranger's P-256", |d| d.with = With::Algorithm("ES256 of strangers")),
    // With which key, by its own word.
    ("kid RS256", |d| d.head("kid", r#""RS256""#)),
    ("kid PS256", |d| d.head("kid", r#""PS256""#)),
    ("kid ES256", |d| d.head("kid", r#""ES256""#)),
    ("kid EdDSA", |d| d.head("kid", r#""EdDSA""#)),
    ("kid unknown", |d| d.head("kid", r#""x""#)),
    ("kid a path", |d| d.head("kid", r#""../../dev/null""#)),
    ("kid empty", |d| d.head("kid", r#""""#)),
    ("kid null", |d| d.head("kid", "null")),
    ("kid a number", |d| d.head("kid", "0")),
    ("kid missing", |d| d.without("kid")),
    ("kid twice, another first", |d| d.twice("kid", r#""x""#, true)),
    ("kid twice, another last", |d| d.twice("kid", r#""x""#, false)),
    ("jwk of a stranger", |d| {
        d.head("jwk", STRANGERS_KEY);
        d.with = With::Stranger
    }),
    ("jwk", |d| d.head("jwk", STRANGERS_KEY)),
    ("jku", |d| d.head("jku", r#""https://evil.example/keys""#)),
    ("jku of a stranger", |d| {
        d.head("jku", r#""https://evil.example""#);
        d.with = With::Stranger
    }),
    ("x5u", |d| d.head("x5u", r#""https://evil.example/c""#)),
    ("x5c", |d| d.head("x5c", r#"["AAAA"]"#)),
    ("x5t", |d| d.head("x5t", r#""AAAA""#)),
    // What else the header says.
    ("typ in capitals", |d| d.head("typ", r#""JWT""#)),
    ("typ in small letters", |d| d.head("typ", r#""jwt""#)),
    ("typ at+jwt", |d| d.head("typ", r#""at+jwt""#)),
    ("typ application/at+jwt", |d| d.head("typ", r#""application/at+jwt""#)),
    ("typ logout+jwt", |d| d.head("typ", r#""logout+jwt""#)),
    ("typ dpop+jwt", |d| d.head("typ", r#""dpop+jwt""#)),
    ("typ a number", |d| d.head("typ", "1")),
    ("typ null", |d| d.head("typ", "null")),
    ("typ missing", |d| d.without("typ")),
    ("crit unknown", |d| {
        d.head("crit", r#"["x"]"#);
        d.head("x", "1")
    }),
    ("crit exp", |d| d.head("crit", r#"["exp"]"#)),
    ("crit empty", |d| d.head("crit", "[]")),
    ("crit text", |d| d.head("crit", r#""x""#)),
    ("crit null", |d| d.head("crit", "null")),
    ("b64 false", |d| d.head("b64", "false")),
    ("b64 true", |d| d.head("b64", "true")),
    ("b64 false, critical", |d| {
        d.head("b64", "false");
        d.head("crit", r#"["b64"]"#)
    }),
    ("b64 true, critical", |d| {
        d.head("b64", "true");
        d.head("crit", r#"["b64"]"#)
    }),
    ("zip", |d| d.head("zip", r#""DEF""#)),
    ("enc", |d| d.head("enc", r#""A128GCM""#)),
    ("cty", |d| d.head("cty", r#""JWT""#)),
    ("a header nobody knows", |d| d.head("x", r#"{"a":[1]}"#)),
    // Times.
    ("exp a fraction that is none", |d| d.claim("exp", "1795255800.0")),
    ("exp a fraction", |d| d.claim("exp", "1795255800.5")),
    ("exp with an exponent", |d| d.claim("exp", "1.7952558e9")),
    ("exp text", |d| d.claim("exp", r#""1795255800""#)),
    ("exp text in words", |d| d.claim("exp", r#""tomorrow""#)),
    ("exp null", |d| d.claim("exp", "null")),
    ("exp true", |d| d.claim("exp", "true")),
    ("exp a list", |d| d.claim("exp", "[1795255800]")),
    ("exp missing", |d| d.without("exp")),
    ("exp huge", |d| d.claim("exp", "99999999999999999999999")),
    ("exp beyond floats", |d| d.claim("exp", "1e400")),
    ("exp infinite", |d| d.claim("exp", "Infinity")),
    ("exp NaN", |d| d.claim("exp", "NaN")),
    ("exp the last instant", |d| d.claim("exp", "9223372036854775807")),
    ("exp beyond 64 bits", |d| d.claim("exp", "9223372036854775808")),
    ("exp negative", |d| d.claim("exp", "-1")),
    ("exp less than nothing", |d| d.claim("exp", "-9223372036854775808")),
    ("exp minus zero", |d| d.claim("exp", "-0")),
    ("exp with a zero in front", |d| d.claim("exp", "01795255800")),
    ("exp with a plus", |d| d.claim("exp", "+1795255800")),
    ("exp in hexadecimal", |d| d.claim("exp", "0x6B0177F8")),
    ("exp twice, over first", |d| d.twice("exp", "1", true)),
    ("exp twice, over last", |d| d.twice("exp", "1", false)),
    ("exp a day and more ahead", |d| d.time("exp", 86_401)),
    ("exp an hour and more ahead", |d| d.time("exp", 3_601)),
    ("expired within the leeway", |d| {
        d.time("iat", -100);
        d.time("nbf", -100);
        d.time("exp", -29)
    }),
    ("expired at the leeway", |d| {
        d.time("iat", -100);
        d.time("nbf", -100);
        d.time("exp", -30)
    }),
    ("expired beyond the leeway", |d| {
        d.time("iat", -100);
        d.time("nbf", -100);
        d.time("exp", -31)
    }),
    ("expired before it was issued", |d| d.time("exp", -10)),
    ("iat within the leeway", |d| d.time("iat", 30)),
    ("iat beyond the leeway", |d| d.time("iat", 31)),
    ("iat a fraction", |d| d.claim("iat", "1795255200.5")),
    ("iat text", |d| d.claim("iat", r#""1795255200""#)),
    ("iat null", |d| d.claim("iat", "null")),
    ("iat missing", |d| d.without("iat")),
    ("iat negative", |d| d.claim("iat", "-5")),
    ("iat huge", |d| d.claim("iat", "99999999999999999999999")),
    ("nbf within the leeway", |d| d.time("nbf", 30)),
    ("nbf beyond the leeway", |d| d.time("nbf", 31)),
    ("nbf a fraction", |d| d.claim("nbf", "1795255200.5")),
    ("nbf text", |d| d.claim("nbf", r#""0""#)),
    ("nbf null", |d| d.claim("nbf", "null")),
    ("nbf missing", |d| d.without("nbf")),
    ("nbf huge", |d| d.claim("nbf", "1e300")),
    // Whose and for whom.
    ("iss with a slash", |d| d.claim("iss", r#""https://login.acme.example/""#)),
    ("iss in capitals", |d| d.claim("iss", r#""HTTPS://LOGIN.ACME.EXAMPLE""#)),
    ("iss of somebody else", |d| d.claim("iss", r#""https://evil.example""#)),
    ("iss with more behind a NUL", |d| d.claim("iss", r#""https://login.acme.example\u0000""#)),
    ("iss written with escapes", |d| d.claim("iss", r#""https:\/\/login.acme.\u0065xample""#)),
    ("iss a list", |d| d.claim("iss", r#"["https://login.acme.example"]"#)),
    ("iss null", |d| d.claim("iss", "null")),
    ("iss missing", |d| d.without("iss")),
    ("iss twice, another first", |d| d.twice("iss", r#""https://evil.example""#, true)),
    ("iss twice, another last", |d| d.twice("iss", r#""https://evil.example""#, false)),
    ("aud of somebody else", |d| d.claim("aud", r#""urn:x""#)),
    ("aud a beginning", |d| d.claim("aud", r#""urn:acme""#)),
    ("aud with a space", |d| d.claim("aud", r#""urn:acme:stamps ""#)),
    ("aud in capitals", |d| d.claim("aud", r#""URN:ACME:STAMPS""#)),
    ("aud a list with it", |d| d.claim("aud", r#"["urn:x","urn:acme:stamps"]"#)),
    ("aud a list without it", |d| d.claim("aud", r#"["urn:x"]"#)),
    ("aud an empty list", |d| d.claim("aud", "[]")),
    ("aud a list in a list", |d| d.claim("aud", r#"[["urn:acme:stamps"]]"#)),
    ("aud a list with a number", |d| d.claim("aud", r#"["urn:acme:stamps",1]"#)),
    ("aud an object", |d| d.claim("aud", r#"{"urn:acme:stamps":1}"#)),
    ("aud a number", |d| d.claim("aud", "1")),
    ("aud null", |d| d.claim("aud", "null")),
    ("aud empty", |d| d.claim("aud", r#""""#)),
    ("aud missing", |d| d.without("aud")),
    ("aud twice, another last", |d| d.twice("aud", r#""urn:x""#, false)),
    ("aud all of ours as text", |d| d.claim("aud", r#""urn:rowhouse:gateway""#)),
    ("sub missing", |d| d.without("sub")),
    ("sub empty", |d| d.claim("sub", r#""""#)),
    ("sub null", |d| d.claim("sub", "null")),
    ("sub a number", |d| d.claim("sub", "1")),
    ("sub a list", |d| d.claim("sub", r#"["repo:acme/app"]"#)),
    ("sub twice", |d| d.twice("sub", r#""admin""#, false)),
    ("jti a number", |d| d.claim("jti", "1")),
    ("jti null", |d| d.claim("jti", "null")),
    ("jti missing", |d| d.without("jti")),
    // What else it says.
    ("a claim nobody knows", |d| d.claim("x", r#"{"a":[1,null,true]}"#)),
    ("a claim in a claim twice", |d| d.claim("x", r#"{"a":1,"a":2}"#)),
    ("a claim twice by an escape", |d| {
        d.claim("x", "1");
        d.twice("\u{78}", "2", false)
    }),
    ("a claim nine levels deep", |d| d.claim("x", "[[[[[[[[[1]]]]]]]]]")),
    ("a claim a hundred levels deep", |d| d.claim("x", &("[".repeat(100) + &"]".repeat(100)))),
    ("a claim ten thousand levels deep", |d| d.claim("x", &"[".repeat(3_000))),
    ("a claim that is NaN", |d| d.claim("x", "NaN")),
    ("a claim that is infinite", |d| d.claim("x", "-Infinity")),
    ("a claim beyond floats", |d| d.claim("x", "1e400")),
    ("a claim of a hundred digits", |d| d.claim("x", &"9".repeat(100))),
    ("a claim of half a character", |d| d.claim("x", r#""\ud800""#)),
    ("a claim with a control character", |d| d.claim("x", "\"\u{1}\"")),
    ("a claim in single quotes", |d| d.claim("x", "'a'")),
    ("a claim with an unknown escape", |d| d.claim("x", r#""\x41""#)),
    ("a comma too many", |d| d.claims_bytes.push(|raw| behind(without_last(raw), b",}"))),
    ("a comment", |d| d.claims_bytes.push(|raw| behind(raw, b"/* */"))),
    ("another object behind", |d| d.claims_bytes.push(|raw| behind(raw, b"{}"))),
    ("NUL behind", |d| d.claims_bytes.push(|raw| behind(raw, b"\0"))),
    ("space around the claims", |d| d.claims_bytes.push(|raw| behind(in_front(b" \n\t", raw), b"\r\n "))),
    ("space around the header", |d| d.header_bytes.push(|raw| behind(in_front(b" \n\t", raw), b"\r\n "))),
    ("another space", |d| d.claims_bytes.push(|raw| in_front("\u{a0}".as_bytes(), raw))),
    ("a byte order mark", |d| d.claims_bytes.push(|raw| in_front(b"\xef\xbb\xbf", raw))),
    ("a byte order mark in the header", |d| d.header_bytes.push(|raw| in_front(b"\xef\xbb\xbf", raw))),
    ("claims in 16 bits", |d| d.claims_bytes.push(in_16_bits)),
    ("header in 16 bits", |d| d.header_bytes.push(in_16_bits)),
    ("no text", |d| d.claims_bytes.push(|raw| behind(without_last(raw), b",\"x\":\"\xff\"}"))),
    ("claims a list", |d| d.claims_bytes.push(|raw| behind(in_front(b"[", raw), b"]"))),
    ("claims text", |d| d.claims_bytes.push(|_| b"\"x\"".to_vec())),
    ("claims null", |d| d.claims_bytes.push(|_| b"null".to_vec())),
    ("claims nothing", |d| d.claims_bytes.push(|_| vec![])),
    ("header a list", |d| d.header_bytes.push(|raw| behind(in_front(b"[", raw), b"]"))),
    // As it is written.
    ("padding behind the header", |d| d.header_part.push(padded)),
    ("padding behind the claims", |d| d.claims_part.push(padded)),
    ("padding behind the signature", |d| d.signature_part.push(padded)),
    ("the other alphabet in the header", |d| d.header_part.push(other_alphabet)),
    ("the other alphabet in the claims", |d| d.claims_part.push(other_alphabet)),
    ("the other alphabet in the signature", |d| d.signature_part.push(other_alphabet)),
    ("a loose end of the header", |d| d.header_part.push(loose_end)),
    ("a loose end of the claims", |d| d.claims_part.push(loose_end)),
    ("a loose end of the signature", |d| d.signature_part.push(loose_end)),
    ("a line end in the claims", |d| d.claims_part.push(|part| in_the_middle(&part, "\n"))),
    ("a line end in the signature", |d| d.signature_part.push(|part| in_the_middle(&part, "\n"))),
    ("a star in the claims", |d| d.claims_part.push(|part| in_the_middle(&part, "*"))),
    ("a star in the signature", |d| d.signature_part.push(|part| part + "*")),
    ("no signature", |d| d.signature_part.push(|_| String::new())),
    ("half a signature", |d| d.signature_bytes.push(|raw| raw[..raw.len() / 2].to_vec())),
    ("a signature and more", |d| d.signature_bytes.push(|raw| behind(raw, b"\0"))),
    ("a signature with NUL in front", |d| d.signature_bytes.push(|raw| in_front(b"\0", raw))),
    ("a signature of zeros", |d| d.signature_bytes.push(|raw| vec![0; raw.len()])),
    ("a signature of ones", |d| d.signature_bytes.push(|raw| vec![0xff; raw.len()])),
    ("a signature beyond the order", |d| d.signature_bytes.push(beyond_the_order)),
    ("the other root", |d| d.signature_bytes.push(the_other_root)),
    ("a point of small order", |d| {
        d.signature_bytes.push(|raw| {
            let mut point = vec![0; raw.len()];
            point.iter_mut().take(1).for_each(|byte| *byte = 1);
            point
        })
    }),
    ("the first two parts", |d| d.whole.push(|token| parts(&token)[..2.min(parts(&token).len())].join("."))),
    ("a dot behind", |d| d.whole.push(|token| token + ".")),
    ("a part behind", |d| d.whole.push(|token| token + ".AAAA")),
    ("five parts", |d| d.whole.push(|token| token + ".AAAA.AAAA")),
    ("space in front", |d| d.whole.push(|token| format!(" {token}"))),
    ("a line end behind", |d| d.whole.push(|token| token + "\n")),
    ("NUL behind it all", |d| d.whole.push(|token| token + "\0")),
    ("in per cent", |d| d.whole.push(|token| token.replace('.', "%2E"))),
    ("with its scheme", |d| d.whole.push(|token| format!("Bearer {token}"))),
    ("the parts swapped", |d| {
        d.whole.push(|token| {
            let mut all = parts(&token);
            let last = all.len() - 1;
            all.swap(0, last.min(1));
            all.join(".")
        })
    }),
    ("as JSON", |d| {
        d.whole.push(|token| match parts(&token)[..] {
            [header, claims, signature] => {
                format!(r#"{{"protected":"{header}","payload":"{claims}","signature":"{signature}"}}"#)
            }
            _ => token,
        })
    }),
    ("too long", |d| d.claim("x", &format!("\"{}\"", "x".repeat(8_200)))),
];
