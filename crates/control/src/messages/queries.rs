//! Rows of messages.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::id::{MessageId, TenantId, UserId};
use rowhouse_store::{StoreError, Topic, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

/// How a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for its time.
    Queued,
    /// With a sender now.
    Sending,
    /// The transport has it.
    Sent,
    /// Left for a person.
    Failed,
    /// Nobody to send it to, or no longer of use.
    Suppressed,
    /// Was for a role; went on as one message for each address.
    Expanded,
}

const STATES: [(State, &str); 6] = [
    (State::Queued, "queued"),
    (State::Sending, "sending"),
    (State::Sent, "sent"),
    (State::Failed, "failed"),
    (State::Suppressed, "suppressed"),
    (State::Expanded, "expanded"),
];

impl State {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).expect("all are listed").1
    }

    /// What was stored.
    pub fn parse(word: &str) -> Option<State> {
        STATES.iter().find(|(_, own)| *own == word).map(|(state, _)| *state)
    }
}

/// A message.
#[derive(Debug, Clone)]
pub struct MessageRow {
    /// Its id.
    pub id: MessageId,
    /// Whom it is about.
    pub tenant: TenantId,
    /// Name of its template.
    pub template: String,
    /// What it is once for.
    pub key: String,
    /// To whom, as a word.
    pub audience: String,
    /// The person it is for.
    pub user: Option<UserId>,
    /// The address, so that its owner recognises it.
    pub hint: Option<String>,
    /// Address and values, sealed; gone after 7 days.
    pub content: Option<Vec<u8>>,
    /// Rank of its priority.
    pub priority: i16,
    /// How it stands.
    pub state: State,
    /// Tries so far.
    pub attempts: i32,
    /// When it is tried next, or its lease ends.
    pub next_try_at: Timestamp,
    /// After this it is no use.
    pub expires_at: Option<Timestamp>,
    /// What the transport answered.
    pub provider_id: Option<String>,
    /// Why the last try failed.
    pub problem: Option<String>,
    /// Who caused it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When the transport took it.
    pub sent_at: Option<Timestamp>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT message_id, tenant_id, template, key, audience, user_id, hint, content, priority, state, attempts, \
             next_try_at, expires_at, provider_id, problem, created_by, created_at, sent_at FROM messages.messages ",
            $rest
        )
    };
}

fn message(row: &Row) -> Result<MessageRow, StoreError> {
    Ok(MessageRow {
        id: MessageId(row.get(0)),
        tenant: TenantId(row.get(1)),
        template: row.get(2),
        key: row.get(3),
        audience: row.get(4),
        user: row.get::<_, Option<Uuid>>(5).map(UserId),
        hint: row.get(6),
        content: row.get(7),
        priority: row.get(8),
        state: State::parse(row.get(9)).ok_or(StoreError::Stored { what: "the state of a message" })?,
        attempts: row.get(10),
        next_try_at: row.get(11),
        expires_at: row.get(12),
        provider_id: row.get(13),
        problem: row.get(14),
        created_by: row.get(15),
        created_at: row.get(16),
        sent_at: row.get(17),
    })
}

/// A message to be stored.
#[derive(Debug)]
pub(super) struct NewRow<'a> {
    pub id: MessageId,
    pub tenant: TenantId,
    pub template: &'a str,
    pub key: &'a str,
    pub audience: &'a str,
    pub user: Option<UserId>,
    pub hint: Option<String>,
    pub content: Vec<u8>,
    pub priority: i16,
    pub expires_at: Option<Timestamp>,
    pub parent: Option<MessageId>,
    pub now: Timestamp,
}

/// Stores a message; false if it is there already.
pub(super) async fn insert(transaction: &Transaction, new: &NewRow<'_>) -> Result<bool, StoreError> {
    let stored = transaction
        .execute(
            "INSERT INTO messages.messages (message_id, tenant_id, template, key, audience, user_id, hint, content, \
             priority, state, next_try_at, expires_at, parent, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'queued', $10, $11, $12, $13, $10) \
             ON CONFLICT ON CONSTRAINT messages_once DO NOTHING",
            &[
                &new.id.0,
                &new.tenant.0,
                &new.template,
                &new.key,
                &new.audience,
                &new.user.map(|user| user.0),
                &new.hint,
                &new.content,
                &new.priority,
                &new.now,
                &new.expires_at,
                &new.parent.map(|parent| parent.0),
                &transaction.principal().to_string(),
            ],
        )
        .await?;
    transaction.touch(Topic::Messages);
    Ok(stored == 1)
}

/// Takes the most urgent message that is due, until its lease ends at `until`.
pub(super) async fn claim(
    transaction: &Transaction,
    now: Timestamp,
    lease: SignedDuration,
) -> Result<Option<MessageRow>, StoreError> {
    let row = transaction
        .query_opt(
            "UPDATE messages.messages SET state = 'sending', attempts = attempts + 1, next_try_at = $2 \
             WHERE message_id = (SELECT message_id FROM messages.messages \
                 WHERE state IN ('queued', 'sending') AND next_try_at <= $1 \
                 ORDER BY priority, next_try_at LIMIT 1 FOR UPDATE SKIP LOCKED) \
             RETURNING message_id, tenant_id, template, key, audience, user_id, hint, content, priority, state, \
                 attempts, next_try_at, expires_at, provider_id, problem, created_by, created_at, sent_at",
            &[&now, &(now + lease)],
        )
        .await?;
    row.as_ref().map(message).transpose()
}

