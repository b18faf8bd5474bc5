//! A person's own security keys and passkeys, over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::me_api::whose;
use super::own;
use crate::Shared;
use crate::api::{Answer, Body, Caller};
use crate::identity::factor::CredentialBody;
use crate::identity::sign_in::KeyKindBody;

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(options)).routes(routes!(add)).routes(routes!(step_up_options))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OptionsBody {
    #[serde(default)]
    kind: KeyKindBody,
}

/// What to hand to `navigator.credentials.create` (as `PublicKeyCredentialCreationOptionsJSON`). Good for five minutes and one answer.
#[utoipa::path(post, path = "/v1/me/factors/passkey/options", operation_id = "identity.begin_my_key", tag = "identity",
    request_body = OptionsBody, responses((status = 200, body = Object)))]
async fn options(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<OptionsBody>,
) -> Answer<Json<Value>> {
    let person = caller.person()?;
    Ok(Json(own::key_options(&control, whose(&caller, &person), body.value.kind.into()).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddBody {
    #[serde(default)]
    kind: KeyKindBody,
    /// At most 60 characters.
    #[serde(default)]
    label: String,
    credential: CredentialBody,
}

#[derive(Serialize, ToSchema)]
struct AddAnswer {
    factor: String,
    /// Each good once; shown once. Empty if the person has some already.
    recovery_codes: Vec<String>,
}

/// Enrols a passkey or a security key.
#[utoipa::path(post, path = "/v1/me/factors/passkey", operation_id = "identity.add_my_key", tag = "identity",
    request_body = AddBody, responses((status = 201, body = AddAnswer)))]
async fn add(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<AddBody>,
) -> Answer<(StatusCode, Json<AddAnswer>)> {
    let person = caller.person()?;
    let AddBody { kind, label, credential } = body.value;
    let whose = whose(&caller, &person);
    let (factor, recovery_codes) = own::add_key(&control, whose, kind.into(), (&credential, &label)).await?;
    Ok((StatusCode::CREATED, Json(AddAnswer { factor: factor.to_string(), recovery_codes })))
}

/// What to hand to `navigator.credentials.get`, to show a key once more.
#[utoipa::path(post, path = "/v1/me/step_up/options", operation_id = "identity.ask_for_my_key", tag = "identity",
    responses((status = 200, body = Object)))]
async fn step_up_options(State(control): State<Shared>, caller: Caller) -> Answer<Json<Value>> {
    let person = caller.person()?;
    Ok(Json(own::step_up_options(&control, whose(&caller, &person)).await?))
}
