//! The smallest program that can be a guard: what the `rowhouse` binary does when its first argument is `guard`. For tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("guard") => rowhouse_store::server::guard::main(arguments.collect()),
        _ => ExitCode::FAILURE,
    }
}
