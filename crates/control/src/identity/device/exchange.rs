//! How a request stands, for the program that made it (RFC 8628 §3.4, §3.5).

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::Refusal;

use super::OWN_CLIENT;
use super::queries::{self, Allowed};
use crate::Control;
use crate::identity::session::{self, Begun, Entrance, ForApplication};
use crate::identity::sign_in::{Source, policy};
use crate::identity::{application, may_enter, queries as people, token};

/// Longest pause that is asked for, in seconds.
const INTERVAL_MAX_S: i32 = 60;

/// What is answered, in the RFC's words.
#[derive(Debug)]
pub enum Polled {
    Done(Box<Begun>),
    No(&'static str),
}

/// How a request stands; a session, once, if it was allowed.
///
/// # Errors
/// If the database fails.
pub async fn poll(
    control: &Control,
    (client_id, device_code): (&str, &str),
    source: &Source,
    request_id: RequestId,
) -> Result<Polled, Refusal> {
    let transaction =
        control.store.write(&Permit::for_system(None, "a program that asks how it stands")).await?;
    let digest = token::digest(control, "device_code", device_code);
    let Some(row) = queries::lock(&transaction, &digest).await? else {
        return Ok(Polled::No("invalid_grant"));
    };
    let own = row.application.map_or_else(|| OWN_CLIENT.to_owned(), |id| id.to_string());
    if client_id != own {
        return Ok(Polled::No("invalid_grant"));
    }
    let now = control.clock().now();
    if row.expires_at <= now {
        return Ok(Polled::No("expired_token"));
    }
    match (row.state.as_str(), row.allowed) {
        ("waiting", _) => {
            let early =
                row.polled_at.is_some_and(|at| now.duration_since(at).as_secs() < i64::from(row.interval_s));
            let interval = if early { (row.interval_s + 5).min(INTERVAL_MAX_S) } else { row.interval_s };
            queries::polled(&transaction, &digest, interval, now).await?;
            transaction.commit_telemetry().await?;
            Ok(Polled::No(if early { "slow_down" } else { "authorization_pending" }))
        }
        ("denied", _) => Ok(Polled::No("access_denied")),
        ("allowed", Some(allowed)) => {
            queries::used(&transaction, &digest).await?;
            if !is_welcome(control, &transaction, &allowed).await? {
                transaction.commit_telemetry().await?;
                return Ok(Polled::No("access_denied"));
            }
            let application = match row.application {
                Some(id) => application::one(&transaction, id).await?,
                None => None,
            };
            if row.application.is_some() && application.is_none() {
                transaction.commit_telemetry().await?;
                return Ok(Polled::No("access_denied"));
            }
            let name = application.as_ref().map_or_else(|| "Rowhouse".to_owned(), |own| own.name.clone());
            let in_force = policy::in_force(&transaction, allowed.tenant).await?;
            let (ip, agent) = (source.ip(), format!("{name} (device)"));
            let entrance = Entrance {
                user: allowed.user,
                tenant: allowed.tenant,
                evidence: allowed.evidence.clone().shown_elsewhere(),
                policy: &in_force.policy,
                ip: &ip,
                agent: &agent,
                by_cookie: false,
                // It is told nothing more of the person; what it may use the page has said.
                application: row.application.map(|id| ForApplication {
                    id,
                    scope: application.map(|own| own.permissions.join(" ")).unwrap_or_default(),
                }),
                request_id,
            };
            let Some((begun, changes)) = session::begin(control, &transaction, entrance).await? else {
                transaction.commit_telemetry().await?;
                return Ok(Polled::No("access_denied"));
            };
            transaction.commit_all(changes).await?;
            Ok(Polled::Done(Box::new(begun)))
        }
        _ => Ok(Polled::No("invalid_grant")),
    }
}

/// Whether the browser's session is still there, and the person may still enter.
async fn is_welcome(
    control: &Control,
    transaction: &rowhouse_store::Transaction,
    allowed: &Allowed,
) -> Result<bool, Refusal> {
    let now = control.clock().now();
    people::hold_member(transaction, allowed.tenant, allowed.user).await?;
    let parent = session::queries::lock(transaction, allowed.session).await?;
    let entry = may_enter(control, transaction, allowed.tenant, allowed.user).await?;
    Ok(parent.is_some_and(|own| !own.is_over(now)) && entry.is_some_and(|entry| entry.may_go_on()))
}
