//! Signing in over HTTP, and the token endpoint.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::attempt::{Told, prove_password};
use super::factor_step::{begin_enrolment, choose_tenant, show_factor};
use super::source::Source;
use super::wire::{EnrolmentAnswer, StepAnswer, TokensAnswer};
use super::{flow, locked, mail_code, reset, text_code};
use crate::Shared;
use crate::api::{Answer, Body, Parameters};
use crate::identity::application::{Exchange, No, exchange, may_refresh};
use crate::identity::client::{Client, client_token};
use crate::identity::device::{self, Polled};
use crate::identity::form;
use crate::identity::{session, sso};

/// The routes of signing in.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(start))
        .routes(routes!(password))
        .routes(routes!(factor))
        .routes(routes!(code))
        .routes(routes!(enrol))
        .merge(super::passkey_api::routes())
        .routes(routes!(tenant))
        .routes(routes!(forgotten))
        .routes(routes!(set_password))
        .routes(routes!(unlock))
        .routes(routes!(token))
        .routes(routes!(revoke))
}

/// Who signs in, and perhaps where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StartBody {
    /// An e-mail address. Without one a passkey tells who it is.
    #[serde(default)]
    identifier: String,
    /// Id or code. Without it the person's only tenant, or they are asked.
    #[serde(default)]
    tenant: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct StartAnswer {
    /// Part of the paths of the next steps. Whoever has it can go on with this sign-in.
    flow: String,
    expires_at: String,
    /// `passkey`; of who is named `password`, and `sso` where the organisation of the address has a provider of its own.
    offer: Vec<&'static str>,
    /// Where people of the address's domain sign in: to be opened in a browser. None where their organisation has no provider, or another
    /// tenant is named.
    redirect: Option<String>,
}

/// Begins a sign-in, and says where it goes on. The answer depends on the domain of the address and never on whether the person exists.
#[utoipa::path(post, path = "/v1/sign_in", operation_id = "identity.start_sign_in", tag = "identity",
    request_body = StartBody, responses((status = 200, body = StartAnswer)))]
async fn start(
    State(control): State<Shared>,
    source: Source,
    body: Body<StartBody>,
) -> Answer<Json<StartAnswer>> {
    let StartBody { identifier, tenant } = body.value;
    let started = flow::start(&control, &identifier, tenant.as_deref())?;
    let way =
        sso::lead(&control, &source, (identifier.as_str(), tenant.as_deref().unwrap_or_default())).await?;
    let mut offer = if identifier.is_empty() { vec!["passkey"] } else { vec!["password", "passkey"] };
    if way.is_some() {
        offer.push("sso");
    }
    let redirect = way.map(|row| row.start_url(&control));
    Ok(Json(StartAnswer { flow: started.flow, expires_at: started.until.to_string(), offer, redirect }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignInPasswordBody)]
struct PasswordBody {
    password: String,
    /// `device` of a sign-in from here.
    #[serde(default)]
    device: Option<String>,
    /// Whether tries from here are counted for themselves from now on.
    #[serde(default)]
    trust_device: bool,
}

/// Shows the password. Everything that is against it has one answer: 401 `identity.credentials_wrong`.
#[utoipa::path(post, path = "/v1/sign_in/{flow}/password", operation_id = "identity.prove_password", tag = "identity",
    params(("flow" = String, Path)), request_body = PasswordBody, responses((status = 200, body = StepAnswer)))]
