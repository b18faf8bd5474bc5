//! Beginning: the browser gets a sealed cookie with all that its answer must fit, and goes to the provider. Nothing is stored, so that
//! beginning many costs nothing, and nobody else's browser can finish it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::id::{ConnectionId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::connection::ConnectionRow;
use crate::Control;
use crate::identity::form;
use crate::tenancy::Seal;

const PURPOSE: &str = "identity/sso/v1";
/// As long as a sign-in may take.
pub const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// What somebody goes to the provider for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// To sign in.
    SignIn,
    /// To see whether a connection works; nobody is signed in.
    Test {
        /// The version that is tested.
        version: i64,
    },
    /// To connect a person who is signed in here.
    Link {
        /// Who.
        user: UserId,
    },
}

/// Whether a browser's cookie is of a test.
pub fn is_test(control: &Control, cookie: Option<&str>) -> bool {
    let attempt = cookie.and_then(|text| Attempt::open(control, text));
    attempt.is_some_and(|own| matches!(own.purpose, Purpose::Test { .. }))
}

/// What an answer must fit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Attempt {
    pub connection: ConnectionId,
    pub state: String,
    pub nonce: String,
    /// Of PKCE (RFC 7636).
    pub verifier: String,
    pub purpose: Purpose,
    pub began: Timestamp,
}

impl Attempt {
    /// Reads what a browser shows; `None` for what is not ours or too old.
    pub fn open(control: &Control, text: &str) -> Option<Self> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let plain = Seal::new(&control.settings.sealing_key, PURPOSE).open(&[], &sealed).ok()?;
        let own: Attempt = serde_json::from_slice(&plain).ok()?;
        (control.clock().now() < own.began + LIFE).then_some(own)
    }

    fn seal(&self, control: &Control) -> String {
        let plain = serde_json::to_vec(self).expect("text fields");
        let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
        URL_SAFE_NO_PAD.encode(seal.seal(control.entropy(), &[], &plain))
    }
}

/// Begins: the cookie for the browser, and where it goes.
pub fn started(control: &Control, connection: &ConnectionRow, purpose: Purpose) -> (String, String) {
    let random = || URL_SAFE_NO_PAD.encode(control.entropy().bytes::<32>());
    let again = matches!(purpose, Purpose::Link { .. });
    let own = Attempt {
        connection: connection.id,
        state: random(),
        nonce: random(),
        verifier: random(),
        purpose,
        began: control.clock().now(),
    };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(own.verifier.as_bytes()));
    let redirect_uri = connection.redirect_uri(control);
    let mut asked = vec![
        ("response_type", "code"),
        ("client_id", connection.client_id.as_str()),
        ("redirect_uri", redirect_uri.as_str()),
        ("scope", "openid email profile"),
        ("state", own.state.as_str()),
        ("nonce", own.nonce.as_str()),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    if again {
        asked.extend([("prompt", "login"), ("max_age", "0")]);
    }
    let place = &connection.discovery.authorization_endpoint;
    let joint = if place.contains('?') { '&' } else { '?' };
    (own.seal(control), format!("{place}{joint}{}", form::write(&asked)))
}

const TICKET: &str = "identity/sso_test/v1";

#[derive(Serialize, Deserialize)]
struct Ticket {
    connection: ConnectionId,
    version: i64,
    until: Timestamp,
}

/// What lets whoever has it test a connection as it is now, for ten minutes.
pub fn ticket(control: &Control, row: &ConnectionRow) -> String {
    let own = Ticket { connection: row.id, version: row.version, until: control.clock().now() + LIFE };
    let plain = serde_json::to_vec(&own).expect("plain fields");
    let seal = Seal::new(&control.settings.sealing_key, TICKET);
    URL_SAFE_NO_PAD.encode(seal.seal(control.entropy(), &[], &plain))
}

/// The version of the connection that a ticket lets test.
pub fn admitted(control: &Control, row: &ConnectionRow, text: &str) -> Option<i64> {
    let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
    let plain = Seal::new(&control.settings.sealing_key, TICKET).open(&[], &sealed).ok()?;
    let own: Ticket = serde_json::from_slice(&plain).ok()?;
    let holds = own.connection == row.id && own.version == row.version && control.clock().now() < own.until;
    holds.then_some(own.version)
}
