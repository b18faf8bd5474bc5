//! The smallest program around a private server. With `guard …` it is what the `rowhouse` binary is with that first argument; with
//! `serve DIRECTORY [PROGRAMS]` it is a main process: it starts a server there, says `ready`, and supervises until it is killed. For tests.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use rowhouse_store::server::{PrivateServer, ServerSpec, guard};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("guard"), first) => guard::main(first.into_iter().chain(arguments).collect()),
        (Some("serve"), Some(directory)) => serve(directory.into(), arguments.next().map(PathBuf::from)),
        _ => ExitCode::FAILURE,
    }
}

fn serve(directory: PathBuf, programs: Option<PathBuf>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("threads can be started");
    runtime.block_on(async {
        let mut spec = ServerSpec::new(directory);
        spec.binaries = programs;
        (spec.shared_buffers_mb, spec.max_connections, spec.max_locks_per_transaction) = (16, 20, 64);
        match PrivateServer::start(spec).await {
            Ok(server) => {
                println!("ready");
                Arc::new(server).supervise().await;
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    })
}
