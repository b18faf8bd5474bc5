//! Signing in with a browser.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use minijinja::value::Value;
use rowhouse_domain::id::RequestId;
use rowhouse_domain::identity::ProofKind;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;

use super::guard::{self, Browser};
use super::render::{self, Page};
use crate::identity::factor::{CredentialBody, Enrolment, KeyKind};
use crate::identity::form;
use crate::identity::sign_in::{
    self as flow, Progress, Source, Told, begin_enrolment, begin_key_enrolment, begun_enrolment,
    choose_tenant, enrol_key, mail_code, prove_password, show_factor, show_key, text_code,
};
use crate::identity::sso;
use crate::{Control, Shared};

#[derive(Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    tenant: String,
    /// `password` to be asked for one at once.
    #[serde(default)]
    with: String,
}

#[derive(Default, Deserialize)]
struct Entered {
    #[serde(default)]
    form: String,
    #[serde(default)]
    identifier: String,
    /// Not there in the first step, which asks for the address alone.
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    trust: String,
}

/// Where the steps after the first go.
const NEXT: &str = "/account/sign_in/next";

/// The first page. It carries a sign-in that a passkey may begin, of which nothing is stored.
async fn first(
    control: &Control,
    told: &Told<'_>,
    browser: &Browser,
    (identifier, tenant): (&str, &str),
    asks_password: bool,
) -> Page {
    let page = Page::new("sign_in", "Sign in", browser.form());
    let page = page.with("identifier", identifier).with("asks_password", asks_password);
    let page = page.with("tenant", tenant).with("tenant_escaped", form::escape(tenant));
    let page = with_form(page, browser).with("ways", ways(control, tenant).await);
    let wanted = Some(tenant).filter(|tenant| !tenant.is_empty());
    let Ok(started) = flow::start(control, "", wanted) else { return page };
    let told = Told { flow: &started.flow, ..*told };
    match flow::key_options(control, &told).await {
        Ok(options) => {
            let page = page.key((NEXT, "key", ""), "Sign in with a passkey", &options);
            page.cookie(guard::flow_cookie(&started.flow))
        }
        Err(_) => page,
    }
}

/// The providers by which a tenant is entered, as (name, where it begins); the same for everybody.
async fn ways(control: &Control, tenant: &str) -> Vec<Value> {
    let Some(tenant) = control.directory.current().tenant_by_code(tenant).map(|tenant| tenant.id) else {
        return Vec::new();
    };
    let all = sso::of_tenant(control, tenant).await.unwrap_or_default();
    let way = |row: &sso::ConnectionRow| {
        Value::from_pairs([("name", row.name.clone()), ("place", row.start_path())])
    };
    all.iter().map(way).collect()
}

pub fn with_form(page: Page, browser: &Browser) -> Page {
    match browser.form_cookie() {
        Some(cookie) => page.cookie(cookie),
        None => page,
    }
}

pub async fn form(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    source: Source,
    Query(asked): Query<Asked>,
) -> Response {
    let told = Told { flow: "", source: &source, by_cookie: true, trust_device: false, request_id };
    match browser.signed_in(&control).await {
        Ok(Some(_)) => Redirect::to("/account").into_response(),
        _ => {
            let asks_password = asked.with == "password";
            first(&control, &told, &browser, ("", asked.tenant.as_str()), asks_password).await.send(&control)
        }
    }
}

pub async fn send(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    source: Source,
    body: Bytes,
) -> Response {
    let entered = form::read::<Entered>(&body).unwrap_or_default();
    if entered.password.is_none() {
        return lead(&control, &browser, &source, request_id, &entered).await;
    }
    match begin(&control, &browser, &source, request_id, &entered).await {
        Ok((text, progress)) => {
            let told =
                Told { flow: &text, source: &source, by_cookie: true, trust_device: false, request_id };
            answer(&control, &browser, &told, progress).await
        }
        Err(refusal) => {
            let told = Told { flow: "", source: &source, by_cookie: true, trust_device: false, request_id };
            let whom = (entered.identifier.as_str(), entered.tenant.as_str());
            first(&control, &told, &browser, whom, true).await.refused(&refusal).send(&control)
        }
    }
}

/// After the address: to the organisation's own provider where its domain has one, else to the password. Whether somebody has the address is
/// not looked up.
async fn lead(
    control: &Control,
    browser: &Browser,
    source: &Source,
    request_id: RequestId,
    entered: &Entered,
) -> Response {
    let told = Told { flow: "", source, by_cookie: true, trust_device: false, request_id };
    let whom = (entered.identifier.as_str(), entered.tenant.as_str());
    let way = match browser.check(&entered.form) {
        Ok(()) => sso::lead(control, source, whom).await,
        Err(refusal) => Err(refusal),
    };
    match way {
        Ok(Some(row)) => {
            let page = Page::new("sso_go", "Single sign-on", browser.form());
            page.with("provider", row.name.as_str()).with("place", row.start_path()).send(control)
        }
        Ok(None) => first(control, &told, browser, whom, true).await.send(control),
        Err(refusal) => first(control, &told, browser, whom, false).await.refused(&refusal).send(control),
    }
}

