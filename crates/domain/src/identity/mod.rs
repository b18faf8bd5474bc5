//! People: which passwords are good enough, what one-time codes are, and who may enter a tenant.

pub mod certificate;
mod client_secret;
mod entry;
mod evidence;
pub mod issuer;
mod own_account;
mod password;
mod policy;
pub mod token;
mod totp;
mod ways;
pub mod webauthn;

pub use client_secret::{client_secret, is_client_secret};
pub use entry::{Checks, EntryReason};
pub use evidence::{Evidence, Proof, ProofKind};
pub use own_account::{Elsewhere, Lack, lack};
pub use password::{PasswordFault, check_password, normal_form};
pub use policy::{
    LockoutPolicy, Mfa, Next, Owned, PasswordPolicy, SessionPolicy, SignInPolicy, SingleSignOn, SmsPolicy,
    next,
};
pub use totp::{TOTP_STEP_S, TotpSecret, totp_match};
pub use ways::{Closed, Exit, PasswordLock, Provider, Standing, Way, exits, ways};