async fn password(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    source: Source,
    Path(flow): Path<String>,
    body: Body<PasswordBody>,
) -> Answer<Json<StepAnswer>> {
    let PasswordBody { password, device, trust_device } = body.value;
    let told = Told { flow: &flow, source: &source, by_cookie: false, trust_device, request_id };
    let progress = prove_password(&control, &told, &password, device.as_deref()).await?;
    Ok(Json(progress.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FactorBody {
    /// One that was offered, or that is being enrolled.
    factor: String,
    code: String,
    #[serde(default)]
    trust_device: bool,
}

/// Shows a code of a second factor. Each works once.
#[utoipa::path(post, path = "/v1/sign_in/{flow}/factor", operation_id = "identity.show_factor", tag = "identity",
    params(("flow" = String, Path)), request_body = FactorBody, responses((status = 200, body = StepAnswer)))]
async fn factor(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    source: Source,
    Path(flow): Path<String>,
    body: Body<FactorBody>,
) -> Answer<Json<StepAnswer>> {
    let FactorBody { factor, code, trust_device } = body.value;
    let told = Told { flow: &flow, source: &source, by_cookie: false, trust_device, request_id };
    Ok(Json(show_factor(&control, &told, &factor, &code).await?.into()))
}

/// How a code is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CodeWay {
    /// To the person's address.
    #[default]
    EmailCode,
    /// As a text message to their number.
    SmsCode,
}

/// `?by=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CodeAsked {
    /// `email_code` if it is not said.
    #[serde(default)]
    pub by: CodeWay,
}

/// Sends a code for this sign-in, by e-mail or as a text message; one in 30 seconds, five an hour.
#[utoipa::path(post, path = "/v1/sign_in/{flow}/code", operation_id = "identity.mail_code", tag = "identity",
    params(("flow" = String, Path), CodeAsked), responses((status = 202)))]
async fn code(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    source: Source,
    Path(flow): Path<String>,
    Parameters(asked): Parameters<CodeAsked>,
) -> Answer<StatusCode> {
    let told = Told { flow: &flow, source: &source, by_cookie: false, trust_device: false, request_id };
    match asked.by {
        CodeWay::EmailCode => mail_code::mail_code(&control, &told).await?,
        CodeWay::SmsCode => text_code::text_code(&control, &told).await?,
    }
    Ok(StatusCode::ACCEPTED)
}

/// Begins the enrolment of an authenticator program, where the sign-in asks for it. Its first code goes to `/factor`.
#[utoipa::path(post, path = "/v1/sign_in/{flow}/enrol", operation_id = "identity.enrol_on_the_way", tag = "identity",
    params(("flow" = String, Path)), responses((status = 200, body = EnrolmentAnswer)))]
