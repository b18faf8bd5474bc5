//! What the `rowhouse` binary is with the first argument `guard`: for the private PostgreSQL of the tests.

fn main() -> std::process::ExitCode {
    rowhouse_store::server::guard::main(std::env::args().skip(2).collect())
}
