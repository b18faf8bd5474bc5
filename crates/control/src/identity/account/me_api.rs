//! `/v1/me`: what is a person's own. No role, no key and no application opens it: see [`Caller::person`].

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{FactorId, SessionId};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::own::{self, Whose, own_row};
use super::phone;
use super::step_up::{Shown, step_up, token_of};
use crate::api::{Answer, Body, Caller, Parameters, Person, path_id};
use crate::identity::factor::CredentialBody;
use crate::identity::session::{self, SessionRow};
use crate::identity::sign_in::{CodeAsked, CodeWay, EnrolmentAnswer};
use crate::identity::{factor, sign_in};
use crate::{Control, Shared, tenancy};

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(me))
        .routes(routes!(my_tenants))
        .routes(routes!(my_sessions))
        .routes(routes!(end_session))
        .routes(routes!(sign_out))
        .routes(routes!(my_factors))
        .routes(routes!(add_totp))
        .routes(routes!(confirm_totp))
        .routes(routes!(add_number))
        .routes(routes!(confirm_number))
        .routes(routes!(remove_factor))
        .routes(routes!(recovery_codes))
        .routes(routes!(change_password))
        .routes(routes!(prove_again))
        .routes(routes!(mail_own_code))
}

pub(in crate::identity) fn whose(caller: &Caller, person: &Person) -> Whose {
    Whose { user: person.user, session: person.claims.session, request_id: caller.request_id }
}

/// A tenant that a person belongs to.
#[derive(Debug, Serialize, ToSchema)]
struct TenantAnswer {
    id: String,
    code: String,
    name: String,
}

/// The person who calls.
#[derive(Debug, Serialize, ToSchema)]
struct MeAnswer {
    id: String,
    email: Option<String>,
    email_verified: bool,
    full_name: String,
    timezone: String,
    language: String,
    mfa_enabled: bool,
    /// Where they are signed in.
    tenant: TenantAnswer,
    /// Roles they have there that are active in this session.
    roles: Vec<String>,
    session: String,
    assurance: String,
}

/// Who calls, and where.
#[utoipa::path(get, path = "/v1/me", operation_id = "identity.read_me", tag = "identity",
    responses((status = 200, body = MeAnswer)))]
async fn me(State(control): State<Shared>, caller: Caller) -> Answer<Json<MeAnswer>> {
    let person = caller.person()?;
    let transaction = control.store.read(&Permit::for_system(None, "a person's own account")).await?;
    let row = own_row(&transaction, person.user).await?;
    let owned = factor::owned(&transaction, person.user).await?;
    let tenant = tenant_answer(&transaction, person.claims.tenant).await?;
    transaction.finish().await?;
    let principal = Principal { kind: PrincipalKind::User, id: person.user.0 };
    let home = caller.directory().tenants.get(&person.claims.tenant);
    let rights = home.and_then(|home| home.access.rights_in(&principal, Some(person.claims.session)));
    Ok(Json(MeAnswer {
        id: row.id.to_string(),
        email: row.email,
        email_verified: row.email_verified_at.is_some(),
        full_name: row.full_name,
        timezone: row.timezone,
        language: row.language,
        mfa_enabled: owned.any(),
        tenant,
        roles: rights
            .map_or_else(Vec::new, |rights| rights.roles().iter().map(|role| role.to_string()).collect()),
        session: person.claims.session.to_string(),
        assurance: person.claims.assurance.clone(),
    }))
}

async fn tenant_answer(
    transaction: &rowhouse_store::Transaction,
    id: rowhouse_domain::id::TenantId,
) -> Result<TenantAnswer, Refusal> {
    let record = tenancy::get(transaction, id).await?;
    let record = record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    Ok(TenantAnswer { id: id.to_string(), code: record.tenant.code, name: record.tenant.company_name })
}

#[derive(Serialize, ToSchema)]
struct TenantsAnswer {
    items: Vec<TenantAnswer>,
}

/// The tenants that the person belongs to; to who is signed in by a tenant's provider alone, that one.
#[utoipa::path(get, path = "/v1/me/tenants", operation_id = "identity.list_my_tenants", tag = "identity",
    responses((status = 200, body = TenantsAnswer)))]
