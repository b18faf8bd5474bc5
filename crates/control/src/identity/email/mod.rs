//! Another address for who has one. The new one is proven by a link, the old one is told and can take the change back for seven days, and
//! nobody learns whose an address is: what is asked for an address that somebody has gets the same answer, and no mail.

mod api;
mod queries;

pub use api::routes;

use jiff::SignedDuration;
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{OPERATOR_TENANT, RequestId, SessionId, UserId};
use rowhouse_domain::messages::{Address, template};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde_json::json;

use self::queries::ChangeRow;
use super::accept::link_used;
use super::account::{Whose, begin, entitled};
use super::session::{self, end_every, forget_flows};
use super::sign_in::{self, Window, spend};
use super::{may_enter, queries as people, token};
use crate::Control;
use crate::messages::{NewMessage, To, queue};

const NEW: &str = "email_new";
const OLD: &str = "email_old";
/// How long the new address may take to be proven.
const PROVEN_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// How long the old one may take it back.
const TAKEN_BACK_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Of one person, and to one address.
const PACE: Window =
    Window { most: 5, within: SignedDuration::from_hours(1), apart: SignedDuration::from_secs(30) };

/// Asks for another address. The same is answered, stored and told to the old address whether or not somebody has the new one.
///
/// # Errors
/// 401 `identity.step_up_required`; 422 for what is no address, or the present one; 429 `identity.too_many_attempts`.
pub async fn ask(control: &Control, whose: Whose, email: &str) -> Result<(), Refusal> {
    let wrong = |words: &str| {
        let refusal = Refusal::new(&kind::INVALID, "The address cannot be used.");
        refusal.field("/email", "malformed", words)
    };
    let new = Address::parse(email.trim()).map_err(|error| wrong(&error.to_string()))?;
    let transaction = begin(control).await?;
    let session = entitled(control, &transaction, whose).await?;
    let present = present(&transaction, whose.user).await?;
    if present.key() == new.key() {
        return Err(wrong("another one than the present"));
    }
    let now = control.clock().now();
    for (purpose, of) in [("throttle/email_person", whose.user.to_string()), ("throttle/email_to", new.key())]
    {
        if let Err(seconds) = spend(&transaction, &token::digest(control, purpose, &of), PACE, now).await? {
            let refusal = Refusal::new(&kind::TOO_MANY_ATTEMPTS, "An address was changed a moment ago.");
            return Err(refusal.retry_after(u32::try_from(seconds).unwrap_or(3_600)));
        }
    }
    let is_free = people::find_user_by_email(&transaction, &new).await?.is_none();
    let (to_new, new_digest) = token::make(control, NEW);
    let (to_old, old_digest) = token::make(control, OLD);
    let row = ChangeRow {
        user: whose.user,
        session: session.id,
        old: present.clone(),
        new: new.clone(),
        confirmed: false,
    };
    let until = (now + PROVEN_WITHIN, now + TAKEN_BACK_WITHIN);
    queries::put(&transaction, &row, (&new_digest, &old_digest), until, now).await?;
    let key = format!("{}/{}", whose.user, control.entropy().uuid_v7(now.as_microsecond()));
    let page =
        |path: &str, text: &str| format!("{}/account/email/{path}?token={text}", control.settings.public_url);
    if is_free {
        let told = NewMessage::new(&template::EMAIL_CHANGE_NEW, OPERATOR_TENANT, To::Address(new), &key)
            .value("link", page("confirm", &to_new))
            .value("expires", until.0)
            .useless_after(until.0);
        queue(control, &transaction, told).await?;
    }
    let told = NewMessage::new(&template::EMAIL_CHANGE_OLD, OPERATOR_TENANT, To::Address(present), key)
        .value("link", page("keep", &to_old))
        .value("expires", until.1)
        .useless_after(until.1);
    queue(control, &transaction, told).await?;
    let change = whose.change("identity.user_changed", "update");
    transaction.commit(change.details(json!({ "what": "email_asked" }))).await?;
    Ok(())
}

async fn present(transaction: &Transaction, user: UserId) -> Result<Address, Refusal> {
    let row = people::find_user(transaction, user).await?;
    let email = row.and_then(|row| row.email).and_then(|email| Address::parse(&email).ok());
    email.ok_or_else(|| Refusal::new(&kind::SESSION_ENDED, "The session has ended."))
}