async fn enrol(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    source: Source,
    Path(flow): Path<String>,
) -> Answer<Json<EnrolmentAnswer>> {
    let told = Told { flow: &flow, source: &source, by_cookie: false, trust_device: false, request_id };
    Ok(Json(begin_enrolment(&control, &told).await?.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TenantBody {
    /// One of those that were offered.
    #[schema(value_type = String)]
    tenant: rowhouse_domain::id::TenantId,
}

/// Says which tenant is meant.
#[utoipa::path(post, path = "/v1/sign_in/{flow}/tenant", operation_id = "identity.choose_tenant", tag = "identity",
    params(("flow" = String, Path)), request_body = TenantBody, responses((status = 200, body = StepAnswer)))]
async fn tenant(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    source: Source,
    Path(flow): Path<String>,
    body: Body<TenantBody>,
) -> Answer<Json<StepAnswer>> {
    let told = Told { flow: &flow, source: &source, by_cookie: false, trust_device: false, request_id };
    Ok(Json(choose_tenant(&control, &told, body.value.tenant).await?.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ForgottenBody {
    email: String,
}

/// Mails a link to set a new password, if somebody has this address. Always 202.
#[utoipa::path(post, path = "/v1/sign_in/reset", operation_id = "identity.forget_password", tag = "identity",
    request_body = ForgottenBody, responses((status = 202)))]
async fn forgotten(
    State(control): State<Shared>,
    source: Source,
    body: Body<ForgottenBody>,
) -> Answer<StatusCode> {
    reset::forgotten(&control, &body.value.email, &source).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResetBody {
    /// As it stands in the link.
    token: String,
    password: String,
}

/// Sets a password by a mailed link. All sessions end, and none begins.
#[utoipa::path(post, path = "/v1/sign_in/reset/confirm", operation_id = "identity.reset_password", tag = "identity",
    request_body = ResetBody, responses((status = 204)))]
async fn set_password(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    body: Body<ResetBody>,
) -> Answer<StatusCode> {
    reset::set_by_link(&control, &body.value.token, &body.value.password, request_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UnlockBody {
    /// As it stands in the link.
    token: String,
}

/// Opens the lock on one's password by a mailed link.
#[utoipa::path(post, path = "/v1/sign_in/unlock", operation_id = "identity.unlock_by_link", tag = "identity",
    request_body = UnlockBody, responses((status = 204)))]
async fn unlock(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    body: Body<UnlockBody>,
) -> Answer<StatusCode> {
    locked::unlock(&control, &body.value.token, request_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Default, Deserialize, ToSchema)]
struct TokenForm {
    /// `refresh_token`, `client_credentials`, `authorization_code` or `urn:ietf:params:oauth:grant-type:device_code`.
    #[serde(default)]
    grant_type: String,
    #[serde(default)]
    refresh_token: String,
    /// A service account's id, where it is not sent as `Authorization: Basic`.
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    client_secret: Option<String>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    redirect_uri: String,
    #[serde(default)]
    code_verifier: String,
    #[serde(default)]
    device_code: String,
    /// None is known.
    #[serde(default)]
    scope: String,
}

/// New tokens for a refresh token (RFC 6749 §6; each is good once, one that comes again ends its session), or an access token for a
/// service account's secret (§4.4), sent as `Authorization: Basic` or in the form.
#[utoipa::path(post, path = "/oauth2/token", operation_id = "identity.refresh_token", tag = "identity",
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = TokensAnswer)))]
async fn token(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    source: Source,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Response> {
    let form = form::read::<TokenForm>(&body).ok_or_else(malformed)?;
    if form.grant_type == "client_credentials" {
        return machine(&control, &source, &headers, form).await;
    }
    if form.grant_type == "authorization_code" {
        return coded(&control, (&source, request_id), &headers, form).await;
    }
    if form.grant_type == DEVICE_GRANT {
        return by_device(&control, (&source, request_id), form).await;
    }
    if form.grant_type != "refresh_token" {
        return Ok(oauth_error("unsupported_grant_type"));
    }
    let Some((id, secret)) = application_client(&headers, &form) else {
        return Ok(oauth_error("invalid_request"));
    };
    if !may_refresh(&control, &form.refresh_token, (&id, secret.as_deref())).await? {
        control.sign_in_sources.failed(&source);
        return Ok((StatusCode::UNAUTHORIZED, Json(json!({ "error": "invalid_client" }))).into_response());
    }
    match session::refresh(&control, &form.refresh_token, request_id).await {
        Ok(begun) => Ok(Json(TokensAnswer::new(&begun)).into_response()),
        Err(refusal) if refusal.status() == 401 => Ok(oauth_error("invalid_grant")),
        Err(refusal) => Err(refusal.into()),
    }
}

/// RFC 8628 §3.4.
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn by_device(
    control: &crate::Control,
    (source, request_id): (&Source, RequestId),
    form: TokenForm,
) -> Answer<Response> {
    let client = form.client_id.unwrap_or_default();
    match device::poll(control, (&client, &form.device_code), source, request_id).await? {
        Polled::Done(begun) => {
            let stored = [(header::CACHE_CONTROL, "no-store")];
            Ok((stored, Json(TokensAnswer::new(&begun))).into_response())
        }
        Polled::No(error) => Ok(oauth_error(error)),
    }
}

#[derive(Serialize)]
struct MachineAnswer {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
}

async fn machine(
    control: &crate::Control,
    source: &Source,
    headers: &HeaderMap,
    form: TokenForm,
) -> Answer<Response> {
    if !form.scope.is_empty() {
        return Ok(oauth_error("invalid_scope"));
    }
    let in_form = form.client_secret.is_some();
    let client = match (basic(headers), in_form) {
        (Some(_), true) => return Ok(oauth_error("invalid_request")),
        (Some(basic), false) => basic,
        (None, _) => form.client_id.zip(form.client_secret).map(|(id, secret)| Client { id, secret }),
    };
    control.sign_in_sources.admit(
        source,
        client.as_ref().map_or("", |client| &client.id),
        control.clock().now_us(),
    )?;
    let token = match &client {
        Some(client) => client_token(control, client).await?,
        None => None,
    };
    let Some((access_token, expires_in)) = token else {
        control.sign_in_sources.failed(source);
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"rowhouse\"")];
        let body = Json(json!({ "error": "invalid_client" }));
        return Ok((StatusCode::UNAUTHORIZED, challenge, body).into_response());
    };
    let stored = [(header::CACHE_CONTROL, "no-store")];
    Ok((stored, Json(MachineAnswer { access_token, token_type: "Bearer", expires_in })).into_response())
}

