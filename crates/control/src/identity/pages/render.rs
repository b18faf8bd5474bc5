//! A page: one template, one set of headers.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use minijinja::Environment;
use minijinja::value::Value;
use rowhouse_domain::refusal::Refusal;

use crate::Control;

const PAGE: &str = include_str!("page.html");
/// No script but our one, no frames, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What a page shows.
#[derive(Debug, Default)]
pub struct Page {
    values: Vec<(&'static str, Value)>,
    status: Option<StatusCode>,
    leads_to: Option<String>,
    cookies: Vec<String>,
}

impl Page {
    /// One view of the template.
    pub fn new(view: &'static str, title: &str, form: &str) -> Self {
        let page = Page::default();
        page.with("view", view).with("title", title).with("form", form).with("tone", "bad")
    }

    /// With one value more; a later one wins.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.values.retain(|(own, _)| *own != name);
        self.values.push((name, value.into()));
        self
    }

    /// With a form that has the browser ask for a key: where it goes, its step and kind, what its button says, and what is asked.
    pub fn key(
        self,
        (action, step, kind): (&str, &str, &str),
        label: &str,
        options: &serde_json::Value,
    ) -> Self {
        let page = self.with("key", options.to_string()).with("key_action", action).with("key_step", step);
        page.with("key_kind", kind).with("key_label", label)
    }

    /// Whose form leads to another place in the end, which browsers ask to be named. One that could mean more in a policy is not.
    pub fn leads_to(mut self, place: &str) -> Self {
        let is_plain = place.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+:/[]_".contains(&byte));
        self.leads_to = is_plain.then(|| place.to_owned());
        self
    }

    /// With a sentence that is good news.
    pub fn good(self, said: &str) -> Self {
        self.with("said", said).with("tone", "good")
    }

    /// With what was refused.
    pub fn refused(self, refusal: &Refusal) -> Self {
        let reasons: Vec<String> = refusal.errors().iter().map(|error| error.detail.to_string()).collect();
        let mut page = self.with("said", refusal.detail()).with("reasons", reasons);
        page.status = StatusCode::from_u16(refusal.status()).ok();
        page
    }

    /// With a cookie.
    pub fn cookie(mut self, cookie: String) -> Self {
        self.cookies.push(cookie);
        self
    }

    /// As it is sent.
    pub fn send(self, control: &Control) -> Response {
        let brand = ("brand", Value::from(control.messages.brand()));
        let values = Value::from_pairs(self.values.into_iter().chain([brand]));
        let html = Environment::new().render_named_str("page.html", PAGE, values);
        let html = html.expect("a test renders every view");
        let mut response = (self.status.unwrap_or(StatusCode::OK), Html(html)).into_response();
        let headers = response.headers_mut();
        let policy = match &self.leads_to {
            Some(place) => POLICY.replace("form-action 'self'", &format!("form-action 'self' {place}")),
            None => POLICY.to_owned(),
        };
        let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static(POLICY));
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // For browsers that do not know `frame-ancestors`.
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        set(&mut response, self.cookies);
        response
    }
}

/// Adds cookies to an answer.
pub fn set(response: &mut Response, cookies: Vec<String>) {
    for cookie in cookies {
        let value = HeaderValue::from_str(&cookie).expect("our cookies are visible ASCII");
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
