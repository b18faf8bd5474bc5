//! `rowhouse <noun> <verb>`: speaks only to the public API, but for the local commands (`serve`, `demo`,
//! `config`, `guard`) and those that also work on files.

mod audit;
mod catalog;
pub mod client;
mod deploy;
mod journal;
mod local;
mod login;
mod nouns;
mod resolve;
pub mod show;
mod sign_in;

pub use catalog::read_catalog;
pub use nouns::follow;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
pub use nouns::Noun;

/// The multi-tenant backbone of a B2B SaaS company.
#[derive(Debug, Parser)]
#[command(name = "rowhouse", version, about, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not found, 4 not signed in or not allowed,
5 conflict, 6 unreachable, 10 differences (diff --exit-code), 11 attention and 12 untrusted (audit verify)";

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The control API.
    #[arg(long, global = true, env = "ROWHOUSE_URL", default_value = "http://127.0.0.1:8081")]
    pub url: String,
    /// File with an API key; else ROWHOUSE_TOKEN, else who has signed in (`login`), else the operator key in the data directory.
    #[arg(long, global = true, env = "ROWHOUSE_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Print the API's own body.
    #[arg(long, global = true)]
    pub json: bool,
    /// The settings file (serve, demo, config).
    #[arg(long, global = true, env = "ROWHOUSE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run Rowhouse: gateway, control plane and worker in one process, or a gateway on its own.
    Serve {
        /// What this process does.
        #[arg(long, value_enum, default_value = "all")]
        role: crate::serve::Role,
        /// Take the listeners over from the process that runs on the data directory, which then finishes what is open and ends:
        /// an upgrade that refuses no request.
        #[arg(long)]
        take_over: bool,
    },
    /// Run Rowhouse with four tenants and a service, to look at.
    Demo(crate::demo::DemoOptions),
    /// Settings: where each comes from, and whether they hold.
    #[command(subcommand)]
    Config(local::ConfigCommand),
    /// What an error code means and what to do.
    Explain {
        /// As in `limits.exceeded`; all codes if not said.
        code: Option<String>,
    },
    /// Sign in as yourself: a code to enter in a browser. What comes lies in a file that only you can read.
    Login,
    /// End what `login` began.
    Logout,
    /// Any call: `rowhouse api POST /v1/grants role=developer …`.
    Api(nouns::ApiCall),
    /// Bring the operator's declarations to what the files say.
    Apply(catalog::Apply),
    /// What `apply` would do.
    Diff(catalog::Diff),
    /// Today's declarations, as JSON that `apply` takes.
    Export,
    /// Which tenant a request would be for, and why.
    Resolve(resolve::Resolve),
    /// The journal's segments: state, records, soundness. Works on files.
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// What runs where: the shared fleet as Kubernetes manifests.
    #[command(subcommand)]
    Deploy(deploy::DeployCommand),
    /// The audit log: search, verify (also offline).
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    #[command(flatten)]
    Noun(Noun),
}

/// Runs a parsed command line.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Serve { role, take_over } => {
            crate::serve::run(cli.global.config.as_deref(), take_over, role)
        }
        Command::Demo(options) => crate::demo::run(options),
        Command::Config(command) => local::config(&cli.global, command),
        Command::Explain { code } => local::explain(code.as_deref(), cli.global.json),
        command => block_on(remote(cli.global, command)),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

/// One thread is enough for a client.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn remote(global: Global, command: Command) -> anyhow::Result<ExitCode> {
    let json = global.json;
    match command {
        Command::Journal(command) => return journal::run(command, json),
        Command::Deploy(command) => return deploy::run(&global, command).await,
        Command::Noun(noun) if noun.is_offline() => return nouns::offline(noun, json),
        Command::Audit(command) if command.is_offline() => return audit::offline(command, json),
        _ => {}
    }
    match command {
        Command::Login => return login::login(&global).await,
        Command::Logout => return login::logout().await,
        _ => {}
    }
    let client = sign_in::client(&global).await?;
    match command {
        Command::Api(call) => nouns::api(&client, call).await,
        Command::Apply(asked) => catalog::apply(&client, asked, json).await,
        Command::Diff(asked) => catalog::diff(&client, asked, json).await,
        Command::Export => catalog::export(&client).await,
        Command::Resolve(asked) => resolve::resolve(&client, asked, json).await,
        Command::Audit(command) => audit::online(&client, command, json).await,
        Command::Noun(noun) => nouns::run(&client, noun, json).await,
        _ => unreachable!("local commands are handled before"),
    }
}

/// Prints an error for people and gives its exit code.
fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("rowhouse: {error:#}");
    if error.downcast_ref::<client::Unreachable>().is_some() {
        return ExitCode::from(6);
    }
    let Some(client::Refused(problem)) = error.downcast_ref::<client::Refused>() else {
        return ExitCode::FAILURE;
    };
    if problem.status == 401 {
        eprintln!("  next: {}", sign_in::NEXT);
    }
    exit_code_of(problem.status)
}

/// The exit code of an answer: 0 done, 3 not found, 4 not allowed, 5 conflict, 1 any other refusal.
fn exit_code_of(status: u16) -> ExitCode {
    match status {
        ..=399 => ExitCode::SUCCESS,
        404 => ExitCode::from(3),
        401 | 403 => ExitCode::from(4),
        409 | 412 | 428 => ExitCode::from(5),
        _ => ExitCode::FAILURE,
    }
}
