//! Attacks on a running cell's shared database, every day: two tenants who are nobody's lie there for a moment, one with a row in every
//! service's probe table, and the other, with all that code in an application's place could say, tries to get at it.
//!
//! A probe has held when its answer is the refusal that is expected (or, where something harmless may come back, no byte of the victim's)
//! and the victim's rows are what they were. Statements go to the server as the shared login, past the statement firewall: what is
//! proven is the database itself. Of the two tenants nothing stays; what a killed process has left goes with the next day's probes.

mod list;

use tokio_postgres::{Client, Error, SimpleQueryMessage};
use uuid::Uuid;

use crate::DatabaseKey;
use crate::cell::{
    Cell, CellError, LOCK_CLASS, Movers, SHARED_DATABASE, SHARED_LOGIN, is_prepared, while_doing,
};
use crate::connect::Connected;
use crate::tables::PROBE_TABLE;
use crate::token::TokenClaims;
pub use list::{Kind, Probe, all};

/// The two tenants of the probes. No other tenant has such an id: those begin with a time.
pub const PROBE_TENANTS: [Uuid; 2] = [
    Uuid::from_u128(0x0000_0000_0000_7000_8000_7072_6f62_6501),
    Uuid::from_u128(0x0000_0000_0000_7000_8000_7072_6f62_6502),
];
/// How long a context of theirs is good, in seconds: longer than all probes take.
const LIFETIME_S: i64 = 300;
/// No probe may take longer.
const SESSION: &str = "SET statement_timeout = '10s'; SET lock_timeout = '2s'";

/// What became of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which.
    pub probe: &'static Probe,
    /// The table it was tried on, with its schema.
    pub table: String,
    /// A SQLSTATE, or `ok`; `seen` if the victim's text was in the answer, `changed` if its row is not what it was.
    pub found: String,
    /// Whether it got nowhere.
    pub held: bool,
}

/// Tries all probes on `cell`'s shared database, each on another service's table in turn. `turn` says with which table to begin: the day.
/// `marker` stands in the victim's rows. Nothing if no tenants share a database there, or no service has tables in it.
///
/// # Errors
/// If the server is away or refuses what the two tenants need.
pub async fn probe(
    cell: &Cell,
    key: &DatabaseKey,
    marker: &str,
    turn: usize,
) -> Result<Vec<Outcome>, CellError> {
    if !is_prepared(cell, SHARED_DATABASE, key).await? {
        return Ok(Vec::new());
    }
    let admin = cell.connect(SHARED_DATABASE).await?;
    // One at a time: both would clear away after the other.
    let lock = format!("SELECT pg_advisory_lock({LOCK_CLASS}, 7)");
    admin.batch_execute(&lock).await.map_err(while_doing("waiting for other probes"))?;
    let tables = tables(&admin).await?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    clear(cell, &admin, &tables).await?;
    let tried = lay_and_try(cell, key, (marker, turn), (&admin, &tables)).await;
    let cleared = clear(cell, &admin, &tables).await;
    admin.close().await;
    let outcomes = tried?;
    cleared?;
    Ok(outcomes)
}

/// A service's, and its name with the schema, quoted.
struct ProbeTable {
    schema: String,
    name: String,
}

/// The probe table of each service.
async fn tables(admin: &Client) -> Result<Vec<ProbeTable>, CellError> {
    let sql = "SELECT r.schema, format('%I.%I', r.schema, r.name) FROM rh.relation r JOIN rh.installed i ON i.schema = r.schema
                WHERE i.login = $1 AND r.name = $2 AND r.kind = 'tenant' ORDER BY 2";
    let rows = admin.query(sql, &[&SHARED_LOGIN, &PROBE_TABLE]).await;
    let rows = rows.map_err(while_doing("listing probe tables"))?;
    Ok(rows.iter().map(|row| ProbeTable { schema: row.get(0), name: row.get(1) }).collect())
}

/// Removes the two tenants and their rows.
async fn clear(cell: &Cell, admin: &Client, tables: &[ProbeTable]) -> Result<(), CellError> {
    let doing = "removing the tenants of probes";
    admin
        .execute("DELETE FROM rh.place WHERE tenant = ANY ($1)", &[&PROBE_TENANTS.as_slice()])
        .await
        .map_err(while_doing(doing))?;
    let schemas: Vec<String> = tables.iter().map(|table| table.schema.clone()).collect();
    let movers = Movers::open(cell, admin, (SHARED_DATABASE, &schemas), "").await?;
    for ProbeTable { schema, name } in tables {
        let sql = format!("DELETE FROM {name} WHERE tenant_id = ANY ($1)");
        let cleared = movers.of(schema)?.execute(&sql, &[&PROBE_TENANTS.as_slice()]).await;
        cleared.map_err(while_doing(doing))?;
    }
    movers.close().await;
    Ok(())
}

async fn lay_and_try(
    cell: &Cell,
    key: &DatabaseKey,
    (marker, turn): (&str, usize),
    (admin, tables): (&Client, &[ProbeTable]),
) -> Result<Vec<Outcome>, CellError> {
    let places = "INSERT INTO rh.place (tenant, login, epoch, rights) SELECT tenant, $2, 1, 'rwd' FROM unnest($1::uuid[]) tenant";
    admin
        .execute(places, &[&PROBE_TENANTS.as_slice(), &SHARED_LOGIN])
        .await
        .map_err(while_doing("making places for the tenants of probes"))?;
    let [attacking, victim] = PROBE_TENANTS;
    let session = Session::open(cell, key).await?;
    for table in tables {
        session.write(victim, &table.name, marker).await?;
        session.write(attacking, &table.name, "own").await?;
    }
    let other = Session::open(cell, key).await?;
    let mut outcomes = Vec::new();
    for (number, probe) in all().iter().enumerate() {
        let table = &tables[(number + turn) % tables.len()].name;
        let words = Words { own: &session, victims: &other, table, marker };
        outcomes.push(words.attempt(probe).await?);
    }
    session.client.close().await;
    other.client.close().await;
    Ok(outcomes)
}

