//! One call through the gateway.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::cli::client::Client;

/// A call to be made.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, `null` if it is not JSON.
    pub body: Value,
}

impl Call {
    /// GET.
    pub fn get(path: &str) -> Self {
        Call { method: Method::GET, path: path.to_owned(), headers: Vec::new(), body: None }
    }
    /// POST.
    pub fn post(path: &str, body: Value) -> Self {
        Call { method: Method::POST, body: Some(body), ..Call::get(path) }
    }
    /// Another method.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }
    /// With a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
    /// To a tenant's subdomain.
    pub fn host(self, code: &str) -> Self {
        self.header("host", &format!("{code}.localhost"))
    }
    /// With an API key.
    pub fn key(self, key: &str) -> Self {
        self.header("x-api-key", key)
    }

    /// Makes the call.
    pub async fn send(self, gateway: &Client) -> anyhow::Result<Seen> {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let body = self.body.map(|body| Bytes::from(body.to_string()));
        let answer = gateway.send(self.method, &self.path, &headers, body).await?;
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        Ok(Seen { status: answer.status.as_u16(), headers: answer.headers, body })
    }
}
