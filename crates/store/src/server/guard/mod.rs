//! The guard: a small process between Rowhouse and the one process it watches over, a PostgreSQL or a tenant's application.
//!
//! It is the parent, so it knows an end when it comes, and reaps: after `kill -9` of a postmaster whose parent does not reap, the dead
//! pid would make every restart fail. It adopts what its child leaves behind. It does not outlive the main process by more than a
//! shutdown: the main process holds the other end of its standard input, and the end of that pipe is the only order to stop, as
//! a pipe closes however its holder dies. It ignores signals that a terminal or a service manager sends to whole groups.
//!
//! One thread, no state on disk but the lock: a guard that is killed is replaced, and the new one finds out what the old one left.

mod children;
mod initialise;
mod leftovers;
mod lock;
mod log;
mod ports;
mod postgres;
mod reins;
mod remains;
mod restarts;
mod service;
mod shutdown;

use std::{io, process::ExitCode};

pub(super) use restarts::{Next, Restarts};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs a guard until its child has stopped for good. `arguments` follow the word `guard` on the command line:
/// `postgres <directory>`, or `service [--user NAME] [--port PORT] --env-file FILE --log FILE -- PROGRAM ARGUMENT…`.
///
/// Call it from a `main` that has started no thread and no runtime.
pub fn main(arguments: Vec<String>) -> ExitCode {
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> io::Result<ExitCode> {
    // Away from the terminal's group: Ctrl-C is for the main process, which stops us in its order. Fails only for a group's leader,
    // which a terminal does not reach through us either.
    let _ = rustix::process::setsid();
    // Started through /proc/self/exe it would go by the name `exe`.
    let _ = rustix::thread::set_name(c"rowhouse-guard");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let _deaf = deaf()?;
        match arguments.split_first() {
            Some((kind, rest)) if kind == "postgres" && rest.len() == 1 => postgres::run().await,
            Some((kind, rest)) if kind == "service" => service::run(rest).await,
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a guard is started by Rowhouse, not by hand",
            )),
        }
    })
}

/// Takes the signals that go to whole groups, and does nothing with them.
fn deaf() -> io::Result<[Signal; 4]> {
    Ok([
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::quit())?,
    ])
}

/// Says something on standard error, whose reader may be gone.
fn complain(message: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr(), "rowhouse guard: {message}");
}
