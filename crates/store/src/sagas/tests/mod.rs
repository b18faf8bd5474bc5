//! The engine on a real PostgreSQL: a saga of four steps, inside and outside the control database, failed at each step,
//! repeated at each step, and killed at every point where it waits.

mod crash;
mod decisions;
mod failure;
mod later;
mod platform;
mod strides;

use std::sync::Arc;
use std::time::Duration;

use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::clock::Hand;
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::*;
use crate::change::Change;
use crate::pool::Store;
use crate::transaction::Transaction;

/// What the steps act on: `effects` lies in the control database, `things` stands for everything outside of it and is
/// reached by a connection that knows of no transaction.
const WORLD: &str = "CREATE TABLE public.effects (step text NOT NULL); \
    GRANT SELECT, INSERT, DELETE ON public.effects TO rowhouse_app; \
    CREATE TABLE public.things (name text PRIMARY KEY, touched int NOT NULL DEFAULT 1); \
    CREATE TABLE public.faults (name text PRIMARY KEY, forgiving boolean NOT NULL)";

struct World {
    outside: Client,
}

type Context = Arc<World>;

impl World {
    /// Fails if a fault of this name is planted; a forgiving one may pass.
    async fn fault(&self, name: &str) -> Result<(), StepError> {
        let row = self.outside.query_opt("SELECT forgiving FROM faults WHERE name = $1", &[&name]).await;
        match row.map_err(StepError::again)? {
            None => Ok(()),
            Some(row) if row.get(0) => Err(StepError::Again(format!("planted fault {name}"))),
            Some(_) => Err(StepError::never("test.planted", format!("planted fault {name}"))),
        }
    }

    async fn plant(&self, name: &str, forgiving: bool) {
        let planted = "INSERT INTO faults VALUES ($1, $2)";
        self.outside.execute(planted, &[&name, &forgiving]).await.expect("a fault");
    }

    /// Whether anybody but this connection reaches the database.
    async fn let_in(&self, all: bool) {
        let sql = "UPDATE pg_database SET datallowconn = $1 WHERE datname = current_database()";
        self.outside.execute(sql, &[&all]).await.expect("the administrator may");
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        self.outside.execute(end, &[]).await.expect("ended");
    }

    async fn clear(&self) {
        self.outside.batch_execute("DELETE FROM faults").await.expect("no faults");
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.outside.query(sql, &[]).await.expect("rows");
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn effects(&self) -> String {
        self.texts("SELECT step FROM effects ORDER BY step").await.join(" ")
    }

    async fn things(&self) -> String {
        self.texts("SELECT name FROM things ORDER BY name").await.join(" ")
    }

    async fn state(&self, saga: Uuid) -> String {
        let row =
            self.outside.query_one("SELECT state FROM lifecycle.sagas WHERE saga_id = $1", &[&saga]).await;
        row.expect("the saga").get(0)
    }

    async fn inventory(&self) -> String {
        let open = "SELECT kind || ':' || external_id || ':' || state FROM lifecycle.inventory WHERE state <> 'gone' ORDER BY 1";
        self.texts(open).await.join(" ")
    }

    async fn log(&self, saga: Uuid) -> String {
        let sql =
            "SELECT step || ':' || event FROM lifecycle.saga_steps WHERE saga_id = $1 ORDER BY sequence";
        let rows = self.outside.query(sql, &[&saga]).await.expect("rows");
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join(" ")
    }
}

async fn inside(run: &Run<'_, Context>, transaction: &Transaction, step: &str) -> StepResult {
    transaction.execute("INSERT INTO public.effects VALUES ($1)", &[&step]).await?;
    run.context.fault(step).await?;
    let change =
        Change::new(OPERATOR_TENANT, "lifecycle.tenant_provisioned", "create", somebody()).on("step", step);
    Ok(Done::with(&json!({ "step": step })).change(change))
}

async fn inside_undo(run: &Run<'_, Context>, transaction: &Transaction, step: &str) -> StepResult {
    transaction.execute("DELETE FROM public.effects WHERE step = $1", &[&step]).await?;
    run.context.fault(&format!("undo {step}")).await?;
    Ok(Done::plainly())
}

async fn outside(run: &Run<'_, Context>, name: &str) -> StepResult {
    run.intend(InventoryKind::Schema, name).await?;
    let made = "INSERT INTO things VALUES ($1) ON CONFLICT (name) DO UPDATE SET touched = things.touched + 1";
    run.context.outside.execute(made, &[&name]).await.map_err(StepError::again)?;
    run.context.fault(name).await?;
    run.observed(InventoryKind::Schema, name).await?;
    Ok(Done::with(&json!({ "name": name })))
}

async fn outside_undo(run: &Run<'_, Context>, step: &str) -> StepResult {
    for name in run.made(InventoryKind::Schema).await? {
        if name == step {
            let dropped = run.context.outside.execute("DELETE FROM things WHERE name = $1", &[&name]).await;
            dropped.map_err(StepError::again)?;
            run.context.fault(&format!("undo {name}")).await?;
            run.gone(InventoryKind::Schema, &name).await?;
        }
    }
    Ok(Done::plainly())
}

/// reserve (inside), store (outside), people (inside), deploy (outside).
fn kind() -> Kind<Context> {
    let step = |name, action, undo| Step { name, deadline: Duration::from_secs(60), action, undo };
    Kind {
        name: "build",
        version: 1,
        steps: vec![
            step(
                "reserve",
                Action::Inside(|run, transaction| Box::pin(inside(run, transaction, "reserve"))),
                Action::Inside(|run, transaction| Box::pin(inside_undo(run, transaction, "reserve"))),
            ),
            step(
                "store",
                Action::Outside(|run| Box::pin(outside(run, "store"))),
                Action::Outside(|run| Box::pin(outside_undo(run, "store"))),
            ),
            step(
                "people",
                Action::Inside(|run, transaction| Box::pin(inside(run, transaction, "people"))),
                Action::Inside(|run, transaction| Box::pin(inside_undo(run, transaction, "people"))),
            ),
            step(
                "deploy",
                Action::Outside(|run| Box::pin(outside(run, "deploy"))),
                Action::Outside(|run| Box::pin(outside_undo(run, "deploy"))),
            ),
        ],
    }
}

const STEPS: [&str; 4] = ["reserve", "store", "people", "deploy"];

fn somebody() -> Principal {
    Principal { kind: PrincipalKind::System, id: Uuid::nil() }
}

/// A store with one saga that is due.
struct Bench {
    store: Store,
    hand: Hand,
    world: Context,
    saga: Uuid,
}

impl Bench {
    async fn new() -> Bench {
        let (store, config, hand) = platform::fresh().await;
        let world = Arc::new(World { outside: platform::connect(&config).await });
        let saga = begin(&store, TenantId(Uuid::from_u128(7))).await.expect("no other runs");
        Bench { store, hand, world, saga }
    }

