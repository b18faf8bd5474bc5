//! A try of a password. Whoever the name belongs to, and whether to anybody, the same is done: one count, one hash, one event, and
//! the same answer no sooner than a hash takes.

use std::time::Instant;

use jiff::SignedDuration;
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{OPERATOR_TENANT, RequestId, TenantId, UserId};
use rowhouse_domain::identity::{Evidence, ProofKind};
use rowhouse_domain::messages::{Address, template};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde_json::json;

use super::advance::{Left, advance};
use super::flow::{self, Opened};
use super::progress::Progress;
use super::queries::{self, FlowRow};
use super::source::Source;
use super::throttle::{self, Try};
use super::{devices, name_key, policy};
use crate::Control;
use crate::identity::accept::{busy, pepper};
use crate::identity::hashing::Hashed;
use crate::identity::queries::{self as people, MembershipStatus, UserStatus};
use crate::identity::token;
use crate::messages::{NewMessage, To, queue};

const PASSWORD_BYTES_MAX: usize = 1_024;
/// How long the link in a mail about a lock is good.
const UNLOCK_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// What a client tells with each step.
#[derive(Debug)]
pub struct Told<'a> {
    /// The sign-in.
    pub flow: &'a str,
    pub source: &'a Source,
    /// Whether the session is to live by a cookie.
    pub by_cookie: bool,
    /// Whether this browser is to count tries for itself from now on.
    pub trust_device: bool,
    pub request_id: RequestId,
}

/// What is known before the hash.
struct Looked {
    user: Option<UserId>,
    /// The tenant whose log tells it.
    log: TenantId,
    email: Option<Address>,
    /// Whether there is a password to lock, open to this try or not.
    has_password: bool,
    stored: Option<Hashed>,
    throttle: Vec<u8>,
    tried: Try,
}

/// Tries a password.
///
/// # Errors
/// 401 `identity.credentials_wrong` for everything that is against it; 410 `identity.flow_over`; 429 `identity.too_many_attempts`;
/// 503 `identity.busy`.
pub async fn prove_password(
    control: &Control,
    told: &Told<'_>,
    password: &str,
    device: Option<&str>,
) -> Result<Progress, Refusal> {
    let began = Instant::now();
    let outcome = tried(control, told, password, device).await;
    if outcome.as_ref().is_err_and(|refusal| refusal.code() == kind::CREDENTIALS_WRONG.code) {
        control.sign_in_sources.failed(told.source);
        tokio::time::sleep(control.hashing.floor().saturating_sub(began.elapsed())).await;
    }
    outcome
}

async fn tried(
    control: &Control,
    told: &Told<'_>,
    password: &str,
    device: Option<&str>,
) -> Result<Progress, Refusal> {
    let opened = flow::open(control, told.flow)?;
    if password.len() > PASSWORD_BYTES_MAX {
        let refusal = Refusal::new(&kind::INVALID, "The password is too long.");
        return Err(refusal.field("/password", "too_long", "at most 1,024 bytes"));
    }
    control.sign_in_sources.admit(told.source, &opened.name, control.clock().now_us())?;
    let digest = flow::digest(control, told.flow);
    let looked = look(control, &opened, &digest, device).await?;
    let is_right =
        control.hashing.verify(&pepper(control), looked.stored.as_ref(), password).await.map_err(busy)?;
    let (Some(user), Some(stored), true) = (looked.user, &looked.stored, is_right) else {
        failed(control, &looked, told).await?;
        return Err(wrong());
    };
    let renewed = match control.hashing.is_outdated(stored) {
        true => control.hashing.hash(&pepper(control), control.entropy().bytes(), password).await.ok(),
        false => None,
    };
    let permit = Permit::for_system(None, "a password that was right");
    let transaction = control.store.write(&permit).await?;
    let now = control.clock().now();
    // It may have been set anew while it was hashed, and is not from here on.
    if queries::hold_password(&transaction, user).await?.as_ref() != Some(stored) {
        return Err(wrong());
    }
    if let Some(renewed) = renewed {
        people::put_password(&transaction, user, &renewed, now).await?;
    }
    let evidence = Evidence::default().with(ProofKind::Password, now.as_second());
    let flow = FlowRow {
        digest,
        user,
        wanted: opened.tenant,
        evidence,
        guesses: 0,
        code_digest: None,
        code_until: None,
        throttle: looked.throttle,
        expires_at: opened.until,
    };
    queries::put(&transaction, &flow, (&told.source.ip(), &told.source.agent), now).await?;
    advance(control, transaction, flow, told, Left::default()).await
}

