//! A look at the pages by somebody: the API as they may use it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::Refusal;
use serde_json::Value;

use crate::api::own::{Call, OwnApi};
use crate::identity::form;

/// Who looks, and how the API is asked for them.
pub struct Visit<'a> {
    pub api: &'a OwnApi,
    pub token: String,
    /// Where the browser is: conditions hold on the page as they do at the API.
    pub client: Option<IpAddr>,
    pub request_id: RequestId,
    /// The one thing that the page is about, if it is about one: an id, and nothing else.
    pub one: &'a str,
    /// What else its address asks for.
    pub asked: &'a BTreeMap<String, String>,
    /// Whose visit it is, as the API writes it.
    pub me: String,
}

impl Visit<'_> {
    pub async fn call(&self, call: Call<'_>) -> Result<Value, Refusal> {
        self.api.call((&self.token, self.client), self.request_id, call).await
    }

    pub async fn get(&self, path: &str) -> Result<Value, Refusal> {
        self.call(Call::get(path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value, Refusal> {
        self.call(Call::post(path, body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Result<Value, Refusal> {
        self.call(Call { method: "PUT", path, body: Some(body), version: None }).await
    }

    pub async fn delete(&self, path: &str) -> Result<(), Refusal> {
        self.call(Call { method: "DELETE", path, body: None, version: None }).await.map(drop)
    }

    /// What the address asks for under a name; empty if nothing.
    pub fn asks(&self, name: &str) -> &str {
        self.asked.get(name).map_or("", |text| text.trim())
    }

    /// All things of a list, at most 1,000.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, Refusal> {
        let mut all = Vec::new();
        let first = format!("{path}{}limit=200", if path.contains('?') { '&' } else { '?' });
        let mut next = first.clone();
        while all.len() < 1_000 {
            let mut page = self.get(&next).await?;
            if let Value::Array(items) = page["items"].take() {
                all.extend(items);
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("{first}&cursor={}", form::escape(cursor)),
                None => break,
            }
        }
        Ok(all)
    }
}

/// What a page says beside what it shows: good news, and what is kept for its next form.
#[derive(Default)]
pub struct Said {
    /// Good news; empty if there is none.
    pub good: &'static str,
    /// What is kept.
    pub with: Value,
}

impl Said {
    /// Good news alone.
    pub fn good(good: &'static str) -> Self {
        Said { good, with: Value::Null }
    }
}
