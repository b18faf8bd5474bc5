//! Where a sign-in stands.

use jiff::Timestamp;
use rowhouse_domain::id::{FactorId, TenantId};
use rowhouse_domain::identity::ProofKind;

use crate::identity::session::Begun;

/// What may be shown next.
#[derive(Debug, Clone)]
pub struct Offer {
    pub kind: ProofKind,
    /// Of an authenticator program.
    pub factor: Option<FactorId>,
    pub label: String,
}

/// A tenant that may be entered.
#[derive(Debug, Clone)]
pub struct Choice {
    pub tenant: TenantId,
    pub code: String,
    pub name: String,
}

/// Where it stands.
#[derive(Debug)]
pub enum Progress {
    /// The person is signed in.
    Done(Box<Done>),
    /// One of these is asked for.
    Show(Vec<Offer>),
    /// One of these is to be enrolled first.
    Enrol(Vec<ProofKind>),
    /// Into which tenant?
    Choose(Vec<Choice>),
}

/// A sign-in that is done.
#[derive(Debug)]
pub struct Done {
    pub begun: Begun,
    pub tenant_code: String,
    /// A second factor is to be enrolled until then.
    pub enrol_until: Option<Timestamp>,
    /// What a browser shows to be counted for itself.
    pub device: Option<String>,
    /// Of a factor that was enrolled on the way.
    pub recovery_codes: Vec<String>,
}