/// How a try ended.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub state: State,
    pub content: Option<&'a [u8]>,
    pub next_try_at: Timestamp,
    pub provider_id: Option<&'a str>,
    pub problem: Option<&'a str>,
    pub sent_at: Option<Timestamp>,
}

/// Writes down how the try that holds `claimed` ended; false if it outlived its lease and another one holds it.
pub(super) async fn settle(
    transaction: &Transaction,
    claimed: &MessageRow,
    outcome: &Outcome<'_>,
) -> Result<bool, StoreError> {
    let touched = transaction
        .execute(
            "UPDATE messages.messages SET state = $3, content = $4, next_try_at = $5, provider_id = $6, problem = $7, \
             sent_at = $8 WHERE message_id = $1 AND attempts = $2 AND state = 'sending'",
            &[
                &claimed.id.0,
                &claimed.attempts,
                &outcome.state.as_str(),
                &outcome.content,
                &outcome.next_try_at,
                &outcome.provider_id,
                &outcome.problem,
                &outcome.sent_at,
            ],
        )
        .await?;
    Ok(touched == 1)
}

/// Takes a message away that `claimed` holds; false if it outlived its lease and another one holds it.
pub(super) async fn remove(transaction: &Transaction, claimed: &MessageRow) -> Result<bool, StoreError> {
    let sql = "DELETE FROM messages.messages WHERE message_id = $1 AND attempts = $2 AND state = 'sending'";
    Ok(transaction.execute(sql, &[&claimed.id.0, &claimed.attempts]).await? == 1)
}

/// Puts a message back into the queue, with all its tries.
pub(super) async fn requeue(
    transaction: &Transaction,
    id: MessageId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let touched = transaction
        .execute(
            "UPDATE messages.messages SET state = 'queued', attempts = 0, next_try_at = $2, problem = NULL, sent_at = NULL \
             WHERE message_id = $1 AND state IN ('failed', 'sent') AND content IS NOT NULL",
            &[&id.0, &now],
        )
        .await?;
    transaction.touch(Topic::Messages);
    Ok(touched == 1)
}

/// One message that the transaction sees.
pub(super) async fn one(transaction: &Transaction, id: MessageId) -> Result<Option<MessageRow>, StoreError> {
    let row = transaction.query_opt(select!("WHERE message_id = $1"), &[&id.0]).await?;
    row.as_ref().map(message).transpose()
}

/// Which messages to list.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub tenant: Option<Uuid>,
    pub states: Option<Vec<String>>,
    pub templates: Option<Vec<String>>,
    pub before: Option<Uuid>,
    /// Also those that are for the operator's eyes.
    pub with_operators: bool,
}

/// A page, newest first.
pub(super) async fn list(
    transaction: &Transaction,
    filter: &Filter,
    size: i64,
) -> Result<Vec<MessageRow>, StoreError> {
    let sql = select!(
        "WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::text[] IS NULL OR state = ANY ($2)) \
           AND ($3::text[] IS NULL OR template = ANY ($3)) AND ($4::uuid IS NULL OR message_id < $4) \
           AND ($5 OR audience <> 'operators') AND ($2::text[] IS NOT NULL OR state <> 'expanded') \
         ORDER BY message_id DESC LIMIT $6"
    );
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&filter.tenant, &filter.states, &filter.templates, &filter.before, &filter.with_operators, &size];
    let rows = transaction.query(sql, &parameters).await?;
    rows.iter().map(message).collect()
}

/// How many wait, and how many are left for a person.
pub(super) async fn standing(transaction: &Transaction) -> Result<(u64, u64), StoreError> {
    let row = transaction
        .query_one(
            "SELECT count(*) FILTER (WHERE state IN ('queued', 'sending')), count(*) FILTER (WHERE state = 'failed') \
             FROM messages.messages WHERE state IN ('queued', 'sending', 'failed')",
            &[],
        )
        .await?;
    Ok((row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64))
}

/// Forgets what messages made before `before` hold of people. What still waits keeps it.
pub(super) async fn forget(transaction: &Transaction, before: Timestamp) -> Result<u64, StoreError> {
    transaction
        .execute(
            "UPDATE messages.messages SET content = NULL \
             WHERE content IS NOT NULL AND created_at < $1 AND state NOT IN ('queued', 'sending')",
            &[&before],
        )
        .await
}

/// Forgets everything of people that messages about `tenant` hold, and sends none of them any more; how many there were.
/// For a tenant that is erased; whom to tell of that is found before ([`super::addresses`]), and queued after.
///
/// # Errors
/// If the database fails.
pub async fn erase(transaction: &Transaction, tenant: TenantId) -> Result<u64, StoreError> {
    transaction
        .execute(
            "UPDATE messages.messages SET content = NULL, hint = NULL, user_id = NULL, \
                 state = CASE WHEN state IN ('queued', 'sending') THEN 'suppressed' ELSE state END, \
                 audience = CASE WHEN audience = 'user' THEN 'address' ELSE audience END \
             WHERE tenant_id = $1",
            &[&tenant.0],
        )
        .await
}
