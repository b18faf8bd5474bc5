//! Messages and templates over HTTP.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::id::{MessageId, OPERATOR_TENANT};
use rowhouse_domain::messages::{Address, Template, template};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Change;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::content::Content;
use super::queries::{self, Filter, MessageRow};
use super::send::look;
use super::texts::{Rendered, Values, describe, sample};
use super::{NewMessage, To, queue, resend};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, cursor, path_id};
use crate::{Control, Shared};

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_messages))
        .routes(routes!(get_message))
        .routes(routes!(resend_message))
        .routes(routes!(list_templates))
        .routes(routes!(preview_template))
        .routes(routes!(send_test))
}

/// `?tenant=&state=&template=&limit=&cursor=`
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Which tenant.
    tenant: Option<String>,
    /// `queued`, `sending`, `sent`, `failed`, `suppressed`, `expanded`; a comma means any of.
    state: Option<String>,
    /// Names of templates; a comma means any of.
    template: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A message, without what it says.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageAnswer {
    id: String,
    tenant: String,
    channel: &'static str,
    template: String,
    priority: &'static str,
    /// `address`, `number`, `user`, `administrators`, `billing_contact` or `operators`; `holder`: whoever has an address, until that is found out.
    audience: String,
    /// Enough of the address to recognise one's own by.
    to: Option<String>,
    user: Option<String>,
    state: &'static str,
    attempts: i32,
    /// When it is tried next.
    next_try_at: Option<String>,
    /// Why the last try failed.
    problem: Option<String>,
    /// What the mail server answered, or the file's name.
    provider_id: Option<String>,
    created_at: String,
    sent_at: Option<String>,
}

impl From<&MessageRow> for MessageAnswer {
    fn from(row: &MessageRow) -> Self {
        let waits = matches!(row.state, queries::State::Queued | queries::State::Sending);
        MessageAnswer {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            channel: "email",
            template: row.template.clone(),
            priority: template::named(&row.template).map_or("transactional", |own| own.priority.as_str()),
            audience: row.audience.clone(),
            to: row.hint.clone(),
            user: row.user.map(|user| user.to_string()),
            state: row.state.as_str(),
            attempts: row.attempts,
            next_try_at: waits.then(|| row.next_try_at.to_string()),
            problem: row.problem.clone(),
            provider_id: row.provider_id.clone(),
            created_at: row.created_at.to_string(),
            sent_at: row.sent_at.map(|time| time.to_string()),
        }
    }
}

/// A message with what it says; codes and links are never shown.
#[derive(Debug, Serialize, ToSchema)]
struct WholeMessage {
    #[serde(flatten)]
    message: MessageAnswer,
    /// `null` once it is forgotten, after 7 days.
    subject: Option<String>,
    /// The plain part.
    text: Option<String>,
}

fn words(list: Option<&str>) -> Option<Vec<String>> {
    list.map(|list| list.split(',').map(str::to_owned).collect())
}

/// Messages, newest first.
#[utoipa::path(
    get, path = "/v1/messages", operation_id = "messages.list_messages", tag = "messages",
    params(Asked), responses((status = 200, body = List<MessageAnswer>))
)]
async fn list_messages(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<Asked>,
) -> Answer<Json<List<MessageAnswer>>> {
    let scope = caller.scope(asked.tenant.as_deref())?;
    let permit = caller.permit("message:read", scope)?;
    let page = Page { limit: asked.limit, ..Page::default() };
    let size = page.size()?;
    let query = format!("messages {scope:?} {:?} {:?}", asked.state, asked.template);
    let before = cursor::after::<MessageId>(&control, &query, asked.cursor.as_deref())?;
    let filter = Filter {
        tenant: scope.map(|tenant| tenant.0),
        states: words(asked.state.as_deref()),
        templates: words(asked.template.as_deref()),
        before: before.map(|id| id.0),
        with_operators: caller.is_operator(),
    };
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, &filter, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    Ok(Json(List { items: rows.iter().map(MessageAnswer::from).collect(), next_cursor }))
}

