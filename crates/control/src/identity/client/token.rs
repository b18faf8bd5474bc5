//! The token for a secret.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::ServiceAccountId;
use rowhouse_domain::identity::is_client_secret;
use rowhouse_domain::identity::token::{
    AUDIENCE_CONTROL, AUDIENCE_GATEWAY, Subject, TOKEN_LIFETIME_S, TokenClaims,
};
use rowhouse_domain::refusal::Refusal;

use super::queries;
use super::secret::PURPOSE;
use crate::identity::{session, token};
use crate::{Control, keys};

/// Who asks, as they say.
#[derive(Debug)]
pub struct Client {
    pub id: String,
    pub secret: String,
}

/// An access token of the account, and how many seconds it is good for; none for whoever is not its client, whatever is against it.
///
/// # Errors
/// If the database fails.
pub async fn client_token(control: &Control, client: &Client) -> Result<Option<(String, i64)>, Refusal> {
    if !is_client_secret(&client.secret) {
        return Ok(None);
    }
    let transaction =
        control.store.write(&Permit::for_system(None, "a machine that asks for a token")).await?;
    let digest = token::digest(control, PURPOSE, &client.secret);
    let now = control.clock().now();
    let found = queries::by_digest(&transaction, &digest).await?;
    let named = client.id.parse::<ServiceAccountId>().ok();
    let Some(row) = found.filter(|row| Some(row.account) == named && row.expires_at > now) else {
        return Ok(None);
    };
    let account = keys::service_account_of(&transaction, row.tenant, row.account.0).await?;
    let directory = control.directory.current();
    let is_served = directory.tenants.get(&row.tenant).is_some_and(|own| own.service.admit("POST").is_ok());
    if account.disabled || !is_served {
        return Ok(None);
    }
    let lifetime = TOKEN_LIFETIME_S.min(row.expires_at.duration_since(now).as_secs());
    let now_s = control.clock().now_s();
    let claims = TokenClaims {
        issuer: control.settings.public_url.clone(),
        subject: Subject::ServiceAccount(row.account),
        audience: vec![AUDIENCE_GATEWAY.to_owned(), AUDIENCE_CONTROL.to_owned()],
        tenant: row.tenant,
        session: row.id,
        id: rowhouse_domain::id::encode(u128::from_be_bytes(control.entropy().bytes())),
        issued_at: now_s,
        not_before: now_s,
        expires_at: now_s + lifetime,
        auth_time: now_s,
        assurance: "1".to_owned(),
        methods: vec!["pwd".to_owned()],
        application: None,
        scope: None,
    };
    let text = session::ring(control, &transaction).await?.signer(now_s).sign(&claims);
    let stale = row.used_at.is_none_or(|used| now.duration_since(used).as_secs() >= 60);
    if stale {
        queries::used(&transaction, row.id, now).await?;
    }
    transaction.commit_telemetry().await?;
    Ok(Some((text, lifetime)))
}
