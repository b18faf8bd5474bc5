//! The `rowhouse` binary: the only place that knows all parts.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod demo;
mod secrets;
mod serve;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The guard of a PostgreSQL or of a tenant's application: a process of its own, before anything else starts.
    if std::env::args_os().nth(1).is_some_and(|first| first == "guard") {
        return rowhouse_store::server::guard::main(std::env::args().skip(2).collect());
    }
    cli::run(cli::Cli::parse())
}
