//! A victim with something of every kind, an attacker with all rights in its own tenant, and how it is seen that an attack failed.

use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::platform::{Call, Platform, Seen, Tenant, text};

/// Two tenants of one platform.
pub struct Siege {
    pub platform: &'static Platform,
    pub attacker: Tenant,
    pub victim: Tenant,
    /// Stands in every text that the victim could write.
    pub canary: String,
    /// Of the victim's things: what kind, and the identifier.
    pub ids: Vec<(String, String)>,
}

/// Schemas that are written while nobody acts on a tenant: counters, the log's own bookkeeping, what is due.
const RESTLESS: &[&str] = &["audit", "metering", "resources", "jobs", "sagas", "store", "api"];

impl Siege {
    /// `name` is unique among the stories; both tenants lie on the level `isolation` of `tier`.
    pub async fn lay(platform: &'static Platform, name: &str, tier: &str, isolation: &str) -> Siege {
        let attacker = platform.tenant(&format!("{name}-attacker"), tier, isolation).await;
        let victim = platform.tenant(&format!("{name}-victim"), tier, isolation).await;
        let canary = format!("CANARY-{}-5e1f", name.to_uppercase());
        let mut siege = Siege { platform, attacker, victim, canary, ids: Vec::new() };
        siege.furnish().await;
        siege.collect().await;
        siege
    }

    /// One of everything, with the canary in each text.
    async fn furnish(&self) {
        let Siege { platform, victim, canary, .. } = self;
        let code = &victim.code;
        let operate = |call: Call| platform.operate(call);
        let edit = json!({"company_name": canary, "metadata": {"note": canary}});
        let tenant = platform.control(&platform.operator, Call::get(&format!("/v1/tenants/{code}"))).await;
        let etag = tenant.headers.get("etag").and_then(|value| value.to_str().ok()).unwrap_or("*").to_owned();
        let edit = Call::post(&format!("/v1/tenants/{code}"), edit).method(http::Method::PATCH);
        operate(edit.header("if-match", &etag)).await;
        let account = json!({"name": canary, "description": canary});
        let account = operate(Call::post(&format!("/v1/service_accounts?tenant={code}"), account)).await;
        let grant = json!({"principal": {"kind": "service_account", "id": account["id"]}, "role": "readonly", "reason": canary});
        operate(Call::post(&format!("/v1/grants?tenant={code}"), grant)).await;
        let key = json!({"name": canary, "description": canary, "tags": [canary], "metadata": {"note": canary},
            "owner": {"kind": "service_account", "id": account["id"]}, "roles": ["readonly"]});
        operate(Call::post(&format!("/v1/keys?tenant={code}"), key)).await;
        let host = json!({"name": format!("{}.example", canary.to_lowercase())});
        operate(Call::post(&format!("/v1/hosts?tenant={code}"), host)).await;
        let item = json!({"value": {"text": canary}, "description": canary});
        let item = Call::post(&format!("/v1/configuration/branding/canary?tenant={code}"), item);
        operate(item.method(http::Method::PUT)).await;
    }

    /// Every identifier that the operator is shown of the victim, one of each kind.
    async fn collect(&mut self) {
        let code = self.victim.code.clone();
        let mut found =
            vec![("code".to_owned(), code.clone()), ("tenant".to_owned(), self.victim.id.clone())];
        let lists =
            ["service_accounts", "grants", "keys", "hosts", "operations", "subscriptions", "audit/events"];
        for list in lists {
            let all = self.platform.operate(Call::get(&format!("/v1/{list}?tenant={code}"))).await;
            let newest = all["items"].as_array().and_then(|items| items.last().cloned());
            let newest = newest.unwrap_or_else(|| panic!("the victim has {list}: {all}"));
            if let Some(id) = newest["id"].as_str() {
                found.push((list.replace("audit/", ""), id.to_owned()));
            }
        }
        self.ids = found;
    }

    /// Panics if a byte of the answer is the victim's.
    pub fn assert_unseen(&self, what: &str, seen: &Seen) {
        let headers = format!("{:?}", seen.headers);
        let all = format!("{headers}\n{}", seen.body).to_lowercase();
        assert!(!all.contains(&self.canary.to_lowercase()), "{what}: the canary was seen: {all}");
    }

    /// Over all rows that the control database keeps of the victim.
    pub async fn checksum(&self) -> String {
        let client = self.superuser("rowhouse").await;
        let tables = "SELECT format('%I.%I', c.table_schema, c.table_name), c.table_schema FROM information_schema.columns c \
             JOIN information_schema.tables t USING (table_schema, table_name) \
             WHERE c.column_name = 'tenant_id' AND t.table_type = 'BASE TABLE' ORDER BY 1";
        let tables = client.query(tables, &[]).await.expect("tables");
        let mut sums = Vec::new();
        for row in tables {
            let (table, schema): (String, String) = (row.get(0), row.get(1));
            if RESTLESS.contains(&schema.as_str()) {
                continue;
            }
            let sql = format!(
                "SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t \
                 WHERE tenant_id::text = (SELECT tenant_id::text FROM tenancy.tenants WHERE code = '{}')",
                self.victim.code
            );
            sums.push(format!("{table} {}", one(&client, &sql).await));
        }
        assert!(sums.len() > 10, "{sums:?}");
        sums.join("\n")
    }

    /// A connection to the platform's server past everything.
    pub async fn superuser(&self, database: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        let socket = self.platform.data_dir().join("postgres/socket");
        config.host_path(socket).user("rowhouse_super").dbname(database);
        let (client, connection) = config.connect(NoTls).await.expect("the private server");
        tokio::spawn(connection);
        client
    }

    /// The victim is served as before.
    pub async fn assert_served(&self) {
        let seen = self.platform.gateway(Call::get("/v1/notes/1").tenant(&self.victim)).await;
        assert_eq!(seen.status, 200, "{}", seen.body);
        assert_eq!(text(&seen.body["headers"]["rowhouse-tenant"]), self.victim.id);
        let own = self
            .platform
            .control(&self.victim.key, Call::get(&format!("/v1/tenants/{}", self.victim.code)))
            .await;
        assert_eq!((own.status, &own.body["company_name"]), (200, &Value::from(self.canary.clone())));
    }
}

async fn one(client: &Client, sql: &str) -> String {
    let rows = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let value = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    value.unwrap_or_default()
}
