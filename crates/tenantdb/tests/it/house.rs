//! A service of two tables with its tenants, ready for use: what most tests begin with.

use rowhouse_domain::context::{ContextClaims, ContextSigner};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::Isolation;
use rowhouse_tenantdb::cell::{self, SCHEMAS_DATABASE, SHARED_DATABASE};
use rowhouse_tenantdb::place;
use rowhouse_tenantdb::plane::{Plane, PlaneCell, PlaneDatabase, PlaneJwk, PlanePlace};
use rowhouse_tenantdb::tables::{self, Migration, ServiceTables};
use rowhouse_tenantdb::{Cell, ContextKeys, DatabaseKey, Databases, Place, Rights, Source, TenantContext};
use tokio_postgres::{Client, NoTls};

use crate::cluster::Cluster;

pub const SERVICE: &str = "stamping";
pub const NOW_S: i64 = 1_800_000_000;

pub const MANIFEST: &str = r#"
[table.stamps]
kind = "tenant"
partitions = 4
[table.notes]
kind = "tenant"
[table.countries]
kind = "reference"
[table.outbox]
kind = "internal"
"#;

const FIRST: &str = "
CREATE TABLE stamps (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id        uuid NOT NULL,
  hash      text NOT NULL,
  size      bigint NOT NULL DEFAULT 0,
  CONSTRAINT stamps_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT stamps_hash UNIQUE (tenant_id, hash)
);
CREATE INDEX stamps_size ON stamps (tenant_id, size);
CREATE TABLE notes (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id        uuid NOT NULL,
  stamp     uuid NOT NULL,
  body      text NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT notes_stamp FOREIGN KEY (tenant_id, stamp) REFERENCES stamps (tenant_id, id) ON DELETE CASCADE
);
CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO countries VALUES ('NL', 'Netherlands');
CREATE TABLE outbox (id bigserial PRIMARY KEY, body text NOT NULL);
INSERT INTO outbox (body) VALUES ('VICTIM-MARKER in the outbox');
CREATE FUNCTION remember(value text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('work_mem', value, false) $$;
CREATE FUNCTION recall(name text) RETURNS text LANGUAGE sql AS $$ SELECT current_setting(name) $$;
CREATE VIEW stamp_notes AS SELECT s.id, s.hash, n.body FROM stamps s JOIN notes n ON n.tenant_id = s.tenant_id AND n.stamp = s.id;
";

pub fn service_tables() -> ServiceTables {
    let first = Migration { number: 1, name: "stamps".to_owned(), sql: FIRST.to_owned() };
    ServiceTables::parse(SERVICE, MANIFEST, vec![first]).expect("a valid manifest")
}

pub fn key(number: u8) -> DatabaseKey {
    DatabaseKey::new("k1", [number; 32]).expect("a plain kid")
}

pub fn tenant(number: u128) -> TenantId {
    TenantId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number)
}

/// One server, two shared and two schema tenants and one with a database, the service installed for all.
pub struct House {
    pub cluster: Cluster,
    pub cell: Cell,
    pub places: Vec<(Place, String, DatabaseKey)>,
}

impl House {
    /// Only shared tenants 1 and 2.
    pub async fn shared() -> Self {
        let cluster = Cluster::start(40);
        let cell = cluster.cell("eu-1");
        cell::prepare(&cell).await.expect("a cell");
        cell::prepare_database(&cell, SHARED_DATABASE, &key(1)).await.expect("shared");
        let mut house = House { cluster, cell, places: Vec::new() };
        for number in [1, 2] {
            house.add(number, Isolation::Shared, &key(1)).await;
        }
        house
    }

    /// Shared 1 and 2, schema 3 and 4, database 5.
    pub async fn full() -> Self {
        let mut house = House::shared().await;
        cell::prepare_database(&house.cell, SCHEMAS_DATABASE, &key(2)).await.expect("schemas");
        house.add(3, Isolation::Schema, &key(2)).await;
        house.add(4, Isolation::Schema, &key(2)).await;
        house.add(5, Isolation::Database, &key(3)).await;
        house
    }

    pub async fn add(&mut self, number: u128, isolation: Isolation, key: &DatabaseKey) {
        let place = Place::new(tenant(number), isolation, (number as u64 + 0xabc0).to_be_bytes());
        place::create(&self.cell, &place, key).await.expect("a place");
        let schema = place.schema(SERVICE, true);
        tables::install(&self.cell, &place.target(&schema), &service_tables()).await.expect("tables");
        self.places.push((place, schema, key.clone()));
    }

    pub fn place(&self, number: u128) -> &(Place, String, DatabaseKey) {
        self.places.iter().find(|(place, ..)| place.tenant == tenant(number)).expect("a tenant of this house")
    }

    pub fn plane(&self, connections: u32) -> Plane {
        let cell =
            PlaneCell { host: self.cell.host.clone(), port: self.cell.port, connections, strict: false };
        let mut plane = Plane {
            version: 1,
            service: SERVICE.to_owned(),
            cells: [(self.cell.name.clone(), cell)].into(),
            databases: Vec::new(),
            places: Default::default(),
            functions: rowhouse_firewall::own_functions([FIRST]),
            jwks: vec![PlaneJwk::ed25519("g1", signer().verifier().x())],
        };
        for (place, schema, key) in &self.places {
            if plane.databases.iter().all(|known| known.database != place.database) {
                let (cell, database) = (self.cell.name.clone(), place.database.clone());
                plane.databases.push(PlaneDatabase { cell, database, key: key.clone() });
            }
            plane.places.insert(
                place.tenant,
                PlanePlace {
                    isolation: place.isolation,
                    cell: self.cell.name.clone(),
                    database: place.database.clone(),
                    schema: schema.clone(),
                    login: place.login.clone(),
                    epoch: place.epoch,
                    rights: Rights::Full,
                    connections: 4,
                },
            );
        }
        plane
    }

    pub async fn databases(&self) -> Databases {
        Databases::open(Source::Fixed(self.plane(30))).await.expect("a fixed plane opens")
    }

    pub async fn admin(&self, database: &str) -> Client {
        self.connect("postgres", database).await
    }

    /// A raw connection, as an attacker or an administrator would have.
    pub async fn connect(&self, user: &str, database: &str) -> Client {
        connect(&self.cell, user, database).await.expect("a connection")
    }
}

pub async fn connect(cell: &Cell, user: &str, database: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(&cell.host).port(cell.port).user(user).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub fn signer() -> ContextSigner {
    ContextSigner::new("g1", &[9; 32])
}

/// The header that the gateway would send for tenant `number`.
pub fn header(number: u128) -> String {
    signer().sign(&ContextClaims {
        audience: SERVICE.to_owned(),
        tenant: tenant(number),
        code: "acme".to_owned(),
        tier: "basic".to_owned(),
        isolation: Isolation::Shared,
        region: "local".to_owned(),
        principal_kind: "api_key".to_owned(),
        principal: "key_x".to_owned(),
        roles: Vec::new(),
        features: Vec::new(),
        enforcements: Vec::new(),
        issued_at: NOW_S,
        expires_at: NOW_S + 60,
    })
}

pub fn context(number: u128) -> TenantContext {
    let keys = ContextKeys::new([signer().verifier()]);
    TenantContext::from_header(&keys, SERVICE, &header(number), NOW_S).expect("a good header")
}
