//! The account of who is signed in: sessions, factors, password.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use minijinja::value::Value;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{FactorId, RequestId};
use rowhouse_domain::identity::ProofKind;
use rowhouse_domain::identity::token::Subject;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;

use super::guard::{self, Browser};
use super::proof::{self, Answered, Asks, Proof};
use super::render::{self, Page};
use super::sign_in::{key_kind, key_page, with_form};
use super::{acting, agent, draft, organisation, told};
use crate::identity::account::{self, Whose};
use crate::identity::factor::{CredentialBody, Enrolment};
use crate::identity::session::{self, SessionRow};
use crate::identity::{email as address, factor, form, queries as people, sign_in, sso};
use crate::{Control, Shared, tenancy};

pub async fn show(State(control): State<Shared>, browser: Browser) -> Response {
    match browser.signed_in(&control).await {
        Ok(Some(session)) => match overview(&control, &browser, &session).await {
            Ok(page) => told::on(with_form(page, &browser), &control, &browser).send(&control),
            Err(refusal) => Page::new("done", "Not now", browser.form()).refused(&refusal).send(&control),
        },
        Ok(None) => Redirect::to("/account/sign_in").into_response(),
        Err(refusal) => Page::new("done", "Not now", browser.form()).refused(&refusal).send(&control),
    }
}

async fn overview(control: &Control, browser: &Browser, own: &SessionRow) -> Result<Page, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "a person's own page")).await?;
    let user = people::find_user(&transaction, own.user).await?;
    let user = user.ok_or_else(|| Refusal::new(&kind::SESSION_ENDED, "The session has ended."))?;
    let all = session::queries::of_user(&transaction, own.user, own.reach(), control.clock().now()).await?;
    let factors = factor::active(&transaction, own.user).await?;
    let left = factor::codes_left(&transaction, own.user).await?;
    let tenant = tenancy::get(&transaction, own.tenant).await?;
    let ways = sso::links_of(&transaction, (own.tenant, own.user)).await?.into_iter().map(|(row, linked)| {
        let place = row.start_path();
        Value::from_pairs([
            ("name", Value::from(row.name)),
            ("place", Value::from(place)),
            ("linked", Value::from(linked)),
        ])
    });
    let ways: Vec<Value> = ways.collect();
    let all_policies = sign_in::policy::of_all(&transaction, Some(own.user)).await?;
    let trusted =
        sign_in::devices::of_person(&transaction, (own.user, own.reach()), control.clock().now()).await?;
    let texts = control.messages.sms().is_some()
        && all_policies.iter().any(|(_, policy)| policy.takes(ProofKind::SmsCode));
    transaction.finish().await?;
    let day = |time: jiff::Timestamp| time.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let sessions: Vec<Value> = all
        .iter()
        .map(|row| {
            let proofs: Vec<&str> = row.evidence.proofs().iter().map(|proof| proof.kind.as_str()).collect();
            Value::from_pairs([
                ("id", Value::from(row.id.to_string())),
                ("agent", Value::from(agent::name(&row.agent))),
                ("told", Value::from(row.agent.as_str())),
                ("ip", Value::from(row.ip.as_str())),
                ("proofs", Value::from(proofs.join(", ").replace('_', " "))),
                ("created", Value::from(day(row.created_at))),
                ("seen", Value::from(day(row.last_seen_at))),
                ("this", Value::from(row.id == own.id)),
            ])
        })
        .collect();
    let trusted: Vec<Value> = trusted
        .iter()
        .map(|row| {
            Value::from_pairs([
                ("id", row.id.clone()),
                ("agent", agent::name(&row.agent)),
                ("created", day(row.created_at)),
                ("until", day(row.expires_at)),
            ])
        })
        .collect();
    let factors: Vec<Value> = factors
        .iter()
        .map(|row| {
            Value::from_pairs([
                ("id", row.id.to_string()),
                ("kind", kind_of(&row.kind).to_owned()),
                ("label", row.label.clone()),
                ("created", day(row.created_at)),
                ("used", row.last_used_at.map(day).unwrap_or_default()),
            ])
        })
        .collect();
    let page = Page::new("account", "Your account", browser.form())
        .with("name", user.full_name)
        .with("email", user.email.unwrap_or_default())
        .with("tenant", tenant.map(|record| record.tenant.company_name).unwrap_or_default())
        .with("sessions", sessions)
        .with("trusted", trusted)
        .with("factors", factors)
        .with("codes_left", left)
        .with("texts", texts)
        .with("organisation", organisation::first(control, own).unwrap_or_default())
        .with("ways", ways);
    Ok(match acting::choice(control, own).await? {
        Some(choice) => page.with("acting", choice),
        None => page,
    })
}

