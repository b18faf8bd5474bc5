//! Programs without a browser of their own (RFC 8628): they show a short code, a person types it on our page in any browser, sees what
//! asks and from where, and says yes or no. The program asks meanwhile how it stands.
//!
//! What is dangerous here is a code that somebody else sends: whoever types it lets *them* in. So the page shows where the program runs, says
//! so in words, asks for a session whose proof is fresh, and a code lives ten minutes.

mod api;
mod decide;
mod exchange;
mod queries;

pub use api::routes;
pub use decide::{decide, look};
pub use exchange::{Polled, poll};

use jiff::SignedDuration;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::ApplicationId;
use rowhouse_domain::refusal::{Refusal, kind};

use self::queries::RequestRow;
use super::application;
use super::sign_in::{Source, Window, spend};
use super::token;
use crate::Control;

/// The client id of the product's own command line.
pub const OWN_CLIENT: &str = "rowhouse-cli";
/// How long a code lives.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// Seconds between two questions; five more for each that comes too soon (§3.5).
const INTERVAL_S: i32 = 5;
/// Letters of the code that people type: no vowels, so that it is no word, and nothing that looks like another (§6.1). Eight of
/// them are 34 bits.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;
/// Requests of one source.
const STARTS: Window =
    Window { most: 20, within: SignedDuration::from_mins(10), apart: SignedDuration::ZERO };

/// A request that has begun.
#[derive(Debug)]
pub struct Begun {
    pub device_code: String,
    pub user_code: String,
    pub expires_in: i64,
    pub interval: i32,
}

/// Begins one, for a client that is known; `None` for one that is not.
///
/// # Errors
/// 429 `identity.too_many_attempts` by source.
pub async fn start(control: &Control, client_id: &str, source: &Source) -> Result<Option<Begun>, Refusal> {
    let (device_code, digest) = token::make(control, "device_code");
    // Each is a name of its own: so many from a network of version six, too.
    control.sign_in_sources.admit(source, &device_code, control.clock().now_us())?;
    let transaction =
        control.store.write(&Permit::for_system(None, "a program that asks for a person")).await?;
    let application = match client(&transaction, client_id).await? {
        Some(application) => application,
        None => return Ok(None),
    };
    let now = control.clock().now();
    let key = token::digest(control, "throttle/device_start", &source.ip());
    if let Err(seconds) = spend(&transaction, &key, STARTS, now).await? {
        let refusal = Refusal::new(&kind::TOO_MANY_ATTEMPTS, "Too many programs ask from this address.");
        return Err(refusal.retry_after(u32::try_from(seconds).unwrap_or(600)));
    }
    let user_code = letters(control);
    let row = RequestRow {
        digest,
        user_code: user_digest(control, &user_code),
        application,
        ip: source.ip(),
        agent: source.agent.clone(),
        created_at: now,
        expires_at: now + LIFE,
    };
    queries::put(&transaction, &row, INTERVAL_S).await?;
    transaction.commit_telemetry().await?;
    let shown = format!("{}-{}", &user_code[..4], &user_code[4..]);
    Ok(Some(Begun { device_code, user_code: shown, expires_in: LIFE.as_secs(), interval: INTERVAL_S }))
}

/// The application of a client id: inside, none for our own command line.
async fn client(
    transaction: &rowhouse_store::Transaction,
    client_id: &str,
) -> Result<Option<Option<ApplicationId>>, Refusal> {
    if client_id == OWN_CLIENT {
        return Ok(Some(None));
    }
    let Ok(id) = client_id.parse::<ApplicationId>() else { return Ok(None) };
    // One that can keep a secret has a page to come back to.
    let found = application::one(transaction, id).await?.filter(|own| own.secret.is_none());
    Ok(found.map(|own| Some(own.id)))
}

fn letters(control: &Control) -> String {
    let mut code = String::new();
    while code.len() < LENGTH {
        let [drawn] = control.entropy().bytes::<1>();
        // The largest multiple of 20 below 256: each letter is as likely as the other.
        if drawn < 240 {
            code.push(char::from(LETTERS[usize::from(drawn % 20)]));
        }
    }
    code
}

/// The hash of a code however it is typed.
fn user_digest(control: &Control, typed: &str) -> Vec<u8> {
    let plain: String = typed.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    token::digest(control, "user_code", &plain.to_ascii_uppercase())
}
