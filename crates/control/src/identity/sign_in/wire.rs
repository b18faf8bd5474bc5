//! A sign-in as it is told over HTTP.

use rowhouse_domain::identity::ProofKind;
use rowhouse_domain::identity::token::Subject;
use serde::Serialize;
use utoipa::ToSchema;

use super::progress::{Done, Offer, Progress};
use crate::identity::factor::Enrolment;
use crate::identity::session::Begun;

/// Tokens; also the answer of `/oauth2/token` (RFC 6749 §5.1).
#[derive(Debug, Serialize, ToSchema)]
pub struct TokensAnswer {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds that the access token is good for.
    expires_in: i64,
    /// For new tokens; good once.
    refresh_token: String,
}

impl TokensAnswer {
    /// None for a session that lives by a cookie.
    pub fn new(begun: &Begun) -> Option<Self> {
        let (access_token, expires_in) = begun.access.clone()?;
        Some(TokensAnswer {
            access_token,
            token_type: "Bearer",
            expires_in,
            refresh_token: begun.secret.clone(),
        })
    }
}

/// Something that may be shown next.
#[derive(Debug, Serialize, ToSchema)]
pub struct FactorOffer {
    /// What to send as `factor`.
    factor: String,
    /// `totp`, `email_code`, `recovery_code`, or `security_key`, which is shown by `/passkey`.
    kind: &'static str,
    label: String,
}

/// A tenant that may be entered.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantChoice {
    id: String,
    code: String,
    name: String,
}

/// Where a sign-in stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StepAnswer {
    /// Signed in.
    Done {
        session: String,
        user: String,
        tenant: String,
        tenant_code: String,
        /// How strongly proven: 1, 2 or 3.
        assurance: i16,
        #[serde(flatten)]
        tokens: Option<TokensAnswer>,
        /// A second factor is to be enrolled until then.
        enrol_until: Option<String>,
        /// Send it with the next sign-in from here, so that tries elsewhere do not lock this place out.
        device: Option<String>,
        /// Of a factor that was enrolled on the way; shown once.
        recovery_codes: Vec<String>,
    },
    /// One of these is asked for.
    SecondFactor { factors: Vec<FactorOffer> },
    /// A second factor is to be enrolled first.
    Enrol { allowed: Vec<&'static str> },
    /// Into which tenant?
    ChooseTenant { tenants: Vec<TenantChoice> },
}

impl From<Progress> for StepAnswer {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Done(done) => done_answer(*done),
            Progress::Show(offers) => {
                StepAnswer::SecondFactor { factors: offers.iter().map(offer).collect() }
            }
            Progress::Enrol(kinds) => {
                StepAnswer::Enrol { allowed: kinds.into_iter().map(ProofKind::as_str).collect() }
            }
            Progress::Choose(choices) => StepAnswer::ChooseTenant {
                tenants: choices
                    .into_iter()
                    .map(|choice| TenantChoice {
                        id: choice.tenant.to_string(),
                        code: choice.code,
                        name: choice.name,
                    })
                    .collect(),
            },
        }
    }
}

fn done_answer(done: Done) -> StepAnswer {
    let tokens = TokensAnswer::new(&done.begun);
    let session = &done.begun.session;
    StepAnswer::Done {
        session: session.id.to_string(),
        user: Subject::User(session.user).principal().to_string(),
        tenant: session.tenant.to_string(),
        tenant_code: done.tenant_code,
        assurance: session.assurance,
        tokens,
        enrol_until: done.enrol_until.map(|until| until.to_string()),
        device: done.device,
        recovery_codes: done.recovery_codes,
    }
}

fn offer(offer: &Offer) -> FactorOffer {
    let kind = offer.kind.as_str();
    let factor = offer.factor.map_or_else(|| kind.to_owned(), |id| id.to_string());
    FactorOffer { factor, kind, label: offer.label.clone() }
}

/// What an authenticator program is set up with; told once.
#[derive(Debug, Serialize, ToSchema)]
pub struct EnrolmentAnswer {
    /// What to send as `factor` with its first code.
    factor: String,
    /// Base 32, to be typed.
    secret: String,
    /// `otpauth://`, for programs.
    uri: String,
    /// The same as a picture.
    qr_svg: String,
}

impl From<Enrolment> for EnrolmentAnswer {
    fn from(own: Enrolment) -> Self {
        EnrolmentAnswer {
            factor: own.factor.to_string(),
            secret: own.secret,
            uri: own.uri,
            qr_svg: own.qr_svg,
        }
    }
}
