//! A second application's schema, of the kind that has grown for years: a help desk of 24 tables with extensions, self-references,
//! composite types, domains, hash partitions and months partitioned by hand, deferred keys and triggers, triggers with
//! transition tables, views with triggers, an aggregate (which tenants may not call), sequences, XML, multiranges. It is registered as the guide says, used on
//! all four levels, and goes through what happens to a tenant in its life: moves, backup, restore, export.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rowhouse_tenantdb::{DatabaseError, TenantRequest};
use serde_json::json;
use tokio::time::{Instant, interval};

use crate::platform::{Call, PATIENCE, Platform, Tenant, text};
use crate::registration::{ask, open, request};
use crate::services::{operate, scratch};

/// Code, tier, level, and the level that it is moved to.
const TENANTS: [(&str, &str, &str, &str); 4] = [
    ("desk-shared", "professional", "shared", "schema"),
    ("desk-schema", "professional", "schema", "shared"),
    ("desk-database", "enterprise", "database", "schema"),
    ("desk-instance", "premium", "instance", "database"),
];

const CATALOG: &str = r#"
service = [{ name = "desk", upstreams = ["ECHO"] }]
resource_type = [{ name = "ticket", service = "desk", actions = ["create", "read", "update", "delete"], role_defaults = "standard" }]

[catalog]
name = "desk"

[[route]]
name = "desk.all"
service = "desk"
path = "/v1/desk/*"
resource_type = "ticket"
"#;

fn schema() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas/helpdesk")
}

/// What an ordinary day writes, through triggers, functions and views of the application's own.
const DAY: &[&str] = &[
    "INSERT INTO agents (email, name, role, skills, settings) VALUES ('Ada@desk.example', 'Ada', 'admin', '{mail,phone}', '{\"theme\": \"dark\"}')",
    "INSERT INTO agents (email, name, manager_id) SELECT 'bob@desk.example', 'Bob', id FROM agents WHERE name = 'Ada'",
    "INSERT INTO teams (name) VALUES ('Support')",
    "INSERT INTO teams (name, parent_id) SELECT 'Night shift', id FROM teams",
    "INSERT INTO team_members (team_id, agent_id) SELECT t.id, a.id FROM teams t, agents a",
    "INSERT INTO organisations (name, domains, revenue) VALUES ('Müller & Söhne', '{mueller.example}', 1234567.89)",
    "INSERT INTO contacts (organisation_id, email, name, handle) SELECT id, 'eva@mueller.example', 'Eva Müller', 'EvaM' FROM organisations",
    "INSERT INTO contacts (name, email) VALUES ('Tab\tund \\ Zeile\n', 'odd@mueller.example')",
    "INSERT INTO channels (kind, address, options) VALUES ('mail', '192.0.2.7', '{\"a\": [1, 2, {\"b\": null}]}')",
    "INSERT INTO tickets (subject, priority, contact_id, agent_id, channel_id, cost, custom, due) \
       SELECT 'Printers ' || n, n, c.id, a.id, ch.id, ROW(n * 1.25, 'EUR')::money_amount, jsonb_build_object('n', n), tstzrange(now(), now() + interval '1 day') \
         FROM generate_series(1, 5) n, contacts c, agents a, channels ch WHERE c.name LIKE 'Eva%' AND a.name = 'Bob'",
    "UPDATE tickets SET parent_id = (SELECT id FROM tickets WHERE number = 1), state = 'open' WHERE number > 1",
    "INSERT INTO messages (ticket_id, contact_id, body) SELECT id, contact_id, 'it smokes' FROM tickets WHERE number = 1",
    "INSERT INTO messages (ticket_id, agent_id, body) SELECT t.id, t.agent_id, 'unplug it' FROM tickets t WHERE number = 1",
    "INSERT INTO attachments (message_id, name, content) SELECT id, 'smoke.bin', '\\x00ff5c0a'::bytea FROM messages WHERE body = 'it smokes'",
    "INSERT INTO tags (name) VALUES ('fire'), ('paper')",
    "INSERT INTO ticket_tags (ticket_id, tag_id) SELECT t.id, g.id FROM tickets t, tags g WHERE t.number = 1",
    "INSERT INTO macros (name, actions) VALUES ('close', ARRAY['{\"set\": \"closed\"}'::jsonb])",
    "INSERT INTO sla_policies (name, first_reply) VALUES ('gold', '1 hour 30 minutes')",
    "INSERT INTO sla_clocks (ticket_id, policy_id) SELECT t.id, p.id FROM tickets t, sla_policies p WHERE t.urgent",
    "INSERT INTO articles (language, slug, title, body, path, published) VALUES ('de', 'drucker', 'Der Drucker brennt', 'Stecker ziehen', '{hilfe,drucker}', '[2026-01-01,)')",
    "INSERT INTO article_feedback (article_id, contact_id, score) SELECT a.id, c.id, 1 FROM articles a, contacts c WHERE c.handle = 'evam'",
    "INSERT INTO bookings (agent_id, during) SELECT id, tstzrange('2026-03-01 09:00+00', '2026-03-01 10:00+00') FROM agents",
];

