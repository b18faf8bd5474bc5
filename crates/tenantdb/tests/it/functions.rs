//! The firewall's lists of functions against a real catalog: whatever a server has is on one of them.

use std::collections::BTreeSet;

use rowhouse_firewall::{ALLOWED, REFUSED, names_of};

use crate::house::connect;

#[tokio::test]
async fn every_function_of_the_server_is_on_one_list_and_every_allowed_one_exists() {
    let cluster = crate::cluster::Cluster::start(10);
    let client = connect(&cluster.cell("eu-1"), "postgres", "postgres").await.expect("connects");
    let row = client
        .query_one("SELECT current_setting('server_version_num')::int / 10000", &[])
        .await
        .expect("a version");
    let major = u32::try_from(row.get::<_, i32>(0)).expect("a major version");
    // What SQL can call: not what takes or answers a type that only the server itself has.
    let rows = client
        .query(
            "SELECT DISTINCT proname::text FROM pg_proc
              WHERE pronamespace = 'pg_catalog'::regnamespace
                AND NOT ('internal' = ANY (proargtypes::regtype[]::text[]) OR 'cstring' = ANY (proargtypes::regtype[]::text[])
                     OR 'pg_ddl_command' = ANY (proargtypes::regtype[]::text[])
                     OR prorettype::regtype::text = ANY (ARRAY['internal', 'cstring', 'trigger', 'event_trigger', 'language_handler',
                        'fdw_handler', 'index_am_handler', 'tsm_handler', 'table_am_handler', 'pg_ddl_command']))",
            &[],
        )
        .await
        .expect("the catalog");
    let server: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let allowed: BTreeSet<String> = names_of(ALLOWED).map(|(name, _)| name.to_owned()).collect();
    let refused: BTreeSet<String> = names_of(REFUSED).map(|(name, _)| name.to_owned()).collect();
    assert!(allowed.is_disjoint(&refused));
    let unlisted: Vec<_> =
        server.iter().filter(|name| !allowed.contains(*name) && !refused.contains(*name)).collect();
    assert!(unlisted.is_empty(), "PostgreSQL {major} has functions that nobody has looked at: {unlisted:?}");
    let missing: Vec<_> =
        names_of(ALLOWED).filter(|(name, since)| *since <= major && !server.contains(*name)).collect();
    assert!(missing.is_empty(), "PostgreSQL {major} has no {missing:?}");
}