async fn my_tenants(State(control): State<Shared>, caller: Caller) -> Answer<Json<TenantsAnswer>> {
    let person = caller.person()?;
    let transaction = control.store.read(&Permit::for_system(None, "a person's own tenants")).await?;
    let mut items = Vec::new();
    let all = sign_in::tenants_of(&transaction, person.user).await?;
    for tenant in all.into_iter().filter(|tenant| person.reaches(*tenant)) {
        items.push(tenant_answer(&transaction, tenant).await?);
    }
    transaction.finish().await?;
    Ok(Json(TenantsAnswer { items }))
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionAnswer {
    id: String,
    tenant: String,
    user: String,
    /// Whether it is the one that asks.
    this: bool,
    /// `browser` or `tokens`.
    kind: &'static str,
    assurance: i16,
    /// What was shown.
    proofs: Vec<&'static str>,
    ip: String,
    agent: String,
    created_at: String,
    last_seen_at: String,
    idle_until: String,
    absolute_until: String,
}

impl SessionAnswer {
    pub fn new(row: &SessionRow, this: Option<SessionId>) -> Self {
        SessionAnswer {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            user: row.user.to_string(),
            this: this == Some(row.id),
            kind: if row.by_cookie { "browser" } else { "tokens" },
            assurance: row.assurance,
            proofs: row.evidence.proofs().iter().map(|proof| proof.kind.as_str()).collect(),
            ip: row.ip.clone(),
            agent: row.agent.clone(),
            created_at: row.created_at.to_string(),
            last_seen_at: row.last_seen_at.to_string(),
            idle_until: row.idle_until.to_string(),
            absolute_until: row.absolute_until.to_string(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct SessionsAnswer {
    pub items: Vec<SessionAnswer>,
}

/// The person's sessions in all tenants, newest first; to who is signed in by a tenant's provider alone, those in that one.
#[utoipa::path(get, path = "/v1/me/sessions", operation_id = "identity.list_my_sessions", tag = "identity",
    responses((status = 200, body = SessionsAnswer)))]
async fn my_sessions(State(control): State<Shared>, caller: Caller) -> Answer<Json<SessionsAnswer>> {
    let person = caller.person()?;
    let transaction = control.store.read(&Permit::for_system(None, "a person's own sessions")).await?;
    let now = control.clock().now();
    let rows = session::queries::of_user(&transaction, person.user, person.reach(), now).await?;
    transaction.finish().await?;
    let this = Some(person.claims.session);
    Ok(Json(SessionsAnswer { items: rows.iter().map(|row| SessionAnswer::new(row, this)).collect() }))
}

/// Ends one of the person's sessions. Its tokens are refused within a second.
#[utoipa::path(delete, path = "/v1/me/sessions/{id}", operation_id = "identity.end_my_session", tag = "identity",
    params(("id" = String, Path)), responses((status = 204)))]
async fn end_session(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let person = caller.person()?;
    end_own(&control, &person, path_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_own(control: &Control, person: &Person, id: SessionId) -> Result<(), Refusal> {
    let transaction =
        control.store.write(&Permit::for_system(None, "a session that its person ends")).await?;
    let row = session::queries::lock(&transaction, id).await?;
    let row = row.filter(|row| row.user == person.user && person.reaches(row.tenant));
    let row = row.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such session."))?;
    let actor = Principal { kind: PrincipalKind::User, id: person.user.0 };
    if let Some(change) = session::end_one(&transaction, (row.tenant, row.id), "signed_out", actor).await? {
        transaction.commit(change).await?;
    }
    Ok(())
}

/// Ends this session.
#[utoipa::path(post, path = "/v1/me/sign_out", operation_id = "identity.sign_out", tag = "identity",
    responses((status = 204)))]
async fn sign_out(State(control): State<Shared>, caller: Caller) -> Answer<StatusCode> {
    let person = caller.person()?;
    end_own(&control, &person, person.claims.session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A factor.
#[derive(Debug, Serialize, ToSchema)]
struct FactorAnswer {
    id: String,
    /// `totp`, `sms_code`, `security_key` or `passkey`.
    kind: String,
    label: String,
    /// `pending` until its first code was shown, then `active`.
    state: String,
    created_at: String,
    last_used_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct FactorsAnswer {
    items: Vec<FactorAnswer>,
    /// Recovery codes that are left.
    recovery_codes_left: i64,
}

/// The person's second factors.
#[utoipa::path(get, path = "/v1/me/factors", operation_id = "identity.list_my_factors", tag = "identity",
    responses((status = 200, body = FactorsAnswer)))]
async fn my_factors(State(control): State<Shared>, caller: Caller) -> Answer<Json<FactorsAnswer>> {
    let person = caller.person()?;
    let transaction = control.store.read(&Permit::for_system(None, "a person's own factors")).await?;
    let rows = factor::list(&transaction, person.user).await?;
    let recovery_codes_left = factor::codes_left(&transaction, person.user).await?;
    transaction.finish().await?;
    let items = rows.into_iter().map(|row| FactorAnswer {
        id: row.id.to_string(),
        kind: row.kind,
        label: row.label,
        state: row.state,
        created_at: row.created_at.to_string(),
        last_used_at: row.last_used_at.map(|time| time.to_string()),
    });
    Ok(Json(FactorsAnswer { items: items.collect(), recovery_codes_left }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TotpBody {
    /// At most 60 characters.
    #[serde(default)]
    label: String,
}

/// Begins the enrolment of an authenticator program. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/me/factors/totp", operation_id = "identity.add_my_totp", tag = "identity",
    request_body = TotpBody, responses((status = 201, body = EnrolmentAnswer)))]
async fn add_totp(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<TotpBody>,
) -> Answer<(StatusCode, Json<EnrolmentAnswer>)> {
    let person = caller.person()?;
    let enrolment = own::add_factor(&control, whose(&caller, &person), &body.value.label).await?;
    Ok((StatusCode::CREATED, Json(enrolment.into())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmBody {
    #[schema(value_type = String)]
    factor: FactorId,
    code: String,
}

#[derive(Serialize, ToSchema)]
struct CodesAnswer {
    /// Each good once; shown once. Empty if the person has some already.
    recovery_codes: Vec<String>,
}

/// Confirms it with its first code.
#[utoipa::path(post, path = "/v1/me/factors/totp/confirm", operation_id = "identity.confirm_my_totp", tag = "identity",
    request_body = ConfirmBody, responses((status = 200, body = CodesAnswer)))]
async fn confirm_totp(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<ConfirmBody>,
) -> Answer<Json<CodesAnswer>> {
    let person = caller.person()?;
    let ConfirmBody { factor, code } = body.value;
    let recovery_codes = own::confirm_factor(&control, whose(&caller, &person), factor, &code).await?;
    Ok(Json(CodesAnswer { recovery_codes }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NumberBody {
    /// As it is dialled from anywhere: `+49 151 23456789`.
    number: String,
}

#[derive(Serialize, ToSchema)]
struct NumberAnswer {
    /// What to confirm.
    factor: String,
    /// The number's first and last digits.
    to: String,
}

/// Sends a code to a number, to prove that it is the person's. Where the person has one already, it stays in use until then.
#[utoipa::path(post, path = "/v1/me/factors/sms", operation_id = "identity.add_my_number", tag = "identity",
    request_body = NumberBody, responses((status = 202, body = NumberAnswer)))]
async fn add_number(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<NumberBody>,
) -> Answer<(StatusCode, Json<NumberAnswer>)> {
    let person = caller.person()?;
    let (id, to) = phone::add_number(&control, whose(&caller, &person), &body.value.number).await?;
    Ok((StatusCode::ACCEPTED, Json(NumberAnswer { factor: id.to_string(), to })))
}

/// Proves it with the code that was sent, which is good for one answer.
#[utoipa::path(post, path = "/v1/me/factors/sms/confirm", operation_id = "identity.confirm_my_number", tag = "identity",
    request_body = ConfirmBody, responses((status = 200, body = CodesAnswer)))]
async fn confirm_number(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<ConfirmBody>,
) -> Answer<Json<CodesAnswer>> {
    let person = caller.person()?;
    let ConfirmBody { factor, code } = body.value;
    let recovery_codes = phone::confirm_number(&control, whose(&caller, &person), factor, &code).await?;
    Ok(Json(CodesAnswer { recovery_codes }))
}

/// Takes a factor away. Other sessions end.
#[utoipa::path(delete, path = "/v1/me/factors/{id}", operation_id = "identity.remove_my_factor", tag = "identity",
    params(("id" = String, Path)), responses((status = 204)))]
async fn remove_factor(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let person = caller.person()?;
    own::remove_factor(&control, whose(&caller, &person), path_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes new recovery codes; those before are void.
#[utoipa::path(post, path = "/v1/me/factors/recovery_codes", operation_id = "identity.make_my_recovery_codes", tag = "identity",
    responses((status = 200, body = CodesAnswer)))]
async fn recovery_codes(State(control): State<Shared>, caller: Caller) -> Answer<Json<CodesAnswer>> {
    let person = caller.person()?;
    let recovery_codes = own::new_codes(&control, whose(&caller, &person)).await?;
    Ok(Json(CodesAnswer { recovery_codes }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangePasswordBody)]
struct PasswordBody {
    /// The present one.
    present: String,
    password: String,
}

/// Changes the password; who owns a second factor shows that first. Other sessions and trusted browsers end.
#[utoipa::path(post, path = "/v1/me/password", operation_id = "identity.change_my_password", tag = "identity",
    request_body = PasswordBody, responses((status = 204)))]
