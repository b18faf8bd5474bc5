//! What must hold whenever no operation is under way: each tenant is in one definite state, and what is there is what is on
//! record: asked of the platform, and looked up past it, in PostgreSQL's catalogs, the file system and among the processes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use super::{END_MAX, column};
use crate::platform::{Call, PATIENCE, Platform, text};

/// What is on record, by where it is looked up.
#[derive(Debug, Default)]
struct OnRecord {
    databases: BTreeSet<String>,
    logins: BTreeSet<String>,
    schemas: BTreeSet<String>,
    shared: BTreeSet<String>,
    /// Directories of servers of tenants' own.
    instances: BTreeSet<String>,
}

async fn set(platform: &Platform, database: &str, sql: &str) -> BTreeSet<String> {
    column(platform, database, sql).await.into_iter().collect()
}

const TENANTS: &str = "SELECT concat_ws(' ', t.status, t.isolation, count(p.tenant_id), coalesce(max(p.state), 'nowhere'), \
       coalesce(max(p.database), '-'), coalesce(max(p.login), '-'), t.tenant_id, coalesce(max(i.desired->>'directory'), '-'), \
       (SELECT count(*) FROM tenancy.tenant_keys k WHERE k.tenant_id = t.tenant_id AND k.sealed IS NOT NULL), \
       (SELECT count(*) FROM lifecycle.certificates c WHERE c.tenant_id = t.tenant_id), \
       (SELECT count(*) FROM billing.subscriptions s WHERE s.tenant_id = t.tenant_id AND s.ended_at IS NULL), \
       (SELECT count(*) FROM lifecycle.sagas s WHERE s.tenant_id = t.tenant_id AND s.state = 'scheduled')) \
     FROM tenancy.tenants t LEFT JOIN tenancy.places p USING (tenant_id) LEFT JOIN deploy.instances i USING (tenant_id) \
     WHERE t.code <> 'operator' GROUP BY t.tenant_id ORDER BY 1";

/// Each tenant's line, read and judged.
async fn on_record(platform: &Platform, round: u32) -> OnRecord {
    let mut record = OnRecord::default();
    for row in column(platform, "rowhouse", TENANTS).await {
        let words: Vec<&str> = row.split(' ').collect();
        let (state, [database, login, id, directory]) =
            (&words[..4], [words[4], words[5], words[6], words[7]]);
        let [keys, certificates, subscriptions, scheduled] = [words[8], words[9], words[10], words[11]];
        match state {
            ["active" | "suspended" | "leaving", isolation, "1", "settled"] => {
                let is_leaving = state[0] == "leaving";
                // A key is made when something is first sealed.
                assert!(["0", "1"].contains(&keys), "round {round}: {row}");
                let kept = if is_leaving { ["0", "0", "1"] } else { ["0", "1", "0"] };
                assert_eq!([certificates, subscriptions, scheduled], kept, "round {round}: {row}");
                assert_eq!(directory != "-", *isolation == "instance", "round {round}: {row}");
                match *isolation {
                    "shared" => drop(record.shared.insert(id.to_owned())),
                    "schema" => {
                        record.logins.insert(login.to_owned());
                        record.schemas.insert(login.to_owned());
                    }
                    "database" => {
                        record.databases.insert(database.to_owned());
                        record.logins.insert(login.to_owned());
                    }
                    _ => drop(record.instances.insert(directory.to_owned())),
                }
            }
            ["terminated", _, "0", "nowhere"] => {
                let gone = [directory, keys, certificates, subscriptions, scheduled];
                assert_eq!(gone, ["-", "0", "1", "0", "0"], "round {round}: {row}");
            }
            ["failed", _, "0", "nowhere"] => {
                let gone = [directory, keys, certificates, subscriptions, scheduled];
                assert_eq!(gone, ["-", "0", "0", "0", "0"], "round {round}: {row}");
            }
            _ => panic!("round {round}: a tenant in no definite state: {row}"),
        }
    }
    let copies = "SELECT r.place->>'database' || ' ' || (r.place->>'login') || ' ' || c.kind FROM lifecycle.restores r \
         JOIN tenancy.cells c ON c.name = r.cell WHERE r.state IN ('running', 'open')";
    for row in column(platform, "rowhouse", copies).await {
        let words: Vec<&str> = row.split(' ').collect();
        if words[2] != "instance" {
            record.databases.insert(words[0].to_owned());
            record.logins.insert(words[1].to_owned());
        }
    }
    record
}

