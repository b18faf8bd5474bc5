//! A whole control plane as an operator has it: the shipped catalogue, the first key, a directory that follows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use rowhouse_control::catalog::{self, CatalogFile};
use rowhouse_control::tenancy::{self, NewTenant};
use rowhouse_control::{Settings, directory, keys};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::{Isolation, Status};
use rowhouse_store::{Change, Notice};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::platform::{PATIENCE, Platform};

/// A control plane with its operator.
pub struct House {
    pub platform: Platform,
    /// The text of the operator's first key.
    pub root: String,
    _follower: Follower,
}

/// The reconciler's task; it ends with the test.
struct Follower {
    _shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl House {
    /// With the shipped catalogue.
    pub async fn start() -> House {
        House::with(catalog::shipped()).await
    }

    /// With a catalogue of the test's own.
    pub async fn with(catalogue: &CatalogFile) -> House {
        House::set(catalogue, |_| ()).await
    }

    /// With settings of the test's own.
    pub async fn set(catalogue: &CatalogFile, change: impl FnOnce(&mut Settings)) -> House {
        let mut platform = Platform::start().await;
        change(&mut Arc::get_mut(&mut platform.control).expect("nobody else has it yet").settings);
        let control = &platform.control;
        assert!(catalog::prepare(control, catalogue).await.expect("it applies"), "the tables were empty");
        let root = keys::bootstrap_operator(control).await.expect("a first key").expect("the first start");
        let reconciler = directory::start(control).await.expect("a directory");
        let (shutdown, wanted) = watch::channel(false);
        let task = tokio::spawn(reconciler.run(control.clone(), wanted));
        House { platform, root, _follower: Follower { _shutdown: shutdown, task } }
    }

    /// Returns when the directory has read every notice there is; how long that took.
    pub async fn settled(&self) -> Duration {
        let begun = Instant::now();
        let last: u64 = self
            .platform
            .ask("SELECT coalesce(max(id), 0) FROM api.notices")
            .await
            .parse()
            .expect("a number");
        let reached = async {
            while self.platform.control.directory.version() < (last + 1) << 16 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.expect("the directory follows");
        begun.elapsed()
    }

    /// An active tenant of `tier`, known to the directory.
    pub async fn tenant(&self, code: &str, tier: &str) -> TenantId {
        let store = &self.platform.control.store;
        let id = TenantId(store.entropy().uuid_v7(store.clock().now_us()));
        let permit = Permit::for_system(None, "test");
        let transaction = store.write(&permit).await.expect("a transaction");
        let new = NewTenant {
            id,
            code: code.to_owned(),
            company_name: code.to_owned(),
            tier: tier.to_owned(),
            isolation: Isolation::Shared,
            region: "eu1".to_owned(),
            billing_contact: json!({}),
            metadata: json!({}),
            created_by: "system".to_owned(),
        };
        assert!(tenancy::insert(&transaction, &new).await.expect("it is inserted"), "the code is free");
        tenancy::set_status(&transaction, id, Status::Active, None).await.expect("it is active");
        let change = Change::new(id, "tenancy.tenant_changed", "create", permit.principal());
        transaction.commit(change.notify(Notice::tenant(id))).await.expect("it commits");
        self.settled().await;
        id
    }

    /// A service account of a tenant with `role`, and a key of it with the same role; the key's text and ids.
    pub async fn member(&self, tenant: &str, role: &str) -> Member {
        let account = self.account(tenant, &format!("{role}-{tenant}")).await;
        let principal = json!({ "kind": "service_account", "id": account });
        let grant = json!({ "principal": principal, "role": role });
        let grant = self.created(&self.root, &format!("/v1/grants?tenant={tenant}"), grant).await;
        let key = json!({ "name": role, "owner": principal, "roles": [role] });
        let key = self.created(&self.root, &format!("/v1/keys?tenant={tenant}"), key).await;
        self.settled().await;
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Member { account, grant: text(&grant["id"]), id: text(&key["id"]), key: text(&key["key"]) }
    }

    /// A service account without any right.
    pub async fn account(&self, tenant: &str, name: &str) -> String {
        let path = format!("/v1/service_accounts?tenant={tenant}");
        let account = self.created(&self.root, &path, json!({ "name": name })).await;
        account["id"].as_str().expect("an id").to_owned()
    }

    /// Posts and expects 201.
    pub async fn created(&self, key: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.platform.call(key, "POST", path, Some(body)).await;
        assert_eq!(status, 201, "{path}: {answer}");
        answer
    }

    /// Posts and expects 200.
    pub async fn posted(&self, key: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.platform.call(key, "POST", path, Some(body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Posts and expects a refusal: `409 keys.wrong_state /pointer,/pointer`.
    pub async fn refused(&self, key: &str, path: &str, body: Value) -> String {
        let (status, answer) = self.platform.call(key, "POST", path, Some(body)).await;
        outcome(status, &answer)
    }

    /// Posts with an idempotency key.
    pub async fn repeatable(&self, key: &str, path: &str, body: &Value, idempotency: &str) -> (u16, Value) {
        let request = Request::builder()
            .method("POST")
            .uri(path)
            .header("host", "control.test")
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .header("idempotency-key", idempotency)
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("a request");
        self.platform.send(request).await
    }

    /// The audit events that wait for the sequencer, newest last: their names.
    pub async fn events(&self, log: TenantId) -> Vec<String> {
        let asked = format!(
            "SELECT coalesce(string_agg(draft->>'event', ' ' ORDER BY id), '') FROM audit.outbox WHERE tenant_id = '{}'",
            log.0
        );
        self.platform.ask(&asked).await.split_whitespace().map(str::to_owned).collect()
    }
}

/// A principal of a tenant with its key.
pub struct Member {
    /// Its id.
    pub account: String,
    /// The grant of its role.
    pub grant: String,
    /// The key's id.
    pub id: String,
    /// The key's text.
    pub key: String,
}

/// A status with the code and pointers of its problem.
pub fn outcome(status: u16, answer: &Value) -> String {
    let errors = answer["errors"].as_array().cloned().unwrap_or_default();
    let pointers: Vec<&str> = errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
    let code = answer["code"].as_str().unwrap_or("-");
    format!("{status} {code} {}", pointers.join(",")).trim_end().to_owned()
}