async fn change_password(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<PasswordBody>,
) -> Answer<StatusCode> {
    let person = caller.person()?;
    let PasswordBody { present, password } = body.value;
    own::change_password(&control, whose(&caller, &person), (&present, &password)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StepUpBody {
    /// For who has no second factor.
    #[serde(default)]
    password: Option<String>,
    /// Of an authenticator program.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    factor: Option<FactorId>,
    #[serde(default)]
    code: Option<String>,
    /// For who has lost the factor. It is used up.
    #[serde(default)]
    recovery_code: Option<String>,
    /// From `/v1/me/step_up/code`, for who has no second factor.
    #[serde(default)]
    email_code: Option<String>,
    /// From `/v1/me/step_up/code?by=sms_code`.
    #[serde(default)]
    sms_code: Option<String>,
    /// Of a security key or passkey, for the challenge of `/v1/me/step_up/options`.
    #[serde(default)]
    credential: Option<CredentialBody>,
}

impl StepUpBody {
    fn shown(&self) -> Result<Shown<'_>, Refusal> {
        let StepUpBody { password, factor, code, recovery_code, email_code, sms_code, credential } = self;
        let ways = [
            password.as_deref().map(Shown::Password),
            factor.zip(code.as_deref()).map(|(factor, code)| Shown::Code(factor, code)),
            recovery_code.as_deref().map(Shown::Recovery),
            email_code.as_deref().map(Shown::Mailed),
            sms_code.as_deref().map(Shown::Texted),
            credential.as_ref().map(Shown::Key),
        ];
        let mut ways = ways.into_iter().flatten();
        match (ways.next(), ways.next(), factor.is_some() == code.is_some()) {
            (Some(only), None, true) => Ok(only),
            _ => {
                let words = "`password`, or `factor` and `code`, or `recovery_code`, or `email_code`, or `sms_code`, or `credential`";
                Err(Refusal::new(&kind::INVALID, "Send one proof.").field("", "missing", words))
            }
        }
    }
}

#[derive(Serialize, ToSchema)]
struct StepUpAnswer {
    /// With the new `auth_time`.
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    assurance: i16,
}

/// Shows once more who one is.
#[utoipa::path(post, path = "/v1/me/step_up", operation_id = "identity.step_up", tag = "identity",
    request_body = StepUpBody, responses((status = 200, body = StepUpAnswer)))]
