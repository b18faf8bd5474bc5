//! Codes by text message: six digits as those by e-mail, and everything that keeps strangers from having us send many of them.
//!
//! Whoever owns numbers that cost the sender money gains by each text (pumping). So texts are sent only after a first proof, only to
//! countries that the operator and the tenant both name, and are counted by number, by person, by numbers that begin alike, by tenant and
//! by country. Where fewer than one in five of a tenant's last fifty to a country were ever shown, the country is closed to that tenant for
//! an hour and the operator is told. It is closed to everybody only if the same is so of fifty to which no tenant adds more than ten: what
//! one tenant's people do shuts nobody else out. The hour counts from when it was closed, and then only what was sent since is judged.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{FactorId, OPERATOR_TENANT, SessionId, TenantId, UserId};
use rowhouse_domain::identity::{ProofKind, SignInPolicy};
use rowhouse_domain::messages::{Number, template};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;

use super::attempt::Told;
use super::factor_step::under_way;
use super::mail_code::{LIFE, PACE, Way, code_digest, six_digits};
use super::text_queries as texts;
use super::throttle::{self, Window};
use super::{policy, queries};
use crate::Control;
use crate::identity::{factor, token};
use crate::messages::{NewMessage, To, queue};

/// To one person, whatever numbers.
const PERSON: Window =
    Window { most: 10, within: SignedDuration::from_hours(24), apart: SignedDuration::ZERO };
/// To numbers that differ in their last four digits alone.
const BLOCK: Window = Window { most: 10, within: SignedDuration::from_hours(1), apart: SignedDuration::ZERO };
/// What a tenant's budget is for.
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Texts that are looked at, for how many were shown.
const LOOKED_AT: i64 = 50;
/// Of one tenant among those of all.
const OF_EACH: i64 = 10;
/// How long a country is closed.
const CLOSED: SignedDuration = SignedDuration::from_hours(1);

/// Sends a code for the sign-in.
///
/// # Errors
/// 409 `identity.factor_wrong_state` where there is no number, or none that texts go to; 410 `identity.flow_over`; 429
/// `identity.too_many_attempts`.
pub async fn text_code(control: &Control, told: &Told<'_>) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a code that is sent")).await?;
    let mut flow = under_way(control, &transaction, told.flow).await?;
    let number = factor::number_of(control, &transaction, flow.user).await?.ok_or_else(no_number)?;
    let code = six_digits(control);
    let digest = code_digest(control, Way::Text, &flow.digest, &code);
    let whose = (flow.user, flow.wanted);
    send(control, &transaction, whose, &number, (&code, &digest, "to sign in")).await?;
    flow.code_digest = Some(digest);
    flow.code_until = Some(control.clock().now() + LIFE);
    queries::update(&transaction, &flow).await?;
    transaction.commit_telemetry().await?;
    Ok(())
}

/// Sends a code to who is signed in, to show once more who they are. It is good in that session for one answer, right or wrong.
///
/// # Errors
/// As [`text_code`].
pub async fn text_own_code(
    control: &Control,
    (tenant, user): (TenantId, UserId),
    session: SessionId,
) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a code that is sent")).await?;
    let number = factor::number_of(control, &transaction, user).await?.ok_or_else(no_number)?;
    let bound = session.0.as_bytes();
    let code = six_digits(control);
    let digest = code_digest(control, Way::Text, bound, &code);
    let what = "to show that it is you";
    send(control, &transaction, (user, Some(tenant)), &number, (&code, &digest, what)).await?;
    factor::put_challenge(&transaction, (bound, "sms_code"), &digest, control.clock().now() + LIFE).await?;
    transaction.commit_telemetry().await?;
    Ok(())
}

/// Sends the code that proves a number, for the session that enrols it.
///
/// # Errors
/// As [`text_code`].
pub async fn text_to_prove(
    control: &Control,
    transaction: &Transaction,
    ((tenant, user), session): ((TenantId, UserId), SessionId),
    number: &Number,
) -> Result<FactorId, Refusal> {
    let id = factor::begin_number(control, transaction, user, number).await?;
    let code = six_digits(control);
    let digest = code_digest(control, Way::Text, id.0.as_bytes(), &code);
    let what = "to add this number to your account";
    send(control, transaction, (user, Some(tenant)), number, (&code, &digest, what)).await?;
    let until = control.clock().now() + LIFE;
    factor::put_challenge(transaction, (session.0.as_bytes(), "sms_enrol"), &digest, until).await?;
    Ok(id)
}

/// The code was right: the text was read by whom it was for.
pub async fn proven(
    control: &Control,
    transaction: &Transaction,
    user: UserId,
    digest: &[u8],
) -> Result<(), Refusal> {
    let now = control.clock().now();
    factor::number_used(transaction, user, now).await?;
    Ok(texts::prove(transaction, digest, now).await?)
}

