//! Trying a place out before its tenant is let in: what must work is done, what must not is tried.

use rowhouse_domain::access::Permit;
use rowhouse_domain::tenancy::Isolation;
use rowhouse_store::sagas::{Done, Run, StepError, StepResult};
use rowhouse_tenantdb::Cell;
use rowhouse_tenantdb::doctor::{self, Finding, Known, Severity};
use rowhouse_tenantdb::place::{self, VerifyError};
use serde_json::json;

use super::place::Placed;
use super::store;
use crate::Shared;
use crate::tenancy::{service_tables, service_tables::Installation};

/// Writes, reads and deletes as the tenant, makes the probes that must be refused, and asks the doctor.
pub async fn verify(run: &Run<'_, Shared>) -> StepResult {
    let placed: Placed = run.expect_output("place")?;
    verify_at(run, &placed).await
}

/// The same for any place that has full rights.
pub(in crate::lifecycle) async fn verify_at(run: &Run<'_, Shared>, placed: &Placed) -> StepResult {
    let Placed { cell: name, place, .. } = placed;
    let permit = Permit::for_system(run.saga.tenant, "proof of a place");
    let transaction = run.context.store.read(&permit).await?;
    let (found, installed) = tokio::join!(
        store::cell_and_key(run, &transaction, name, &place.database),
        service_tables::installed(&transaction, name, place),
    );
    let (found, installed) = (found?, installed?);
    transaction.finish().await?;
    let (cell, key) = store::or_new_key(run, found, (name, &place.database)).await?;
    let mut refused = 0;
    for installation in &installed {
        let verified = place::verify(&cell, place, &installation.schema, &key).await;
        refused += verified.map_err(proof_failure)?.refused.len();
    }
    let schemas: Vec<&str> = installed.iter().map(|installation| installation.schema.as_str()).collect();
    examine(run, &cell, placed, &installed).await?;
    Ok(Done::with(&json!({ "probes_refused": refused, "schemas": schemas, "findings": 0 })))
}

/// Asks the doctor, who has nothing to say of a tenant that is one row among others' and has looked a moment ago.
async fn examine(
    run: &Run<'_, Shared>,
    cell: &Cell,
    Placed { place, .. }: &Placed,
    installed: &[Installation],
) -> Result<(), StepError> {
    let is_shared = place.isolation == Isolation::Shared;
    let sound = &run.context.sound;
    // No schema would mean all of them, other tenants' too.
    if installed.is_empty() || is_shared && sound.is_known(&cell.name, &place.database, installed) {
        return Ok(());
    }
    let schemas: Vec<&str> = installed.iter().map(|installation| installation.schema.as_str()).collect();
    let known = if is_shared { Known::default() } else { sound.beside(&cell.name, place) };
    let findings = doctor::check_beside(cell, &place.database, &schemas, known).await;
    let findings = findings.map_err(StepError::again)?;
    let grave: Vec<&Finding> =
        findings.iter().filter(|finding| is_of_place(finding, &place.database)).collect();
    if !grave.is_empty() {
        let words: Vec<String> = grave
            .iter()
            .map(|finding| format!("{} {}: {}", finding.code, finding.object, finding.detail))
            .collect();
        return Err(StepError::never("tenancy.tables_invalid", words.join("; ")));
    }
    match is_shared {
        true => sound.note(&cell.name, &place.database, installed),
        false => sound.note_beside(&cell.name, place, known),
    }
    Ok(())
}

/// The server's release and files, and other databases, are the operator's to cure and no reason against this tenant.
/// Settings of the login were taken away just now; if it has some again, another tenant keeps setting them.
fn is_of_place(finding: &Finding, database: &str) -> bool {
    match finding.code {
        "D18" | "D23" | "D24" => false,
        "D20" => finding.object == database,
        _ => finding.severity >= Severity::High,
    }
}

/// An open door is not tried again; a server that is away is.
fn proof_failure(error: VerifyError) -> StepError {
    match error {
        VerifyError::Open { .. } | VerifyError::Unseen | VerifyError::Name(_) => {
            StepError::never("tenancy.tables_invalid", error.to_string())
        }
        VerifyError::Connect(_) | VerifyError::Broken { .. } => StepError::again(error),
    }
}
