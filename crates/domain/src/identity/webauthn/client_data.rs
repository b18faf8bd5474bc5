//! What the browser says about a ceremony (§5.8.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::{RelyingParty, WebauthnFault};

const BYTES_MAX: usize = 8_192;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
    #[serde(default)]
    top_origin: Option<String>,
}

/// Steps 5 to 11 of §7.1 and 8 to 14 of §7.2: ceremony, challenge, origin, frames.
pub fn check(
    json: &[u8],
    ceremony: &str,
    challenge: &[u8],
    relying_party: &RelyingParty,
) -> Result<(), WebauthnFault> {
    if json.len() > BYTES_MAX {
        return Err(WebauthnFault::Malformed);
    }
    // A member that stands twice is refused by the parser.
    let said: ClientData = serde_json::from_slice(json).map_err(|_| WebauthnFault::Malformed)?;
    if said.r#type != ceremony {
        return Err(WebauthnFault::WrongCeremony);
    }
    let answered = URL_SAFE_NO_PAD.decode(&said.challenge).map_err(|_| WebauthnFault::WrongChallenge)?;
    if !bool::from(answered.ct_eq(challenge)) {
        return Err(WebauthnFault::WrongChallenge);
    }
    if said.origin != relying_party.origin {
        return Err(WebauthnFault::WrongOrigin);
    }
    if said.cross_origin || said.top_origin.is_some() {
        return Err(WebauthnFault::CrossOrigin);
    }
    Ok(())
}
