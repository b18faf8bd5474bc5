//! `/v1/certificates/match`: whom a certificate would sign in, and what a rule about it could say.

use axum::Json;
use axum::extract::State;
use rowhouse_domain::identity::certificate::{CertificateFacts, certificates, fingerprint, names};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::time;
use super::hexadecimal;
use crate::Shared;
use crate::api::{Answer, Body, Caller, Parameters, TenantParameter};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(match_certificate))
}

/// A chain as a client would show it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Chain {
    /// PEM: its bearer's own certificate, then at most two between it and the authority.
    certificates: String,
}

/// What would come of it.
#[derive(Debug, Serialize, ToSchema)]
struct MatchAnswer {
    /// Whom it signs in, if anybody.
    service_account: Option<String>,
    /// Which authority vouches for it.
    authority: Option<String>,
    /// What it is known by: `spki_sha256`, `uri`, `dns` or `subject`.
    by: Option<&'static str>,
    /// What is against it: `malformed`, `too_long`, `unknown_authority`, `not_yet`, `expired`, `wrong_use`, `wrong_name`,
    /// `bad_signature`, `revoked`, `untrusted`, `ambiguous`.
    reason: Option<&'static str>,
    sha256: String,
    serial: String,
    not_before: String,
    not_after: String,
    /// What it can be known by.
    spki_sha256: String,
    uris: Vec<String>,
    dns: Vec<String>,
    subject: String,
}

/// Whom a certificate would sign in now, as gateways decide it. That its bearer holds the key is not asked here.
#[utoipa::path(
    post, path = "/v1/certificates/match", operation_id = "identity.match_certificate", tag = "identity",
    params(TenantParameter), request_body = Chain, responses((status = 200, body = MatchAnswer))
)]
async fn match_certificate(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<Chain>,
) -> Answer<Json<MatchAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    caller.permit("certificate:read", Some(tenant))?;
    let unread = || {
        let refusal = Refusal::new(&kind::AUTHORITY_INVALID, "The certificates cannot be read.");
        refusal.field("/certificates", "invalid", "certificates in PEM, the bearer's own first")
    };
    let chain = certificates(&body.value.certificates).ok_or_else(unread)?;
    let own = chain.first().ok_or_else(unread)?;
    let (facts, names) = CertificateFacts::read(own).zip(names(own)).ok_or_else(unread)?;
    let directory = control.directory.current();
    let believed =
        directory.tenants.get(&tenant).map(|tenant| tenant.authorities.clone()).unwrap_or_default();
    let verdict = believed.recognise(&chain, control.clock().now_us());
    let found = verdict.ok();
    Ok(Json(MatchAnswer {
        service_account: found.map(|found| found.account.to_string()),
        authority: found.map(|found| found.authority.to_string()),
        by: found.map(|found| found.by.as_str()),
        reason: verdict.err().map(|fault| fault.as_str()),
        sha256: hexadecimal(&fingerprint(own)),
        serial: facts.serial,
        not_before: time(facts.valid_s.0).to_string(),
        not_after: time(facts.valid_s.1).to_string(),
        spki_sha256: names.spki_sha256,
        uris: names.uris,
        dns: names.dns,
        subject: facts.subject,
    }))
}
