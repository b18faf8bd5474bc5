//! Access tokens of sessions, and what the directory tells gateways about tokens.

use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::id::{SessionId, TenantId};
use rowhouse_domain::identity::token::{
    AUDIENCE_CONTROL, AUDIENCE_GATEWAY, Subject, TOKEN_LEEWAY_S, TOKEN_LIFETIME_MAX_S, TOKEN_LIFETIME_S,
    TokenClaims, TokenKeys, TokenRing,
};
use rowhouse_store::{StoreError, Transaction};
use sha2::Sha256;

use super::queries::{self, SessionRow};
use crate::Control;
use crate::identity::client;

/// The keys of this installation, as the running transaction knows their generation. The transaction must see the platform.
pub async fn ring(control: &Control, transaction: &Transaction) -> Result<TokenRing, StoreError> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&control.settings.sealing_key)
        .expect("a key of any length");
    mac.update(b"identity/token_ring/v1");
    let generation = u32::try_from(queries::generation(transaction).await?);
    let generation = generation.map_err(|_| StoreError::Stored { what: "the generation of token keys" })?;
    Ok(TokenRing::new(mac.finalize().into_bytes().into(), generation))
}

/// What gateways verify tokens with.
///
/// # Errors
/// If the database fails.
pub async fn token_keys(control: &Control, transaction: &Transaction) -> Result<TokenKeys, StoreError> {
    let keys = ring(control, transaction).await?.keys(control.clock().now_s());
    Ok(TokenKeys { issuer: control.settings.public_url.clone(), keys })
}

/// Sessions that ended, and secrets of machines that were revoked, while a token of theirs may still be good.
///
/// # Errors
/// If the database fails.
pub async fn load_ended_sessions(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    now: Timestamp,
) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
    let kept = SignedDuration::from_secs(TOKEN_LIFETIME_MAX_S + 2 * TOKEN_LEEWAY_S);
    let mut ended = queries::ended_since(transaction, tenant, now - kept).await?;
    ended.extend(client::revoked_since(transaction, tenant, now - kept).await?);
    Ok(ended)
}

/// A new access token of a session, and how many seconds it is good for.
pub fn access_token(control: &Control, ring: &TokenRing, session: &SessionRow) -> (String, i64) {
    let now_s = control.clock().now_s();
    let lifetime = TOKEN_LIFETIME_S.min(session.absolute_until.as_second() - now_s).max(0);
    let claims = TokenClaims {
        issuer: control.settings.public_url.clone(),
        subject: Subject::User(session.user),
        audience: vec![AUDIENCE_GATEWAY.to_owned(), AUDIENCE_CONTROL.to_owned()],
        tenant: session.tenant,
        session: session.id,
        id: rowhouse_domain::id::encode(u128::from_be_bytes(control.entropy().bytes())),
        issued_at: now_s,
        not_before: now_s,
        expires_at: now_s + lifetime,
        auth_time: session.auth_time.as_second(),
        assurance: session.assurance.to_string(),
        methods: session.evidence.methods(),
        application: session.application.as_ref().map(|own| own.id),
        scope: session.application.as_ref().map(|own| own.scope.clone()),
    };
    (ring.signer(now_s).sign(&claims), lifetime)
}
