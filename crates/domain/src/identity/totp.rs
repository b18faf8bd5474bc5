//! Codes of authenticator programs (TOTP, RFC 6238): 160-bit secret, HMAC-SHA-1, 30 seconds, 6 digits. SHA-1 is what these
//! programs speak; HMAC-SHA-1 is not broken by collisions of SHA-1 (RFC 6194 §3.3).

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// Length of a step, in seconds.
pub const TOTP_STEP_S: i64 = 30;
const DIGITS: u32 = 1_000_000;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What program and we share.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret([u8; 20]);

impl TotpSecret {
    /// From 20 random bytes.
    pub fn new(bytes: [u8; 20]) -> Self {
        TotpSecret(bytes)
    }

    /// For sealing.
    pub fn bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// As people type it: base 32 (RFC 4648 §6), 32 characters.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(32);
        for chunk in self.0.chunks(5) {
            let value = chunk.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            text.extend((0..8).rev().map(|place| BASE32[(value >> (5 * place)) as usize & 31] as char));
        }
        text
    }

    /// As programs read it from a picture.
    pub fn uri(&self, issuer: &str, account: &str) -> String {
        let escape = |text: &str| -> String {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~@".contains(&b);
            text.bytes()
                .map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") })
                .collect()
        };
        let (issuer, account) = (escape(issuer), escape(account));
        format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period=30",
            self.text()
        )
    }

    /// The code of a step.
    pub fn code(&self, step: i64) -> u32 {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(&step.to_be_bytes());
        let digest = mac.finalize().into_bytes();
        let at = usize::from(digest[19] & 15);
        let word = u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
        (word & 0x7fff_ffff) % DIGITS
    }
}

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("TotpSecret")
    }
}

/// The newest step within `around` steps of now that `code` (spaces are passed over) is right for and that is after
/// `last_step`, the newest one used. Every step is looked at, whatever matches.
pub fn totp_match(secret: &TotpSecret, code: &str, now_s: i64, around: i64, last_step: i64) -> Option<i64> {
    let digits: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let given: u32 = digits.parse().ok()?;
    let now = now_s.div_euclid(TOTP_STEP_S);
    let mut found = None;
    for step in now - around..=now + around {
        let is_right = bool::from(secret.code(step).ct_eq(&given));
        if is_right && step > last_step {
            found = Some(step);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc() -> TotpSecret {
        TotpSecret::new(*b"12345678901234567890")
    }

    #[test]
    fn rfc_6238_appendix_b() {
        for (time, code) in [
            (59, 94_287_082u32),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ] {
            assert_eq!(rfc().code(time / TOTP_STEP_S), code % DIGITS, "{time}");
        }
        assert_eq!(rfc().text(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let uri = rfc().uri("Row house", "ana@acme.example");
        assert!(uri.starts_with("otpauth://totp/Row%20house:ana@acme.example?secret=GEZD"), "{uri}");
    }

    /// The same with a counter instead of the time.
    #[test]
    fn rfc_4226_appendix_d() {
        let codes =
            [755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871, 520_489];
        for (count, code) in codes.into_iter().enumerate() {
            assert_eq!(rfc().code(count as i64), code, "{count}");
        }
    }

    #[test]
    fn a_step_is_right_once_and_only_near_now() {
        let (secret, now) = (rfc(), 1_234_567_890);
        let step = now / TOTP_STEP_S;
        let code = format!("{:06}", secret.code(step));
        assert_eq!(totp_match(&secret, &code, now, 1, 0), Some(step));
        assert_eq!(totp_match(&secret, &format!(" {} {} ", &code[..3], &code[3..]), now, 1, 0), Some(step));
        assert_eq!(totp_match(&secret, &code, now, 1, step), None, "used");
        assert_eq!(totp_match(&secret, &code, now + 30, 1, 0), Some(step));
        assert_eq!(totp_match(&secret, &code, now + 60, 1, 0), None);
        assert_eq!(totp_match(&secret, &code, now + 30, 0, 0), None);
        for bad in ["", "12345", "1234567", "12345a", "-12345", "+12345", "１２３４５６"] {
            assert_eq!(totp_match(&secret, bad, now, 1, 0), None, "{bad}");
        }
    }
}
