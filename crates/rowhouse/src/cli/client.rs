//! The HTTP client of the command line: one request, one answer, no redirects, a deadline.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rowhouse_domain::refusal::Problem;
use tokio::net::TcpStream;

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(60);

/// Speaks to one control API.
#[derive(Debug, Clone)]
pub struct Client {
    authority: String,
    token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A refusal, with the exit code that belongs to it.
#[derive(Debug, thiserror::Error)]
pub struct Refused(pub Box<Problem>);

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Problem { title, detail, next, request_id, code, .. } = &*self.0;
        writeln!(out, "{title}\n  {detail}")?;
        for field in &self.0.errors {
            writeln!(out, "  {}: {}", field.pointer, field.detail)?;
        }
        write!(out, "  next: {next}\n  request: {request_id} ({code})")
    }
}

impl Client {
    /// A client of `url` (`http://host:port`) that presents `token`.
    pub fn new(url: &str, token: Option<String>) -> anyhow::Result<Self> {
        let authority = url.trim_end_matches('/').strip_prefix("http://");
        let wrong = || {
            anyhow!(
                "`{url}` is not of the form http://host:port\n  next: correct --url or ROWHOUSE_URL; TLS is ended by a proxy before Rowhouse"
            )
        };
        let authority = authority.ok_or_else(wrong)?;
        Ok(Client { authority: authority.to_owned(), token })
    }

    /// Sends one request; any status is an answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> anyhow::Result<Answer> {
        let exchange = self.exchange(method, path, headers, body);
        tokio::time::timeout(DEADLINE, exchange).await.map_err(|_| self.unreachable("no answer in time"))?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> anyhow::Result<Answer> {
        let stream = TcpStream::connect(&self.authority).await;
        let stream = stream.map_err(|error| self.unreachable(&error.to_string()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", &self.authority);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let says = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if body.is_some() && !says {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.unwrap_or_default())).context("the path is not valid")?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        };
        tokio::pin!(answer, connection);
        tokio::select! {
            biased;
            result = &mut answer => result,
            _ = &mut connection => answer.await,
        }
    }

    fn unreachable(&self, why: &str) -> anyhow::Error {
        let url = format!("http://{}", self.authority);
        Unreachable { url, why: why.to_owned() }.into()
    }

    /// Sends JSON and reads JSON; a problem becomes [`Refused`].
    pub async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> anyhow::Result<serde_json::Value> {
        let body = body.map(|value| Bytes::from(value.to_string()));
        let answer = self.send(method, path, &[], body).await?;
        answer.json()
    }

    /// GET.
    pub async fn get(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        self.json(Method::GET, path, None).await
    }

    /// GET of what is no JSON; a problem becomes [`Refused`].
    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.send(Method::GET, path, &[], None).await?;
        if !answer.status.is_success() {
            answer.json()?;
        }
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// POST.
    pub async fn post(&self, path: &str, body: serde_json::Value) -> anyhow::Result<serde_json::Value> {
        self.json(Method::POST, path, Some(body)).await
    }
}

/// Marks errors of the network, for the exit code.
#[derive(Debug, thiserror::Error)]
#[error(
    "nothing answers at {url}: {why}\n  next: start it with `rowhouse serve`, or say where it is with --url or ROWHOUSE_URL"
)]
pub struct Unreachable {
    url: String,
    why: String,
}

impl Answer {
    /// The body as JSON; a problem becomes [`Refused`].
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        if self.status.is_client_error() || self.status.is_server_error() {
            match serde_json::from_slice::<Problem>(&self.body) {
                Ok(problem) => return Err(Refused(Box::new(problem)).into()),
                Err(_) => {
                    bail!("status {} without a problem: {}", self.status, String::from_utf8_lossy(&self.body))
                }
            }
        }
        if self.body.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(&self.body).context("the answer is not JSON")
    }
}
