//! `/oauth2/device_authorization` (RFC 8628 §3.1).

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::api::Answer;
use crate::identity::form;
use crate::identity::sign_in::Source;

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(authorize))
}

#[derive(Default, Deserialize, ToSchema)]
struct DeviceForm {
    /// `rowhouse-cli`, or the id of an application without a secret.
    #[serde(default)]
    client_id: String,
    /// None is known: the program may do what the person may.
    #[serde(default)]
    scope: String,
}

#[derive(Serialize, ToSchema)]
struct DeviceAnswer {
    /// For `/oauth2/token`.
    device_code: String,
    /// For the person, who types it.
    user_code: String,
    /// There is none with the code in it (§3.3.1): who sends somebody a link would have them press a button.
    verification_uri: String,
    /// Seconds.
    expires_in: i64,
    /// Seconds between two questions.
    interval: i32,
}

/// A program without a browser begins to ask for a person (RFC 8628).
#[utoipa::path(post, path = "/oauth2/device_authorization", operation_id = "identity.authorize_device", tag = "identity",
    request_body(content = DeviceForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = DeviceAnswer)))]
pub async fn authorize(State(control): State<Shared>, source: Source, body: Bytes) -> Answer<Response> {
    let sent = form::read::<DeviceForm>(&body).unwrap_or_default();
    let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    if !sent.scope.is_empty() {
        return Ok(refused("invalid_scope"));
    }
    let Some(begun) = super::start(&control, &sent.client_id, &source).await? else {
        return Ok(refused("invalid_client"));
    };
    let page = format!("{}/account/device", control.settings.public_url.trim_end_matches('/'));
    let answer = DeviceAnswer {
        verification_uri: page,
        device_code: begun.device_code,
        user_code: begun.user_code,
        expires_in: begun.expires_in,
        interval: begun.interval,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}