const BILLS: &[&str] = &[
    "INSERT INTO invoices (code, contact_id, periods, document) SELECT 'R-' || n, c.id, '{[2026-01-01,2026-02-01),[2026-03-01,2026-04-01)}', \
       xmlparse(document '<r><n>' || n || '</n></r>') FROM (VALUES (2), (10), (9)) v(n), contacts c WHERE c.handle = 'EVAM'",
    "INSERT INTO invoice_lines (invoice_id, position, words, amount) SELECT i.id, n, 'Repairing printers', 12.5 * n FROM invoices i, generate_series(1, 3) n",
    "UPDATE invoices SET state = 'sent' WHERE code <> 'R-9'",
    "INSERT INTO visits (at, contact_id, page, place, facts) SELECT at, c.id, '/help', point(1, 2), '{\"browser\": \"x\"}' \
       FROM contacts c, (VALUES (timestamptz '2026-01-05 00:00+00'), ('2026-02-05 00:00+00'), ('2030-01-01 00:00+00')) v(at) WHERE c.handle = 'EvaM'",
];

/// Questions whose answers are the same for every tenant on every level, before and after whatever happens to it.
const QUESTIONS: &[(&str, &[&str])] = &[
    ("SELECT subject FROM search_tickets('printer') WHERE number = 1", &["Printers 1"]),
    (
        "SELECT number || ' ' || state || ' ' || urgent || ' ' || (cost).amount FROM tickets ORDER BY number LIMIT 2",
        &["1 new true 1.25", "2 open true 2.50"],
    ),
    (
        "SELECT kind || ' ' || count(*) FROM ticket_events GROUP BY kind ORDER BY kind",
        &["created 5", "state 4"],
    ),
    (
        "WITH RECURSIVE below AS (SELECT id, 0 AS depth FROM tickets WHERE parent_id IS NULL UNION ALL SELECT t.id, depth + 1 FROM tickets t JOIN below ON t.parent_id = below.id) SELECT depth || ' ' || count(*) FROM below GROUP BY depth ORDER BY depth",
        &["0 1", "1 4"],
    ),
    (
        "SELECT contact || ' ' || agent || ' ' || messages FROM open_tickets WHERE number = 1",
        &["Eva Müller Bob 2"],
    ),
    (
        "SELECT name || ' ' || open || ' ' || coalesce(median::text, '-') FROM agent_load ORDER BY name",
        &["Ada 0 -", "Bob 4 3.5"],
    ),
    (
        "SELECT name || encode(convert_to(name, 'UTF8'), 'hex') FROM contacts WHERE email = 'odd@mueller.example'",
        &["Tab\tund \\ Zeile\n54616209756e64205c205a65696c650a"],
    ),
    ("SELECT encode(content, 'hex') || ' ' || size FROM attachments", &["00ff5c0a 4"]),
    (
        "SELECT title FROM articles WHERE doc @@ to_tsquery('german', 'stecker') AND published @> date '2026-06-01'",
        &["Der Drucker brennt"],
    ),
    ("SELECT name FROM contacts WHERE name % 'Eva Muller' AND handle = 'EVAM'", &["Eva Müller"]),
    (
        "SELECT string_agg(g.name, ',' ORDER BY g.name) FROM ticket_tags JOIN tags g ON g.id = tag_id",
        &["fire,paper"],
    ),
    (
        "SELECT first_reply::text || ' ' || (SELECT count(*) FROM sla_clocks) FROM sla_policies",
        &["01:30:00 2"],
    ),
    ("SELECT a.name || ' ' || m.name FROM agents a JOIN agents m ON m.id = a.manager_id", &["Bob Ada"]),
    ("SELECT (options #> '{a,2}')::text || host(address) FROM channels", &["{\"b\": null}192.0.2.7"]),
    ("SELECT (actions[1] ->> 'set') FROM macros WHERE active", &["closed"]),
    ("SELECT count(*)::text FROM team_members", &["4"]),
];

