//! Sending what is due, and sending again what was left.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{MessageId, RequestId};
use rowhouse_domain::messages::{Address, Number, Template, template, wait_after};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, StoreError, Topic, Transaction};
use serde_json::json;
use tokio::sync::watch;

use super::audience::{HOLDER, To, addresses};
use super::compose::compose;
use super::content::Content;
use super::queries::{self, MessageRow, NewRow, Outcome, State};
use super::texts::describe;
use crate::{Control, Shared, identity, tenancy};

/// How long a sender may hold a message.
const LEASE: SignedDuration = SignedDuration::from_secs(120);
/// How often is looked when nothing rings.
const BACKSTOP: Duration = Duration::from_secs(1);
/// How long what messages hold of people is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How often is forgotten what is older.
const FORGET_EVERY_S: i64 = 600;
/// Messages under way at once.
const SENDERS: usize = 2;
/// Longest problem that is kept.
const PROBLEM_MAX: usize = 500;

/// Sends what is due until `shutdown`.
pub async fn run(control: Shared, shutdown: watch::Receiver<bool>) {
    let senders: [_; SENDERS] = std::array::from_fn(|_| sender(&control, shutdown.clone()));
    let [first, second] = senders;
    tokio::join!(first, second, housekeeping(&control, shutdown));
}

async fn sender(control: &Control, mut shutdown: watch::Receiver<bool>) {
    let mut beat = tokio::time::interval(BACKSTOP);
    let mut queued = control.store.touched(Topic::Messages);
    while !*shutdown.borrow() {
        match turn(control).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "messages wait"),
        }
        tokio::select! {
            _ = beat.tick() => {}
            _ = queued.changed() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
    }
}

async fn housekeeping(control: &Control, mut shutdown: watch::Receiver<bool>) {
    let mut beat = tokio::time::interval(Duration::from_secs(5));
    let mut forgotten_s = i64::MIN;
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        let now_s = control.clock().now_s();
        let forgets = now_s.saturating_sub(forgotten_s) >= FORGET_EVERY_S;
        match keep_house(control, forgets).await {
            Ok(()) if forgets => forgotten_s = now_s,
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "old messages are not forgotten yet"),
        }
    }
}

/// Counts what waits and, if it `forgets`, forgets what is older than 7 days.
///
/// # Errors
/// If the database fails.
pub async fn keep_house(control: &Control, forgets: bool) -> Result<(), StoreError> {
    let transaction = begin(control).await?;
    let (waiting, dead) = queries::standing(&transaction).await?;
    if forgets {
        queries::forget(&transaction, control.clock().now() - KEPT).await?;
    }
    transaction.commit_telemetry().await?;
    let counts = &control.messages.counts;
    counts.waiting.store(waiting, Ordering::Relaxed);
    counts.dead.store(dead, Ordering::Relaxed);
    Ok(())
}

async fn begin(control: &Control) -> Result<Transaction, StoreError> {
    control.store.write(&Permit::for_system(None, "messages to people")).await
}

/// Sends the most urgent message that is due; whether there was one.
///
/// # Errors
/// If the database fails. A message that was claimed then is tried again when its lease is over.
pub async fn turn(control: &Control) -> Result<bool, StoreError> {
    let transaction = begin(control).await?;
    let claimed = queries::claim(&transaction, control.clock().now(), LEASE).await?;
    let Some(claimed) = claimed else {
        transaction.finish().await?;
        return Ok(false);
    };
    transaction.commit_telemetry().await?;
    let ended = attempt(control, &claimed).await?;
    finish(control, &claimed, ended).await?;
    Ok(true)
}

