//! Copies of services: how they stand.

use clap::Subcommand;

use super::Client;
use super::ask::at;
use crate::cli::show::show;

/// `rowhouse upstream …`
#[derive(Debug, Subcommand)]
pub enum UpstreamVerb {
    /// How each gateway sees them: state, requests under way, circuit, and why one is not asked.
    List {
        /// Of this service.
        #[arg(long)]
        service: Option<String>,
        /// As this gateway sees them.
        #[arg(long)]
        gateway: Option<String>,
        /// Own copies of this tenant: an id or a code.
        #[arg(long)]
        tenant: Option<String>,
        /// `healthy`, `unhealthy`, `ejected` or `draining`.
        #[arg(long)]
        state: Option<String>,
    },
}

const COLUMNS: &[&str] =
    &["gateway", "service", "release", "tenant", "address", "state", "in_flight", "circuit", "why"];

/// Runs `rowhouse upstream …`.
pub async fn upstream(client: &Client, verb: UpstreamVerb, json: bool) -> anyhow::Result<()> {
    let UpstreamVerb::List { service, gateway, tenant, state } = verb;
    let filters = [("service", service), ("gateway", gateway), ("tenant", tenant), ("state", state)];
    show(&client.get(&at("/v1/upstreams", &filters)).await?, COLUMNS, json);
    Ok(())
}
