//! What a person does with a code on our page.

use jiff::SignedDuration;
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{OPERATOR_TENANT, RequestId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde_json::json;

use super::queries::{self, RequestRow};
use super::user_digest;
use crate::Control;
use crate::identity::session::SessionRow;
use crate::identity::sign_in::{Window, spend};
use crate::identity::{application, token};

/// Codes that a person may try: 34 bits are guessed by nobody at that pace.
const TRIES: Window = Window { most: 20, within: SignedDuration::from_hours(1), apart: SignedDuration::ZERO };

/// What asks, and from where.
#[derive(Debug)]
pub struct Seen {
    /// The application's name.
    pub name: String,
    pub ip: String,
    pub agent: String,
    pub created_at: jiff::Timestamp,
    /// What of the person's rights it may use; none for our own command line, which may all.
    pub permissions: Option<Vec<String>>,
}

/// What stands behind a code. Each look is a try.
///
/// # Errors
/// 404 for what is no code, or none any more; 403 `identity.entry_refused` for an application of another organisation; 429
/// `identity.too_many_attempts`.
pub async fn look(control: &Control, session: &SessionRow, typed: &str) -> Result<Seen, Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a code that is looked at")).await?;
    let now = control.clock().now();
    let key = token::digest(control, "throttle/user_code", &session.user.to_string());
    if let Err(seconds) = spend(&transaction, &key, TRIES, now).await? {
        let refusal = Refusal::new(&kind::TOO_MANY_ATTEMPTS, "Too many codes were tried.");
        return Err(refusal.retry_after(u32::try_from(seconds).unwrap_or(3_600)));
    }
    let found = queries::waiting(&transaction, &user_digest(control, typed), now).await?;
    let seen = match &found {
        Some(row) => Some(named(&transaction, row, session).await),
        None => None,
    };
    // The try counts whatever it found.
    transaction.commit_telemetry().await?;
    seen.ok_or_else(unknown)?
}

async fn named(transaction: &Transaction, row: &RequestRow, session: &SessionRow) -> Result<Seen, Refusal> {
    let (name, permissions) = match row.application {
        None => ("The command line of Rowhouse".to_owned(), None),
        Some(id) => {
            let own = application::one(transaction, id).await?.ok_or_else(unknown)?;
            if own.tenant != session.tenant && own.tenant != OPERATOR_TENANT {
                let words = "The application is of another organisation. Sign in there.";
                return Err(Refusal::new(&kind::ENTRY_REFUSED, words));
            }
            (own.name, Some(own.permissions))
        }
    };
    let (ip, agent) = (row.ip.clone(), row.agent.clone());
    Ok(Seen { name, ip, agent, created_at: row.created_at, permissions })
}

/// Yes or no; once. It is a try, too: else codes of others could be guessed here, and they be signed in as who guesses.
///
/// # Errors
/// As [`look`].
pub async fn decide(
    control: &Control,
    session: &SessionRow,
    (typed, yes): (&str, bool),
    request_id: RequestId,
) -> Result<(), Refusal> {
    let seen = look(control, session, typed).await?;
    let transaction =
        control.store.write(&Permit::for_system(None, "a program that a person lets in")).await?;
    let now = control.clock().now();
    let row = queries::waiting(&transaction, &user_digest(control, typed), now).await?.ok_or_else(unknown)?;
    queries::decide(&transaction, &row.digest, if yes { "allowed" } else { "denied" }, session).await?;
    if !yes {
        transaction.commit_telemetry().await?;
        return Ok(());
    }
    let by = Principal { kind: PrincipalKind::User, id: session.user.0 };
    let change =
        Change::new(session.tenant, "identity.application_allowed", "create", by).on("user", session.user);
    let details = json!({ "device": seen.agent, "ip": seen.ip });
    transaction.commit(change.details(details).request(request_id)).await?;
    Ok(())
}

fn unknown() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such code, or not any more. Start again in your program.")
}