/// How a try ended.
enum Ended {
    Sent {
        provider_id: String,
        content: Content,
    },
    /// What it was for is done, and its row is gone.
    Done,
    /// One message for each of these.
    For(Vec<Address>, Content),
    /// Never, and why.
    Not(&'static str),
    Failed {
        is_final: bool,
        problem: String,
    },
}

async fn attempt(control: &Control, claimed: &MessageRow) -> Result<Ended, StoreError> {
    let failed = |problem: String| Ended::Failed { is_final: true, problem };
    if claimed.expires_at.is_some_and(|time| time <= control.clock().now()) {
        return Ok(Ended::Not("it is no use any more"));
    }
    let Some(template) = template::named(&claimed.template) else {
        return Ok(failed(format!("this binary knows no template `{}`", claimed.template)));
    };
    let Some(sealed) = &claimed.content else { return Ok(failed("what it says was forgotten".to_owned())) };
    let Ok(content) = Content::open(control, claimed.id, sealed) else {
        return Ok(failed("what it says does not open: the master key is another".to_owned()));
    };
    if let Some(number) = content.number() {
        return text(control, claimed, template, &number, content).await;
    }
    match content.to.clone() {
        Some(to) if claimed.audience == HOLDER => pass_on(control, claimed, &to).await,
        Some(to) => deliver(control, claimed, template, to, content).await,
        None => spread(control, claimed, content).await,
    }
}

/// Does for whoever has an address what was asked for; a message to them is another one. Of an address that nobody has nothing is kept.
async fn pass_on(control: &Control, claimed: &MessageRow, holder: &Address) -> Result<Ended, StoreError> {
    let transaction = begin(control).await?;
    if let Err(refusal) = identity::mail_reset_link(control, &transaction, holder).await {
        transaction.rollback().await?;
        return Ok(Ended::Failed { is_final: false, problem: refusal.to_string() });
    }
    match queries::remove(&transaction, claimed).await? {
        true => transaction.commit_telemetry().await?,
        // Its lease is over, and another one does it.
        false => transaction.rollback().await?,
    }
    Ok(Ended::Done)
}

/// Finds who a message is for.
async fn spread(control: &Control, claimed: &MessageRow, content: Content) -> Result<Ended, StoreError> {
    let Some(to) = To::stored(&claimed.audience, claimed.user) else {
        return Ok(Ended::Failed { is_final: true, problem: "nobody is named as its receiver".to_owned() });
    };
    let transaction = begin(control).await?;
    let found = addresses(control, &transaction, claimed.tenant, &to).await?;
    transaction.finish().await?;
    Ok(if found.is_empty() {
        Ended::Not("there is nobody to send it to")
    } else {
        Ended::For(found, content)
    })
}

async fn deliver(
    control: &Control,
    claimed: &MessageRow,
    template: &'static Template,
    to: Address,
    content: Content,
) -> Result<Ended, StoreError> {
    let post = &control.messages;
    let mut values = content.values.clone();
    let brand = look(control, claimed, &mut values).await?;
    let rendered = match post.texts.render(template, "en", &values) {
        Ok(rendered) => rendered,
        Err(error) => return Ok(Ended::Failed { is_final: false, problem: describe(&error) }),
    };
    let created_s = claimed.created_at.as_second();
    let message = match compose(&post.settings, (claimed.id, created_s), (&brand, &to), rendered) {
        Ok(message) => message,
        Err(error) => return Ok(Ended::Failed { is_final: true, problem: error.to_string() }),
    };
    let name =
        format!("{}-{}-{}", claimed.created_at.strftime("%Y%m%dT%H%M%S"), claimed.template, claimed.id);
    Ok(match post.transport.deliver(&name, &message).await {
        Ok(provider_id) => Ended::Sent { provider_id, content: content.without_secrets(template) },
        Err(error) => {
            Ended::Failed { is_final: error.is_final, problem: error.detail.replace(to.as_str(), &to.hint()) }
        }
    })
}

/// Sends a text message: the subject of its template, which is one line.
async fn text(
    control: &Control,
    claimed: &MessageRow,
    template: &'static Template,
    number: &Number,
    content: Content,
) -> Result<Ended, StoreError> {
    let post = &control.messages;
    let Some(sms) = &post.settings.sms else {
        let problem = "no provider of text messages is set (`messages.sms_url`)".to_owned();
        return Ok(Ended::Failed { is_final: false, problem });
    };
    let mut values = content.values.clone();
    look(control, claimed, &mut values).await?;
    let rendered = match post.texts.render(template, "en", &values) {
        Ok(rendered) => rendered,
        Err(error) => return Ok(Ended::Failed { is_final: false, problem: describe(&error) }),
    };
    Ok(match sms.deliver(&control.outbound, claimed.id, number, &rendered.subject).await {
        Ok(provider_id) => Ended::Sent { provider_id, content: content.without_secrets(template) },
        Err(error) => Ended::Failed { is_final: error.is_final, problem: error.detail },
    })
}

/// Adds what every text may use; the brand.
pub(super) async fn look(
    control: &Control,
    claimed: &MessageRow,
    values: &mut super::texts::Values,
) -> Result<String, StoreError> {
    let transaction = begin(control).await?;
    let record = tenancy::get(&transaction, claimed.tenant).await?;
    let own = tenancy::brand(&transaction, claimed.tenant).await?;
    transaction.finish().await?;
    let brand = own.unwrap_or_else(|| control.messages.settings.brand.clone());
    let (name, code) = match record {
        Some(record) => (record.tenant.company_name, record.tenant.code),
        None => (claimed.tenant.to_string(), String::new()),
    };
    for (key, value) in [("brand", brand.clone()), ("tenant_name", name), ("tenant_code", code)] {
        values.entry(key.to_owned()).or_insert(value);
    }
    Ok(brand)
}

async fn finish(control: &Control, claimed: &MessageRow, ended: Ended) -> Result<(), StoreError> {
    let post = &control.messages;
    if matches!(ended, Ended::Done) {
        return Ok(());
    }
    let now = control.clock().now();
    let transaction = begin(control).await?;
    let kept = claimed.content.as_deref();
    let outcome = |state, content, problem| Outcome {
        state,
        content,
        next_try_at: now,
        provider_id: None,
        problem,
        sent_at: None,
    };
    let settled = match &ended {
        Ended::Sent { provider_id, content } => {
            let sealed = content.close(control, claimed.id);
            let sent = Outcome {
                provider_id: Some(cut(provider_id)),
                sent_at: Some(now),
                ..outcome(State::Sent, Some(&sealed), None)
            };
            queries::settle(&transaction, claimed, &sent).await?
        }
        Ended::For(found, content) => {
            let is_ours =
                queries::settle(&transaction, claimed, &outcome(State::Expanded, None, None)).await?;
            if is_ours {
                hand_on(control, &transaction, claimed, (found, content), now).await?;
            }
            is_ours
        }
        Ended::Done => false,
        Ended::Not(why) => {
            queries::settle(&transaction, claimed, &outcome(State::Suppressed, None, Some(why))).await?
        }
        Ended::Failed { is_final, problem } => {
            let again = wait_after(claimed.attempts).filter(|_| !is_final);
            let state = if again.is_some() { State::Queued } else { State::Failed };
            let next_try_at = now + SignedDuration::from_secs(again.unwrap_or(0));
            let failed = Outcome { next_try_at, ..outcome(state, kept, Some(cut(problem))) };
            queries::settle(&transaction, claimed, &failed).await?
        }
    };
    transaction.commit_telemetry().await?;
    if settled {
        tell(post, claimed, &ended);
    }
    Ok(())
}

fn tell(post: &super::Post, claimed: &MessageRow, ended: &Ended) {
    match ended {
        Ended::Sent { .. } => post.count(|counts| &counts.sent),
        // The new messages ring by themselves.
        Ended::For(..) | Ended::Done => {}
        Ended::Not(_) => post.count(|counts| &counts.suppressed),
        Ended::Failed { is_final, problem } if *is_final || wait_after(claimed.attempts).is_none() => {
            post.count(|counts| &counts.failed);
            tracing::error!(message = %claimed.id, template = claimed.template, problem,
                "a message could not be sent; next: rowhouse message resend {}", claimed.id);
        }
        Ended::Failed { problem, .. } => {
            post.count(|counts| &counts.deferred);
            tracing::warn!(message = %claimed.id, template = claimed.template, attempt = claimed.attempts, problem,
                "a message could not be sent; it is tried again");
        }
    }
}

/// One message for each address, once each. Those to the operator are the operator's own.
async fn hand_on(
    control: &Control,
    transaction: &Transaction,
    parent: &MessageRow,
    (found, content): (&[Address], &Content),
    now: Timestamp,
) -> Result<(), StoreError> {
    for address in found {
        let id = MessageId(control.entropy().uuid_v7(now.as_microsecond()));
        let own = Content { to: Some(address.clone()), number: None, values: content.values.clone() };
        let row = NewRow {
            id,
            tenant: parent.tenant,
            template: &parent.template,
            key: &format!("{}/{}", parent.id, id),
            audience: &parent.audience,
            user: parent.user,
            hint: Some(address.hint()),
            content: own.close(control, id),
            priority: parent.priority,
            expires_at: parent.expires_at,
            parent: Some(parent.id),
            now,
        };
        queries::insert(transaction, &row).await?;
    }
    Ok(())
}

fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(PROBLEM_MAX).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// Sends again what was left, or was sent and is asked for once more.
///
/// # Errors
/// 404 for one that the permit does not reach; 409 `messages.not_resendable` for one that is still under way, that nobody
/// was to get, whose codes and links are forgotten because it was sent, or that is older than 7 days.
pub async fn resend(
    control: &Control,
    permit: &Permit,
    id: MessageId,
    request_id: RequestId,
) -> Result<MessageRow, Refusal> {
    let transaction = control.store.write(permit).await?;
    let none = || Refusal::new(&kind::NOT_FOUND, "There is no message with this id.");
    let row = queries::one(&transaction, id).await?.ok_or_else(none)?;
    refuse_resend(&row)?;
    if !queries::requeue(&transaction, id, control.clock().now()).await? {
        return Err(not_resendable("it is under way"));
    }
    let change = Change::new(row.tenant, "messages.message_resent", "update", permit.principal())
        .on("message", id)
        .details(json!({ "template": row.template, "state": row.state.as_str() }))
        .request(request_id);
    let again = queries::one(&transaction, id).await?.ok_or_else(none)?;
    transaction.commit(change).await?;
    Ok(again)
}

fn refuse_resend(row: &MessageRow) -> Result<(), Refusal> {
    let has_secrets = template::named(&row.template).is_some_and(|template| !template.secrets.is_empty());
    match row.state {
        State::Failed | State::Sent if row.content.is_none() => {
            Err(not_resendable("what it says was forgotten after 7 days"))
        }
        State::Failed => Ok(()),
        State::Sent if has_secrets => {
            Err(not_resendable("its codes and links were forgotten when it was sent; have a new one made"))
        }
        State::Sent => Ok(()),
        State::Queued | State::Sending => Err(not_resendable("it is under way")),
        State::Suppressed | State::Expanded => Err(not_resendable("it was for nobody by itself")),
    }
}

fn not_resendable(why: &str) -> Refusal {
    Refusal::new(&kind::MESSAGE_NOT_RESENDABLE, format!("The message cannot be sent again: {why}."))
}