const OF_BILLS: &[(&str, &[&str])] = &[
    (
        "SELECT code || ' ' || state || ' ' || total FROM invoices ORDER BY code",
        &["R-2 sent 75.00", "R-9 draft 75.00", "R-10 sent 75.00"],
    ),
    ("SELECT code || ' ' || rank FROM receivables ORDER BY code", &["R-2 1", "R-10 1"]),
    ("SELECT code FROM invoices WHERE periods @> date '2026-03-15' AND code = 'R-10'", &["R-10"]),
    ("SELECT document::text FROM invoices WHERE code = 'R-9'", &["<r><n>9</n></r>"]),
    (
        "SELECT count(*)::text FROM visits WHERE at >= '2026-02-01' AND facts @> '{\"browser\": \"x\"}' AND place <-> point(1, 2) < 1",
        &["2"],
    ),
    (
        "SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM') FROM visits ORDER BY at",
        &["2026-01", "2026-02", "2030-01"],
    ),
];

/// What the application's own rules refuse, on every level alike: statement, SQLSTATE, constraint.
const REFUSED: &[(&str, &str, Option<&str>)] = &[
    ("INSERT INTO agents (email, name) VALUES ('ADA@DESK.example', 'x')", "23505", Some("agents_email")),
    ("INSERT INTO contacts (name) VALUES ('nobody')", "23514", Some("contacts_check")),
    (
        "INSERT INTO contacts (name, email, handle) VALUES ('x', 'x@x.example', 'EVAM')",
        "23505",
        Some("contacts_tenant_id_handle_key"),
    ),
    (
        "INSERT INTO bookings (agent_id, during) SELECT agent_id, during FROM bookings",
        "23P01",
        Some("no_double"),
    ),
    ("UPDATE tickets SET agent_id = gen_random_uuid()", "23503", Some("tickets_tenant_id_agent_id_fkey")),
    (
        "UPDATE sla_clocks SET ticket_id = gen_random_uuid()",
        "23503",
        Some("sla_clocks_tenant_id_ticket_id_fkey"),
    ),
    ("UPDATE invoice_lines SET amount = -1", "23514", Some("positive_money_check")),
    (
        "INSERT INTO invoices (code, contact_id, state) SELECT 'R-11', id, 'sent' FROM contacts LIMIT 1",
        "23514",
        Some("invoices_have_lines"),
    ),
    (
        "UPDATE messages SET agent_id = contact_id WHERE contact_id IS NOT NULL",
        "23514",
        Some("messages_check"),
    ),
];

async fn write(request: &TenantRequest, code: &str, statements: &'static [&'static str]) {
    for sql in statements {
        let done = request.write(async |tx| tx.execute(sql, &[]).await).await;
        assert!(done.unwrap_or_else(|error| panic!("{code}: {sql}: {error:?}")) > 0, "{code}: {sql}");
    }
}