/// Every tenant is in one definite state, and what is there is what is on record.
pub async fn assert_whole(platform: &Platform, round: u32) {
    let checked = platform.operate(Call::post("/v1/inventory/check", json!({}))).await;
    assert_eq!(checked["findings"], json!([]), "round {round}");
    let record = on_record(platform, round).await;
    in_the_cell(platform, round, &record).await;
    in_the_control_database(platform, round).await;
    files(platform, round).await;
    servers(platform, round, &record.instances).await;
    at_the_door(platform, round).await;
}

async fn in_the_cell(platform: &Platform, round: u32, record: &OnRecord) {
    let databases = "SELECT datname::text FROM pg_database WHERE datname ~ '^t_'";
    assert_eq!(set(platform, "postgres", databases).await, record.databases, "round {round}: databases");
    let logins = "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^t_' AND rolcanlogin";
    assert_eq!(set(platform, "postgres", logins).await, record.logins, "round {round}: logins");
    let groups = "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^t_' AND NOT rolcanlogin";
    let wanted: BTreeSet<String> = record
        .logins
        .iter()
        .flat_map(|login| ["d", "r", "w"].map(|letter| format!("{login}_{letter}")))
        .collect();
    assert_eq!(set(platform, "postgres", groups).await, wanted, "round {round}: groups");
    let schemas = "SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^t_'";
    assert_eq!(set(platform, "rh_schemas_1", schemas).await, record.schemas, "round {round}: schemas");
    let places = "SELECT login FROM rh.place";
    assert_eq!(
        set(platform, "rh_schemas_1", places).await,
        record.schemas,
        "round {round}: places of schemas"
    );
    // Probes have two tenants of their own for a moment; what a killed process left of them goes with the next.
    let shared =
        "SELECT tenant::text FROM rh.place WHERE tenant::text NOT LIKE '00000000-0000-7000-8000-7072%'";
    assert_eq!(set(platform, "rh_shared", shared).await, record.shared, "round {round}: shared places");
    no_files_of_nobody(platform, round).await;
}

/// A database that is laid in stock just now has files before it is there, and what a kill left of one goes with the next look.
async fn no_files_of_nobody(platform: &Platform, round: u32) {
    let base = platform.data_dir().join("postgres/cluster/base");
    let begun = Instant::now();
    let mut beat = interval(Duration::from_millis(200));
    loop {
        beat.tick().await;
        let found = names(&base);
        let oids = column(platform, "postgres", "SELECT oid::text FROM pg_database").await;
        let orphans: Vec<String> =
            found.into_iter().filter(|name| name.parse::<u32>().is_ok() && !oids.contains(name)).collect();
        if orphans.is_empty() {
            return;
        }
        assert!(begun.elapsed() < END_MAX, "round {round}: files of no database: {orphans:?}");
    }
}

/// Queries that answer what is wrong, and of what.
const WRONG: [(&str, &str); 7] = [
    (
        "two subscriptions",
        "SELECT tenant_id::text FROM billing.subscriptions WHERE ended_at IS NULL GROUP BY 1 HAVING count(*) > 1",
    ),
    (
        "keys of databases that are not there",
        "SELECT k.database FROM tenancy.context_keys k WHERE k.database LIKE 't\\_%' \
           AND NOT EXISTS (SELECT FROM tenancy.places p WHERE p.database = k.database) \
           AND NOT EXISTS (SELECT FROM lifecycle.restores r WHERE r.place->>'database' = k.database AND r.state = 'open')",
    ),
    (
        "cells of nobody",
        "SELECT c.name FROM tenancy.cells c WHERE c.kind = 'instance' \
           AND NOT EXISTS (SELECT FROM deploy.instances i WHERE i.cell = c.name)",
    ),
    (
        "instances of nobody",
        "SELECT i.tenant_id::text FROM deploy.instances i JOIN tenancy.tenants t USING (tenant_id) \
         WHERE t.isolation <> 'instance' OR t.status IN ('terminated', 'failed')",
    ),
    (
        "API keys of tenants that are gone",
        "SELECT k.tenant_id::text FROM keys.keys k JOIN tenancy.tenants t USING (tenant_id) WHERE t.status = 'terminated'",
    ),
    (
        "tables installed where nobody is",
        "SELECT i.database FROM tenancy.installations i WHERE i.tenant_id IS NOT NULL \
           AND NOT EXISTS (SELECT FROM tenancy.places p WHERE p.tenant_id = i.tenant_id AND p.database = i.database)",
    ),
    (
        "restored copies and exports that are neither there nor over",
        "SELECT operation_id::text FROM (SELECT operation_id, state FROM lifecycle.restores \
           UNION ALL SELECT operation_id, state FROM lifecycle.exports) s WHERE state = 'running'",
    ),
];

