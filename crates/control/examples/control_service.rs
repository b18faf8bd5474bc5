//! A process of a service, as tests deploy it: listens on `LISTEN` and answers every connection with what it was told about
//! its tenant.

use std::io::Write;
use std::net::TcpListener;

fn main() -> std::io::Result<()> {
    let told = |name: &str| std::env::var(name).unwrap_or_default();
    let listener = TcpListener::bind(told("LISTEN"))?;
    for connection in listener.incoming() {
        let names = ["TENANT_ID", "TENANT_RESOLUTION_MODE", "DATABASE_MODE", "ROWHOUSE_PLANE"];
        let words = names.map(told).join(" ");
        // Who asked may be gone.
        let _ = writeln!(connection?, "{} {words}", std::process::id());
    }
    Ok(())
}
