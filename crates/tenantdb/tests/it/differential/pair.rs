//! One tenant twice: on the shared level, and alone in a database. Each statement goes to both.

use std::collections::{BTreeMap, VecDeque};

use rowhouse_domain::tenancy::Isolation;
use rowhouse_tenantdb::cell::{self, SHARED_DATABASE};
use rowhouse_tenantdb::tables::{self, Migration, ServiceTables};
use rowhouse_tenantdb::{Place, TokenClaims, place};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::grammar::SCHEMA;
use crate::cluster::Cluster;
use crate::house::{House, SERVICE, key, tenant};

const MANIFEST: &str = "[table.items]\nkind = \"tenant\"\npartitions = 4\n[table.lines]\nkind = \"tenant\"\n\
    [table.countries]\nkind = \"reference\"\n";
/// Beyond the numbers of the shared ones.
const ALONE: u128 = 1_000;
/// Statements that a difference is shown with.
const SHOWN: usize = 12;

/// All tenants, on one server.
pub struct Pairs {
    house: House,
}

/// How a statement ended, on both sides alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Well,
    Badly,
}

/// What came back so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub rows: u64,
    pub changed: u64,
    pub committed: u64,
    pub errors: BTreeMap<String, u64>,
}

impl Seen {
    pub fn add(&mut self, other: &Seen) {
        self.rows += other.rows;
        self.changed += other.changed;
        self.committed += other.committed;
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
    }
}

impl Pairs {
    pub async fn start(tenants: u128) -> Self {
        let cluster = Cluster::start(u32::try_from(tenants * 4 + 20).expect("few"));
        let cell = cluster.cell("eu-1");
        cell::prepare(&cell).await.expect("a cell");
        cell::prepare_database(&cell, SHARED_DATABASE, &key(1)).await.expect("shared");
        let mut house = House { cluster, cell, places: Vec::new() };
        let first = Migration { number: 1, name: "items".to_owned(), sql: SCHEMA.to_owned() };
        let service = ServiceTables::parse(SERVICE, MANIFEST, vec![first]).expect("a valid manifest");
        for number in 1..=tenants {
            for (number, isolation) in [(number, Isolation::Shared), (ALONE + number, Isolation::Database)] {
                let place = Place::new(tenant(number), isolation, (number as u64).to_be_bytes());
                place::create(&house.cell, &place, &key(1)).await.expect("a place");
                let schema = place.schema(SERVICE, true);
                tables::install(&house.cell, &place.target(&schema), &service).await.expect("tables");
                house.places.push((place, schema, key(1)));
            }
        }
        Pairs { house }
    }

    pub async fn pair(&self, number: u128) -> Pair {
        Pair {
            shared: Side::open(&self.house, number).await,
            alone: Side::open(&self.house, ALONE + number).await,
            begun: false,
            last: VecDeque::new(),
            seen: Seen::default(),
        }
    }

    pub async fn switch_policies_off(&self) {
        let admin = self.house.admin(SHARED_DATABASE).await;
        let off = "ALTER TABLE stamping.items DISABLE ROW LEVEL SECURITY; ALTER TABLE stamping.lines DISABLE ROW LEVEL SECURITY";
        admin.batch_execute(off).await.expect("switched off");
    }
}

/// A tenant at one of its two places.
struct Side {
    client: Client,
    token: String,
    id: String,
}

/// What came back of one statement: rows as text, or the error.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    rows: Vec<String>,
    count: u64,
    error: Option<(String, String)>,
}

impl Side {
    async fn open(house: &House, number: u128) -> Side {
        let (place, schema, key) = house.place(number).clone();
        let client = house.connect(&place.login, &place.database).await;
        client
            .batch_execute(&format!("SET search_path TO {schema}; SET lock_timeout = '5s'"))
            .await
            .expect("set");
        let backend_pid = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0);
        let claims = TokenClaims {
            tenant: place.tenant.0,
            epoch: 1,
            rights: "rwd",
            backend_pid,
            not_after_s: 4_000_000_000,
        };
        Side { client, token: key.mint(&claims), id: place.tenant.0.to_string() }
    }

    async fn begin(&self) {
        let begin = format!("BEGIN; SELECT rh.enter('{}', true)", self.token);
        self.client.batch_execute(&begin).await.expect("a transaction begins");
    }

    async fn run(&self, sql: &str) -> Answer {
        let mut answer = Answer { rows: Vec::new(), count: 0, error: None };
        match self.client.simple_query(sql).await {
            Ok(messages) => {
                for message in messages {
                    match message {
                        SimpleQueryMessage::Row(row) => {
                            let columns = (0..row.len()).map(|at| row.get(at).unwrap_or("∅"));
                            answer.rows.push(self.plain(&columns.collect::<Vec<_>>().join("|")));
                        }
                        SimpleQueryMessage::CommandComplete(count) => answer.count += count,
                        _ => {}
                    }
                }
            }
            Err(problem) => {
                let server = problem.as_db_error().expect("the server keeps the connection");
                answer.error = Some((server.code().code().to_owned(), self.plain(server.message())));
            }
        }
        answer
    }

    /// Without what differs for good reasons: the tenant's id and the numbers of partitions.
    fn plain(&self, text: &str) -> String {
        let mut text = text.replace(&self.id, "TENANT");
        for number in 0..4 {
            text = text.replace(&format!("_p{number}\""), "\"");
        }
        text
    }
}

/// One tenant's two places.
pub struct Pair {
    shared: Side,
    alone: Side,
    begun: bool,
    last: VecDeque<String>,
    pub seen: Seen,
}

impl Pair {
    /// Runs a statement at both places; the difference, if there is one.
    pub async fn both(&mut self, sql: &str) -> Result<Ended, String> {
        if !self.begun {
            tokio::join!(self.shared.begin(), self.alone.begin());
            self.begun = true;
            self.last.push_back("BEGIN".to_owned());
        }
        self.last.push_back(sql.to_owned());
        while self.last.len() > SHOWN {
            self.last.pop_front();
        }
        let (mut shared, mut alone) = tokio::join!(self.shared.run(sql), self.alone.run(sql));
        if !sql.contains("/* in order */") {
            shared.rows.sort();
            alone.rows.sort();
        }
        if shared != alone {
            let before = self.last.iter().cloned().collect::<Vec<_>>().join(";\n  ");
            return Err(format!("after\n  {before}\nshared: {shared:#?}\nalone: {alone:#?}"));
        }
        self.count(sql, &shared);
        Ok(if shared.error.is_some() { Ended::Badly } else { Ended::Well })
    }

    fn count(&mut self, sql: &str, answer: &Answer) {
        self.seen.rows += answer.rows.len() as u64;
        if let Some((code, _)) = &answer.error {
            *self.seen.errors.entry(code.clone()).or_default() += 1;
        } else if matches!(sql, "COMMIT" | "ROLLBACK") {
            self.begun = false;
            self.seen.committed += u64::from(sql == "COMMIT");
        } else if !sql.starts_with("SELECT") {
            self.seen.changed += answer.count;
        }
    }

    /// Compares all that the tenant has.
    pub async fn whole(&mut self) -> Result<(), String> {
        if self.begun {
            self.both("ROLLBACK").await?;
        }
        for table in ["items", "lines"] {
            self.both(&format!("SELECT * FROM {table}")).await?;
        }
        self.both("ROLLBACK").await.map(drop)
    }
}