async fn prove_again(
    State(control): State<Shared>,
    caller: Caller,
    body: Body<StepUpBody>,
) -> Answer<Json<StepUpAnswer>> {
    let person = caller.person()?;
    let shown = body.value.shown()?;
    let (session, _) = step_up(&control, whose(&caller, &person), shown).await?;
    let (access_token, expires_in) = token_of(&control, session.id, &session).await?;
    Ok(Json(StepUpAnswer { access_token, token_type: "Bearer", expires_in, assurance: session.assurance }))
}

/// Sends a code to show once more who one is with, by e-mail or as a text; one in 30 seconds, five an hour. Good for ten minutes and one answer, in this session.
#[utoipa::path(post, path = "/v1/me/step_up/code", operation_id = "identity.mail_my_code", tag = "identity",
    params(CodeAsked), responses((status = 202)))]
async fn mail_own_code(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<CodeAsked>,
) -> Answer<StatusCode> {
    let person = caller.person()?;
    let (whom, session) = ((person.claims.tenant, person.user), person.claims.session);
    match asked.by {
        CodeWay::EmailCode => sign_in::mail_own_code(&control, whom, session).await?,
        CodeWay::SmsCode => sign_in::text_own_code(&control, whom, session).await?,
    }
    Ok(StatusCode::ACCEPTED)
}
