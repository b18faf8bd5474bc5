//! Cookies, and who may send a form.
//!
//! A form is taken only from this site's own pages: the browser says so (`Sec-Fetch-Site`, or else `Origin`), and the form carries the
//! keyed hash of a cookie that other sites cannot read. `__Host-` keeps subdomains from planting cookies.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rowhouse_domain::access::Permit;
use rowhouse_domain::refusal::{Refusal, kind};
use subtle::ConstantTimeEq;

use crate::api::client_address;
use crate::identity::session::{self, COOKIE, SessionRow};
use crate::identity::token;
use crate::{Control, Shared};

const SESSION: &str = "__Host-rowhouse_session";
const FLOW: &str = "__Host-rowhouse_flow";
const FORM: &str = "__Host-rowhouse_form";
const SSO: &str = "__Host-rowhouse_sso";
const RETURN: &str = "__Host-rowhouse_return";
/// The only places of ours that a sign-in, or a further proof, goes back to.
const RETURNS_TO: [&str; 3] = ["/oauth2/authorize?", "/account/organisation/", "/account/device"];
const TOLD: &str = "__Host-rowhouse_told";
const DEVICE: &str = "__Host-rowhouse_device";
/// Longest life of a cookie that says which browser this is, in seconds: 90 days.
const DEVICE_S: i64 = 90 * 86_400;

/// What a browser sends with every request.
#[derive(Debug)]
pub struct Browser {
    /// Where it is, as far as that is known.
    pub client: Option<IpAddr>,
    pub session: Option<String>,
    pub flow: Option<String>,
    pub device: Option<String>,
    /// What a provider's answer must fit.
    pub sso: Option<String>,
    /// Where to go once signed in: a page of ours.
    pub return_to: Option<String>,
    /// What its last form did, sealed.
    pub told: Option<String>,
    form: Option<String>,
    same_site: bool,
    /// Made now, to be set with the answer.
    fresh: Option<String>,
    digest: String,
}

impl FromRequestParts<Shared> for Browser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, control: &Shared) -> Result<Self, Infallible> {
        let headers = &parts.headers;
        let (session, given) = (cookie(headers, SESSION), cookie(headers, FORM));
        let fresh = given.is_none().then(|| token::make(control, "form").0);
        let form = given.or_else(|| fresh.clone());
        let digest = bound(control, form.as_deref(), session.as_deref());
        Ok(Browser {
            client: client_address(parts, control),
            session,
            flow: cookie(headers, FLOW),
            device: cookie(headers, DEVICE),
            sso: cookie(headers, SSO),
            return_to: cookie(headers, RETURN).and_then(|text| returns_to(&text)),
            told: cookie(headers, TOLD),
            form,
            same_site: same_site(headers, control),
            fresh,
            digest,
        })
    }
}

impl Browser {
    /// The same browser once its session has another secret; none for a session that has no cookie.
    pub fn raised(&self, control: &Control, secret: Option<&str>) -> Browser {
        let session = secret.map(str::to_owned).or_else(|| self.session.clone());
        Browser {
            digest: bound(control, self.form.as_deref(), session.as_deref()),
            client: self.client,
            session,
            flow: self.flow.clone(),
            device: self.device.clone(),
            sso: self.sso.clone(),
            return_to: self.return_to.clone(),
            told: self.told.clone(),
            form: self.form.clone(),
            same_site: self.same_site,
            fresh: self.fresh.clone(),
        }
    }

    /// What its forms carry.
    pub fn form(&self) -> &str {
        &self.digest
    }

    /// The cookie that its forms need, if it has none yet.
    pub fn form_cookie(&self) -> Option<String> {
        self.fresh.as_deref().map(|text| set(FORM, text, None))
    }

    /// Refuses a form that is not from our own page in this browser.
    pub fn check(&self, sent: &str) -> Result<(), Refusal> {
        let is_ours = bool::from(self.digest.as_bytes().ct_eq(sent.as_bytes()));
        match self.same_site && self.fresh.is_none() && self.form.is_some() && is_ours {
            true => Ok(()),
            false => {
                Err(Refusal::new(&kind::ENTRY_REFUSED, "The form is not from this page. Load it again."))
            }
        }
    }

