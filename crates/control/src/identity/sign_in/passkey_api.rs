//! Security keys and passkeys in a sign-in, over HTTP.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use rowhouse_domain::id::RequestId;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::attempt::Told;
use super::passkey::{begin_key_enrolment, enrol_key, key_options, show_key};
use super::source::Source;
use super::wire::StepAnswer;
use crate::Shared;
use crate::api::{Answer, Body};
use crate::identity::factor::{CredentialBody, KeyKind};

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(options))
        .routes(routes!(show))
        .routes(routes!(enrolment_options))
        .routes(routes!(enrol))
}

/// What to hand to `navigator.credentials.get` (as `PublicKeyCredentialRequestOptionsJSON`): for any passkey if nothing was shown yet,
/// which is the same for everybody; else for the keys of the person. Good for five minutes and one answer.
#[utoipa::path(post, path = "/v1/sign_in/{flow}/passkey/options", operation_id = "identity.ask_for_key", tag = "identity",
    params(("flow" = String, Path)), responses((status = 200, body = Object)))]
async fn options(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    source: Source,
    Path(flow): Path<String>,
) -> Answer<Json<Value>> {
    let told = Told { flow: &flow, source: &source, by_cookie: false, trust_device: false, request_id };
    Ok(Json(key_options(&control, &told).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ShowBody {
    credential: CredentialBody,
    #[serde(default)]
    trust_device: bool,
}

/// Shows a passkey, alone or behind a password, or a security key behind a password.
#[utoipa::path(post, path = "/v1/sign_in/{flow}/passkey", operation_id = "identity.show_key", tag = "identity",
    params(("flow" = String, Path)), request_body = ShowBody, responses((status = 200, body = StepAnswer)))]
async fn show(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    source: Source,
    Path(flow): Path<String>,
    body: Body<ShowBody>,
) -> Answer<Json<StepAnswer>> {
    let ShowBody { credential, trust_device } = body.value;
    let told = Told { flow: &flow, source: &source, by_cookie: false, trust_device, request_id };
    Ok(Json(show_key(&control, &told, &credential).await?.into()))
}

/// A kind of key.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKindBody {
    /// Signs in alone; verifies the person.
    #[default]
    Passkey,
    /// A second factor.
    SecurityKey,
}

impl From<KeyKindBody> for KeyKind {
    fn from(kind: KeyKindBody) -> Self {
        match kind {
            KeyKindBody::Passkey => KeyKind::Passkey,
            KeyKindBody::SecurityKey => KeyKind::SecurityKey,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EnrolmentBody {
    #[serde(default)]
    kind: KeyKindBody,
}

/// What to hand to `navigator.credentials.create`, where the sign-in asks for a factor to be enrolled.
#[utoipa::path(post, path = "/v1/sign_in/{flow}/enrol/passkey/options", operation_id = "identity.begin_key_on_the_way",
    tag = "identity", params(("flow" = String, Path)), request_body = EnrolmentBody, responses((status = 200, body = Object)))]
async fn enrolment_options(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    source: Source,
    Path(flow): Path<String>,
    body: Body<EnrolmentBody>,
) -> Answer<Json<Value>> {
    let told = Told { flow: &flow, source: &source, by_cookie: false, trust_device: false, request_id };
    Ok(Json(begin_key_enrolment(&control, &told, body.value.kind.into()).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EnrolBody {
    #[serde(default)]
    kind: KeyKindBody,
    credential: CredentialBody,
}

/// Enrols the key, and goes on with the sign-in.
#[utoipa::path(post, path = "/v1/sign_in/{flow}/enrol/passkey", operation_id = "identity.enrol_key_on_the_way", tag = "identity",
    params(("flow" = String, Path)), request_body = EnrolBody, responses((status = 200, body = StepAnswer)))]
async fn enrol(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    source: Source,
    Path(flow): Path<String>,
    body: Body<EnrolBody>,
) -> Answer<Json<StepAnswer>> {
    let EnrolBody { kind, credential } = body.value;
    let told = Told { flow: &flow, source: &source, by_cookie: false, trust_device: false, request_id };
    Ok(Json(enrol_key(&control, &told, (kind.into(), &credential)).await?.into()))
}
