//! Rows of connections, of who of their people is who here, and of answers that were taken.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rowhouse_domain::id::{ConnectionId, TenantId, UserId};
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

use super::connection::{ConnectionRow, Discovery};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT connection_id, tenant_id, name, issuer, client_id, client_secret, email_domains, roles, role_claim, \
             role_map, creates_members, proves_mfa, assumes_verified, state, discovery, key_set, fetched_at, tried_at, \
             last_problem, tested_version, test_result, version, created_by, created_at, changed_at FROM identity.connections ",
            $rest
        )
    };
}

fn parse(row: &Row) -> ConnectionRow {
    ConnectionRow {
        id: ConnectionId(row.get(0)),
        tenant: TenantId(row.get(1)),
        name: row.get(2),
        issuer: row.get(3),
        client_id: row.get(4),
        secret: row.get(5),
        domains: row.get(6),
        roles: row.get(7),
        role_claim: row.get(8),
        role_map: row.get::<_, Json<_>>(9).0,
        creates_members: row.get(10),
        proves_mfa: row.get(11),
        assumes_verified: row.get(12),
        is_active: row.get::<_, &str>(13) == "active",
        discovery: row.get::<_, Json<Discovery>>(14).0,
        key_set: row.get(15),
        fetched_at: row.get(16),
        tried_at: row.get(17),
        last_problem: row.get(18),
        tested_version: row.get(19),
        test_result: row.get::<_, Option<Json<Value>>>(20).map(|own| own.0),
        version: row.get(21),
        created_by: row.get(22),
        created_at: row.get(23),
        changed_at: row.get(24),
    }
}

/// The connections of a tenant, oldest first.
pub(super) async fn of_tenant(tx: &Transaction, tenant: TenantId) -> Result<Vec<ConnectionRow>, StoreError> {
    let rows = tx.query(select!("WHERE tenant_id = $1 ORDER BY connection_id"), &[&tenant.0]).await?;
    Ok(rows.iter().map(parse).collect())
}

/// Those that are active.
pub async fn active_of(tx: &Transaction, tenant: TenantId) -> Result<Vec<ConnectionRow>, StoreError> {
    let all = of_tenant(tx, tenant).await?;
    Ok(all.into_iter().filter(|row| row.is_active).collect())
}

/// Active ones that a domain's addresses may come in by, oldest first.
pub(super) async fn of_domain(tx: &Transaction, domain: &str) -> Result<Vec<ConnectionRow>, StoreError> {
    let sql = select!("WHERE state = 'active' AND email_domains @> ARRAY[$1::text] ORDER BY connection_id");
    Ok(tx.query(sql, &[&domain]).await?.iter().map(parse).collect())
}

pub(super) async fn find(tx: &Transaction, id: ConnectionId) -> Result<Option<ConnectionRow>, StoreError> {
    Ok(tx.query_opt(select!("WHERE connection_id = $1"), &[&id.0]).await?.as_ref().map(parse))
}

/// One, held against others.
pub(super) async fn lock(tx: &Transaction, id: ConnectionId) -> Result<Option<ConnectionRow>, StoreError> {
    Ok(tx.query_opt(select!("WHERE connection_id = $1 FOR UPDATE"), &[&id.0]).await?.as_ref().map(parse))
}