/// The new address is proven by its link, and is the person's from now on. Sessions end, but the one that asked; links that were mailed
/// to the old address are void.
///
/// The session that asked must not have been ended, by whomever: who signs out, sets a password or is suspended has taken back what was
/// asked there. That it has idled away meanwhile is no matter.
///
/// # Errors
/// 410 `identity.link_used`, also if somebody has come to have the address since, or the session that asked was ended.
pub async fn confirm(control: &Control, text: &str, request_id: RequestId) -> Result<(), Refusal> {
    let transaction = platform(control, "an address that is proven").await?;
    let now = control.clock().now();
    let digest = token::digest(control, NEW, text);
    let (user, session) = queries::whose(&transaction, &digest).await?.ok_or_else(link_used)?;
    forget_flows(&transaction, user).await?;
    refuse_ended(control, &transaction, user, session).await?;
    let row = queries::confirm(&transaction, &digest, now).await?;
    let row = row.ok_or_else(link_used)?;
    move_to(&transaction, &row, (Some(&row.old), &row.new), now).await?;
    let by = actor(row.user);
    let mut changes = end_every(&transaction, row.user, Some(row.session), "email_changed", by).await?;
    changes.push(told(&row, "email_changed", request_id));
    transaction.commit_all(changes).await?;
    Ok(())
}

/// Takes the change back by the link that the old address got, confirmed or not. All sessions end, and browsers are trusted no more.
///
/// # Errors
/// 410 `identity.link_used`.
pub async fn keep(control: &Control, text: &str, request_id: RequestId) -> Result<(), Refusal> {
    let transaction = platform(control, "an address that is kept").await?;
    let now = control.clock().now();
    let digest = token::digest(control, OLD, text);
    let (user, _) = queries::whose(&transaction, &digest).await?.ok_or_else(link_used)?;
    forget_flows(&transaction, user).await?;
    let row = queries::keep(&transaction, &digest, now).await?;
    let row = row.ok_or_else(link_used)?;
    if row.confirmed {
        // Whatever it was changed to since.
        move_to(&transaction, &row, (None, &row.old), now).await?;
    }
    let mut changes = end_every(&transaction, row.user, None, "email_kept", actor(row.user)).await?;
    let what = "The change of your address was taken back and all sessions ended. Whoever asked for it was signed in as you: set a new \
                password, and look at your second factors.";
    sign_in::told(control, &transaction, row.user, what).await?;
    changes.push(told(&row, "email_kept", request_id));
    transaction.commit_all(changes).await?;
    Ok(())
}

/// 410 unless the session that asked was ended by nobody, and the person may still enter there.
async fn refuse_ended(
    control: &Control,
    transaction: &Transaction,
    user: UserId,
    session: SessionId,
) -> Result<(), Refusal> {
    let asked_in = session::queries::lock(transaction, session).await?.filter(|own| own.user == user);
    let asked_in = asked_in.ok_or_else(link_used)?;
    let entry = may_enter(control, transaction, asked_in.tenant, user).await?;
    entry.filter(super::Entry::may_go_on).map(drop).ok_or_else(link_used)
}

async fn platform(control: &Control, why: &'static str) -> Result<Transaction, Refusal> {
    Ok(control.store.write(&Permit::for_system(None, why)).await?)
}

/// The person's address is another; what was mailed to the one before opens nothing any more.
async fn move_to(
    transaction: &Transaction,
    row: &ChangeRow,
    (from, to): (Option<&Address>, &Address),
    now: jiff::Timestamp,
) -> Result<(), Refusal> {
    let moved = queries::set_address(transaction, row.user, (from, to), now).await;
    let moved = moved.or_else(|error| match error.constraint() {
        Some("users_email_key") => Ok(false),
        _ => Err(error),
    })?;
    if !moved {
        return Err(link_used());
    }
    sign_in::void_mailed(transaction, row.user).await?;
    Ok(())
}

fn actor(user: UserId) -> Principal {
    Principal { kind: PrincipalKind::User, id: user.0 }
}

fn told(row: &ChangeRow, what: &str, request_id: RequestId) -> Change {
    let change = Change::new(OPERATOR_TENANT, "identity.user_changed", "update", actor(row.user));
    change.on("user", row.user).details(json!({ "what": what })).request(request_id)
}
