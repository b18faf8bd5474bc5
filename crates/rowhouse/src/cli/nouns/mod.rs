//! The nouns: each verb is one call, or two.

mod access;
mod approvals;
mod ask;
mod backups;
mod call;
mod constraints;
mod fleet;
mod groups;
mod limits;
mod lives;
mod messages;
mod money;
mod nodes;
mod people;
mod quotas;
mod routing;
mod splits;
mod tables;
mod tenants;
mod things;
mod upstreams;

use std::process::ExitCode;

pub use ask::{Page, escape};
pub use call::{ApiCall, api};
use clap::Subcommand;
pub use tenants::follow;

use super::client::Client;
use super::show::show;

/// Things with verbs.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// Customers of yours.
    #[command(subcommand)]
    Tenant(tenants::TenantVerb),
    /// Long changes that go on.
    #[command(subcommand)]
    Operation(tenants::OperationVerb),
    /// Sealed copies of tenants' rows.
    #[command(subcommand)]
    Backup(backups::BackupVerb),
    /// Copies restored beside the living data.
    #[command(subcommand)]
    Restore(backups::RestoreVerb),
    /// What operations made outside the control database, compared with what is there.
    #[command(subcommand)]
    Inventory(lives::InventoryVerb),
    /// Tenants' own domains.
    #[command(subcommand)]
    Host(tenants::HostVerb),
    /// Servers and applications of dedicated tenants.
    #[command(subcommand)]
    Instance(tenants::InstanceVerb),
    /// Copies of services: how they stand.
    #[command(subcommand)]
    Upstream(upstreams::UpstreamVerb),
    /// Gateways that run on their own.
    #[command(subcommand)]
    Node(nodes::NodeVerb),
    /// Principals of machines.
    #[command(subcommand)]
    ServiceAccount(access::ServiceAccountVerb),
    /// People.
    #[command(subcommand)]
    User(people::UserVerb),
    /// Invitations by e-mail that are open. To invite somebody: `rowhouse user invite ADDRESS --tenant TENANT --role tenant_admin`.
    #[command(subcommand)]
    Invitation(people::InvitationVerb),
    /// API keys.
    #[command(subcommand)]
    Key(access::KeyVerb),
    /// Rights given to principals.
    #[command(subcommand)]
    Grant(access::GrantVerb),
    /// What waits for a second person's yes.
    #[command(subcommand)]
    Approval(approvals::ApprovalVerb),
    /// Things of services that grants can be about.
    #[command(subcommand)]
    Thing(things::ThingVerb),
    /// May a principal do something, and why.
    #[command(subcommand)]
    Access(access::AccessVerb),
    /// What was used.
    #[command(subcommand)]
    Usage(money::UsageVerb),
    /// What a tenant may use, and has used.
    #[command(subcommand)]
    Quota(quotas::QuotaVerb),
    /// What is imposed on tenants.
    #[command(subcommand)]
    Enforcement(quotas::EnforcementVerb),
    /// Which plan a tenant pays.
    #[command(subcommand)]
    Subscription(money::SubscriptionVerb),
    /// Invoices.
    #[command(subcommand)]
    Invoice(money::InvoiceVerb),
    /// E-mails to people.
    #[command(subcommand)]
    Message(messages::MessageVerb),
    /// Examine tenants' databases on every level: findings, and what cures them.
    Doctor(fleet::DoctorOptions),
    /// Attacks of one tenant on another that are tried on the shared databases every day.
    #[command(subcommand)]
    Probe(fleet::ProbeVerb),
    /// The statement firewall: what SQL a tenant may run.
    #[command(subcommand)]
    Firewall(fleet::FirewallVerb),
    /// Migrations of services' tables over all tenants, in waves.
    #[command(subcommand)]
    Fleet(fleet::FleetVerb),
    /// A service's tables in tenants' databases.
    #[command(subcommand)]
    Tables(tables::TablesVerb),
    /// What runs behind the gateway.
    #[command(subcommand)]
    Service(routing::ServiceVerb),
    /// Paths to services.
    #[command(subcommand)]
    Route(routing::RouteVerb),
    /// What permissions are about.
    #[command(subcommand)]
    ResourceType(ListVerb),
    /// Bundles of quotas and features.
    #[command(subcommand)]
    Tier(ListVerb),
    /// Sets of permissions.
    #[command(subcommand)]
    Role(access::RoleVerb),
    /// Sets of principals.
    #[command(subcommand)]
    Group(groups::GroupVerb),
    /// What nobody may have together: separation of duty.
    #[command(subcommand)]
    Constraint(constraints::ConstraintVerb),
    /// Rate limits.
    #[command(subcommand)]
    Limit(limits::LimitVerb),
    /// What usage is counted as.
    #[command(subcommand)]
    Meter(ListVerb),
    /// Sets of prices.
    #[command(subcommand)]
    Plan(ListVerb),
}

