//! `rowhouse demo`: the whole platform on this machine with a real service and four tenants on four levels of
//! isolation, to look at and to play with. `--check` asserts what it shows and exits.

mod checks;
mod house;
mod setting;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::show::line;

/// `rowhouse demo …`
#[derive(Debug, Clone, Args)]
pub struct DemoOptions {
    /// Assert what is shown, then exit.
    #[arg(long)]
    check: bool,
    /// Leave the data directory when it ends.
    #[arg(long)]
    keep: bool,
    /// First of the ports: gateway, control API, admin, service.
    #[arg(long, default_value_t = 18_080)]
    port_base: u16,
    /// Where the demo keeps its data; emptied at the start. `demo-data` here, or `/var/lib/rowhouse-demo` for root,
    /// whose own folders the server's user cannot enter.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// The stamping service's program; beside this one if not said.
    #[arg(long)]
    stamping: Option<PathBuf>,
}

impl DemoOptions {
    fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| match rustix::process::geteuid().is_root() {
            true => PathBuf::from("/var/lib/rowhouse-demo"),
            false => PathBuf::from("demo-data"),
        })
    }
}

/// Runs the demo until Ctrl-C or SIGTERM, or its checks.
pub fn run(options: DemoOptions) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(demo(options))
}

async fn demo(options: DemoOptions) -> anyhow::Result<ExitCode> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut asked_to_end = pin!(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    // What was started by then ends with it.
    let mut house = tokio::select! {
        house = house::House::open(&options) => house?,
        () = &mut asked_to_end => return Ok(ExitCode::FAILURE),
    };
    let shown = tokio::select! {
        shown = show_or_check(&mut house, &options) => shown,
        () = &mut asked_to_end => Ok(if options.check { ExitCode::FAILURE } else { ExitCode::SUCCESS }),
    };
    if shown.is_err() {
        eprintln!("the logs are in {}", house.logs().display());
    }
    let keep = options.keep || (shown.is_err() && !options.check);
    house.close(keep).await?;
    shown
}

/// Shows it for as long as it is let, or ends with its checks.
async fn show_or_check(house: &mut house::House, options: &DemoOptions) -> anyhow::Result<ExitCode> {
    let setting = setting::furnish(house).await.context("setting up the tenants")?;
    if options.check {
        let failed = checks::run(house, &setting).await?;
        return Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    line(&setting.words(house));
    std::future::pending().await
}