/// Stores one, or what was changed of it.
pub(super) async fn put(tx: &Transaction, row: &ConnectionRow) -> Result<(), StoreError> {
    let state = if row.is_active { "active" } else { "off" };
    let values: &[&(dyn ToSql + Sync)] = &[
        &row.id.0,
        &row.tenant.0,
        &row.name,
        &row.issuer,
        &row.client_id,
        &row.secret,
        &row.domains,
        &row.roles,
        &row.role_claim,
        &Json(&row.role_map),
        &row.creates_members,
        &row.proves_mfa,
        &row.assumes_verified,
        &state,
        &Json(&row.discovery),
        &row.key_set,
        &row.fetched_at,
        &row.tried_at,
        &row.last_problem,
        &row.tested_version,
        &row.test_result.as_ref().map(Json),
        &row.version,
        &row.created_by,
        &row.created_at,
        &row.changed_at,
    ];
    let sql = "INSERT INTO identity.connections AS c (connection_id, tenant_id, name, issuer, client_id, client_secret, \
               email_domains, roles, role_claim, role_map, creates_members, proves_mfa, assumes_verified, state, discovery, \
               key_set, fetched_at, tried_at, last_problem, tested_version, test_result, version, created_by, created_at, \
               changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
               $20, $21, $22, $23, $24, $25) \
               ON CONFLICT ON CONSTRAINT connections_pkey DO UPDATE SET name = excluded.name, issuer = excluded.issuer, \
               client_id = excluded.client_id, client_secret = excluded.client_secret, \
               email_domains = excluded.email_domains, roles = excluded.roles, role_claim = excluded.role_claim, \
               role_map = excluded.role_map, creates_members = excluded.creates_members, \
               proves_mfa = excluded.proves_mfa, assumes_verified = excluded.assumes_verified, state = excluded.state, \
               discovery = excluded.discovery, key_set = excluded.key_set, fetched_at = excluded.fetched_at, \
               tried_at = excluded.tried_at, last_problem = excluded.last_problem, \
               tested_version = excluded.tested_version, test_result = excluded.test_result, version = excluded.version, \
               changed_at = excluded.changed_at";
    tx.execute(sql, values).await.map(drop)
}

pub(super) async fn delete(tx: &Transaction, id: ConnectionId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM identity.connections WHERE connection_id = $1", &[&id.0]).await.map(drop)
}

/// Takes the next look at its documents for itself, if nobody has looked since `before`.
pub(super) async fn claim(
    tx: &Transaction,
    id: ConnectionId,
    (before, now): (Timestamp, Timestamp),
) -> Result<bool, StoreError> {
    let sql = "UPDATE identity.connections SET tried_at = $3 WHERE connection_id = $1 AND tried_at <= $2";
    Ok(tx.execute(sql, &[&id.0, &before, &now]).await? == 1)
}

/// Notes what came of looking.
pub(super) async fn fetched(tx: &Transaction, row: &ConnectionRow) -> Result<(), StoreError> {
    let sql = "UPDATE identity.connections SET discovery = $2, key_set = $3, fetched_at = $4, last_problem = $5 \
               WHERE connection_id = $1 AND issuer = $6";
    let values: &[&(dyn ToSql + Sync)] =
        &[&row.id.0, &Json(&row.discovery), &row.key_set, &row.fetched_at, &row.last_problem, &row.issuer];
    tx.execute(sql, values).await.map(drop)
}

/// Notes what came of a test of the version that was read.
pub(super) async fn tested(
    tx: &Transaction,
    row: &ConnectionRow,
    (ok, result): (bool, &Value),
) -> Result<(), StoreError> {
    let sql = "UPDATE identity.connections SET test_result = $2, \
               tested_version = CASE WHEN $3 THEN $4 ELSE tested_version END WHERE connection_id = $1 AND version = $4";
    tx.execute(sql, &[&row.id.0, &Json(result), &ok, &row.version]).await.map(drop)
}

/// Whether single sign-on may be enforced as far as connections go: an active one was tested as it is.
pub async fn may_enforce(tx: &Transaction, tenant: TenantId) -> Result<bool, StoreError> {
    let all = active_of(tx, tenant).await?;
    Ok(all.iter().any(|row| row.tested_version == Some(row.version)))
}

/// Who a provider's person is here.
#[derive(Debug, Clone)]
pub struct LinkRow {
    pub connection: ConnectionId,
    pub tenant: TenantId,
    pub subject: String,
    pub user: UserId,
    /// Those that the connection gave.
    pub roles: Vec<String>,
    pub linked_at: Timestamp,
    pub last_used_at: Timestamp,
}