/// One message, with what it says.
#[utoipa::path(
    get, path = "/v1/messages/{id}", operation_id = "messages.get_message", tag = "messages",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = WholeMessage))
)]
async fn get_message(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<WholeMessage>> {
    let permit = caller.permit("message:read", caller.home())?;
    let id = path_id::<MessageId>(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::one(&transaction, id).await?;
    transaction.finish().await?;
    let row = row.filter(|row| caller.is_operator() || row.audience != "operators").ok_or_else(no_message)?;
    let rendered = shown(&control, &row).await?;
    let (subject, text) = rendered.map(|own| (own.subject, own.text)).unzip();
    Ok(Json(WholeMessage { message: MessageAnswer::from(&row), subject, text }))
}

/// What a message says, without what lets somebody in.
async fn shown(control: &Control, row: &MessageRow) -> Result<Option<Rendered>, Refusal> {
    let (Some(template), Some(sealed)) = (template::named(&row.template), &row.content) else {
        return Ok(None);
    };
    let Ok(content) = Content::open(control, row.id, sealed) else { return Ok(None) };
    let mut values = content.without_secrets(template).values;
    look(control, row, &mut values).await?;
    Ok(control.messages.texts.render(template, "en", &values).ok())
}

fn no_message() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no message with this id.")
}

/// Sends again what was left after its last try, or was sent.
#[utoipa::path(
    post, path = "/v1/messages/{id}/resend", operation_id = "messages.resend_message", tag = "messages",
    params(("id" = String, Path, description = "Its id")), responses((status = 200, body = MessageAnswer))
)]
async fn resend_message(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<MessageAnswer>> {
    let permit = caller.permit("message:send", caller.home())?;
    let id = path_id::<MessageId>(&id)?;
    if !caller.is_operator() {
        let transaction = control.store.read(&permit).await?;
        let row = queries::one(&transaction, id).await?;
        transaction.finish().await?;
        row.filter(|row| row.audience != "operators").ok_or_else(no_message)?;
    }
    Ok(Json(MessageAnswer::from(&resend(&control, &permit, id, caller.request_id).await?)))
}

/// A template.
#[derive(Debug, Serialize, ToSchema)]
struct TemplateAnswer {
    name: &'static str,
    /// `security` (never muted), `transactional` or `digest`.
    priority: &'static str,
    /// The values it needs.
    values: Vec<&'static str>,
    /// Its subject, with sample values.
    subject: String,
}

/// What messages there are.
#[utoipa::path(
    get, path = "/v1/templates", operation_id = "messages.list_templates", tag = "messages",
    responses((status = 200, body = List<TemplateAnswer>))
)]
async fn list_templates(State(control): State<Shared>, caller: Caller) -> Answer<Json<List<TemplateAnswer>>> {
    caller.permit("message:read", caller.home())?;
    let texts = &control.messages.texts;
    let answer = |template: &&'static Template| TemplateAnswer {
        name: template.name,
        priority: template.priority.as_str(),
        values: template.needs.to_vec(),
        subject: texts.render(template, "en", &sample(template)).map(|own| own.subject).unwrap_or_default(),
    };
    Ok(Json(List::whole(template::ALL.iter().map(answer).collect())))
}

/// Values to see a template with.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MessagePreviewBody)]
struct PreviewBody {
    /// `en`.
    #[serde(default)]
    language: Option<String>,
    /// In the place of samples.
    #[serde(default)]
    #[schema(value_type = Object)]
    values: Values,
}

/// What a template says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessagePreview)]
struct Preview {
    subject: String,
    text: String,
    html: String,
    /// Values that were not given; samples stand for them.
    missing: Vec<&'static str>,
}

/// Shows what a template says; nothing is sent.
#[utoipa::path(
    post, path = "/v1/templates/{name}/preview", operation_id = "messages.preview_template", tag = "messages",
    params(("name" = String, Path, description = "Its name")), request_body = PreviewBody,
    responses((status = 200, body = Preview))
)]
async fn preview_template(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<PreviewBody>,
) -> Answer<Json<Preview>> {
    caller.permit("message:read", caller.home())?;
    let template = template::named(&name).ok_or_else(|| no_template(&name))?;
    let PreviewBody { language, values: given } = body.value;
    if language.is_some_and(|language| language != "en") {
        let refusal = Refusal::new(&kind::INVALID, "There is no text in this language.");
        return Err(refusal.field("/language", "unknown", "en").into());
    }
    let missing = template.needs.iter().copied().filter(|name| !given.contains_key(*name)).collect();
    let mut values = sample(template);
    values.insert("brand".to_owned(), control.messages.settings.brand.clone());
    values.extend(given);
    let rendered = control.messages.texts.render(template, "en", &values);
    let wrong = |error| {
        Refusal::new(&kind::INVALID, "The template does not render with these values.").field(
            "/values",
            "invalid",
            describe(&error),
        )
    };
    let Rendered { subject, text, html } = rendered.map_err(wrong)?;
    Ok(Json(Preview { subject, text, html, missing }))
}

fn no_template(name: &str) -> Refusal {
    Refusal::new(&kind::NOT_FOUND, format!("There is no template `{name}`."))
}

/// Where a test goes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MessageTestBody)]
struct TestBody {
    /// An address.
    #[schema(value_type = String)]
    to: Address,
}

/// What was queued.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageTestAnswer)]
struct TestAnswer {
    template: &'static str,
    state: &'static str,
}

/// Sends a template with sample values, to see that mail arrives.
#[utoipa::path(
    post, path = "/v1/templates/{name}/send_test", operation_id = "messages.send_test", tag = "messages",
    params(("name" = String, Path, description = "Its name")), request_body = TestBody,
    responses((status = 202, body = TestAnswer))
)]
async fn send_test(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<TestBody>,
) -> Answer<(StatusCode, Json<TestAnswer>)> {
    let permit = caller.permit("message:send", None)?;
    let template = template::named(&name).ok_or_else(|| no_template(&name))?;
    let key = format!("test {}", caller.request_id);
    let mut new = NewMessage::new(template, OPERATOR_TENANT, To::Address(body.value.to), key);
    let samples = sample(template);
    for name in template.needs {
        new = new.value(name, &samples[*name]);
    }
    let transaction = control.store.write(&permit).await?;
    queue(&control, &transaction, new).await?;
    let change = Change::new(OPERATOR_TENANT, "messages.test_sent", "create", permit.principal())
        .on("template", template.name)
        .details(json!({}))
        .request(caller.request_id);
    transaction.commit(change).await?;
    Ok((StatusCode::ACCEPTED, Json(TestAnswer { template: template.name, state: "queued" })))
}
