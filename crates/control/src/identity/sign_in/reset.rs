//! Passwords that are set anew: by a mailed link when they are forgotten, or by who knows the present one.

use jiff::SignedDuration;
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{OPERATOR_TENANT, RequestId, SessionId, UserId};
use rowhouse_domain::identity::PasswordPolicy;
use rowhouse_domain::messages::{Address, template};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, StoreError, Transaction};
use serde_json::json;

use super::source::Source;
use super::throttle::{self, Window};
use super::{devices, name_key, policy, queries};
use crate::Control;
use crate::identity::accept::{busy, link_used, pepper, refuse_weak};
use crate::identity::hashing::Hashed;
use crate::identity::queries::{self as people, UserRow, UserStatus};
use crate::identity::session::{end_every, forget_flows};
use crate::identity::token;
use crate::messages::{NewMessage, To, queue};

const LIFE: SignedDuration = SignedDuration::from_hours(1);
const PACE: Window =
    Window { most: 5, within: SignedDuration::from_hours(1), apart: SignedDuration::from_secs(30) };
const PURPOSE: &str = "reset";

/// Has a link mailed to who has this address, if anybody does. The answer is the same, and comes as soon: whether somebody does is not
/// asked here but by who sends messages, and what is written down is the same.
///
/// # Errors
/// 429 `identity.too_many_attempts` by source.
pub async fn forgotten(control: &Control, email: &str, source: &Source) -> Result<(), Refusal> {
    control.sign_in_sources.admit(source, email, control.clock().now_us())?;
    control.sign_in_sources.failed(source);
    let transaction = control.store.write(&Permit::for_system(None, "a password that was forgotten")).await?;
    let now = control.clock().now();
    let address = Address::parse(email).ok();
    let paced = token::digest(
        control,
        "throttle/reset",
        &address.as_ref().map_or_else(|| email.to_owned(), Address::key),
    );
    let may = throttle::spend(&transaction, &paced, PACE, now).await?.is_ok();
    if let Some(address) = address.filter(|_| may) {
        let key = control.entropy().uuid_v7(now.as_microsecond()).to_string();
        let new = NewMessage::new(&template::PASSWORD_RESET, OPERATOR_TENANT, To::Holder(address), key);
        queue(control, &transaction, new.useless_after(now + LIFE)).await?;
    }
    transaction.commit_telemetry().await?;
    Ok(())
}

/// Who has an address, if they may set their password anew by it.
///
/// # Errors
/// If the database fails.
pub async fn holder_of(transaction: &Transaction, address: &Address) -> Result<Option<UserRow>, StoreError> {
    let user = people::find_user_by_email(transaction, address).await?;
    Ok(user.filter(|user| user.status == UserStatus::Active && user.email_verified_at.is_some()))
}

/// Mails the link to who has the address, if anybody does. A link before is void.
///
/// # Errors
/// If the database fails.
pub async fn mail_link(
    control: &Control,
    transaction: &Transaction,
    address: &Address,
) -> Result<(), Refusal> {
    let Some(user) = holder_of(transaction, address).await? else { return Ok(()) };
    let now = control.clock().now();
    let (text, digest) = token::make(control, PURPOSE);
    queries::put_link(transaction, (user.id, PURPOSE), &digest, (now, now + LIFE)).await?;
    let link = format!("{}/account/reset?token={text}", control.settings.public_url);
    let key = format!("{}/{}", user.id, control.entropy().uuid_v7(now.as_microsecond()));
    let to = To::Address(address.clone());
    let new = NewMessage::new(&template::PASSWORD_RESET, OPERATOR_TENANT, to, key)
        .value("link", link)
        .value("expires", now + LIFE)
        .useless_after(now + LIFE);
    queue(control, transaction, new).await?;
    Ok(())
}