macro_rules! select_links {
    ($rest:literal) => {
        concat!(
            "SELECT connection_id, tenant_id, subject, user_id, roles, linked_at, last_used_at FROM identity.provider_links ",
            $rest
        )
    };
}

fn link(row: &Row) -> LinkRow {
    LinkRow {
        connection: ConnectionId(row.get(0)),
        tenant: TenantId(row.get(1)),
        subject: row.get(2),
        user: UserId(row.get(3)),
        roles: row.get(4),
        linked_at: row.get(5),
        last_used_at: row.get(6),
    }
}

/// The link of a provider's person.
pub(super) async fn link_of(
    tx: &Transaction,
    connection: ConnectionId,
    subject: &str,
) -> Result<Option<LinkRow>, StoreError> {
    let sql = select_links!("WHERE connection_id = $1 AND subject = $2");
    Ok(tx.query_opt(sql, &[&connection.0, &subject]).await?.as_ref().map(link))
}

/// The links of a person, or of a connection, at most 1,000.
pub(super) async fn links(
    tx: &Transaction,
    (user, connection): (Option<UserId>, Option<ConnectionId>),
) -> Result<Vec<LinkRow>, StoreError> {
    let sql = select_links!(
        "WHERE ($1::uuid IS NULL OR user_id = $1) AND ($2::uuid IS NULL OR connection_id = $2) \
         ORDER BY linked_at, user_id LIMIT 1000"
    );
    let rows = tx.query(sql, &[&user.map(|own| own.0), &connection.map(|own| own.0)]).await?;
    Ok(rows.iter().map(link).collect())
}

/// Who has a link at a connection of the tenant that is active.
pub(super) async fn linked(tx: &Transaction, tenant: TenantId) -> Result<BTreeSet<UserId>, StoreError> {
    let sql = "SELECT DISTINCT l.user_id FROM identity.provider_links l \
               JOIN identity.connections c USING (connection_id) WHERE c.tenant_id = $1 AND c.state = 'active'";
    Ok(tx.query(sql, &[&tenant.0]).await?.iter().map(|row| UserId(row.get(0))).collect())
}

/// Links a provider's person; false if either has a link at this connection.
pub(super) async fn put_link(tx: &Transaction, row: &LinkRow) -> Result<bool, StoreError> {
    let sql = "INSERT INTO identity.provider_links (connection_id, tenant_id, subject, user_id, roles, linked_at, last_used_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT DO NOTHING";
    let values: &[&(dyn ToSql + Sync)] =
        &[&row.connection.0, &row.tenant.0, &row.subject, &row.user.0, &row.roles, &row.linked_at];
    Ok(tx.execute(sql, values).await? == 1)
}

/// A link was used, and gives these roles now.
pub(super) async fn use_link(tx: &Transaction, row: &LinkRow, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE identity.provider_links SET roles = $3, last_used_at = $4 WHERE connection_id = $1 AND subject = $2";
    tx.execute(sql, &[&row.connection.0, &row.subject, &row.roles, &now]).await.map(drop)
}

/// Takes the link of a person away; whether there was one.
pub(super) async fn delete_link(
    tx: &Transaction,
    connection: ConnectionId,
    user: UserId,
) -> Result<bool, StoreError> {
    let sql = "DELETE FROM identity.provider_links WHERE connection_id = $1 AND user_id = $2";
    Ok(tx.execute(sql, &[&connection.0, &user.0]).await? == 1)
}

/// Takes an answer; false if it was taken before.
pub(super) async fn take_answer(
    tx: &Transaction,
    digest: &[u8],
    until: Timestamp,
) -> Result<bool, StoreError> {
    let sql =
        "INSERT INTO identity.provider_answers (digest, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    Ok(tx.execute(sql, &[&digest, &until]).await? == 1)
}

/// Takes all links of a connection away.
pub(super) async fn delete_links(tx: &Transaction, connection: ConnectionId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM identity.provider_links WHERE connection_id = $1", &[&connection.0])
        .await
        .map(drop)
}
