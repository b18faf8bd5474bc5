//! A real application's schema, registered as the developer's guide says and used on all four levels: twelve tables with
//! foreign keys, enums, a domain, generated columns, full-text search, views, functions, triggers, partitions, and two
//! later migrations over tenants who have rows already.

use std::path::{Path, PathBuf};

use rowhouse_tenantdb::{DatabaseError, Databases, Source, TenantRequest, Watch};
use uuid::Uuid;

use crate::platform::{Call, Platform, Tenant, text};
use crate::services::{operate, rowhouse, scratch};

const LEVELS: [(&str, &str, &str); 5] = [
    ("track-shared", "basic", "shared"),
    ("track-shared-too", "basic", "shared"),
    ("track-schema", "professional", "schema"),
    ("track-database", "enterprise", "database"),
    ("track-instance", "premium", "instance"),
];

const CATALOG: &str = r#"
service = [{ name = "tracker", upstreams = ["ECHO"] }]
resource_type = [{ name = "issue", service = "tracker", actions = ["create", "read", "update", "delete"], role_defaults = "standard" }]

[catalog]
name = "tracker"

[[route]]
name = "tracker.all"
service = "tracker"
path = "/v1/tracker/*"
resource_type = "issue"
"#;

fn schema() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas/tracker")
}

/// The folder of the schema as it was after its first `count` migrations.
fn as_of(count: usize) -> PathBuf {
    let copy = scratch("tables");
    std::fs::create_dir(copy.join("migrations")).expect("a folder");
    std::fs::copy(schema().join("rowhouse-tables.toml"), copy.join("rowhouse-tables.toml")).expect("a copy");
    let migrations = std::fs::read_dir(schema().join("migrations")).expect("a folder").flatten();
    let mut names: Vec<_> = migrations.map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names.iter().take(count) {
        std::fs::copy(schema().join("migrations").join(name), copy.join("migrations").join(name))
            .expect("a copy");
    }
    copy
}

async fn put(platform: &Platform, folder: &Path) {
    operate(platform, &["tables", "put", "tracker", folder.to_str().expect("text")]).await;
}

/// The databases of `service` as its process has them.
pub async fn open(platform: &Platform, service: &str) -> Databases {
    let watch = Watch {
        socket: platform.data_dir().join("run/plane.sock"),
        service: service.to_owned(),
        tenant: None,
        cache: scratch("plane").join("plane.json"),
    };
    Databases::open(Source::Watch(watch)).await.expect("the plane answers")
}

/// A request of `tenant` as the service, whose route is `/v1/<service>/*` to the echo, gets it from the gateway.
pub async fn request(
    platform: &Platform,
    databases: &Databases,
    (service, tenant): (&str, &Tenant),
) -> TenantRequest {
    let path = format!("/v1/{service}/x");
    platform.until(200, || Call::get(&path).tenant(tenant)).await;
    let seen = platform.gateway(Call::get(&path).tenant(tenant)).await;
    let mut headers = http::HeaderMap::new();
    let context = text(&seen.body["headers"]["rowhouse-context"]);
    headers.insert("rowhouse-context", context.parse().expect("a header"));
    let now_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as i64;
    databases.request(&headers, now_s).expect("the gateway's own context")
}

pub type Rows = Result<Vec<String>, DatabaseError>;

/// The first column of all rows, as text.
pub async fn ask(request: &TenantRequest, sql: &'static str) -> Rows {
    request
        .write(async |tx| Ok(tx.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect::<Vec<String>>()))
        .await
}