/// Verbs of what is only looked at here; the catalogue changes it.
#[derive(Debug, Subcommand)]
pub enum ListVerb {
    /// All.
    List,
    /// One, with all its fields.
    Show {
        /// Its name.
        name: String,
    },
}

impl Noun {
    /// Whether it works on files alone.
    pub fn is_offline(&self) -> bool {
        matches!(self, Noun::Tenant(tenants::TenantVerb::Life(verb)) if verb.is_offline())
    }
}

/// Runs a verb that works on files alone.
pub fn offline(noun: Noun, json: bool) -> anyhow::Result<ExitCode> {
    match noun {
        Noun::Tenant(tenants::TenantVerb::Life(verb)) => lives::offline(verb, json),
        _ => anyhow::bail!("this needs the control API"),
    }
}

/// Runs a noun's verb.
pub async fn run(client: &Client, noun: Noun, json: bool) -> anyhow::Result<ExitCode> {
    let look =
        async |nouns: &str, verb: ListVerb, columns: &[&str]| list(client, nouns, verb, columns, json).await;
    match noun {
        Noun::Operation(verb) => return tenants::operation(client, verb, json).await,
        Noun::Inventory(verb) => return lives::inventory(client, verb, json).await,
        Noun::Tables(verb) => return tables::run(client, verb, json).await,
        Noun::Doctor(options) => return fleet::doctor(client, options, json).await,
        Noun::Probe(verb) => return fleet::probe(client, verb, json).await,
        Noun::Firewall(verb) => return fleet::firewall(client, verb, json).await,
        Noun::Fleet(verb) => return fleet::fleet(client, verb, json).await,
        Noun::Tenant(verb) => tenants::tenant(client, verb, json).await?,
        Noun::Backup(verb) => backups::backup(client, verb, json).await?,
        Noun::Restore(verb) => backups::restore(client, verb, json).await?,
        Noun::Host(verb) => tenants::host(client, verb, json).await?,
        Noun::Instance(verb) => tenants::instance(client, verb, json).await?,
        Noun::Upstream(verb) => upstreams::upstream(client, verb, json).await?,
        Noun::Node(verb) => nodes::node(client, verb, json).await?,
        Noun::ServiceAccount(verb) => access::service_account(client, verb, json).await?,
        Noun::User(verb) => people::user(client, verb, json).await?,
        Noun::Invitation(verb) => people::invitation(client, verb, json).await?,
        Noun::Key(verb) => access::key(client, verb, json).await?,
        Noun::Grant(verb) => access::grant(client, verb, json).await?,
        Noun::Approval(verb) => approvals::approval(client, verb, json).await?,
        Noun::Thing(verb) => things::things(client, verb, json).await?,
        Noun::Access(verb) => access::access(client, verb, json).await?,
        Noun::Usage(verb) => money::usage(client, verb, json).await?,
        Noun::Quota(verb) => quotas::quota(client, verb, json).await?,
        Noun::Enforcement(verb) => quotas::enforcement(client, verb, json).await?,
        Noun::Subscription(verb) => money::subscription(client, verb, json).await?,
        Noun::Invoice(verb) => money::invoice(client, verb, json).await?,
        Noun::Message(verb) => messages::message(client, verb, json).await?,
        Noun::Service(routing::ServiceVerb::Look(verb)) => {
            look("services", verb, &["name", "upstreams", "protocol", "reports_usage"]).await?
        }
        Noun::Service(routing::ServiceVerb::Release(verb)) => splits::release(client, verb, json).await?,
        Noun::Route(routing::RouteVerb::Look(verb)) => look("routes", verb, ROUTE).await?,
        Noun::Route(routing::RouteVerb::Test(asked)) => return routing::test(client, asked, json).await,
        Noun::ResourceType(verb) => {
            look("access/resource_types", verb, &["name", "service", "actions"]).await?
        }
        Noun::Tier(verb) => look("tiers", verb, &["name", "rank", "isolation", "features"]).await?,
        Noun::Role(verb) => access::role(client, verb, json).await?,
        Noun::Constraint(verb) => constraints::constraint(client, verb, json).await?,
        Noun::Group(verb) => groups::group(client, verb, json).await?,
        Noun::Limit(verb) => limits::limit(client, verb, json).await?,
        Noun::Meter(verb) => look("meters", verb, &["name", "unit", "source", "aggregation"]).await?,
        Noun::Plan(verb) => look("plans", verb, &["name", "tier", "currency", "catalog"]).await?,
    }
    Ok(ExitCode::SUCCESS)
}

const ROUTE: &[&str] = &["name", "methods", "path", "service", "permission", "resource_type"];

async fn list(
    client: &Client,
    nouns: &str,
    verb: ListVerb,
    columns: &[&str],
    json: bool,
) -> anyhow::Result<()> {
    let answer = match verb {
        ListVerb::List => Page::default().of(client, &format!("/v1/{nouns}"), &[]).await?,
        ListVerb::Show { name } => client.get(&format!("/v1/{nouns}/{}", escape(&name))).await?,
    };
    show(&answer, columns, json);
    Ok(())
}