async fn begin(
    control: &Control,
    browser: &Browser,
    source: &Source,
    request_id: RequestId,
    entered: &Entered,
) -> Result<(String, Progress), Refusal> {
    browser.check(&entered.form)?;
    let tenant = Some(entered.tenant.as_str()).filter(|tenant| !tenant.is_empty());
    let started = flow::start(control, &entered.identifier, tenant)?;
    let told = Told {
        flow: &started.flow,
        source,
        by_cookie: true,
        trust_device: entered.trust == "yes",
        request_id,
    };
    let password = entered.password.as_deref().unwrap_or_default();
    let progress = prove_password(control, &told, password, browser.device.as_deref()).await?;
    Ok((started.flow, progress))
}

/// Where it stands, as a page. What is under way is kept in a cookie, so that nobody can hand somebody else a sign-in.
pub async fn answer(control: &Control, browser: &Browser, told: &Told<'_>, progress: Progress) -> Response {
    let (form, text) = (browser.form(), told.flow);
    match progress {
        Progress::Done(done) => {
            let mut cookies = vec![guard::session_cookie(&done.begun.secret), guard::no_flow()];
            cookies.extend(done.device.as_deref().map(guard::device_cookie));
            if done.recovery_codes.is_empty() {
                cookies.push(guard::no_return());
                let to = browser.return_to.as_deref().unwrap_or("/account");
                let mut response = Redirect::to(to).into_response();
                render::set(&mut response, cookies);
                return response;
            }
            let page = Page::new("codes", "Recovery codes", form).with("codes", done.recovery_codes);
            cookies.into_iter().fold(page, Page::cookie).send(control)
        }
        Progress::Show(offers) => {
            let mails = offers.iter().any(|offer| offer.kind == ProofKind::EmailCode);
            let texts = offers.iter().any(|offer| offer.kind == ProofKind::SmsCode);
            let keys = offers.iter().any(|offer| offer.kind == ProofKind::SecurityKey);
            let factors: Vec<Value> = offers
                .iter()
                .filter(|offer| offer.kind != ProofKind::SecurityKey)
                .map(|offer| {
                    let factor =
                        offer.factor.map_or_else(|| offer.kind.as_str().to_owned(), |id| id.to_string());
                    Value::from_pairs([("factor", factor), ("label", offer.label.clone())])
                })
                .collect();
            let page =
                Page::new("factor", "One more thing", form).with("factors", factors).with("mails", mails);
            let page = page.with("texts", texts);
            let page = match keys {
                true => with_key(control, told, page).await,
                false => page,
            };
            page.cookie(guard::flow_cookie(text)).send(control)
        }
        Progress::Enrol(kinds) => {
            let kinds: Vec<&str> = kinds.into_iter().map(ProofKind::as_str).collect();
            let page = Page::new("begin_enrol", "A second factor", form).with("kinds", kinds);
            page.cookie(guard::flow_cookie(text)).send(control)
        }
        Progress::Choose(choices) => {
            let tenants: Vec<Value> = choices
                .into_iter()
                .map(|one| {
                    Value::from_pairs([
                        ("id", one.tenant.to_string()),
                        ("code", one.code),
                        ("name", one.name),
                    ])
                })
                .collect();
            let page = Page::new("choose", "Where to?", form).with("tenants", tenants);
            page.cookie(guard::flow_cookie(text)).send(control)
        }
    }
}

/// With what a browser is asked for one of the person's keys.
async fn with_key(control: &Control, told: &Told<'_>, page: Page) -> Page {
    match flow::key_options(control, told).await {
        Ok(options) => page.key((NEXT, "key", ""), "Use a security key or passkey", &options),
        Err(_) => page,
    }
}

#[derive(Default, Deserialize)]
struct Step {
    #[serde(default)]
    form: String,
    #[serde(default)]
    step: String,
    #[serde(default)]
    factor: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    trust: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    credential: String,
}

/// A page that was loaded again in the middle begins anew.
pub async fn next() -> Redirect {
    Redirect::to("/account/sign_in")
}

