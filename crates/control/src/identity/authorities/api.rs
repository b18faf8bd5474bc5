//! `/v1/certificate_authorities`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use rowhouse_domain::id::AuthorityId;
use rowhouse_domain::identity::certificate::{
    Authority, AuthorityFault, CertificateFacts, fingerprint, one_certificate,
};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{AUTHORITIES_MAX, AuthorityRow, hexadecimal, matching, queries, revocation_api};
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor, path_id};
use crate::{Shared, tenancy};

/// The routes of authorities and certificates.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_authorities, create_authority))
        .routes(routes!(get_authority, delete_authority))
        .merge(revocation_api::routes())
        .merge(matching::routes())
}

/// An authority.
#[derive(Debug, Serialize, ToSchema)]
struct AuthorityAnswer {
    id: String,
    tenant: String,
    name: String,
    /// As RFC 4514 writes it.
    subject: String,
    /// Of its certificate, in hexadecimal.
    sha256: String,
    not_before: String,
    not_after: String,
    created_at: String,
    created_by: String,
}

impl From<&AuthorityRow> for AuthorityAnswer {
    fn from(row: &AuthorityRow) -> Self {
        AuthorityAnswer {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            name: row.name.clone(),
            subject: row.subject.clone(),
            sha256: hexadecimal(&fingerprint(&row.certificate)),
            not_before: row.not_before.to_string(),
            not_after: row.not_after.to_string(),
            created_at: row.created_at.to_string(),
            created_by: row.created_by.clone(),
        }
    }
}

/// An authority to be registered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAuthority {
    /// 1 to 100 characters.
    name: String,
    /// One certificate in PEM that may sign others, at most 8 KiB.
    certificate: String,
}

fn no_such_authority() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no authority with this id.")
}

fn wrong(at: &str, what: impl Into<String>) -> Refusal {
    let refusal = Refusal::new(&kind::AUTHORITY_INVALID, "The authority is not well-formed.");
    refusal.field(at, "invalid", what.into())
}

/// What is to be kept of a new authority.
fn read(new: &NewAuthority, now: Timestamp) -> Result<(Vec<u8>, CertificateFacts), Refusal> {
    let length = new.name.chars().count();
    if !(1..=100).contains(&length) || new.name.trim() != new.name || new.name.chars().any(char::is_control) {
        return Err(wrong("/name", "1 to 100 characters"));
    }
    let unfit = |fault: AuthorityFault| wrong("/certificate", fault.to_string());
    let der = one_certificate(&new.certificate).ok_or_else(|| unfit(AuthorityFault::Malformed))?;
    Authority::new(AuthorityId::from_u128(0), &der).map_err(unfit)?;
    let facts = CertificateFacts::read(&der).ok_or_else(|| unfit(AuthorityFault::Malformed))?;
    match facts.valid_s.1 < now.as_second() {
        true => Err(unfit(AuthorityFault::Expired)),
        false => Ok((der, facts)),
    }
}

/// A time of a certificate; what lies beyond what we can write is the end of that.
pub(super) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// Authorities whose client certificates may sign service accounts in, oldest first.
#[utoipa::path(
    get, path = "/v1/certificate_authorities", operation_id = "identity.list_authorities", tag = "identity",
    params(Page), responses((status = 200, body = List<AuthorityAnswer>))
)]
async fn list_authorities(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<AuthorityAnswer>>> {
    let scope = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("certificate:read", scope)?;
    let size = page.size()?;
    let query = format!("certificate_authorities {scope:?}");
    let after = cursor::after(&control, &query, page.cursor.as_deref())?.unwrap_or(AuthorityId::from_u128(0));
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, after, scope, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    Ok(Json(List { items: rows.iter().map(AuthorityAnswer::from).collect(), next_cursor }))
}

/// Registers an authority. By itself it lets nobody in, see the `certificates` of service accounts; from now on who comes to one of the
/// tenant's hosts over TLS is asked for a certificate, without being made to show one.
#[utoipa::path(
    post, path = "/v1/certificate_authorities", operation_id = "identity.create_authority", tag = "identity",
    params(TenantParameter), request_body = NewAuthority, responses((status = 201, body = AuthorityAnswer))
)]
async fn create_authority(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<NewAuthority>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("certificate:manage", Some(tenant))?;
    caller.refuse_narrowed()?;
    let now = control.clock().now();
    let (certificate, facts) = read(&body.value, now)?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    // Counted one after the other.
    tenancy::lock(&transaction, tenant).await?;
    if queries::count(&transaction, tenant).await? >= AUTHORITIES_MAX {
        let most = format!("A tenant has at most {AUTHORITIES_MAX} authorities.");
        return Err(Refusal::new(&kind::AUTHORITY_INVALID, most).into());
    }
    let row = AuthorityRow {
        id: AuthorityId(control.entropy().uuid_v7(now.as_microsecond())),
        tenant,
        name: body.value.name,
        certificate,
        subject: facts.subject,
        not_before: time(facts.valid_s.0),
        not_after: time(facts.valid_s.1),
        created_by: caller.principal().to_string(),
        created_at: now,
    };
    queries::insert(&transaction, &row).await.map_err(|error| match error.constraint() {
        Some("certificate_authorities_sha256_key") => {
            Refusal::new(&kind::AUTHORITY_TAKEN, "This authority is registered already.")
        }
        _ => error.into(),
    })?;
    let answer = AuthorityAnswer::from(&row);
    let details = json!({ "subject": answer.subject, "sha256": answer.sha256 });
    let kept =
        Kept::new(StatusCode::CREATED, &answer).location(format!("/v1/certificate_authorities/{}", row.id));
    idempotency.keep(&transaction, &kept).await?;
    let change = Change::new(tenant, "identity.authority_created", "create", caller.principal())
        .on("certificate_authority", row.id)
        .details(details);
    transaction.commit(change.request(caller.request_id).notify(Notice::tenant(tenant))).await?;
    Ok(kept)
}

/// One authority.
#[utoipa::path(
    get, path = "/v1/certificate_authorities/{id}", operation_id = "identity.get_authority", tag = "identity",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = AuthorityAnswer))
)]
async fn get_authority(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<AuthorityAnswer>> {
    let permit = caller.permit("certificate:read", caller.home())?;
    let id = path_id::<AuthorityId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::find(&transaction, id).await?;
    transaction.finish().await?;
    Ok(Json(AuthorityAnswer::from(&row.ok_or_else(no_such_authority)?)))
}

/// Forgets an authority: no certificate below it signs anybody in any more, on connections that are open too. What service accounts say
/// of it means nobody from then on, also when the same certificate is registered again.
#[utoipa::path(
    delete, path = "/v1/certificate_authorities/{id}", operation_id = "identity.delete_authority", tag = "identity",
    params(("id" = String, Path, description = "Its id")), responses((status = 204))
)]
async fn delete_authority(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let permit = caller.permit("certificate:manage", caller.home())?;
    caller.refuse_narrowed()?;
    let id = path_id::<AuthorityId>(&id)?;
    let transaction = control.store.write(&permit).await?;
    let row = queries::find(&transaction, id).await?.ok_or_else(no_such_authority)?;
    queries::delete(&transaction, id).await?;
    let change = Change::new(row.tenant, "identity.authority_deleted", "delete", caller.principal())
        .on("certificate_authority", id)
        .details(json!({ "subject": row.subject }));
    transaction.commit(change.request(caller.request_id).notify(Notice::tenant(row.tenant))).await?;
    Ok(StatusCode::NO_CONTENT)
}
