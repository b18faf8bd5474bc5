//! Secrets by which machines ask for tokens: `rhs_`, 32 random bytes and their CRC-32 (IEEE) in hexadecimal, so that scanners of
//! leaked text know one when they see it, and a mistyped one costs no look-up.

const PREFIX: &str = "rhs_";
const BYTES: usize = 32;

/// The text of a secret.
pub fn client_secret(random: [u8; BYTES]) -> String {
    let body: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let sum = crc32fast::hash(body.as_bytes());
    format!("{PREFIX}{body}{sum:08x}")
}

/// Whether `text` can be a secret.
pub fn is_client_secret(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    let Some((body, sum)) = rest.split_at_checked(2 * BYTES) else { return false };
    let lower = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    lower(rest) && sum == format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_and_what_differs_in_one_letter_is_not() {
        let text = client_secret([0xab; 32]);
        assert!(text.starts_with("rhs_abab") && text.len() == 76 && is_client_secret(&text));
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert!(!is_client_secret(std::str::from_utf8(&other).expect("ASCII")), "{at}");
        }
        for bad in ["", "rhs_", &text[..75], &text.to_uppercase(), &format!("{text}0")] {
            assert!(!is_client_secret(bad), "{bad}");
        }
    }
}