/// Sets a password by a mailed link. No session begins, all end, and the second factor stays.
///
/// # Errors
/// 410 `identity.link_used`; 422 `identity.password_weak`; 503 `identity.busy`.
pub async fn set_by_link(
    control: &Control,
    text: &str,
    password: &str,
    request_id: RequestId,
) -> Result<(), Refusal> {
    let digest = token::digest(control, PURPOSE, text);
    let now = control.clock().now();
    let transaction = control.store.read(&Permit::for_system(None, "a link that is looked at")).await?;
    let user = queries::link(&transaction, PURPOSE, &digest, now).await?.ok_or_else(link_used)?;
    let user = people::find_user(&transaction, user).await?.ok_or_else(link_used)?;
    let fit = fit(control, &transaction, &user, password).await;
    transaction.finish().await?;
    let hashed = fit?;
    let transaction =
        control.store.write(&Permit::for_system(None, "a password that is set by a link")).await?;
    let taken = queries::take_link(&transaction, PURPOSE, &digest, now).await?;
    taken.filter(|taken| *taken == user.id).ok_or_else(link_used)?;
    let changes = set(control, &transaction, &user, (&hashed, None), request_id).await?;
    transaction.commit_all(changes).await?;
    Ok(())
}

/// Hashes a password that is good enough for every tenant of the person, and is none that they had.
pub async fn fit(
    control: &Control,
    transaction: &Transaction,
    user: &UserRow,
    password: &str,
) -> Result<Hashed, Refusal> {
    let email = user.email.as_deref().and_then(|email| Address::parse(email).ok());
    let all = policy::of_all(transaction, Some(user.id)).await?;
    let strictest = all.into_iter().map(|(_, policy)| policy.password).reduce(PasswordPolicy::stricter);
    let (length_min, history) = strictest.map_or((crate::identity::accept::LENGTH_MIN, 0), |asked| {
        let PasswordPolicy { length_min, history } = asked.bounded();
        (length_min, history)
    });
    let parts = email.as_ref().map_or(("", ""), |email| (email.local(), email.domain()));
    refuse_weak(password, length_min, &[parts.0, parts.1, &user.full_name, control.messages.brand()])?;
    let mut former = queries::former_passwords(transaction, user.id, history as i64).await?;
    former.extend(queries::password(transaction, user.id).await?.map(|(present, _)| present));
    for one in former.iter().take(history + 1) {
        if control.hashing.verify(&pepper(control), Some(one), password).await.map_err(busy)? {
            let refusal = Refusal::new(&kind::PASSWORD_WEAK, "The password was used before.");
            return Err(refusal.field("/password", "used_before", "one that you have not had before"));
        }
    }
    control.hashing.hash(&pepper(control), control.entropy().bytes(), password).await.map_err(busy)
}

/// Stores it: other sessions, trusted browsers, links and the lock are over, and the person is told.
pub async fn set(
    control: &Control,
    transaction: &Transaction,
    user: &UserRow,
    (hashed, keep): (&Hashed, Option<SessionId>),
    request_id: RequestId,
) -> Result<Vec<Change>, Refusal> {
    let now = control.clock().now();
    queries::retire_password(transaction, user.id).await?;
    people::put_password(transaction, user.id, hashed, now).await?;
    // In the order of who signs in: the password, the sign-in, sessions, the count of tries.
    forget_flows(transaction, user.id).await?;
    queries::void_links(transaction, user.id).await?;
    devices::forget_all(transaction, user.id).await?;
    let actor = Principal { kind: PrincipalKind::User, id: user.id.0 };
    let mut changes = end_every(transaction, user.id, keep, "password_changed", actor).await?;
    if let Some(email) = &user.email {
        throttle::clear(transaction, &name_key(control, email)).await?;
    }
    let change =
        Change::new(OPERATOR_TENANT, "identity.password_changed", "update", actor).on("user", user.id);
    changes.push(change.details(json!({})).request(request_id));
    told(control, transaction, user.id, "Your password was changed; other sessions have ended.").await?;
    Ok(changes)
}

/// Tells a person that how they sign in has changed.
pub async fn told(
    control: &Control,
    transaction: &Transaction,
    user: UserId,
    what: &str,
) -> Result<(), Refusal> {
    let now = control.clock().now();
    let key = format!("{user}/{}", control.entropy().uuid_v7(now.as_microsecond()));
    let new = NewMessage::new(&template::FACTOR_CHANGED, OPERATOR_TENANT, To::User(user), key);
    queue(control, transaction, new.value("what", what).value("at", now)).await?;
    Ok(())
}
