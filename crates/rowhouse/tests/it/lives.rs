//! The lives of tenants with the power pulled: `kill -9` of the whole of Rowhouse at random moments while tenants are made,
//! change their tier, move, and leave. After each restart every operation comes to its end, every tenant is in one definite
//! state, and nothing is left that nobody has on record.
//!
//! `LIVES_ROUNDS=100 cargo test -p rowhouse --test it lives::random -- --nocapture` is the long form.

use std::collections::BTreeMap;
use std::time::Duration;

use rowhouse_store::server::SUPERUSER;
use serde_json::{Value, json};
use tokio::time::{Instant, interval, timeout};
use tokio_postgres::NoTls;

use crate::platform::{Call, Platform, text};

/// Kills of the short form.
const ROUNDS: u32 = 4;
/// What an operation may take after a restart; the machine may be busy.
const END_MAX: Duration = Duration::from_secs(120);

/// A small generator of its own, so that a run can be repeated: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

const LEVELS: [(&str, &str); 3] = [("basic", "shared"), ("basic", "schema"), ("enterprise", "database")];

/// One column of a query on the private server, as texts.
async fn column(platform: &Platform, database: &str, sql: &str) -> Vec<String> {
    let mut config = tokio_postgres::Config::new();
    let file = platform.data_dir().join("postgres/cluster/postmaster.pid");
    let pid = std::fs::read_to_string(file).expect("it runs");
    let socket = pid.lines().nth(4).expect("its socket's directory").to_owned();
    let port = pid.lines().nth(3).and_then(|port| port.trim().parse().ok()).expect("its port");
    config.host_path(socket.trim()).port(port).user(SUPERUSER).dbname(database);
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    let driver = tokio::spawn(connection);
    let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let texts = rows.iter().map(|row| row.get::<_, String>(0)).collect();
    drop(client);
    driver.await.expect("joins").expect("closes");
    texts
}

/// A call that may break off with the process.
async fn attempt(platform: &Platform, call: Call) -> Option<(u16, Value)> {
    let call = call.header("authorization", &format!("Bearer {}", platform.operator()));
    let seen = platform.try_control(call).await?;
    Some((seen.status, seen.body))
}

/// Begins one random change of a tenant that fits, and answers whether there was one.
async fn begin_something(platform: &Platform, random: &mut Random, number: u32) -> Option<()> {
    let (_, tenants) = attempt(platform, Call::get("/v1/tenants?status=active&limit=200")).await?;
    let tenants = tenants["items"].as_array().cloned().unwrap_or_default();
    let tenants: Vec<&Value> = tenants.iter().filter(|tenant| tenant["code"] != "operator").collect();
    let pick = |random: &mut Random| text(&tenants[random.below(tenants.len() as u64) as usize]["code"]);
    match random.below(10) {
        0..=4 => {}
        5..=7 if !tenants.is_empty() => {
            let code = pick(random);
            let tier = ["basic", "professional", "enterprise"][random.below(3) as usize];
            let body = json!({"tier": tier, "effective": "now", "allow_over_quota": true});
            attempt(platform, Call::post(&format!("/v1/tenants/{code}/change_tier"), body)).await?;
            return Some(());
        }
        8.. if !tenants.is_empty() => {
            let code = pick(random);
            let body = json!({"retention_days": 0, "reason": "at random"});
            attempt(platform, Call::post(&format!("/v1/tenants/{code}/decommission"), body)).await?;
            return Some(());
        }
        _ => {}
    }
    let (tier, isolation) = LEVELS[random.below(3) as usize];
    let code = format!("life{number}");
    let body = json!({"code": code, "company_name": code, "tier": tier, "isolation": isolation});
    attempt(platform, Call::post("/v1/tenants", body)).await.map(drop)
}

/// Waits until no operation is under way; none may be stuck.
async fn all_end(platform: &Platform) {
    let begun = Instant::now();
    let mut beat = interval(Duration::from_millis(50));
    loop {
        beat.tick().await;
        let open =
            platform.operate(Call::get("/v1/operations?state=running,stuck,scheduled&limit=200")).await;
        let open = open["items"].as_array().cloned().unwrap_or_default();
        let stuck: Vec<&Value> = open.iter().filter(|operation| operation["state"] == "stuck").collect();
        assert!(stuck.is_empty(), "stuck: {stuck:#?}");
        if open.is_empty() {
            return;
        }
        assert!(begun.elapsed() < END_MAX, "still under way: {open:#?}");
    }
}

