//! What is remembered of quotas between two figures, as it is stored.

use std::collections::HashMap;

use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::resources::{QuotaState, Standing};
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;

use super::queries;

/// Standings of one tenant by meter. Who was never near a limit has none.
pub type Standings = HashMap<String, Standing>;

/// All standings that the transaction sees, or of one tenant.
pub async fn load(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<HashMap<TenantId, Standings>, StoreError> {
    let rows = transaction.query(queries::STANDINGS, &[&tenant.map(|tenant| tenant.0)]).await?;
    let mut all: HashMap<TenantId, Standings> = HashMap::new();
    for row in &rows {
        all.entry(TenantId(row.get(0))).or_default().insert(row.get(1), parse(row)?);
    }
    Ok(all)
}

fn parse(row: &Row) -> Result<Standing, StoreError> {
    let state =
        |place| QuotaState::parse(row.get(place)).ok_or(StoreError::Stored { what: "the state of a quota" });
    let instant = |place| row.get::<_, Option<Timestamp>>(place).map(Timestamp::as_microsecond);
    Ok(Standing {
        window_from_us: row.get::<_, Timestamp>(2).as_microsecond(),
        state: state(3)?,
        told: state(4)?,
        round: u32::try_from(row.get::<_, i32>(5)).unwrap_or(0),
        below_since_us: instant(6),
        reached_told_us: instant(7),
        excess_since_us: instant(8),
        imposed: row.get(9),
    })
}

/// Keeps a standing; one that says nothing is taken out.
pub async fn keep(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
    standing: &Standing,
) -> Result<(), StoreError> {
    if is_dull(standing) {
        transaction.execute(queries::DROP_STANDING, &[&tenant.0, &meter]).await?;
        return Ok(());
    }
    let instant = |at_us: i64| {
        Timestamp::from_microsecond(at_us).map_err(|_| StoreError::Stored { what: "an instant of a quota" })
    };
    let some = |at_us: Option<i64>| at_us.map(instant).transpose();
    transaction
        .execute(
            queries::KEEP_STANDING,
            &[
                &tenant.0,
                &meter,
                &instant(standing.window_from_us)?,
                &standing.state.as_str(),
                &standing.told.as_str(),
                &i32::try_from(standing.round).unwrap_or(i32::MAX),
                &some(standing.below_since_us)?,
                &some(standing.reached_told_us)?,
                &some(standing.excess_since_us)?,
                &standing.imposed,
            ],
        )
        .await?;
    Ok(())
}

/// Whether a standing says no more than that there is none.
pub fn is_dull(standing: &Standing) -> bool {
    *standing == Standing { window_from_us: standing.window_from_us, ..Standing::default() }
}
