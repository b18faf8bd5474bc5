//! Leaving, coming back, and the certificate.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rowhouse_domain::lifecycle::evidence::Evidence;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::frame::{Opened, close, open, operators, shown};
use crate::Shared;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List};
use crate::lifecycle::decommission::{DecommissionBody, evidence_of, issued, leave, reinstate};
use crate::lifecycle::operations::{Operation, no_such_operation};
use crate::lifecycle::suspension;
use crate::tenancy::{self, Tenant, named};

/// Leaving for good.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(decommission_tenant))
        .routes(routes!(reinstate_tenant))
        .routes(routes!(read_certificate))
        .routes(routes!(list_certificate_keys))
}

/// Lets a tenant leave: it is refused at once, kept for its retention, then erased everywhere. The operation is
/// `scheduled` until then.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/decommission", operation_id = "lifecycle.decommission_tenant",
    tag = "lifecycle", params(("tenant" = String, Path, description = "Id or code")), request_body = DecommissionBody,
    responses((status = 202, body = Operation)))]
async fn decommission_tenant(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    idempotency: Idempotency,
    body: Body<DecommissionBody>,
) -> Answer<Response> {
    let (permit, tenant) = operators(&control, &caller, "tenant:decommission", &name).await?;
    let transaction = match open(&control, &permit, &idempotency, &body.bytes).await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    let left = leave(&control, &transaction, &permit, tenant, (body.value, caller.request_id)).await?;
    let answer = shown(&transaction, left.operation).await?;
    let answer = close(transaction, &idempotency, answer, left.change).await?;
    suspension::bring_rights(&control, tenant).await;
    Ok(answer)
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReinstateBody {
    /// 1 to 500 characters.
    reason: String,
}

/// Takes a leaving tenant back while its data is kept.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/reinstate", operation_id = "lifecycle.reinstate_tenant",
    tag = "lifecycle", params(("tenant" = String, Path, description = "Id or code")), request_body = ReinstateBody,
    responses((status = 200, body = Tenant)))]
async fn reinstate_tenant(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    idempotency: Idempotency,
    body: Body<ReinstateBody>,
) -> Answer<Response> {
    let (permit, tenant) = operators(&control, &caller, "tenant:decommission", &name).await?;
    let transaction = match open(&control, &permit, &idempotency, &body.bytes).await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    let order = (body.value.reason.as_str(), caller.request_id);
    let change = reinstate(&control, &transaction, &permit, tenant, order).await?;
    let record = tenancy::get(&transaction, tenant).await?.ok_or_else(no_such_operation)?;
    let view = tenancy::view(&transaction, record, true).await.map_err(Refusal::from)?;
    let answer = close(transaction, &idempotency, Kept::new(StatusCode::OK, &view), change).await?;
    suspension::bring_rights(&control, tenant).await;
    Ok(answer)
}

/// The certificate of a tenant that has left: a DSSE envelope, and the key that signed it.
#[derive(Debug, Serialize, ToSchema)]
struct SignedCertificate {
    /// `application/vnd.rowhouse.decommission+json`.
    #[serde(rename = "payloadType")]
    payload_type: String,
    /// The certificate's bytes, in base64.
    payload: String,
    /// By the platform's key.
    #[schema(value_type = Vec<Object>)]
    signatures: Vec<rowhouse_domain::lifecycle::envelope::EnvelopeSignature>,
    /// The key; whoever verifies compares it with the one that the operator has published.
    verifier_key: Option<String>,
    /// `inclusion`: the proof that the operator's log says that it was given; `tree_head`: the signed end of the tenant's own log.
    #[schema(value_type = Object)]
    evidence: Evidence,
}

/// The certificate of a tenant that has left, by its id or the code that it had.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/certificate", operation_id = "lifecycle.read_certificate",
    tag = "lifecycle", params(("tenant" = String, Path, description = "Id or code")),
    responses((status = 200, body = SignedCertificate)))]
async fn read_certificate(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Json<SignedCertificate>> {
    let (permit, tenant) = named(&control, &caller, "tenant:read", &name).await?;
    let transaction = control.store.read(&permit).await?;
    let found = issued(&transaction, tenant).await?;
    transaction.finish().await?;
    let none = || {
        Refusal::new(&kind::NOT_FOUND, "There is no certificate: the tenant has not left.")
            .next("Follow its operation `decommission`; the certificate is its last step.")
    };
    let envelope = found.ok_or_else(none)?.envelope;
    Ok(Json(SignedCertificate {
        payload_type: envelope.payload_type,
        payload: envelope.payload,
        signatures: envelope.signatures,
        evidence: evidence_of(&control, tenant).await?,
        verifier_key: control.audit.platform().map(|key| key.verifier().to_string()),
    }))
}

/// A key that certificates are signed with.
#[derive(Debug, Serialize, ToSchema)]
struct CertificateKey {
    /// `name+id+key`, as for the audit log.
    key: String,
    /// `ed25519`.
    algorithm: &'static str,
}

/// The public keys that certificates are signed with. For everybody.
#[utoipa::path(get, path = "/v1/certificate_keys", operation_id = "lifecycle.list_certificate_keys",
    tag = "lifecycle", responses((status = 200, body = List<CertificateKey>)))]
async fn list_certificate_keys(State(control): State<Shared>) -> Json<List<CertificateKey>> {
    let keys = control.audit.platform().into_iter();
    let items = keys.map(|key| CertificateKey { key: key.verifier().to_string(), algorithm: "ed25519" });
    Json(List::whole(items.collect()))
}