/// Id and secret of an application, sent as `Authorization: Basic` or in the form; `None` if both are.
fn application_client(headers: &HeaderMap, form: &TokenForm) -> Option<(String, Option<String>)> {
    match basic(headers) {
        Some(_) if form.client_secret.is_some() => None,
        Some(Some(client)) => Some((client.id, Some(client.secret))),
        Some(None) => Some((String::new(), None)),
        None => Some((form.client_id.clone().unwrap_or_default(), form.client_secret.clone())),
    }
}

async fn coded(
    control: &crate::Control,
    (source, request_id): (&Source, RequestId),
    headers: &HeaderMap,
    form: TokenForm,
) -> Answer<Response> {
    let Some((id, secret)) = application_client(headers, &form) else {
        return Ok(oauth_error("invalid_request"));
    };
    control.sign_in_sources.admit(source, &id, control.clock().now_us())?;
    let shown = Exchange {
        client_id: &id,
        secret: secret.as_deref(),
        code: &form.code,
        redirect_uri: &form.redirect_uri,
        verifier: &form.code_verifier,
        source,
        request_id,
    };
    match exchange(control, &shown).await? {
        Ok(given) => {
            let mut told = serde_json::to_value(TokensAnswer::new(&given.begun)).unwrap_or_default();
            if let Some(id_token) = given.id_token {
                told["id_token"] = json!(id_token);
            }
            told["scope"] = json!(given.scope);
            Ok(([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response())
        }
        Err(No::InvalidClient) => {
            control.sign_in_sources.failed(source);
            Ok((StatusCode::UNAUTHORIZED, Json(json!({ "error": "invalid_client" }))).into_response())
        }
        Err(No::InvalidGrant) => {
            control.sign_in_sources.failed(source);
            Ok(oauth_error("invalid_grant"))
        }
    }
}

/// The client of `Authorization: Basic` (RFC 6749 §2.3.1): none inside if it cannot be read, none at all without the header.
pub fn basic(headers: &HeaderMap) -> Option<Option<Client>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next()?;
    let read = || {
        let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
        let bytes = STANDARD.decode(text.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let text = String::from_utf8(bytes).ok()?;
        let (id, secret) = text.split_once(':')?;
        Some(Client { id: id.to_owned(), secret: secret.to_owned() })
    };
    Some(read().filter(|_| all.next().is_none()))
}

/// As RFC 6749 §5.2 has it, for clients that nobody here wrote.
fn oauth_error(error: &'static str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
}

#[derive(Default, Deserialize, ToSchema)]
struct RevokeForm {
    /// A refresh token.
    #[serde(default)]
    token: String,
}

/// Ends the session of a refresh token (RFC 7009). 200 whatever it was.
#[utoipa::path(post, path = "/oauth2/revoke", operation_id = "identity.revoke_token", tag = "identity",
    request_body(content = RevokeForm, content_type = "application/x-www-form-urlencoded"), responses((status = 200)))]
async fn revoke(State(control): State<Shared>, body: Bytes) -> Answer<StatusCode> {
    let form = form::read::<RevokeForm>(&body).ok_or_else(malformed)?;
    session::revoke(&control, &form.token).await?;
    Ok(StatusCode::OK)
}

fn malformed() -> Refusal {
    Refusal::new(&kind::UNSUPPORTED_MEDIA, "Send a form: `application/x-www-form-urlencoded`.")
}
