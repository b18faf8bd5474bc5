//! The end of a log. The event that says that its tenant has left is the last one that is added; what arrives for the log
//! afterwards (a reader of it is an event, too; a record that lay in a journal) goes to the operator's log, and names the
//! tenant. So a head that was signed once over a closed log is its head for ever.

use std::collections::HashSet;

use rowhouse_domain::audit::leaf::Target;
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_store::{StoreError, Transaction};
use uuid::Uuid;

use super::queries;
use super::sequence::{Arrival, Origin};

/// The event after which a log takes nothing more.
pub const CLOSING_EVENT: &str = "lifecycle.tenant_left";

/// Whether a log is closed behind this event. No service and no request can say it: only a change of ours.
pub fn closes(arrival: &Arrival) -> bool {
    arrival.origin == Origin::Database && arrival.draft.event == CLOSING_EVENT
}

/// The arrivals, with those for logs that are closed, or are closed by one before them, on their way to the operator's.
///
/// # Errors
/// If the logs cannot be read.
pub async fn divert(tx: &Transaction, arrivals: Vec<Arrival>) -> Result<Vec<Arrival>, StoreError> {
    let logs: HashSet<Uuid> = arrivals.iter().map(|arrival| arrival.log.0).collect();
    let rows = tx.query(queries::CLOSED_LOGS, &[&Vec::from_iter(logs)]).await?;
    let mut closed: HashSet<TenantId> = rows.iter().map(|row| TenantId(row.get(0))).collect();
    let lead = |arrival: Arrival| {
        let is_late = closed.contains(&arrival.log);
        if closes(&arrival) {
            closed.insert(arrival.log);
        }
        if is_late { elsewhere(arrival) } else { arrival }
    };
    Ok(arrivals.into_iter().map(lead).collect())
}

fn elsewhere(arrival: Arrival) -> Arrival {
    let Arrival { log, mut draft, .. } = arrival;
    let target = Target { kind: "tenant".to_owned(), id: log.to_string() };
    if !draft.targets.contains(&target) {
        draft.targets.push(target);
    }
    Arrival { log: OPERATOR_TENANT, draft, origin: Origin::Database }
}
