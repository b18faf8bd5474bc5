//! People: members of tenants, and invitations.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::Client;
use super::ask::{Page, at, escape};
use crate::cli::show::show;

/// A member of a tenant.
#[derive(Debug, Args)]
pub struct Member {
    /// The user's id.
    id: String,
    /// A tenant's id or code; your own if not said.
    #[arg(long)]
    tenant: Option<String>,
}

/// `rowhouse user …`
#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Those of a tenant, or all.
    List {
        /// A tenant's id or code; your own if not said.
        #[arg(long)]
        tenant: Option<String>,
        /// active, suspended or removed; a comma means any of.
        #[arg(long)]
        status: Option<String>,
        /// Within name or address.
        #[arg(long)]
        search: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One member.
    Show(Member),
    /// Invite somebody by e-mail.
    Invite {
        /// Where the invitation goes.
        email: String,
        /// A tenant's id or code; your own if not said.
        #[arg(long)]
        tenant: Option<String>,
        /// A role that it gives; may be repeated.
        #[arg(long = "role")]
        roles: Vec<String>,
        /// How long it is good.
        #[arg(long, default_value_t = 7)]
        days: u32,
    },
    /// May not enter until resumed.
    Suspend(Member),
    /// May enter again.
    Resume(Member),
    /// No longer a member, with everything that was granted.
    Remove(Member),
    /// What would come of it if they signed in now: every way in, and what opens those that are closed.
    ExplainSignIn {
        #[command(flatten)]
        member: Member,
        /// The address that they come from.
        #[arg(long)]
        ip: Option<String>,
    },
    /// May a person enter a tenant, and what is against it.
    Check {
        /// The user's id.
        id: String,
        /// The tenant's id or code.
        #[arg(long)]
        tenant: String,
    },
}

const COLUMNS: &[&str] = &["id", "tenant", "email", "full_name", "roles", "status"];

/// Runs `rowhouse user …`.
pub async fn user(client: &Client, verb: UserVerb, json: bool) -> anyhow::Result<()> {
    let path = |member: &Member, verb: &str| {
        at(&format!("/v1/users/{}{verb}", escape(&member.id)), &[("tenant", member.tenant.clone())])
    };
    let answer = match verb {
        UserVerb::List { tenant, status, search, page } => {
            let filters = [("tenant", tenant), ("status", status), ("q", search)];
            page.of(client, "/v1/users", &filters).await?
        }
        UserVerb::Show(member) => client.get(&path(&member, "")).await?,
        UserVerb::Invite { email, tenant, roles, days } => {
            let body = json!({"email": email, "roles": roles, "expires_days": days});
            client.post(&at("/v1/invitations", &[("tenant", tenant)]), body).await?
        }
        UserVerb::Suspend(member) => client.post(&path(&member, "/suspend"), json!({})).await?,
        UserVerb::Resume(member) => client.post(&path(&member, "/resume"), json!({})).await?,
        UserVerb::Remove(member) => client.json(Method::DELETE, &path(&member, ""), None).await?,
        UserVerb::ExplainSignIn { member, ip } => {
            client.post(&path(&member, "/explain_sign_in"), json!({ "ip": ip })).await?
        }
        UserVerb::Check { id, tenant } => {
            let path = format!("/v1/tenants/{}/access_check", escape(&tenant));
            client.post(&path, json!({ "user": id })).await?
        }
    };
    show(&answer, COLUMNS, json);
    Ok(())
}

/// `rowhouse invitation …`
#[derive(Debug, Subcommand)]
pub enum InvitationVerb {
    /// Open ones of a tenant, or all.
    List {
        /// A tenant's id or code; your own if not said.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Send it again, with a new link.
    Resend {
        /// Its id.
        id: String,
    },
    /// Take it back.
    Revoke {
        /// Its id.
        id: String,
    },
}

/// Runs `rowhouse invitation …`.
pub async fn invitation(client: &Client, verb: InvitationVerb, json: bool) -> anyhow::Result<()> {
    let columns = ["id", "tenant", "email", "roles", "state", "expires_at"];
    match verb {
        InvitationVerb::List { tenant, page } => {
            let answer = page.of(client, "/v1/invitations", &[("tenant", tenant)]).await?;
            show(&answer, &columns, json);
        }
        InvitationVerb::Resend { id } => {
            let path = format!("/v1/invitations/{}/resend", escape(&id));
            show(&client.post(&path, json!({})).await?, &columns, json);
        }
        InvitationVerb::Revoke { id } => {
            client.json(Method::DELETE, &format!("/v1/invitations/{}", escape(&id)), None).await?;
        }
    }
    Ok(())
}
