//! What a failure of the database means for a projection: wait, or look for the frame that it cannot take.

use rowhouse_store::StoreError;

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The database is away, busy or being changed: the same batch will do later.
    Wait,
    /// The database refuses what is in the batch: it will never do.
    Refused,
}

/// Judges by the class of the SQLSTATE. Data exceptions (22), broken constraints (23) and internal errors of a
/// statement on values (like 54, program limits) lie in the batch; everything else may pass.
pub(super) fn judge(error: &StoreError) -> Verdict {
    match error {
        StoreError::Statement(error) => match error.code() {
            Some(state) if matches!(&state.code()[..2], "22" | "23" | "54") => Verdict::Refused,
            // Values that the driver could not write have no SQLSTATE and no closed connection.
            None if !error.is_closed() && std::error::Error::source(error).is_some_and(is_conversion) => {
                Verdict::Refused
            }
            _ => Verdict::Wait,
        },
        // What is stored can be put right; no frame is to blame.
        StoreError::Stored { .. } | StoreError::Connection(_) | StoreError::Crowded => Verdict::Wait,
    }
}

fn is_conversion(source: &(dyn std::error::Error + 'static)) -> bool {
    !source.is::<std::io::Error>()
}

/// The error with its causes, for logs and quarantine.
pub(super) fn describe(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