    fn engine(&self) -> Engine<Context> {
        self.engine_of(kind())
    }

    fn engine_of(&self, kind: Kind<Context>) -> Engine<Context> {
        Engine::new(self.store.clone(), self.world.clone(), vec![kind])
    }

    fn seconds_pass(&self, seconds: i64) {
        self.hand.advance_us(seconds * 1_000_000);
    }

    async fn state(&self) -> String {
        self.world.state(self.saga).await
    }

    /// Nothing is left of the saga but its log.
    async fn assert_nothing_left(&self, when: &str) {
        let left = (self.world.effects().await, self.world.things().await, self.world.inventory().await);
        assert_eq!(left, (String::new(), String::new(), String::new()), "{when}");
        assert_eq!(self.state().await, "undone", "{when}");
    }

    /// All four steps have happened; those inside the control database, events included, once.
    async fn assert_done(&self, when: &str) {
        assert_eq!(self.state().await, "done", "{when}");
        assert_eq!(self.world.effects().await, "people reserve", "{when}");
        assert_eq!(self.world.things().await, "deploy store", "{when}");
        assert_eq!(self.world.inventory().await, "schema:deploy:observed schema:store:observed", "{when}");
        let events = self.world.texts("SELECT draft->'targets'->0->>1 FROM audit.outbox ORDER BY id").await;
        assert_eq!(events.join(" "), "reserve people", "{when}");
    }
}

async fn begin(store: &Store, tenant: TenantId) -> Result<Uuid, StartError> {
    let id = store.entropy().uuid_v7(store.clock().now_us());
    let transaction = store.write(&Permit::for_system(Some(tenant), "test")).await?;
    let what = Start {
        id,
        kind: "build",
        kind_version: 1,
        tenant: Some(tenant),
        params: json!({ "size": 3 }),
        created_by: "system".to_owned(),
    };
    start(&transaction, &what).await?;
    transaction.commit_telemetry().await?;
    Ok(id)
}

#[tokio::test]
async fn a_saga_goes_through_once_and_leaves_its_last_output() {
    let bench = Bench::new().await;
    assert!(bench.engine().run_one().await.expect("the database is there"));
    bench.assert_done("first").await;
    assert!(!bench.engine().run_one().await.expect("the database is there"), "nothing more is due");
    let row = bench.world.outside.query_one("SELECT result->>'name' FROM lifecycle.sagas", &[]).await;
    assert_eq!(row.expect("the saga").get::<_, String>(0), "deploy");
}

#[tokio::test]
async fn a_tenant_has_one_saga_that_is_not_over() {
    let bench = Bench::new().await;
    let tenant = TenantId(Uuid::from_u128(7));
    match begin(&bench.store, tenant).await {
        Err(StartError::Busy { other }) => assert_eq!(other.0, bench.saga),
        other => panic!("{other:?}"),
    }
    begin(&bench.store, TenantId(Uuid::from_u128(8))).await.expect("another tenant is not busy");
    bench.engine().run_one().await.expect("the database is there");
    begin(&bench.store, tenant).await.expect("the first is over");
}

#[tokio::test]
async fn a_binary_without_a_saga_s_code_is_told() {
    let bench = Bench::new().await;
    assert!(bench.engine().check().await.expect("the database is there").is_none());
    let newer = bench.engine_of(Kind { version: 2, ..kind() });
    let unknown = newer.check().await.expect("the database is there").expect("version 1 is under way");
    assert_eq!((unknown.kind.as_str(), unknown.version), ("build", 1));
    assert!(!newer.run_one().await.expect("the database is there"), "it is not touched");
}