/// Fills a tenant's tracker as an application would.
async fn work(request: &TenantRequest) -> Uuid {
    request
        .write(async |tx| {
            let id = |row: rowhouse_tenantdb::Row| -> Uuid { row.get(0) };
            let person = "INSERT INTO people (email, display_name, settings) VALUES ($1, $2, '{\"theme\": \"dark\"}') RETURNING id";
            let ada = id(tx.query_one(person, &[&"Ada@example.com", &"Ada"]).await?);
            let bob = id(tx.query_one(person, &[&"bob@example.com", &"Bob"]).await?);
            let project = "INSERT INTO projects (key, name, lead_id) VALUES ('OPS', 'Operations', $1) RETURNING id";
            let project = id(tx.query_one(project, &[&bob]).await?);
            tx.execute("INSERT INTO project_members (project_id, person_id, role) VALUES ($1, $2, 'owner')", &[&project, &ada]).await?;
            let label = "INSERT INTO labels (project_id, name, colour) VALUES ($1, 'bug', '#ff0000') RETURNING id";
            let label = id(tx.query_one(label, &[&project]).await?);
            let milestone = "INSERT INTO milestones (project_id, title, span) VALUES ($1, 'v1', '[2026-01-01,2026-03-01)') RETURNING id";
            let milestone = id(tx.query_one(milestone, &[&project]).await?);
            let mut parent: Option<Uuid> = None;
            for (title, priority) in [("The roof leaks", "urgent"), ("Rain in the kitchen", "high"), ("Buy a bucket", "low")] {
                let issue = tx
                    .query_one(
                        "INSERT INTO issues (project_id, number, parent_id, milestone_id, author_id, assignee_id, priority, title, watchers) \
                         VALUES ($1, next_number($1), $2, $3, $4, $5, $6, $7, ARRAY[$4::uuid]) RETURNING id",
                        &[&project, &parent, &milestone, &ada, &bob, &priority, &title],
                    )
                    .await?;
                parent = Some(id(issue));
                tx.execute("INSERT INTO issue_labels VALUES (DEFAULT, $1, $2)", &[&parent, &label]).await?;
            }
            let comment = "INSERT INTO comments (issue_id, author_id, body) VALUES ($1, $2, 'On it') RETURNING id";
            let comment = id(tx.query_one(comment, &[&parent, &bob]).await?);
            tx.execute("INSERT INTO attachments (comment_id, name, content) VALUES ($1, 'a.txt', 'abc')", &[&comment]).await?;
            tx.execute("UPDATE issues SET state = 'in_progress' WHERE id = $1", &[&parent]).await?;
            Ok::<_, DatabaseError>(bob)
        })
        .await
        .expect("the application works")
}

/// Questions whose answers are the same for every tenant on every level.
const QUESTIONS: [(&str, &[&str]); 12] = [
    ("SELECT reference FROM board ORDER BY reference", &["OPS-1", "OPS-2", "OPS-3"]),
    (
        "SELECT title FROM issues WHERE search @@ websearch_to_tsquery('english', 'leaking roofs')",
        &["The roof leaks"],
    ),
    ("SELECT s.depth::text FROM issues i, subtree(i.id) s WHERE i.number = 1 ORDER BY 1", &["0", "1", "2"]),
    ("SELECT assignee || ' ' || issues || ' ' || weight FROM workload", &["Bob 3 80"]),
    (
        "SELECT coalesce(was::text, '-') || ' ' || became FROM activity ORDER BY id",
        &["- open", "- open", "- open", "open in_progress"],
    ),
    ("SELECT bytes::text FROM attachments", &["3"]),
    ("SELECT title FROM issues WHERE updated_at > created_at AND state = 'in_progress'", &["Buy a bucket"]),
    (
        "SELECT display_name FROM people WHERE settings @> '{\"theme\": \"dark\"}' AND lower(email) = 'ada@example.com'",
        &["Ada"],
    ),
    ("SELECT title FROM milestones WHERE span @> date '2026-02-01'", &["v1"]),
    ("SELECT array_to_string(labels, ',') FROM board WHERE weight = 40", &["bug"]),
    ("SELECT name FROM priorities ORDER BY weight", &["low", "normal", "high", "urgent"]),
    ("SELECT count(*)::text FROM issues WHERE watchers && ARRAY(SELECT id FROM people)", &["3"]),
];

async fn answers(request: &TenantRequest, code: &str) {
    for (sql, expected) in QUESTIONS {
        assert_eq!(
            ask(request, sql).await.unwrap_or_else(|error| panic!("{code}: {sql}: {error:?}")),
            expected,
            "{code}: {sql}"
        );
    }
}

