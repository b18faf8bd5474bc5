//! Random tokens that are handed out once and kept as keyed hashes: 256 bits, found by their hash, so that nothing is
//! compared that would take longer the closer a guess is.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Control;

/// A new token as it is handed out, and its hash for the database. `purpose` keeps kinds apart.
pub fn make(control: &Control, purpose: &str) -> (String, Vec<u8>) {
    let text: String = control.entropy().bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = digest(control, purpose, &text);
    (text, digest)
}

/// The hash of what is presented.
pub fn digest(control: &Control, purpose: &str, text: &str) -> Vec<u8> {
    keyed(control, &format!("identity/{purpose}/v1"), text)
}

fn keyed(control: &Control, purpose: &str, text: &str) -> Vec<u8> {
    let mac = |key: &[u8], text: &[u8]| {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(text);
        mac.finalize().into_bytes()
    };
    let key = mac(&control.settings.sealing_key, purpose.as_bytes());
    mac(&key, text.as_bytes()).to_vec()
}