/// Counts the try, and finds what it is to be compared with: nothing, if anything is against it.
async fn look(
    control: &Control,
    opened: &Opened,
    digest: &[u8],
    device: Option<&str>,
) -> Result<Looked, Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a password that is tried")).await?;
    let now = control.clock().now();
    if queries::is_done(&transaction, digest).await? {
        return Err(flow::over());
    }
    let email = Address::parse(&opened.name).ok();
    let user = match &email {
        Some(email) => people::find_user_by_email(&transaction, email).await?,
        None => None,
    };
    let active = user.filter(|user| user.status == UserStatus::Active).map(|user| user.id);
    let throttle = counter(control, &transaction, &opened.name, (active, device)).await?;
    // The tenant that is named has no say: whoever tries names any.
    let lockout = policy::lockout_of(&transaction, active).await?;
    let tried = throttle::attempt(&transaction, &throttle, lockout, now).await?;
    let home = match active {
        Some(user) => home(&transaction, user, opened.tenant).await?,
        None => None,
    };
    let stored = match active {
        Some(user) => queries::password(&transaction, user).await?.map(|(hashed, _)| hashed),
        None => None,
    };
    transaction.commit_telemetry().await?;
    let has_password = stored.is_some();
    let is_open = home.is_some() && tried != Try::Locked;
    Ok(Looked {
        user: active,
        log: home.unwrap_or(OPERATOR_TENANT),
        email,
        has_password,
        stored: stored.filter(|_| is_open),
        throttle,
        tried,
    })
}

/// The counter that the try is counted on: the browser's own if its owner trusts it, else the name's.
async fn counter(
    control: &Control,
    transaction: &Transaction,
    name: &str,
    (user, device): (Option<UserId>, Option<&str>),
) -> Result<Vec<u8>, Refusal> {
    if let (Some(user), Some(device)) = (user, device) {
        let digest = token::digest(control, "device", device);
        if devices::is_trusted(transaction, &digest, user, control.clock().now()).await? {
            return Ok(token::digest(control, "throttle/device", device));
        }
    }
    Ok(name_key(control, name))
}

/// The tenant that the person would enter: the one that is named if they belong to it, else any that they do.
async fn home(
    transaction: &Transaction,
    user: UserId,
    wanted: Option<TenantId>,
) -> Result<Option<TenantId>, Refusal> {
    let Some(wanted) = wanted else {
        return Ok(queries::tenants_of(transaction, user).await?.first().copied());
    };
    let member = people::find_member(transaction, wanted, user).await?;
    Ok(member.filter(|member| member.status == MembershipStatus::Active).map(|_| wanted))
}

async fn failed(control: &Control, looked: &Looked, told: &Told<'_>) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(None, "a password that was wrong")).await?;
    let nobody = Principal { kind: PrincipalKind::Anonymous, id: uuid::Uuid::nil() };
    let mut change = Change::new(looked.log, "identity.login_failed", "create", nobody);
    change.result = "failure".to_owned();
    change.code = Some(kind::CREDENTIALS_WRONG.code.to_owned());
    let locks = matches!(looked.tried, Try::Counted { locks: true });
    let change = match looked.user {
        Some(user) => change.on("user", user),
        None => change.on("name", rowhouse_domain::id::encode(first_bits(&looked.throttle))),
    };
    if let (Some(user), Some(email), true, true) = (looked.user, &looked.email, locks, looked.has_password) {
        tell_of_lock(control, &transaction, (looked.log, user), email, &looked.throttle).await?;
    }
    transaction.commit(change.details(json!({ "locks": locks })).request(told.request_id)).await?;
    Ok(())
}

async fn tell_of_lock(
    control: &Control,
    transaction: &Transaction,
    (tenant, user): (TenantId, UserId),
    email: &Address,
    throttle: &[u8],
) -> Result<(), Refusal> {
    let now = control.clock().now();
    let (consecutive, until) = throttle::standing(transaction, throttle).await?;
    if consecutive >= throttle::CONSECUTIVE_MAX {
        let what = "Your password was tried too often and is closed: set another one.";
        return super::told(control, transaction, user, what).await;
    }
    let (text, digest) = token::make(control, "unlock");
    queries::put_link(transaction, (user, "unlock"), &digest, (now, now + UNLOCK_LIFE)).await?;
    let link = format!("{}/account/unlock?token={text}", control.settings.public_url);
    let new = NewMessage::new(&template::UNLOCK, tenant, To::Address(email.clone()), format!("{user}/{now}"))
        .value("until", until.unwrap_or(now))
        .value("link", link)
        .value("expires", now + UNLOCK_LIFE)
        .useless_after(now + UNLOCK_LIFE);
    queue(control, transaction, new).await?;
    Ok(())
}

fn first_bits(digest: &[u8]) -> u128 {
    digest.first_chunk::<16>().map_or(0, |first| u128::from_be_bytes(*first))
}

fn wrong() -> Refusal {
    Refusal::new(&kind::CREDENTIALS_WRONG, "Name or password is wrong.")
}
