//! The daily probes: fifty attacks on the shared database that all get nowhere, leave nothing, and see it when a defence is off.

use rowhouse_tenantdb::cell::SHARED_DATABASE;
use rowhouse_tenantdb::probes::{Outcome, PROBE_TENANTS, all, probe};
use tokio_postgres::Client;

use crate::house::{House, key};

/// What there is of places and probe rows.
async fn left(admin: &Client) -> Vec<String> {
    let sql = "SELECT 'place ' || tenant FROM rh.place UNION ALL SELECT 'row ' || tenant_id FROM stamping.rh_probe ORDER BY 1";
    admin.query(sql, &[]).await.expect("rows").iter().map(|row| row.get(0)).collect()
}

fn through(outcomes: &[Outcome]) -> Vec<(&'static str, &str)> {
    outcomes
        .iter()
        .filter(|outcome| !outcome.held)
        .map(|outcome| (outcome.probe.name, outcome.found.as_str()))
        .collect()
}

#[tokio::test]
async fn probes_get_nowhere_leave_nothing_and_see_a_defence_that_is_off() {
    let house = House::shared().await;
    let admin = house.admin(SHARED_DATABASE).await;
    let before = left(&admin).await;
    for turn in [0, 1] {
        let outcomes = probe(&house.cell, &key(1), "probe-marker", turn).await.expect("probed");
        assert_eq!(outcomes.len(), all().len());
        assert_eq!(through(&outcomes), []);
        assert!(outcomes.iter().all(|outcome| outcome.table == "stamping.rh_probe"), "{outcomes:?}");
        assert_eq!(left(&admin).await, before);
    }

    // What a killed process has left goes with the next round.
    let [attacking, victim] = PROBE_TENANTS;
    admin
        .batch_execute(&format!(
            "INSERT INTO rh.place VALUES ('{attacking}', 'rh_app', 1, 'rwd');
             INSERT INTO stamping.rh_probe VALUES ('{victim}', '{victim}', 'left')"
        ))
        .await
        .expect("a round that was cut short");
    let outcomes = probe(&house.cell, &key(1), "probe-marker", 0).await.expect("probed");
    assert_eq!(through(&outcomes), []);
    assert_eq!(left(&admin).await, before);

    for (off, on, seen) in [
        (
            "ALTER TABLE stamping.rh_probe DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE stamping.rh_probe ENABLE ROW LEVEL SECURITY",
            "all rows",
        ),
        ("GRANT SELECT ON rh.key TO rh_app", "REVOKE SELECT ON rh.key FROM rh_app", "the keys"),
        ("DROP EVENT TRIGGER rh_no_ddl; GRANT TEMP ON DATABASE rh_shared TO PUBLIC", "", "a temporary table"),
    ] {
        admin.batch_execute(off).await.expect("switched off");
        let outcomes = probe(&house.cell, &key(1), "probe-marker", 0).await.expect("probed");
        let through = through(&outcomes);
        assert!(through.iter().any(|(name, _)| *name == seen), "{off}: {through:?}");
        admin.batch_execute(on).await.expect("switched on");
        assert_eq!(left(&admin).await, before);
    }
}

#[tokio::test]
async fn a_cell_where_nobody_shares_has_no_probes() {
    let house = House::shared().await;
    let other = rowhouse_tenantdb::DatabaseKey::new("k9", [9; 32]).expect("a plain kid");
    assert!(probe(&house.cell, &other, "x", 0).await.expect("looked").is_empty(), "the key is not in force");
    let admin = house.admin(SHARED_DATABASE).await;
    admin.batch_execute("DELETE FROM rh.installed").await.expect("no service");
    assert!(probe(&house.cell, &key(1), "x", 0).await.expect("looked").is_empty());
}
