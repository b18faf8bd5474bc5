//! Services' tables: a new version reaches every place, a bad one none.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_reaches_all_levels_and_a_bad_one_changes_nothing() {
    let stage = Stage::start().await;
    stage.tenant("acme", "basic", "shared").await;
    stage.tenant("bolt", "basic", "schema").await;
    let crane = stage.tenant("crane", "enterprise", "database").await;
    let answer = stage.put_tables(2).await;
    assert_eq!(
        (&answer["version"], &answer["installed"], &answer["failed"]),
        (&json!(2), &json!(3), &json!([]))
    );
    let column = "SELECT count(*)::text FROM information_schema.columns WHERE table_name = 'stamps' AND column_name = 'note'";
    let database = crane["placement"]["database_name"].as_str().expect("a name");
    for database in ["rh_shared", "rh_schemas_1", database] {
        assert_eq!(stage.in_cell(database, column).await, "1", "{database}");
    }
    let again = stage.put_tables(2).await;
    assert_eq!(again["installed"], 3);

    let open = json!({"manifest": "[table.stamps]\nkind = \"tenant\"\npartitions = 4\n[table.leaks]\nkind = \"tenant\"\n", "migrations": [
        {"number": 1, "name": "leaks", "sql": "CREATE TABLE leaks (id uuid PRIMARY KEY)"}]});
    for (path, status) in [("/v1/services/stamping/tables", 422), ("/v1/services/nothing/tables", 404)] {
        let (got, refused) = stage.call("PUT", path, open.clone()).await;
        assert_eq!(got, status, "{refused}");
    }
    assert_eq!(
        stage.platform.ask("SELECT string_agg(version::text, ' ') FROM tenancy.service_tables").await,
        "2"
    );
    // A tenant that comes now has them from the start.
    stage.tenant("dune", "enterprise", "database").await;
    let versions = "SELECT string_agg(DISTINCT version::text, ' ') FROM tenancy.installations";
    assert_eq!(stage.platform.ask(versions).await, "2");
    stage.stop().await;
}