async fn in_the_control_database(platform: &Platform, round: u32) {
    for (what, sql) in WRONG {
        assert_eq!(column(platform, "rowhouse", sql).await, Vec::<String>::new(), "round {round}: {what}");
    }
    let ports = "SELECT (SELECT count(*) FROM lifecycle.inventory WHERE kind = 'port' AND state <> 'gone') || ' ' || \
         (SELECT coalesce(sum(jsonb_array_length(desired->'applications')), 0) FROM deploy.instances) || ' ' || \
         (SELECT count(DISTINCT a->>'port') FROM deploy.instances, jsonb_array_elements(desired->'applications') a)";
    let ports = column(platform, "rowhouse", ports).await.remove(0);
    let figures: BTreeSet<&str> = ports.split(' ').collect();
    assert_eq!(figures.len(), 1, "round {round}: ports in the inventory, wanted, different: {ports}");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Files of backups and exports, and the folders of tenants.
async fn files(platform: &Platform, round: u32) {
    let kept = "SELECT file FROM lifecycle.backups WHERE state = 'ok' \
         UNION ALL SELECT file FROM lifecycle.exports WHERE state = 'ok'";
    let kept = set(platform, "rowhouse", kept).await;
    let tenants = platform.operate(Call::get("/v1/tenants?limit=200")).await;
    let tenants = tenants["items"].as_array().cloned().unwrap_or_default();
    let there =
        |tenant: &&Value| !["terminated", "failed"].contains(&tenant["status"].as_str().unwrap_or(""));
    let living: BTreeSet<String> = tenants.iter().filter(there).map(|tenant| text(&tenant["id"])).collect();
    let backups = platform.data_dir().join("backups");
    let mut found = BTreeSet::new();
    for region in names(&backups) {
        for tenant in names(&backups.join(&region)) {
            let files = names(&backups.join(&region).join(&tenant));
            assert!(
                living.contains(&tenant),
                "round {round}: a folder of {tenant}, which is gone: {files:?}"
            );
            found.extend(files);
        }
    }
    assert_eq!(found, kept, "round {round}: files of backups and exports");
    let left = names(&platform.data_dir().join("instances"));
    let left: BTreeSet<String> = left.into_iter().collect();
    let wanted = set(platform, "rowhouse", "SELECT desired->>'directory' FROM deploy.instances").await;
    assert_eq!(left, wanted, "round {round}: directories of instances");
}

/// Directories of instances, by the processes that run from them: a postmaster each, and nobody else's.
fn running(instances: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut all, mut postmasters) = (BTreeSet::new(), BTreeSet::new());
    let prefix = format!("{}/", instances.display());
    for process in names(Path::new("/proc")).into_iter().filter(|name| name.parse::<u32>().is_ok()) {
        let path = Path::new("/proc").join(&process);
        let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let folder = std::fs::read_link(path.join("cwd")).unwrap_or_default();
        let Some(at) = [command.clone(), format!("{}/", folder.display())]
            .iter()
            .find_map(|text| text.split_once(&prefix).map(|(_, rest)| rest[..rest.len().min(16)].to_owned()))
        else {
            continue;
        };
        if command.contains("/postgres -D") {
            postmasters.insert(at.clone());
        }
        all.insert(at);
    }
    (all, postmasters)
}

/// Each dedicated tenant's server and process run, and no other.
async fn servers(platform: &Platform, round: u32, wanted: &BTreeSet<String>) {
    let begun = Instant::now();
    let mut beat = interval(Duration::from_millis(100));
    loop {
        beat.tick().await;
        let (all, postmasters) = running(&platform.data_dir().join("instances"));
        let instances = platform.operate(Call::get("/v1/instances?limit=200")).await;
        let serving = instances["items"].as_array().is_some_and(|items| {
            let serves = |application: &Value| application["serving"] == true;
            items.iter().all(|item| {
                item["observed"]["phase"] == "running"
                    && item["observed"]["applications"].as_array().is_some_and(|all| all.iter().all(serves))
            })
        });
        if (&all, &postmasters, serving) == (wanted, wanted, true) {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "round {round}: processes of {all:?}, servers of {postmasters:?}, wanted {wanted:?}: {instances:#}"
        );
    }
}

/// The gateway serves who is active, and nobody who is not.
async fn at_the_door(platform: &Platform, round: u32) {
    let tenants = "SELECT code || ' ' || status FROM tenancy.tenants WHERE code LIKE 'life%' AND isolation <> 'instance'";
    for row in column(platform, "rowhouse", tenants).await {
        let (code, status) = row.split_once(' ').expect("two words");
        let call = || Call::get("/open/x").header("host", &format!("{code}.localhost"));
        match status {
            "active" => platform.until(200, call).await,
            "suspended" => {}
            _ => {
                let seen = platform.gateway(call()).await;
                assert!(seen.status >= 400, "round {round}: {code}, which is {status}, is served");
            }
        }
    }
}