async fn answers(
    request: &TenantRequest,
    code: &str,
    questions: &'static [(&'static str, &'static [&'static str])],
) {
    for (sql, expected) in questions {
        let found = ask(request, sql).await.unwrap_or_else(|error| panic!("{code}: {sql}: {error:?}"));
        assert_eq!(&found, expected, "{code}: {sql}");
    }
}

async fn refusals(request: &TenantRequest, code: &str) {
    for (sql, sqlstate, name) in REFUSED {
        match request.write(async |tx| tx.execute(sql, &[]).await).await {
            Err(DatabaseError::Constraint { sqlstate: found, constraint }) => {
                assert_eq!((found.as_str(), constraint.as_deref()), (*sqlstate, *name), "{code}: {sql}");
            }
            other => panic!("{code}: {sql}: {other:?}"),
        }
    }
    // What the guide tells to do otherwise.
    let into_a_view = "INSERT INTO mailbox (name, email) VALUES ('x', 'view@desk.example')";
    let denied = request.write(async |tx| tx.execute(into_a_view, &[]).await).await;
    assert!(matches!(denied, Err(DatabaseError::Denied(_))), "{code}: {denied:?}");
}

/// The counters of identity columns and the application's own go on where they were, and payments work.
async fn next_day(request: &TenantRequest, code: &str) {
    let paid = "SELECT pay(id)::text FROM invoices WHERE code = 'R-2'";
    assert_eq!(ask(request, paid).await.unwrap_or_else(|error| panic!("{code}: {error:?}")), ["paid"]);
    let ticket = "INSERT INTO tickets (subject, contact_id) SELECT 'the day after', id FROM contacts WHERE handle = 'evam' RETURNING number::text";
    let number = ask(request, ticket).await.unwrap_or_else(|error| panic!("{code}: {error:?}"));
    assert_eq!(number, ["6"], "{code}");
    let events = "SELECT count(*)::text || ' ' || (count(DISTINCT id) = count(*)) FROM ticket_events";
    assert_eq!(ask(request, events).await.expect("asked"), ["10 true"], "{code}");
}

async fn follow(platform: &Platform, call: Call) -> serde_json::Value {
    let operation = platform.operate(call).await;
    platform.ends(&operation["id"], "done").await
}

async fn back_up(platform: &Platform, code: &str) {
    let begun =
        platform.operate(Call::post(&format!("/v1/backups?tenant={code}"), json!({"note": "before"}))).await;
    let path = format!("/v1/backups/{}", text(&begun["id"]));
    let deadline = Instant::now() + PATIENCE;
    let mut beat = interval(Duration::from_millis(100));
    loop {
        beat.tick().await;
        let backup = platform.operate(Call::get(&path)).await;
        match backup["state"].as_str() {
            Some("ok") => return,
            Some("running") => assert!(Instant::now() < deadline, "{backup}"),
            _ => panic!("{backup}"),
        }
    }
}