/// A connection of the shared login, with what it takes to enter as anybody.
struct Session {
    client: Connected,
    key: DatabaseKey,
    pid: i32,
    now_s: i64,
}

impl Session {
    async fn open(cell: &Cell, key: &DatabaseKey) -> Result<Session, CellError> {
        let client = cell.connect_as(SHARED_LOGIN, SHARED_DATABASE).await?;
        client.batch_execute(SESSION).await.map_err(while_doing("preparing to probe"))?;
        let asked = "SELECT pg_backend_pid(), extract(epoch FROM clock_timestamp())::bigint";
        let row = client.query_one(asked, &[]).await.map_err(while_doing("asking a server for its time"))?;
        Ok(Session { pid: row.get(0), now_s: row.get(1), key: key.clone(), client })
    }

    fn claims(&self, tenant: Uuid) -> TokenClaims<'static> {
        let not_after_s = self.now_s + LIFETIME_S;
        TokenClaims { tenant, epoch: 1, rights: "rwd", backend_pid: self.pid, not_after_s }
    }

    fn enter(&self, tenant: Uuid) -> String {
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT rh.enter('{}', true)",
            self.key.mint(&self.claims(tenant))
        )
    }

    async fn write(&self, tenant: Uuid, table: &str, words: &str) -> Result<(), CellError> {
        let sql = format!(
            "{}; INSERT INTO {table} (id, marker) VALUES ('{tenant}', '{words}'); COMMIT",
            self.enter(tenant)
        );
        self.client.batch_execute(&sql).await.map_err(while_doing("writing a row to be attacked"))
    }
}

/// What stands in the texts of probes.
struct Words<'a> {
    own: &'a Session,
    victims: &'a Session,
    table: &'a str,
    marker: &'a str,
}

impl Words<'_> {
    async fn attempt(&self, probe: &'static Probe) -> Result<Outcome, CellError> {
        let [attacking, _] = PROBE_TENANTS;
        let sql = self.text(probe.sql);
        let answer = self.own.client.simple_query(&format!("{}; {sql}", self.own.enter(attacking))).await;
        let (found, said) = read(&answer);
        self.own.client.batch_execute("ROLLBACK").await.map_err(while_doing("ending a probe"))?;
        let outcome = |found: String, held| Outcome { probe, table: self.table.to_owned(), found, held };
        if said.contains(self.marker) {
            return Ok(outcome("seen".to_owned(), false));
        }
        if !self.is_as_it_was().await? {
            return Ok(outcome("changed".to_owned(), false));
        }
        let held = probe.expected.is_empty() || probe.expected.contains(&found.as_str());
        Ok(outcome(found, held))
    }

    /// The victim finds its row, as it wrote it.
    async fn is_as_it_was(&self) -> Result<bool, CellError> {
        let [_, victim] = PROBE_TENANTS;
        let look = format!(
            "{}; SELECT marker FROM {} WHERE id = '{victim}'; ROLLBACK",
            self.victims.enter(victim),
            self.table
        );
        let answer = self.victims.client.simple_query(&look).await;
        match &answer {
            Ok(_) => Ok(read(&answer).1.contains(self.marker)),
            Err(_) => answer.map(|_| false).map_err(while_doing("looking at the row that was attacked")),
        }
    }

    fn text(&self, sql: &str) -> String {
        let [attacking, victim] = PROBE_TENANTS;
        let own = self.own.claims(attacking);
        let victims = self.own.claims(victim);
        let mint = |claims: &TokenClaims<'_>| self.own.key.mint(claims);
        let guessed = DatabaseKey::new(self.own.key.kid(), [0; 32]).expect("the kid of a key is well-formed");
        let weak = mint(&TokenClaims { rights: "r", ..own });
        let words = [
            ("{table}", self.table.to_owned()),
            ("{victim}", victim.to_string()),
            ("{own}", attacking.to_string()),
            ("{altered}", mint(&own).replace(&attacking.to_string(), &victim.to_string())),
            ("{guessed}", guessed.mint(&victims)),
            ("{stolen}", self.victims.key.mint(&self.victims.claims(victim))),
            ("{expired}", mint(&TokenClaims { not_after_s: 1, ..victims })),
            ("{stale}", mint(&TokenClaims { epoch: 2, ..own })),
            ("{raised}", weak.replacen(".r.", ".rwd.", 1)),
            ("{weak}", weak),
            ("{pid}", self.victims.pid.to_string()),
        ];
        words.iter().fold(sql.to_owned(), |sql, (name, value)| sql.replace(name, value))
    }
}

/// The SQLSTATE or `ok`, and everything that was said.
fn read(answer: &Result<Vec<SimpleQueryMessage>, Error>) -> (String, String) {
    match answer {
        Ok(messages) => {
            let mut said = String::new();
            for message in messages {
                let SimpleQueryMessage::Row(row) = message else { continue };
                for column in 0..row.len() {
                    said.push_str(row.get(column).unwrap_or(""));
                    said.push('\n');
                }
            }
            ("ok".to_owned(), said)
        }
        Err(error) => {
            let code = error.code().map_or("no answer", |code| code.code());
            let said = error.as_db_error().map(|error| {
                [Some(error.message()), error.detail(), error.hint(), error.where_()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join("\n")
            });
            (code.to_owned(), said.unwrap_or_else(|| error.to_string()))
        }
    }
}