/// What must be refused, and how.
async fn refusals(request: &TenantRequest, code: &str) {
    let constraint = |sqlstate: &'static str, name: &'static str| (Some(sqlstate), Some(name));
    let denied = (None, None);
    for (sql, (sqlstate, name)) in [
        ("INSERT INTO priorities VALUES ('x', 1)", denied),
        ("SELECT note FROM import_runs", denied),
        ("SELECT issues::text FROM nightly_totals", denied),
        ("UPDATE issues SET tenant_id = gen_random_uuid()", denied),
        (
            "INSERT INTO people (email, display_name) VALUES ('ADA@example.com', 'x')",
            constraint("23505", "people_email"),
        ),
        ("UPDATE issues SET number = 1", constraint("23505", "issues_number")),
        ("UPDATE issues SET parent_id = id", constraint("23514", "issues_not_own_parent")),
        ("UPDATE issues SET author_id = gen_random_uuid()", constraint("23503", "issues_author")),
        ("UPDATE labels SET colour = 'red'", constraint("23514", "colour_check")),
    ] {
        match ask(request, sql).await {
            Err(DatabaseError::Constraint { sqlstate: found, constraint }) => {
                assert_eq!((Some(found.as_str()), constraint.as_deref()), (sqlstate, name), "{code}: {sql}");
            }
            Err(DatabaseError::Denied(_)) => assert_eq!(sqlstate, None, "{code}: {sql}"),
            other => panic!("{code}: {sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_issue_tracker_runs_on_all_levels_and_its_migrations_reach_tenants_with_rows() {
    let platform = Platform::start().await;
    let catalog = scratch("catalog");
    let file = catalog.join("tracker.toml");
    std::fs::write(&file, CATALOG.replace("ECHO", &format!("127.0.0.1:{}", platform.echo))).expect("a file");
    operate(&platform, &["apply", "-f", file.to_str().expect("text")]).await;
    put(&platform, &as_of(3)).await;
    let mut tenants = Vec::new();
    for (code, tier, isolation) in LEVELS {
        tenants.push(platform.tenant(code, tier, isolation).await);
    }
    let databases = open(&platform, "tracker").await;
    let mut leads = Vec::new();
    for tenant in &tenants {
        let request = request(&platform, &databases, ("tracker", tenant)).await;
        assert_eq!(
            ask(&request, "SELECT title FROM issues").await.expect("answered"),
            Vec::<String>::new(),
            "another's rows"
        );
        leads.push(work(&request).await);
        answers(&request, &tenant.code).await;
        refusals(&request, &tenant.code).await;
    }
    put(&platform, &schema()).await;
    put(&platform, &schema()).await;
    let late = platform.tenant("track-late", "professional", "schema").await;
    let late_request = request(&platform, &databases, ("tracker", &late)).await;
    leads.push(work(&late_request).await);
    tenants.push(late);
    for (tenant, lead) in tenants.iter().zip(&leads) {
        let request = request(&platform, &databases, ("tracker", tenant)).await;
        answers(&request, &tenant.code).await;
        refusals(&request, &tenant.code).await;
        let minutes: &[&str] = if tenant.code == "track-late" { &["180"] } else { &["800"] };
        assert_eq!(
            ask(&request, "SELECT minutes::text FROM estimates").await.expect("answered"),
            minutes,
            "{}",
            tenant.code
        );
        ask(&request, "UPDATE issues SET state = 'in_review' WHERE number = 1 RETURNING title")
            .await
            .expect("the new value");
        let gone = request
            .write(async |tx| {
                tx.execute("DELETE FROM comments", &[]).await?;
                tx.execute("DELETE FROM people WHERE id = $1", &[lead]).await
            })
            .await;
        assert_eq!(gone.expect("deleted"), 1);
        let left = "SELECT count(assignee_id) || ' ' || count(*) FROM issues UNION ALL SELECT count(lead_id) || ' ' || count(*) FROM projects";
        assert_eq!(ask(&request, left).await.expect("answered"), ["0 3", "0 1"], "{}", tenant.code);
    }
}

#[tokio::test]
async fn what_tenants_could_not_use_is_refused_with_the_cure_before_it_is_anywhere() {
    let platform = crate::platform::shared().await;
    let columns =
        "tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL, PRIMARY KEY (tenant_id, id)";
    for (sql, words) in [
        (format!("CREATE TABLE a ({columns}, n serial)"), "GENERATED ALWAYS AS IDENTITY"),
        ("CREATE TABLE a (id uuid PRIMARY KEY)".to_owned(), "tenant_id"),
        (format!("CREATE TABLE a ({columns}, code text UNIQUE)"), "lacks column \"tenant_id\""),
        (format!("CREATE TABLE a ({columns}); CREATE EXTENSION pg_trgm"), "write IF NOT EXISTS"),
        (
            format!("CREATE TABLE a ({columns}, EXCLUDE USING btree (tenant_id WITH =))"),
            "exclusion constraints are not supported on partitioned tables",
        ),
        (format!("CREATE TABLE a ({columns}); CREATE TABLE b (x int)"), "table `b` is not in the manifest"),
        (format!("CREATE TABLE a ({columns}); SELECT 1/0"), "division by zero"),
        (format!("CREATE TABLE a ({columns}); CREATE INDEX CONCURRENTLY ON a (id)"), "CONCURRENTLY cannot"),
    ] {
        let folder = scratch("wrong");
        std::fs::create_dir(folder.join("migrations")).expect("a folder");
        std::fs::write(folder.join("rowhouse-tables.toml"), "[table.a]\nkind = \"tenant\"\npartitions = 4\n")
            .expect("a file");
        std::fs::write(folder.join("migrations/001_a.sql"), &sql).expect("a file");
        let output = rowhouse(platform, &["tables", "put", "echo", folder.to_str().expect("text")]).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(words), "{sql}: {told}");
        assert!(told.contains("tenancy.tables_invalid"), "{sql}: {told}");
    }
}