/// The rows of a backup, read beside the living ones as the guide says.
async fn restored(platform: &Platform, code: &str) -> Vec<String> {
    follow(platform, Call::post(&format!("/v1/restores?tenant={code}"), json!({}))).await;
    let copies = platform.operate(Call::get(&format!("/v1/restores?tenant={code}"))).await;
    let copy = &copies["items"][0];
    let reveal = Call::post(&format!("/v1/restores/{}/reveal", text(&copy["id"])), json!({}));
    let password = text(&platform.operate(reveal).await["password"]);
    let mut config = tokio_postgres::Config::new();
    let port = copy["access"]["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    config
        .host_path(text(&copy["access"]["host"]))
        .port(port)
        .dbname(text(&copy["access"]["database"]))
        .user(text(&copy["access"]["login"]))
        .password(password);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("the copy is open");
    let driver = tokio::spawn(connection);
    let sql = "SELECT 'tickets ' || count(*) || ' ' || max(number) FROM desk.tickets UNION ALL SELECT 'visits ' || count(*) FROM desk.visits
        UNION ALL SELECT 'invoices ' || sum(total) FROM desk.invoices ORDER BY 1 DESC";
    let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{code}: {error:?}"));
    let found = rows.iter().map(|row| row.get(0)).collect();
    drop(client);
    driver.await.expect("joins").expect("closes");
    found
}

async fn exported(platform: &Platform, tenant: &Tenant) {
    let code = &tenant.code;
    follow(platform, Call::post(&format!("/v1/tenants/{code}/export"), json!({"format": "jsonl"}))).await;
    let exports = platform.operate(Call::get(&format!("/v1/exports?tenant={code}"))).await;
    let export = &exports["items"][0];
    let tables = ["agents", "invoices", "invoice_lines", "tickets", "ticket_events", "attachments"];
    for table in tables {
        let name = format!("desk/{table}.jsonl");
        let listed = export["files"].as_array().expect("a list").iter();
        let bytes = listed.filter(|file| file["name"] == name.as_str()).map(|file| file["bytes"].as_u64());
        assert!(bytes.flatten().sum::<u64>() > 0, "{code}: {name} in {export}");
    }
    let tar = platform.operate(Call::get(&text(&export["download"]))).await;
    let tar = tar.as_str().expect("a tar of JSON lines");
    for words in [
        "Der Drucker brennt",
        "\\\\x00ff5c0a",
        "\"currency\":\"EUR\"",
        "Tab\\tund \\\\ Zeile\\n",
        "<r><n>10</n></r>",
    ] {
        assert!(tar.contains(words), "{code}: {words} is not in its export");
    }
}

#[tokio::test]
async fn a_help_desk_is_registered_used_moved_restored_and_taken_along_on_all_levels() {
    let platform = Platform::start().await;
    let catalog = scratch("catalog");
    let file = catalog.join("desk.toml");
    std::fs::write(&file, CATALOG.replace("ECHO", &format!("127.0.0.1:{}", platform.echo))).expect("a file");
    operate(&platform, &["apply", "-f", file.to_str().expect("text")]).await;
    operate(&platform, &["tables", "put", "desk", schema().to_str().expect("text")]).await;
    let mut tenants = Vec::new();
    for (code, tier, isolation, _) in TENANTS {
        tenants.push(platform.tenant(code, tier, isolation).await);
    }
    let databases = open(&platform, "desk").await;
    for tenant in &tenants {
        let request = request(&platform, &databases, ("desk", tenant)).await;
        assert_eq!(ask(&request, "SELECT subject FROM tickets").await.expect("asked"), Vec::<String>::new());
        write(&request, &tenant.code, DAY).await;
        write(&request, &tenant.code, BILLS).await;
        answers(&request, &tenant.code, QUESTIONS).await;
        answers(&request, &tenant.code, OF_BILLS).await;
        refusals(&request, &tenant.code).await;
    }
    for (tenant, (_, _, from, to)) in tenants.iter().zip(TENANTS) {
        let code = &tenant.code;
        back_up(&platform, code).await;
        follow(&platform, Call::post(&format!("/v1/tenants/{code}/move"), json!({"isolation": to}))).await;
        let request = request(&platform, &databases, ("desk", tenant)).await;
        let told = format!("{code}, from {from} to {to}");
        answers(&request, &told, QUESTIONS).await;
        answers(&request, &told, OF_BILLS).await;
        refusals(&request, &told).await;
        next_day(&request, &told).await;
        let lost = request.write(async |tx| tx.execute("DELETE FROM visits", &[]).await).await;
        assert_eq!(lost.expect("deleted"), 3, "{told}");
        let then = restored(&platform, code).await;
        assert_eq!(then, ["visits 3", "tickets 5 5", "invoices 225.00"], "{told}: as it was before the move");
        exported(&platform, tenant).await;
    }
}
