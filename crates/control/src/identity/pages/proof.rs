//! Showing once more who one is, on the way to what asks for it: the page that asks, its answers, and what was waiting meanwhile.

use bytes::Bytes;
use minijinja::value::Value;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::{Refusal, kind};

use super::draft;
use super::guard::{self, Browser};
use super::render::{self, Page};
use crate::Control;
use crate::identity::account::{self, Shown, Whose};
use crate::identity::factor::{self, CredentialBody};
use crate::identity::session::SessionRow;
use crate::identity::sign_in;
use axum::response::Response;

/// Who is asked, and what waits for the answer.
pub struct Asks<'a> {
    pub control: &'a Control,
    pub browser: &'a Browser,
    pub session: &'a SessionRow,
    pub request_id: RequestId,
    /// The page that the answer goes to, with its query.
    pub page: &'a str,
    /// What was typed there, sealed; empty if nothing waits.
    pub draft: String,
}

/// What the form of the page says.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    pub step: &'a str,
    pub factor: &'a str,
    pub code: &'a str,
    pub password: &'a str,
    pub credential: &'a str,
}

/// What became of it.
pub enum Proof {
    /// Another page of it: a code is on its way, or the answer was wrong.
    Page(Response),
    /// Shown.
    Done(Box<Proven>),
}

/// The session as it is now.
pub struct Proven {
    pub session: SessionRow,
    /// The browser with its new secret.
    pub browser: Browser,
    /// What was waiting.
    pub waiting: Option<Bytes>,
    cookie: Option<String>,
}

impl Proven {
    /// Gives the browser its new secret, and takes the way back from it, which is gone.
    pub fn set(&self, response: &mut Response) {
        let cookie = self.cookie.as_deref().map(guard::session_cookie);
        render::set(response, cookie.into_iter().chain([guard::no_return()]).collect());
    }
}

/// Which code is under way while the page is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Nothing,
    Mail,
    Text,
}

/// Whether a form answers the page that asks.
pub fn is_answer(step: &str) -> bool {
    matches!(step, "step_up" | "mail" | "text")
}

impl Asks<'_> {
    fn whose(&self) -> Whose {
        Whose { user: self.session.user, session: self.session.id, request_id: self.request_id }
    }

    /// The page that asks.
    pub async fn page(&self) -> Response {
        self.asked(Awaited::Nothing).await.send(self.control)
    }

    /// Takes what its form says.
    pub async fn answered(&self, form: &str, sent: Answered<'_>) -> Proof {
        match self.taken(form, sent).await {
            Ok(Ok(proven)) => Proof::Done(Box::new(proven)),
            Ok(Err(awaited)) => Proof::Page(self.asked(awaited).await.send(self.control)),
            Err(refusal) => {
                let page = self.asked(Awaited::Nothing).await.refused(&refusal);
                Proof::Page(page.send(self.control))
            }
        }
    }

    async fn taken(&self, form: &str, sent: Answered<'_>) -> Result<Result<Proven, Awaited>, Refusal> {
        self.browser.check(form)?;
        let (control, whose) = (self.control, self.whose());
        let who = (self.session.tenant, self.session.user);
        match sent.step {
            "mail" => {
                sign_in::mail_own_code(control, who, whose.session).await?;
                return Ok(Err(Awaited::Mail));
            }
            "text" => {
                sign_in::text_own_code(control, who, whose.session).await?;
                return Ok(Err(Awaited::Text));
            }
            _ => {}
        }
        let malformed = |_| Refusal::new(&kind::INVALID, "The form is not complete.");
        let key = CredentialBody::parse(sent.credential);
        let shown = match (&key, sent.factor) {
            (Some(key), _) => Shown::Key(key),
            (None, "") => Shown::Password(sent.password),
            (None, "email_code") => Shown::Mailed(sent.code),
            (None, "sms_code") => Shown::Texted(sent.code),
            (None, "recovery_code") => Shown::Recovery(sent.code),
            (None, id) => Shown::Code(id.parse().map_err(malformed)?, sent.code),
        };
        // Looked at before the secret changes, under which it lies.
        let waiting = draft::open(control, self.browser, self.page, &self.draft);
        let (session, secret) = account::step_up(control, whose, shown).await?;
        let browser = self.browser.raised(control, secret.as_deref());
        Ok(Ok(Proven { session, browser, waiting, cookie: secret }))
    }

    async fn asked(&self, awaited: Awaited) -> Page {
        let (control, user) = (self.control, self.session.user);
        let page = Page::new("step_up", "Is it still you?", self.browser.form());
        let page = page.with("proves_at", self.page).with("draft", self.draft.as_str());
        let transaction = control.store.read(&Permit::for_system(None, "factors for a step up")).await;
        let (factors, codes_left, owned) = match &transaction {
            Ok(transaction) => (
                factor::active(transaction, user).await.unwrap_or_default(),
                factor::codes_left(transaction, user).await.unwrap_or_default(),
                factor::owned(transaction, user).await.unwrap_or_default(),
            ),
            Err(_) => Default::default(),
        };
        drop(transaction);
        let recovers = !factors.is_empty() && codes_left > 0;
        let programs = factors.iter().filter(|row| row.kind == "totp");
        let programs: Vec<Value> = programs
            .map(|row| Value::from_pairs([("id", row.id.to_string()), ("label", row.label.clone())]))
            .collect();
        let mails = account::wants_mailed_code(control, self.whose()).await.unwrap_or_default();
        let page = page.with("factors", programs).with("recovers", recovers);
        let page = page.with("mails", mails).with("is_mailed", awaited == Awaited::Mail);
        let page = page.with("texts", owned.phone).with("is_texted", awaited == Awaited::Text);
        // Who has no key is asked for what they have.
        match account::step_up_options(control, self.whose()).await {
            Ok(options) => page.key((self.page, "step_up", ""), "Use a security key or passkey", &options),
            Err(_) => page,
        }
    }
}