/// Every tenant is in one definite state, and what is there is what is on record: asked of the platform, and looked up past it.
async fn assert_whole(platform: &Platform, round: u32) {
    let checked = platform.operate(Call::post("/v1/inventory/check", json!({}))).await;
    assert_eq!(checked["findings"], json!([]), "round {round}");
    let tenants = "SELECT t.status || ' ' || t.isolation || ' ' || count(p.tenant_id) || ' ' || \
           coalesce(max(p.state), 'nowhere') || ' ' || coalesce(max(p.database), '-') || ' ' || coalesce(max(p.login), '-') \
         FROM tenancy.tenants t LEFT JOIN tenancy.places p USING (tenant_id) \
         WHERE t.code <> 'operator' GROUP BY t.tenant_id ORDER BY 1";
    let (mut databases, mut logins, mut schemas) = (Vec::new(), Vec::new(), Vec::new());
    for row in column(platform, "rowhouse", tenants).await {
        let words: Vec<&str> = row.split(' ').collect();
        match words[..4] {
            ["active", "shared", "1", "settled"] => {}
            ["active", "schema", "1", "settled"] => {
                logins.push(words[5].to_owned());
                schemas.push(words[5].to_owned());
            }
            ["active", "database", "1", "settled"] => {
                databases.push(words[4].to_owned());
                logins.push(words[5].to_owned());
            }
            ["terminated" | "failed", _, "0", "nowhere"] => {}
            _ => panic!("round {round}: a tenant in no definite state: {row}"),
        }
    }
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let real = column(
        platform,
        "postgres",
        "SELECT datname::text FROM pg_database WHERE datname ~ '^t_' ORDER BY 1",
    )
    .await;
    assert_eq!(real, sorted(databases), "round {round}: databases");
    let roles = "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^t_' AND rolcanlogin ORDER BY 1";
    assert_eq!(column(platform, "postgres", roles).await, sorted(logins.clone()), "round {round}: logins");
    let groups = "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^t_' AND NOT rolcanlogin ORDER BY 1";
    let wanted =
        logins.iter().flat_map(|login| ["d", "r", "w"].map(|letter| format!("{login}_{letter}"))).collect();
    assert_eq!(column(platform, "postgres", groups).await, sorted(wanted), "round {round}: groups");
    let places = column(platform, "rh_schemas_1", "SELECT login FROM rh.place ORDER BY 1").await;
    assert_eq!(places, sorted(schemas), "round {round}: places of schemas");
    let shared = column(platform, "rh_shared", "SELECT tenant::text FROM rh.place ORDER BY 1").await;
    let active = "SELECT tenant_id::text FROM tenancy.tenants WHERE isolation = 'shared' AND status = 'active' \
         AND code <> 'operator' ORDER BY 1";
    assert_eq!(shared, sorted(column(platform, "rowhouse", active).await), "round {round}: shared places");
    let base = std::fs::read_dir(platform.data_dir().join("postgres/cluster/base")).expect("files").flatten();
    let files: Vec<String> = base.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let oids = column(platform, "postgres", "SELECT oid::text FROM pg_database").await;
    let orphans: Vec<&String> =
        files.iter().filter(|name| name.parse::<u32>().is_ok() && !oids.contains(name)).collect();
    assert!(orphans.is_empty(), "round {round}: files of no database: {orphans:?}");
    let doubled = "SELECT tenant_id::text FROM billing.subscriptions WHERE ended_at IS NULL GROUP BY 1 HAVING count(*) > 1";
    assert_eq!(column(platform, "rowhouse", doubled).await, Vec::<String>::new(), "round {round}");
    let lacking = "SELECT tenant_id::text FROM tenancy.tenants t WHERE status = 'terminated' \
         AND NOT EXISTS (SELECT FROM lifecycle.certificates c WHERE c.tenant_id = t.tenant_id)";
    assert_eq!(
        column(platform, "rowhouse", lacking).await,
        Vec::<String>::new(),
        "round {round}: certificates"
    );
}

/// How many operations of each kind came to which end.
async fn figures(platform: &Platform) -> BTreeMap<String, usize> {
    let ends = column(platform, "rowhouse", "SELECT kind || ' ' || state FROM lifecycle.sagas").await;
    let mut figures = BTreeMap::new();
    for end in ends {
        *figures.entry(end).or_insert(0) += 1;
    }
    figures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_kills_leave_every_tenant_whole_and_nothing_behind() {
    let rounds = std::env::var("LIVES_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let seed = std::env::var("LIVES_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x5eed_1e55);
    let mut random = Random(seed);
    let platform = Platform::start().await;
    let mut number = 0;
    let mut longest = Duration::ZERO;
    for round in 1..=rounds {
        let alive = Duration::from_millis(50 + random.below(1_500));
        let busy = async {
            loop {
                number += 1;
                if begin_something(&platform, &mut random, number).await.is_none() {
                    return;
                }
            }
        };
        // The moment of the kill is what is random here; nothing waits for it.
        let _ = timeout(alive, busy).await;
        platform.kill().await;
        let begun = Instant::now();
        platform.run().await;
        all_end(&platform).await;
        longest = longest.max(begun.elapsed());
        assert_whole(&platform, round).await;
    }
    println!(
        "{rounds} kills, seed {seed:#x}, longest recovery {} ms: {:#?}",
        longest.as_millis(),
        figures(&platform).await
    );
}