pub async fn step(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    source: Source,
    body: Bytes,
) -> Response {
    let sent = form::read::<Step>(&body).unwrap_or_default();
    let Some(text) = browser.flow.clone() else { return Redirect::to("/account/sign_in").into_response() };
    let told =
        Told { flow: &text, source: &source, by_cookie: true, trust_device: sent.trust == "yes", request_id };
    match taken(&control, &browser, &told, &sent).await {
        Ok(response) => response,
        Err(refusal) if refusal.status() == 410 || refusal.code() == kind::CREDENTIALS_WRONG.code => {
            first(&control, &told, &browser, ("", ""), false).await.refused(&refusal).send(&control)
        }
        Err(refusal) if matches!(sent.step.as_str(), "key" | "enrol_key" | "key_made") => {
            let page = Page::new("factor", "One more thing", browser.form());
            with_key(&control, &told, page).await.refused(&refusal).send(&control)
        }
        Err(refusal) => {
            // Whoever mistypes the first code of a new program has the same key before them still.
            if let Ok(Some(own)) = begun_enrolment(&control, &told, &sent.factor).await {
                return enrol_page(&browser, own).refused(&refusal).send(&control);
            }
            let factor = Value::from_pairs([
                ("factor", sent.factor.clone()),
                ("label", "The same as before".to_owned()),
            ]);
            let page = Page::new("factor", "One more thing", browser.form()).with("factors", vec![factor]);
            let page = page.with("texts", sent.factor == "sms_code" || sent.step == "text");
            page.with("mails", sent.factor == "email_code").refused(&refusal).send(&control)
        }
    }
}

async fn taken(
    control: &Control,
    browser: &Browser,
    told: &Told<'_>,
    sent: &Step,
) -> Result<Response, Refusal> {
    browser.check(&sent.form)?;
    let form = browser.form();
    let progress = match sent.step.as_str() {
        "factor" => show_factor(control, told, &sent.factor, &sent.code).await?,
        "key" => show_key(control, told, &credential(sent)?).await?,
        "enrol_key" => {
            let kind = key_kind(&sent.kind);
            let options = begin_key_enrolment(control, told, kind).await?;
            return Ok(key_page(form, (NEXT, "key_made"), kind, &options).send(control));
        }
        "key_made" => enrol_key(control, told, (key_kind(&sent.kind), &credential(sent)?)).await?,
        "tenant" => {
            let wrong = |_| Refusal::new(&kind::INVALID, "Choose one of the organisations.");
            choose_tenant(control, told, sent.tenant.parse().map_err(wrong)?).await?
        }
        "mail" => {
            mail_code(control, told).await?;
            let factor = Value::from_pairs([("factor", "email_code"), ("label", "The code that was mailed")]);
            let page = Page::new("factor", "Look into your mailbox", form).with("factors", vec![factor]);
            return Ok(page.good("A code is on its way.").send(control));
        }
        "text" => {
            text_code(control, told).await?;
            let factor = Value::from_pairs([("factor", "sms_code"), ("label", "The code that was sent")]);
            let page = Page::new("factor", "Look at your phone", form).with("factors", vec![factor]);
            return Ok(page.good("A code is on its way.").send(control));
        }
        "enrol" => {
            return Ok(enrol_page(browser, begin_enrolment(control, told).await?).send(control));
        }
        _ => return Err(Refusal::new(&kind::INVALID, "The form is not complete.")),
    };
    Ok(answer(control, browser, told, progress).await)
}

/// The page that shows a new program its key and asks for the first code.
fn enrol_page(browser: &Browser, own: Enrolment) -> Page {
    let page = Page::new("enrol", "A second factor", browser.form()).with("on_the_way", true);
    let page = page.with("qr_svg", own.qr_svg).with("secret", own.secret);
    page.with("factor", own.factor.to_string()).with("step", "factor").with("action", NEXT)
}

fn credential(sent: &Step) -> Result<CredentialBody, Refusal> {
    CredentialBody::parse(&sent.credential)
        .ok_or_else(|| Refusal::new(&kind::INVALID, "The form is not complete."))
}

/// Which kind a form means.
pub fn key_kind(text: &str) -> KeyKind {
    if text == "security_key" { KeyKind::SecurityKey } else { KeyKind::Passkey }
}

/// The page that has the browser make a key.
pub fn key_page(
    form: &str,
    (action, step): (&str, &str),
    kind: KeyKind,
    options: &serde_json::Value,
) -> Page {
    let (title, told) = match kind {
        KeyKind::Passkey => {
            ("A passkey", "Your browser asks for fingerprint, face or PIN, and keeps the passkey.")
        }
        KeyKind::SecurityKey => {
            ("A security key", "Have your key at hand. Your browser asks you to touch it.")
        }
    };
    let page = Page::new("key", title, form).with("told", told);
    page.key((action, step, kind.as_str()), "Go on", options)
}
