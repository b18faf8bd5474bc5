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
use crate::identity::form;
use crate::identity::sign_in::{
    self as flow, Progress, Source, Told, begin_enrolment, choose_tenant, mail_code, prove_password,
    show_factor,
};
use crate::{Control, Shared};

#[derive(Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    tenant: String,
}

#[derive(Default, Deserialize)]
struct Entered {
    #[serde(default)]
    form: String,
    #[serde(default)]
    identifier: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    trust: String,
}

fn first(browser: &Browser, identifier: &str, tenant: &str) -> Page {
    let page =
        Page::new("sign_in", "Sign in", browser.form()).with("identifier", identifier).with("tenant", tenant);
    with_form(page, browser)
}

fn with_form(page: Page, browser: &Browser) -> Page {
    match browser.form_cookie() {
        Some(cookie) => page.cookie(cookie),
        None => page,
    }
}

pub async fn form(State(control): State<Shared>, browser: Browser, Query(asked): Query<Asked>) -> Response {
    match browser.signed_in(&control).await {
        Ok(Some(_)) => Redirect::to("/account").into_response(),
        _ => first(&browser, "", &asked.tenant).send(&control),
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
    match begin(&control, &browser, &source, request_id, &entered).await {
        Ok((text, progress)) => answer(&control, &browser, &text, progress),
        Err(refusal) => {
            first(&browser, &entered.identifier, &entered.tenant).refused(&refusal).send(&control)
        }
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
    let progress = prove_password(control, &told, &entered.password, browser.device.as_deref()).await?;
    Ok((started.flow, progress))
}

/// Where it stands, as a page. What is under way is kept in a cookie, so that nobody can hand somebody else a sign-in.
fn answer(control: &Control, browser: &Browser, text: &str, progress: Progress) -> Response {
    let form = browser.form();
    match progress {
        Progress::Done(done) => {
            let mut cookies = vec![guard::session_cookie(&done.begun.secret), guard::no_flow()];
            cookies.extend(done.device.as_deref().map(guard::device_cookie));
            if done.recovery_codes.is_empty() {
                let mut response = Redirect::to("/account").into_response();
                render::set(&mut response, cookies);
                return response;
            }
            let page = Page::new("codes", "Recovery codes", form).with("codes", done.recovery_codes);
            cookies.into_iter().fold(page, Page::cookie).send(control)
        }
        Progress::Show(offers) => {
            let mails = offers.iter().any(|offer| offer.kind == ProofKind::EmailCode);
            let factors: Vec<Value> = offers
                .iter()
                .map(|offer| {
                    let factor =
                        offer.factor.map_or_else(|| offer.kind.as_str().to_owned(), |id| id.to_string());
                    Value::from_pairs([("factor", factor), ("label", offer.label.clone())])
                })
                .collect();
            let page =
                Page::new("factor", "One more thing", form).with("factors", factors).with("mails", mails);
            page.cookie(guard::flow_cookie(text)).send(control)
        }
        Progress::Enrol => {
            Page::new("begin_enrol", "A second factor", form).cookie(guard::flow_cookie(text)).send(control)
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
        Err(refusal) if refusal.status() == 410 => first(&browser, "", "").refused(&refusal).send(&control),
        Err(refusal) => {
            let factor = Value::from_pairs([
                ("factor", sent.factor.clone()),
                ("label", "The same as before".to_owned()),
            ]);
            let page = Page::new("factor", "One more thing", browser.form()).with("factors", vec![factor]);
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
        "tenant" => {
            let wrong = |_| Refusal::new(&kind::INVALID, "Choose one of the tenants.");
            choose_tenant(control, told, sent.tenant.parse().map_err(wrong)?).await?
        }
        "mail" => {
            mail_code(control, told).await?;
            let factor = Value::from_pairs([("factor", "email_code"), ("label", "The code that was mailed")]);
            let page = Page::new("factor", "Look into your mailbox", form).with("factors", vec![factor]);
            return Ok(page.good("A code is on its way.").send(control));
        }
        "enrol" => {
            let own = begin_enrolment(control, told).await?;
            let page = Page::new("enrol", "A second factor", form)
                .with("on_the_way", true)
                .with("qr_svg", own.qr_svg);
            let page =
                page.with("secret", own.secret).with("factor", own.factor.to_string()).with("step", "factor");
            return Ok(page.with("action", "/account/sign_in/next").send(control));
        }
        _ => return Err(Refusal::new(&kind::INVALID, "The form is not complete.")),
    };
    Ok(answer(control, browser, told.flow, progress))
}
