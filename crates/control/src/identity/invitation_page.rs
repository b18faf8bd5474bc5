//! The page that an invitation's link leads to: a form without scripts. Opening it looks at nothing and uses nothing up, so
//! that programs which follow links in mail do no harm; only sending the form does.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use minijinja::Environment;
use minijinja::value::Value;
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::Refusal;
use serde::Deserialize;

use super::accept::{Acceptance, accept};
use crate::Shared;

const PAGE: &str = include_str!("invitation_page.html");
/// No scripts, no frames, nothing from elsewhere; and the link is told to nobody.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Longest form.
const FORM_MAX: usize = 16 * 1024;

/// The page's routes, which are not part of the API.
pub fn pages() -> Router<Shared> {
    Router::new().route("/account/invitation", get(form).post(send))
}

#[derive(Default, Deserialize)]
struct Link {
    #[serde(default)]
    token: String,
}

/// What the form holds. An empty field is none.
#[derive(Default, Deserialize)]
struct Form {
    #[serde(default)]
    token: String,
    #[serde(default)]
    full_name: String,
    #[serde(default)]
    password: String,
}

async fn form(Query(link): Query<Link>) -> Response {
    page(StatusCode::OK, "You are invited", "", &[], Some((&link.token, "")))
}

async fn send(
    State(control): State<Shared>,
    axum::Extension(request_id): axum::Extension<RequestId>,
    body: Bytes,
) -> Response {
    let Some(form) = read(&body) else {
        return page(StatusCode::BAD_REQUEST, "Something is wrong", "The form could not be read.", &[], None);
    };
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let wish = Acceptance {
        token: form.token.clone(),
        full_name: given(&form.full_name),
        password: given(&form.password),
    };
    match accept(&control, wish, request_id).await {
        Ok(done) => {
            let said = format!("You belong to {} now.", done.tenant_code);
            page(StatusCode::OK, "Welcome", &said, &[], None)
        }
        Err(refusal) => refused(&refusal, &form),
    }
}

/// A form (`application/x-www-form-urlencoded`) is written as the query of an address is, and read as one.
fn read(body: &Bytes) -> Option<Form> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= FORM_MAX)?;
    let uri: Uri = format!("/?{text}").parse().ok()?;
    Query::<Form>::try_from_uri(&uri).ok().map(|form| form.0)
}

fn refused(refusal: &Refusal, form: &Form) -> Response {
    let status = StatusCode::from_u16(refusal.status()).expect("the catalogue has real statuses");
    let reasons: Vec<String> = refusal.errors().iter().map(|error| error.detail.to_string()).collect();
    // A link that is used up is of no use again; everything else can be corrected, or tried later.
    let again = (status != StatusCode::GONE).then_some((form.token.as_str(), form.full_name.as_str()));
    page(status, "Not yet", refusal.detail(), &reasons, again)
}

fn page(
    status: StatusCode,
    title: &str,
    said: &str,
    reasons: &[String],
    form: Option<(&str, &str)>,
) -> Response {
    let (token, full_name) = form.unwrap_or_default();
    let values = Value::from_pairs([
        ("title", Value::from(title)),
        ("said", Value::from(said)),
        ("reasons", Value::from(reasons.to_vec())),
        ("token", Value::from(token)),
        ("full_name", Value::from(full_name)),
    ]);
    let html = Environment::new().render_named_str("page.html", PAGE, values).expect("a test renders it");
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_write_them() {
        let body = Bytes::from_static(b"token=ab12&full_name=Ana+%26+%C3%89va&password=a%2Bb+c");
        let form = read(&body).expect("a form");
        assert_eq!(
            (form.token.as_str(), form.full_name.as_str(), form.password.as_str()),
            ("ab12", "Ana & Éva", "a+b c")
        );
        assert!(read(&Bytes::from_static(b"\xff")).is_none());
        assert!(read(&Bytes::from(format!("token={}", "a".repeat(FORM_MAX)))).is_none());
    }
}
