//! `/v1/revoked_certificates`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::id::{AuthorityId, RevocationId, TenantId};
use rowhouse_domain::identity::certificate::{fingerprint, one_certificate};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{REVOKED_MAX, RevokedRow, hexadecimal, queries};
use crate::Shared;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor, path_id};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list_revoked, revoke)).routes(routes!(reinstate))
}

/// A certificate that is not believed any more.
#[derive(Debug, Serialize, ToSchema)]
struct RevokedAnswer {
    id: String,
    tenant: String,
    /// In hexadecimal.
    sha256: Option<String>,
    /// Below which authority the serial number is meant.
    authority: Option<String>,
    /// In hexadecimal, without zeros in front.
    serial: Option<String>,
    reason: String,
    revoked_at: String,
    revoked_by: String,
}

impl From<&RevokedRow> for RevokedAnswer {
    fn from(row: &RevokedRow) -> Self {
        RevokedAnswer {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            sha256: row.sha256.clone(),
            authority: row.serial.as_ref().map(|(authority, _)| authority.to_string()),
            serial: row.serial.as_ref().map(|(_, serial)| serial.clone()),
            reason: row.reason.clone(),
            revoked_at: row.revoked_at.to_string(),
            revoked_by: row.revoked_by.clone(),
        }
    }
}

/// A certificate to be taken back: itself, its SHA-256, or its authority with its serial number.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Revoke {
    /// The certificate in PEM.
    certificate: Option<String>,
    /// Its SHA-256 in hexadecimal, with or without colons.
    sha256: Option<String>,
    /// An authority of the tenant.
    authority: Option<String>,
    /// Below that authority, in hexadecimal, with or without colons.
    serial: Option<String>,
    /// Why; at most 200 characters.
    #[serde(default)]
    reason: String,
}

/// What is taken back: by SHA-256, or below an authority by serial number.
type Named = (Option<String>, Option<(AuthorityId, String)>);

fn wrong(at: &str, what: &str) -> Refusal {
    Refusal::new(&kind::AUTHORITY_INVALID, "The certificate is not well named.").field(at, "invalid", what)
}

fn digits(text: &str) -> Option<String> {
    let text = text.replace(':', "").to_ascii_lowercase();
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

async fn named(transaction: &Transaction, tenant: TenantId, wanted: &Revoke) -> Result<Named, Refusal> {
    let Revoke { certificate, sha256, authority, serial, reason } = wanted;
    if reason.chars().count() > 200 {
        return Err(wrong("/reason", "at most 200 characters"));
    }
    match (certificate, sha256, authority, serial) {
        (Some(pem), None, None, None) => {
            let der = one_certificate(pem).ok_or_else(|| wrong("/certificate", "one certificate in PEM"))?;
            Ok((Some(hexadecimal(&fingerprint(&der))), None))
        }
        (None, Some(sha256), None, None) => {
            let own = digits(sha256).filter(|own| own.len() == 64);
            Ok((Some(own.ok_or_else(|| wrong("/sha256", "64 hexadecimal digits"))?), None))
        }
        (None, None, Some(authority), Some(serial)) => {
            let unknown = || wrong("/authority", "an authority of the tenant");
            let authority = authority.parse::<AuthorityId>().map_err(|_| unknown())?;
            if !queries::is_of(transaction, tenant, authority).await? {
                return Err(unknown());
            }
            let own = digits(serial).filter(|own| own.len() <= 42);
            let own = own.ok_or_else(|| wrong("/serial", "at most 42 hexadecimal digits"))?;
            let short = own.trim_start_matches('0');
            let short = if short.is_empty() { "0" } else { short };
            Ok((None, Some((authority, short.to_owned()))))
        }
        _ => Err(wrong(
            "/certificate",
            "`certificate`, `sha256`, or `authority` with `serial`; one of the three",
        )),
    }
}

/// Certificates that were taken back, oldest first.
#[utoipa::path(
    get, path = "/v1/revoked_certificates", operation_id = "identity.list_revoked_certificates", tag = "identity",
    params(Page), responses((status = 200, body = List<RevokedAnswer>))
)]
async fn list_revoked(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<RevokedAnswer>>> {
    let scope = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("certificate:read", scope)?;
    let size = page.size()?;
    let query = format!("revoked_certificates {scope:?}");
    let after =
        cursor::after(&control, &query, page.cursor.as_deref())?.unwrap_or(RevocationId::from_u128(0));
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list_revoked(&transaction, after, scope, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    Ok(Json(List { items: rows.iter().map(RevokedAnswer::from).collect(), next_cursor }))
}

/// Takes a certificate back, wherever in a chain it stands: in force within a second, on connections that are open too.
#[utoipa::path(
    post, path = "/v1/revoked_certificates", operation_id = "identity.revoke_certificate", tag = "identity",
    params(TenantParameter), request_body = Revoke, responses((status = 201, body = RevokedAnswer))
)]
async fn revoke(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<Revoke>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("certificate:manage", Some(tenant))?;
    caller.refuse_narrowed()?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let (sha256, serial) = named(&transaction, tenant, &body.value).await?;
    if queries::count_revoked(&transaction, tenant).await? >= REVOKED_MAX {
        let most =
            format!("At most {REVOKED_MAX} certificates are taken back one by one; remove their authority.");
        return Err(Refusal::new(&kind::AUTHORITY_INVALID, most).into());
    }
    let now = control.clock().now();
    let row = RevokedRow {
        id: RevocationId(control.entropy().uuid_v7(now.as_microsecond())),
        tenant,
        sha256,
        serial,
        reason: body.value.reason,
        revoked_by: caller.principal().to_string(),
        revoked_at: now,
    };
    queries::insert_revoked(&transaction, &row).await.map_err(|error| match error.constraint() {
        Some("revoked_certificates_key") => {
            Refusal::new(&kind::REVOCATION_TAKEN, "This certificate is revoked already.")
        }
        _ => error.into(),
    })?;
    let answer = RevokedAnswer::from(&row);
    let details = json!({ "sha256": answer.sha256, "authority": answer.authority, "serial": answer.serial });
    let kept = Kept::new(StatusCode::CREATED, &answer);
    idempotency.keep(&transaction, &kept).await?;
    let change = Change::new(tenant, "identity.certificate_revoked", "create", caller.principal())
        .on("revoked_certificate", row.id)
        .details(details);
    transaction.commit(change.request(caller.request_id).notify(Notice::tenant(tenant))).await?;
    Ok(kept)
}

/// Believes a certificate again that was taken back by mistake.
#[utoipa::path(
    delete, path = "/v1/revoked_certificates/{id}", operation_id = "identity.reinstate_certificate", tag = "identity",
    params(("id" = String, Path, description = "Its id")), responses((status = 204))
)]
async fn reinstate(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let permit = caller.permit("certificate:manage", caller.home())?;
    caller.refuse_narrowed()?;
    let id = path_id::<RevocationId>(&id)?;
    let transaction = control.store.write(&permit).await?;
    let missing = || Refusal::new(&kind::NOT_FOUND, "There is no revocation with this id.");
    let row = queries::find_revoked(&transaction, id).await?.ok_or_else(missing)?;
    queries::delete_revoked(&transaction, id).await?;
    let change = Change::new(row.tenant, "identity.certificate_reinstated", "delete", caller.principal())
        .on("revoked_certificate", id)
        .details(json!({ "sha256": row.sha256 }));
    transaction.commit(change.request(caller.request_id).notify(Notice::tenant(row.tenant))).await?;
    Ok(StatusCode::NO_CONTENT)
}