/// A kind of second factor in words.
pub(super) fn kind_of(stored: &str) -> &'static str {
    match stored {
        "passkey" => "Passkey",
        "security_key" => "Security key",
        "sms_code" => "Text message",
        _ => "Authenticator",
    }
}

#[derive(Default, Deserialize)]
struct Sent {
    #[serde(default)]
    form: String,
    #[serde(default)]
    step: String,
    #[serde(default)]
    session: String,
    #[serde(default)]
    device: String,
    #[serde(default)]
    factor: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    present: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    credential: String,
    #[serde(default)]
    number: String,
    #[serde(default)]
    email: String,
    /// What waits for a proof.
    #[serde(default)]
    draft: String,
}

const PAGE: &str = "/account";

pub async fn change(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    body: Bytes,
) -> Response {
    let sent = form::read::<Sent>(&body).unwrap_or_default();
    let session = match browser.signed_in(&control).await {
        Ok(Some(session)) => session,
        Ok(None) => return Redirect::to("/account/sign_in").into_response(),
        Err(refusal) => return Page::new("done", "Not now", browser.form()).refused(&refusal).send(&control),
    };
    let asks = Asks {
        control: &control,
        browser: &browser,
        session: &session,
        request_id,
        page: PAGE,
        draft: sent.draft.clone(),
    };
    if proof::is_answer(&sent.step) {
        return proven(&asks, &sent).await;
    }
    if let Err(refusal) = browser.check(&sent.form) {
        return refused(&control, &browser, &session, &refusal).await;
    }
    match changed(&control, &browser, &session, request_id, &sent).await {
        Ok(response) => response,
        Err(refusal) if refusal.code() == kind::STEP_UP_REQUIRED.code => {
            Asks { draft: draft::keep(&control, &browser, PAGE, &body), ..asks }.page().await
        }
        Err(refusal) => refused(&control, &browser, &session, &refusal).await,
    }
}

pub(super) async fn refused(
    control: &Control,
    browser: &Browser,
    session: &SessionRow,
    refusal: &Refusal,
) -> Response {
    match overview(control, browser, session).await {
        Ok(page) => page.refused(refusal).send(control),
        Err(refusal) => Page::new("done", "Not now", browser.form()).refused(&refusal).send(control),
    }
}

/// Takes a proof, and does what waited for it; else goes back to where it was asked for.
async fn proven(asks: &Asks<'_>, sent: &Sent) -> Response {
    let answered = Answered {
        step: &sent.step,
        factor: &sent.factor,
        code: &sent.code,
        password: &sent.present,
        credential: &sent.credential,
    };
    let proven = match asks.answered(&sent.form, answered).await {
        Proof::Page(response) => return response,
        Proof::Done(proven) => proven,
    };
    let (control, browser) = (asks.control, &proven.browser);
    let waiting = proven.waiting.as_ref().and_then(form::read::<Sent>);
    let mut response = match waiting.filter(|own| !proof::is_answer(&own.step)) {
        Some(own) => match changed(control, browser, &proven.session, asks.request_id, &own).await {
            Ok(response) => response,
            Err(refusal) => refused(control, browser, &proven.session, &refusal).await,
        },
        None => Redirect::to(asks.browser.return_to.as_deref().unwrap_or(PAGE)).into_response(),
    };
    proven.set(&mut response);
    response
}

