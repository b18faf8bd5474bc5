//! Parking: a real service behind the gateway. Cars enter a car park, are charged by its tariff, pay and leave; people
//! with a permit park for nothing.
//!
//! It trusts nothing but the signed context. A handler holds a `TenantRequest`: the tenant is proven, and a transaction
//! of that tenant is one call. It reports the meters `transactions` (payments) and `locations` with one header.

mod entries;
mod locations;
mod payments;
mod people;
mod price;
mod refusals;
mod reports;
mod service;
mod tariffs;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use rowhouse_domain::clock::Clock;
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::id::TenantId;
use rowhouse_tenantdb::{Databases, Source, Watch};

/// Where it listens and whom it asks for its databases.
#[derive(Debug, Parser)]
#[command(name = "parking", version, about)]
struct Options {
    /// Address to listen on.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:9102")]
    listen: SocketAddr,
    /// The control plane's socket for services.
    #[arg(long, env = "ROWHOUSE_PLANE")]
    plane: PathBuf,
    /// File that keeps what was last heard from it.
    #[arg(long, env = "ROWHOUSE_PLANE_CACHE", default_value = "parking-plane.json")]
    plane_cache: PathBuf,
    /// Serve only this tenant (a process of its own instance).
    #[arg(long, env = "TENANT_ID")]
    tenant: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let options = Options::parse();
    let tenant = options.tenant.as_deref().map(str::parse::<TenantId>).transpose().context("TENANT_ID")?;
    let watch =
        Watch { socket: options.plane, service: "parking".to_owned(), tenant, cache: options.plane_cache };
    let databases = Databases::open(Source::Watch(watch)).await?;
    let parking = service::Parking { databases, clock: system_clock(), entropy: system_entropy() };
    let listener = tokio::net::TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    tracing::info!(listen = %listener.local_addr()?, "parking serves");
    axum::serve(listener, service::router(parking)).with_graceful_shutdown(told_to_stop()).await?;
    Ok(())
}

async fn told_to_stop() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .expect("a process may listen to its signals");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[allow(clippy::disallowed_methods)] // the one place that reads the clock
fn system_clock() -> Clock {
    Clock::new(|| jiff::Timestamp::now().as_microsecond())
}

fn system_entropy() -> Entropy {
    Entropy::new(|out| getrandom::fill(out).expect("the operating system gives random bytes"))
}
