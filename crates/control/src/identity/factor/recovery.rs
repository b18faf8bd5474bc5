//! Recovery codes: ten of 80 bits, each good once, kept as keyed hashes.

use rowhouse_domain::id::UserId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;

use super::queries;
use crate::Control;
use crate::identity::token;

const CODES: usize = 10;
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const PURPOSE: &str = "recovery_code";

/// New codes, in the place of those before; told once. `abcd-efgh-ijkm-npqr`.
pub async fn make_codes(
    control: &Control,
    transaction: &Transaction,
    user: UserId,
) -> Result<Vec<String>, Refusal> {
    let codes: Vec<String> = (0..CODES).map(|_| text(control.entropy().bytes())).collect();
    let digests: Vec<Vec<u8>> =
        codes.iter().map(|code| token::digest(control, PURPOSE, &normal(code))).collect();
    queries::put_codes(transaction, user, &digests, control.clock().now()).await?;
    Ok(codes)
}

/// Uses one up; how many are left.
///
/// # Errors
/// 401 `identity.code_wrong`.
pub async fn use_code(
    control: &Control,
    transaction: &Transaction,
    user: UserId,
    code: &str,
) -> Result<i64, Refusal> {
    let digest = token::digest(control, PURPOSE, &normal(code));
    if !queries::use_code(transaction, user, &digest).await? {
        return Err(Refusal::new(&kind::CODE_WRONG, "The code is wrong."));
    }
    Ok(queries::codes_left(transaction, user).await?)
}

fn text(bytes: [u8; 10]) -> String {
    let value = bytes.iter().fold(0u128, |value, byte| value << 8 | u128::from(*byte));
    let letters = (0..16).rev().map(|place| ALPHABET[(value >> (5 * place)) as usize & 31] as char);
    let letters: Vec<char> = letters.collect();
    letters.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// As it is hashed: without spaces and dashes, in lower case.
fn normal(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = text([0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(code.len(), 19);
        assert_eq!(normal(&code), normal(&code.to_uppercase().replace('-', " ")));
        assert_ne!(text([0; 10]), text([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
    }
}
