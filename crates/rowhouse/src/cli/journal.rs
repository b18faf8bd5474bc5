//! `rowhouse journal …`: works on the files of a data directory, also while Rowhouse runs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use rowhouse_domain::id::{RequestId, TenantId};
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_journal::{Frame, Kind, Reader, RequestRecord, verify_dir};
use serde_json::{Value, json};

use super::show::{line, show};

/// Frames read at once.
const BATCH_FRAMES: usize = 10_000;
/// Bytes read at once.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// `rowhouse journal …`
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Checks every frame's checksum.
    Verify {
        /// The journal's directory (`<data_dir>/journal`).
        directory: PathBuf,
    },
    /// Prints the records, one a line. Addresses and agents are left out.
    Read {
        /// The journal's directory.
        directory: PathBuf,
        /// Only this lane.
        #[arg(long)]
        lane: Option<String>,
        /// From this sequence.
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
}

/// Runs it.
pub fn run(command: JournalCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        JournalCommand::Verify { directory } => verify(&directory, json),
        JournalCommand::Read { directory, lane, from } => read(&directory, lane.as_deref(), from),
    }
}

/// An empty answer about the wrong directory would look like a sound journal.
fn is_journal(directory: &std::path::Path) -> anyhow::Result<()> {
    let holds = |name: &str| directory.join(name).exists();
    anyhow::ensure!(
        holds("lock") || holds("node"),
        "{} is no journal; next: name <data_dir>/journal",
        directory.display()
    );
    Ok(())
}

fn verify(directory: &std::path::Path, json: bool) -> anyhow::Result<ExitCode> {
    is_journal(directory)?;
    let report = verify_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let items: Vec<Value> = report
        .segments
        .iter()
        .map(|segment| {
            json!({
                "lane": segment.lane, "boot": segment.boot, "first_sequence": segment.first_sequence,
                "frames": segment.frames, "bytes": segment.bytes, "right": segment.is_right(),
                "damage": segment.damage.len(), "path": segment.path.display().to_string(),
            })
        })
        .collect();
    let answer = json!({"items": items, "next_cursor": null, "right": report.is_right()});
    show(&answer, &["lane", "boot", "first_sequence", "frames", "bytes", "right", "damage"], json);
    Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(directory: &std::path::Path, lane: Option<&str>, from: u64) -> anyhow::Result<ExitCode> {
    is_journal(directory)?;
    let reader =
        Reader::open_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let lanes = reader.lanes()?.into_iter().filter(|name| lane.is_none_or(|wanted| wanted == name));
    for name in lanes {
        let mut tail = reader.tail(&name, from);
        loop {
            let batch = tail.next_batch(BATCH_FRAMES, BATCH_BYTES)?;
            if batch.is_empty() {
                break;
            }
            batch.frames().for_each(|frame| line(&describe(&name, &frame).to_string()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(lane: &str, frame: &Frame<'_>) -> Value {
    let position = json!({"lane": lane, "sequence": frame.sequence});
    match (frame.kind, frame.record()) {
        (Kind::Request, Ok(record)) => request(position, &record),
        (Kind::Request, Err(error)) => json!({"position": position, "unreadable": error.to_string()}),
        (kind, _) => json!({"position": position, "kind": format!("{kind:?}"), "bytes": frame.payload.len()}),
    }
}

fn request(position: Value, record: &RequestRecord<'_>) -> Value {
    let usage: serde_json::Map<String, Value> = record
        .usage
        .iter()
        .map(|(meter, units)| {
            let shown = Quantity::from_units(units).map(|quantity| quantity.to_string());
            (meter.to_owned(), shown.map_or(Value::Null, Value::from))
        })
        .collect();
    json!({
        "position": position,
        "request_id": RequestId::from_u128(record.request_id),
        "started_at_us": record.started_at_us,
        "duration_us": record.duration_us,
        "upstream_us": record.upstream_us,
        "directory_version": record.directory_version,
        "tenant": record.tenant.map(TenantId::from_u128),
        "principal_kind": record.principal_kind.as_str(),
        "api_key": record.api_key,
        "service": record.service,
        "endpoint": record.endpoint,
        "status": record.status,
        "outcome": record.outcome.as_str(),
        "refusal": record.refusal,
        "permission": record.permission,
        "limit_hit": record.limit_hit,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "usage": usage,
    })
}