/// Does what a form says that was looked at.
async fn changed(
    control: &Control,
    browser: &Browser,
    session: &SessionRow,
    request_id: RequestId,
    sent: &Sent,
) -> Result<Response, Refusal> {
    let whose = Whose { user: session.user, session: session.id, request_id };
    let malformed = |_| Refusal::new(&kind::INVALID, "The form is not complete.");
    let good = match sent.step.as_str() {
        "sign_out" => {
            end(control, session, &session.id.to_string()).await?;
            let mut response = Redirect::to("/account/sign_in").into_response();
            render::set(&mut response, vec![guard::no_session()]);
            return Ok(response);
        }
        "end" => {
            end(control, session, &sent.session).await?;
            "The session is over."
        }
        "forget" => {
            sign_in::devices::forget(control, (session.user, session.reach()), &sent.device, request_id)
                .await?;
            "That browser counts for nothing any more."
        }
        "email" => {
            address::ask(control, whose, &sent.email).await?;
            "Look into your new mailbox: if the address can be yours, a link is on its way to it. Until you use it nothing changes."
        }
        "number" => {
            let (factor, to) = account::add_number(control, whose, &sent.number).await?;
            let page = Page::new("number", "Your number", browser.form()).with("factor", factor.to_string());
            return Ok(page.with("to", to).send(control));
        }
        "number_proven" => {
            let id = sent.factor.parse().map_err(malformed)?;
            return Ok(codes_page(
                control,
                browser,
                account::confirm_number(control, whose, id, &sent.code).await?,
            ));
        }
        "password" => {
            account::change_password(control, whose, (&sent.present, &sent.password)).await?;
            "Your password is changed."
        }
        "add" => {
            return Ok(enrol_page(browser, account::add_factor(control, whose, "").await?).send(control));
        }
        "add_key" => {
            let kind = key_kind(&sent.kind);
            let options = account::key_options(control, whose, kind).await?;
            return Ok(key_page(browser.form(), ("/account", "key_made"), kind, &options).send(control));
        }
        "key_made" => {
            let key = CredentialBody::parse(&sent.credential);
            let key = key.ok_or_else(|| Refusal::new(&kind::INVALID, "The form is not complete."))?;
            let (_, codes) = account::add_key(control, whose, key_kind(&sent.kind), (&key, "")).await?;
            return Ok(codes_page(control, browser, codes));
        }
        "confirm" => {
            let id = sent.factor.parse().map_err(malformed)?;
            return confirmed(control, browser, whose, (id, &sent.code)).await;
        }
        "remove" => {
            account::remove_factor(control, whose, sent.factor.parse().map_err(malformed)?).await?;
            "It is taken away."
        }
        "codes" => {
            return Ok(codes_page(control, browser, account::new_codes(control, whose).await?));
        }
        _ => return Err(Refusal::new(&kind::INVALID, "The form is not complete.")),
    };
    Ok(told::sent_to(control, browser, PAGE, good))
}

/// The page that shows a new program its key and asks for the first code.
fn enrol_page(browser: &Browser, own: Enrolment) -> Page {
    let page = Page::new("enrol", "An authenticator program", browser.form()).with("qr_svg", own.qr_svg);
    let page = page.with("secret", own.secret).with("factor", own.factor.to_string());
    page.with("step", "confirm").with("action", PAGE)
}

/// Takes the first code of a new program. Whoever mistypes it has the same key before them still.
async fn confirmed(
    control: &Control,
    browser: &Browser,
    whose: Whose,
    (id, code): (FactorId, &str),
) -> Result<Response, Refusal> {
    let refusal = match account::confirm_factor(control, whose, id, code).await {
        Ok(codes) => return Ok(codes_page(control, browser, codes)),
        Err(refusal) if refusal.code() == kind::CODE_WRONG.code => refusal,
        Err(refusal) => return Err(refusal),
    };
    match account::begun_factor(control, whose, id).await? {
        Some(own) => Ok(enrol_page(browser, own).refused(&refusal).send(control)),
        None => Err(refusal),
    }
}

fn codes_page(control: &Control, browser: &Browser, codes: Vec<String>) -> Response {
    match codes.is_empty() {
        true => told::sent_to(control, browser, PAGE, "It is added."),
        false => Page::new("codes", "Recovery codes", browser.form()).with("codes", codes).send(control),
    }
}

async fn end(control: &Control, own: &SessionRow, id: &str) -> Result<(), Refusal> {
    let none = || Refusal::new(&kind::NOT_FOUND, "There is no such session.");
    let id = id.parse().map_err(|_| none())?;
    let transaction =
        control.store.write(&Permit::for_system(None, "a session that its person ends")).await?;
    let row = session::queries::lock(&transaction, id)
        .await?
        .filter(|row| row.user == own.user && own.reach().is_none_or(|only| row.tenant == only))
        .ok_or_else(none)?;
    let by = Subject::User(own.user).principal();
    if let Some(change) = session::end_one(&transaction, (row.tenant, row.id), "signed_out", by).await? {
        transaction.commit(change).await?;
    }
    Ok(())
}