    /// Its session, if that is not over. It is noted that it was used, once a minute.
    pub async fn signed_in(&self, control: &Control) -> Result<Option<SessionRow>, Refusal> {
        let Some(text) = &self.session else { return Ok(None) };
        let digest = token::digest(control, COOKIE, text);
        let now = control.clock().now();
        let transaction = control.store.write(&Permit::for_system(None, "a browser's session")).await?;
        let row =
            session::queries::lock_by_cookie(&transaction, &digest).await?.filter(|row| !row.is_over(now));
        let Some(row) = row else {
            transaction.rollback().await?;
            return Ok(None);
        };
        if let Some(because) = session::unwelcome(control, &transaction, &row).await? {
            let by = rowhouse_domain::identity::token::Subject::User(row.user).principal();
            let change = session::end_one(&transaction, (row.tenant, row.id), because, by).await?;
            transaction.commit_all(change.into_iter().collect()).await?;
            return Ok(None);
        }
        if now.duration_since(row.last_seen_at).as_secs() >= 60 {
            let idle = row.idle_until.duration_since(row.last_seen_at);
            session::queries::seen(&transaction, row.id, now, row.absolute_until.min(now + idle)).await?;
        }
        transaction.commit_telemetry().await?;
        Ok(Some(row))
    }
}

/// What binds a form to the browser and to its session.
fn bound(control: &Control, form: Option<&str>, session: Option<&str>) -> String {
    let text = format!("{}/{}", form.unwrap_or_default(), session.unwrap_or_default());
    token::digest(control, "form", &text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn same_site(headers: &HeaderMap, control: &Control) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match headers.get("sec-fetch-site").map(|value| value.as_bytes()) {
        Some(site) => site == b"same-origin",
        None => match text(header::ORIGIN) {
            Some(origin) => {
                let own =
                    text(header::HOST).map(|host| [format!("http://{host}"), format!("https://{host}")]);
                origin == control.settings.public_url
                    || own.is_some_and(|own| own.iter().any(|own| own == origin))
            }
            // A program, which nobody can make send a form: the token decides.
            None => true,
        },
    }
}

/// The only cookie of this name; two are none.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut own = found.by_ref().filter(|(own, _)| *own == name).map(|(_, value)| value.to_owned());
    let first = own.next();
    if own.next().is_some() { None } else { first.filter(|value| !value.is_empty()) }
}

fn set(name: &str, value: &str, seconds: Option<i64>) -> String {
    let life = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{life}")
}

/// The cookie of a session.
pub fn session_cookie(secret: &str) -> String {
    set(SESSION, secret, None)
}

/// The cookie of a sign-in under way: ten minutes.
pub fn flow_cookie(flow: &str) -> String {
    set(FLOW, flow, Some(600))
}

/// The cookie that a provider's answer must fit: ten minutes.
pub fn sso_cookie(text: &str) -> String {
    set(SSO, text, Some(600))
}

/// Takes it away.
pub fn no_sso() -> String {
    set(SSO, "", Some(0))
}

/// The cookie that leads back to a page of ours after signing in: ten minutes.
pub fn return_cookie(path: &str) -> String {
    set(RETURN, &URL_SAFE_NO_PAD.encode(path), Some(600))
}

/// Takes it away.
pub fn no_return() -> String {
    set(RETURN, "", Some(0))
}

fn returns_to(text: &str) -> Option<String> {
    let path = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_ours = RETURNS_TO.iter().any(|own| path.starts_with(own));
    (plain && is_ours).then_some(path)
}

/// The cookie that carries what a form did to the page that tells it: a minute.
pub fn told_cookie(sealed: &str) -> String {
    set(TOLD, sealed, Some(60))
}

/// Takes it away.
pub fn no_told() -> String {
    set(TOLD, "", Some(0))
}

/// The cookie of a browser that is trusted.
pub fn device_cookie(device: &str) -> String {
    set(DEVICE, device, Some(DEVICE_S))
}

/// Takes the session's cookie away.
pub fn no_session() -> String {
    set(SESSION, "", Some(0))
}

/// Takes the sign-in's cookie away.
pub fn no_flow() -> String {
    set(FLOW, "", Some(0))
}