/// A tenant of the person that takes codes at this number, the one that is entered first, with its policy.
async fn payer(
    transaction: &Transaction,
    (user, wanted): (UserId, Option<TenantId>),
    number: &Number,
) -> Result<(TenantId, SignInPolicy), Refusal> {
    let all = policy::of_all(transaction, Some(user)).await?;
    let takes = |own: &&(TenantId, SignInPolicy)| own.1.takes(ProofKind::SmsCode);
    if !all.iter().any(|own| takes(&own)) {
        return Err(Refusal::new(
            &kind::FACTOR_WRONG_STATE,
            "Your organisation takes no codes by text message.",
        ));
    }
    let mut fits = all.iter().filter(takes).filter(|own| number.among(&own.1.sms.countries).is_some());
    let first = fits.clone().find(|own| Some(own.0) == wanted).or_else(|| fits.next());
    first.cloned().ok_or_else(elsewhere)
}

async fn send(
    control: &Control,
    transaction: &Transaction,
    whose: (UserId, Option<TenantId>),
    number: &Number,
    (code, digest, what): (&str, &[u8], &str),
) -> Result<(), Refusal> {
    let Some(sms) = control.messages.sms() else {
        return Err(Refusal::new(&kind::FACTOR_WRONG_STATE, "No codes are sent by text message here."));
    };
    let beginning = number.among(&sms.countries).ok_or_else(elsewhere)?.to_owned();
    let (tenant, policy) = payer(transaction, whose, number).await?;
    let now = control.clock().now();
    let hour = SignedDuration::from_hours(1);
    let month = Window { most: policy.sms.monthly_max, within: MONTH, apart: SignedDuration::ZERO };
    let country = Window { most: sms.hourly_max, within: hour, apart: SignedDuration::ZERO };
    let user = whose.0.to_string();
    // Always in this order, so that two never wait for each other; what is refused spends nothing, for nothing is committed then.
    let bounds = [
        ("throttle/text/number", number.as_str(), PACE),
        ("throttle/text/person", &user, PERSON),
        ("throttle/text/block", number.block(), BLOCK),
        ("throttle/text/tenant", &tenant.to_string(), month),
        ("throttle/text/country", &beginning, country),
    ];
    for (purpose, of, window) in bounds {
        let key = token::digest(control, purpose, of);
        if let Err(seconds) = throttle::spend(transaction, &key, window, now).await? {
            return Err(too_many(seconds));
        }
    }
    for whose in [Some(tenant), None] {
        judge(control, transaction, (whose, &beginning), now).await?;
    }
    texts::put(transaction, (tenant, &beginning), digest, now).await?;
    let key = format!("{}/{}", whose.0, control.entropy().uuid_v7(now.as_microsecond()));
    let new = NewMessage::new(&template::SMS_CODE, tenant, To::Number(number.clone()), key)
        .value("code", code)
        .value("what", what)
        .useless_after(now + LIFE);
    queue(control, transaction, new).await?;
    Ok(())
}

/// Refuses what is closed, and closes what is pumped: to a tenant, or to all. The text that it is noticed at still goes.
async fn judge(
    control: &Control,
    transaction: &Transaction,
    (tenant, beginning): (Option<TenantId>, &str),
    now: Timestamp,
) -> Result<(), Refusal> {
    let whose = tenant.map_or_else(|| "all".to_owned(), |tenant| tenant.to_string());
    let key = token::digest(control, "throttle/text/closed", &format!("{whose}/{beginning}"));
    let (_, closed_until) = throttle::standing(transaction, &key).await?;
    if let Some(until) = closed_until.filter(|until| now < *until) {
        return Err(too_many(until.duration_since(now).as_secs() + 1));
    }
    let each = if tenant.is_some() { LOOKED_AT } else { OF_EACH };
    // While it was closed nothing was sent: what was sent since it opened is what was sent since it closed.
    let judged =
        texts::standing(transaction, (tenant, beginning), (LOOKED_AT, each), (closed_until, now)).await?;
    if judged.is_pumped(LOOKED_AT) {
        throttle::close(transaction, &key, now + CLOSED, now).await?;
        tell_operators(control, transaction, (tenant, beginning)).await?;
    }
    Ok(())
}

async fn tell_operators(
    control: &Control,
    transaction: &Transaction,
    (tenant, beginning): (Option<TenantId>, &str),
) -> Result<(), Refusal> {
    let now = control.clock().now();
    let (of, whose) = match tenant {
        Some(tenant) => (tenant.to_string(), format!("by the tenant {tenant}")),
        None => ("all".to_owned(), format!("by all tenants (at most {OF_EACH} by each)")),
    };
    let what = format!(
        "Of the last {LOOKED_AT} codes sent as texts to {beginning} {whose} fewer than one in five were ever shown. None go there from \
         them for an hour."
    );
    let key = format!("texts/{of}/{beginning}/{}", now.as_second().div_euclid(3_600));
    let new = NewMessage::new(&template::SECURITY_ALERT, OPERATOR_TENANT, To::Operators, key);
    queue(control, transaction, new.value("what", what).value("at", now)).await?;
    Ok(())
}

fn too_many(seconds: i64) -> Refusal {
    let refusal = Refusal::new(&kind::TOO_MANY_ATTEMPTS, "No more codes are sent as texts just now.");
    refusal.retry_after(u32::try_from(seconds).unwrap_or(3_600))
}

fn no_number() -> Refusal {
    Refusal::new(&kind::FACTOR_WRONG_STATE, "There is no number that is proven.")
}

fn elsewhere() -> Refusal {
    Refusal::new(&kind::FACTOR_WRONG_STATE, "No codes are sent to numbers of this country.")
}
