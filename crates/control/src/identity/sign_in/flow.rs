//! A sign-in under way. Before its first proof it is nothing but a sealed text that its client holds, so that beginning many costs
//! nothing; after it, a row under that text's hash, for ten minutes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::identity::webauthn::CHALLENGE_LIFE_S;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};

use crate::Control;
use crate::identity::token;
use crate::tenancy::Seal;

const PURPOSE: &str = "identity/flow/v1";
/// How long a sign-in may take: 10 minutes.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
const NAME_MAX: usize = 320;

/// What a sign-in began with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Opened {
    /// The name as it was entered.
    pub name: String,
    /// The tenant that is to be entered, if one was named. It need not exist.
    pub tenant: Option<TenantId>,
    /// Until when.
    pub until: Timestamp,
}

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Started {
    /// What its client holds.
    pub flow: String,
    /// Until when.
    pub until: Timestamp,
}

/// Begins one, for a name (none, if a passkey is to tell) and perhaps a tenant by id or code. The same answer for everybody.
///
/// # Errors
/// 422 for a name that is too long.
pub fn start(control: &Control, name: &str, tenant: Option<&str>) -> Result<Started, Refusal> {
    if name.len() > NAME_MAX {
        let refusal = Refusal::new(&kind::INVALID, "The name is not well-formed.");
        return Err(refusal.field("/identifier", "malformed", "an e-mail address of at most 320 bytes"));
    }
    let directory = control.directory.current();
    let tenant = tenant.map(|named| {
        let by_id = || named.parse().ok().filter(|id| directory.tenants.get(id).is_some());
        // One that does not exist is one that nobody belongs to.
        directory
            .tenant_by_code(named)
            .map(|tenant| tenant.id)
            .or_else(by_id)
            .unwrap_or(TenantId::from_u128(0))
    });
    let until = control.clock().now() + LIFE;
    let opened = Opened { name: name.to_owned(), tenant, until };
    let plain = serde_json::to_vec(&opened).expect("text fields");
    let sealed = Seal::new(&control.settings.sealing_key, PURPOSE).seal(control.entropy(), &[], &plain);
    Ok(Started { flow: URL_SAFE_NO_PAD.encode(sealed), until })
}

/// What it began with.
///
/// # Errors
/// 410 `identity.flow_over`.
pub fn open(control: &Control, flow: &str) -> Result<Opened, Refusal> {
    let sealed = URL_SAFE_NO_PAD.decode(flow).map_err(|_| over())?;
    let plain = Seal::new(&control.settings.sealing_key, PURPOSE).open(&[], &sealed).map_err(|_| over())?;
    let opened: Opened = serde_json::from_slice(&plain).map_err(|_| over())?;
    if opened.until <= control.clock().now() { Err(over()) } else { Ok(opened) }
}

/// The challenge that a passkey answers to begin it: nothing is stored for it, and who does not have the sign-in's text does not know it.
/// None once it is older than challenges may be.
pub fn challenge(control: &Control, flow: &str, opened: &Opened) -> Option<Vec<u8>> {
    let until = opened.until - LIFE + SignedDuration::from_secs(CHALLENGE_LIFE_S);
    (control.clock().now() < until).then(|| token::digest(control, "flow/passkey", flow))
}

/// The hash that its row is found by.
pub fn digest(control: &Control, flow: &str) -> Vec<u8> {
    token::digest(control, "flow", flow)
}

pub fn over() -> Refusal {
    Refusal::new(&kind::FLOW_OVER, "This sign-in is over, or never was.")
}
